"""The proof of the rollout machine, in six parts: docs/proof.md and docs/proof.json.

    python bench/proof.py [--parts rules worlds histories mutation verdict cluster] [--worlds NAME ...] [--jobs N]
    python bench/proof.py --find

- rules: every rule is taken out once, and a table test must notice; small worlds show which promise it keeps.
- worlds: every order of events in small worlds, each searched whole if `--seconds` allow; all ways between phases.
- histories: random ones with faults.
- mutation: every small change of the code, which the tests must notice (bench/mutation).
- verdict: simulated candidates, bad and healthy (bench/verdict.py).
- cluster: twenty rollouts with faults on a real cluster, which is brought up if it is not there (tests/e2e/twenty.py).

Parts that are not run are kept from before, if `plan/` and `domain/` are the same. The same commit gives the same
results, but for worlds that are cut short. Ends with 1 when something does not hold. `--find` only looks for a test
that fails without each rule of which none is known, and writes it down.
"""

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "operator")]

from bench.mutation.mutants import Module  # noqa: E402 - found by the path above
from bench.mutation.record import Record  # noqa: E402
from bench.proven import HISTORIES, MUTATION, PARTS, ROOMS, Part, Proven, digest  # noqa: E402 - found by the path above
from tests.e2e.twenty import CASES  # noqa: E402
from tests.plan.explore.search import Explored, Search  # noqa: E402
from tests.plan.explore.small import WORLDS, Small  # noqa: E402
from tests.plan.mutants import NOTICED, Mutant, broken_by, casts, mutants, noticed  # noqa: E402
from tests.plan.test_exhaustive import EDGES  # noqa: E402

# States of each world that are expanded in search of what breaks without a rule.
REACH = 12
# The part of states that were taken for a known one which is expanded all the same.
SAMPLE = 0.01
SOURCES = ("operator/understudy/plan", "operator/understudy/domain", "tests/plan", "tests/domain", "bench")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="only these")
    parser.add_argument("--histories", type=int, default=HISTORIES, help="random histories to play")
    parser.add_argument("--seconds", type=float, default=15.0, help="time of this process for one world at most")
    parser.add_argument("--worlds", nargs="*", help="only these worlds, by name")
    parser.add_argument(
        "--limit", type=float, default=float("inf"), help="seconds for mutants; a module begun is ended"
    )
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1), help="processes that judge mutants")
    parser.add_argument(
        "--out", type=Path, default=ROOT / "docs" / "proof.json", help="the results; the page lies beside"
    )
    parser.add_argument("--find", action="store_true", help="complete the table of tests that fail without a rule")
    given = parser.parse_args(arguments)
    if given.find:
        return find()
    sources, about = digest(), {"commit": commit(), "machine": machine()}
    proven = Proven.read(given.out).of(sources)
    for name in PARTS:
        if name in given.parts:
            say(f"{name} ...")
            proven.parts[name] = {**_RUN[name](given), **about}
            proven.write(given.out)
            given.out.with_suffix(".md").write_text(proven.page())
            say(f"{name}: {'holds' if proven.parts[name]['holds'] else 'DOES NOT HOLD'}")
    return 0 if all(proven.parts[name]["holds"] for name in given.parts) else 1


def rules(given: argparse.Namespace) -> Part:
    """Every rule taken out once: which invariant breaks in a small world, and which table test fails."""
    began = time.process_time()
    table, known, worlds = noticed(), {cast.name: cast for cast in casts()}, _chosen(given)
    found: list[tuple[str, str, str]] = []
    every = mutants()
    for number, mutant in enumerate(every, start=1):
        broken = next(_broken(mutant, worlds), "")
        cast = known.get(table.get(mutant.name, ""))
        test = cast.name if cast is not None and broken_by(mutant, cast) else ""
        found.append((mutant.name, broken, test or "NONE"))
        if number % 10 == 0:
            say(f"{number} of {len(every)} rules taken out")
    return {
        "holds": all(test != "NONE" for *_, test in found),
        "by_test": sum(test != "NONE" for *_, test in found),
        "by_world": sum(bool(broken) for _, broken, _ in found),
        "reach": REACH,
        "rules": found,
        "seconds": round(time.process_time() - began, 1),
    }


def worlds(given: argparse.Namespace) -> Part:
    """Each small world, all of it if time allows."""
    found = []
    for small in _chosen(given):
        began = time.process_time()
        explored = Search(small, sample=SAMPLE).run(seconds=given.seconds, tell=_searched)
        for finding in explored.findings:
            say(f"BROKEN in {small.name}: {finding.what} after {' | '.join(finding.path)}")
        for path in explored.stuck[:5]:
            say(f"NO WAY OUT in {small.name} after {' | '.join(path)}")
        found.append((explored, time.process_time() - began))
    gone = {(a, b) for explored, _ in found for a, b in explored.edges if a != b}
    never = {(a, b) for a, following in EDGES.items() for b in following} - gone
    return {
        "holds": not any(explored.findings or explored.stuck for explored, _ in found) and not (never or given.worlds),
        "worlds": [_world(explored, lasted) for explored, lasted in found],
        "states": sum(explored.states for explored, _ in found),
        "transitions": sum(explored.transitions for explored, _ in found),
        "edges": [f"{a} to {b}" for a, b in sorted(gone)],
        "never": [f"{a} to {b}" for a, b in sorted(never)],
        "seconds": round(sum(lasted for _, lasted in found), 1),
    }


