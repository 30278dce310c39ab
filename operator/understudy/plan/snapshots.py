"""The records of revisions: what each says of itself, how many are kept, and what happens when nobody owns them."""

from collections.abc import Mapping
from typing import Any, Final

from understudy.domain.conditions import Condition, transition
from understudy.domain.duration import instant, stamp
from understudy.domain.names import ANNOTATION_KEEP, API_VERSION
from understudy.plan.actions import Action, Apply, Delete, apply_status
from understudy.plan.analysis import differ, lacking, moved
from understudy.plan.evidence import record_fields
from understudy.plan.observed import Object, Observed
from understudy.plan.replaying import replay
from understudy.plan.report import ended, replayed, reported
from understudy.plan.state import State
from understudy.plan.trial import tag_of, trial_of
from understudy.plan.wanted import Blocked
from understudy.plan.world import Revision, World

# Evidence is written at most this often, in seconds.
PERSIST: Final = 5.0
# Records of a deployment that is gone stay this long, in seconds.
ORPHANED: Final = 7 * 86400.0
MAX_PROMOTIONS: Final = 20
MAX_IMAGES: Final = 16


def drifted(observed: Observed, snapshot: Object | None) -> tuple[str, ...]:
    """Secrets whose content is no longer what the revision was made with, as `Secret <name>`."""
    references = snapshot["spec"].get("references") or () if snapshot is not None else ()
    return tuple(
        f"Secret {r['name']}"
        for r in references
        if r["kind"] == "Secret" and (observed.references.get(("Secret", r["name"])) or "") != r.get("hash", "")
    )


def record(world: World, persist: bool) -> list[Action]:
    """Status writes for every snapshot that says something else than it should.

    `persist` allows the evidence of the revision on trial to be written as well.
    """
    writes: list[Action] = []
    for revision in world.revisions.values():
        if revision.snapshot is None:
            continue
        status = _status(world, revision, revision.snapshot, persist)
        if status != revision.status:
            writes.append(_write_status(revision.snapshot, status, f"record {revision.name} as {status['state']}"))
    return writes


def _write_status(snapshot: Object, status: Mapping[str, Any], why: str) -> Apply:
    """A status write of exactly the observed snapshot."""
    return apply_status(API_VERSION, "ModelSnapshot", snapshot, status, why)


def surplus(world: World) -> list[Action]:
    """Deletions of the oldest records beyond `spec.snapshots.keep` that nothing needs and nobody pinned."""
    asked = world.target.revision if not isinstance(world.target, Blocked) else ""
    recorded = [r for r in world.revisions.values() if r.snapshot is not None]
    count = len(recorded) - world.spec.snapshots.keep
    free = [
        r
        for r in sorted(recorded, key=_age)
        if r.name not in (*world.state.live(), asked, world.state.pinned)
        and not r.exists
        and r.pool is None
        and r.snapshot is not None
        and not _pinned(r.snapshot)
    ]
    # An unreadable spec names no target: it might be any of them.
    if isinstance(world.target, Blocked):
        return []
    return [delete(r.snapshot, "more records than spec.snapshots.keep") for r in free[: max(0, count)] if r.snapshot]


def orphans(observed: Observed) -> tuple[list[Action], float | None]:
    """What to do with records whose deployment is gone, and in how many seconds to look again."""
    actions: list[Action] = []
    waits: list[float] = []
    for snapshot in observed.snapshots:
        status = dict(snapshot.get("status") or {})
        since = status.get("orphanedAt")
        if since is None:
            actions.append(
                _write_status(snapshot, {**status, "orphanedAt": stamp(observed.now.wall)}, "its deployment is gone")
            )
            waits.append(ORPHANED)
        elif not _pinned(snapshot):
            left = instant(since) + ORPHANED - observed.now.wall
            if left > 0:
                waits.append(left)
            else:
                actions.append(delete(snapshot, "its deployment has been gone for seven days"))
    return actions, min((min(wait, 3600.0) for wait in waits), default=None)


def delete(obj: Object, why: str) -> Delete:
    """Deletion of exactly the observed object."""
    meta = obj["metadata"]
    return Delete(
        obj["apiVersion"], obj["kind"], meta["namespace"], meta["name"], meta["uid"], meta["resourceVersion"], why
    )


