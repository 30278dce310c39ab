"""What `make proof` has shown, part by part, and of which sources: docs/proof.json, and the page for people.

Parts may be run one after the other, on machines of their own: what was shown before is kept as long as `plan/` and
`domain/` are what they were then.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("operator/understudy/domain", "operator/understudy/plan")
PARTS = ("rules", "worlds", "histories", "mutation", "verdict", "cluster")
# What a release asks of each part, besides that it holds.
HISTORIES, MUTATION, ROLLOUTS = 10_000, 80.0, 20

Part = Mapping[str, Any]


def digest(root: Path = ROOT) -> str:
    """SHA-256 over the names and contents of all sources of the rooms that decide."""
    summed = hashlib.sha256()
    for path in sorted(path for room in ROOMS for path in (root / room).rglob("*.py")):
        content = path.read_bytes()
        summed.update(f"{path.relative_to(root).as_posix()} {len(content)}\n".encode() + content)
    return summed.hexdigest()


class Proven:
    """The parts that were shown of these sources."""

    def __init__(self, sources: str, parts: Mapping[str, Part]) -> None:
        self.sources = sources
        self.parts = dict(parts)

    @classmethod
    def read(cls, path: Path) -> "Proven":
        """From a file; nothing is proven by one that is not there."""
        found = json.loads(path.read_text()) if path.exists() else {}
        return cls(found.get("sources", ""), found.get("parts", {}))

    def of(self, sources: str) -> "Proven":
        """What of this is true of these sources: all, or nothing."""
        return self if self.sources == sources else Proven(sources, {})

    def write(self, path: Path) -> None:
        """To a file."""
        ordered = {name: self.parts[name] for name in PARTS if name in self.parts}
        path.write_text(json.dumps({"sources": self.sources, "parts": ordered}, indent=1) + "\n")

    def gaps(self, sources: str) -> list[str]:
        """What a release lacks, as sentences that say what to do."""
        if self.sources != sources:
            return ["plan/ or domain/ have changed since the proof: run `make proof` and commit docs/proof.*"]
        asked = (("histories", "count", HISTORIES), ("mutation", "percent", MUTATION), ("cluster", "passed", ROLLOUTS))
        found = []
        for name in PARTS:
            if name not in self.parts:
                found.append(f"{name}: never shown of these sources: run `make proof PROOF='--parts {name}'`")
            elif not self.parts[name]["holds"]:
                found.append(f"{name}: does not hold, see docs/proof.md")
        for name, what, least in asked:
            if name in self.parts and self.parts[name][what] < least:
                found.append(f"{name}: {what} is {self.parts[name][what]}, and must be {least} at least")
        mutation = self.parts.get("mutation")
        if mutation is not None and mutation["judged"] < mutation["mutants"]:
            found.append(
                f"mutation: {mutation['judged']} of {mutation['mutants']} mutants were judged, and must be all"
            )
        return found

    def page(self) -> str:
        """For people."""
        return "\n".join((*_head(self), *(line for name in PARTS for line in _part(name, self.parts.get(name))))) + "\n"


def _head(proven: Proven) -> Iterator[str]:
    gaps = proven.gaps(proven.sources)
    yield "# Proof of the rollout machine"
    yield "Written by `make proof`; read [rollout.md](rollout.md) and [rollout-safety.md](rollout-safety.md) first."
    yield "The same for machines: [proof.json](proof.json)."
    yield ""
    yield f"Of `plan/` and `domain/` with SHA-256 `{proven.sources[:16]}…`; `make release-check` fails for others."
    yield ""
    yield from (f"- Lacking: {gap}." for gap in gaps)
    yield from [] if gaps else ["Everything holds."]
    yield ""


def _part(name: str, part: Part | None) -> Iterator[str]:
    title, tell = _TOLD[name]
    yield f"## {title}"
    if part is None:
        yield "Not shown of these sources."
    else:
        yield f"{'Holds' if part['holds'] else 'DOES NOT HOLD'}. Commit {part['commit']}, {part['machine']}."
        yield ""
        yield from tell(part)
    yield ""


def _histories(part: Part) -> Iterator[str]:
    yield f"{part['count']} histories of 2 to 12 events with faults, seeded by the test's own name"
    if part["holds"]:
        yield f"({part['seconds']:.0f} s by the clock). In none a promise breaks, and each settles when the faults have"
        yield "stopped. One that breaks a promise is made smaller by Hypothesis before it is shown."
    else:
        yield f"were to be played ({part['seconds']:.0f} s by the clock). In one a promise breaks, or it does not"
        yield "settle when the faults have stopped; the search ends there, and Hypothesis shows it made smaller."


def _worlds(part: Part) -> Iterator[str]:
    yield MEANING
    yield from _table(
        ("World", "States", "Transitions", "Plans", "Searched", "Broken", "Stuck", "Compared: differing", "Seconds"),
        part["worlds"],
    )
    yield ""
    yield f"All: {part['states']} states, {part['transitions']} transitions, {part['seconds']:.0f} s of one core."
    yield f"{len(part['edges'])} ways from one phase to another were gone: {', '.join(part['edges'])}."
    yield (
        f"Never gone: {', '.join(part['never'])}." if part["never"] else "All that rollout.md tells of are among them."
    )


def _rules(part: Part) -> Iterator[str]:
    yield f"Each of {len(part['rules'])} rules is taken out once. Without {part['by_test']} of them a table test fails;"
    yield f"without {part['by_world']} of them small worlds break a promise within {part['reach']} states"
    yield f"({part['seconds']:.0f} s)."
    yield ""
    yield from _table(("Without", "Promise (world, steps)", "Table test"), part["rules"])


def _mutation(part: Part) -> Iterator[str]:
    yield "Every small change of the code is made once ([decision 13](adr/0013-mutants-in-a-warm-process.md)): numbers,"
    yield "words, comparisons, arguments, defaults. Those that change nothing that could be seen count as missed. A"
    yield "module is judged again when it changes; [mutation.json](mutation.json) lists what was missed."
    yield ""
    yield f"{part['caught']} of {part['judged']} mutants were caught, of {part['mutants']} that there are: "
    yield f"**{part['percent']} %**. {part['endless']} of them by a test that did not end."
    yield ""
    rows = [
        (name, caught, judged, f"{100 * caught / judged:.0f} %") for name, (caught, judged) in part["modules"].items()
    ]
    yield from _table(("Module", "Caught", "Judged", "Part"), rows)


def _verdict(part: Part) -> Iterator[str]:
    yield f"The relative verdict, simulated ({part['seconds']:.0f} s): its figures are in"
    yield "[benchmarks/verdict.md](benchmarks/verdict.md). " + "; ".join(part["broken"])


def _cluster(part: Part) -> Iterator[str]:
    yield f"{part['passed']} of {len(part['cases'])} rollouts with faults ended as they must, on a real cluster, under"
    yield "load. In each, every request without a first byte succeeded, nothing was cut but what the fault itself cuts,"
    yield "and every time printed here has a bound that fails the test (`tests/e2e/twenty.py`)."
    yield ""
    rows = [
        (case["name"], case["outcome"], f"{case['seconds']:.0f}", "; ".join(case["said"])) for case in part["cases"]
    ]
    yield from _table(("Rollout", "Outcome", "Seconds", "Printed"), rows)


def _table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> Iterator[str]:
    titles = list(head)
    yield f"| {' | '.join(titles)} |"
    yield "|---" * len(titles) + "|"
    for row in rows:
        yield f"| {' | '.join(str(cell) for cell in row)} |"


_TOLD = {
    "rules": ("One rule taken out", _rules),
    "worlds": ("Small worlds", _worlds),
    "histories": ("Random histories", _histories),
    "mutation": ("Small changes of the code", _mutation),
    "verdict": ("The verdict, simulated", _verdict),
    "cluster": ("Rollouts with faults on a real cluster", _cluster),
}
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