def _searched(found: Explored) -> None:
    say(f"{found.name}: {found.states} states, {found.transitions} transitions")


def _world(found: Explored, lasted: float) -> tuple[str | int, ...]:
    merges = f"{found.compared}: {len(found.differing)}" if found.compared else "none"
    searched = "whole" if found.whole else "in part"
    broken, stuck = len(found.findings), len(found.stuck)
    return (found.name, found.states, found.transitions, found.plans, searched, broken, stuck, merges, round(lasted))


def histories(given: argparse.Namespace) -> Part:
    """Random histories, by the test that plays some hundreds of them on every run."""
    began = time.monotonic()
    command = [sys.executable, "-m", "pytest", "-q", "tests/plan/test_histories.py"]
    settings = {**os.environ, "UNDERSTUDY_HISTORIES": str(given.histories)}
    done = subprocess.run(command, cwd=ROOT, env=settings, check=False)
    return {"holds": done.returncode == 0, "count": given.histories, "seconds": round(time.monotonic() - began, 1)}


def mutation(given: argparse.Namespace) -> Part:
    """Every small change of the code; what is known already of modules that are the same is kept."""
    record = given.out.with_name("mutation.json")
    command = [sys.executable, "-m", "bench.mutation", f"--record={record}", f"--jobs={given.jobs}"]
    done = subprocess.run([*command, f"--floor={MUTATION}", f"--seconds={given.limit}"], cwd=ROOT, check=False)
    if done.returncode not in (0, 1):
        raise SystemExit("the tests fail without any change: mend them first")
    modules = {path: Module(path) for room in ROOMS for path in (ROOT / room).rglob("*.py")}
    return {"holds": done.returncode == 0, **Record(record, modules).document()}


def verdict(_: argparse.Namespace) -> Part:
    """Simulated candidates; writes their own page."""
    began = time.monotonic()
    command = [sys.executable, "bench/verdict.py", "--check"]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    broken = [line for line in done.stderr.splitlines() if "verdicts" in line or "median" in line]
    return {"holds": done.returncode == 0, "broken": broken, "seconds": round(time.monotonic() - began, 1)}


def cluster(_: argparse.Namespace) -> Part:
    """Twenty rollouts with faults, those of `make test` among them."""
    own = "test_twenty.py::test_a_rollout_with_faults"
    tests = {case.name: f"tests/e2e/{case.shown_by or f'{own}[{case.name}]'}" for case in CASES}
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "junit.xml"
        command = [sys.executable, "-m", "pytest", "-q", f"--junitxml={report}", "-o", "junit_logging=system-out"]
        subprocess.run([*command, *tests.values()], cwd=ROOT, check=False)
        ran = {f"{c.get('name')}": c for c in ElementTree.parse(report).iter("testcase")}  # noqa: S314 - pytest's own
    cases = [_case(name, ran.get(test.partition("::")[2])) for name, test in tests.items()]
    passed = sum(case["outcome"] == "passed" for case in cases)
    return {"holds": passed == len(cases), "passed": passed, "cases": cases}


def _case(name: str, ran: ElementTree.Element | None) -> Part:
    if ran is None:
        return {"name": name, "outcome": "not run", "seconds": 0.0, "said": []}
    outcome = next((end for end in ("failure", "error", "skipped") if ran.find(end) is not None), "passed")
    printed = (ran.findtext("system-out") or "").splitlines()
    # Times that were measured, and what became of the requests.
    said = [line for line in printed if line.endswith(" s") and ": " in line and not line.startswith(" ")]
    return {"name": name, "outcome": outcome, "seconds": float(ran.get("time", "0")), "said": said}


_RUN = {
    "rules": rules,
    "worlds": worlds,
    "histories": histories,
    "mutation": mutation,
    "verdict": verdict,
    "cluster": cluster,
}


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
    return f"Python {platform.python_version()}, {os.cpu_count()} cores ({platform.machine()}) shared with other work"


def _chosen(given: argparse.Namespace) -> list[Small]:
    return [small for small in WORLDS if not given.worlds or small.name in given.worlds]


def _broken(mutant: Mutant, worlds: Sequence[Small]) -> Iterator[str]:
    """Promises that break without the rule, world by world."""
    for small in worlds:
        found = Search(small, mutant.rules, limit=REACH).run(until_finding=True)
        yield from (f"{finding.invariant} ({small.name}, {len(finding.path)})" for finding in found.findings[:1])


if __name__ == "__main__":
    sys.exit(main())
