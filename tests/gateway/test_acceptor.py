"""Workers that listen on one socket share its clients evenly, and leave none waiting."""

import asyncio
import logging
import os
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.gateway.gateways import until
from understudy.gateway.wire import acceptor as module
from understudy.gateway.wire.acceptor import Acceptor, Crowd


class Held(asyncio.Protocol):
    """A connection that is there until somebody ends it."""

    def __init__(self, worker: "Worker") -> None:
        self._worker = worker

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self._worker.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._worker.connections.discard(self)

    def eof_received(self) -> bool:
        return False


class Worker:
    """One of several that share a socket."""

    def __init__(self, listener: socket.socket, memory: memoryview, index: int) -> None:
        self.connections: set[Held] = set()
        self.crowd = Crowd(memory, index)
        own = socket.socket(fileno=os.dup(listener.fileno()))
        self._own = own
        self._acceptor = Acceptor(own, lambda: Held(self), self.crowd, lambda: len(self.connections))

    def close(self) -> None:
        if self._own.fileno() >= 0:
            self._acceptor.close()


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0), backlog=128) as made:
        yield made


@asynccontextmanager
async def workers(listener: socket.socket, count: int) -> AsyncIterator[list[Worker]]:
    memory = memoryview(bytearray(8 * count))
    made = [Worker(listener, memory, index) for index in range(count)]
    try:
        yield made
    finally:
        for worker in made:
            worker.close()
            for held in worker.connections:
                held.transport.abort()  # type: ignore[attr-defined]
        await asyncio.sleep(0)


async def connect(listener: socket.socket, number: int) -> list[asyncio.StreamWriter]:
    pairs = await asyncio.gather(*(asyncio.open_connection(*listener.getsockname()) for _ in range(number)))
    return [writer for _, writer in pairs]


async def test_clients_that_come_one_by_one_are_shared_evenly(listener: socket.socket) -> None:
    async with workers(listener, 3) as made:
        clients = []
        for number in range(1, 31):
            clients += await connect(listener, 1)
            await until(lambda number=number: sum(len(w.connections) for w in made) == number)  # type: ignore[misc]
        assert [len(worker.connections) for worker in made] == [10, 10, 10]
        for client in clients:
            client.transport.abort()


async def test_clients_that_come_together_are_shared_too(listener: socket.socket) -> None:
    async with workers(listener, 2) as made:
        clients = await connect(listener, 60)
        await until(lambda: sum(len(w.connections) for w in made) == 60)
        assert abs(len(made[0].connections) - len(made[1].connections)) <= 6
        for client in clients:
            client.transport.abort()


async def test_what_others_do_not_take_is_taken_a_moment_later(listener: socket.socket) -> None:
    async with workers(listener, 1) as (busy,):
        memory = memoryview(bytearray(16))
        idle = Crowd(memory, 1)
        idle.tell(0)
        busy.crowd._counts = memory.cast("q")
        clients = await connect(listener, 10)
        await until(lambda: len(busy.connections) == 10)
        for client in clients:
            client.transport.abort()


def test_whose_turn_it_is() -> None:
    memory = memoryview(bytearray(24))
    crowds = [Crowd(memory, index) for index in range(3)]
    assert [crowd.nobody_has_fewer() for crowd in crowds] == [True, True, True]
    crowds[0].tell(2)
    crowds[1].tell(1)
    assert [crowd.nobody_has_fewer() for crowd in crowds] == [False, False, True]
    crowds[2].leave()
    assert [crowd.nobody_has_fewer() for crowd in crowds[:2]] == [False, True]


async def test_without_a_descriptor_left_it_waits_and_says_so(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "_PAUSE_SECONDS", 0.05)
    failures = [OSError(24, "Too many open files")] * 2
    accept = socket.socket.accept

    def failing(self: socket.socket) -> Any:
        if failures:
            raise failures.pop()
        return accept(self)

    monkeypatch.setattr(socket.socket, "accept", failing)
    with caplog.at_level(logging.WARNING):
        async with workers(listener, 1) as (worker,):
            (client,) = await connect(listener, 1)
            await until(lambda: len(worker.connections) == 1)
            client.transport.abort()
    assert caplog.text.count("no client can be taken for the moment") == 2


async def test_whoever_has_closed_takes_nobody(listener: socket.socket) -> None:
    async with workers(listener, 2) as made:
        made[0].close()
        clients = await connect(listener, 4)
        await until(lambda: len(made[1].connections) == 4)
        assert not made[0].connections
        for client in clients:
            client.transport.abort()
