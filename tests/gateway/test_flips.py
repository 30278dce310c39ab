"""A gateway process that follows an API server while its tables change a thousand times under load."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import orjson
import pytest

from tests.gateway.clients import Client, chat, client
from tests.gateway.engines import answers_well, engine
from tests.gateway.fakeapi import SECRETS, SLICES, TABLES, FakeApi, fake_api, key_secret, slice_object, table_object
from tests.gateway.processes import Process, process
from tests.gateway.test_follow import DEPLOYMENT, HASH
from tests.gateway.test_process import readiness
from tests.gateway.worlds import CANARY, STABLE, endpoints, table
from understudy.domain.state import DeploymentState, parse_state

FLIPS = 1000
WORDS = {STABLE: "ab", CANARY: "cd"}


class Load:
    """Clients that ask one thing after the other, whole and streamed, until told to stop."""

    def __init__(self, port: int, clients: int) -> None:
        self.answered = 0
        self.stopping = False
        self._tasks = [asyncio.ensure_future(self._ask(port, number)) for number in range(clients)]

    async def _ask(self, port: int, number: int) -> None:
        async with client(port) as c:
            while not self.stopping:
                answer = await c.ask(chat(stream=number % 2 == 0), x_session_id=str(number))
                assert (answer.status, answer.complete) == (200, True)
                assert answer.text == WORDS[answer.fields["x-understudy-revision"]]
                self.answered += 1

    async def stop(self) -> None:
        """Let each finish what it asked; raises what one of them found wrong."""
        self.stopping = True
        await asyncio.gather(*self._tasks)


async def state(p: Process) -> DeploymentState:
    status, body = await p.get("/state")
    assert status == 200
    return parse_state(orjson.loads(body)).deployments[DEPLOYMENT]


async def seen_after(c: Client, revision: str) -> float:
    """Seconds from now until a request goes by a table that sends everything to `revision`.

    It is the whole way of a request: what the API server, the gateway and this test need on this machine are in it.
    """
    began = time.perf_counter()
    while (await c.ask(x_session_id="watcher")).fields["x-understudy-revision"] != revision:
        pass
    return time.perf_counter() - began


@asynccontextmanager
async def followed(api: FakeApi, stable: int, candidate: int) -> AsyncIterator[Process]:
    """A gateway that follows `api`, in which both revisions have one engine each."""
    api.put(SLICES, slice_object(endpoints(STABLE, [stable])))
    api.put(SLICES, slice_object(endpoints(CANARY, [candidate])))
    api.put(SECRETS, key_secret("key", HASH))
    async with process(f"--api-server={api.url}") as p:
        await readiness(p, 200)
        yield p


@pytest.mark.slow
async def test_a_thousand_flips_reach_a_process_under_load_in_order_and_no_request_fails() -> None:
    async with (
        engine(answers_well("a", "b")) as stable,
        engine(answers_well("c", "d")) as candidate,
        fake_api() as api,
    ):
        api.put(TABLES, table_object(table({STABLE: 100, CANARY: 0})))
        async with followed(api, stable.port, candidate.port) as p, client(p.port) as c:
            load = Load(p.port, 4)
            took: list[float] = []
            generations: list[int] = []
            for flip in range(FLIPS):
                weights = {STABLE: 0, CANARY: 100} if flip % 2 == 0 else {STABLE: 100, CANARY: 0}
                api.put(TABLES, table_object(table(weights)))
                took.append(await seen_after(c, CANARY if flip % 2 == 0 else STABLE))
                if flip % 20 == 0:
                    generations.append((await state(p)).table_generation)
            await load.stop()
            end = await state(p)
            took.sort()
            print(
                f"{FLIPS} flips, {load.answered} requests: seen after {took[FLIPS // 2] * 1000:.1f} ms (median), "
                f"{took[FLIPS * 99 // 100] * 1000:.1f} ms (99 %), {took[-1] * 1000:.1f} ms (longest)"
            )
            # The first table is the first generation; each look follows the flip that it was made after.
            assert generations == list(range(2, FLIPS + 2, 20))
            assert end.table_generation == FLIPS + 1
            assert load.answered > FLIPS
            for revision in (STABLE, CANARY):
                evidence = end.revisions[revision]
                assert (evidence.failed, evidence.rejected_4xx, evidence.open_requests) == (0, 0, 0)
                assert evidence.attempts > 0
