"""Rules about the tree itself, each with the accident that it prevents."""

import operator as standard_operator
import re
import sysconfig
from importlib.metadata import requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent.parent
PACKAGE = ROOT / "operator" / "understudy"
MODULES = sorted(PACKAGE.rglob("*.py"))
FORBIDDEN_NAMES = {"utils", "util", "helpers", "common", "manager", "base", "misc"}


def test_no_python_file_lies_directly_in_the_operator_folder() -> None:
    # Such a file, or an __init__.py, would shadow the standard module `operator`: pip and pytest die at import.
    assert list((ROOT / "operator").glob("*.py")) == []


def test_operator_is_the_standard_module() -> None:
    assert Path(standard_operator.__file__).is_relative_to(sysconfig.get_path("stdlib"))


def test_no_module_is_longer_than_600_lines() -> None:
    long = {str(m.relative_to(ROOT)): n for m in MODULES if (n := len(m.read_text().splitlines())) > 600}
    assert long == {}


def test_modules_stay_small_on_the_whole() -> None:
    sizes = sorted(len(m.read_text().splitlines()) for m in MODULES if m.name != "__init__.py")
    assert sizes[int(len(sizes) * 0.9)] <= 350


@pytest.mark.parametrize("module", MODULES, ids=lambda m: str(m.relative_to(PACKAGE)))
def test_every_module_says_why_it_exists(module: Path) -> None:
    assert module.read_text().lstrip().startswith(('"""', 'r"""'))


def test_no_module_has_a_name_that_says_nothing() -> None:
    assert [m for m in MODULES if m.stem in FORBIDDEN_NAMES] == []


@pytest.mark.parametrize("name", ["runtime", "dev", "sdks", "fuzz"])
def test_requirements_are_pinned_and_hashed_without_an_index_address(name: str) -> None:
    text = (ROOT / "requirements" / f"{name}.txt").read_text()
    assert "://" not in text
    assert "--index-url" not in text
    pins = re.findall(r"^[a-z0-9][^\s]*==[^\s]+ \\\n    --hash=sha256:", text, flags=re.MULTILINE)
    names = re.findall(r"^[A-Za-z0-9]", text, flags=re.MULTILINE)
    assert len(pins) == len(names)


def test_an_extra_that_a_dependency_asks_for_is_pinned_by_name() -> None:
    # pip's hash mode takes `coverage==…` for `coverage[toml]` only until a newer coverage comes out: then a
    # fresh environment can no longer be made, though nothing in this repository has changed.
    text = (ROOT / "requirements" / "dev.txt").read_text()
    pinned = re.findall(r"^([A-Za-z0-9][^\s=]*)==", text, flags=re.MULTILINE)
    asked = {
        f"{canonicalize_name(wanted.name)}[{','.join(sorted(wanted.extras))}]"
        for pin in pinned
        for line in requires(pin.partition("[")[0]) or ()
        if (wanted := Requirement(line)).extras and (wanted.marker is None or wanted.marker.evaluate({"extra": ""}))
    }
    assert asked - set(pinned) == set()


def test_nothing_is_left_for_later() -> None:
    mark = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
    assert [str(m) for m in MODULES if mark.search(m.read_text())] == []
