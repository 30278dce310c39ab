"""Counting what the gateways saw: counters become evidence about one weight of one rollout.

The gateways' counters are monotone per process. The operator adds what was counted since it last
looked, per (gateway pod, start id), so that a restarted gateway or operator neither loses nor
doubles a request. What is written into the snapshot lags by a few seconds; after a restart the
cursors there say from where to count on.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from understudy.domain.duration import instant, stamp
from understudy.domain.key import Key
from understudy.domain.state import RevisionState
from understudy.plan.memory import Block, Counts, Cursor, Evidence
from understudy.plan.observed import GatewayPod

WINDOW: Final = 30.0  # seconds that the error ceiling looks back, further if there were too few requests
BLOCK: Final = 1.0  # seconds per slice of the window
MAX_BLOCKS: Final = 64
_NOTHING: Final[Counts] = (0, 0)
_UNSEEN: Final = RevisionState()


@dataclass(frozen=True, slots=True)
class Record:
    """Evidence as a snapshot's status holds it: counts, cursors, and when they were read (Unix seconds)."""

    evidence: Evidence
    cursors: Mapping[str, Cursor]
    polled: float


@dataclass(frozen=True, slots=True)
class Counted:
    """The outcome of one reading of all gateways: new cursors, and what was added since the last."""

    cursors: Mapping[str, Cursor]
    subject: Counts
    other: Counts


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
            subject=_pair(raw["subject"]),
            other=_pair(raw["other"]),
        )
        cursors = {
            str(uid): Cursor(str(c["startId"]), {str(r): _pair(n) for r, n in c["counts"].items()})
            for uid, c in (status.get("cursors") or {}).items()
        }
        return Record(evidence, cursors, instant(raw["polled"]))
    except (KeyError, TypeError, ValueError):
        return None


def record_fields(evidence: Evidence, cursors: Mapping[str, Cursor], wall: float) -> dict[str, Any]:
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
        },
        "cursors": {
            uid: {"startId": c.start_id, "counts": {r: list(n) for r, n in c.counts.items()}}
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
) -> Counted:
    """Add up what each gateway has counted since its cursor.

    `since_looked` is the seconds since the cursors were taken, None if never: a process that is
    unknown counts from zero only if it began after that, otherwise its counters are a baseline.
    """
    new: dict[str, Cursor] = {}
    totals = {subject: _NOTHING, other: _NOTHING}
    for pod in gateways:
        old = cursors.get(pod.uid)
        if pod.state is None:
            if old is not None:
                new[pod.uid] = old
            continue
        deployment = pod.state.deployments.get(str(key))
        revisions = deployment.revisions if deployment is not None else {}
        young = since_looked is not None and pod.state.uptime + pod.age < since_looked
        counts = {r: _counts(revisions.get(r, _UNSEEN)) for r in totals if r}
        for revision, now in counts.items():
            before = _base(old, pod.state.start_id, revision, young)
            if before is not None:
                totals[revision] = add(totals[revision], (max(0, now[0] - before[0]), max(0, now[1] - before[1])))
        new[pod.uid] = Cursor(pod.state.start_id, counts)
    return Counted(new, totals[subject], totals[other] if other else _NOTHING)


def slide(window: tuple[Block, ...], subject: Counts, other: Counts, monotonic: float, least: int) -> tuple[Block, ...]:
    """The window with what was just counted; it reaches back `WINDOW` seconds, or until `least` requests are in it."""
    blocks = list(window)
    if subject != _NOTHING or other != _NOTHING:
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


def add(left: Counts, right: Counts) -> Counts:
    """Sum of attempts, sum of failed attempts."""
    return left[0] + right[0], left[1] + right[1]


def totals(window: Iterable[Block]) -> tuple[Counts, Counts]:
    """What the whole window counted, of the subject and of its comparator."""
    subject, other = _NOTHING, _NOTHING
    for block in window:
        subject, other = add(subject, block.subject), add(other, block.other)
    return subject, other


def alongside(window: Iterable[Block]) -> Counts:
    """What the comparator counted in just those slices in which requests of the subject failed."""
    other = _NOTHING
    for block in window:
        if block.subject[1]:
            other = add(other, block.other)
    return other


def _attempts(blocks: Iterable[Block]) -> int:
    return sum(block.subject[0] for block in blocks)


def _base(old: Cursor | None, start_id: str, revision: str, young: bool) -> Counts | None:
    """From where to count: None means that what is there now is only a baseline."""
    if old is not None and old.start_id == start_id:
        return old.counts.get(revision)
    return _NOTHING if young else None


def _counts(state: RevisionState) -> Counts:
    return state.attempts, state.failed


def _pair(raw: Any) -> Counts:
    attempts, failed = raw
    return int(attempts), int(failed)
