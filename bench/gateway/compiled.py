"""Our gateway's policy and wire compiled with mypyc, into the cache: what it would bring (docs/adr/0014)."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from local import environments
from local.cache import content_key, folder

OPERATOR = Path(__file__).resolve().parents[2] / "operator"
_MODULES = ("policy/*.py", "table.py", "wire/*.py")
# Counters that lie in memory shared by workers are made by looking into their classes (docs/adr/0021), which compiled
# ones do not let anybody do.
_LEFT = frozenset({"__init__.py", "books.py", "cells.py", "evidence.py", "pairs.py"})
# mypyc's output is built by it; newer environments come without.
_SETUPTOOLS = "setuptools==80.9.0"
_CONFIG = "[mypy]\n[mypy-httptools.*]\nignore_missing_imports = True\n"


def path() -> Path:
    """The folder to import from instead of operator/, by the content of what was compiled."""
    return folder("bench") / f"mypyc-{content_key([OPERATOR / 'understudy'])}"


def build() -> None:
    """Compile unless that is done; a minute of one core, and a C compiler is needed."""
    where = path()
    if where.exists():
        return
    if shutil.which("gcc") is None:
        raise SystemExit("gcc is not installed: apt-get install gcc, or --peers without understudy-mypyc")
    draft = where.with_suffix(".part")
    shutil.rmtree(draft, ignore_errors=True)
    shutil.copytree(OPERATOR / "understudy", draft / "understudy", ignore=shutil.ignore_patterns("__pycache__"))
    (draft / "mypy.ini").write_text(_CONFIG)
    modules = [
        str(file.relative_to(draft))
        for pattern in _MODULES
        for file in sorted((draft / "understudy/gateway").glob(pattern))
        if file.name not in _LEFT
    ]
    mypyc = Path(sys.executable).with_name("mypyc")
    tools = environments.install(environments.of_package(_SETUPTOOLS), _SETUPTOOLS)
    subprocess.run(
        [mypyc, "--config-file", "mypy.ini", *modules],
        cwd=draft,
        check=True,
        stdout=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(next(tools.glob("lib/python*/site-packages")))},
    )
    draft.rename(where)
