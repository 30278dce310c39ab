"""What a gateway says is what the operator reads."""

import pytest

from understudy.domain.state import DeploymentState, GatewayState, RevisionState, Sample, dump_state, parse_state

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
)


@pytest.mark.parametrize("rejected", [("", 0), ("spec.epoch: too low", 4)])
def test_a_state_survives_the_way(rejected: tuple[str, int]) -> None:
    deployment = DeploymentState("uid", 3, 7, rejected[0], rejected[1], {"6f1c9a02": REVISION})
    state = GatewayState("start", 12.5, {"stories/story": deployment})
    assert parse_state(dump_state(state)) == state


def test_an_older_gateway_takes_no_samples() -> None:
    state = GatewayState("start", 1.0, {"stories/story": DeploymentState(revisions={"6f1c9a02": REVISION})})
    raw = dump_state(state)
    del raw["deployments"]["stories/story"]["revisions"]["6f1c9a02"]["sample"]
    assert parse_state(raw).deployments["stories/story"].revisions["6f1c9a02"].sample == Sample()


def test_errors_of_every_kind_count_as_failures() -> None:
    assert REVISION.failed == 6
    assert RevisionState().failed == 0


def test_what_is_no_state_is_refused() -> None:
    with pytest.raises(KeyError):
        parse_state({"uptimeSeconds": 1})
    with pytest.raises(TypeError):
        parse_state({"startId": "a", "uptimeSeconds": None, "deployments": {}})
