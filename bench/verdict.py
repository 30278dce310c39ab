"""How often the relative verdict turns back a healthy candidate, and how soon a bad one: docs/benchmarks/verdict.md.

    python bench/verdict.py [--runs 500] [--seed 1] [--out FILE] [--check]

Takes some minutes of one core; nothing but this process is used. The same seed gives the same table.
"""

import argparse
import itertools
import platform
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "operator")]

from bench.trials import ALPHA, STABLE_PODS, UNEVEN, Case, Copies, run, run_pairs  # noqa: E402 - found by the path above

WEIGHTS, RATES, BASES, TOLERANCES = (1, 10, 50), (2.0, 20.0, 200.0), (0.001, 0.01, 0.05), (1.25, 1.5)
RATIOS = (2.0, 5.0, 10.0)
PAIR_RATES, COMMON = (2.0, 20.0), (0.0, 0.9)
USUAL = Case(weight=10, rate=20.0, base=0.01, tolerance=1.5)
# Median seconds to the verdict at USUAL, by tolerance and ratio, and the rate of false verdicts, at most.
IN_TIME = {(1.25, 5.0): 120.0, (1.5, 5.0): 180.0, (1.25, 10.0): 60.0, (1.5, 10.0): 60.0}
FALSE_VERDICTS = 0.01
NEWLINE = "\n"


@dataclass(frozen=True)
class Outcome:
    """Runs of one case: the part that ended with a verdict (0 to 1), and the median time to it, None if never.

    The time is in seconds, of copies in pairs.
    """

    case: Case | Copies
    part: float
    median: float | None


class Bench:
    """Runs cases one after the other and says how far it has come."""

    def __init__(self, runs: int, seed: int) -> None:
        self.runs, self.seed, self.began, self.done = runs, seed, time.process_time(), 0
        self.commit = _commit()

    def outcome(self, case: Case | Copies, runs: int = 0) -> Outcome:
        """A case run so often, each with a seed of its own."""
        count = runs or self.runs
        chances = (random.Random(f"{self.seed} {case} {i}") for i in range(count))
        times = [run_pairs(case, c) if isinstance(case, Copies) else run(case, c) for c in chances]
        found = sorted(t for t in times if t is not None)
        self.done += 1
        if self.done % 10 == 0:
            print(f"{self.done} cases, {time.process_time() - self.began:.0f} s", file=sys.stderr, flush=True)
        median = statistics.median_low([*found, *[float("inf")] * (count - len(found))])
        return Outcome(case, len(found) / count, median if median < float("inf") else None)


def grid() -> Iterator[Case]:
    """Every combination of weight, traffic, base rate and tolerance."""
    for weight in WEIGHTS:
        for rate in RATES:
            for base in BASES:
                for tolerance in TOLERANCES:
                    yield Case(weight, rate, base, tolerance)


def healthy(bench: Bench) -> tuple[list[str], list[Outcome]]:
    """False verdicts over the grid, with even pods and with uneven ones and an outage of both sides."""
    lines = ["| weight | requests/s | base errors | tolerance | even pods | uneven pods, outage of both |"]
    lines.append("|--:|--:|--:|--:|--:|--:|")
    outcomes = []
    for case in grid():
        even = bench.outcome(case)
        hard = bench.outcome(replace(case, uneven=True, outage=True))
        outcomes += [even, hard]
        lines.append(f"{_where(case)} {even.part:.1%} | {hard.part:.1%} |")
    for name, pick in (("even pods", False), ("uneven pods, outage of both", True)):
        pooled = statistics.fmean(o.part for o in outcomes if o.case.uneven is pick)
        lines += ["", f"All cells together, {name}: {pooled:.2%}."]
    return lines, outcomes


