"""Guardrails on the answer: what a rule forbids never reaches the client, however the engine cuts it."""

import asyncio
import base64
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import orjson
import pytest

from tests.gateway.clients import Answer, chat, client, request
from tests.gateway.engines import Asked, Engine, Script, answers_well, chunk, delta, engine, hangs
from tests.gateway.gateways import DEPLOYMENT, Gateway, gateway, until
from tests.gateway.guardrails import (
    CRISIS,
    NUMBERS,
    WORDS,
    InProcess,
    guarded,
    load,
    loader,
    policy_spec,
    rule,
)
from tests.gateway.policy.judging import asking
from tests.gateway.test_responses import RESPONSES, heard, response, streams
from tests.gateway.test_responses import body as asks
from tests.gateway.test_responses import events as response_events
from tests.gateway.worlds import CANARY, STABLE, endpoints, shadowed_table
from understudy.domain.state import Guarded
from understudy.gateway.outbox import Outbox
from understudy.gateway.requestlog import RequestLog
from understudy.guard.engines import Engine as Matches
from understudy.guard.engines import EngineError
from understudy.guard.findings import Finding, Status
from understudy.guard.needles import Needle
from understudy.guard.policy import compile_policy
from understudy.guard.windows import Window
from understudy.records.lines import LINE

REDACT = {"detectors": [NUMBERS], "rules": [rule("pii", "Redact")]}


@asynccontextmanager
async def judged(script: Script, *specs: Any, **more: Any) -> AsyncIterator[tuple[Engine, Gateway]]:
    """An engine, and a gateway in front of it under these Guardrails."""
    async with engine(script) as e, gateway(guarded(e.port, *specs, **more)) as g:
        await load(g)
        yield e, g


async def asked(
    script: Script, *specs: Any, body: dict[str, Any] | None = None, fields: dict[str, str] | None = None
) -> Answer:
    """What a client is answered."""
    async with judged(script, *specs) as (_, g), client(g.port) as c:
        return await c.ask(body or chat(stream=True), **(fields or {}))


def finishes(answer: Answer) -> list[str]:
    """Why the choices ended, in the order in which they did."""
    return [
        choice["finish_reason"]
        for event in answer.events
        if event != "[DONE]"
        for choice in event["choices"]
        if choice["finish_reason"]
    ]


def told(answer: Answer) -> list[dict[str, Any]]:
    """What the client was told beside the answer."""
    return [event["guardrails"] for event in answer.events if event != "[DONE]" and "guardrails" in event]


async def test_an_answer_without_anything_forbidden_comes_as_it_is() -> None:
    answer = await asked(answers_well("once", " upon", " a time, dar", "k"), policy_spec())
    assert (answer.text, finishes(answer), told(answer), answer.done) == ("once upon a time, dark", ["stop"], [], True)


async def test_a_forbidden_word_ends_the_stream_before_its_first_letter_and_the_engines_work() -> None:
    async with judged(answers_well("so d", "ar", "n", " it", *["x"] * 10_000, pace=0.001), policy_spec()) as (e, g):
        async with client(g.port) as c:
            answer = await c.ask(chat(stream=True))
        assert (answer.text, finishes(answer), answer.done) == ("so ", ["content_filter"], True)
        [finding] = told(answer)[0]["findings"]
        assert finding["category"] == "rude"
        assert finding["action"] == "block"
        assert answer.events[-2]["choices"] == []
        assert b"darn" not in answer.body
        await asyncio.wait_for(e.asked[0].closed.wait(), 30)
        await g.quiet()
        assert (g.state(STABLE).attempts, g.state(STABLE).failed) == (1, 0)


async def test_what_is_forbidden_from_its_first_word_on_is_a_refusal() -> None:
    for body in (chat(stream=True), chat()):
        answer = await asked(answers_well("darn", " it"), policy_spec(), body=body)
        assert (answer.status, answer.code) == (400, "content_filter")


