"""The way with a registry, gone with a real one: `make test-registry`.

It takes the place of Docker Hub for the daemon, as a mirror does, and serves under the public names images that were
made from packages. So this shows that images are found, pulled, built upon and run, and that nothing is compiled; that
our Dockerfiles suit the layout of released images is shown as far as the stand-ins have it. The cluster is made anew.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from local import cache, cluster, debian, dockerd, golang, images, node_image, ports, registry, tools, versions
from local.commands import ask
from local.steps import step
from tests.e2e.cluster import eventually

pytestmark = [pytest.mark.cluster, pytest.mark.alone, pytest.mark.registry, pytest.mark.timeout(3600)]

DISTRIBUTION = golang.Program("registry", ("github.com/distribution/distribution/v3/cmd/registry@v3.0.0",))
DAEMON = Path("/etc/docker/daemon.json")
# Where the official Python image has its Python, and Debian's has not.
MOVED_PYTHON = """\
FROM {base}
RUN mv /usr/bin/python3* /usr/local/bin/ && cp -a /usr/lib/python3* /usr/local/lib/ && rm -r /usr/lib/python3*
"""
# kind installs the network plugin that its node image brings; the assembled one has a plugin that needs no pods.
WITH_PLUGIN = """\
FROM {base}
RUN printf 'apiVersion: v1\\nkind: ConfigMap\\nmetadata: {{name: no-plugin, namespace: kube-system}}\\n' \
    > /kind/manifests/default-cni.yaml
