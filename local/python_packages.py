"""Python packages laid out for an image's Python, whatever Python this machine has.

uv does it in seconds where pip takes minutes, but does not read pip's configuration: the part that says where packages
come from is handed over, so that an index or a certificate that works for pip works here.
"""

import os
import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from local import cache, versions
from local.commands import ask
from local.steps import Step

PYTHON = "3.11"  # of the images, not of this machine
PLATFORM = "x86_64-manylinux_2_36" if os.uname().machine == "x86_64" else "aarch64-manylinux_2_36"
HANDED_OVER = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "find-links": "UV_FIND_LINKS",
    "cert": "SSL_CERT_FILE",
}


def install(requirements: Path, destination: Path, step: Step) -> None:
    """Lay out the pinned, hashed packages of a requirements file in a new folder, as `site-packages`.

    The downloads are not kept: what is laid out becomes a layer of an image, which is.
    """
    destination.mkdir()
    if "==" not in requirements.read_text():
        return
    with tempfile.TemporaryDirectory(dir=destination.parent) as downloads:
        command = [*_uv_install(step), "--require-hashes", "-r", requirements, "--target", destination]
        step.run(command, env={**environment(), "UV_CACHE_DIR": downloads})
    _drop_scripts(destination)


def install_project(destination: Path, step: Step) -> None:
    """Build this repository's own package and lay it out in a new folder; what builds it stays cached."""
    kept = {"UV_CACHE_DIR": str(cache.folder("uv-cache"))}
    step.run([*_uv_install(step), "--target", destination, cache.REPOSITORY], env={**environment(), **kept})
    _drop_scripts(destination)


def environment() -> dict[str, str]:
    """The variables that make uv look where pip does here."""
    return hand_over(ask([sys.executable, "-m", "pip", "config", "list"]) or "", os.environ)


def hand_over(pip_settings: str, variables: Mapping[str, str]) -> dict[str, str]:
    """uv's variables from the lines of `pip config list`; a variable that the user has set for uv already stays."""
    found: dict[str, str] = {}
    for line in pip_settings.splitlines():
        name, _, value = line.partition("=")
        variable = HANDED_OVER.get(name.rpartition(".")[2])
        if variable and variable not in variables:
            # pip prints several values as one, with line ends between them.
            found[variable] = " ".join(value.strip("'\"").replace("\\n", " ").split())
    return found


def _uv_install(step: Step) -> list[str | Path]:
    venv = cache.root() / f"uv-{versions.UV}"
    if not (venv / "bin" / "uv").exists():
        step.run([sys.executable, "-m", "venv", venv])
        step.run([venv / "bin" / "python3", "-m", "pip", "install", "--quiet", f"uv=={versions.UV}"])
    options = ["--no-deps", "--python-version", PYTHON, "--python-platform", PLATFORM]
    return [venv / "bin" / "uv", "pip", "install", *options]


def _drop_scripts(folder: Path) -> None:
    """Scripts name the Python of this machine; an image brings its own."""
    for name in ("bin", ".lock"):
        path = folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
