"""Requests that wait for a pod: whose turn it is, how many and how long, and who asks for pods."""

import asyncio
import time
from typing import Any

import pytest

from tests.gateway.clients import ask, chat, client, request
from tests.gateway.engines import Asked, Script, answers_well, engine, hangs
from tests.gateway.gateways import Gateway, gateway, until
from tests.gateway.worlds import CANARY, KEY, STABLE, access_key, endpoints, snapshot, table

OTHER = "us-other"


def pool(*ports: int, keys: Any = None, **queue: Any) -> dict[str, Any]:
    return snapshot([table(queue=queue)], [endpoints(STABLE, ports)], keys)


def rollout(stable: int, canary: int, weight: int) -> dict[str, Any]:
    tables = [table({STABLE: 100 - weight, CANARY: weight}, queue={"perPod": 1})]
    slices = [endpoints(STABLE, [stable]), endpoints(CANARY, [canary])]
    return snapshot(tables, slices, [access_key(chooses=True)])


def waits_for(event: asyncio.Event) -> Script:
    """Answers once the event has come."""

    async def script(asked: Asked) -> None:
        await event.wait()
        await answers_well()(asked)

    return script


def said(asked: list[Asked]) -> list[str]:
    return [a.body["messages"][0]["content"] for a in asked]


async def test_a_pod_gets_no_more_than_it_may_have_and_the_next_one_when_it_has_room() -> None:
    async def slow(asked: Asked) -> None:
        await asyncio.sleep(0.01)
        await answers_well()(asked)

    async with engine(slow) as one, engine(slow) as two, gateway(pool(one.port, two.port, perPod=2)) as g:
        asking = asyncio.gather(*(ask(g.port, chat(stream=bool(n % 2))) for n in range(40)))
        most = 0
        while not asking.done():
            most = max(most, g.state(STABLE).open_requests)
            await asyncio.sleep(0.001)
        assert [answer.status for answer in await asking] == [200] * 40
        assert most == 4
        assert g.plane.queue.waiting() == {}


async def test_a_pod_without_a_bound_gets_all() -> None:
    async with engine(hangs) as e, gateway(pool(e.port)) as g:
        asking = [asyncio.ensure_future(ask(g.port)) for _ in range(50)]
        await until(lambda: len(e.asked) == 50)
        for task in asking:
            task.cancel()


async def test_keys_take_turns_and_priorities_go_first() -> None:
    go = asyncio.Event()
    keys = [
        access_key(),
        access_key(OTHER, source="s/other"),
        access_key("us-high", source="s/high", priority=9),
        access_key("us-low", source="s/low", priority=0),
    ]
    async with engine(waits_for(go)) as e, gateway(pool(e.port, keys=keys, perPod=1)) as g:
        names = ("first", "a1", "a2", "a3", "b1", "b2", "low", "high")
        by = {"b": OTHER, "l": "us-low", "h": "us-high"}
        asking = []
        for number, name in enumerate(names):
            token = f"Bearer {by.get(name[0], KEY)}"
            asking.append(asyncio.ensure_future(ask(g.port, chat(name), authorization=token)))
            if number:
                await g.waits(number)
            else:
                await e.request()
        go.set()
        assert {answer.status for answer in await asyncio.gather(*asking)} == {200}
        assert said(e.asked) == ["first", "high", "a1", "b1", "a2", "b2", "a3", "low"]


async def test_a_new_request_does_not_overtake_those_that_wait() -> None:
    async with engine(hangs) as e, gateway(pool(e.port, perPod=1)) as g, client(g.port) as c:
        await c.send(request(chat("first")))
        await e.request()
        async with client(g.port) as d:
            await d.send(request(chat("second")))
            await g.waits()
            e.script = answers_well()
            # The pod is free from this moment on, and the next one is sent before anybody else is looked at.
            c.writer.transport.abort()
            third = await ask(g.port, chat("third"))
            assert third.status == 200
            assert (await d.answer()).status == 200
            assert said(e.asked) == ["first", "second", "third"]


async def test_above_so_many_a_request_is_refused_and_told_when_to_come_again() -> None:
    async with gateway(pool(max=2)) as g:
        waiting = [asyncio.ensure_future(ask(g.port)) for _ in range(2)]
        await g.waits(2)
        answer = await ask(g.port)
        assert (answer.status, answer.code) == (503, "no_capacity")
        assert int(answer.fields["retry-after"]) > 0
        assert "x-should-retry" not in answer.fields
        for task in waiting:
            task.cancel()


async def test_in_a_full_queue_who_has_more_makes_room_for_who_has_less() -> None:
    keys = [access_key(), access_key(OTHER, source="s/other")]
    async with engine() as e, gateway(pool(max=2, keys=keys)) as g:
        flood = [asyncio.ensure_future(ask(g.port)) for _ in range(2)]
        await g.waits(2)
        other = asyncio.ensure_future(ask(g.port, authorization=f"Bearer {OTHER}"))
        await until(lambda: any(task.done() for task in flood))
        g.change(snapshot([], [endpoints(STABLE, [e.port])], keys))
        assert (await other).status == 200
        assert sorted([(await task).status for task in flood]) == [200, 503]


