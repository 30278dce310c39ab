"""The ladder of a session and of a player: so many findings in some time, and what follows for a while.

A rung falls due with `count` findings within `within`; they are used up then, and the next time takes as many others.
What it asks for holds until an end that is known when it begins, so nothing has to be taken back. Who counts needs only
the rung's *terms*, which travel with each finding: it does not matter who has heard of which edit of a Guardrail.

An action of this kind that a rule names (`rules[].actions`) is a rung too: of one finding of which the rule says so.

What holds is said by the key of its rung, a hash of all that the rung counts and does. Whoever acts looks the key up
among the rungs of the deployment that is asked: one that was edited or deleted has nothing held any more.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, get_args

from understudy.domain.duration import seconds
from understudy.guard.actions import SESSION, Session
from understudy.guard.engagement.policy import USUAL, CoolDown, cool_down_of

Per = Literal["session", "player"]
RungAction = Literal["Remind", "SuppressHooks", "CoolDown", "SwitchModel", "Notify"]
# A reminder that was not shown by then is of no use.
REMIND_STAYS: Final = 15 * 60.0
# For so long holds what a rule asks for, which says of no time.
RULE_STAYS: Final = 3600.0
_ASKED: Final[tuple[RungAction, ...]] = ("Remind", "SuppressHooks", "CoolDown")
_NEVER: Final = float("-inf")
_KEY_DIGITS: Final = 16
# Of a namespace, a slash and a name.
_LONGEST_NAME: Final = 320


@dataclass(frozen=True, slots=True)
class Terms:
    """What of a rung one must know to count.

    `guardrail` is `<namespace>/<name>`, `number` its place in the ladder; of one that a `rule` asks for, among rules.
    """

    rung: str
    guardrail: str
    number: int
    count: int
    within: float
    action: RungAction
    cool_down: CoolDown = USUAL
    rule: bool = False


@dataclass(frozen=True, slots=True)
class Rung:
    """One of a Guardrail's. It counts findings of `category` ("" for all) from `severity` on, by session or player.

    `to` is the served name for SwitchModel, and `passes` says whether somebody is served without where nobody has it.
    `asked`: of a rule; it counts what the rule asks that for, whatever its severity.
    """

    terms: Terms
    per: Per
    category: str
    severity: int
    to: str = ""
    passes: bool = False
    asked: Session = Session.NOTHING

    def counts(self, guardrail: str, category: str, severity: int, asked: Session = Session.NOTHING) -> bool:
        """Whether it counts a finding of a Guardrail of its namespace; `asked` is what its rule says of the session."""
        mine = self.terms.guardrail.partition("/")[2] == guardrail and severity >= self.severity
        return mine and (not self.category or self.category == category) and self.asked in (Session.NOTHING, asked)


@dataclass(frozen=True, slots=True)
class Hold:
    """What a rung asks for holds from `since`, the finding that was one too many, up to `until`; Unix seconds."""

    rung: str
    since: float
    until: float


@dataclass(frozen=True, slots=True)
class Tally:
    """Of one rung: when the findings were that it counts and has not used up, the oldest first.

    From `ends` on none of them counts any more.
    """

    times: tuple[float, ...] = ()
    ends: float = _NEVER

    def after(self, at: float) -> "Tally":
        """Without those up to then."""
        return replace(self, times=tuple(time for time in self.times if time > at))


def rungs_of(namespace: str, guardrail: str, spec: Mapping[str, Any]) -> tuple[Rung, ...]:
    """The rungs for sessions and players of a Guardrail, as stored; one that only counts has them told of alone."""
    name, acts = f"{namespace}/{guardrail}", spec.get("mode", "enforce") == "enforce"
    passes = spec.get("failurePolicy", "Closed") == "Open"
    cool_down = cool_down_of((spec.get("engagement") or {}).get("coolDown") or {})
    climbed = (
        _rung(name, number, raw, cool_down, acts=acts, passes=passes)
        for number, raw in enumerate(spec.get("ladder") or ())
        if raw["per"] != "revision"
    )
    return (*climbed, *_asked(name, spec.get("rules") or (), cool_down, acts=acts))


def _rung(
    guardrail: str, number: int, raw: Mapping[str, Any], cool_down: CoolDown, *, acts: bool, passes: bool
) -> Rung:
    action: RungAction = raw["action"] if acts else "Notify"
    count, within, to = int(raw["count"]), seconds(raw["within"]), raw.get("to", "") if acts else ""
    category, severity = raw.get("category") or "", int(raw.get("severityAtLeast", 2))
    key = _key((guardrail, raw["per"], category, severity, count, within, action, to))
    terms = Terms(key, guardrail, number, count, within, action, cool_down)
    return Rung(terms, raw["per"], category, severity, to, passes)


def _asked(guardrail: str, rules: Iterable[Mapping[str, Any]], cool_down: CoolDown, *, acts: bool) -> Iterator[Rung]:
    """What rules ask for, once for each category: the first that asks for it is named."""
    found: set[tuple[str, str]] = set()
    for number, rule in enumerate(rules):
        named = {name for actions in rule["actions"].values() for name in actions}
        for name in _ASKED:
            if name in named and (rule["category"], name) not in found:
                found.add((rule["category"], name))
                action: RungAction = name if acts else "Notify"
                terms = Terms(
                    _key((guardrail, "rules", rule["category"], name, action)),
                    guardrail, number, 1, RULE_STAYS, action, cool_down, rule=True,
                )  # fmt: skip
                yield Rung(terms, "player", rule["category"], 0, asked=SESSION[name])


def _key(what: tuple[Any, ...]) -> str:
    return hashlib.sha256(repr(what).encode()).hexdigest()[:_KEY_DIGITS]


def counted(tally: Tally, terms: Terms, at: float) -> tuple[Tally, bool]:
    """With one finding more, and whether it was one too many.

    What lies after it does not count: a clock was set back.
    """
    times = (*(time for time in tally.times if at - terms.within < time <= at), at)
    if len(times) >= terms.count:
        return Tally(), True
    return Tally(times, at + terms.within), False


def lasts(terms: Terms, breaks: int) -> float:
    """For how many seconds it holds, after so many breaks on the same day."""
    if terms.action == "CoolDown":
        return terms.cool_down.length(breaks)
    return REMIND_STAYS if terms.action == "Remind" else terms.within


def renewed(hold: Hold, terms: Terms, at: float, breaks: int) -> Hold:
    """What holds once it has fallen due at `at`: what holds already goes on for longer, but for a break."""
    if hold.until <= at:
        return Hold(terms.rung, at, at + lasts(terms, breaks))
    return hold if terms.action == "CoolDown" else replace(hold, until=at + lasts(terms, breaks))


def window(terms: Terms, since: float) -> str:
    """What it is done once in, whoever has counted, and though one of the findings may be heard of late.

    Between two beginnings lies the shortest time for which it holds, so no two share a window.
    """
    return f"{terms.rung}/{since // lasts(terms, 0):.0f}"


@dataclass(frozen=True, slots=True)
class Ruling:
    """What the rungs of a deployment ask for together, the strictest alone; None where nothing holds."""

    rung: Rung | None = None
    hold: Hold = Hold("", _NEVER, _NEVER)

    def says(self, action: RungAction) -> bool:
        """Whether it is that."""
        return self.rung is not None and self.rung.terms.action == action


NOTHING: Final = Ruling()


def ruling(holds: Iterable[Hold], rungs: Mapping[str, Rung], *, in_crisis: bool) -> Ruling:
    """What holds for a deployment with these rungs, by key.

    In a crisis nobody has a break. Another model stays: it turns nobody away, and a crisis can be faked.
    """
    # By action, and of two that ask for the same the one that holds longer.
    strictest, found = (0, _NEVER, ""), NOTHING
    for hold in holds:
        rung = rungs.get(hold.rung)
        if rung is None or (in_crisis and rung.terms.action == "CoolDown"):
            continue
        strictness = (SESSION.get(rung.terms.action, 0), hold.until, hold.rung)
        if strictness > strictest:
            strictest, found = strictness, Ruling(rung, hold)
    return found


def dump_terms(terms: Terms) -> dict[str, Any]:
    """As JSON."""
    breaks = terms.cool_down
    return {
        "rung": terms.rung,
        "guardrail": terms.guardrail,
        "number": terms.number,
        "count": terms.count,
        "within": terms.within,
        "action": terms.action,
        **({"coolDown": [breaks.initial, breaks.factor, breaks.longest]} if terms.action == "CoolDown" else {}),
        **({"rule": True} if terms.rule else {}),
    }


def parse_terms(document: Mapping[str, Any]) -> Terms:
    """Of what `dump_terms` has made; KeyError, TypeError and ValueError for anything else."""
    action, count, within = document["action"], int(document["count"]), float(document["within"])
    if action not in get_args(RungAction):
        raise ValueError(f"action: {action!r} is none of {', '.join(get_args(RungAction))}")
    if count < 1 or not 0 < within < float("inf"):
        raise ValueError("count, within: write numbers above 0")
    rung, guardrail = str(document["rung"]), str(document["guardrail"])
    if len(rung) != _KEY_DIGITS or len(guardrail) > _LONGEST_NAME:
        raise ValueError(
            f"rung, guardrail: write a key of {_KEY_DIGITS} digits, and at most {_LONGEST_NAME} characters"
        )
    cool_down = CoolDown(*(float(part) for part in document.get("coolDown", ())))
    rule = document.get("rule") is True
    return Terms(rung, guardrail, int(document["number"]), count, within, action, cool_down, rule)
