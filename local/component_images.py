"""Images of what runs in a cluster, each one static binary, under the names that kubeadm and kind ask for."""

import shutil
import tarfile
import tempfile
from pathlib import Path

from local import programs, versions
from local.golang import Program
from local.steps import Step


def build(base: str, storage_images: dict[str, str], current: Step) -> list[str]:
    """Make every image that a node needs; returns their tags. kube-proxy and the storage helper need `base`'s tools."""
    registry = "registry.k8s.io"
    made = []
    for name in programs.COMPONENTS:
        tag = f"{registry}/{name}:{versions.KUBERNETES}"
        if name == "kube-proxy":
            _on_base(tag, base, programs.KUBERNETES.built / name, current)
        else:
            _alone(tag, programs.KUBERNETES.built / name, name, current)
        made.append(tag)
    single: list[tuple[str, Program, str]] = [
        (versions.KUBEADM_IMAGES["etcd"], programs.ETCD, "etcd"),
        (versions.KUBEADM_IMAGES["coredns"], programs.COREDNS, "coredns"),
        (storage_images["provisioner"], programs.STORAGE, "local-path-provisioner"),
        *((tag, programs.PAUSE, "pause") for tag in versions.PAUSE_IMAGES),
    ]
    for tag, program, command in single:
        _alone(tag, only_binary(program.built), command, current)
        made.append(tag)
    current.run(["docker", "tag", base, storage_images["helper"]])
    return [*made, storage_images["helper"]]


def only_binary(folder: Path) -> Path:
    """The one file in a program's folder: Go names it after the module's path, `server` or `v3`, say."""
    (binary,) = folder.iterdir()
    return binary


def _alone(tag: str, binary: Path, command: str, current: Step) -> None:
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder) / "root.tar"
        with tarfile.open(archive, "w") as tar:
            for path in ("usr/local/bin", "tmp"):
                directory = tarfile.TarInfo(path)
                directory.type, directory.mode = tarfile.DIRTYPE, 0o1777 if path == "tmp" else 0o755
                tar.addfile(directory)
            tar.add(binary, f"usr/local/bin/{command}")
        changes = ["--change", "ENV PATH=/usr/local/bin", "--change", f'ENTRYPOINT ["/usr/local/bin/{command}"]']
        current.run(["docker", "import", *changes, archive, tag])


def _on_base(tag: str, base: str, binary: Path, current: Step) -> None:
    with tempfile.TemporaryDirectory() as folder:
        context = Path(folder)
        dockerfile = f"FROM {base}\nCOPY {binary.name} /usr/local/bin/\nENTRYPOINT []\n"
        (context / "Dockerfile").write_text(dockerfile)
        shutil.copy(binary, context)
        current.run(["docker", "build", "-t", tag, context])
