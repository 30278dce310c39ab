"""The proof of the rollout machine: random histories, small worlds searched whole, and rules taken out one by one.

    python bench/proof.py [--histories 10000] [--seconds 15] [--worlds NAME ...] [--out docs/proof.md]
    python bench/proof.py --find

Takes about ten minutes of one core; one process at a time. The same commit gives the same counts, but for worlds
that are cut short after `--seconds`. Exits with 1 when a promise breaks or a rule may go unnoticed. `--find` only looks
for a test that fails without each rule of which none is known, and writes it down.
"""

import argparse
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "operator")]

from tests.plan.explore.search import Explored, Search  # noqa: E402 - found by the path above
from tests.plan.explore.small import WORLDS, Small  # noqa: E402
from tests.plan.mutants import NOTICED, Mutant, broken_by, casts, mutants, noticed  # noqa: E402

# States of each world that are expanded in search of what breaks without a rule.
REACH = 12
# The part of states that were taken for a known one which is expanded all the same.
SAMPLE = 0.01
SOURCES = ("operator/understudy/plan", "tests/plan")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--histories", type=int, default=10000, help="random histories to play (0: none)")
    parser.add_argument("--seconds", type=float, default=15.0, help="time of this process for one world at most")
    parser.add_argument("--worlds", nargs="*", help="only these worlds, by name")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "proof.md", help="the page to write")
    parser.add_argument("--find", action="store_true", help="complete the table of tests that fail without a rule")
    given = parser.parse_args(arguments)
    if given.find:
        return find()
    chosen = [small for small in WORLDS if not given.worlds or small.name in given.worlds]
    proof = Proof()
    proof.mutate(chosen)
    for small in chosen:
        proof.explore(small, given.seconds)
    proof.play(given.histories)
    given.out.write_text("\n".join(proof.page()) + "\n")
    say(f"{given.out.name}: {'everything holds' if proof.holds else 'SOMETHING BREAKS'}")
    return 0 if proof.holds else 1


class Proof:
    """What has been shown so far."""

    def __init__(self) -> None:
        self.holds = True
        self.histories: tuple[int, float] = (0, 0.0)
        self.worlds: list[tuple[Explored, float]] = []
        self.missed: list[tuple[Mutant, str, str]] = []
        self.lasted = 0.0

    def mutate(self, worlds: Sequence[Small]) -> None:
        """Every rule taken out once: which invariant breaks in a small world, and which table test fails."""
        began = time.process_time()
        table, known = noticed(), {cast.name: cast for cast in casts()}
        every = mutants()
        for number, mutant in enumerate(every, start=1):
            broken = next(_broken(mutant, worlds), "")
            cast = known.get(table.get(mutant.name, ""))
            test = cast.name if cast is not None and broken_by(mutant, cast) else ""
            self.holds &= bool(test)
            self.missed.append((mutant, broken, test))
            if number % 10 == 0:
                say(f"{number} of {len(every)} rules taken out")
        self.lasted = time.process_time() - began

    def explore(self, small: Small, seconds: float) -> None:
        """One small world, all of it if time allows."""
        began = time.process_time()
        found = Search(small, sample=SAMPLE).run(
            seconds=seconds, tell=lambda e: say(f"{small.name}: {e.states} states, {e.transitions} transitions")
        )
        for finding in found.findings:
            say(f"BROKEN in {small.name}: {finding.what} after {' | '.join(finding.path)}")
        for path in found.stuck[:5]:
            say(f"NO WAY OUT in {small.name} after {' | '.join(path)}")
        self.holds &= not (found.findings or found.stuck)
        self.worlds.append((found, time.process_time() - began))

    def play(self, count: int) -> None:
        """Random histories, by the test that plays some hundreds of them on every run; the seed is the test's name."""
        if not count:
            return
        began = time.monotonic()
        say(f"{count} histories")
        command = [sys.executable, "-m", "pytest", "-q", "tests/plan/test_histories.py"]
        done = subprocess.run(command, cwd=ROOT, env={**os.environ, "UNDERSTUDY_HISTORIES": str(count)}, check=False)
        self.holds &= done.returncode == 0
        self.histories = (count, time.monotonic() - began)

    def page(self) -> Iterator[str]:
        """The page that says all this."""
        yield "# Proof of the rollout machine"
        yield "Written by `make proof`; read [rollout.md](rollout.md) and [rollout-safety.md](rollout-safety.md) first."
        yield ""
        yield f"- Commit {commit()}, Python {platform.python_version()}, {machine()}."
        yield f"- Everything holds: {'yes' if self.holds else 'NO'}."
        yield ""
        yield from self._histories()
        yield from self._worlds()
        yield from self._mutants()

    def _histories(self) -> Iterator[str]:
        count, seconds = self.histories
        yield "## Random histories"
        yield f"{count} histories of 2 to 12 events with faults, seeded by the test ({seconds:.0f} s by the clock)."
        yield "None breaks a promise, and each settles when the faults have stopped." if count else "Not played."
        yield ""

    def _worlds(self) -> Iterator[str]:
        yield "## Small worlds"
        yield MEANING
        yield "| World | States | Transitions | Plans | Searched | Broken | Stuck | Compared: differing | Seconds |"
        yield "|---|---|---|---|---|---|---|---|---|"
        for found, lasted in self.worlds:
            merges = f"{found.compared}: {len(found.differing)}" if found.compared else "none"
            numbers = f"{found.states} | {found.transitions} | {found.plans} | {'whole' if found.whole else 'in part'}"
            yield f"| {found.name} | {numbers} | {len(found.findings)} | {len(found.stuck)} | {merges} | {lasted:.0f} |"
        states, transitions = (sum(getattr(f, what) for f, _ in self.worlds) for what in ("states", "transitions"))
        yield f"| all | {states} | {transitions} | | | | | | {sum(lasted for _, lasted in self.worlds):.0f} |"
        edges = sorted({(a, b) for found, _ in self.worlds for a, b in found.edges if a != b})
        yield ""
        yield f"{len(edges)} ways from one phase to another were gone: {', '.join(f'{a} to {b}' for a, b in edges)}."
        yield ""

    def _mutants(self) -> Iterator[str]:
        tests, worlds = sum(bool(test) for *_, test in self.missed), sum(bool(broken) for _, broken, _ in self.missed)
        yield "## One rule taken out"
        yield f"Each of {len(self.missed)} rules is taken out once. Without {tests} of them a table test fails;"
        yield f"without {worlds} of them small worlds break a promise within {REACH} states ({self.lasted:.0f} s)."
        yield ""
        yield "| Without | Promise (world, steps) | Table test |"
        yield "|---|---|---|"
        for mutant, broken, test in self.missed:
            yield f"| {mutant.name} | {broken} | {test or 'NONE'} |"


