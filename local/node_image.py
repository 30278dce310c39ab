"""The cluster's node image: kind's own where a registry can be reached, otherwise assembled from packages and modules.

The assembly follows kind's build step for step: base, Kubernetes' binaries, the images of its components, commit.
"""

import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from local import cache, capability, component_images, debian, golang, programs, versions
from local.commands import ask
from local.steps import CommandFailed, Step, step

BASE_PACKAGES = (
    *("systemd", "systemd-sysv", "conntrack", "iptables", "nftables", "iproute2", "ethtool", "util-linux", "mount"),
    *("kmod", "libseccomp2", "pigz", "e2fsprogs", "bash", "ca-certificates", "curl", "jq", "procps", "containerd"),
    *("runc", "containernetworking-plugins", "socat", "hostname"),
)
SOURCES = programs.SOURCES
ALL_PROGRAMS = (programs.PAUSE, programs.ETCD, programs.COREDNS, programs.STORAGE, programs.KUBERNETES)


def tag() -> str:
    """The assembled image's tag, which changes with everything that goes into it."""
    own_files = [
        SOURCES / name
        for name in ("base.Dockerfile", "bridge.conflist", "runc-unprivileged.sh", "service-range.service")
    ]
    code = [Path(__file__), Path(component_images.__file__)]
    built = [program.key for program in ALL_PROGRAMS]
    key = cache.content_key([*own_files, *code], *built, *BASE_PACKAGES, str(capability.withheld_here()))
    return f"understudy.local/node:{versions.KUBERNETES}-{key}"


def ensure() -> str:
    """Assemble the node image unless Docker has it; returns its tag."""
    image = tag()
    if ask(["docker", "image", "inspect", "-f", "{{.Id}}", image]) is not None:
        return image
    for program in ALL_PROGRAMS:
        if not program.built.is_dir():
            with step(f"build {program.name} from its Go module") as current:
                golang.build(program, current)
    with step("make the node's base from Debian packages") as current:
        base = _base(current)
    with step("make the images of the Kubernetes components") as current:
        storage = storage_manifest(_kind_source("pkg/build/nodeimage/const_storage.go", current).read_text())
        images = component_images.build(base, image_names(storage), current)
    with step("assemble the node image") as current:
        _assemble(image, base, images, storage, current)
    return image


def storage_manifest(source: str) -> str:
    """The manifest of the storage provisioner out of kind's Go source, with its image constants filled in."""
    constants = dict(re.findall(r'const (\w+) = "([^"]+)"', source))
    found = re.search(r"const defaultStorageManifest = `(.*)`\s*$", source, re.DOTALL)
    if not found:
        raise CommandFailed("kind's source no longer holds the storage manifest where it used to")
    return re.sub(r"` \+ (\w+) \+ `", lambda match: constants[match[1]], found[1])


def image_names(manifest: str) -> dict[str, str]:
    """Which image the manifest names for the provisioner and for its helper."""
    names = re.findall(r"\S*kindest/local-path-\S+", manifest)
    return {"provisioner" if "provisioner" in name else "helper": name for name in names}


def _kind_source(path: str, current: Step) -> Path:
    go = golang.toolchain(current)
    current.run([go, "mod", "download", f"sigs.k8s.io/kind@{versions.KIND}"], cwd=cache.folder("go"))
    modules = ask([go, "env", "GOMODCACHE"]) or ""
    return Path(modules) / f"sigs.k8s.io/kind@{versions.KIND}" / path


def _base(current: Step) -> str:
    packages = debian.image("debian-node", BASE_PACKAGES, current)
    files = _kind_source("images/base/files", current)
    withheld = "yes" if capability.withheld_here() else "no"
    base = "understudy.local/node-base:current"
    with tempfile.TemporaryDirectory() as folder:
        context = Path(folder)
        shutil.copytree(files, context / "kind", copy_function=shutil.copyfile)
        for path in (context / "kind").rglob("*"):
            path.chmod(0o755 if path.is_dir() else 0o644)
        shutil.copy(SOURCES / "runc-unprivileged.sh", context / "runc-unprivileged")
        for name in ("bridge.conflist", "service-range.service"):
            shutil.copy(SOURCES / name, context)
        shutil.copy(SOURCES / "base.Dockerfile", context / "Dockerfile")
        arguments = ["--build-arg", f"DEBIAN={packages}", "--build-arg", f"WITHHELD={withheld}"]
        current.run(["docker", "build", "-t", base, *arguments, context])
    return base


def _assemble(image: str, base: str, images: list[str], storage: str, current: Step) -> None:
    kubernetes = programs.KUBERNETES.built
    with tempfile.TemporaryDirectory() as folder, _container(base, current) as container:
        draft = Path(folder)
        cache.put(draft / "version", versions.KUBERNETES)
        cache.put(draft / "manifests" / "default-storage.yaml", storage)
        cache.put(draft / "manifests" / "default-cni.yaml", "")
        current.run(["docker", "cp", f"{draft}/.", f"{container}:/kind/"])
        for name in programs.NODE_COMMANDS:
            current.run(["docker", "cp", kubernetes / name, f"{container}:/usr/bin/{name}"])
        archive = draft / "images.tar"
        current.run(["docker", "save", "-o", archive, *images])
        current.run(["docker", "exec", "-d", container, "containerd"])
        ctr = ["docker", "exec", "-i", container, "ctr", "-n", "k8s.io"]
        current.wait("containerd", lambda: ask([*ctr, "version"]) is not None, deadline=60)
        with archive.open("rb") as content:
            # Unpacked on first use: an overlay cannot be made on top of the overlay that a build container lives on.
            current.run([*ctr, "images", "import", "--no-unpack", "-"], stdin=content, deadline=600)
        for name in images:
            current.run([*ctr, "images", "label", name, "io.cri-containerd.pinned=pinned"])
        current.run(["docker", "exec", container, "pkill", "containerd"])
        entrypoint = 'ENTRYPOINT ["/usr/local/bin/entrypoint", "/sbin/init"]'
        current.run(["docker", "commit", "--change", entrypoint, "--change", "CMD []", container, image])
    # They are in the node image now; a build of another version would leave them without a name.
    current.run(["docker", "image", "rm", *images])


@contextmanager
def _container(image: str, current: Step) -> Iterator[str]:
    name = "understudy-node-build"
    ask(["docker", "rm", "-f", "-v", name])
    options = ["--privileged", "--entrypoint", "sleep", "--name", name]
    current.run(["docker", "run", "-d", *options, image, "infinity"])
    try:
        yield name
    finally:
        ask(["docker", "rm", "-f", "-v", name], seconds=60)
