"""A person in crisis is heard and answered, whatever else a request has, and whatever breaks meanwhile."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import orjson
import pytest

from tests.gateway.clients import CHAT, Answer
from tests.gateway.engines import Asked, Engine, Script, answers_status, answers_well, chunk, delta, engine
from tests.gateway.gateways import DEPLOYMENT, Gateway, gateway
from tests.gateway.guardrails import CRISIS, guarded, load, policy_spec, rule
from tests.gateway.test_guardrails import panel
from tests.gateway.test_hearing import Panel
from tests.gateway.test_players import alone, ask, called, hello, secret
from tests.gateway.test_responses import RESPONSES, heard, streams
from tests.gateway.worlds import KEY, access_key
from understudy.gateway.players import Players
from understudy.gateway.policy.players import Who
from understudy.guard.engagement.events import Event
from understudy.guard.engagement.state import State, dump

HELP = {"name": "help", "type": "patterns", "patterns": [{"name": "h", "literal": "help me", "category": "self_harm"}]}
CARE = {"detectors": [HELP], "rules": [rule("self_harm", "CrisisFlow", where=["input"])], "crisis": CRISIS}
SIGNS = {"detectors": [HELP], "rules": [rule("self_harm", "Log", where=["input"])], "crisis": CRISIS}
REFERRAL = "You are not alone.\n988"
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
ANNA = Who("games", "anna", "evening")
OTHER = "us-another-key-of-another-tenant-0123456789ABCD"


@asynccontextmanager
async def caring(folder: Path, *specs: Any, script: Script | None = None) -> AsyncIterator[tuple[Gateway, Engine]]:
    """A gateway under Guardrails, with players of which the records are away."""
    players, outbox = alone(folder)
    players.hear(hello(secret()))
    async with engine(script or answers_well("well")) as e:
        document = guarded(e.port, *specs)
        document["keys"] = [
            access_key(tenant="games", assertsPlayers="true"),
            access_key(OTHER, source="understudy-system/other", tenant="tales", assertsPlayers="true"),
        ]
        async with gateway(document, players=players) as g:
            await load(g)
            yield g, e
    outbox.close()


async def says(
    g: Gateway,
    *contents: Any,
    name: str = "anna",
    key: str = KEY,
    path: str = CHAT,
    session: str = "evening",
    **more: Any,
) -> Answer:
    """Somebody says this, one turn each."""
    turns = [each if isinstance(each, dict) else {"role": "user", "content": each} for each in contents]
    body = {"model": "storyteller", ("input" if path == RESPONSES else "messages"): turns, **more}
    return await ask(g.port, body, headers=(f"x-player-id: {name}", f"x-session-id: {session}"), key=key, path=path)


def assistant(content: str) -> dict[str, Any]:
    return {"role": "assistant", "content": content}


def known(g: Gateway) -> Players:
    assert g.plane.players is not None
    return g.plane.players


def referrals(g: Gateway) -> float:
    return known(g).gauges()["understudy_crisis_referrals_total"][1][""]


@pytest.mark.parametrize(
    "contents",
    [
        ("so darn it", "help me"),
        ("help me", "so darn it"),
        ("so darn it, help me",),
        ([IMAGE, {"type": "text", "text": "help me"}],),
        ([{"type": "text", "text": "help me"}, IMAGE, {"type": "text", "text": "darn"}],),
        ({"role": "system", "content": "darn"}, "well", assistant("well, darn"), "help me"),
        ("help me", assistant("I say: ")),
    ],
)
@pytest.mark.parametrize("stream", [True, False])
async def test_who_asks_for_help_hears_where_it_is_whatever_else_is_said(
    tmp_path: Path, contents: Any, stream: bool
) -> None:
    async with caring(tmp_path, ("calm", policy_spec()), ("care", CARE)) as (g, e):
        answer = await says(g, *contents, stream=stream)
        assert (answer.status, answer.text, e.asked) == (200, REFERRAL, [])
        assert known(g).state_of(ANNA).crisis
        assert referrals(g) == 1


async def test_a_detector_that_fails_over_something_else_hides_no_cry_for_help(tmp_path: Path) -> None:
    async with caring(tmp_path, CARE) as (g, e):
        failing(g)
        assert (await says(g, "well. ", "help me")).text == REFERRAL
        # From then on nothing that fails is an error to her.
        assert (await says(g, "well. ")).text == REFERRAL
        assert (await says(g, "well. ", name="berta", session="b")).code == "guardrail_unavailable"
        assert e.asked == []


def failing(g: Gateway) -> None:
    """Have a detector asked about what is said that never answers."""
    g.plane.panel = cast("Any", Panel("timeout"))
    outcome = g.world.guards.outcomes[DEPLOYMENT]
    guarding = outcome.guarding
    assert guarding is not None
    assert guarding.input is not None
    judges = frozenset({"calm-0/j"})
    text = replace(guarding.input.text, asked=judges, awaited=judges, on_failure={"calm-0/j": "Closed"})
    failing = replace(guarding, input=replace(guarding.input, text=text))
    g.world.guards.outcomes[DEPLOYMENT] = replace(outcome, guarding=failing)
    g.world.guarded([DEPLOYMENT])
    g.world.compile()


async def test_what_was_answered_is_no_cry_for_help_again_and_no_model_hears_it(tmp_path: Path) -> None:
    async with caring(tmp_path, CARE) as (g, e):
        assert (await says(g, "help me")).text == REFERRAL
        answer = await says(g, "please help me", assistant(REFERRAL), "thank you, go on")
        assert answer.text == "well"
        assert e.asked[0].body["messages"][0]["content"] == "please [removed]"
        assert (await says(g, "help me", assistant(REFERRAL), "help me")).text == REFERRAL
        # What a story or a tool says is nobody's cry.
        tool = {"role": "tool", "tool_call_id": "a", "content": "help me"}
        assert (await says(g, {"role": "system", "content": "help me"}, "hi", assistant(""), tool)).text == "well"


async def test_a_break_is_no_reason_not_to_listen(tmp_path: Path) -> None:
    async with caring(tmp_path, CARE) as (g, e):
        state = State(break_until=time.time() + 600.0)
        known(g).hear({"type": "STATE", "change": 1, "who": called("anna"), "state": dump(state)})
        answer = await says(g, "hi")
        assert (answer.status, answer.code, answer.fields["x-should-retry"]) == (429, "cool_down", "false")
        assert (await says(g, "help me")).text == REFERRAL
        assert e.asked == []
        assert (await says(g, "hi")).text == "well"


async def test_the_same_words_are_a_sign_for_each_who_says_them_and_each_time(tmp_path: Path) -> None:
    async with caring(tmp_path, SIGNS) as (g, _):
        for name, key, tenant in (("anna", KEY, "games"), ("berta", KEY, "games"), ("anna", OTHER, "tales")):
            assert (await says(g, "help me", name=name, key=key)).text == "well"
            assert known(g).state_of(Who(tenant, name, "")).crisis
        signs = known(g).gauges()["understudy_players_events_total"][1]["sign"]
        assert signs == 3
        history = ("help me", assistant("well"))
        await says(g, *history, "go on")
        assert known(g).gauges()["understudy_players_events_total"][1]["sign"] == signs
        await says(g, *history, "help me")
        assert known(g).gauges()["understudy_players_events_total"][1]["sign"] == signs + 1


# In a crisis.


def in_crisis(g: Gateway) -> None:
    known(g).tell(ANNA, Event("s", "crisis_sign", time.time()))


async def breaks(asked: Asked) -> None:
    """Says two words and is gone."""
    if asked.path == RESPONSES:
        await streams("one ", "two ", upto=4)(asked)
        return
    await asked.begin_stream()
    text = asked.path != CHAT
    for word in ("one ", "two "):
        said = orjson.loads(delta(asked.model, word))
        if text:
            said["choices"][0]["text"] = said["choices"][0].pop("delta")["content"]
        await asked.event(orjson.dumps(said))
    await asyncio.sleep(0.05)
    asked.reset()


async def errs(asked: Asked) -> None:
    await asked.begin_stream()
    await asked.say("one two ")
    await asyncio.sleep(0.05)
    await asked.send(chunk(b'data: {"error": {"message": "darn"}}\n\n') + b"0\r\n\r\n")


@pytest.mark.parametrize("script", [breaks, errs, answers_well("one two ", "darn it"), answers_well("darn it")])
@pytest.mark.parametrize("specs", [(), (("calm", policy_spec()),)])
async def test_an_answer_that_cannot_go_on_ends_with_where_help_is(tmp_path: Path, script: Any, specs: Any) -> None:
    async with caring(tmp_path, *specs, script=script) as (g, _):
        in_crisis(g)
        answer = await says(g, "hi", stream=True)
        assert (answer.status, answer.done) == (200, True)
        if specs or script in (breaks, errs):
            assert "error" not in answer.events[-2]
            assert "darn" not in answer.text
            assert answer.text.endswith(REFERRAL if specs else "shows one near you.")
            assert referrals(g) == 1


async def test_a_response_that_cannot_go_on_ends_with_where_help_is(tmp_path: Path) -> None:
    for specs in ((), (policy_spec(),)):
        for script in (breaks, streams("one ", "two darn it"), streams("darn it")):
            async with caring(tmp_path / f"{len(specs)}-{script.__qualname__}", *specs, script=script) as (g, _):
                in_crisis(g)
                answer = await says(g, "hi", path=RESPONSES, stream=True)
                found = heard(answer)
                assert found[-1][0] == "response.completed"
                assert [each["sequence_number"] for _, each in found] == list(range(len(found)))
                if specs:
                    assert REFERRAL in found[-1][1]["response"]["output"][-1]["content"][0]["text"]
                    assert b"darn" not in answer.body


@pytest.mark.parametrize("script", [answers_well("darn it"), answers_well("so darn it"), answers_status(400)])
async def test_a_whole_answer_that_may_not_be_seen_is_where_help_is(tmp_path: Path, script: Any) -> None:
    async with caring(tmp_path, policy_spec(), script=script) as (g, _):
        in_crisis(g)
        answer = await says(g, "hi")
        assert answer.status == 200
        assert answer.text.endswith(REFERRAL)
        assert referrals(g) == 1


async def test_a_sign_counts_for_the_answer_to_it(tmp_path: Path) -> None:
    script = answers_well("one two ", "darn it")
    async with caring(tmp_path, ("calm", policy_spec()), ("care", SIGNS), script=script) as (g, _):
        assert (await says(g, "help me", stream=True)).text == f"one two \n\n{REFERRAL}"


async def test_a_detector_that_fails_in_the_middle_of_an_answer_ends_it_with_where_help_is(tmp_path: Path) -> None:
    async with caring(tmp_path, policy_spec(), script=answers_well("one. ", "two. ", "three")) as (g, _):
        panel(g, (0.0, "ok"), (0.0, "timeout"))
        in_crisis(g)
        answer = await says(g, "hi", stream=True)
        assert answer.text.startswith("one. ")
        assert answer.text.endswith("shows one near you.")
        assert answer.done
