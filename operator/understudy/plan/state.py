"""The machine's registers: the few values that survive from pass to pass, and how status holds them.

Everything that a decision needs beyond the observed world is here, so that a new process goes on
where the old one stopped. A state is never changed in place; a transition makes a new one.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from understudy.api.v1alpha1.deploymentstatus import Phase
from understudy.domain.duration import stamp

MAX_FAILED: Final = 10
# Class of a failure that is nothing but the user's word.
ROLLED_BACK: Final = "RolledBackByUser"
# Classes of failures of a revision whose answers were found to be what must not be said. The second is let go by
# `retry` alone.
BREACHED: Final = "GuardrailBreached"
QUARANTINED: Final = "Quarantined"
# What a revision with such a failure says is not to be heard any more.
UNSAFE: Final = ("WrongModelIdentity", BREACHED, QUARANTINED)
MAX_HISTORY: Final = 5
# Phases in which no revision is a candidate.
_RESTING: Final = ("Stable", "Watching", "RolledBack")


@dataclass(frozen=True, slots=True)
class Failure:
    """A revision that does not start again by itself.

    `left` turns True when the spec stops asking for the revision; when it asks again, the entry goes.
    """

    revision: str
    reason: str
    message: str
    at: str
    generation: int
    left: bool = False


@dataclass(frozen=True, slots=True)
class Promoted:
    """One promotion: `number` counts the deployment's promotions from 1."""

    number: int
    revision: str
    at: str
    reason: str


@dataclass(frozen=True, slots=True)
class Request:
    """The last verb that was looked at, and what came of it."""

    value: str = ""
    applied: bool = False
    message: str = ""


@dataclass(frozen=True, slots=True)
class State:
    """Where the rollout is.

    `weight` is the candidate's desired share in percent. `run` numbers the rollouts; `restarts` (by pod
    uid) is what had happened before this one, and is not held against it. `exposed` is True once this
    candidate may have had requests. `skip_to` is the weight up to which samples and
    soak are waived; 1 or more in Shadow waives pairs. `lent` of stable's pods make way for the candidate, and
    `kept` stay: so many were found to carry the load. `recalled` is True once those had to be called back. `acted`
    are the rungs of Guardrails' ladders that have paused this rollout: each does so once. `frozen` is the rollout's
    configuration as it was when the candidate was chosen.
    """

    phase: Phase = "Preparing"
    stable: str = ""
    candidate: str = ""
    previous: str = ""
    weight: int = 0
    paused: bool = False
    pinned: str = ""
    failed: tuple[Failure, ...] = ()
    history: tuple[Promoted, ...] = ()
    request: Request = Request()
    run: int = 0
    restarts: Mapping[str, int] = field(default_factory=dict)
    exposed: bool = False
    skip_to: int = 0
    lent: int = 0
    kept: int = 0
    recalled: bool = False
    acted: tuple[str, ...] = ()
    frozen: Mapping[str, Any] = field(default_factory=dict)

    def failure(self, revision: str) -> Failure | None:
        """The entry of a failed revision, or None."""
        return next((f for f in self.failed if f.revision == revision), None)

    @property
    def fallen(self) -> bool:
        """What is stable has failed by a fault of its own, and something else is on its way to take its place."""
        entry = self.failure(self.stable)
        return entry is not None and entry.reason != ROLLED_BACK

    @property
    def waived(self) -> bool:
        """The present step needs no further samples and no further soak."""
        return self.skip_to >= max(1, self.weight)

    def live(self) -> tuple[str, ...]:
        """The revisions that have a part, stable first."""
        return tuple(dict.fromkeys(r for r in (self.stable, self.candidate, self.previous) if r))


def brand(state: State, revision: str, reason: str, message: str, wall: float, generation: int) -> State:
    """`revision` is failed from now on; the ten latest entries are kept."""
    entry = Failure(revision, reason, message[:2000], stamp(wall), generation)
    others = tuple(f for f in state.failed if f.revision != revision)
    return replace(state, failed=(*others, entry)[-MAX_FAILED:])


