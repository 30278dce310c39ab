"""Samples: what a verdict on a candidate is based on, so that nobody counts more because he asks more often."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.gateway.clients import ask, chat
from tests.gateway.engines import Asked, Script, answers_status, answers_well, completion, engine
from tests.gateway.gateways import Gateway, gateway, until
from tests.gateway.worlds import CANARY, STABLE, endpoints, snapshot, table
from understudy.domain.state import ITL_BOUNDS

BODIES = [pytest.param(chat(), id="whole"), pytest.param(chat(stream=True), id="stream")]


def rolling(stable: int, candidate: int) -> dict[str, Any]:
    return snapshot([table({STABLE: 0, CANARY: 100})], [endpoints(STABLE, [stable]), endpoints(CANARY, [candidate])])


def stopped(g: Gateway) -> Callable[[float], None]:
    """Time stands still; the function says what time it is then."""
    now = 1000.0

    def set_clock(seconds: float) -> None:
        nonlocal now
        now = seconds

    g.plane.clock = lambda: now
    return set_clock


@pytest.mark.parametrize("body", BODIES)
async def test_a_conversation_gives_one_sample_in_ten_seconds(body: dict[str, Any]) -> None:
    async with engine() as stable, engine() as candidate, gateway(rolling(stable.port, candidate.port)) as g:
        set_clock = stopped(g)
        for _ in range(5):
            await ask(g.port, body, **{"x-session-id": "chatty"})
        assert (g.state(CANARY).attempts, g.state(CANARY).sample.attempts) == (5, 1)
        await ask(g.port, body, **{"x-session-id": "another"})
        assert g.state(CANARY).sample.attempts == 2
        set_clock(1011.0)
        await ask(g.port, body, **{"x-session-id": "chatty"})
        assert (g.state(CANARY).attempts, g.state(CANARY).sample.attempts) == (7, 3)


@pytest.mark.parametrize("body", BODIES)
async def test_nothing_is_sampled_while_there_is_nothing_to_compare(body: dict[str, Any]) -> None:
    async with engine() as e, gateway(snapshot([table()], [endpoints(STABLE, [e.port])])) as g:
        await ask(g.port, body)
        assert (g.state(STABLE).attempts, g.state(STABLE).sample.attempts) == (1, 0)


@pytest.mark.parametrize("body", BODIES)
async def test_a_failure_is_a_sample_of_the_candidate_and_its_second_try_one_of_stable(body: dict[str, Any]) -> None:
    async with (
        engine() as stable,
        engine(answers_status(500)) as candidate,
        gateway(rolling(stable.port, candidate.port)) as g,
    ):
        stopped(g)
        for _ in range(3):
            assert (await ask(g.port, body, **{"x-session-id": "one"})).status == 200
        assert (g.state(CANARY).sample.attempts, g.state(CANARY).sample.errors) == (1, 1)
        assert (g.state(STABLE).sample.attempts, g.state(STABLE).sample.errors) == (1, 0)


async def test_a_client_that_sends_the_same_mistake_again_and_again_counts_once() -> None:
    async with (
        engine() as stable,
        engine(answers_status(400, {"error": {"message": "too long"}})) as candidate,
        gateway(rolling(stable.port, candidate.port)) as g,
    ):
        stopped(g)
        for _ in range(4):
            assert (await ask(g.port, chat("x"))).status == 400
        state = g.state(CANARY)
        assert (state.rejected_4xx, state.sample.rejected_4xx, state.sample.attempts) == (4, 1, 1)


@pytest.mark.parametrize("stream", [False, True])
async def test_an_empty_answer_is_seen_in_the_sample(stream: bool) -> None:
    async def says_nothing(asked: Asked) -> None:
        await asked.answer(200, completion(asked.model, ""))

    script: Script = answers_well("") if stream else says_nothing
    async with engine() as stable, engine(script) as candidate, gateway(rolling(stable.port, candidate.port)) as g:
        stopped(g)
        for _ in range(2):
            await ask(g.port, chat(stream=stream))
        assert (g.state(CANARY).empty, g.state(CANARY).sample.empty) == (2, 1)


async def test_a_stream_counts_by_its_longest_gap_and_an_end_that_is_missing_is_an_error() -> None:
    async def breaks_off(asked: Asked) -> None:
        await asked.begin_stream()
        for count, now in enumerate((1000.0, 1003.0, 1003.5)):
            set_clock(now)
            await asked.say("word")
            await until(lambda seen=count: sum(g.state(CANARY).itl) + sum(g.state(CANARY).ttft) > seen)  # type: ignore[misc]
        asked.reset()

    async with engine() as stable, engine(breaks_off) as candidate, gateway(rolling(stable.port, candidate.port)) as g:
        set_clock = stopped(g)
        assert not (await ask(g.port, chat(stream=True))).done
        sample = g.state(CANARY).sample
        assert (sample.attempts, sample.errors, sum(sample.ttft)) == (1, 1, 1)
        assert [i for i, count in enumerate(sample.slowest) if count] == [ITL_BOUNDS.index(5.0)]
