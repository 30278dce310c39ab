"""Counting what the gateways saw: counters become evidence about one weight of one rollout.

The gateways' counters are monotone per process. The operator adds what was counted since it last
looked, per (gateway pod, start id), so that a restarted gateway or operator neither loses nor
doubles a request. What is written into the snapshot lags by a few seconds; after a restart the
cursors there say from where to count on.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, TypeVar

from understudy.api.v1alpha1.rollout import METRICS, Metric
from understudy.domain.duration import instant, stamp
from understudy.domain.key import Key
from understudy.domain.state import RevisionState
from understudy.plan import sequential
from understudy.plan.counts import NOTHING, Counts, Tally, add, pair, since
from understudy.plan.memory import Block, Cursor, Evidence
from understudy.plan.metrics import Measures, Paired, paired
from understudy.plan.observed import GatewayPod
from understudy.plan.sequential import Comparison

WINDOW: Final = 30.0  # seconds that the error ceiling looks back, further if there were too few requests
BLOCK: Final = 1.0  # seconds per slice of the window
MAX_BLOCKS: Final = 64
_UNSEEN: Final = RevisionState()
_UNPAIRED: Final = paired(_UNSEEN)
_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True)
class Record:
    """Evidence as a snapshot's status holds it: counts, cursors, tallies, and when they were read (Unix seconds)."""

    evidence: Evidence
    cursors: Mapping[str, Cursor]
    comparisons: Mapping[Metric, Comparison]
    tallies: Mapping[str, Tally]
    polled: float


@dataclass(frozen=True, slots=True)
class Counted:
    """The outcome of one reading of all gateways: new cursors, and what was added since the last.

    `samples` has what was added of each metric or rung, of the subject and its comparator; `pairs` the same of pairs.
    """

    cursors: Mapping[str, Cursor]
    subject: Counts
    other: Counts
    samples: Mapping[str, Tally]
    pairs: Paired

    def of_pairs(self) -> "Counted":
        """The pairs as what was counted: their halves stand for the attempts of both sides."""
        subject, other = self.pairs["errors"]
        return replace(self, subject=subject, other=other, samples=self.pairs)


def read_record(status: Mapping[str, Any]) -> Record | None:
    """The evidence in a ModelSnapshot's status; None if there is none or it is not of this shape."""
    raw = status.get("evidence") or {}
    try:
        evidence = Evidence(
            tag=str(raw["tag"]),
            lasted=float(raw["lasted"]),
            counted=bool(raw["counted"]),
            soak=float(status.get("soakSeconds", 0.0)),
            disturbed=bool(raw.get("disturbed", False)),
            subject=pair(raw["subject"]),
            other=pair(raw["other"]),
        )
        cursors = {
            str(uid): Cursor(
                str(c["startId"]),
                {str(r): pair(n) for r, n in c["counts"].items()},
                {
                    str(r): {str(what): pair(n) for what, n in counts.items()}
                    for r, counts in (c.get("samples") or {}).items()
                },
                {str(what): _halves(n) for what, n in (c.get("pairs") or {}).items()},
            )
            for uid, c in (status.get("cursors") or {}).items()
        }
        comparisons = _by_metric(raw.get("comparisons") or {}, sequential.parse)
        tallies = {str(what): _halves(n) for what, n in (raw.get("tallies") or {}).items()}
        return Record(evidence, cursors, comparisons, tallies, instant(raw["polled"]))
    except (AttributeError, KeyError, TypeError, ValueError):
        return None


def record_fields(
    evidence: Evidence,
    cursors: Mapping[str, Cursor],
    comparisons: Mapping[Metric, Comparison],
    tallies: Mapping[str, Tally],
    wall: float,
) -> dict[str, Any]:
    """Inverse of `read_record`: the fields of a snapshot's status; `wall` is when the gateways were read."""
    return {
        "soakSeconds": round(evidence.soak, 1),
        "evidence": {
            "tag": evidence.tag,
            "lasted": round(evidence.lasted, 1),
            "counted": evidence.counted,
            "disturbed": evidence.disturbed,
            "polled": stamp(wall),
            "subject": list(evidence.subject),
            "other": list(evidence.other),
            "comparisons": {metric: sequential.dump(comparison) for metric, comparison in comparisons.items()},
            **({"tallies": {what: [*own, *others] for what, (own, others) in tallies.items()}} if tallies else {}),
        },
        "cursors": {
            uid: {
                "startId": c.start_id,
                "counts": {r: list(n) for r, n in c.counts.items()},
                "samples": {r: {m: list(n) for m, n in counts.items()} for r, counts in c.samples.items()},
                **({"pairs": {m: [*own, *others] for m, (own, others) in c.pairs.items()}} if c.pairs else {}),
            }
            for uid, c in cursors.items()
        },
    }


