"""What `make proof` leaves behind, and what `make release-check` asks of it."""

from pathlib import Path
from typing import Any

import pytest

from bench import release_check
from bench.proven import PARTS, ROLLOUTS, Proven, digest
from tests.e2e.twenty import CASES

ROOT = Path(__file__).parents[2]
ABOUT = {"holds": True, "commit": "0123456789ab", "machine": "two cores", "seconds": 1.0}


def whole() -> dict[str, Any]:
    """Everything that a release asks for."""
    return {
        "rules": ABOUT | {"by_test": 1, "by_world": 1, "reach": 12, "rules": [["Canary/paused", "I10", "test_x"]]},
        "worlds": ABOUT
        | {
            "worlds": [["steps", 7, 8, 9, "whole", 0, 0, "none", 1]],
            "states": 7,
            "transitions": 8,
            "edges": ["Canary to Promoting"],
            "never": [],
        },
        "histories": ABOUT | {"count": 10_000},
        "mutation": ABOUT
        | {
            "mutants": 10,
            "judged": 10,
            "caught": 9,
            "endless": 1,
            "percent": 90.0,
            "modules": {"plan/x.py": [9, 10]},
        },
        "verdict": ABOUT | {"broken": []},
        "cluster": ABOUT
        | {"passed": 20, "cases": [{"name": "a", "outcome": "passed", "seconds": 60, "said": ["a: 2.10 s"]}]},
    }


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A tree with sources and a proof of them."""
    for room in ("domain", "plan"):
        folder = tmp_path / "operator" / "understudy" / room
        folder.mkdir(parents=True)
        (folder / "x.py").write_text("A = 1\n")
    (tmp_path / "docs").mkdir()
    Proven(digest(tmp_path), whole()).write(tmp_path / "docs" / "proof.json")
    return tmp_path


def test_a_whole_proof_of_these_sources_lets_a_release_pass(root: Path) -> None:
    assert release_check.main(root) == 0


@pytest.mark.parametrize("room", ["domain", "plan"])
@pytest.mark.parametrize("change", ["edit", "add", "remove", "rename"])
def test_a_release_needs_a_new_proof_when_the_deciding_rooms_change(
    root: Path, room: str, change: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = root / "operator" / "understudy" / room / "x.py"
    match change:
        case "edit":
            file.write_text("A = 2\n")
        case "add":
            file.with_name("y.py").write_text("")
        case "remove":
            file.unlink()
        case "rename":
            file.rename(file.with_name("y.py"))
    assert release_check.main(root) == 1
    assert "have changed since the proof: run `make proof`" in capsys.readouterr().err


def test_other_rooms_may_change(root: Path) -> None:
    (root / "operator" / "understudy" / "engine").mkdir()
    (root / "operator" / "understudy" / "engine" / "x.py").write_text("")
    assert release_check.main(root) == 0


def test_without_any_proof_there_is_no_release(root: Path) -> None:
    (root / "docs" / "proof.json").unlink()
    assert release_check.main(root) == 1


@pytest.mark.parametrize(
    ("part", "less", "said"),
    [
        ("worlds", {"holds": False}, "worlds: does not hold"),
        ("histories", {"count": 500}, "histories: count is 500, and must be 10000 at least"),
        ("mutation", {"percent": 79.9}, "mutation: percent is 79.9, and must be 80.0 at least"),
        ("mutation", {"judged": 9}, "mutation: 9 of 10 mutants were judged, and must be all"),
        ("cluster", {"passed": 19}, "cluster: passed is 19, and must be 20 at least"),
    ],
)
def test_a_release_asks_for_all_of_each_part(root: Path, part: str, less: dict[str, Any], said: str) -> None:
    parts = whole()
    gaps = Proven("s", parts | {part: parts[part] | less}).gaps("s")
    assert [said in gap for gap in gaps] == [True]


@pytest.mark.parametrize("part", PARTS)
def test_a_release_asks_for_every_part(part: str) -> None:
    proven = Proven("s", {name: shown for name, shown in whole().items() if name != part})
    assert [gap.partition(":")[0] for gap in proven.gaps("s")] == [part]
    assert "Not shown of these sources." in proven.page()


def test_parts_of_other_sources_are_forgotten_and_of_the_same_are_kept(root: Path) -> None:
    proven = Proven.read(root / "docs" / "proof.json")
    assert set(proven.of(digest(root)).parts) == set(PARTS)
    assert proven.of("other").parts == {}


def test_the_page_says_what_each_part_has_shown() -> None:
    page = Proven("s", whole()).page()
    for said in (
        "Everything holds.",
        "10000 histories",
        "**90.0 %**",
        "| Canary/paused |",
        "a: 2.10 s",
        "0123456789ab",
    ):
        assert said in page


def test_the_committed_page_is_that_of_the_committed_results() -> None:
    assert (ROOT / "docs" / "proof.md").read_text() == Proven.read(ROOT / "docs" / "proof.json").page()


def test_there_are_twenty_rollouts_and_those_of_make_test_exist() -> None:
    assert len(CASES) == len({case.name for case in CASES}) == ROLLOUTS
    elsewhere = [case.shown_by for case in CASES if case.shown_by]
    assert len(elsewhere) == len(set(elsewhere)) >= 5
    for node in elsewhere:
        file, _, test = node.partition("::")
        name, _, case = test.partition("[")
        source = (ROOT / "tests" / "e2e" / file).read_text()
        assert f"def {name}(" in source
        assert not case or f'"{case.rstrip("]")}"' in source


def test_each_rollout_of_its_own_says_what_happens_and_how_fast_it_ends() -> None:
    for case in CASES:
        assert bool(case.shown_by) != bool(case.faults and case.bound > 0)
