"""Shadows: copies of what stable is asked, which nobody waits for and nobody sees."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

import orjson
import pytest

from tests.gateway import test_responses as responses
from tests.gateway.clients import Answer, ask, chat, client, request
from tests.gateway.engines import (
    Asked,
    Engine,
    Script,
    answers_status,
    answers_well,
    completion,
    delta,
    engine,
    hangs,
    resets,
    sends,
    stream_bytes,
)
from tests.gateway.gateways import Gateway, gateway, until
from tests.gateway.test_samples import stopped
from tests.gateway.worlds import CANARY, STABLE, access_key, endpoints, shadowed_table, snapshot, table
from understudy.domain.state import PAIR_METRICS, Pairs
from understudy.gateway.policy.copies import MAX_REQUEST
from understudy.gateway.spool import Spool
from understudy.gateway.wire import shadow as module

STREAM = chat(stream=True)
OBJECTIVES = {"firstTokenSeconds": 2, "betweenTokensSeconds": 0.2}
BODIES = [pytest.param(chat(), id="whole"), pytest.param(STREAM, id="stream")]
BAD = [
    pytest.param(hangs, {"errors", "timeToFirstToken"}, id="hangs"),
    pytest.param(resets, {"errors"}, id="crashes"),
    pytest.param(answers_status(500), {"errors"}, id="500"),
    pytest.param(answers_status(401), {"errors"}, id="401"),
    pytest.param(answers_status(400), {"rejected"}, id="400"),
    pytest.param(sends(b"SSH-2.0-OpenSSH_9.6\r\n"), {"errors"}, id="no-http"),
    pytest.param(sends(lambda model: stream_bytes("another", "once")), {"errors"}, id="another-model"),
    pytest.param(answers_well(""), {"emptyOutput"}, id="empty"),
    pytest.param(sends(lambda model: stream_bytes(model, "once")[:-20]), {"errors"}, id="truncated"),
]


def told(stable: Engine, shadow: Engine | None = None, **settings: Any) -> dict[str, Any]:
    """A table with a shadow, and who answers for it."""
    slices = [endpoints(STABLE, [stable.port])] + ([endpoints(CANARY, [shadow.port])] if shadow else [])
    return snapshot([shadowed_table(**settings)], slices)


@asynccontextmanager
async def stage(
    stable: Script | None = None,
    shadow: Script | None = None,
    *,
    spool: Spool | None = None,
    settings: Mapping[str, Any] = MappingProxyType({}),
    **limits: Any,
) -> AsyncIterator[tuple[Gateway, Engine, Engine]]:
    """A gateway, stable's engine and the shadow's."""
    async with (
        engine(stable) as one,
        engine(shadow) as other,
        gateway(told(one, other, text=spool is not None, **settings), spool=spool, **limits) as g,
    ):
        yield g, one, other


def nothing() -> Pairs:
    """What is told before the first pair."""
    zero = dict.fromkeys(PAIR_METRICS, 0)
    return Pairs(worse=zero, better=zero, both=zero, similarity=(0,) * 10)


def pairs(g: Gateway) -> Pairs:
    return g.state(CANARY).pairs


def found(g: Gateway) -> dict[str, set[str]]:
    """Metrics in which a half was bad, by which half."""
    state = pairs(g)
    halves = {"worse": state.worse, "better": state.better, "both": state.both}
    return {half: {metric for metric, count in counts.items() if count} for half, counts in halves.items()}


async def compared(g: Gateway, number: int = 1) -> Pairs:
    """The pairs, once there are so many."""
    await until(lambda: pairs(g).count >= number)
    assert pairs(g).count == number
    return pairs(g)


async def ended(g: Gateway, how: str, number: int = 1) -> None:
    """Wait until so many copies have ended so; and nothing of them is left."""
    await until(lambda: g.plane.shadows.ended[how] >= number)
    assert (g.plane.shadows.open, g.plane.shadows.room.copies, g.plane.shadows.room.held) == ({}, 0, 0)


def same_bytes(answer: Answer) -> tuple[int, bytes, dict[str, str]]:
    return answer.status, bytes(answer.body), {k: v for k, v in answer.fields.items() if k != "x-request-id"}


@pytest.mark.parametrize("body", BODIES)
async def test_a_shadow_is_asked_the_same_and_the_client_sees_stable_alone(body: dict[str, Any]) -> None:
    async with stage(shadow=answers_well("twice", " upon")) as (g, stable, shadow):
        answer = await ask(g.port, body, **{"x-session-id": "one"})
        assert answer.text == "once upon a time"
        assert (answer.fields["x-understudy-revision"], answer.fields["x-understudy-track"]) == (STABLE, "stable")
        assert await compared(g) == replace(nothing(), count=1, similarity=(0, 0, 1, *[0] * 7))
        assert found(g) == {"worse": set(), "better": set(), "both": set()}
        asked, copy = stable.asked[0], shadow.asked[0]
        assert {**asked.body, "model": f"story-{CANARY}"} == copy.body
        assert (copy.path, copy.fields["accept"]) == (asked.path, asked.fields["accept"])
        assert copy.fields["authorization"] != asked.fields["authorization"]


@pytest.mark.parametrize("body", BODIES)
async def test_a_client_gets_byte_by_byte_what_it_gets_without_a_shadow(body: dict[str, Any]) -> None:
    async with engine() as stable, gateway(snapshot([table()], [endpoints(STABLE, [stable.port])])) as g:
        alone = same_bytes(await ask(g.port, body))
    async with stage() as (g, _, _):
        assert same_bytes(await ask(g.port, body)) == alone
        await compared(g)


@pytest.mark.slow
@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize(("script", "bad"), BAD)
async def test_a_bad_shadow_is_counted_and_no_client_notices(
    body: dict[str, Any], script: Script, bad: set[str]
) -> None:
    hung = script is hangs
    if not body.get("stream"):
        script, bad = _whole(script), bad - {"timeToFirstToken"}
    async with engine() as stable, engine(script) as shadow:
        document = told(stable, shadow)
        if hung:
            document = told(stable, shadow, firstTokenSeconds=9)
            document["tables"][0]["spec"]["timeouts"] = {"firstTokenSeconds": 10, "wholeSeconds": 10}
        async with gateway(document) as g:
            answer = await ask(g.port, body)
            assert (answer.status, answer.text, answer.complete) == (200, "once upon a time", True)
            if hung:
                await shadow.request()
                g.later(11)
            await compared(g)
            assert found(g) == {"worse": bad, "better": set(), "both": set()}
            await ended(g, "compared")


def _whole(script: Script) -> Script:
    """The same engine when it is asked for a whole answer: some say something else then."""

    async def answers(asked: Asked) -> None:
        if script is BAD[7].values[0]:
            await asked.answer(200, completion(asked.model, ""))
        elif script is BAD[8].values[0]:
            await asked.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{")
            asked.writer.close()
        else:
            await script(asked)

    return answers


async def test_a_copy_is_sent_once_the_client_has_its_first_bytes() -> None:
    go_on = asyncio.Event()

    async def script(asked: Asked) -> None:
        await asked.begin_stream()
        await go_on.wait()
        await asked.say("once")
        await go_on.wait()
        await asked.end_stream()

    async with stage(script) as (g, stable, shadow), client(g.port) as c:
        await c.send(request(STREAM))
        await stable.request()
        await asyncio.sleep(0.05)
        assert not shadow.asked
        go_on.set()
        go_on.clear()
        await c.until(b"once")
        assert (await shadow.request()).body["stream"] is True
        assert pairs(g).count == 0
        go_on.set()
        assert (await c.answer()).done
        await compared(g)


async def test_a_copy_of_a_whole_answer_is_sent_after_it() -> None:
    finish = asyncio.Event()

    async def script(asked: Asked) -> None:
        await finish.wait()
        await answers_well()(asked)

    async with stage(script) as (g, stable, shadow), client(g.port) as c:
        await c.send(request(chat()))
        await stable.request()
        await asyncio.sleep(0.05)
        assert not shadow.asked
        finish.set()
        await c.answer()
        await compared(g)


async def copied(g: Gateway, shadow: Engine) -> None:
    """Wait until the shadow has answered the one copy."""
    entry = g.world.routes.deployments["default/story"]
    assert entry.shadow
    endpoint = entry.shadow.variant.endpoints[0]
    await shadow.request()
    await until(lambda: endpoint.open == 0)


async def test_a_shadow_that_is_slow_is_worse() -> None:
    answered = asyncio.Event()

    async def slow(asked: Asked) -> None:
        await asked.begin_stream()
        await answered.wait()
        set_clock(1003.0)
        await asked.say("once")
        # The gateway has heard it: it now waits for the next token, which may take half a minute.
        await until(lambda: next(iter(g.plane.shadows.open)).deadline == 1003.0 + 30.0)
        set_clock(1003.3)
        await asked.end_stream()

    async with stage(shadow=slow, settings=OBJECTIVES) as (g, _, _):
        set_clock = stopped(g)
        assert (await ask(g.port, STREAM)).done
        answered.set()
        await compared(g)
        assert found(g) == {"worse": {"timeToFirstToken", "interTokenLatency"}, "better": set(), "both": set()}


async def test_a_shadow_that_is_fast_where_stable_is_slow_is_better() -> None:
    async def slow(asked: Asked) -> None:
        await asked.begin_stream()
        set_clock(1003.0)
        await asked.say("once")
        await copied(g, shadow)
        set_clock(1003.3)
        await asked.end_stream()

    async with stage(slow, settings=OBJECTIVES) as (g, _, shadow):
        set_clock = stopped(g)
        assert (await ask(g.port, STREAM)).done
        await compared(g)
        assert found(g) == {"worse": set(), "better": {"timeToFirstToken", "interTokenLatency"}, "both": set()}


@pytest.mark.slow
async def test_a_shadow_that_falls_silent_has_an_error_and_a_long_gap() -> None:
    async def silent(asked: Asked) -> None:
        await asked.begin_stream()
        await asked.say("once")
        await asked.closed.wait()

    async with engine() as stable, engine(silent) as shadow:
        document = told(stable, shadow, betweenTokensSeconds=0.9)
        document["tables"][0]["spec"]["timeouts"] = {"betweenTokensSeconds": 1}
        async with gateway(document) as g:
            assert (await ask(g.port, STREAM)).done
            await compared(g)
            assert found(g)["worse"] == {"errors", "interTokenLatency"}
            await asyncio.wait_for(shadow.asked[0].closed.wait(), 30)


@pytest.mark.slow
async def test_a_shadow_that_talks_beyond_the_time_of_a_whole_answer_is_cut_as_stable_is_and_not_blamed() -> None:
    async with engine() as stable, engine(answers_well(*["x"] * 10_000, pace=0.01)) as shadow:
        document = told(stable, shadow)
        document["tables"][0]["spec"]["timeouts"] = {"wholeSeconds": 1}
        async with gateway(document) as g:
            assert (await ask(g.port, STREAM)).done
            await compared(g)
            assert found(g) == {"worse": set(), "better": set(), "both": set()}
            await asyncio.wait_for(shadow.asked[0].closed.wait(), 30)


@pytest.mark.parametrize("body", BODIES)
async def test_stable_too_has_one_try_in_a_pair(body: dict[str, Any]) -> None:
    async with (
        engine(answers_status(500)) as bad,
        engine() as good,
        engine() as shadow,
        gateway(told(bad, shadow)) as g,
    ):
        g.change(snapshot(slices=[endpoints(STABLE, [bad.port, good.port])]))
        # The lot, and then the draw of two endpoints: the first of them.
        g.plane.random = lambda: 0.0
        assert (await ask(g.port, body)).text == "once upon a time"
        await compared(g)
        assert found(g) == {"worse": set(), "better": {"errors"}, "both": set()}
        assert (len(bad.asked), len(good.asked), len(shadow.asked)) == (1, 1, 1)


@pytest.mark.parametrize("body", BODIES)
async def test_what_stable_fails_or_refuses_is_copied_too(body: dict[str, Any]) -> None:
    for script, bad in ((answers_status(500), "errors"), (answers_status(422), "rejected")):
        async with stage(script) as (g, _, _):
            assert (await ask(g.port, body)).status in (502, 422)
            await compared(g)
            assert found(g)["better"] == {bad}
    async with stage(answers_status(500), answers_status(500)) as (g, _, _):
        await ask(g.port, body)
        await compared(g)
        assert found(g) == {"worse": set(), "better": set(), "both": {"errors"}}


async def test_a_stream_of_stable_that_breaks_off_counts_against_stable() -> None:
    async with stage(sends(lambda model: stream_bytes(model, "once")[:-20])) as (g, _, _):
        assert not (await ask(g.port, STREAM)).done
        await compared(g)
        assert found(g)["better"] == {"errors"}


@pytest.mark.parametrize("body", BODIES)
async def test_a_request_that_ends_engines_is_not_given_another(body: dict[str, Any]) -> None:
    async with (
        engine(resets) as one,
        engine(resets) as two,
        engine() as shadow,
        gateway(told(one, shadow)) as g,
    ):
        g.change(snapshot(slices=[endpoints(STABLE, [one.port, two.port])]))
        assert (await ask(g.port, body)).code == "poison"
        await ended(g, "discarded")
        assert (await ask(g.port, body)).code == "poison"
        await asyncio.sleep(0.05)
        assert (shadow.asked, pairs(g).count) == ([], 0)


@pytest.mark.slow
@pytest.mark.parametrize("script", [resets, answers_status(500), hangs])
async def test_a_shadow_changes_nothing_of_the_counters_and_the_standing_of_engines(script: Script) -> None:
    async with engine() as stable, engine(script) as shadow:
        document = told(stable, shadow)
        document["tables"][0]["spec"]["timeouts"] = {"firstTokenSeconds": 1}
        async with gateway(document) as g:
            for number in range(8):
                assert (await ask(g.port, STREAM, **{"x-session-id": f"s{number}"})).done
            await compared(g, 8)
            state = g.state(CANARY)
            assert (state.attempts, state.failed, state.open_requests, state.usable_endpoints) == (0, 0, 0, 1)
            assert state.sample.attempts == sum(state.ttft) == state.tokens_out == 0
            assert (g.state(STABLE).attempts, g.state(STABLE).failed, g.state(STABLE).usable_endpoints) == (8, 0, 1)
            assert (g.plane.answered, g.plane.retries, g.plane.failovers, g.plane.refused) == (8, 0, 0, {})
            assert len(shadow.asked) == 8


async def test_nothing_stands_in_for_a_shadow_that_is_not_there() -> None:
    async with engine() as stable, gateway(told(stable)) as g:
        assert (await ask(g.port, STREAM)).done
        await ended(g, "unreachable")
        assert pairs(g) == nothing()
        assert len(stable.asked) == 1


async def test_a_kept_connection_that_was_idle_too_long_is_no_error() -> None:
    async def answers_once(asked: Asked) -> None:
        if len(shadow.asked) == 2:
            asked.reset()
        else:
            await answers_well()(asked)

    async with stage(shadow=answers_once) as (g, _, shadow):
        for number in (1, 2):
            await ask(g.port, STREAM, **{"x-session-id": f"s{number}"})
            await compared(g, number)
        assert found(g)["worse"] == set()
        assert [asked.connection for asked in shadow.asked] == [1, 1, 2]


async def test_beyond_its_room_a_copy_is_dropped_and_counted() -> None:
    async with stage(shadow=hangs, max_copies=2) as (g, _, shadow):
        for number in range(5):
            assert (await ask(g.port, STREAM, **{"x-session-id": f"s{number}"})).done
        await until(lambda: pairs(g).dropped == 3)
        await shadow.request(2)
        assert (len(shadow.asked), pairs(g).count, g.plane.shadows.room.copies) == (2, 0, 2)
        await shadow.kill()
        await compared(g, 2)
        await ended(g, "compared", 2)


async def test_a_very_long_request_is_not_copied() -> None:
    async with stage() as (g, _, shadow):
        assert (await ask(g.port, chat("x" * MAX_REQUEST))).status == 200
        await ended(g, "dropped")
        assert (pairs(g).dropped, pairs(g).count, shadow.asked) == (1, 0, [])


async def test_a_very_long_answer_is_not_read_for_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_ANSWER", 1000)
    async with stage(shadow=answers_well("x" * 2000)) as (g, _, shadow):
        assert (await ask(g.port)).status == 200
        await ended(g, "dropped")
        assert (pairs(g).dropped, pairs(g).count) == (1, 0)
        await asyncio.wait_for(shadow.asked[0].closed.wait(), 30)


async def test_when_the_client_goes_away_the_copy_is_given_up_and_not_counted() -> None:
    async def slow(asked: Asked) -> None:
        await asked.begin_stream()
        await asked.say("once")
        await asked.closed.wait()

    async with stage(slow, hangs) as (g, _, shadow):
        async with client(g.port) as c:
            await c.send(request(STREAM))
            await c.until(b"once")
            await shadow.request()
        await asyncio.wait_for(shadow.asked[0].closed.wait(), 30)
        await ended(g, "discarded")
        assert (pairs(g).count, pairs(g).dropped) == (0, 0)


async def test_a_client_that_goes_away_before_its_answer_leaves_no_copy() -> None:
    async with stage(hangs) as (g, stable, shadow):
        async with client(g.port) as c:
            await c.send(request(STREAM))
            await stable.request()
        await ended(g, "discarded")
        await asyncio.sleep(0.05)
        assert shadow.asked == []


async def test_a_client_that_does_not_keep_up_makes_no_pair() -> None:
    async with stage(answers_well(*["x" * 100_000] * 200)) as (g, _, _), client(g.port) as c:
        await c.send(request(STREAM))
        await c.until(b"x")
        transport = cast("asyncio.Transport", c.writer.transport)
        transport.pause_reading()
        await ended(g, "discarded")
        transport.resume_reading()
        answer = await c.answer()
        assert (len(answer.text), answer.done) == (20_000_000, True)
        assert pairs(g).count == 0


async def test_a_whole_answer_that_is_read_slowly_makes_one() -> None:
    async with stage(answers_well("x" * 500_000)) as (g, _, _):
        assert len((await ask(g.port)).text) == 500_000
        await compared(g)


@pytest.mark.parametrize("body", BODIES)
async def test_when_the_table_has_no_shadow_any_longer_its_copies_end(body: dict[str, Any]) -> None:
    async with stage(shadow=hangs) as (g, _, shadow):
        assert (await ask(g.port, body)).status == 200
        await shadow.request()
        g.change(snapshot([shadowed_table(generation=2)]))
        assert len(g.plane.shadows.open) == 1
        g.change(snapshot([table({STABLE: 90, CANARY: 10}, generation=3)]))
        await asyncio.wait_for(shadow.asked[0].closed.wait(), 30)
        await ended(g, "discarded")
        assert pairs(g).count == 0


async def test_a_copy_that_had_not_been_sent_when_the_shadow_left_is_not_sent() -> None:
    async def script(asked: Asked) -> None:
        await asked.begin_stream()
        g.change(snapshot([table(generation=2)]))
        await asked.say("once")
        await asked.end_stream()

    async with stage(script) as (g, _, shadow):
        assert (await ask(g.port, STREAM)).done
        await ended(g, "discarded")
        assert shadow.asked == []


async def test_when_stable_is_withdrawn_there_is_nothing_to_compare_with() -> None:
    async def slow(asked: Asked) -> None:
        await asked.begin_stream()
        await asked.say("once")
        await asked.closed.wait()

    async with stage(slow, hangs) as (g, _, shadow), client(g.port) as c:
        await c.send(request(STREAM))
        await c.until(b"once")
        await shadow.request()
        withdrawn = shadowed_table(generation=2, cut=[STABLE])
        withdrawn["spec"]["variants"] = withdrawn["spec"]["variants"][1:]
        g.change(snapshot([withdrawn]))
        assert (await c.answer()).events[-1]["error"]["code"] == "revision_withdrawn"
        await ended(g, "discarded")
        assert pairs(g).count == 0


async def test_a_gateway_that_leaves_waits_for_no_copy_and_begins_none() -> None:
    async with stage(shadow=hangs) as (g, _, shadow):
        await ask(g.port, STREAM, **{"x-session-id": "one"})
        await shadow.request()
        g.plane.shadows.stop()
        await asyncio.wait_for(shadow.asked[0].closed.wait(), 30)
        await ended(g, "discarded")
        assert (await ask(g.port, STREAM, **{"x-session-id": "two"})).done
        await asyncio.sleep(0.05)
        assert len(shadow.asked) == 1


async def test_a_copy_that_was_about_to_be_sent_when_the_gateway_leaves_is_not() -> None:
    async def script(asked: Asked) -> None:
        await asked.begin_stream()
        g.plane.shadows.stop()
        await asked.say("once")
        await asked.end_stream()

    async with stage(script) as (g, _, shadow):
        assert (await ask(g.port, STREAM)).done
        await ended(g, "discarded")
        assert shadow.asked == []


def with_candidate(stable: Engine, candidate: Engine, shadow: Engine) -> dict[str, Any]:
    """All to the candidate, beside a shadow."""
    document = told(stable)
    both = document["tables"][0]["spec"]["variants"]
    both[0]["weight"] = 0
    both[1] = {"revision": CANARY, "track": "canary", "weight": 100, "service": f"story-{CANARY}"}
    both.append({"revision": "5eadc0de", "track": "shadow", "weight": 0, "service": "story-5eadc0de"})
    slices = [endpoints(CANARY, [candidate.port]), endpoints("5eadc0de", [shadow.port])]
    keys = [access_key(chooses=True)]
    return snapshot(document["tables"], [endpoints(STABLE, [stable.port]), *slices], keys)


@pytest.mark.parametrize("fields", [{}, {"x-understudy-variant": "candidate"}], ids=["split", "direct"])
@pytest.mark.parametrize("script", [answers_well(), answers_status(500)], ids=["well", "failing"])
async def test_what_did_not_go_to_stable_through_the_split_makes_no_pair(
    script: Script, fields: dict[str, str]
) -> None:
    async with (
        engine() as stable,
        engine(script) as candidate,
        engine() as shadow,
        gateway(with_candidate(stable, candidate, shadow)) as g,
    ):
        await ask(g.port, STREAM, **fields)
        await asyncio.sleep(0.05)
        assert (shadow.asked, g.plane.shadows.ended) == ([], dict.fromkeys(module.ENDS, 0))


async def test_so_many_in_a_hundred_are_copied_by_lot() -> None:
    async with engine() as stable, engine() as shadow, gateway(told(stable, shadow, percent=30)) as g:
        for number, lot in enumerate((0.29, 0.3, 0.99, 0.0)):
            g.plane.random = lambda lot=lot: lot  # type: ignore[misc]
            await ask(g.port, STREAM, **{"x-session-id": f"s{number}"})
        await compared(g, 2)
        assert len(shadow.asked) == 2


async def test_a_conversation_makes_one_pair_in_ten_seconds() -> None:
    async with stage() as (g, _, shadow):
        set_clock = stopped(g)
        for seconds, pairs_then in ((1000.0, 1), (1001.0, 1), (1009.9, 1), (1010.0, 2)):
            set_clock(seconds)
            await ask(g.port, STREAM, **{"x-session-id": "chatty"})
            await compared(g, pairs_then)
        assert len(shadow.asked) == 2


@pytest.mark.parametrize(
    ("path", "body", "copies"),
    [
        ("/v1/completions", {"prompt": "hi"}, 1),
        ("/v1/embeddings", {"input": "hi"}, 1),
        ("/tokenize", {"prompt": "hi"}, 0),
        ("/detokenize", {"tokens": [1]}, 0),
    ],
)
async def test_what_the_model_itself_answers_is_copied(path: str, body: dict[str, Any], copies: int) -> None:
    async def script(asked: Asked) -> None:
        await asked.answer(200, {"model": asked.model, "data": []})

    async with stage(script, script) as (g, _, shadow):
        assert (await ask(g.port, {"model": "storyteller", **body}, path)).status == 200
        await asyncio.sleep(0.05)
        await compared(g, copies)
        assert len(shadow.asked) == copies
        assert found(g) == {"worse": set(), "better": set(), "both": set()}


@pytest.mark.parametrize("stream", [False, True])
async def test_answers_of_the_responses_api_are_compared_like_others(stream: bool) -> None:
    def says(text: str) -> Script:
        async def whole(asked: Asked) -> None:
            await asked.answer(200, responses.response(asked.model, text))

        return responses.streams(text) if stream else whole

    async with stage(says("once upon"), says("twice upon")) as (g, _, shadow):
        await ask(g.port, responses.body(stream=stream), responses.RESPONSES)
        assert await compared(g) == replace(nothing(), count=1, similarity=(0, 0, 0, 1, *[0] * 6))
        assert shadow.asked[0].path == responses.RESPONSES
    async with stage(says("once upon"), responses.streams("once", last="response.failed")) as (g, _, _):
        await ask(g.port, responses.body(stream=stream), responses.RESPONSES)
        await compared(g)
        assert found(g)["worse"] == {"errors"}


async def test_how_answers_differ_is_told() -> None:
    async def calls(asked: Asked) -> None:
        call = {"index": 0, "id": "1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
        choice = {"index": 0, "delta": {"tool_calls": [call]}, "finish_reason": "tool_calls"}
        await asked.begin_stream()
        await asked.event(orjson.dumps({**orjson.loads(delta(asked.model, "")), "choices": [choice]}))
        await asked.end_stream()

    async with stage(shadow=calls) as (g, _, _):
        await ask(g.port, STREAM)
        state = await compared(g)
        assert (state.other_tools, state.other_finish, sum(state.similarity)) == (1, 0, 0)


async def test_a_mistake_over_a_copy_is_nobody_elses(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(*_: Any) -> None:
        raise RuntimeError("a mistake")

    monkeypatch.setattr(module, "compare", fails)
    async with stage() as (g, _, _):
        assert (await ask(g.port, STREAM)).done
        await ended(g, "discarded")
        assert (await ask(g.port, STREAM)).done
    assert "a copy could not be carried on" in caplog.text


def read(path: Path) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in path.read_bytes().splitlines()]


async def lines(spool: Spool, path: Path, act: Callable[[], Any]) -> list[dict[str, Any]]:
    """What the spool has written after `act`."""
    writing = asyncio.ensure_future(spool.run())
    await act()
    writing.cancel()
    await asyncio.gather(writing, return_exceptions=True)
    return read(path)


@pytest.mark.parametrize("body", BODIES)
async def test_texts_of_a_pair_are_kept_where_the_deployment_has_them_kept(
    body: dict[str, Any], tmp_path: Path
) -> None:
    path = tmp_path / "pairs.jsonl"
    spool = Spool(path, 1_000_000)
    async with stage(shadow=answers_well("twice"), spool=spool) as (g, _, shadow):

        async def act() -> None:
            answer = await ask(g.port, body, **{"x-request-id": "mine"})
            ids.append(answer.fields["x-request-id"])
            await compared(g)

        ids: list[str] = []
        (line,) = await lines(spool, path, act)
    assert path.stat().st_mode & 0o777 == 0o600
    assert (line["deployment"], line["requestId"], line["path"]) == ("default/story", ids[0], "/v1/chat/completions")
    assert line["time"].endswith("+00:00")
    assert (line["request"]["model"], line["request"]["messages"]) == ("storyteller", body["messages"])
    assert "cache_salt" in shadow.asked[0].body
    assert "cache_salt" not in line["request"]
    stable, other = line["stable"], line["shadow"]
    assert (stable["revision"], stable["text"], stable["finishReason"]) == (STABLE, "once upon a time", "stop")
    assert (other["revision"], other["text"], other["finishReason"]) == (CANARY, "twice", "stop")
    assert (stable["bad"], other["bad"], other["toolNames"], line["similarity"]) == ([], [], [], 0.0)
    for half in (stable, other):
        assert 0 <= half["seconds"] < 9
        assert (half["firstTokenSeconds"] is None) is (half["longestGapSeconds"] is None) is (body == chat())


@pytest.mark.parametrize("body", BODIES)
async def test_without_that_no_text_is_kept(body: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    spool = Spool(path, 1_000_000)
    async with engine() as stable, engine() as shadow, gateway(told(stable, shadow, text=False), spool=spool) as g:

        async def act() -> None:
            await ask(g.port, body)
            await compared(g)

        assert await lines(spool, path, act) == []
    assert (spool.written, spool.dropped) == (0, 0)


async def test_kept_texts_are_cut(tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    spool = Spool(path, 1_000_000)
    async with stage(answers_well("x" * 20_000), answers_well(*["y" * 5_000] * 4), spool=spool) as (g, _, _):

        async def act() -> None:
            await ask(g.port, STREAM)
            await compared(g)

        (line,) = await lines(spool, path, act)
    assert (line["stable"]["text"], line["shadow"]["text"]) == ("x" * 16_384, "y" * 16_384)


async def test_metrics_tell_what_becomes_of_copies(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "pairs.jsonl", 0)
    async with stage(spool=spool) as (g, _, _):

        async def act() -> None:
            await ask(g.port, STREAM)
            await compared(g)

        assert await lines(spool, tmp_path / "pairs.jsonl", act) == []
        gauges = {name: values for name, (_, values) in g.plane.gauges().items() if "shadow" in name}
    assert gauges == {
        "understudy_shadow_open": {"": 0},
        "understudy_shadow_copies_total": {"compared": 1, "dropped": 0, "unreachable": 0, "discarded": 0},
        "understudy_shadow_lines_total": {"written": 0, "dropped": 1},
    }