async def test_a_whole_answer_ends_where_its_stream_would() -> None:
    answer = await asked(answers_well("so darn it"), policy_spec(), body=chat())
    choice = answer.json["choices"][0]
    assert (choice["message"]["content"], choice["finish_reason"]) == ("so ", "content_filter")
    assert answer.json["guardrails"]["findings"][0]["action"] == "block"


async def test_a_long_whole_answer_is_judged_between_other_work_and_forgotten_when_its_client_goes() -> None:
    async with judged(answers_well("well " * 40_000 + "darn it"), policy_spec()) as (e, g):
        async with client(g.port) as c, client(g.port) as other:
            await c.send(request(chat()))
            await e.request()
            e.script = answers_well("hi")
            assert (await other.ask(chat())).text == "hi"
            answer = await c.answer()
            assert answer.json["choices"][0]["message"]["content"] == "well " * 40_000
            assert answer.json["choices"][0]["finish_reason"] == "content_filter"
        e.script = answers_well("well " * 40_000)
        async with client(g.port) as c:
            await c.send(request(chat()))
            await e.request(3)
        await g.quiet()
        assert g.state(STABLE).failed == 0


@pytest.mark.parametrize("stream", [True, False])
async def test_numbers_are_redacted(stream: bool) -> None:
    answer = await asked(answers_well("my card 4111 11", "11 1111 1111, ok"), REDACT, body=chat(stream=stream))
    assert answer.text == "my card [pii], ok"


@pytest.mark.parametrize("stream", [True, False])
async def test_what_is_replaced_is_an_answer_still(stream: bool) -> None:
    answer = await asked(answers_well("so darn"), policy_spec("Replace"), body=chat(stream=stream))
    assert (answer.status, answer.text) == (200, "so \n\n[removed]")


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, "You are not alone.\n988"),
        ({"accept-language": "fr, de-AT;q=0.5"}, "Du bist nicht allein."),
        ({"x-locale": "de", "accept-language": "en"}, "Du bist nicht allein."),
    ],
)
async def test_a_person_in_crisis_is_answered_in_their_language(fields: dict[str, str], said: str) -> None:
    answer = await asked(answers_well("darn"), policy_spec("CrisisFlow"), fields=fields)
    assert (answer.status, answer.text, finishes(answer)) == (200, said, ["stop"])


async def test_a_banner_is_shown_beside_the_answer() -> None:
    answer = await asked(answers_well("darn it"), policy_spec("Log", "CrisisBanner"))
    assert answer.text == "darn it"
    assert told(answer) == [{"crisis": {"text": "You are not alone.", "phone": "988", "url": ""}}]


async def test_in_monitor_mode_nothing_is_changed() -> None:
    answer = await asked(answers_well("darn", " it"), policy_spec(mode="monitor"))
    assert (answer.text, finishes(answer), told(answer)) == ("darn it", ["stop"], [])


async def test_of_two_guardrails_the_strictest_holds() -> None:
    answer = await asked(answers_well("so darn it"), policy_spec("Redact"), policy_spec("Block"))
    assert (answer.text, finishes(answer)) == ("so ", ["content_filter"])


