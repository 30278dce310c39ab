"""Other served names take what a deployment cannot serve: when, for whom, in which order, and when not."""

import asyncio
from typing import Any

import pytest

from tests.gateway.clients import ask, chat, client, request
from tests.gateway.engines import Asked, Script, answers_status, answers_well, engine, hangs, resets
from tests.gateway.gateways import gateway
from tests.gateway.worlds import CANARY, STABLE, access_key, endpoints, snapshot, table

PLAIN = "5eadc0de"
PLAINER = "0badc0de"
BODIES = [pytest.param(chat(), id="whole"), pytest.param(chat(stream=True), id="stream")]


def world(
    story: list[int], plain: list[int], plainer: list[int] | None = None, keys: Any = None, **more: Any
) -> dict[str, Any]:
    """`storyteller`, which falls back to `plain`, then `plainer`; these fall back to `storyteller`."""
    wanted = {"fallback": ["plain", "plainer"], "queue": {"max": 0}, **more}
    back: dict[str, Any] = {"fallback": ["storyteller"], "queue": {"max": 0}}
    tables = [
        table(**wanted),
        table({PLAIN: 100}, name="plain", names=["plain"], **back),
        table({PLAINER: 100}, name="plainer", names=["plainer"], **back),
    ]
    slices = [
        endpoints(STABLE, story),
        endpoints(PLAIN, plain, name="plain"),
        endpoints(PLAINER, plainer or [], name="plainer"),
    ]
    return snapshot(tables, slices, keys)


@pytest.mark.parametrize("body", BODIES)
async def test_a_deployment_without_pods_is_stood_in_for_and_the_answer_says_by_whom(body: dict[str, Any]) -> None:
    async with engine() as e, gateway(world([], [e.port])) as g:
        answer = await ask(g.port, body)
        assert (answer.status, answer.text) == (200, "once upon a time")
        assert answer.fields["x-understudy-fallback"] == "plain"
        assert answer.fields["x-understudy-revision"] == PLAIN
        assert e.asked[0].model == f"plain-{PLAIN}"
        # The client knows it by the name that it asked for.
        said = answer.json if "stream" not in body else answer.events[0]
        assert said["model"] == "storyteller"
        assert (g.plane.fallbacks, g.state(PLAIN, "default/plain").attempts) == (1, 1)


async def test_a_deployment_that_serves_is_not_stood_in_for() -> None:
    async with engine() as e, engine() as other, gateway(world([e.port], [other.port])) as g:
        answer = await ask(g.port)
        assert answer.status == 200
        assert "x-understudy-fallback" not in answer.fields
        assert other.asked == []


@pytest.mark.parametrize(
    ("script", "body"),
    [
        (answers_status(500), chat()),
        (answers_status(500), chat(stream=True)),
        (answers_status(404), chat()),
        (hangs, chat(stream=True)),
    ],
)
async def test_a_deployment_that_fails_is_stood_in_for_when_its_attempts_are_used_up(
    script: Script, body: dict[str, Any]
) -> None:
    limits = {"firstTokenSeconds": 0.1, "wholeSeconds": 30}
    async with (
        engine(script) as one,
        engine(script) as two,
        engine() as other,
        gateway(world([one.port, two.port], [other.port], timeouts=limits)) as g,
    ):
        answer = await ask(g.port, body)
        assert (answer.status, answer.fields["x-understudy-fallback"]) == (200, "plain")
        assert len(one.asked) + len(two.asked) == 2
        assert g.state(STABLE).failed == 2


async def test_the_list_is_gone_through_once_and_in_order() -> None:
    bad = answers_status(500)
    async with (
        engine(bad) as one,
        engine(bad) as two,
        engine() as three,
        gateway(world([], [one.port, two.port], [three.port])) as g,
    ):
        answer = await ask(g.port)
        assert (answer.status, answer.fields["x-understudy-fallback"]) == (200, "plainer")
        assert len(one.asked) + len(two.asked) == 2
        assert g.plane.fallbacks == 2


async def test_nobody_is_asked_twice_and_in_the_end_the_client_is_told() -> None:
    async with gateway(world([], [])) as g:
        answer = await ask(g.port)
        assert (answer.status, answer.code) == (503, "no_capacity")
        assert g.plane.fallbacks == 2


async def test_a_deployment_that_names_itself_or_nobody_is_alone() -> None:
    async with gateway(world([], [], fallback=["storyteller", "default/story", "nobody"])) as g:
        assert (await ask(g.port)).code == "no_capacity"
        assert g.plane.fallbacks == 0


async def test_a_key_reaches_no_further_than_without() -> None:
    async with engine() as plain, engine() as plainer:
        keys = [access_key(names="storyteller,plainer")]
        async with gateway(world([], [plain.port], [plainer.port], keys)) as g:
            assert (await ask(g.port)).fields["x-understudy-fallback"] == "plainer"
            assert plain.asked == []
        async with gateway(world([], [plain.port], [plainer.port], [access_key(names="storyteller")])) as g:
            assert (await ask(g.port)).code == "no_capacity"
            assert plain.asked == []


