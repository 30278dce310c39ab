"""What a gateway says is what the operator reads."""

import orjson
import pytest

from understudy.api.v1alpha1.rollout import METRICS
from understudy.domain.state import (
    LOADED,
    PAIR_METRICS,
    DeploymentState,
    DetectorState,
    GatewayState,
    Guarded,
    Pairs,
    RevisionState,
    Sample,
    dump_state,
    parse_state,
    policy_key,
)

REVISION = RevisionState(
    attempts=9,
    errors={"connect": 1, "5xx": 2, "firstToken": 0, "truncated": 3, "malformed": 0},
    rejected_4xx=4,
    empty=1,
    tokens_in=100,
    tokens_out=50,
    ttft=(1, 2, 3),
    itl=(4, 5),
    open_requests=2,
    usable_endpoints=1,
    sample=Sample(attempts=5, errors=2, rejected_4xx=1, empty=1, ttft=(1, 0), slowest=(0, 1)),
    pairs=Pairs(
        count=7,
        worse={"errors": 1, "rejected": 2, "timeToFirstToken": 3, "interTokenLatency": 4, "emptyOutput": 5},
        better={"errors": 0, "rejected": 1, "timeToFirstToken": 0, "interTokenLatency": 2, "emptyOutput": 0},
        both={"errors": 1, "rejected": 0, "timeToFirstToken": 2, "interTokenLatency": 0, "emptyOutput": 1},
        dropped=6,
        other_finish=3,
        other_tools=2,
        similarity=(0, 0, 1, 0, 0, 0, 0, 0, 2, 4),
    ),
    guard=Guarded(turns=8, found={"safety/hate/6": 1, "safety/pii/4": 2}, acted=3),
)


@pytest.mark.parametrize("rejected", [("", 0), ("spec.epoch: too low", 4)])
def test_a_state_survives_the_way(rejected: tuple[str, int]) -> None:
    deployment = DeploymentState("uid", 3, 7, rejected[0], rejected[1], {"6f1c9a02": REVISION}, waiting=5)
    guards = {"5a" * 32: LOADED, "0d" * 32: "ConfigMap understudy-guard-0123456789abcdef-0 is not there"}
    key = f"{policy_key('stories', 'safety', '5a' * 32)}/guard"
    detectors = {key: DetectorState("no answer to the canary: status 500", 1.75e9), key + "-2": DetectorState()}
    state = GatewayState("start", 12.5, {"stories/story": deployment}, guards, detectors)
    assert parse_state(dump_state(state)) == state


@pytest.mark.parametrize(("field", "nothing"), [("sample", Sample()), ("pairs", Pairs()), ("guard", Guarded())])
def test_what_an_older_gateway_does_not_count_is_nothing(field: str, nothing: Sample | Pairs | Guarded) -> None:
    state = GatewayState("start", 1.0, {"stories/story": DeploymentState(revisions={"6f1c9a02": REVISION})})
    raw = dump_state(state)
    del raw["deployments"]["stories/story"]["revisions"]["6f1c9a02"][field]
    assert getattr(parse_state(raw).deployments["stories/story"].revisions["6f1c9a02"], field) == nothing


def test_a_revision_that_no_guardrail_is_asked_about_says_nothing_of_them() -> None:
    state = GatewayState("start", 1.0, {"a/b": DeploymentState(revisions={"6f1c9a02": RevisionState()})})
    raw = dump_state(state)["deployments"]["a/b"]["revisions"]["6f1c9a02"]
    assert "guard" not in raw


def test_of_guardrails_what_was_not_found_may_be_left_out() -> None:
    state = GatewayState("start", 1.0, {"a/b": DeploymentState(revisions={"6f1c9a02": REVISION})})
    raw = dump_state(state)
    raw["deployments"]["a/b"]["revisions"]["6f1c9a02"]["guard"] = {"turns": 5}
    assert parse_state(raw).deployments["a/b"].revisions["6f1c9a02"].guard == Guarded(turns=5)


def test_what_has_not_happened_is_one_value_for_thousands_of_deployments() -> None:
    quiet = {str(n): DeploymentState(revisions={"6f1c9a02": RevisionState(attempts=n)}) for n in range(2)}
    one, two = (
        found.revisions["6f1c9a02"]
        for found in parse_state(
            orjson.loads(orjson.dumps(dump_state(GatewayState("start", 1.0, quiet))))
        ).deployments.values()
    )
    assert one.errors is two.errors
    assert one.pairs is two.pairs
    assert set(one.errors.values()) | set(one.pairs.worse.values()) == {0}
    assert (one.attempts, two.attempts) == (0, 1)


def test_an_older_gateway_tells_of_nobody_who_waits() -> None:
    raw = dump_state(GatewayState("start", 1.0, {"stories/story": DeploymentState(waiting=3)}))
    del raw["deployments"]["stories/story"]["waiting"]
    assert parse_state(raw).deployments["stories/story"].waiting == 0


def test_an_older_gateway_enforces_no_policy() -> None:
    raw = dump_state(GatewayState("start", 1.0, guards={"5a" * 32: LOADED}))
    del raw["guards"]
    assert parse_state(raw).guards == {}


def test_an_older_gateway_tells_of_no_detector() -> None:
    raw = dump_state(GatewayState("start", 1.0, detectors={"a/b/c/d": DetectorState()}))
    del raw["detectors"]
    assert parse_state(raw).detectors == {}


def test_two_guardrails_that_say_the_same_are_not_the_same_policy() -> None:
    assert len({policy_key("a", "calm", "0"), policy_key("b", "calm", "0"), policy_key("a", "kind", "0")}) == 3


def test_pairs_are_told_by_every_metric_also_before_the_first() -> None:
    raw = dump_state(GatewayState("start", 1.0, {"stories/story": DeploymentState(revisions={"a": RevisionState()})}))
    pairs = raw["deployments"]["stories/story"]["revisions"]["a"]["pairs"]
    assert pairs["worse"] == pairs["better"] == pairs["both"] == dict.fromkeys(PAIR_METRICS, 0)


def test_pairs_are_judged_by_metrics_that_a_user_can_name() -> None:
    assert set(PAIR_METRICS) < set(METRICS)


def test_errors_of_every_kind_count_as_failures() -> None:
    assert REVISION.failed == 6
    assert RevisionState().failed == 0


def test_what_is_no_state_is_refused() -> None:
    with pytest.raises(KeyError):
        parse_state({"uptimeSeconds": 1})
    with pytest.raises(TypeError):
        parse_state({"startId": "a", "uptimeSeconds": None, "deployments": {}})
