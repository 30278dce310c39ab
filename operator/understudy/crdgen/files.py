"""Every generated file with its content: what `make generate` writes and `make verify` compares."""

from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from understudy.crdgen.crd import crd, crd_name
from understudy.crdgen.kinds import KINDS
from understudy.crdgen.yamltext import HEADER, to_yaml


def generated() -> dict[PurePosixPath, str]:
    """Content by path below the top of the repository."""
    files: dict[PurePosixPath, str] = {}
    for kind in KINDS:
        files[PurePosixPath("crds", f"{crd_name(kind)}.yaml")] = HEADER + to_yaml(crd(kind))
    return files


# Folders whose every file is generated: what is left over there belongs to a kind that is gone.
_OWNED = (PurePosixPath("crds"),)


def differing(files: Mapping[PurePosixPath, str], root: Path) -> list[PurePosixPath]:
    """Paths whose file on disk is missing, another one, or left over; sorted."""
    changed = [path for path, text in files.items() if _read(root / path) != text]
    return sorted([*changed, *_left_over(files, root)])


def write(files: Mapping[PurePosixPath, str], root: Path) -> list[PurePosixPath]:
    """Write what differs and remove what is left over; the paths touched, sorted."""
    touched = differing(files, root)
    for path in touched:
        target = root / path
        if path in files:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(files[path], encoding="utf-8")
        else:
            target.unlink()
    return touched


def _left_over(files: Mapping[PurePosixPath, str], root: Path) -> list[PurePosixPath]:
    on_disk = (PurePosixPath(file.relative_to(root)) for folder in _OWNED for file in (root / folder).glob("*"))
    return [path for path in on_disk if path not in files]


def _read(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.is_file() else None
