"""A real Argo CD on the cluster, and the image of a git remote for it to follow: what the tests of GitOps stand on.

It is the release's core installation, without a web interface: controller, repository server, Redis. A mark on the
namespace, set last, says which content is installed, so that a run cut short is taken up again.
"""

import json
import os
import secrets
import shutil
import tempfile
import urllib.request
from pathlib import Path

from local import cache, debian, golang, images, programs, versions
from local.commands import ask
from local.component_images import only_binary
from local.images import Image
from local.kube import kubectl
from local.lock import alone
from local.registry import Way
from local.steps import CommandFailed, Step, step

NAMESPACE = "argocd"
GIT_TAG = "understudy-git:dev"
SOURCES = cache.REPOSITORY / "images" / "argocd"
CUSTOMIZATIONS = cache.REPOSITORY / "argocd" / "argocd-cm.yaml"
MODULE = "github.com/argoproj/argo-cd/v3"
RELEASED = f"https://raw.githubusercontent.com/argoproj/argo-cd/{versions.ARGOCD}/manifests/core-install.yaml"
RELEASED_IMAGES = ("quay.io/argoproj/argocd", "public.ecr.aws/docker/library/redis")
PACKAGES = ("git", "tini", "redis-server", "python3", "ca-certificates", "tzdata")
WORKLOADS = ("deployment/argocd-redis", "deployment/argocd-repo-server", "statefulset/argocd-application-controller")
MARK = "understudy.dev/installed"


def git_image(way: Way) -> Image:
    """The git remote."""
    files = [SOURCES / "git.Dockerfile", SOURCES / "git_remote.py"]
    return Image(GIT_TAG, cache.content_key(files, way, versions.GIT_IMAGE, *PACKAGES))


def own_image() -> Image:
    """Argo CD and Redis where they are built here; its tag changes with its content, so that pods are replaced."""
    content = cache.content_key([SOURCES / "Dockerfile"], programs.ARGOCD.key, *PACKAGES)
    return Image(f"understudy-argocd:{content}", content)


def key(way: Way) -> str:
    """Changes with everything that is installed."""
    return cache.content_key([SOURCES, CUSTOMIZATIONS, Path(__file__)], way, versions.ARGOCD, *PACKAGES)


@alone
def ensure(way: Way) -> None:
    """Install what is missing; the cluster must be up."""
    _ensure_images(way)
    if not _installed(way):
        with step(f"install Argo CD {versions.ARGOCD}") as current:
            _install(way, current)
    print(f"✓ the cluster has Argo CD {versions.ARGOCD} and {GIT_TAG}", flush=True)


def kustomization(way: Way) -> str:
    """The repository's, with the key on everything (new settings mean new pods) and the images that were built here."""
    text = (SOURCES / "install" / "kustomization.yaml").read_text()
    text += f"commonAnnotations: {{understudy.dev/content: {key(way)}}}\n"
    if way == "packages":
        name, _, tag = own_image().tag.partition(":")
        text += "images:\n"
        text += "".join(f"  - {{name: {released}, newName: {name}, newTag: {tag}}}\n" for released in RELEASED_IMAGES)
    return text


def _ensure_images(way: Way) -> None:
    if way == "packages" and not own_image().in_node:
        if not programs.ARGOCD.built.is_dir():
            with step("build argocd from its Go module") as current:
                golang.build(programs.ARGOCD, current)
            golang.drop_build_cache()
        with step(f"build and load {own_image().tag}") as current, images.build_context() as context:
            shutil.copy(SOURCES / "Dockerfile", context)
            os.link(only_binary(programs.ARGOCD.built), context / "argocd")
            _build_and_load(own_image(), context, debian.image("debian-argocd", PACKAGES, current), current)
    if not git_image(way).in_node:
        with step(f"build and load {GIT_TAG}") as current, images.build_context() as context:
            shutil.copy(SOURCES / "git.Dockerfile", context / "Dockerfile")
            shutil.copy(SOURCES / "git_remote.py", context)
            base = versions.GIT_IMAGE if way == "registry" else debian.image("debian-argocd", PACKAGES, current)
            _build_and_load(git_image(way), context, base, current)


def _build_and_load(image: Image, context: Path, base: str, current: Step) -> None:
    if not image.in_docker:
        images.build(image, context, {"BASE": base}, current)
    archive = cache.folder("node-images") / f"{image.tag.replace(':', '-')}.tar"
    current.run(["docker", "save", "-o", archive, image.tag])
    images.load(archive, [image], current)
    archive.unlink()


def _installed(way: Way) -> bool:
    namespace = ask(kubectl("get", "namespace", NAMESPACE, "-o", "json", "--ignore-not-found"))
    if not namespace or json.loads(namespace)["metadata"].get("annotations", {}).get(MARK) != key(way):
        return False
    return all(_ready(one) for one in WORKLOADS)


def _ready(workload: str) -> bool:
    return ask(kubectl("-n", NAMESPACE, "rollout", "status", workload, "--timeout=5s")) is not None


def _install(way: Way, current: Step) -> None:
    apply = ("apply", "--server-side", "--force-conflicts")
    with tempfile.TemporaryDirectory() as folder:
        draft = Path(folder)
        shutil.copytree(SOURCES / "install", draft, dirs_exist_ok=True)
        shutil.copy(CUSTOMIZATIONS, draft)
        shutil.copyfile(_release(way, current), draft / "core-install.yaml")
        cache.put(draft / "kustomization.yaml", kustomization(way))
        current.run(kubectl(*apply, "-k", folder), deadline=180)
    known = kubectl("-n", NAMESPACE, "get", "appprojects.argoproj.io")
    current.wait("the API server to know AppProjects", lambda: ask(known) is not None, deadline=60)
    current.run(kubectl(*apply, "-f", str(SOURCES / "project.yaml")))
    _ensure_secret_key()
    for one in WORKLOADS:
        current.run(kubectl("-n", NAMESPACE, "rollout", "status", one, "--timeout=180s"), deadline=200)
    current.run(kubectl("annotate", "--overwrite", "namespace", NAMESPACE, f"{MARK}={key(way)}"))


def _release(way: Way, current: Step) -> Path:
    """The release's own manifests, kept in the cache."""
    kept = cache.folder("argocd") / f"core-install-{versions.ARGOCD}.yaml"
    if not kept.exists():
        if way == "registry":
            with urllib.request.urlopen(RELEASED, timeout=60) as answer:
                cache.put(kept, answer.read().decode())
        else:
            go = golang.toolchain(current)
            current.run([go, "mod", "download", f"{MODULE}@{versions.ARGOCD}"], cwd=cache.folder("go"))
            modules = ask([go, "env", "GOMODCACHE"]) or ""
            source = Path(modules) / f"{MODULE}@{versions.ARGOCD}" / "manifests" / "core-install.yaml"
            cache.put(kept, source.read_text())
    return kept


def _ensure_secret_key() -> None:
    """What Argo CD's own server would make at its first start: the command line in core mode signs with it."""
    secret = ask(kubectl("-n", NAMESPACE, "get", "secret", "argocd-secret", "-o", "json"))
    if secret and "server.secretkey" in (json.loads(secret).get("data") or {}):
        return
    # By standard input: what is on a command line can be read by everybody on the machine.
    patch = json.dumps({"stringData": {"server.secretkey": secrets.token_urlsafe(32)}})
    command = kubectl("-n", NAMESPACE, "patch", "secret", "argocd-secret", "--patch-file=/dev/stdin")
    if ask(command, stdin=patch) is None:
        raise CommandFailed("the secret argocd-secret could not be given a key to sign with")