def forgive(state: State, revision: str) -> State:
    """`revision` may start again."""
    return replace(state, failed=tuple(f for f in state.failed if f.revision != revision))


def relent(state: State, asked: str) -> State:
    """A failed revision that the spec left and asks for again may start; `asked` is the spec's revision.

    One in quarantine may not: who takes it out of it says so (`retry`).
    """
    if not asked:
        return state
    kept = (f for f in state.failed if f.reason == QUARANTINED or not (f.left and f.revision == asked))
    return replace(state, failed=tuple(replace(f, left=f.left or f.revision != asked) for f in kept))


def read_state(status: Mapping[str, Any]) -> State | None:
    """The registers in a ModelDeployment's status; None when no pass has written any yet.

    A backup that was restored or an edit by hand may leave parts in it that no pass would write: nobody is tried in a
    phase that rests, and no revision has two parts. They are passed over, and gone with the next write.
    """
    if not status.get("phase"):
        return None
    own = status.get("rollout") or {}
    request = own.get("request") or {}
    phase, stable, previous = status["phase"], status.get("stable", ""), status.get("previous", "")
    candidate = status.get("candidate", "")
    if phase in _RESTING or candidate == stable:
        candidate = ""
    return State(
        phase=phase,
        stable=stable,
        candidate=candidate,
        previous=previous if previous not in (stable, candidate) else "",
        weight=int(((status.get("weights") or {}).get("candidate") or {}).get("desired", 0)) if candidate else 0,
        paused=bool(status.get("paused", False)),
        pinned=status.get("pinnedRevision", ""),
        failed=tuple(_read_failure(f, own.get("left") or ()) for f in status.get("failed") or ()),
        history=tuple(
            Promoted(int(h["number"]), h["revision"], h["at"], h.get("reason", "")) for h in status.get("history") or ()
        ),
        request=Request(
            status.get("lastHandledRequest", ""), bool(request.get("applied", False)), str(request.get("message", ""))
        ),
        run=int(own.get("run", 0)),
        restarts={str(uid): int(count) for uid, count in (own.get("restarts") or {}).items()},
        exposed=bool(own.get("exposed", False)),
        skip_to=int(own.get("skipTo", 0)),
        lent=int(own.get("lent", 0)),
        kept=int(own.get("kept", 0)),
        recalled=bool(own.get("recalled", False)),
        acted=tuple(str(key) for key in own.get("acted") or ()),
        frozen=own.get("frozen") or {},
    )


def state_fields(state: State) -> dict[str, Any]:
    """The part of status that `read_state` reads, but for `weights`, which status completes."""
    registers = {
        "stable": state.stable,
        "candidate": state.candidate,
        "previous": state.previous,
        "pinnedRevision": state.pinned,
    }
    return {
        "phase": state.phase,
        "paused": state.paused,
        **{name: value for name, value in registers.items() if value},
        "failed": [
            {
                "revision": f.revision,
                "class": f.reason,
                "reason": f.reason,
                "message": f.message,
                "at": f.at,
                "generation": f.generation,
            }
            for f in state.failed
        ],
        "history": [
            {"number": h.number, "revision": h.revision, "at": h.at, "reason": h.reason} for h in state.history
        ],
        "lastHandledRequest": state.request.value,
        "rollout": {
            "run": state.run,
            "restarts": dict(state.restarts),
            "exposed": state.exposed,
            "skipTo": state.skip_to,
            "lent": state.lent,
            "kept": state.kept,
            "recalled": state.recalled,
            **({"acted": list(state.acted)} if state.acted else {}),
            "frozen": dict(state.frozen),
            "left": [f.revision for f in state.failed if f.left],
            "request": {"applied": state.request.applied, "message": state.request.message},
        },
    }


def _read_failure(entry: Mapping[str, Any], left: Any) -> Failure:
    return Failure(
        revision=entry["revision"],
        reason=entry.get("reason") or entry["class"],
        message=entry.get("message", ""),
        at=entry["at"],
        generation=int(entry.get("generation", 0)),
        left=entry["revision"] in left,
    )
