"""The records of revisions: what became of each, and which one somebody means."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from understudy.cli.plugin.failure import PluginError
from understudy.domain.names import LABEL_DEPLOYMENT
from understudy.kube.client import Object
from understudy.plan.snapshots import is_kept
from understudy.plan.state import State, read_state

ROLES = ("current", "stable", "candidate", "previous")
_LISTED = 8  # as many records as a sentence names


@dataclass(frozen=True, slots=True)
class Record:
    """One revision of a deployment, or one promotion of it; `number` 0 = never promoted, `at` "" likewise.

    `state` is what the record says, or the part that the revision has now; `reason` how it came or why it failed.
    """

    namespace: str
    deployment: str
    revision: str
    number: int
    at: str
    state: str
    reason: str
    model: str
    created: str
    kept: bool


def latest(snapshots: Iterable[Object], state: State) -> list[Record]:
    """Each revision once, with its latest promotion: newest promotion first, those never promoted last."""
    found = [_record(snapshot, state, _numbers(snapshot)[-1:]) for snapshot in snapshots]
    return sorted(found, key=lambda r: (-r.number, r.created, r.revision))


def promotions(snapshots: Iterable[Object], state: State) -> list[Record]:
    """Each promotion once, newest first, then the revisions that were never promoted."""
    found = []
    for snapshot in snapshots:
        numbers = _numbers(snapshot)
        found += [_record(snapshot, state, [one]) for one in numbers] or [_record(snapshot, state, [])]
    return sorted(found, key=lambda r: (-r.number, r.created, r.revision))


def chosen(snapshots: Sequence[Object], deployment: Object, word: str) -> Object:
    """The record that `word` means: a revision or the beginning of one, a number, or a role.

    PluginError says what there is.
    """
    name, status = deployment["metadata"]["name"], deployment.get("status") or {}
    if word in ROLES:
        revision = str((status.get("target") or {}).get("revision", "") if word == "current" else status.get(word, ""))
        if not revision:
            raise PluginError(f"{name} has no {word} revision now")
        matching = [s for s in snapshots if s["spec"]["revision"] == revision]
        if not matching:
            raise PluginError(f"there is no record of {revision}, the {word} revision of {name}")
        return matching[0]
    # A number is short; eight digits can only be a hash.
    if word.isdecimal() and len(word) < 8:
        matching = [s for s in snapshots if any(number == int(word) for number, _ in _numbers(s))]
    else:
        matching = [s for s in snapshots if word and str(s["spec"]["revision"]).startswith(word.lower())]
    if len(matching) == 1:
        return matching[0]
    known = sorted(str(s["spec"]["revision"]) for s in (matching or snapshots))
    if matching:
        raise PluginError(f"{word!r} is the beginning of {', '.join(known[:_LISTED])}: write more of it")
    roles = f"a number of `kubectl understudy history {name}`, or one of {', '.join(ROLES)}"
    there_is = f"; there is: {', '.join(known[:_LISTED])}" if known else "; there is no record at all"
    raise PluginError(f"{name} has no revision {word!r}: write a revision, {roles}{there_is}")


def _numbers(snapshot: Object) -> list[tuple[int, str]]:
    return [(int(p["number"]), str(p["at"])) for p in (snapshot.get("status") or {}).get("promotions") or ()]


def _record(snapshot: Object, state: State, promotion: Sequence[tuple[int, str]]) -> Record:
    meta, spec, status = snapshot["metadata"], snapshot["spec"], snapshot.get("status") or {}
    number, at = promotion[0] if promotion else (0, "")
    revision, failure = str(spec["revision"]), status.get("failure") or {}
    came = next((p.reason for p in state.history if p.number == number and number), "")
    why = f"{failure.get('reason', '')}: {failure.get('message', '')}".strip(": ")
    return Record(
        namespace=str(meta["namespace"]),
        deployment=str((meta.get("labels") or {}).get(LABEL_DEPLOYMENT, spec.get("deployment", ""))),
        revision=revision,
        number=number,
        at=at,
        state=_state(status, state, revision),
        reason=why or came,
        model=str((spec.get("model") or {}).get("name", "")),
        created=str(meta.get("creationTimestamp", "")),
        kept=is_kept(meta.get("annotations") or {}),
    )


def _state(status: Object, state: State, revision: str) -> str:
    """The part that the revision has now, else what its record says."""
    parts = {state.previous: "previous", state.candidate: "candidate", state.stable: "stable"}
    if status.get("orphanedAt"):
        return "orphaned"
    return parts.get(revision) or str(status.get("state", "")).lower() or "new"


def state_of(deployment: Object | None) -> State:
    """The registers of a deployment; empty ones for one that is gone or that nobody has looked at."""
    return read_state((deployment or {}).get("status") or {}) or State()
