"""Virtual environments in the cache for what is measured or tried beside the project and must not become part of it.

Such programs want other versions of the same packages than the project does, and hundreds of megabytes of them.
"""

import fcntl
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from local.cache import content_key, folder


def of_package(package: str) -> Path:
    """Where the environment of a pinned requirement lies, such as `litellm[proxy]==1.2.3`."""
    return folder("bench") / package.replace("[", "-").replace("]", "").replace("==", "-")


def of_file(requirements: Path) -> Path:
    """Where the environment of a file of pinned and hashed requirements lies."""
    return folder("bench") / f"{requirements.stem}-{content_key([requirements])}"


def install(where: Path, *what: str | Path) -> Path:
    """The environment at `where`, with `what` installed in it: requirements, or pip's options. Made once."""

    def make() -> None:
        uv = Path(sys.executable).with_name("uv")
        subprocess.run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, where], check=True)
        subprocess.run([uv, "pip", "install", "--quiet", "--python", where / "bin/python", *what], check=True)

    return once(where, make)


def install_file(requirements: Path) -> Path:
    """The environment of a file of pinned and hashed requirements."""
    return install(of_file(requirements), "--require-hashes", "-r", requirements)


def once(where: Path, make: Callable[[], None]) -> Path:
    """`where`, after `make` has filled it: the first time only, however many processes ask at the same time."""
    ready = where / "ready"
    with (where.parent / f"{where.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not ready.exists():
            make()
            ready.touch()
    return where