async def test_waiting_has_an_end() -> None:
    async with gateway(pool(deadlineSeconds=0.1)) as g:
        began = time.monotonic()
        answer = await ask(g.port, chat(stream=True))
        assert (answer.status, answer.code) == (504, "queue_timeout")
        assert time.monotonic() - began >= 0.1
        assert len(g.plane.queue) == 0


async def test_waiting_is_part_of_the_whole_time() -> None:
    document = snapshot([table(timeouts={"wholeSeconds": 0.1})], [])
    async with gateway(document) as g:
        answer = await ask(g.port)
        assert (answer.status, answer.code) == (504, "queue_timeout")


async def test_how_long_a_request_waited_is_counted_for_the_revision_that_takes_it() -> None:
    async with engine() as e, gateway(pool(max=2)) as g:
        counters = g.world.evidence.counters("default/story", STABLE)
        gone = asyncio.ensure_future(ask(g.port))
        await g.waits()
        taken = asyncio.ensure_future(ask(g.port))
        await g.waits(2)
        await asyncio.sleep(0.06)
        gone.cancel()
        await g.waits(1)
        assert counters.waits_ns == 0
        g.change(snapshot([], [endpoints(STABLE, [e.port])]))
        assert (await taken).status == 200
        assert (await ask(g.port)).status == 200
        # Neither who went away nor who never had to wait.
        assert sum(counters.waits) == 1
        assert 50_000_000 <= counters.waits_ns < 60_000_000_000
        assert counters.waits[:2] == [0, 0]


async def test_who_waits_and_goes_is_forgotten_at_once() -> None:
    async with gateway(pool(deadlineSeconds=3600)) as g, client(g.port) as stays:
        await stays.send(request())
        async with client(g.port) as c:
            await c.send(request())
            await g.waits(2)
        async with asyncio.timeout(30):
            await g.waits(1)


async def test_a_pod_is_free_when_the_client_of_its_request_has_gone() -> None:
    async with engine(hangs) as e, gateway(pool(e.port, perPod=1)) as g:
        async with client(g.port) as c:
            await c.send(request())
            await e.request()
            asking = asyncio.ensure_future(ask(g.port, chat("next")))
            await g.waits()
            e.script = answers_well()
        assert (await asking).status == 200


async def test_a_full_candidate_is_relieved_by_stable_for_good() -> None:
    async with engine() as stable, engine(hangs) as canary, gateway(rollout(stable.port, canary.port, 100)) as g:
        async with client(g.port) as c:
            await c.send(request())
            await canary.request()
            for _ in range(2):
                answer = await ask(g.port, x_session_id="s")
                assert answer.fields["x-understudy-revision"] == STABLE
        await g.quiet()
        # Never back and forth: the conversation stays where it went.
        assert (await ask(g.port, x_session_id="s")).fields["x-understudy-revision"] == STABLE
        assert g.state(CANARY).attempts == 0


async def test_nobody_waits_behind_who_waits_for_other_pods() -> None:
    async with engine(hangs) as stable, engine() as canary, gateway(rollout(stable.port, canary.port, 0)) as g:
        waiting = [asyncio.ensure_future(ask(g.port)) for _ in range(3)]
        await g.waits(2)
        answer = await ask(g.port, x_understudy_variant="candidate")
        assert answer.fields["x-understudy-revision"] == CANARY
        for task in waiting:
            task.cancel()


async def test_who_asks_for_a_full_candidate_by_name_waits_in_turn() -> None:
    go = asyncio.Event()
    async with engine() as stable, engine(waits_for(go)) as canary, gateway(rollout(stable.port, canary.port, 0)) as g:
        asking = [asyncio.ensure_future(ask(g.port, x_understudy_variant="candidate")) for _ in range(3)]
        await g.waits(2)
        go.set()
        assert {a.fields["x-understudy-revision"] for a in await asyncio.gather(*asking)} == {CANARY}


async def test_ejected_pods_that_are_full_are_not_asked_in_despair() -> None:
    async with engine(hangs) as e, gateway(pool(e.port, perPod=1, deadlineSeconds=30)) as g, client(g.port) as c:
        await c.send(request())
        await e.request()
        asking = asyncio.ensure_future(ask(g.port))
        await g.waits()
        g.later(31)
        assert (await asking).code == "queue_timeout"
        assert len(e.asked) == 1


def told(g: Gateway, *, only_active: bool = False) -> dict[str, int]:
    states = g.world.state(g.plane.clock(), g.plane.queue.waiting(), only_active=only_active)
    return {key: state.waiting for key, state in states.items()}


@pytest.mark.parametrize("only_active", [False, True])
async def test_the_state_tells_who_has_requests_and_no_pods(only_active: bool) -> None:
    """So that something may scale it from zero, on the short list as well."""
    async with engine() as e, gateway(pool()) as g:
        assert told(g) == {"default/story": 0}
        assert told(g, only_active=True) == {}
        asking = [asyncio.ensure_future(ask(g.port)) for _ in range(3)]
        await g.waits(3)
        assert told(g, only_active=only_active) == {"default/story": 3}
        g.change(snapshot([], [endpoints(STABLE, [e.port])]))
        assert [answer.status for answer in await asyncio.gather(*asking)] == [200] * 3
        assert told(g) == {"default/story": 0}
