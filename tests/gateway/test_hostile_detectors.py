"""Detectors that are asked about much at once, slowly, or by a Guardrail that only counts."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import orjson
import pytest

from tests.gateway.clients import chat, client
from tests.gateway.engines import Asked, answers_well, chunk
from tests.gateway.gateways import DEPLOYMENT, Gateway, until
from tests.gateway.guardrails import policy_spec
from tests.gateway.policy.judging import asking
from tests.gateway.test_guardrails import judged, panel
from tests.gateway.test_hearing import ask_detectors, says
from tests.gateway.test_responses import RESPONSES, event, events, heard
from tests.gateway.test_responses import body as asks
from tests.gateway.worlds import STABLE
from understudy.gateway.wire.asking import AT_ONCE
from understudy.guard.findings import Finding, Status
from understudy.guard.windows import Window


class Judges:
    """Detectors that find one thing in every window once they may, and say how many were asked at once."""

    def __init__(self, *, finds: bool = False) -> None:
        self.may = asyncio.Event()
        self.asked = self.most = self._now = 0
        self._finds = finds

    async def judge(
        self, policy: str, detector: str, window: Window, where: str, before: str = ""
    ) -> tuple[Sequence[Finding], Status]:
        self.asked += 1
        self._now += 1
        self.most = max(self.most, self._now)
        await self.may.wait()
        self._now -= 1
        found = Finding(detector, "x", "rude", 6, None, window.start, window.end, window.end, window.start)
        return [found] if self._finds else [], "ok"

    def gauges(self) -> dict[str, Any]:
        return {}


LONG = "A sentence of some words. " * 800


async def test_a_long_whole_answer_waits_for_detectors_piece_by_piece() -> None:
    async with judged(answers_well(LONG), policy_spec()) as (_, g), client(g.port) as c:
        panel(g, (0.0, "ok"))
        judges = Judges()
        judges.may.set()
        g.plane.panel = cast("Any", judges)
        answer = await c.ask(chat())
        assert (answer.status, answer.text) == (200, LONG)
        assert judges.asked == 800
        assert judges.most <= AT_ONCE
        await g.quiet()
        assert g.plane.findings.gauges()["understudy_guard_failures_total"][1] == {"none none none": 0}


async def test_a_long_text_is_asked_in_one_piece_after_the_other() -> None:
    async with judged(answers_well("well"), policy_spec()) as (e, g), client(g.port) as c:
        judges = Judges()
        judges.may.set()
        ask_detectors(g, cast("Any", judges))
        assert (await c.ask(says(LONG))).status == 200
        assert e.asked[0].body["messages"][0]["content"] == LONG
        assert judges.asked == 800
        assert judges.most <= AT_ONCE


def only_counting(g: Gateway, judges: Judges) -> None:
    """Have answers judged by a detector for whose word nobody waits."""
    g.plane.panel = cast("Any", judges)
    holds = asking("Open")
    assert holds.output is not None
    text = replace(holds.output.text, awaited=frozenset(), counted=frozenset({"g0/j"}))
    counting = replace(holds, output=replace(holds.output, text=text, enforces=False))
    outcomes = g.world.guards.outcomes
    outcomes[DEPLOYMENT] = replace(outcomes[DEPLOYMENT], guarding=counting)
    g.world.guarded([DEPLOYMENT])
    g.world.compile()


@pytest.mark.parametrize("stream", [True, False])
async def test_what_is_only_counted_is_counted_though_nobody_waited_for_it(stream: bool) -> None:
    async with judged(answers_well("one. ", "two"), policy_spec()) as (_, g), client(g.port) as c:
        judges = Judges(finds=True)
        only_counting(g, judges)
        answer = await c.ask(chat(stream=stream))
        assert (answer.status, answer.text) == (200, "one. two")
        assert g.state(STABLE).guard.turns == 0
        judges.may.set()
        await until(lambda: g.state(STABLE).guard.turns == 1)
        assert g.plane.findings.counts == {"default/g0 rude output log": 2}


async def test_in_monitor_mode_halves_of_characters_go_on_as_they_came() -> None:
    async def script(asked: Asked) -> None:
        await asked.begin_stream()
        for half in ("\\ud83d", "\\ude00"):
            said = '{"model":"%s","choices":[{"index":0,"delta":{"content":"%s"}}]}' % (asked.model, half)  # noqa: UP031
            await asked.event(said.encode())
        await asked.end_stream()

    async with judged(script, policy_spec(mode="monitor")) as (_, g), client(g.port) as c:
        answer = await c.ask(chat(stream=True))
        assert answer.complete
        assert b"\\ud83d" in answer.body
        assert b"\\ude00" in answer.body
        assert answer.body.endswith(b"data: [DONE]\n\n")


async def test_what_an_engine_says_after_its_end_is_nothing_while_detectors_have_yet_to_speak() -> None:
    async def script(asked: Asked) -> None:
        await asked.begin_stream()
        if asked.path == RESPONSES:
            for each in [*events(asked.model, "one. ", "two"), event("response.output_text.delta", 9, delta="more")]:
                await asked.send(chunk(each))
            await asked.send(b"0\r\n\r\n")
            return
        await asked.say("one. two")
        await asked.end_stream()
        await asked.closed.wait()

    async def chats(asked: Asked) -> None:
        await asked.begin_stream()
        await asked.say("one. two")
        await asked.send(chunk(b"data: [DONE]\n\n"))
        said = {"model": asked.model, "choices": [{"index": 0, "delta": {"content": "more"}}]}
        await asked.event(orjson.dumps(said))
        await asked.send(b"0\r\n\r\n")

    async with judged(chats, policy_spec()) as (e, g), client(g.port) as c:
        panel(g, (0.02, "ok"))
        answer = await c.ask(chat(stream=True))
        assert (answer.text, answer.done) == ("one. two", True)
        e.script = script
        found = heard(await c.ask(asks(stream=True), RESPONSES))
        assert found[-1][0] == "response.completed"
        assert "".join(said["delta"] for kind, said in found if kind.endswith(".delta")) == "one. two"
