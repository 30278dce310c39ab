"""Long prompts go where their beginning is in the cache, copies for a shadow too."""

import asyncio
from typing import Any

from tests.gateway.clients import chat, client
from tests.gateway.engines import Asked, answers_well, engine
from tests.gateway.gateways import gateway, until
from tests.gateway.worlds import CANARY, STABLE, endpoints, shadowed_table, snapshot, table

PERSONA = {"role": "system", "content": "You are Ann, who keeps the inn at the crossroads. " * 60}


def turn(number: int, talk: int) -> dict[str, Any]:
    """A later turn has all that was said before."""
    said = [{"role": "user", "content": f"I am guest {talk}."}]
    for _ in range(number):
        said += [{"role": "assistant", "content": "Come in."}, {"role": "user", "content": "And then?"}]
    return chat(messages=[PERSONA, *said])


async def test_all_turns_of_a_long_conversation_go_to_one_engine_and_short_ones_anywhere() -> None:
    async with engine() as a, engine() as b, engine() as c:
        engines = (a, b, c)
        document = snapshot([table()], [endpoints(STABLE, [e.port for e in engines])])
        async with gateway(document) as g, client(g.port) as one:
            homes: set[int] = set()
            for talk in range(100):
                before = [len(e.asked) for e in engines]
                for number in range(5):
                    assert (await one.ask(turn(number, talk))).status == 200
                (home,) = [i for i in range(3) if len(engines[i].asked) - before[i]]
                assert len(engines[home].asked) - before[home] == 5
                homes.add(home)
                # Where a conversation goes hangs on the engines' ports: a dozen can all miss one engine.
                if talk >= 11 and len(homes) == 3:
                    break
            assert homes == {0, 1, 2}
            before = [len(e.asked) for e in engines]
            for _ in range(40):
                await one.ask(chat("hi"))
            assert all(len(e.asked) > asked for e, asked in zip(engines, before, strict=True))


async def test_many_at_once_are_shared_out() -> None:
    all_there = asyncio.Event()

    async def script(asked: Asked) -> None:
        if len(a.asked) + len(b.asked) == 20:
            all_there.set()
        await all_there.wait()
        await answers_well()(asked)

    async with engine(script) as a, engine(script) as b:
        document = snapshot([table()], [endpoints(STABLE, [a.port, b.port])])
        async with gateway(document) as g:

            async def ask(number: int) -> int:
                async with client(g.port) as c:
                    return (await c.ask(turn(number, 1))).status

            assert await asyncio.gather(*(ask(number) for number in range(20))) == [200] * 20
            assert min(len(a.asked), len(b.asked)) >= 5


async def test_copies_for_a_shadow_go_home_as_well_or_it_would_look_slower_than_it_is() -> None:
    async with engine() as stable, engine() as a, engine() as b, engine() as c:
        slices = [endpoints(STABLE, [stable.port]), endpoints(CANARY, [a.port, b.port, c.port])]
        async with gateway(snapshot([shadowed_table()], slices)) as g, client(g.port) as one:
            for number in range(6):
                # Of each conversation only one in ten seconds is copied: each says who it is.
                assert (await one.ask(turn(number, 1), x_session_id=str(number))).status == 200
                await until(lambda number=number: len(a.asked + b.asked + c.asked) == number + 1)  # type: ignore[misc]
            assert sorted(len(e.asked) for e in (a, b, c)) == [0, 0, 6]
