"""What is held back is told by deployment, as histograms, by however many workers."""

from understudy.domain.state import GatewayState
from understudy.gateway.policy.gauges import joined, lasting
from understudy.gateway.policy.holds import Holds
from understudy.telemetry.gateway import GatewayMetrics


def shown(*workers: Holds) -> list[str]:
    gauges = joined(worker.gauges() for worker in workers)
    state = GatewayState("start", 1.0)
    text = GatewayMetrics(lambda: state, dict, lambda: gauges).render().decode()
    return [line for line in text.splitlines() if line.startswith("understudy_guard_held")]


def test_texts_are_counted_by_the_most_that_was_held_back_of_each() -> None:
    one, two = Holds(), Holds()
    one.text("a/story", [0, 5])
    two.text("a/story", [2000])
    two.text("b/tale", [])
    lines = shown(one, two)
    assert 'understudy_guard_held_characters_sum{deployment="a/story"} 2005.0' in lines
    assert 'understudy_guard_held_characters_count{deployment="b/tale"} 0.0' in lines
    of_story = [line.rpartition(" ")[2] for line in lines if "characters_bucket" in line and "a/story" in line]
    assert of_story == ["1.0"] * 4 + ["2.0"] * 6 + ["3.0"]


def test_streams_are_counted_by_how_long_their_first_and_their_last_word_waited() -> None:
    holds = Holds()
    holds.stream("a/story", 0.0, 0.3)
    holds.stream("a/story", 0.02, 0.7)
    lines = shown(holds)
    assert 'understudy_guard_held_seconds_sum{deployment="a/story",kind="first"} 0.02' in lines
    assert 'understudy_guard_held_seconds_sum{deployment="a/story",kind="last"} 1.0' in lines
    assert 'understudy_guard_held_seconds_bucket{deployment="a/story",kind="last",le="0.5"} 1.0' in lines
    assert lasting(holds.gauges()).keys() == holds.gauges().keys()


def test_what_is_not_served_any_more_is_forgotten() -> None:
    holds = Holds()
    for name in ("a/story", "b/tale"):
        holds.text(name, [1])
        holds.stream(name, 0.0, 0.0)
    holds.keep({"b/tale"})
    assert not [line for line in shown(holds) if "a/story" in line]
    assert [line for line in shown(holds) if "b/tale" in line]
