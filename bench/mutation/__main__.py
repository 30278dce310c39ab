"""Mutation testing of the rooms that decide.

    python -m bench.mutation [--changed] [--seconds S] [--sample N] [--seed N] [--out FILE] [MODULE ...]
    python -m bench.mutation --record FILE [--seconds S]

Every small change of `plan/` and `domain/` is made once, and their tests must notice. Without random histories and
searched worlds, which would take minutes for each: the score is that of the tests that say what they expect. With
`--changed` only the modules that differ from where this branch left `main` (on `main`: from the commit before); a tree
without such changes has a small sample of all. Exits with 1 below `--floor` percent; of a sample, when the share is
below that beyond doubt (95 %).

With `--record` module after module is judged whole, and what was found is kept in the file until the module changes:
a run goes on where the one before ended.
"""

import argparse
import json
import os
import random
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from bench.mutation.judge import QUIETLY, Judge, Task, Verdict
from bench.mutation.mutants import Module
from bench.mutation.record import Record
from bench.mutation.score import Score

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "understudy"
SOURCE = ROOT / "operator"
ROOMS = (SOURCE / PACKAGE / "domain", SOURCE / PACKAGE / "plan")
TESTS = ("tests/domain", "tests/plan")
# Tests that play histories, search worlds, or run other tests.
APART = ("test_exhaustive", "test_histories", "test_mutants")
SMALL = 60


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench.mutation", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("modules", nargs="*", type=Path, help="only these files")
    parser.add_argument("--changed", action="store_true", help="only modules that this branch changes")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="by the clock, for all of it")
    parser.add_argument("--least", type=int, default=40, help="mutants that are judged however long it takes")
    parser.add_argument("--sample", type=int, default=0, help="how many mutants, drawn at random (0: all)")
    parser.add_argument("--tests", nargs="+", default=TESTS, metavar="PATH", help="what judges")
    parser.add_argument("--seed", type=int, default=0, help="of the order in which mutants are judged")
    parser.add_argument("--floor", type=float, default=80.0, help="percent that must be caught")
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1), help="processes")
    parser.add_argument("--out", type=Path, help="write everything to this file, as JSON")
    parser.add_argument("--record", type=Path, help="keep what becomes of each module in this file, and go on there")
    given = parser.parse_args(arguments)
    every = sorted(path for room in ROOMS for path in room.rglob("*.py"))
    if given.record is not None:
        return recorded(every, given)
    chosen = [path.resolve() for path in given.modules]
    sample = given.sample
    if given.changed:
        chosen = [path for path in every if path in changed()]
        say(f"{len(chosen)} changed modules" if chosen else f"no module is changed: {SMALL} mutants of all")
        sample = sample if chosen else SMALL
    score = judged(every, chosen or every, sample, given)
    if score is None:
        return 2
    for line in score.lines():
        say(line)
    if given.out is not None:
        given.out.write_text(json.dumps(score.document(), indent=1) + "\n")
    return 0 if score.holds(given.floor) else 1


def recorded(every: Sequence[Path], given: argparse.Namespace) -> int:
    """Judge the modules of which the record says nothing, as many as the time allows; the exit code."""
    modules = {path: Module(path) for path in every}
    record = Record(given.record, modules)
    groups = [module.mutants for module in record.lacking()]
    if groups:

        def judged(verdicts: Sequence[Verdict]) -> None:
            record.add(verdicts)
            say(sentence(record))

        longest = max(len(group) for group in groups)
        judge = Judge(Task(modules, groups, PACKAGE, SOURCE, given.seconds, longest, given.jobs, say, judged))
        if not run(judge, given):
            return 2
    say(sentence(record))
    return 0 if record.document()["percent"] >= given.floor else 1


def sentence(record: Record) -> str:
    """How far it has come, and the score so far."""
    so_far = record.document()
    return f"{so_far['caught']} of {so_far['judged']} mutants caught, {so_far['percent']} %, of {so_far['mutants']}"


def judged(every: Sequence[Path], chosen: Sequence[Path], sample: int, given: argparse.Namespace) -> Score | None:
    """The score of these modules; None if the tests fail as it is."""
    modules = {path: Module(path) for path in every}
    mutants = [mutant for path in chosen for mutant in modules[path].mutants]
    random.Random(given.seed).shuffle(mutants)
    some = mutants[:sample] if sample else mutants
    least = -(-given.least // given.jobs)
    judge = Judge(Task(modules, [some], PACKAGE, SOURCE, given.seconds, least, given.jobs, say, lambda _: None))
    return Score(judge.verdicts, len(mutants), given.seed) if run(judge, given) else None


def run(judge: Judge, given: argparse.Namespace) -> bool:
    """Whether the tests pass as it is and the judge came to any verdict."""
    away = [f"--ignore={path.relative_to(ROOT)}" for path in tests_apart()]
    os.chdir(ROOT)
    ended = pytest.main([*QUIETLY, "-m", "not cluster", *away, *given.tests], plugins=[judge])
    for test in judge.failing:
        say(f"fails without any change: {test}")
    return bool(judge.verdicts) and not ended


def tests_apart() -> list[Path]:
    """The files that do not judge."""
    return [path for folder in TESTS for name in APART for path in (ROOT / folder).rglob(f"{name}.py")]


def changed(root: Path = ROOT) -> set[Path]:
    """Files that differ from where this branch left `main`, or on `main` from the commit before."""

    def git(*words: str) -> str:
        """What git says, empty if it fails."""
        return subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, check=False).stdout.strip()

    head = git("rev-parse", "HEAD")
    base = next((found for name in ("main", "origin/main") if (found := git("merge-base", "HEAD", name))), "")
    if base in ("", head):
        base = git("rev-parse", "--verify", "--quiet", "HEAD~1")
    return {root / name for name in git("diff", "--name-only", base or "HEAD").splitlines()}


def say(what: str) -> None:
    """How far it has come."""
    print(what, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
