"""Each knob does what it says: at start, by environment, and live."""

import asyncio
import re
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import aiohttp
import pytest

from tests.sim.engines import engine
from understudy.sim.answers import Served
from understudy.sim.behaviour import (
    KNOBS,
    Behaviour,
    BehaviourError,
    changed,
    described,
    flag,
    from_text,
    variable,
)
from understudy.sim.server import Identity

BODY: dict[str, Any] = {"model": "story-0a1b2c3d", "messages": [{"role": "user", "content": "hi"}]}


async def ask(session: aiohttp.ClientSession, base: str, **more: Any) -> tuple[int, Any]:
    async with session.post(f"{base}/v1/chat/completions", json={**BODY, **more}) as answer:
        return answer.status, await answer.json()


async def turn(session: aiohttp.ClientSession, base: str, **knobs: Any) -> int:
    async with session.post(f"{base}/admin/behaviour", json=knobs) as answer:
        return answer.status


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(120):
        while not condition():  # noqa: ASYNC110  # the engine tells nobody
            await asyncio.sleep(0.01)


async def test_not_ready_until_the_start_delay_is_over() -> None:
    async with engine(startDelay=3600) as (base, simulator), aiohttp.ClientSession() as session:
        async with session.get(f"{base}/health") as health:
            assert health.status == 503
        assert (await ask(session, base))[0] == 503
        simulator.ready_at = 0
        async with session.get(f"{base}/health") as health:
            assert health.status == 200
        assert (await ask(session, base))[0] == 200
        await turn(session, base, startDelay=3600)
        async with session.get(f"{base}/health") as health:
            assert health.status == 503, "set live, the engine is unready again"


async def test_errors_at_the_rate_asked_for() -> None:
    async with engine(errorRate=0.5) as (base, _), aiohttp.ClientSession() as session:
        statuses = [(await ask(session, base))[0] for _ in range(60)]
        assert set(statuses) == {200, 500}
        await turn(session, base, errorRate=1)
        assert (await ask(session, base))[0] == 500


async def test_hangs_on_completions_only_or_on_health_too() -> None:
    async with engine(hang=True) as (base, simulator), aiohttp.ClientSession() as session:
        waiting = asyncio.create_task(ask(session, base))
        await until(lambda: bool(simulator.active))
        async with session.get(f"{base}/health") as health:
            assert health.status == 200
        waiting.cancel()
        await until(lambda: not simulator.active)  # a client that leaves ends its request
        await turn(session, base, hang="all")
        with pytest.raises(asyncio.TimeoutError):
            await session.get(f"{base}/health", timeout=aiohttp.ClientTimeout(total=0.2))


async def test_a_hanging_stream_stops_after_its_first_token() -> None:
    async with engine(hang="streams", text="one two three") as (base, _), aiohttp.ClientSession() as session:
        async with session.post(f"{base}/v1/chat/completions", json={**BODY, "stream": True}) as answer:
            seen = b""
            while b"one" not in seen:
                seen += await answer.content.readany()
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(answer.content.readany(), 0.2)
        with pytest.raises(asyncio.TimeoutError):
            await session.post(f"{base}/v1/chat/completions", json=BODY, timeout=aiohttp.ClientTimeout(total=0.2))


async def test_crashes_when_the_nth_request_arrives() -> None:
    crashes: list[int] = []
    async with engine() as (base, simulator), aiohttp.ClientSession() as session:
        simulator.die = lambda: crashes.append(simulator.arrived)
        await ask(session, base)
        await turn(session, base, crash=2)
        await ask(session, base)
        await turn(session, base, text="still counting")
        assert crashes == []
        await ask(session, base)
        assert crashes == [3]


async def test_crashes_now() -> None:
    crashed = asyncio.Event()
    async with engine() as (base, simulator), aiohttp.ClientSession() as session:
        simulator.die = crashed.set
        assert await turn(session, base, crash="now") == 200, "the call itself is answered"
        await asyncio.wait_for(crashed.wait(), 60)


async def test_claims_another_identity_and_answers_to_both() -> None:
    async with engine(identity="impostor") as (base, _), aiohttp.ClientSession() as session:
        async with session.get(f"{base}/v1/models") as answer:
            assert (await answer.json())["data"][0]["id"] == "impostor"
        assert (await ask(session, base))[1]["model"] == "impostor"
        assert (await ask(session, base, model="impostor"))[0] == 200


@pytest.mark.slow
async def test_a_knob_turned_live_is_felt_by_open_streams() -> None:
    async with engine(tokens=100_000, interToken=0.01) as (base, simulator), aiohttp.ClientSession() as session:
        simulator.identity = Identity(Served(BODY["model"], "/models/tiny-a", 1_000_000))
        async with session.post(f"{base}/v1/chat/completions", json={**BODY, "stream": True}) as stream:
            await stream.content.readany()
            await turn(session, base, hang="streams")
            seen = b""
            with suppress(asyncio.TimeoutError):
                while part := await asyncio.wait_for(stream.content.readany(), 0.5):
                    seen += part
            assert b"[DONE]" not in seen
            assert not stream.content.at_eof(), "the stream is open and silent"


async def test_shows_its_knobs_and_refuses_unknown_ones() -> None:
    async with engine() as (base, _), aiohttp.ClientSession() as session:
        assert await turn(session, base, tokens=3, text="x") == 200
        async with session.get(f"{base}/admin/behaviour") as answer:
            assert (await answer.json())["tokens"] == 3
        assert await turn(session, base, speed=3) == 400
        async with session.post(f"{base}/admin/behaviour", json=[1]) as answer:
            assert answer.status == 400


@pytest.mark.parametrize(
    ("knob", "value"),
    [
        ("startDelay", -1),
        ("firstToken", "soon"),
        ("interToken", True),
        ("jitter", 2),
        ("errorRate", True),
        ("hang", "sometimes"),
        ("crash", "later"),
        ("crash", -1),
        ("identity", 3),
        ("text", None),
        ("tokens", 1.5),
        ("tokens", True),
    ],
)
def test_refuses_a_value_by_naming_the_knob(knob: str, value: object) -> None:
    with pytest.raises(BehaviourError, match=re.escape(knob)):
        changed(Behaviour(), {knob: value})


def test_what_is_described_can_be_set() -> None:
    behaviour = changed(Behaviour(), {"crash": 4, "hang": "streams", "text": "hi", "startDelay": 2, "tokens": 9})
    assert changed(Behaviour(), described(behaviour)) == behaviour
    assert tuple(described(behaviour)) == KNOBS


def test_booleans_are_taken_for_hang_and_crash() -> None:
    assert changed(Behaviour(), {"hang": True, "crash": True}) == Behaviour(hang="requests", crash="now")
    assert changed(Behaviour(), {"hang": False, "crash": False}) == Behaviour()


@pytest.mark.parametrize(
    ("knob", "text", "value"),
    [
        ("text", "12", "12"),
        ("identity", "true", "true"),
        ("hang", "true", True),
        ("crash", "now", "now"),
        ("crash", "7", 7),
        ("jitter", "0.5", 0.5),
    ],
)
def test_flags_and_variables_become_values(knob: str, text: str, value: object) -> None:
    assert from_text(knob, text) == value


def test_names_of_flags_and_variables() -> None:
    assert flag("startDelay") == "--start-delay"
    assert variable("startDelay") == "SIM_START_DELAY"