def detection(bench: Bench) -> tuple[list[str], list[Outcome]]:
    """Time to the verdict for candidates that are worse, over the grid."""
    lines = ["| weight | requests/s | base errors | tolerance |" + "".join(f" {r:.0f} times |" for r in RATIOS)]
    lines.append("|--:|--:|--:|--:|" + "--:|" * len(RATIOS))
    outcomes = []
    for case in grid():
        bounded = replace(case, tolerance=USUAL.tolerance) == USUAL
        runs = bench.runs if bounded else max(1, bench.runs // 4)
        row = [bench.outcome(replace(case, ratio=ratio), runs) for ratio in RATIOS]
        outcomes += row
        lines.append(f"{_where(case)}" + "".join(f" {_time(o)} |" for o in row))
    return lines, outcomes


def special(bench: Bench) -> tuple[list[str], list[Outcome]]:
    """What the grid does not show: alone at 100 %, turning bad late, failures that come in bursts."""
    alone = replace(USUAL, weight=100)
    cases = [
        ("healthy, alone at 100 % after 5 min at 50 %", alone),
        ("healthy, alone at 100 %, uneven pods", replace(alone, uneven=True)),
        ("5 times, alone at 100 %", replace(alone, ratio=5.0)),
        ("10 times, alone at 100 %", replace(alone, ratio=10.0)),
        ("10 times, after 10 good minutes", replace(USUAL, ratio=10.0, turns=600.0)),
        ("half as bad as stable", replace(USUAL, ratio=0.5)),
        ("healthy, failures in bursts of 5", replace(USUAL, burst=5.0)),
        ("healthy, failures in bursts of 5, 200 requests/s", replace(USUAL, burst=5.0, rate=200.0)),
        ("healthy, failures in bursts of 5, 50 %", replace(USUAL, burst=5.0, weight=50)),
        ("healthy, failures in bursts of 5, alone at 100 %", replace(alone, burst=5.0)),
        ("10 times, failures in bursts of 5", replace(USUAL, burst=5.0, ratio=10.0)),
        ("5 times, from two minutes after an outage of both on", replace(USUAL, ratio=5.0, turns=720.0, outage=True)),
    ]
    lines = ["| case (tolerance 1.5, 1 % base errors; 10 %, 20 requests/s if not said) | verdicts | median time |"]
    lines.append("|---|--:|--:|")
    outcomes = []
    for name, case in cases:
        outcome = bench.outcome(case)
        outcomes.append(outcome)
        lines.append(f"| {name} | {outcome.part:.1%} | {_time(outcome)} |")
    return lines, outcomes


def copies(bench: Bench) -> tuple[list[str], list[Outcome]]:
    """Shadow: false verdicts on healthy candidates and on the worst that is tolerated, and pairs to a verdict."""
    lines = [
        "| pairs/s | base errors | the request's doing | healthy | healthy, uneven pods | 1.5 times |"
        + "".join(f" {r:.0f} times |" for r in RATIOS)
    ]
    lines.append("|--:|--:|--:|--:|--:|--:|" + "--:|" * len(RATIOS))
    null = []
    for rate, base, common in itertools.product(PAIR_RATES, BASES[1:], COMMON):
        case = Copies(rate, base, common)
        good = [bench.outcome(c) for c in (case, replace(case, uneven=True), replace(case, ratio=case.tolerance))]
        bad = [bench.outcome(replace(case, ratio=ratio), max(1, bench.runs // 4)) for ratio in RATIOS]
        null += good
        where = f"| {rate:.0f} | {base:.1%} | {common:.0%} |"
        lines.append(where + "".join(f" {o.part:.1%} |" for o in good) + "".join(f" {_time(o)} |" for o in bad))
    return lines, null


def broken(null: list[Outcome], worse: list[Outcome], pairs: list[Outcome], runs: int) -> list[str]:
    """Bounds that the figures break, as sentences. A cell may miss by chance by three standard errors."""
    slack = 3 * (FALSE_VERDICTS * (1 - FALSE_VERDICTS) / runs) ** 0.5
    found = [f"{o.part:.2%} false verdicts at {o.case}" for o in (*null, *pairs) if o.part > FALSE_VERDICTS + slack]
    for kind in (False, True):
        pooled = statistics.fmean(o.part for o in null if o.case.uneven is kind)
        if pooled > FALSE_VERDICTS:
            found.append(f"{pooled:.2%} false verdicts over all cells")
    for (tolerance, ratio), limit in IN_TIME.items():
        case = replace(USUAL, tolerance=tolerance, ratio=ratio)
        median = next(o.median for o in worse if o.case == case)
        if median is None or median > limit:
            found.append(f"median {median} s, limit {limit} s, at {case}")
    return found


def page(bench: Bench, null: list[str], worse: list[str], extra: list[str], pairs: list[str], broke: list[str]) -> str:
    """The page with all tables and what they were made with."""
    took = (time.process_time() - bench.began) / 60
    fewer = max(1, bench.runs // 4)
    bounds = "All bounds hold." if not broke else "Bounds that do not hold: " + "; ".join(broke) + "."
    return f"""# The relative verdict, simulated
Written by `bench/verdict.py`; `python bench/verdict.py --help` says how to repeat it. Commit {bench.commit}, seed
{bench.seed}, {bench.runs} runs per cell, {fewer} where times are told (but for the rows with a bound and the special
cases); {took:.1f} minutes of one core of an {_machine()}.

Candidates are judged on errors alone, at alpha {ALPHA} (half of the default 0.01), for 20 minutes. Stable has
{STABLE_PODS} pods, the candidate as many as its weight needs. Uneven: the logarithm of each pod's own rate of failures
has a standard deviation of {UNEVEN}. Outage: both sides fail nine of ten requests for five minutes.

Bounds: at most {FALSE_VERDICTS:.0%} of healthy candidates are turned back; at 10 %, 20 requests/s and 1 % base errors,
the median time to the verdict is at most 3 min for 5 times the errors (2 min at tolerance 1.25), 1 min for 10 times.
{bounds}

## Healthy candidates that are turned back
{NEWLINE.join(null)}

## Time to the verdict on candidates that are worse
Median seconds; in brackets the part that was found at all in 20 minutes, if not all. A candidate twice as bad lies
within what uneven pods may cause, so it is seldom turned back.

{NEWLINE.join(worse)}

## Special cases
What fails in bursts, many conversations at the same moment, looks like more evidence than it is until stable's own
bursts have shown it.

{NEWLINE.join(extra)}

## Shadow
Pairs of answers to one request, compared until the verdict, for 20 minutes at most; the candidate has one pod,
tolerance 1.5. Some of stable's failures are the request's doing: then the candidate fails in the same pairs, and that
speaks for neither. The first three columns are false verdicts, 1.5 times being the worst that is tolerated; then come
median numbers of pairs to the verdict, in brackets the part that was found at all.

{NEWLINE.join(pairs)}
"""


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=500, help="runs per cell (default 500)")
    parser.add_argument("--seed", type=int, default=1, help="seed of all randomness (default 1)")
    parser.add_argument("--out", type=Path, default=ROOT / "docs/benchmarks/verdict.md", help="the page to write")
    parser.add_argument("--check", action="store_true", help="end with 1 when a bound does not hold")
    given = parser.parse_args()
    bench = Bench(given.runs, given.seed)
    null_lines, null = healthy(bench)
    worse_lines, worse = detection(bench)
    extra_lines, _ = special(bench)
    pair_lines, pairs = copies(bench)
    broke = broken(null, worse, pairs, given.runs)
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(page(bench, null_lines, worse_lines, extra_lines, pair_lines, broke))
    for sentence in broke:
        print(sentence, file=sys.stderr)
    return 1 if broke and given.check else 0


def _where(case: Case) -> str:
    return f"| {case.weight} % | {case.rate:.0f} | {case.base:.1%} | {case.tolerance} |"


def _time(outcome: Outcome) -> str:
    if outcome.part == 0:
        return "never"
    median = "never" if outcome.median is None else f"{outcome.median:.0f}"
    return median if outcome.part >= 0.995 else f"{median} ({outcome.part:.0%})"


def _commit() -> str:
    said = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True)
    return said.stdout.strip()


def _machine() -> str:
    cpus = Path("/proc/cpuinfo")
    lines = cpus.read_text().splitlines() if cpus.exists() else []
    name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "an unknown CPU")
    return f"{name}, Python {platform.python_version()}"


if __name__ == "__main__":
    sys.exit(main())
