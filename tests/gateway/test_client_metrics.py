"""Each request is counted once as its client saw it: under what was asked for, whatever became of it on the way."""

import asyncio
from collections import Counter

from tests.gateway.clients import ask, chat, client, request
from tests.gateway.engines import answers_status, answers_well, engine, hangs
from tests.gateway.gateways import Gateway, gateway
from tests.gateway.worlds import STABLE, endpoints, snapshot, table


def seen(g: Gateway) -> Counter[str]:
    """Requests by deployment and status."""
    return Counter({kind: int(count) for kind, count in g.plane.gauges()["understudy_requests_total"][1].items()})


def timed(g: Gateway) -> int:
    """How many have a duration."""
    values = g.plane.gauges()["understudy_e2e_request_latency_seconds"][1]
    return int(sum(count for kind, count in values.items() if not kind.endswith(" sum")))


async def test_an_answer_counts_whether_it_is_a_stream_or_not_and_by_whatever_name_it_was_asked_for() -> None:
    async with engine() as e, gateway(snapshot([table()], [endpoints(STABLE, [e.port])])) as g:
        assert (await ask(g.port)).status == 200
        assert (await ask(g.port, chat(stream=True))).status == 200
        assert (await ask(g.port, chat(model="default/story"))).status == 200
        assert seen(g) == {"default/story 200": 3}
        assert timed(g) == 3


async def test_what_came_to_no_deployment_is_unknown_and_never_named_after_what_a_client_said() -> None:
    async with engine() as e, gateway(snapshot([table()], [endpoints(STABLE, [e.port])])) as g:
        assert (await ask(g.port, chat(model="nonsense"))).status == 404
        assert (await ask(g.port, authorization="Bearer us-wrong")).status == 401
        assert (await ask(g.port, {**chat(), "nothing": 1})).status == 400
        assert seen(g) == {"unknown 404": 1, "unknown 401": 1, "unknown 400": 1}
        assert timed(g) == 0


async def test_what_engines_fail_is_seen_by_the_client_once_however_often_it_was_tried() -> None:
    async with engine(answers_status(500)) as e, gateway(snapshot([table()], [endpoints(STABLE, [e.port])])) as g:
        assert (await ask(g.port)).status == 502
        e.script = answers_status(400)
        assert (await ask(g.port)).status == 400
        assert seen(g) == {"default/story 502": 1, "default/story 400": 1}


async def test_who_leaves_is_told_from_who_is_answered() -> None:
    async with engine(hangs) as e, gateway(snapshot([table()], [endpoints(STABLE, [e.port])])) as g:
        async with client(g.port) as c:
            await c.send(request(chat()))
            await e.request()
            await asyncio.sleep(0.06)
            c.writer.transport.abort()
        await g.quiet()
        assert seen(g) == {"default/story 499": 1}
        _, values = g.plane.gauges()["understudy_e2e_request_latency_seconds"]
        assert 0.05 < values["default/story sum"] < 60


async def test_what_another_name_answers_counts_for_the_one_that_was_asked_for() -> None:
    async with engine() as e:
        tables = [table(fallback=["plain"], queue={"max": 0}), table(name="plain", names=["plain"])]
        async with gateway(snapshot(tables, [endpoints(STABLE, [e.port], name="plain")])) as g:
            assert (await ask(g.port)).status == 200
            assert seen(g) == {"default/story 200": 1}


async def test_a_deployment_whose_table_goes_is_forgotten() -> None:
    async with engine(answers_well()) as e:
        both = [table(), table(name="tale", names=["tale"])]
        slices = [endpoints(STABLE, [e.port]), endpoints(STABLE, [e.port], name="tale")]
        async with gateway(snapshot(both, slices)) as g:
            assert (await ask(g.port, chat(model="tale"))).status == 200
            assert (await ask(g.port)).status == 200
            g.world.set_table("default", "tale", "uid-1", 2, {**both[1]["spec"], "retired": True})
            g.world.table_gone("default", "tale", 0.0)
            g.world.compile()
            g.plane.rerouted()
            assert seen(g) == {"default/story 200": 1}
