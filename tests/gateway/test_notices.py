"""What a player is told at the end of an answer: in their language, whatever the API, and told to the records."""

import asyncio
from pathlib import Path

import orjson
import pytest

from tests.gateway.clients import chat
from tests.gateway.engines import Asked, Script, chunk
from tests.gateway.gateways import Gateway
from tests.gateway.guardrails import rule
from tests.gateway.test_openai_client import talking
from tests.gateway.test_players import POLICY, ask, hours, ruled, says, told
from tests.gateway.test_responses import heard
from understudy.gateway.policy.wording import NOTICES, REFERRALS
from understudy.guard.engagement.crisis import Crisis
from understudy.guard.engagement.state import State
from understudy.sim.answers import Answer, Request
from understudy.sim.responses import ResponseEvents, whole_response

RESPONSES = "/v1/responses"
NOTICED = f"once upon\n\n{NOTICES['en']}"
QUESTION = Request("responses", "hi", 1, 16, stream=True, include_usage=False, continuous_usage=False, choices=1)


def responds(*tokens: str, upto: int | None = None) -> Script:
    """Answers as engines do; `upto` so many events after the last token, and then the connection is gone."""

    async def script(asked: Asked) -> None:
        said, head = Answer(tokens, "stop"), {"id": "resp_1", "created": 1, "model": asked.model}
        if not asked.body.get("stream"):
            await asked.answer(200, whole_response(QUESTION, said, head))
            return
        events = ResponseEvents(QUESTION, head)
        await asked.begin_stream()
        await asked.send(chunk(events.opening() + b"".join(events.token(token, 0) for token in tokens)))
        for event in events.closing(said).split(b"\n\n")[:-1][:upto]:
            # Each by itself: where one waits for the next nothing goes out, and that is no end.
            await asyncio.sleep(0.01)
            await asked.send(chunk(event + b"\n\n"))
        if upto is None:
            await asked.send(b"0\r\n\r\n")
        else:
            asked.reset()

    return script


def forget(g: Gateway) -> None:
    """Have the notice due again, as in an interaction of three hours more."""
    assert g.plane.players is not None
    g.plane.players._done.clear()


@pytest.mark.parametrize("stream", [False, True])
async def test_a_notice_is_in_the_language_of_the_player(tmp_path: Path, stream: bool) -> None:
    locales = {"fr": {"notice": "[Vous parlez avec une IA.]"}}
    async with ruled(tmp_path, hours(), {"engagement": {**POLICY, "locales": locales}}) as (g, outbox):
        for language, said in (("fr-CA, en;q=0.5", "[Vous parlez avec une IA.]"), ("de", NOTICES["de"])):
            headers = ("x-player-id: anna", f"accept-language: {language}")
            answer = await ask(g.port, chat(stream=stream), headers=headers)
            assert answer.text == f"once upon a time\n\n{said}"
            forget(g)
        (segment,) = outbox._segments["common"]
        policies = [orjson.loads(line)["policy"] for line in segment.path.read_bytes().splitlines()]
        assert [policy for policy in policies if policy] == [POLICY, POLICY]


async def test_where_no_guardrail_says_it_the_referral_is_in_the_language_of_the_player(tmp_path: Path) -> None:
    state = State(crisis=Crisis(signed=hours().clock.last_turn))
    async with ruled(tmp_path, state, {"crisis": None}, requestsPerMinute=1, crisisRequests="0") as (g, _):
        await says(g)
        for language in ("de", "en"):
            headers = ("x-player-id: anna", f"x-locale: {language}")
            assert (await ask(g.port, chat(), headers=headers)).text == REFERRALS[language]


@pytest.mark.parametrize("action", ["Log", "Block"])
async def test_a_notice_stands_at_the_end_of_a_response_and_is_told(tmp_path: Path, action: str) -> None:
    spec = {"rules": [rule("rude", action)]}
    async with ruled(tmp_path, hours(), spec, script=responds("once", " upon")) as (g, outbox):
        answer = await says(g, path=RESPONSES, stream=True)
        assert answer.complete
        found = heard(answer)
        assert [event["sequence_number"] for _, event in found] == list(range(len(found)))
        assert "".join(event.get("delta", "") for _, event in found) == NOTICED
        assert [event["text"] for name, event in found if name == "response.output_text.done"] == [NOTICED]
        assert [event["part"]["text"] for name, event in found if name == "response.content_part.done"] == [NOTICED]
        (item,) = [event["item"] for name, event in found if name == "response.output_item.done"]
        response = found[-1][1]["response"]
        assert (response["status"], response["output"]) == ("completed", [item])
        assert item["content"][0]["text"] == NOTICED
        assert sorted(told(outbox)) == [("notice_shown", ""), ("turn", "assistant"), ("turn", "user")]
        # It is not shown again before the records have heard of it.
        again = heard(await says(g, path=RESPONSES, stream=True))
        assert again[-1][1]["response"]["output"][0]["content"][0]["text"] == "once upon"
        forget(g)
        whole = (await says(g, path=RESPONSES)).json
        assert whole["output"][0]["content"][0]["text"] == NOTICED


async def test_of_a_response_that_breaks_off_nothing_is_kept_back(tmp_path: Path) -> None:
    async with ruled(tmp_path, hours(), script=responds("once", " upon", upto=2)) as (g, outbox):
        found = heard(await says(g, path=RESPONSES, stream=True))
        assert [name for name, _ in found][-3:] == ["response.output_text.done", "response.content_part.done", "error"]
        assert [event["sequence_number"] for _, event in found] == list(range(len(found)))
        assert ("notice_shown", "") not in told(outbox)


async def test_a_response_in_a_form_that_something_parses_has_no_notice(tmp_path: Path) -> None:
    async with ruled(tmp_path, hours(), script=responds("once", " upon")) as (g, outbox):
        shape = {"format": {"type": "json_object"}}
        answer = await says(g, path=RESPONSES, text=shape)
        assert answer.json["output"][0]["content"][0]["text"] == "once upon"
        assert ("notice_shown", "") not in told(outbox)


@pytest.mark.slow
async def test_official_clients_read_a_response_with_a_notice_as_one_text(tmp_path: Path) -> None:
    async with ruled(tmp_path, hours(), script=responds("once", " upon")) as (g, _), talking(g) as client:
        playing = client.with_options(default_headers={"x-player-id": "anna"})
        async with playing.responses.stream(model="storyteller", input="Begin a story.") as stream:
            texts = [event.text for event in [e async for e in stream] if event.type == "response.output_text.done"]
            final = await stream.get_final_response()
        assert texts == [final.output_text] == [NOTICED]