"""
COMPILERS = ("go", "gcc", "mmdebstrap")


@dataclass(frozen=True)
class Registry:
    """Where it answers, and what it wrote about who asked for what."""

    address: str
    log: Path

    def asked_for(self, name: str, since: int) -> bool:
        """Whether somebody asked for an image of this name, after so many bytes of the log."""
        return re.search(rf'"(GET|HEAD) /v2/{re.escape(name)}/manifests/', self.log.read_text()[since:]) is not None


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    folder = tmp_path_factory.mktemp("registry")
    with step("build a registry from its Go module") as current:
        dockerd.ensure(current)
        program = golang.build(DISTRIBUTION, current) / "registry"
    made = Registry(f"127.0.0.1:{ports.free_port()}", folder / "log")
    settings = {
        "version": 0.1,
        "storage": {"filesystem": {"rootdirectory": str(folder / "storage")}},
        "http": {"addr": made.address},
    }
    (folder / "config.json").write_text(json.dumps(settings))
    with made.log.open("wb") as log:
        process = subprocess.Popen([program, "serve", folder / "config.json"], stdout=log, stderr=subprocess.STDOUT)
    try:
        eventually("the registry answers", lambda: registry.answers(f"http://{made.address}/v2/"), within=30)
        yield made
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def node_digest(served: Registry) -> str:
    """Fill the registry; returns the digest of what it has for the node."""
    with step("make what the registry serves") as current:
        python = debian.image("debian-python", images.PYTHON_PACKAGES, current)
        images.ensure("packages")
        stand_ins = {
            versions.NODE_IMAGE.partition("@")[0]: built(WITH_PLUGIN.format(base=node_image.ensure())),
            versions.ENGINE_IMAGE: "understudy.local/engine-base:current",
            f"library/{versions.PYTHON_IMAGE}": built(MOVED_PYTHON.format(base=python)),
        }
        for name, image in stand_ins.items():
            current.run(["docker", "tag", image, f"{served.address}/{name}"])
            current.run(["docker", "push", f"{served.address}/{name}"])
            current.run(["docker", "image", "rm", f"{served.address}/{name}"])
    name, _, tag = versions.NODE_IMAGE.partition("@")[0].partition(":")
    asked = urllib.request.Request(
        f"http://{served.address}/v2/{name}/manifests/{tag}",
        headers={"Accept": "application/vnd.docker.distribution.manifest.v2+json"},
        method="HEAD",
    )
    with urllib.request.urlopen(asked) as answer:
        return str(answer.headers["Docker-Content-Digest"])


@pytest.fixture(scope="module")
def mirrored(served: Registry) -> Iterator[None]:
    """The daemon asks our registry before Docker Hub."""
    before = DAEMON.read_text() if DAEMON.exists() else None
    settings = json.loads(before or "{}")
    DAEMON.parent.mkdir(exist_ok=True)
    DAEMON.write_text(json.dumps({**settings, "registry-mirrors": [f"http://{served.address}"]}))
    reload_daemon()
    try:
        eventually(
            "the daemon has its mirror",
            lambda: served.address in (ask(["docker", "info"], seconds=20) or ""),
            within=30,
        )
        yield
    finally:
        DAEMON.unlink() if before is None else DAEMON.write_text(before)
        reload_daemon()


@pytest.fixture
def bare(tmp_path: Path, node_digest: str) -> Iterator[dict[str, str]]:
    """The variables of a checkout that wants our digest, with an empty cache but for released programs; no compiler."""
    checkout, own_cache, path = tmp_path / "checkout", tmp_path / "cache", tmp_path / "bin"
    shutil.copytree(cache.REPOSITORY, checkout, ignore=shutil.ignore_patterns(".git", ".venv", ".*_cache"))
    wanted = checkout / "local" / "versions.py"
    wanted.write_text(re.sub(r"@sha256:[0-9a-f]{64}", f"@{node_digest}", wanted.read_text()))
    (own_cache / "understudy" / "bin").mkdir(parents=True)
    for name in tools.WANTED:
        shutil.copy(tools.path(name), own_cache / "understudy" / "bin")
    path.mkdir()
    for name in COMPILERS:
        cache.put(path / name, f'#!/bin/sh\necho {name} "$@" >> {tmp_path}/compiled\nexit 1\n', executable=True)
    with step("remove the cluster, and the images by the names that are to be pulled") as current:
        cluster.remove(current)
        for name in (versions.PYTHON_IMAGE, versions.ENGINE_IMAGE, "understudy:dev", "understudy-vllm:dev"):
            ask(["docker", "image", "rm", name], seconds=60)
    variables = {
        "UNDERSTUDY_WAY": "registry",
        "XDG_CACHE_HOME": str(own_cache),
        "PATH": f"{path}:{os.environ['PATH']}",
        "CHECKOUT": str(checkout),
        "COMPILED": str(tmp_path / "compiled"),
    }
    yield variables
    with step("remove the cluster") as current:
        cluster.remove(current)
    for name in ("understudy:dev", "understudy-vllm:dev", "understudy.local/dependencies:current"):
        ask(["docker", "image", "rm", name], seconds=60)


@pytest.mark.usefixtures("mirrored")
def test_with_a_registry_make_up_pulls_and_compiles_nothing(served: Registry, bare: dict[str, str]) -> None:
    checkout = bare["CHECKOUT"]
    before = len(served.log.read_text())
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "local", "up"],
        cwd=checkout,
        env={**os.environ, **bare},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    print(done.stdout)
    print(f"make up with a registry, nothing cached: {time.monotonic() - began:.0f} s")
    assert done.returncode == 0
    # A real vLLM answered through the gateway
    assert re.search(r"»\s+\S", done.stdout)
    # on images that came from the registry,
    for name in ("kindest/node", "library/python", "vllm/vllm-openai-cpu"):
        assert served.asked_for(name, before), name
    running = ask(["docker", "inspect", "-f", "{{.Config.Image}}", "understudy-control-plane"]) or ""
    assert running.startswith("kindest/node:")
    # and nothing was compiled.
    assert not Path(bare["COMPILED"]).exists()
    assert not (Path(bare["XDG_CACHE_HOME"]) / "understudy" / "go").exists()


def built(dockerfile: str) -> str:
    """An image from the text of a Dockerfile; returns its number."""
    done = subprocess.run(
        ["docker", "build", "-q", "-"], input=dockerfile, text=True, stdout=subprocess.PIPE, check=True
    )
    return done.stdout.strip()


def reload_daemon() -> None:
    """Have the daemon read its file again."""
    subprocess.run(["pkill", "-HUP", "-x", "dockerd"], check=True)
