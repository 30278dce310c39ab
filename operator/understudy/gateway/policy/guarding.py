"""What the Guardrails of a deployment come to: the plans by which its requests and answers are judged.

One value for all requests that came while it held: a request keeps the one that it began with.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from understudy.gateway.policy.keeping import Keeping, keeping
from understudy.gateway.policy.wording import Wording, wording
from understudy.guard.actions import Content, Rule, Where
from understudy.guard.engagement.crisis import SELF_HARM
from understudy.guard.engines import MakeEngine
from understudy.guard.json_gate import JsonPlans, json_plans
from understudy.guard.ladder import Rung, rungs_of
from understudy.guard.merge import merge
from understudy.guard.plan import FailurePolicy, Plan
from understudy.guard.policy import Policy
from understudy.guard.second import Second

PINNED: Final = 600.0
"""How long a request may go on under policies that hold no more, in seconds from its beginning."""
_ENGLISH: Final = "en"


@dataclass(frozen=True, slots=True)
class Referral:
    """What a person in crisis is told, in one language."""

    text: str
    phone: str = ""
    url: str = ""

    def said(self) -> str:
        """All of it as one text."""
        return "\n".join(part for part in (self.text, self.phone, self.url) if part)


@dataclass(frozen=True, slots=True)
class Plans:
    """What texts of one direction are judged by: those that are texts, those that are JSON, and words such as the names
    of tools, which no detector is asked about that has to be waited for.

    `care` hears of nothing but a crisis and its signs, and goes on where a detector fails; None where no rule speaks of
    them. `enforces`: something may be done to a text. Else what is found is only told.
    """

    text: Plan
    json: JsonPlans
    name: Plan
    care: Plan | None
    enforces: bool


@dataclass(frozen=True, slots=True, eq=False)
class Guarding:
    """All Guardrails of one deployment. A direction about which no rule speaks has no plans.

    `policies` are hashes by Guardrail, `referrals` texts by Guardrail and language. `findings` are what may be found in
    answers, as `<guardrail>/<category>`. `texts_only`: what cannot be judged may not be asked. `keeps` is what is
    kept of findings, by Guardrail, and `rules` the number of the first rule for each of `findings`. `engagement` is
    what the first that says something of it says, but for its words to players, which are `wording`. `second` is what
    is looked for again in what went out. `ladder` are the rungs for sessions and players, by key.
    """

    policies: Mapping[str, str]
    input: Plans | None
    output: Plans | None
    referrals: Mapping[str, Mapping[str, Referral]]
    findings: tuple[str, ...]
    texts_only: bool
    keeps: Mapping[str, Keeping]
    rules: Mapping[str, int]
    engagement: Mapping[str, Any] | None = None
    wording: Wording = field(default_factory=Wording)
    second: Second | None = None
    ladder: Mapping[str, Rung] = field(default_factory=dict)


def guarding_of(
    namespace: str, policies: Sequence[Policy], specs: Sequence[Mapping[str, Any]], make: MakeEngine
) -> Guarding:
    """What these policies of a namespace come to together; `specs` are theirs, in the same order."""
    engaged = next((spec for spec in specs if spec.get("engagement") is not None), {})
    return Guarding(
        {policy.name: policy.hash for policy in policies},
        _plans(policies, "input", make),
        _plans(policies, "output", make),
        {policy.name: _referrals(spec) for policy, spec in zip(policies, specs, strict=True)},
        tuple(f"{policy.name}/{each.rule.category}" for policy in policies for each in policy.about("output")),
        any(
            spec.get("unscannable", "Block") == "Block" and _enforces(policy, "input")
            for policy, spec in zip(policies, specs, strict=True)
        ),
        {policy.name: keeping(spec) for policy, spec in zip(policies, specs, strict=True)},
        {
            f"{policy.name}/{each.rule.category}": number
            for policy in policies
            for number, each in reversed(list(enumerate(policy.rules)))
        },
        _engagement(engaged),
        wording(engaged.get("engagement") or {}),
        ladder={
            rung.terms.rung: rung
            for policy, spec in zip(policies, specs, strict=True)
            for rung in rungs_of(namespace, policy.name, spec)
        },
    )


def _engagement(spec: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """What a Guardrail says of engagement; one that only counts has nothing done.

    Records judge by it and need no words: each event that tells of it would carry them.
    """
    said: Mapping[str, Any] | None = spec.get("engagement")
    if said is None:
        return None
    judged = {name: value for name, value in said.items() if name != "locales"}
    return judged if spec.get("mode", "enforce") == "enforce" else {**judged, "actions": {}}


def _plans(policies: Sequence[Policy], where: Where, make: MakeEngine) -> Plans | None:
    if not any(policy.about(where) for policy in policies):
        return None
    plan = merge(policies, where, make)
    at_once = replace(plan, asked=frozenset(), awaited=frozenset(), by_sentence=False)
    enforces = any(_enforces(policy, where) for policy in policies)
    return Plans(plan, json_plans(plan), json_plans(at_once).outside, _care(plan), enforces)


def _care(plan: Plan) -> Plan | None:
    rules = {name: tuple(_caring(rule) for rule in said if _cares(rule)) for name, said in plan.rules.items()}
    if not any(rules.values()):
        return None
    failing: dict[str, FailurePolicy] = dict.fromkeys(plan.on_failure, "Open")
    return replace(
        plan, rules=rules, awaited=frozenset(), by_sentence=False, on_failure=failing, tier0_on_failure="Open"
    )


def _cares(rule: Rule) -> bool:
    return rule.category == SELF_HARM or any(said.crisis for said in rule.actions.values())


def _caring(rule: Rule) -> Rule:
    """The rule in which nothing but a crisis ends a text."""
    actions = {at: said if said.crisis else replace(said, content=Content.LOG) for at, said in rule.actions.items()}
    return replace(rule, actions=actions)


def _enforces(policy: Policy, where: Where) -> bool:
    return any(policy.strictest(where, each.rule.category) >= Content.REDACT for each in policy.about(where))


def _referrals(spec: Mapping[str, Any]) -> Mapping[str, Referral]:
    locales = (spec.get("crisis") or {}).get("locales") or {}
    return {
        language.lower(): Referral(said["text"], said.get("phone") or "", said.get("url") or "")
        for language, said in locales.items()
    }


def languages(fields: Mapping[bytes, bytes]) -> tuple[str, ...]:
    """Languages of the person who asks, the best first: the header `x-locale`, then `Accept-Language`."""
    said = [(1.0, part) for part in _field(fields, b"x-locale").split(",")]
    for part in _field(fields, b"accept-language").split(",")[:_MOST_LANGUAGES]:
        tag, _, weight = part.partition(";q=")
        said.append((_weight(weight), tag))
    ranked = sorted(((weight, tag.strip().lower()) for weight, tag in said), key=lambda each: -each[0])
    return tuple(tag for weight, tag in ranked if tag and weight > 0)


_MOST_LANGUAGES: Final = 16


def referral(guarding: Guarding, guardrails: Sequence[str], wanted: Sequence[str]) -> Referral | None:
    """What the first of these Guardrails that has a referral says, in the first language that it has.

    One that it has for no region does for all of them. Without any: in English, else in the first one written.
    """
    for name in guardrails:
        known = guarding.referrals.get(name) or {}
        for tag in (*wanted, _ENGLISH, *known):
            found = known.get(tag) or known.get(tag.partition("-")[0])
            if found is not None:
                return found
    return None


def _field(fields: Mapping[bytes, bytes], name: bytes) -> str:
    return fields.get(name, b"").decode("latin-1")


def _weight(text: str) -> float:
    try:
        return float(text) if text else 0.999
    except ValueError:
        return 0.0