def count(
    key: Key,
    subject: str,
    other: str,
    gateways: Iterable[GatewayPod],
    cursors: Mapping[str, Cursor],
    since_looked: float | None,
    measure: Callable[[RevisionState], Measures],
    *,
    copies: bool = False,
) -> Counted:
    """Add up what each gateway has counted since its cursor; `measure` reads what is to be compared of a revision.

    Pairs are counted while there are `copies`. What is measured for the first time is only a baseline.

    `since_looked` is the seconds since the cursors were taken, None if never: a process that is
    unknown counts from zero only if it began after that, otherwise its counters are a baseline.
    """
    new: dict[str, Cursor] = {}
    totals = {subject: NOTHING, other: NOTHING}
    kinds = tuple(measure(_UNSEEN))
    sampled = {(r, kind): NOTHING for r in totals for kind in kinds}
    compared = dict(_UNPAIRED)
    for pod in gateways:
        old = cursors.get(pod.uid)
        if pod.state is None:
            if old is not None:
                new[pod.uid] = old
            continue
        deployment = pod.state.deployments.get(str(key))
        revisions = deployment.revisions if deployment is not None else {}
        young = since_looked is not None and pod.state.uptime + pod.age < since_looked
        states = {r: revisions.get(r, _UNSEEN) for r in totals if r}
        cursor = Cursor(
            pod.state.start_id,
            {r: (state.attempts, state.failed) for r, state in states.items()},
            {r: measure(state) for r, state in states.items()},
            paired(states[subject]) if copies else {},
        )
        base = _base(old, cursor, young)
        for revision, before in base.counts.items():
            totals[revision] = add(totals[revision], since(cursor.counts[revision], before))
        for revision, measures in base.samples.items():
            for kind in kinds:
                now = cursor.samples[revision][kind]
                sampled[revision, kind] = add(sampled[revision, kind], since(now, measures.get(kind, now)))
        for metric, halves in cursor.pairs.items():
            # What began to be looked at just now is only a baseline.
            (own, others), (own_sum, others_sum) = base.pairs.get(metric, halves), compared[metric]
            compared[metric] = add(own_sum, since(halves[0], own)), add(others_sum, since(halves[1], others))
        new[pod.uid] = cursor
    samples = {kind: (sampled[subject, kind], sampled[other, kind]) for kind in kinds}
    return Counted(new, totals[subject], totals[other] if other else NOTHING, samples, compared)


def slide(window: tuple[Block, ...], subject: Counts, other: Counts, monotonic: float, least: int) -> tuple[Block, ...]:
    """The window with what was just counted; it reaches back `WINDOW` seconds, or until `least` requests are in it."""
    blocks = list(window)
    if subject != NOTHING or other != NOTHING:
        if blocks and monotonic - blocks[-1].start < BLOCK:
            last = blocks[-1]
            blocks[-1] = Block(last.start, add(last.subject, subject), add(last.other, other))
        else:
            blocks.append(Block(monotonic, subject, other))
    while len(blocks) > 1 and monotonic - blocks[1].start >= WINDOW and _attempts(blocks[1:]) >= least:
        blocks.pop(0)
    if len(blocks) > MAX_BLOCKS:
        first, second = blocks[0], blocks[1]
        blocks[:2] = [Block(second.start, add(first.subject, second.subject), add(first.other, second.other))]
    return tuple(blocks)


def totals(window: Iterable[Block]) -> tuple[Counts, Counts]:
    """What the whole window counted, of the subject and of its comparator."""
    subject, other = NOTHING, NOTHING
    for block in window:
        subject, other = add(subject, block.subject), add(other, block.other)
    return subject, other


def alongside(window: Iterable[Block]) -> Counts:
    """What the comparator counted in just those slices in which requests of the subject failed."""
    other = NOTHING
    for block in window:
        if block.subject[1]:
            other = add(other, block.other)
    return other


def _attempts(blocks: Iterable[Block]) -> int:
    return sum(block.subject[0] for block in blocks)


def _base(old: Cursor | None, now: Cursor, young: bool) -> Cursor:
    """From where to count what `now` is the end of; what it leaves out is only a baseline."""
    if old is not None and old.start_id == now.start_id:
        return Cursor(
            now.start_id,
            {r: before for r, before in old.counts.items() if r in now.counts},
            {r: before for r, before in old.samples.items() if r in now.samples},
            old.pairs,
        )
    if not young:
        return Cursor(now.start_id)
    zeros = {revision: dict.fromkeys(measures, NOTHING) for revision, measures in now.samples.items()}
    return Cursor(now.start_id, dict.fromkeys(now.counts, NOTHING), zeros, _UNPAIRED)


def _halves(raw: Any) -> tuple[Counts, Counts]:
    """Both halves of pairs, or a tally, as a record keeps them."""
    return pair(raw[:2]), pair(raw[2:])


def _by_metric(raw: Mapping[str, Any], read: Callable[[Any], _Value]) -> dict[Metric, _Value]:
    """Values by metric; of a metric that this version does not know there is none."""
    return {metric: read(raw[metric]) for metric in METRICS if metric in raw}
