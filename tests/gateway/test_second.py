"""Answers that have gone out are looked at again: nothing is seen while all is well, and what went out is counted."""

import logging
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from tests.gateway.clients import Client, chat, client
from tests.gateway.engines import Asked, Script, answers_well, engine
from tests.gateway.gateways import Gateway, gateway, until
from tests.gateway.guardrails import NUMBERS, WORDS, guarded, load, policy_spec, rule
from tests.gateway.policy.judging import guarding
from tests.gateway.test_responses import RESPONSES, response, streams
from tests.gateway.test_responses import body as asks
from understudy.gateway.policy.verdicts import Facts
from understudy.gateway.wire.second import MOST, SecondLooks
from understudy.guard.engines import EngineError
from understudy.guard.gate import Gate
from understudy.guard.needles import PatternError
from understudy.guard.policy import compile_policy
from understudy.guard.second import second_of

REDACTS = {"detectors": [WORDS, NUMBERS], "rules": [rule("rude", "Redact"), rule("pii", "Redact")]}


@asynccontextmanager
async def judged(script: Script, *specs: dict[str, Any]) -> AsyncIterator[tuple[Gateway, Client]]:
    async with (
        engine(script) as server,
        gateway(guarded(server.port, *(("calm", spec) for spec in specs or (REDACTS,)))) as g,
        client(g.port) as c,
    ):
        await load(g)
        yield g, c


async def responds(asked: Asked) -> None:
    if asked.body.get("stream"):
        await streams("a da", "rn day")(asked)
    else:
        await asked.answer(200, response(asked.model, "a darn day"))


def leaked(g: Gateway) -> dict[str, float]:
    return g.plane.gauges()["understudy_guard_leaked_total"][1]


async def looked(g: Gateway, count: int) -> None:
    await until(lambda: g.plane.second.kinds["looked"] == count)


@pytest.fixture
def careless(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gates that find what is forbidden, and let it out."""
    monkeypatch.setattr(Gate, "_mask", lambda self, judged: None)


async def test_while_all_is_well_nothing_is_seen() -> None:
    async with judged(answers_well("a darn day, 4111 1111 ", "1111 1111", " dar", "n")) as (g, c):
        for stream in (True, False):
            assert "[rude]" in (await c.ask(chat(stream=stream))).text
        await looked(g, 2)
        assert leaked(g) == {"none none": 0}
        assert g.plane.second.kinds == {"looked": 2, "left_out": 0, "failed": 0}


@pytest.mark.usefixtures("careless")
async def test_what_went_out_is_counted_and_the_log_says_where_and_not_what(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)
    async with judged(answers_well("a darn day, 4111 1111 ", "1111 1111 x")) as (g, c):
        for stream in (True, False):
            assert "darn" in (await c.ask(chat(stream=stream))).text
        await looked(g, 2)
        assert leaked(g) == {"default/calm rude": 2, "default/calm pii": 2}
    told = [record.getMessage() for record in caplog.records]
    where = "rude of Guardrail default/calm went out, at 2 of its text"
    assert len([said for said in told if said.endswith(where)]) == 2
    assert not [said for said in told if "darn" in said or "4111" in said]


@pytest.mark.usefixtures("careless")
async def test_so_it_is_in_every_api() -> None:
    async with judged(responds) as (g, c):
        for stream in (True, False):
            assert b"darn" in (await c.ask(asks(stream=stream), RESPONSES)).body
        await looked(g, 2)
        assert leaked(g) == {"default/calm rude": 2}


async def test_what_was_blocked_or_only_counted_is_nothing_to_look_for() -> None:
    async with judged(answers_well("oh da", "rn it"), policy_spec("Block")) as (g, c):
        assert (await c.ask(chat(stream=True))).text == "oh "
        await looked(g, 1)
        assert leaked(g) == {"none none": 0}
    async with judged(answers_well("oh darn it"), policy_spec("Annotate")) as (g, c):
        assert (await c.ask(chat(stream=True))).text == "oh darn it"
        await g.quiet()
        assert g.plane.second.kinds == {"looked": 0, "left_out": 0, "failed": 0}


async def test_where_tier_0_failed_and_may_nothing_was_promised(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = {"detectors": [WORDS], "rules": [rule("rude", "Redact", failurePolicy="Open")]}
    async with judged(answers_well("oh darn it"), spec) as (g, c):
        monkeypatch.setattr("understudy.guard.hyperscan_engine.HyperscanMatcher.scan", _fails)
        assert (await c.ask(chat(stream=True))).text == "oh darn it"
        await g.quiet()
        assert g.plane.second.kinds["looked"] == 0
        assert leaked(g) == {"none none": 0}


def _fails(*_: object, **__: object) -> Any:
    raise EngineError("gone")


async def test_so_many_answers_are_listened_to_or_wait_and_who_comes_then_is_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("understudy.gateway.wire.second.REST", 0)
    begun: list[Coroutine[Any, Any, None]] = []
    looks = SecondLooks(begun.append)
    holds = replace(guarding(REDACTS), second=second_of([compile_policy("g0", REDACTS, {})]))
    outgoing = [looks.listen(holds, Facts()) for _ in range(MOST + 1)]
    assert outgoing.pop() is None
    assert looks.kinds["left_out"] == 1
    for each in outgoing:
        assert each is not None
        each.chunk({"choices": [{"index": 0, "delta": {"content": "oh darn it"}}]})
        looks.over(each, "default", "r", judged=True)
    assert looks.listen(holds, Facts()) is None, "they wait"
    [work] = begun
    await work
    assert looks.kinds == {"looked": MOST, "left_out": 2, "failed": 0}
    assert looks.leaked == {"default/g0 rude": MOST}
    last = looks.listen(holds, Facts())
    assert last is not None
    looks.over(last, "default", "r", judged=True)
    begun[1].close()


async def test_a_look_that_fails_is_told_and_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async with judged(answers_well("oh darn it")) as (g, c):
        with monkeypatch.context() as patch:
            patch.setattr("understudy.guard.second.Second.look", _fails)
            await c.ask(chat())
            await until(lambda: g.plane.second.kinds["failed"] == 1)
        await c.ask(chat())
        await looked(g, 1)


async def test_without_a_portable_engine_nobody_looks_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(policies: object) -> Any:
        raise PatternError("too odd")

    monkeypatch.setattr("understudy.gateway.guards.second_of", refuses)
    async with judged(answers_well("oh darn it")) as (g, c):
        assert (await c.ask(chat())).text == "oh [rude] it"
        await g.quiet()
        assert sum(g.plane.second.kinds.values()) == 0


async def test_how_much_is_held_back_and_for_how_long_is_told_once_an_answer_has_ended() -> None:
    async with judged(answers_well("oh da", "y, dar", "ling")) as (g, c):
        for stream in (True, False):
            assert (await c.ask(chat(stream=stream))).text == "oh day, darling"
        await g.quiet()
        gauges = g.plane.gauges()
        held = gauges["understudy_guard_held_characters"][1]
        # Three of `dar` waited in the stream; of the whole answer nothing was held that had not come.
        assert (held["default/story sum"], sum(held.values()) - held["default/story sum"]) == (3.0, 2.0)
        seconds = gauges["understudy_guard_held_seconds"][1]
        counts = {kind: value for kind, value in seconds.items() if not kind.endswith("sum")}
        assert sum(counts.values()) == 2, "the first and the last word of the stream"
        assert min(seconds.values()) >= 0