async def test_every_choice_is_judged_by_itself() -> None:
    async def script(asked: Asked) -> None:
        await asked.begin_stream()
        for index, text in ((0, "so d"), (1, "fine"), (0, "arn"), (1, " day"), (0, " more")):
            said = orjson.loads(delta(asked.model, text))
            said["choices"][0]["index"] = index
            await asked.event(orjson.dumps(said))
        for index in (0, 1):
            said = orjson.loads(delta(asked.model, "", finish="stop"))
            said["choices"][0]["index"] = index
            await asked.event(orjson.dumps(said))
        await asked.send(chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n")

    answer = await asked(script, policy_spec(), body=chat(stream=True, n=2))
    said = {0: "", 1: ""}
    for event in answer.events[:-1]:
        for choice in event["choices"]:
            said[choice["index"]] += choice["delta"].get("content", "")
    assert said == {0: "so ", 1: "fine day"}
    assert (sorted(finishes(answer)), answer.done) == (["content_filter", "stop"], True)


async def test_tokens_are_told_of_an_answer_that_was_cut() -> None:
    async def script(asked: Asked) -> None:
        assert asked.body["stream_options"]["continuous_usage_stats"] is True
        await asked.begin_stream()
        for count, text in enumerate(("so ", "darn ", "it")):
            said = orjson.loads(delta(asked.model, text))
            said["usage"] = {"prompt_tokens": 7, "completion_tokens": count + 1}
            await asked.event(orjson.dumps(said))
        await asked.closed.wait()

    body = chat(stream=True, stream_options={"include_usage": True})
    answer = await asked(script, policy_spec(), body=body)
    assert answer.events[-2]["usage"] == {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9}
    assert answer.done


async def test_a_policy_that_is_not_loaded_lets_nothing_through_unless_it_may() -> None:
    async with engine() as e:
        document = guarded(e.port, policy_spec())
        async with gateway(document) as g, client(g.port) as c:
            answer = await c.ask(chat())
            assert (answer.status, answer.code, e.asked) == (503, "guardrail_unavailable", [])
        document["tables"][0]["spec"]["guards"][0]["failOpen"] = True
        async with gateway(document) as g, client(g.port) as c:
            assert (await c.ask(chat())).status == 200


async def test_parts_of_another_policy_are_refused() -> None:
    async with engine() as e:
        document = guarded(e.port, policy_spec())
        document["tables"][0]["spec"]["guards"][0]["policy"] = "0" * 64
        async with gateway(document) as g, client(g.port) as c:
            await load(g)
            assert (await c.ask(chat())).code == "guardrail_unavailable"
            assert "hold policy" in g.world.guards.told(g.world.wanted())["0" * 64]


# Every offset, every shape, every cut.


def shapes(model: str, pieces: Sequence[str]) -> dict[str, tuple[str, bytes]]:
    """By path and field: the events of an answer in which these pieces are said one after the other."""
    head = {"id": "c1", "object": "x", "created": 1, "model": model}

    def chunks(say: Any) -> bytes:
        said = [*(say(piece) for piece in pieces), {"index": 0, "delta": {}, "text": "", "finish_reason": "stop"}]
        events = [b"data: %b\n\n" % orjson.dumps({**head, "choices": [choice]}) for choice in said]
        return b"".join(events) + b"data: [DONE]\n\n"

    def delta_of(**delta: Any) -> dict[str, Any]:
        return {"index": 0, "delta": delta, "finish_reason": None}

    def call(piece: str) -> dict[str, Any]:
        return delta_of(tool_calls=[{"index": 0, "function": {"arguments": piece}}])

    return {
        "content": ("/v1/chat/completions", chunks(lambda piece: delta_of(content=piece))),
        "reasoning": ("/v1/chat/completions", chunks(lambda piece: delta_of(reasoning=piece))),
        "arguments": ("/v1/chat/completions", chunks(call)),
        "text": ("/v1/completions", chunks(lambda piece: {"index": 0, "text": piece, "finish_reason": None})),
        "response": (RESPONSES, b"".join(response_events(model, *pieces))),
    }


def spoken(answer: Answer, shape: str) -> str:
    """All that a reader gets of what was planted."""
    if shape == "response":
        return "".join(said["delta"] for kind, said in heard(answer) if kind.endswith(".delta"))
    out = ""
    for event in answer.events[:-1]:
        for choice in event["choices"]:
            delta = choice.get("delta", choice)
            calls = delta.get("tool_calls", [])
            out += delta.get(shape, "") if shape != "arguments" else "".join(c["function"]["arguments"] for c in calls)
    return out


@pytest.mark.parametrize("shape", ["content", "reasoning", "arguments", "text", "response"])
async def test_nothing_forbidden_is_on_the_wire_wherever_it_stands_and_however_events_and_bytes_are_cut(
    shape: str,
) -> None:
    rng = random.Random(shape)  # the same cuts each time
    may: list[str] = []

    async def script(asked: Asked) -> None:
        before = "kind words "[: rng.randrange(12)].rstrip()
        text = f"{before}{' ' if before else ''}darn it"
        at = sorted(rng.sample(range(1, len(text)), rng.randrange(4)))
        pieces = [text[a:b] for a, b in zip([0, *at], [*at, len(text)], strict=True)]
        body = shapes(asked.model, pieces)[shape][1]
        may.append(text.removesuffix("darn it"))
        cut = rng.randrange(1, len(body))
        await asked.begin_stream()
        for part in (body[:cut], body[cut:]):
            await asked.send(chunk(part))
            await asyncio.sleep(0)
        await asked.send(b"0\r\n\r\n")

    async with judged(script, policy_spec()) as (_, g), client(g.port) as c:
        path = shapes("m", ["x"])[shape][0]
        asks_it = {"model": "storyteller", "stream": True}
        asks_it |= {"messages": chat()["messages"]} if "chat" in path else {"input": "hi"}
        asks_it = {"model": "storyteller", "stream": True, "prompt": "hi "} if path == "/v1/completions" else asks_it
        for _ in range(40):
            answer = await c.ask(asks_it, path)
            assert b"content_filter" in answer.body
            assert ("" if answer.status == 400 else spoken(answer, shape)) == may[-1]
        assert len(may) == 40
        await g.quiet()
        assert g.state(STABLE).failed == 0


# The Responses API.


async def test_a_response_that_is_blocked_ends_as_incomplete_and_so_does_the_engines_work() -> None:
    async with judged(streams("so d", "arn", *[" x"] * 1000), policy_spec()) as (e, g):
        async with client(g.port) as c:
            answer = await c.ask(asks(stream=True), RESPONSES)
        found = heard(answer)
        assert "".join(said["delta"] for kind, said in found if kind.endswith(".delta")) == "so "
        assert [said["sequence_number"] for _, said in found] == list(range(len(found)))
        kind, last = found[-1]
        assert (kind, last["response"]["incomplete_details"]) == ("response.incomplete", {"reason": "content_filter"})
        assert last["response"]["model"] == "storyteller"
        assert b"darn" not in answer.body
        await asyncio.wait_for(e.asked[0].closed.wait(), 30)
        await g.quiet()
        assert g.state(STABLE).failed == 0


async def test_a_response_of_which_nothing_may_be_seen_is_a_refusal() -> None:
    async with judged(streams("darn", " it"), policy_spec()) as (_, g), client(g.port) as c:
        answer = await c.ask(asks(stream=True), RESPONSES)
        assert (answer.status, answer.code) == (400, "content_filter")


async def test_a_response_that_may_be_seen_comes_to_its_end() -> None:
    async with judged(streams("well", " then"), policy_spec()) as (_, g), client(g.port) as c:
        answer = await c.ask(asks(stream=True), RESPONSES)
        kind, last = heard(answer)[-1]
        assert kind == "response.completed"
        assert last["response"]["output"][0]["content"][0]["text"] == "well then"
        assert last["response"]["usage"]["output_tokens"] == 3
        await g.quiet()
        assert (g.state(STABLE).tokens_out, g.state(STABLE).empty) == (3, 0)


async def test_a_whole_response_is_judged_too() -> None:
    async def script(asked: Asked) -> None:
        await asked.answer(200, response(asked.model, "so darn it"))

    async with judged(script, policy_spec()) as (_, g), client(g.port) as c:
        said = (await c.ask(asks(), RESPONSES)).json
        assert said["status"] == "incomplete"
        assert said["output"][0]["content"][0]["text"] == "so "


# Detectors that are asked.


class Panel:
    """Detectors that say what a test says, each to every window."""

    def __init__(self, *said: tuple[float, Status]) -> None:
        self._said = list(said)
        self.asked: list[str] = []
        self.findings: Sequence[Finding] = ()
        self.entered = asyncio.Event()

    async def judge(
        self, policy: str, detector: str, window: Window, where: str, before: str
    ) -> tuple[Sequence[Finding], Status]:
        self.asked.append(f"{detector} {where} {before}: {window.text}")
        self.entered.set()
        seconds, status = self._said.pop(0) if len(self._said) > 1 else self._said[0]
        await asyncio.sleep(seconds)
        return self.findings, status

    async def judge_copy(self, *asked: Any) -> None:
        """There is never room for copies."""

    def gauges(self) -> dict[str, Any]:
        return {}


def panel(gateway: Gateway, *said: tuple[float, Status]) -> Panel:
    """Have the answers of a gateway judged by detectors that say this, after so many seconds."""
    made = Panel(*said)
    gateway.plane.panel = cast("Any", made)
    outcomes = gateway.world.guards.outcomes
    outcomes[DEPLOYMENT] = replace(outcomes[DEPLOYMENT], guarding=asking())
    gateway.world.guarded([DEPLOYMENT])
    gateway.world.compile()
    return made


async def test_an_answer_waits_for_detectors_and_goes_on_when_they_have_spoken() -> None:
    for stream in (True, False):
        async with judged(answers_well("one. ", "two"), policy_spec()) as (_, g), client(g.port) as c:
            judges = panel(g, (0.01, "ok"))
            answer = await c.ask(chat(stream=stream))
            assert (answer.text, answer.status) == ("one. two", 200)
            assert not stream or (finishes(answer), answer.done) == (["stop"], True)
            assert judges.asked == ["g0/j output hi: one. ", "g0/j output hi: two"]
    for stream in (True, False):
        async with judged(responds, policy_spec()) as (_, g), client(g.port) as c:
            panel(g, (0.01, "ok"))
            body = (await c.ask(asks(stream=stream), RESPONSES)).body
            assert b'"text":"one. two"' in body


@pytest.mark.parametrize("found", [True, False])
async def test_a_sentence_without_an_end_is_asked_about_meanwhile_and_nothing_of_it_let_out(
    found: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("understudy.gateway.wire.asking.EARLY_SECONDS", 0.02)
    finding = [Finding("g0/j", "x", "rude", 6, None, 0, 3, 3, 0)] if found else []
    script = answers_well(*["word "] * 30, pace=0.01)
    async with judged(script, policy_spec()) as (_, g), client(g.port) as c:
        judges = panel(g, (0.0, "ok"))
        judges.findings = finding
        answer = await c.ask(chat(stream=True))
        if found:
            assert (answer.status, answer.code) == (400, "content_filter")
            assert len(judges.asked[0]) < len("g0/j output hi: " + "word " * 30)
        else:
            assert answer.text == "word " * 30
            assert len(judges.asked) > 1


async def test_a_string_of_json_without_an_end_is_asked_about_meanwhile_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("understudy.gateway.wire.asking.EARLY_SECONDS", 0.02)
    script = answers_well('{"a": "', *["word "] * 30, '"}', pace=0.01)
    async with judged(script, policy_spec()) as (_, g), client(g.port) as c:
        judges = panel(g, (0.0, "ok"))
        answer = await c.ask(chat(stream=True, response_format={"type": "json_object"}))
        assert answer.text == '{"a": "' + "word " * 30 + '"}'
        strings = [asked.partition(": ")[2] for asked in judges.asked if ": word" in asked]
        assert strings[-1] == "word " * 30
        assert len(strings) > 1
        assert all(strings[-1].startswith(string) for string in strings)


async def responds(asked: Asked) -> None:
    """Says one and two on `/v1/responses`, as it is asked for."""
    if asked.body.get("stream"):
        await streams("one. ", "two")(asked)
    else:
        await asked.answer(200, response(asked.model, "one. two"))


async def test_a_detector_that_fails_before_the_first_byte_is_503_and_after_it_an_error() -> None:
    async with judged(answers_well("one. ", "two. ", "three"), policy_spec()) as (_, g), client(g.port) as c:
        panel(g, (0.0, "ok"), (0.0, "timeout"))
        answer = await c.ask(chat(stream=True))
        assert answer.text == "one. "
        assert answer.events[-1]["error"]["code"] == "guardrail_unavailable"
        for stream in (True, False):
            refused = await c.ask(chat(stream=stream))
            assert (refused.status, refused.code) == (503, "guardrail_unavailable")
        await g.quiet()
        assert g.state(STABLE).failed == 0


class Broken(InProcess):
    """Databases whose engine fails over the first text that it is given."""

    def engine(self, needles: Sequence[Needle]) -> Matches:
        return self

    def open(self) -> "Broken":
        return self

    def scan(self, chars: str) -> list[tuple[int, int]]:
        raise EngineError("planted")

    def close(self) -> None:
        """Nothing to free."""


@pytest.mark.parametrize("where", ["input", "output"])
async def test_what_patterns_cannot_be_looked_for_in_is_not_said_unless_the_policy_is_open(where: str) -> None:
    for policy, status in (("Closed", 503), ("Open", 200)):
        spec = {"detectors": [WORDS], "rules": [rule("rude", "Block", where=[where], failurePolicy=policy)]}
        async with engine(answers_well("well")) as e, gateway(guarded(e.port, spec)) as g, client(g.port) as c:
            await loader(g, Broken(Path())).load()
            g.world.compile()
            for body in (chat(stream=True), chat()):
                assert (await c.ask(body)).status == status
            await g.quiet()
            assert g.state(STABLE).failed == 0
            counted = g.plane.findings.gauges()["understudy_guard_failures_total"][1]
            assert counted == {f"default/tier0 error {policy}": 2}


async def test_a_client_that_goes_while_detectors_are_asked_leaves_nothing_behind() -> None:
    async with judged(answers_well("one. ", "two"), policy_spec()) as (_, g):
        judges = panel(g, (3600.0, "ok"))
        for stream in (True, False):
            judges.entered.clear()
            async with client(g.port) as c:
                await c.send(request(chat(stream=stream)))
                await judges.entered.wait()
            await g.quiet()
            assert g.state(STABLE).failed == 0


# Guardrails that change while an answer is under way.


async def test_an_answer_is_judged_to_its_end_by_what_held_when_it_began() -> None:
    go_on = asyncio.Event()

    async def script(asked: Asked) -> None:
        if not asked.body.get("stream"):
            await answers_well("well darn it")(asked)
            return
        await asked.begin_stream()
        await asked.say("well ")
        await go_on.wait()
        await asked.say("darn it")
        await asked.end_stream()

    for specs in ((), (("calm", policy_spec("Redact")),)):
        go_on.clear()
        async with judged(script, ("calm", policy_spec())) as (e, g), client(g.port) as c:
            await c.send(request(chat(stream=True)))
            await c.until(b"well")
            g.change(guarded(e.port, *specs))
            await load(g)
            go_on.set()
            answer = await c.answer()
            assert (answer.text, finishes(answer)) == ("well ", ["content_filter"])
            assert (await c.ask(chat())).text == ("well [rude] it" if specs else "well darn it")


async def test_an_answer_goes_on_under_what_held_for_ten_minutes_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("understudy.gateway.wire.exchange.PINNED", -1.0)
    script = answers_well("well ", *["x "] * 5000, pace=0.01)
    async with judged(script, ("calm", policy_spec())) as (e, g), client(g.port) as c:
        await c.send(request(chat(stream=True)))
        await c.until(b"well")
        g.change(guarded(e.port))
        assert (await c.answer()).events[-1]["error"]["code"] == "deadline"


async def test_an_answer_that_began_under_a_revoked_policy_ends_at_once_and_one_without_a_word_is_judged_anew() -> None:
    first = policy_spec()
    old = compile_policy("calm", first, {}).hash
    async with judged(answers_well("well ", *["x "] * 5000, pace=0.01), ("calm", first)) as (e, g):
        document = guarded(e.port, ("calm", policy_spec("Redact")))
        document["tables"][0]["spec"]["guards"][0]["revokeBefore"] = old
        async with client(g.port) as c, client(g.port) as waiting:
            await c.send(request(chat(stream=True)))
            await c.until(b"well")
            e.script = hangs
            await waiting.send(request(chat()))
            await e.request(2)
            e.script = answers_well("darn it")
            g.change(document)
            await load(g)
            assert (await c.answer()).events[-1]["error"]["code"] == "policy_revoked"
            assert (await waiting.answer()).text == "[rude] it"
            await g.quiet()
            assert g.state(STABLE).failed == 0
            # What holds now is not revoked by itself.
            assert (await c.ask(chat())).text == "[rude] it"


async def test_who_waits_while_what_judges_it_is_revoked_and_nothing_takes_its_place_is_refused() -> None:
    async with judged(hangs, ("calm", policy_spec())) as (e, g), client(g.port) as c:
        await c.send(request(chat()))
        await e.request()
        document = guarded(e.port, ("calm", policy_spec("Redact")))
        document["shards"][0]["data"] = base64.b64encode(b"junk").decode()
        document["tables"][0]["spec"]["guards"][0]["revokeBefore"] = "0" * 64
        g.change(document)
        await load(g)
        answer = await c.answer()
        assert (answer.status, answer.code) == (503, "guardrail_unavailable")


# What is counted.


async def test_turns_are_counted_with_what_was_found_in_them_and_failures_never() -> None:
    numbers = ("numbers", {"detectors": [NUMBERS], "rules": [rule("pii", "Redact")]})
    script = answers_well("4111 1111 1111 1111 and 4111 1111 1111 1111, darn", " it")
    async with judged(script, ("calm", policy_spec("Annotate")), numbers) as (e, g), client(g.port) as c:
        for body in (chat(stream=True), chat()):
            await c.ask(body)
        e.script = answers_well("well")
        await c.ask(chat())
        await g.quiet()
        found = {"calm/rude/6": 2, "numbers/pii/6": 2}
        assert g.state(STABLE).guard == Guarded(turns=3, found=found, acted=2)
        panel(g, (0.0, "timeout"))
        await c.ask(chat(stream=True))
        await g.quiet()
        assert g.state(STABLE).guard.turns == 3


async def test_of_a_category_a_turn_counts_by_the_gravest_that_was_found() -> None:
    detector = {**NUMBERS, "entities": ["CREDIT_CARD", "EMAIL"]}
    numbers = ("numbers", {"detectors": [detector], "rules": [rule("pii", "Redact")]})
    script = answers_well("me@example.org, 4111 1111 1111 1111, you@example.org")
    async with judged(script, numbers) as (e, g), client(g.port) as c:
        await c.ask(chat())
        e.script = answers_well("me@example.org")
        await c.ask(chat())
        await g.quiet()
        assert g.state(STABLE).guard.found == {"numbers/pii/6": 1, "numbers/pii/4": 1}


async def test_a_client_that_goes_in_the_middle_was_answered_so_far() -> None:
    async with judged(answers_well("well ", *["x "] * 1000, pace=0.01), policy_spec()) as (_, g):
        async with client(g.port) as c:
            await c.send(request(chat(stream=True)))
            await c.until(b"well")
        await g.quiet()
        assert g.state(STABLE).guard == Guarded(turns=1)


# What is recorded.


def kept(folder: Path) -> list[dict[str, Any]]:
    """The records of what must not be lost, in their order."""
    found = [line for path in sorted(folder.glob("*-k*")) for line in path.read_bytes().splitlines()]
    return [orjson.loads(line) for line in found]


async def test_findings_are_with_the_kernel_before_the_answer_has_ended_and_counted_by_what_was_done(
    tmp_path: Path,
) -> None:
    outbox = Outbox(tmp_path, 1024 * 1024)
    crisis = {"detectors": [{**WORDS, "patterns": [{"name": "help", "literal": "help"}]}], "crisis": CRISIS}
    crisis["rules"] = [rule("words", "CrisisFlow", where=["input"])]
    calm = policy_spec(evidence={"store": "full"})
    async with judged(answers_well("so Darn it"), ("calm", calm), ("care", crisis)) as (_, g):
        g.plane.log = RequestLog(None, 100.0, outbox=outbox)
        async with client(g.port) as c:
            for stream in (True, False):
                assert "so " in (await c.ask(chat(stream=stream), **{"x-session-id": "s1"})).body.decode()
            for _ in range(2):
                await c.ask({**chat(), "messages": [{"role": "user", "content": "help"}]})
        shown = g.plane.findings.gauges()["understudy_guard_findings_total"][1]
        assert shown == {"default/calm rude output block": 2, "default/care words input replace": 1}
    outbox.close()
    lines = kept(tmp_path)
    assert [line["kind"] for line in lines] == ["violation", "violation", "crisis"]
    assert {line["excerpt"] for line in lines[:2]} == {"Darn"}
    assert (lines[0]["revision"], lines[0]["session"], lines[0]["direction"]) == (STABLE, "s1", "output")
    assert (lines[2]["guardrail"], lines[2]["direction"]) == ("care", "input")
    for line in lines:
        LINE.validate_python(line)


async def test_detectors_that_fail_are_counted_with_what_held_therefore() -> None:
    async with judged(answers_well("one. ", "two"), policy_spec()) as (_, g), client(g.port) as c:
        panel(g, (0.0, "timeout"))
        await c.ask(chat(stream=True))
        await g.quiet()
        shown = g.plane.findings.gauges()
        assert shown["understudy_guard_failures_total"][1] == {"default/g0/j timeout Closed": 1}
        assert shown["understudy_guard_findings_total"][1] == {"none none none none": 0}


# Shadows, logs, and who judges nothing.


async def test_a_shadow_is_judged_and_counts_nowhere() -> None:
    async with engine(answers_well("so darn it")) as e:
        document = guarded(e.port, ("calm", policy_spec("Redact")))
        guards = document["tables"][0]["spec"]["guards"]
        shadowed = shadowed_table()
        shadowed["spec"]["guards"] = guards
        document = {
            **document,
            "tables": [shadowed],
            "endpoints": [endpoints(STABLE, [e.port]), endpoints(CANARY, [e.port])],
        }
        async with gateway(document) as g, client(g.port) as c:
            await load(g)
            assert (await c.ask(chat())).text == "so [rude] it"
            await until(lambda: g.state(CANARY).pairs.count == 1)
            assert g.state(CANARY).pairs.similarity[-1] == 1
            assert (g.state(STABLE).guard.turns, g.state(CANARY).guard.turns) == (1, 0)
            assert sum(g.plane.findings.counts.values()) == 1


@pytest.mark.parametrize("stream", [True, False])
async def test_a_shadow_that_finds_no_room_at_a_detector_is_dropped_and_no_client_notices(stream: bool) -> None:
    async with engine(answers_well("one. ", "two")) as e:
        document = guarded(e.port, ("calm", policy_spec()))
        shadowed = shadowed_table()
        shadowed["spec"]["guards"] = document["tables"][0]["spec"]["guards"]
        ends = [endpoints(STABLE, [e.port]), endpoints(CANARY, [e.port])]
        async with gateway({**document, "tables": [shadowed], "endpoints": ends}) as g, client(g.port) as c:
            await load(g)
            judges = panel(g, (0.0, "ok"))
            assert (await c.ask(chat(stream=stream))).text == "one. two"
            await until(lambda: g.state(CANARY).pairs.dropped == 1)
            assert judges.asked == ["g0/j output hi: one. ", "g0/j output hi: two"]
            assert g.state(CANARY).pairs.count == 0


async def test_without_guardrails_nothing_is_judged() -> None:
    async with engine(answers_well("darn")) as e, gateway(guarded(e.port)) as g, client(g.port) as c:
        await load(g)
        assert (await c.ask(chat(stream=True))).text == "darn"
        assert g.world.routes.deployments[DEPLOYMENT].guarding is None


async def test_what_tokens_spell_is_judged_too() -> None:
    async def spells(asked: Asked) -> None:
        await asked.answer(200, {"prompt": "so darn it", "odd": "darn"})

    body = {"model": "storyteller", "tokens": [1]}
    for action, said in (("Block", "so "), ("Redact", "so [rude] it"), ("Replace", "so [removed]")):
        async with judged(spells, policy_spec(action)) as (_, g), client(g.port) as c:
            answer = await c.ask(body, "/detokenize")
            assert (answer.json["prompt"], set(answer.json)) == (said, {"prompt", "guardrails"})