def _status(world: World, revision: Revision, snapshot: Object, persist: bool) -> dict[str, Any]:
    old = revision.status
    promotions = _promotions(world.state, revision.name, old)
    state, failure = _outcome(world.state, revision.name, old, bool(promotions))
    # What failed keeps what it failed with; what may start again begins anew.
    seen = old.get("imageIDs") or () if state == "Failed" else ()
    images = tuple(sorted({*seen, *revision.image_ids}))[:MAX_IMAGES]
    status: dict[str, Any] = {
        **{
            name: old[name]
            for name in ("verdict", "step", "soakSeconds", "evidence", "cursors", "report")
            if name in old
        },
        "observedGeneration": 1,
        "state": state,
        **({"failure": failure} if failure else {}),
        "promotions": promotions,
        **({"number": promotions[-1]["number"], "promotedAt": promotions[-1]["at"]} if promotions else {}),
        "conditions": _conditions(world, revision, snapshot, images),
        **({"imageIDs": list(images)} if images else {}),
    }
    # Evidence of another weight than the registers now ask for would be dropped when read.
    current = world.evidence is not None and world.evidence.tag == tag_of(world.state)
    if persist and current and world.evidence is not None and revision.name == trial_of(world.state).subject:
        status.update(record_fields(world.evidence, world.cursors, world.comparisons, world.tallies, world.now.wall))
        status["step"] = world.terms.position(world.state.weight)
        status["verdict"] = f"Inconclusive: {wait}" if (wait := lacking(world)) else "Pass"
    evidence = world.evidence if revision.name == world.judged else None
    if evidence is not None and evidence.counted and (ended(world, evidence) or (persist and current)):
        status["report"] = reported(world, evidence, old.get("report") or ())
    heard = world.observed.replay
    if heard is not None and heard.matter.revision == revision.name and replay(world) is None:
        status["report"] = replayed(world, heard, status.get("report") or ())
    if failure:
        status["verdict"] = f"Fail: {failure['reason']}"
    return status


def _promotions(state: State, revision: str, old: Mapping[str, Any]) -> list[dict[str, Any]]:
    known: list[dict[str, Any]] = [dict(p) for p in old.get("promotions") or ()]
    numbers = {p["number"] for p in known}
    new = [
        {"number": h.number, "at": h.at} for h in state.history if h.revision == revision and h.number not in numbers
    ]
    return sorted((*known, *new), key=lambda p: int(p["number"]))[-MAX_PROMOTIONS:]


def _outcome(
    state: State, revision: str, old: Mapping[str, Any], promoted: bool
) -> tuple[str, Mapping[str, Any] | None]:
    """The record's state, and why it failed if it did. A failure that left the registers' list stays recorded."""
    entry = state.failure(revision)
    if entry is not None:
        return "Failed", {
            "class": entry.reason,
            "reason": entry.reason,
            "message": entry.message,
            "at": entry.at,
            "generation": entry.generation,
        }
    if old.get("state") == "Failed" and revision not in state.live():
        return "Failed", old.get("failure")
    return ("Promoted" if promoted else "Candidate"), None


def _conditions(world: World, revision: Revision, snapshot: Object, images: tuple[str, ...]) -> list[dict[str, Any]]:
    said: list[Condition] = []
    if any(r["kind"] == "Secret" for r in snapshot["spec"].get("references") or ()):
        changed = drifted(world.observed, snapshot)
        what = f"{', '.join(changed)} has changed since it was made"
        said.append(
            Condition("ConfigDrifted", "True", "ContentChanged", what)
            if changed
            else Condition("ConfigDrifted", "False", "Same")
        )
    if differ(images):
        said.append(Condition("ImageMoved", "True", "ImageMoved", moved(revision.name, images)))
    return transition(revision.status.get("conditions") or (), said, 1, world.now.wall)


def _age(revision: Revision) -> tuple[str, str]:
    created = revision.snapshot["metadata"].get("creationTimestamp", "") if revision.snapshot is not None else ""
    return (max(str(revision.status.get("promotedAt", "")), str(created)), revision.name)


def is_kept(annotations: Mapping[str, str]) -> bool:
    """Whether somebody keeps a record for longer than `spec.snapshots.keep` would: any value but `false` says so."""
    return annotations.get(ANNOTATION_KEEP, "false") != "false"


def _pinned(snapshot: Object) -> bool:
    return is_kept(snapshot["metadata"].get("annotations") or {})
