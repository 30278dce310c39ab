"""Learn a head, or measure one.

python -m bench.heads learn --sets FOLDER --out screen.json
python -m bench.heads measure --sets FOLDER --head screen.json --out docs/benchmarks/detectors.md
"""

import argparse
import sys
import time
from pathlib import Path

from bench.heads.learn import learn
from bench.heads.measure import table_of_harmless, table_of_sets
from bench.heads.sets import FILES, Sets
from understudy.guard.linear import Head, read_head, write_head

LEARNED_FROM = (
    "davidson.csv",
    "diasafety-train.json",
    "ailuminate.csv",
    "treasure-island.xhtml",
    "king-solomons-mines.xhtml",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("learn", "measure"))
    parser.add_argument("--sets", type=Path, required=True, help="folder with the files that bench/heads/sets.py names")
    parser.add_argument("--head", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    sets = Sets(options.sets)
    if options.what == "learn":
        sources = "; ".join(f"{FILES[name].source} ({FILES[name].licence})" for name in LEARNED_FROM)
        options.out.write_text(write_head(learn(sets), f"learned by bench/heads from {sources}") + "\n")
    else:
        text = options.head.read_text()
        options.out.write_text(report(read_head(text), len(text), sets))
    sys.stdout.write(f"wrote {options.out}\n")


INTRODUCTION = """\
# Detectors: what a head of our own finds
Written by `python -m bench.heads measure`, of a head that `python -m bench.heads learn` has learned from public sets.
Intervals are 95 % (shares: Wilson; areas: Hanley and McNeil). English alone.

**It is not good enough, and none is shipped.** On sets that it has not learned from it misses two thirds of what speaks
of self-harm, tells hate from other talk hardly better than chance, and takes every tenth window of a text adventure for
something. It knows words and not what is meant: a quotation or a villain's line look like an insult, and what is said
in kind words passes. What has to be judged by its meaning needs a served model. A head may be of use as a screen where
it was learned from texts of the place where it is used.

Nothing below was looked at while it was learned: the categories, the buckets and the rounds were set before the first
measurement, which is this one. Scores are calibrated on two other novels, and that does not carry far. Sexual content
and violence have no examples in prose whose licence allows it: it has no such categories.
"""
OF_SETS = """\
## Sets with labels
A text counts as found when one of its windows does, at the usual thresholds (medium 0.6, high 0.85).
"""
OF_HARMLESS = """\
## Harmless text
Any category. By calibration 5 % of the windows of two other adventures reach 0.3 and 0.2 % reach 0.85, for each
category by itself.
"""
OF_SERVED = """\
## Served detectors
No guard model was run here, so there are no figures for any. What their authors publish is theirs; the parsers are
tested with answers in the shape of the model cards (`tests/guard/served`).

## Files
| file | from | licence | use |
|---|---|---|---|
"""


def report(head: Head, size: int, sets: Sets) -> str:
    """The page."""
    texts = sets.book("dracula.xhtml")[:1000]
    began = time.process_time()
    for text in texts:
        head.scores(text)
    took = (time.process_time() - began) / len(texts) * 1000
    costs = f"{head.buckets} buckets, {size / 1024:.0f} KiB; {took:.2f} ms of one core for a window of a novel.\n"
    files = [f"| `{name}` | {file.source} | {file.licence} | {_use(name)} |" for name, file in FILES.items()]
    parts = [
        INTRODUCTION,
        f"{len(head.categories)} categories, {costs}",
        OF_SETS + "\n".join(["", *table_of_sets(head, sets), ""]),
        OF_HARMLESS + "\n".join(["", *table_of_harmless(head, sets), ""]),
        OF_SERVED + "\n".join(files),
    ]
    return "\n".join(parts) + "\n"


def _use(name: str) -> str:
    return "learned from" if name in LEARNED_FROM else "measured on"


if __name__ == "__main__":
    main()