MEANING = """\
Every order of events in a small world, over the real `plan`: three revisions, one or two pods and gateways, one to
three edits and requests, traffic that is none, healthy, bad on the candidate or bad on both, crashes, evictions,
wrong models, no room, silent and late gateways or none, a missing Model, and an operator that dies after each of its
writes, or looks at what the API server had one to three steps ago. Every invariant of `plan/invariants.py` and of
`tests/plan/audit.py`, and I7 on what is really there, are asserted on every transition. I13 is shown backwards: from
every state some way leads to where the rollout rests (or, searched in part, to a state that was not looked into).

What is abstracted: time goes by in steps of 5 s and of 40 s, and of a time only counts which deadlines are over; of a
counter, which of its bounds are reached; names, versions, numbers of rollouts and promotions, histories and sentences
do not tell states apart; one thing happens between two passes. Of the states that count as one, the first is carried
on. *Compared* says how many of the others were expanded as well, and how many of these led to another set of states: a
deadline is over one step sooner or later then, since seconds below it are not told apart. The relative verdict compares
nothing in these worlds; its numbers are in [benchmarks/verdict.md](benchmarks/verdict.md).
"""


def find() -> int:
    """Look for a test that fails without each rule of which none is known, and write the table anew."""
    table, known, every = noticed(), {cast.name: cast for cast in casts()}, mutants()
    lines = []
    for mutant in every:
        old = known.get(table.get(mutant.name, ""))
        first = [old] if old is not None else []
        cast = next((c for c in (*first, *known.values()) if broken_by(mutant, c)), None)
        say(f"{mutant.name}: {cast.name if cast is not None else 'NO TEST FAILS'}")
        lines += [f"{mutant.name} {cast.name}"] if cast is not None else []
    NOTICED.write_text("\n".join(lines) + "\n")
    return 0 if len(lines) == len(every) else 1


def say(what: str) -> None:
    """How far it has come."""
    print(what, file=sys.stderr, flush=True)


def commit() -> str:
    """The commit, and whether anything that counts differs from it."""
    head = ["git", "rev-parse", "--short=12", "HEAD"]
    name = subprocess.run(head, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    changed = subprocess.run(["git", "diff", "--quiet", "HEAD", "--", *SOURCES], cwd=ROOT, check=False).returncode
    return f"{name} with changes" if changed else name


def machine() -> str:
    """In plain words."""
    return f"one core of {os.cpu_count()} ({platform.machine()}), shared with other work"


def _broken(mutant: Mutant, worlds: Sequence[Small]) -> Iterator[str]:
    """Promises that break without the rule, world by world."""
    for small in worlds:
        found = Search(small, mutant.rules, limit=REACH).run(until_finding=True)
        yield from (f"{finding.invariant} ({small.name}, {len(finding.path)})" for finding in found.findings[:1])


if __name__ == "__main__":
    sys.exit(main())
