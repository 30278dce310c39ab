"""From the policies that hold for a deployment to the plan by which gates go, one for each direction.

All patterns become one scanner, so that several Guardrails cost hardly more than one, and cut a text in one place. Each
policy's rules speak of its own detectors' findings only; what they say together is `actions.combine`'s to know.
"""

from collections.abc import Callable, Sequence

from understudy.guard.actions import Content, Where
from understudy.guard.engines import MakeEngine
from understudy.guard.needles import Needle
from understudy.guard.pii import CHECKS
from understudy.guard.plan import FailurePolicy, Plan
from understudy.guard.policy import STRICTNESS, Policy
from understudy.guard.scan import Scanner
from understudy.guard.served.judge import Judge


def merge(policies: Sequence[Policy], where: Where, make: MakeEngine) -> Plan:
    """The plan of these policies; of none: everything is let out."""
    by_detector = {needle.pattern.detector: policy for policy in policies for needle in policy.needles}
    needles = [needle for policy in policies for needle in policy.needles if _looked_for(policy, needle, where)]
    judges = {
        judge.name: (policy, judge) for policy in policies for judge in policy.judges if _asks(policy, judge, where)
    }
    by_name = {**by_detector, **{name: policy for name, (policy, _) in judges.items()}}
    enforced = [policy for policy in policies if policy.enforced]
    return Plan(
        where,
        Scanner(needles, make, CHECKS, _holds(by_detector, where)),
        {name: tuple(each.rule for each in policy.about(where)) for name, policy in by_name.items()},
        frozenset(name for name, policy in by_name.items() if not policy.enforced),
        frozenset(judges),
        frozenset(name for name, (policy, judge) in judges.items() if _awaits(policy, judge, where)),
        {name: _judge_fails(policy, judge, where) for name, (policy, judge) in judges.items()},
        "Closed" if any(_tier0_ends(policy, where) for policy in enforced) else "Open",
        any(policy.by_sentence for policy in enforced),
        min((policy.max_hold for policy in enforced), default=2048),
        "Degrade" if enforced and all(policy.on_overflow == "Degrade" for policy in enforced) else "Block",
    )


def _looked_for(policy: Policy, needle: Needle, where: Where) -> bool:
    return any(each.rule.category == needle.pattern.category for each in policy.about(where))


def _holds(by_detector: dict[str, Policy], where: Where) -> Callable[[Needle], bool]:
    """What is only counted is not waited for."""

    def holds(needle: Needle) -> bool:
        pattern = needle.pattern
        policy = by_detector[pattern.detector]
        return policy.strictest(where, pattern.category, pattern.severity) >= Content.REDACT

    return holds


def _asks(policy: Policy, judge: Judge, where: Where) -> bool:
    return any(judge.may_find(each.rule.category) for each in policy.about(where))


def _awaits(policy: Policy, judge: Judge, where: Where) -> bool:
    """If something is done to the text for one of the categories that a detector may find, its word is awaited."""
    categories = {each.rule.category for each in policy.about(where)}
    return any(policy.strictest(where, each) >= Content.REDACT for each in categories if judge.may_find(each))


def _judge_fails(policy: Policy, judge: Judge, where: Where) -> FailurePolicy:
    """The strictest of the rules that need it; one that is only counted never stops anything."""
    if not policy.enforced:
        return "Open"
    need = [each.failure_policy for each in policy.about(where) if judge.may_find(each.rule.category)]
    return max(need, key=STRICTNESS.index)


def _tier0_ends(policy: Policy, where: Where) -> bool:
    """Whether a rule that needs tier 0 forbids to go on without it."""
    found = policy.found_at_once
    return any(each.rule.category in found and each.failure_policy != "Open" for each in policy.about(where))
