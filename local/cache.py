"""Where everything that is built lies, and the keys that say when to build it again.

Nothing is keyed by the path of the checkout: a second clone of the same content uses what the first one built.
"""

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
SKIPPED_FOLDERS = frozenset({"__pycache__", ".git", ".mypy_cache", ".ruff_cache", ".pytest_cache"})


def root() -> Path:
    """The folder of everything cached: `$XDG_CACHE_HOME/understudy`, `~/.cache/understudy` by default."""
    configured = os.environ.get("XDG_CACHE_HOME", "")
    # The XDG specification says to ignore a relative path.
    parent = Path(configured) if configured.startswith("/") else Path.home() / ".cache"
    return parent / "understudy"


def folder(name: str) -> Path:
    """A folder of the cache, made when missing."""
    path = root() / name
    path.mkdir(parents=True, exist_ok=True)
    return path


def kubeconfig() -> Path:
    """The kubeconfig of the local cluster; `~/.kube/config` is never touched."""
    return root() / "kubeconfig"


def key(*parts: str | bytes) -> str:
    """Twelve hexadecimal digits that change when any part changes, or moves from one part to its neighbour."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "big"))
        digest.update(data)
    return digest.hexdigest()[:12]


def content_key(paths: Iterable[Path], *parts: str) -> str:
    """The key of files and folders by content and relative name; a missing path counts as absent, not as an error."""
    pieces: list[str | bytes] = list(parts)
    for path in paths:
        for file in _files(path):
            name = file.relative_to(path.parent).as_posix()
            executable = "x" if os.access(file, os.X_OK) else "-"
            pieces += [f"{executable} {name}", file.read_bytes()]
    return key(*pieces)


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    return sorted(
        file
        for file in path.rglob("*")
        if file.is_file() and not SKIPPED_FOLDERS.intersection(file.relative_to(path).parts)
    )


def put(path: Path, text: str, *, executable: bool = False) -> Path:
    """Write a file so that a reader sees the old content or the new, never half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(text)
    draft.chmod(0o755 if executable else 0o644)
    draft.replace(path)
    return path