async def test_fields_that_the_other_does_not_take_are_not_given_to_it() -> None:
    async with engine() as e, gateway(world([], [e.port], extraFields=["odd_field"])) as g:
        assert (await ask(g.port, chat(odd_field=1))).code == "no_capacity"
        assert (await ask(g.port)).status == 200
        assert len(e.asked) == 1


async def test_it_comes_after_the_queue() -> None:
    async with engine() as e, gateway(world([], [e.port], queue={"deadlineSeconds": 30})) as g:
        asking = asyncio.ensure_future(ask(g.port))
        await g.waits()
        assert e.asked == []
        g.later(31)
        assert (await asking).fields["x-understudy-fallback"] == "plain"


async def test_who_has_to_make_room_in_the_queue_is_taken_over() -> None:
    keys = [access_key(), access_key("us-high", source="s/high", priority=9)]
    async with engine() as e, gateway(world([], [e.port], keys=keys, queue={"max": 1})) as g:
        asking = asyncio.ensure_future(ask(g.port))
        await g.waits()
        async with client(g.port) as c:
            await c.send(request(authorization="Bearer us-high"))
            assert (await asking).fields["x-understudy-fallback"] == "plain"


async def test_what_an_engine_refuses_is_refused() -> None:
    async with engine(answers_status(400)) as bad, engine() as e, gateway(world([bad.port], [e.port])) as g:
        assert (await ask(g.port)).code == "engine_refused"
        assert e.asked == []


async def test_a_request_that_ends_engines_is_not_handed_on_until_all_have_ended() -> None:
    async with engine(resets) as one, engine(resets) as two, engine() as e:
        async with gateway(world([one.port, two.port], [e.port])) as g:
            assert (await ask(g.port)).code == "poison"
            assert e.asked == []
        async with gateway(world([one.port], [two.port])) as g:
            before = len(two.asked)
            answer = await ask(g.port)
            assert (answer.code, len(two.asked)) == ("poison", before + 1)
            assert g.state(STABLE).failed == g.state(PLAIN, "default/plain").failed == 0


async def test_when_its_whole_time_is_over_nobody_else_has_any() -> None:
    limits = {"wholeSeconds": 0.2}
    async with engine(hangs) as bad, engine() as e, gateway(world([bad.port], [e.port], timeouts=limits)) as g:
        assert (await ask(g.port)).code == "first_token_timeout"
        assert e.asked == []


async def test_after_bad_answers_it_is_rationed_as_any_retry(monkeypatch: pytest.MonkeyPatch) -> None:
    bad = answers_status(500)
    async with (
        engine(bad) as one,
        engine(bad) as two,
        engine() as e,
        gateway(world([one.port, two.port], [e.port])) as g,
    ):
        left = [True, False]
        monkeypatch.setattr(type(g.plane.budget), "take", lambda *_: left.pop(0))
        assert (await ask(g.port)).code == "engine_error"
        assert e.asked == []


async def test_who_asks_for_a_candidate_by_name_gets_nobody_else() -> None:
    document = world([], [])
    document["tables"][0] = table({STABLE: 100, CANARY: 0}, fallback=["plain"], queue={"max": 0})
    async with engine() as e:
        document["keys"] = [access_key(chooses=True)]
        document["endpoints"] += [endpoints(PLAIN, [e.port], name="plain")]
        async with gateway(document) as g:
            assert (await ask(g.port, x_understudy_variant="candidate")).code == "no_capacity"
            assert e.asked == []


async def test_conversations_of_the_other_are_divided_by_its_own_line() -> None:
    """A rollout there sees a conversation that was handed over in the place where its own id puts it."""
    async with engine() as old, engine() as new:
        document = world([], [])
        document["tables"][1] = table({PLAIN: 50, CANARY: 50}, name="plain", names=["plain"])
        document["endpoints"] = [
            endpoints(PLAIN, [old.port], name="plain"),
            endpoints(CANARY, [new.port], name="plain"),
        ]
        async with gateway(document) as g:
            for number in range(20):
                mine = await ask(g.port, x_session_id=str(number))
                direct = await ask(g.port, chat() | {"model": "plain"}, x_session_id=str(number))
                assert mine.fields["x-understudy-revision"] == direct.fields["x-understudy-revision"]
            assert old.asked
            assert new.asked


async def test_a_client_that_goes_meanwhile_is_forgotten() -> None:
    async def never(asked: Asked) -> None:
        await asked.closed.wait()

    async with engine(never) as e, gateway(world([], [e.port])) as g:
        async with client(g.port) as c:
            await c.send(request())
            asked = await e.request()
        await asyncio.wait_for(asked.closed.wait(), 30)
        await g.quiet()


async def test_what_fails_after_its_first_word_is_the_clients_to_know() -> None:
    async def breaks(asked: Asked) -> None:
        await asked.begin_stream()
        await asked.say("one")
        await asyncio.sleep(0.05)
        asked.reset()

    async with engine(breaks) as bad, engine(answers_well()) as e, gateway(world([bad.port], [e.port])) as g:
        answer = await ask(g.port, chat(stream=True))
        assert answer.events[-1]["error"]["code"] == "engine_lost"
        assert e.asked == []
