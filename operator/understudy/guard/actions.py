"""From findings to what is done: actions lie on axes that do not know of each other, and on each the strictest holds.

What happens to the text, to the session and to a rollout are three questions; a notice or a banner comes on top. When
several rules or Guardrails answer, the strictest answer of each axis holds, and then a crisis overrides: a person in
crisis gets an answer (never an error), is not sent away, and of the session's actions only those that the crisis rule
itself names apply.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final, Literal

from understudy.guard.findings import Finding

Where = Literal["input", "output"]
Fiction = Literal["", "fiction", "adult"]
"""What is said of a session: nothing, that it is fiction, or that it is and an adult plays."""


class Content(IntEnum):
    """What happens to the text."""

    NOTHING = 0
    LOG = 1
    ANNOTATE = 2
    REDACT = 3
    REPLACE = 4
    BLOCK = 5


class Session(IntEnum):
    """What happens to the session or player."""

    NOTHING = 0
    REMIND = 1
    SUPPRESS_HOOKS = 2
    COOL_DOWN = 3
    SWITCH_MODEL = 4


class Rollout(IntEnum):
    """What happens to the revision that spoke."""

    NOTHING = 0
    PAUSE_ROLLOUT = 1
    ROLLBACK = 2
    QUARANTINE = 3


CONTENT: Final = {
    "Log": Content.LOG,
    "Annotate": Content.ANNOTATE,
    "Redact": Content.REDACT,
    "Replace": Content.REPLACE,
    "Block": Content.BLOCK,
}
SESSION: Final = {
    "Remind": Session.REMIND,
    "SuppressHooks": Session.SUPPRESS_HOOKS,
    "CoolDown": Session.COOL_DOWN,
    "SwitchModel": Session.SWITCH_MODEL,
}
ROLLOUT: Final = {
    "PauseRollout": Rollout.PAUSE_ROLLOUT,
    "Rollback": Rollout.ROLLBACK,
    "Quarantine": Rollout.QUARANTINE,
}


@dataclass(frozen=True, slots=True)
class Decision:
    """One answer on each axis."""

    content: Content = Content.NOTHING
    session: Session = Session.NOTHING
    rollout: Rollout = Rollout.NOTHING
    notify: bool = False
    banner: bool = False
    """The referral is shown beside the answer."""
    crisis: bool = False
    """The referral is the answer, and the crisis state begins."""


NOTHING: Final = Decision()


def decision(actions: Iterable[str]) -> Decision:
    """What these actions say, by their names in a Guardrail."""
    named = set(actions)
    return Decision(
        max((CONTENT[name] for name in named & CONTENT.keys()), default=Content.NOTHING),
        max((SESSION[name] for name in named & SESSION.keys()), default=Session.NOTHING),
        max((ROLLOUT[name] for name in named & ROLLOUT.keys()), default=Rollout.NOTHING),
        "Notify" in named,
        "CrisisBanner" in named,
        "CrisisFlow" in named,
    )


def combine(decisions: Iterable[Decision], *, in_crisis: bool = False) -> Decision:
    """All of these at once. `in_crisis`: the person already is."""
    asked = tuple(decisions)
    crisis = any(each.crisis for each in asked)
    content = max((each.content for each in asked), default=Content.NOTHING)
    session = max((each.session for each in asked), default=Session.NOTHING)
    if crisis:
        # The referral takes the answer's place, which is an answer still.
        content = Content.REPLACE
    if crisis or in_crisis:
        session = max(
            (each.session for each in asked if each.crisis and each.session != Session.COOL_DOWN),
            default=Session.NOTHING,
        )
    return Decision(
        content,
        session,
        max((each.rollout for each in asked), default=Rollout.NOTHING),
        any(each.notify for each in asked),
        any(each.banner for each in asked),
        crisis,
    )


@dataclass(frozen=True, slots=True)
class Rule:
    """What follows from findings of one category."""

    category: str
    where: frozenset[Where]
    actions: Mapping[int, Decision]
    """By severity: 2, 4, 6. One that is not there does what the next lower one does."""
    thresholds: Mapping[int, float]
    """By severity: the score from which on a finding has it. Empty: the detector says how grave it is."""
    allowance: Mapping[Fiction, int] = field(default_factory=dict)
    """By what is said of the session: findings are so many levels less grave."""

    def decide(self, finding: Finding, *, fiction: Fiction = "") -> Decision:
        """What follows from a finding of this rule's category."""
        severity = self.severity(finding, fiction=fiction)
        known = [at for at in self.actions if at <= severity]
        return self.actions[max(known)] if known else NOTHING

    def strictest(self, severity: int = 6) -> Content:
        """The most that can happen to the text for findings up to this severity."""
        return max(
            (combine([said]).content for at, said in self.actions.items() if at <= severity), default=Content.NOTHING
        )

    def severity(self, finding: Finding, *, fiction: Fiction = "") -> int:
        """How grave a finding of this rule's category is, 0 if it is none."""
        score = finding.score
        found: int = finding.severity
        if score is not None and self.thresholds:
            found = max((severity for severity, least in self.thresholds.items() if score >= least), default=0)
        return max(0, found - 2 * self.allowance.get(fiction, 0))
