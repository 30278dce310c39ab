"""Requests as clients see them are counted once, by the deployment that they asked for, by however many workers."""

import pytest

from understudy.domain.state import GatewayState
from understudy.gateway.policy.clients import Clients
from understudy.gateway.policy.gauges import joined, lasting
from understudy.telemetry.gateway import GatewayMetrics


def shown(*workers: Clients) -> list[str]:
    """Lines of the exposition, of several workers as one gateway's."""
    gauges = joined(worker.gauges() for worker in workers)
    state = GatewayState("start", 1.0)
    text = GatewayMetrics(lambda: state, dict, lambda: gauges).render().decode()
    return [line for line in text.splitlines() if line.startswith(("understudy_requests", "understudy_e2e"))]


def test_what_ended_is_told_by_deployment_and_status_and_what_came_to_none_as_unknown() -> None:
    one, two = Clients(), Clients()
    one.over("a/story", 200, 0.02)
    one.over("a/story", 200, 3.0)
    two.over("a/story", 200, 700.0)
    two.over("a/story", 504, 60.0)
    one.over("b/tale", 200, 0.05)
    one.refused(401)
    two.refused(401)
    lines = shown(one, two)
    assert {line for line in lines if line.startswith("understudy_requests_total")} == {
        'understudy_requests_total{deployment="unknown",status="401"} 2.0',
        'understudy_requests_total{deployment="a/story",status="200"} 3.0',
        'understudy_requests_total{deployment="a/story",status="504"} 1.0',
        'understudy_requests_total{deployment="b/tale",status="200"} 1.0',
    }
    of_story = [line.rpartition(" ")[2] for line in lines if "a/story" in line and "_bucket" in line]
    assert of_story == ["1.0"] * 5 + ["1.0", "2.0", "2.0", "2.0", "2.0", "3.0", "3.0", "3.0", "3.0", "4.0"]
    assert 'understudy_e2e_request_latency_seconds_sum{deployment="a/story"} 763.02' in lines
    assert 'understudy_e2e_request_latency_seconds_count{deployment="a/story"} 4.0' in lines
    # What takes as long as a bound is below it.
    assert 'understudy_e2e_request_latency_seconds_bucket{deployment="b/tale",le="0.05"} 1.0' in lines


def test_before_the_first_request_there_is_nothing_to_show() -> None:
    assert shown(Clients()) == []


def test_a_deployment_that_is_gone_is_forgotten() -> None:
    clients = Clients()
    clients.over("a/story", 200, 1.0)
    clients.over("b/tale", 200, 1.0)
    clients.keep({"b/tale"})
    assert not [line for line in shown(clients) if "a/story" in line]
    assert [line for line in shown(clients) if "b/tale" in line]


@pytest.mark.parametrize("name", ["understudy_requests_total", "understudy_e2e_request_latency_seconds"])
def test_what_a_worker_has_counted_outlives_it(name: str) -> None:
    clients = Clients()
    clients.over("a/story", 200, 1.0)
    assert lasting(clients.gauges())[name] == clients.gauges()[name]
