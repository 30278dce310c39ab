"""Guardrails on what is asked: what a rule forbids no model hears, wherever in the request it stands."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, cast

import pytest

from tests.gateway.clients import CHAT, Answer, chat, client, request
from tests.gateway.engines import Engine, answers_well, engine
from tests.gateway.gateways import DEPLOYMENT, Gateway, gateway
from tests.gateway.guardrails import NUMBERS, WORDS, guarded, load, policy_spec, rule
from tests.gateway.worlds import STABLE, endpoints, table
from understudy.guard.findings import Finding, Status
from understudy.guard.gate import Gate, Release
from understudy.guard.windows import Window

INPUT = ["input"]
BLOCK = policy_spec("Block")
REDACT = {"detectors": [WORDS, NUMBERS], "rules": [rule("rude", "Redact"), rule("pii", "Redact")]}


@asynccontextmanager
async def judged(*specs: Any, **more: Any) -> AsyncIterator[tuple[Engine, Gateway]]:
    async with engine(answers_well("well")) as e, gateway(guarded(e.port, *specs, **more)) as g:
        await load(g)
        yield e, g


async def asked(body: Any, *specs: Any, path: str = CHAT, **fields: str) -> tuple[Answer, list[Any]]:
    """What a client is answered, and what engines were asked."""
    async with judged(*specs) as (e, g), client(g.port) as c:
        answer = await c.ask(body, path, **fields)
        return answer, [each.body for each in e.asked]


def says(text: str, **more: Any) -> dict[str, Any]:
    return {**chat(), "messages": [{"role": "user", "content": text}], **more}


CALLED = {"name": "f", "arguments": '"d\\u0061rn"'}
BODIES: list[tuple[str, dict[str, Any]]] = [
    (CHAT, says("so darn it")),
    (CHAT, {**chat(), "messages": [{"role": "system", "content": [{"type": "text", "text": "darn"}]}]}),
    (CHAT, says("hi", tools=[{"type": "function", "function": {"name": "f", "description": "darn"}}])),
    (CHAT, {**chat(), "messages": [{"role": "assistant", "tool_calls": [{"function": CALLED}]}]}),
    ("/v1/completions", {"model": "storyteller", "prompt": ["well", "darn"]}),
    ("/v1/responses", {"model": "storyteller", "input": "darn"}),
    ("/v1/responses", {"model": "storyteller", "input": "hi", "instructions": "darn"}),
    ("/v1/embeddings", {"model": "storyteller", "input": ["darn"]}),
    ("/rerank", {"model": "storyteller", "query": "hi", "documents": ["darn"]}),
]  # fmt: skip


@pytest.mark.parametrize(("path", "body"), BODIES)
async def test_no_model_hears_what_is_forbidden_wherever_it_stands(path: str, body: dict[str, Any]) -> None:
    answer, heard = await asked(body, BLOCK, path=path)
    assert (answer.status, answer.code, heard) == (400, "content_filter", [])


@pytest.mark.parametrize("long", ["", "well " * 1000])
async def test_numbers_are_redacted_before_a_model_hears_them_and_in_every_turn(long: str) -> None:
    async with judged(REDACT) as (e, g), client(g.port) as c:
        for _ in range(2):
            assert (await c.ask(says(long + "my 4111 1111 1111 1111, darn"))).status == 200
        heard = [each.body["messages"][0]["content"] for each in e.asked]
        assert heard == [long + "my [pii], [rude]"] * 2


async def test_what_is_replaced_is_not_heard_and_the_rest_is_asked() -> None:
    answer, heard = await asked(says("so darn it"), policy_spec("Replace"))
    assert answer.status == 200
    assert heard[0]["messages"][0]["content"] == "so [removed]"


@pytest.mark.parametrize("stream", [True, False])
async def test_a_person_in_crisis_is_answered_and_no_model_asked(stream: bool) -> None:
    fields = {"accept-language": "de"}
    answer, heard = await asked(says("darn", stream=stream), policy_spec("CrisisFlow"), **fields)
    assert (answer.status, answer.text, heard) == (200, "Du bist nicht allein.", [])


async def test_what_is_only_counted_goes_on_as_it_is() -> None:
    for spec in (
        policy_spec("Log"),
        policy_spec(mode="monitor"),
        {**BLOCK, "rules": [rule("rude", "Block", where=["output"])]},
    ):
        answer, heard = await asked(says("darn it"), spec)
        assert answer.status == 200
        assert heard[0]["messages"][0]["content"] == "darn it"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/completions", {"model": "storyteller", "prompt": [1, 2, 3]}),
        ("/v1/embeddings", {"model": "storyteller", "input": [[1, 2]]}),
    ],
)
async def test_tokens_are_refused_where_what_is_asked_is_judged(path: str, body: dict[str, Any]) -> None:
    answer, heard = await asked(body, BLOCK, path=path)
    assert (answer.status, answer.code, heard) == (400, "content_filter", [])
    answer, heard = await asked(body, policy_spec("Log"), path=path)
    assert len(heard) == 1


async def test_images_are_refused_unless_the_guardrail_lets_them() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    body = {**chat(), "messages": [{"role": "user", "content": [image]}]}
    answer, heard = await asked(body, BLOCK)
    assert (answer.status, answer.code, heard) == (400, "content_filter", [])
    answer, heard = await asked(body, {**BLOCK, "unscannable": "Allow"})
    assert (answer.status, len(heard)) == (200, 1)


async def test_a_fallback_hears_only_what_its_own_guardrails_let_through() -> None:
    async with engine(answers_well("well")) as e:
        document = guarded(e.port, ("calm", BLOCK))
        guards = document["tables"][0]["spec"].pop("guards")
        document["tables"][0]["spec"]["fallback"] = ["tale"]
        document["tables"].append(table(name="tale", names=["tale"], guards=guards))
        document["endpoints"] = [endpoints(STABLE, [e.port], name="tale")]
        document["tables"][0]["spec"]["queue"] = {"max": 0, "deadlineSeconds": 1}
        async with gateway(document) as g, client(g.port) as c:
            await load(g)
            assert (await c.ask(says("darn"))).code == "content_filter"
            assert (await c.ask(says("well"))).fields["x-understudy-fallback"] == "tale"


def parts(*texts: str, kind: str = "text", **more: Any) -> dict[str, Any]:
    """A request in which the user says something in parts."""
    return {
        **chat(),
        "messages": [{"role": "user", "content": [{"type": kind, "text": each} for each in texts]}],
        **more,
    }


def contents(heard: Any) -> list[str]:
    return [part["text"] for part in heard["messages"][0]["content"]]


async def test_no_word_is_cut_in_two_parts_wherever_it_is_cut_and_whatever_stands_before_it() -> None:
    async with judged(BLOCK) as (e, g), client(g.port) as c:
        for text in ("so darn it", "e\u0301\U0001f600 da\u200b\u0301rn\u0301", "\u0301d\U0001d41arn"):
            for at in range(1, len(text)):
                answer = await c.ask(parts(text[:at], text[at:]))
                assert (answer.status, answer.code) == (400, "content_filter"), (text[:at], text[at:])
        assert e.asked == []


@pytest.mark.parametrize(
    "texts", [("d", "a", "r", "n"), ("da", "", "", "rn"), ("da ", " rn"), ("x " * 9_000 + "da", "rn" + " x" * 9_000)]
)
async def test_no_word_lies_across_seams_of_parts(texts: tuple[str, ...]) -> None:
    answer, heard = await asked(parts(*texts), BLOCK)
    assert (answer.status, answer.code, heard) == (400, "content_filter", [])
    assert answer.json["error"]["param"] == "messages[0].content"


async def test_a_phrase_lies_across_lines_that_parts_are_made_into() -> None:
    phrase = {"name": "w", "type": "patterns", "patterns": [{"name": "p", "literal": "you cad", "category": "rude"}]}
    answer, _ = await asked(parts("So, you", "cad!"), policy_spec("Block", detectors=[phrase]))
    assert answer.code == "content_filter"


async def test_parts_of_an_item_of_a_response_are_one_text() -> None:
    content = [{"type": "input_text", "text": each} for each in ("da", "rn")]
    body = {"model": "storyteller", "input": [{"role": "user", "content": content}]}
    answer, heard = await asked(body, BLOCK, path="/v1/responses")
    assert (answer.code, heard) == ("content_filter", [])


async def test_parts_in_which_nothing_lies_across_are_heard_as_they_are() -> None:
    for texts in (("so", "what"), ("cl", "own"), ("darning", "x"), ("", "")):
        _, [heard] = await asked(parts(*texts), BLOCK)
        assert contents(heard) == list(texts)
    # Each part is judged by itself as well, and changed by itself.
    _, [heard] = await asked(parts("a darn day", "my 4111 1111 1111 1111", "x"), REDACT)
    assert contents(heard) == ["a [rude] day", "my [pii]", "x"]


async def test_what_is_redacted_across_a_seam_is_heard_as_one_text_in_every_turn() -> None:
    async with judged(REDACT) as (e, g), client(g.port) as c:
        for _ in range(2):
            assert (await c.ask(parts("a darn da", "rn 4111 1111", " 1111 1111."))).status == 200
        assert [contents(each.body) for each in e.asked] == [["a [rude] [rude] [pii].", "", ""]] * 2
        await g.quiet()
        assert g.plane.findings.counts == {
            "default/calm-0 rude input redact": 2,
            "default/calm-0 pii input redact": 1,
        }


async def test_what_is_only_counted_across_a_seam_is_counted_once() -> None:
    async with judged(policy_spec("Log")) as (e, g), client(g.port) as c:
        for _ in range(2):
            assert (await c.ask(parts("so da", "rn it", " all"))).status == 200
        assert [contents(each.body) for each in e.asked] == [["so da", "rn it", " all"]] * 2
        assert g.plane.findings.counts == {"default/calm-0 rude input log": 1}


async def test_a_cry_for_help_across_a_seam_is_heard() -> None:
    for texts in (("so da", "rn"), ("so da ", "rn")):
        answer, heard = await asked(parts(*texts), policy_spec("CrisisFlow"))
        assert (answer.status, heard) == (200, [])
        assert "You are not alone." in answer.text


async def test_many_parts_take_as_long_as_they_are_many() -> None:
    """By the characters that gates are fed: three ways to read a text are three times as many, and no more."""
    async with judged(BLOCK) as (e, g), client(g.port) as c:
        fed = 0

        class Counting(Gate):
            def feed(self, text: str) -> Release:
                nonlocal fed
                fed += len(text)
                return super().feed(text)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("understudy.gateway.policy.verdicts.Gate", Counting)
            assert (await c.ask(parts(*["well, "] * 500))).status == 200
            assert fed <= 4 * 500 * 6 + 500
            fed = 0
            assert (await c.ask(parts("well, " * 10_000, "hi"))).status == 200
            assert fed <= 60_000 + 4 * 5_000
        assert len(e.asked) == 2


class Panel:
    """Detectors of tier 1 that say one thing of everything, once they may."""

    def __init__(self, status: Status = "ok", findings: Sequence[Finding] = ()) -> None:
        self.status = status
        self.findings = findings
        self.asked: list[str] = []
        self.entered = asyncio.Event()
        self.may = asyncio.Event()
        self.may.set()

    async def judge(
        self, policy: str, detector: str, window: Window, where: str, before: str = ""
    ) -> tuple[Sequence[Finding], Status]:
        self.asked.append(f"{where} {window.text}")
        self.entered.set()
        await self.may.wait()
        return self.findings, self.status

    def gauges(self) -> dict[str, Any]:
        return {}


def ask_detectors(g: Gateway, panel: Panel) -> None:
    """Have a detector of tier 1 asked about what is said."""
    g.plane.panel = cast("Any", panel)
    outcome = g.world.guards.outcomes[DEPLOYMENT]
    guarding = outcome.guarding
    assert guarding is not None
    assert guarding.input is not None
    text = guarding.input.text
    judges = frozenset({"calm-0/j"})
    rules = {**text.rules, "calm-0/j": text.rules["calm-0/words"]}
    text = replace(text, rules=rules, asked=judges, awaited=judges, on_failure={"calm-0/j": "Closed"})
    judging = replace(guarding, input=replace(guarding.input, text=text), output=None)
    g.world.guards.outcomes[DEPLOYMENT] = replace(outcome, guarding=judging)
    g.world.guarded([DEPLOYMENT])
    g.world.compile()


async def test_detectors_are_asked_about_what_is_new_alone_and_their_failure_is_no_finding() -> None:
    async with judged(BLOCK) as (e, g), client(g.port) as c:
        panel = Panel()
        ask_detectors(g, panel)
        assert (await c.ask(says("one. two"))).status == 200
        turns = [{"role": "user", "content": "one. two"}, {"role": "user", "content": "three"}]
        assert (await c.ask({**chat(), "messages": turns})).status == 200
        assert panel.asked == ["input one. ", "input two", "input three"]
        panel.status = "timeout"
        refused = await c.ask(says("four"))
        assert (refused.status, refused.code) == (503, "guardrail_unavailable")
        panel.status = "ok"
        assert (await c.ask(says("four"))).status == 200
        panel.findings = [Finding("calm-0/j", "x", "rude", 6, None, 0, 4, 4, 0)]
        assert (await c.ask(says("five"))).code == "content_filter"
        assert len(e.asked) == 3


async def test_detectors_are_asked_about_what_lies_across_a_seam_and_not_twice_about_the_rest() -> None:
    async with judged(BLOCK) as (_, g), client(g.port) as c:
        panel = Panel()
        ask_detectors(g, panel)
        assert (await c.ask(parts("One. I want", "to go. Two."))).status == 200
        assert panel.asked == [
            "input One. ", "input I want", "input to go. ", "input Two.", "input I wantto go. ",
        ]  # fmt: skip


async def test_a_client_that_goes_while_what_it_says_is_judged_asks_nobody() -> None:
    async with judged(BLOCK) as (e, g):
        panel = Panel()
        panel.may.clear()
        ask_detectors(g, panel)
        async with client(g.port) as c:
            await c.send(request(says("one")))
            await panel.entered.wait()
        panel.may.set()
        async with client(g.port) as c:
            assert (await c.ask(says("two"))).status == 200
        assert len(e.asked) == 1


async def test_a_long_text_leaves_room_for_others_while_it_is_judged() -> None:
    async with judged(BLOCK) as (_, g), client(g.port) as c, client(g.port) as other:
        await c.send(request(says("well " * 20_000 + "darn")))
        short = asyncio.ensure_future(other.ask(says("hi")))
        long = asyncio.ensure_future(c.answer())
        done, _ = await asyncio.wait((short, long), return_when=asyncio.FIRST_COMPLETED)
        assert short in done
        assert (await long).code == "content_filter"
