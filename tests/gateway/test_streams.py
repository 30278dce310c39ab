"""Streams under stress: clients that go, clients that are slow, tables that change, and the end by SIGTERM's drain."""

import asyncio
import socket
from collections import Counter
from typing import Any

import pytest

from tests.gateway.clients import ask, chat, client, request
from tests.gateway.engines import Asked, answers_well, chunk, completion, delta, engine, hangs, holds_streams
from tests.gateway.gateways import Gateway, gateway, until
from tests.gateway.worlds import CANARY, KEY, STABLE, endpoints, snapshot, table
from understudy.gateway.wire.exchange import Exchange

BIG = "x" * 60_000
# A short question with a long answer.
ASKING = b"GET /v1/models HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer %b\r\n\r\n" % KEY.encode()
MANY_NAMES = snapshot([table(names=[f"name-{number:03d}" for number in range(1000)])], [endpoints(STABLE, [1])])


def one(port: int) -> dict[str, Any]:
    return snapshot([table()], [endpoints(STABLE, [port])])


async def test_a_client_that_goes_ends_the_engines_work() -> None:
    async with engine(answers_well(*["x"] * 10_000, pace=0.01)) as e, gateway(one(e.port)) as g:
        async with client(g.port) as c:
            await c.send(request(chat(stream=True)))
            await c.until(b"x")
            assert g.state(STABLE).open_requests == 1
        await asyncio.wait_for(e.asked[0].closed.wait(), 30)
        await g.quiet()
        state = g.state(STABLE)
        assert (state.attempts, state.failed) == (1, 0)


async def test_a_client_that_goes_before_the_first_word_is_nobodys_failure() -> None:
    async with engine(hangs) as e, gateway(one(e.port)) as g:
        for body in (chat(), chat(stream=True)):
            async with client(g.port) as c:
                await c.send(request(body))
                asked = await e.request(len(e.asked) + 1)
            await asyncio.wait_for(asked.closed.wait(), 30)
        await g.quiet()
        assert (g.state(STABLE).attempts, g.state(STABLE).failed) == (0, 0)
        assert g.state(STABLE).usable_endpoints == 1


async def test_half_a_close_is_a_close() -> None:
    async with engine(hangs) as e, gateway(one(e.port)) as g, client(g.port) as c:
        await c.send(request(chat(stream=True)))
        asked = await e.request()
        c.writer.write_eof()
        await asyncio.wait_for(asked.closed.wait(), 30)
        await g.quiet()


async def test_a_client_that_goes_while_its_connection_to_the_engine_is_made() -> None:
    # Nobody accepts on this socket, and its queue is full: connecting hangs.
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port = full.getsockname()[1]
        fillers = [socket.socket() for _ in range(3)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
        async with gateway(one(port), connect_seconds=30) as g:
            async with client(g.port) as c:
                await c.send(request())
                await until(lambda: g.state(STABLE).open_requests == 1)
            await g.quiet()
            assert g.state(STABLE).failed == 0
        for filler in fillers:
            filler.close()


async def _served(g: Gateway) -> bool:
    return (await ask(g.port)).status == 200


async def test_a_connection_that_does_not_come_is_given_up() -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port = full.getsockname()[1]
        fillers = [socket.socket() for _ in range(3)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
        async with engine() as good:
            slices = [endpoints(STABLE, [good.port]), endpoints(CANARY, [port])]
            async with gateway(snapshot([table({STABLE: 100, CANARY: 0})], slices), connect_seconds=0.1) as g:
                # The good one is connected to while nothing presses: a busy machine may be too slow even for that.
                await until(lambda: _served(g))
                g.change(snapshot([table({STABLE: 0, CANARY: 100}, generation=2)], slices))
                assert (await ask(g.port)).fields["x-understudy-revision"] == STABLE
                assert g.state(CANARY).errors["connect"] == 1
        for filler in fillers:
            filler.close()


async def test_a_slow_reader_holds_the_engine_back_and_memory_stays_bounded() -> None:
    total = 400

    async def script(asked: Asked) -> None:
        await asked.begin_stream()
        for number in range(total):
            sent.append(number)
            await asked.say(f"{number} {BIG}")
        await asked.end_stream()

    sent: list[int] = []
    async with engine(script) as e, gateway(one(e.port)) as g, client(g.port) as c:
        await c.send(request(chat(stream=True)))
        await c.until(b"0 x")
        c.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await until(lambda: any(connection.paused for connection in g.plane.connections))
        # The client stops reading: soon the engine cannot write any more.
        held = -1
        while held != len(sent):
            held = len(sent)
            await asyncio.sleep(0.1)
        assert held < total
        buffered = sum(
            connection.transport.get_write_buffer_size() for connection in g.plane.connections if connection.transport
        )
        assert buffered < 2_000_000
        c.writer.transport.resume_reading()  # type: ignore[attr-defined]
        answer = await c.answer()
        assert answer.done
        assert answer.complete
        numbers = [e["choices"][0]["delta"]["content"].split()[0] for e in answer.events[:total]]
        assert numbers == [str(i) for i in range(total)]


async def test_a_reader_without_progress_is_cut_off() -> None:
    async with (
        engine(answers_well(*[BIG] * 1000)) as e,
        gateway(one(e.port), slow_reader_seconds=0.2) as g,
        client(g.port) as c,
    ):
        await c.send(request(chat(stream=True)))
        await c.until(b"x")
        c.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await asyncio.wait_for(e.asked[0].closed.wait(), 30)
        await g.quiet()
        assert g.state(STABLE).failed == 0


async def test_a_slow_reader_that_makes_progress_is_not_cut_off() -> None:
    async with (
        engine(answers_well(*[BIG] * 60)) as e,
        gateway(one(e.port), slow_reader_seconds=60) as g,
        client(g.port) as c,
    ):
        await c.send(request(chat(stream=True)))
        raw = b""
        while not raw.endswith(b"0\r\n\r\n"):
            data = await c.reader.read(300_000)
            assert data
            raw += data
            # The gateway looks at it, and again when more was read.
            g.later(25)
            await asyncio.sleep(0.02)
        assert raw.count(b"data: ") >= 60


async def test_a_reader_that_never_takes_a_whole_answer_is_cut_off() -> None:
    async def script(asked: Asked) -> None:
        await asked.answer(200, completion(asked.model, "x" * 20_000_000))

    async with engine(script) as e, gateway(one(e.port), slow_reader_seconds=0.2) as g, client(g.port) as c:
        c.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await c.send(request())
        await until(lambda: bool(e.asked))
        await until(lambda: not g.plane.connections)


@pytest.mark.slow
async def test_who_reads_no_answers_gets_no_further_ones_and_is_cut_off() -> None:
    async with gateway(MANY_NAMES, slow_reader_seconds=60) as g, client(g.port) as c:
        c.writer.transport.pause_reading()  # type: ignore[attr-defined]
        connection = next(iter(g.plane.connections))
        while not connection.paused:
            c.writer.write(ASKING)
            await asyncio.sleep(0)
        assert connection.transport is not None
        held = connection.transport.get_write_buffer_size()
        for _ in range(20):
            c.writer.write(ASKING)
            await asyncio.sleep(0.001)
        assert connection.transport.get_write_buffer_size() == held
        g.later(61)
        await until(lambda: not g.plane.connections)


async def test_who_reads_late_gets_every_answer() -> None:
    async with gateway(MANY_NAMES) as g, client(g.port) as c:
        c.writer.transport.pause_reading()  # type: ignore[attr-defined]
        connection = next(iter(g.plane.connections))
        asked = 0
        while not connection.paused:
            c.writer.write(ASKING)
            asked += 1
            await asyncio.sleep(0)
        for byte in ASKING * 3:
            c.writer.write(bytes([byte]))
            await asyncio.sleep(0)
        c.writer.transport.resume_reading()  # type: ignore[attr-defined]
        for _ in range(asked + 3):
            assert len((await c.answer()).json["data"]) == 1000


async def test_who_reads_nothing_and_asks_without_end_is_cut_off() -> None:
    async with gateway(MANY_NAMES) as g, client(g.port) as c:
        c.writer.transport.pause_reading()  # type: ignore[attr-defined]
        connection = next(iter(g.plane.connections))
        for _ in range(2000):
            c.writer.write(ASKING * 10)
            await asyncio.sleep(0)
        assert connection.transport is None or connection.transport.is_closing()


async def test_one_byte_reads_from_the_engine() -> None:
    async def script(asked: Asked) -> None:
        if asked.body.get("stream"):
            head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
            body = chunk(b"data: %b\r\n\r\n" % delta(asked.model, "é")) + chunk(b"data: [DONE]\r\n\r\n") + b"0\r\n\r\n"
            raw = head + body
        else:
            raw = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 16\r\n\r\n{"choices":  []}'
        for byte in raw:
            await asked.send(bytes([byte]))
            await asyncio.sleep(0)

    async with engine(script) as e, gateway(one(e.port)) as g:
        answer = await ask(g.port, chat(stream=True))
        assert (answer.text, answer.done) == ("é", True)
        assert (await ask(g.port)).json == {"choices": []}


@pytest.mark.slow
async def test_a_thousand_tables_under_load_and_no_request_fails() -> None:
    async with (
        engine(answers_well("a", "b", pace=0.001)) as stable,
        engine(answers_well("c", "d", pace=0.001)) as candidate,
    ):
        slices = [endpoints(STABLE, [stable.port]), endpoints(CANARY, [candidate.port])]
        async with gateway(snapshot([table()], slices)) as g:
            seen: Counter[str] = Counter()
            stop = False

            async def load(number: int) -> None:
                async with client(g.port) as c:
                    while not stop:
                        answer = await c.ask(chat(stream=number % 2 == 0), x_session_id=str(number))
                        assert answer.status == 200, answer
                        assert answer.text in ("ab", "cd")
                        seen[answer.fields["x-understudy-revision"]] += 1

            tasks = [asyncio.ensure_future(load(i)) for i in range(10)]
            for flip in range(1000):
                weight = (10, 50, 100, 0)[flip % 4]
                weights = {STABLE: 100 - weight, CANARY: weight} if flip % 5 else {STABLE: 100}
                g.change(snapshot([table(weights, generation=2 + flip)], slices if flip % 7 else []))
                await asyncio.sleep(0)
            stop = True
            await asyncio.gather(*tasks)
            assert min(seen[STABLE], seen[CANARY]) > 0
            for revision in (STABLE, CANARY):
                assert g.state(revision).failed == 0
                assert g.state(revision).open_requests == 0


@pytest.mark.slow
async def test_conversations_keep_to_their_variant_and_the_shares_are_as_written() -> None:
    async with engine() as stable, engine() as candidate:
        slices = [endpoints(STABLE, [stable.port]), endpoints(CANARY, [candidate.port])]
        async with gateway(snapshot([table({STABLE: 100, CANARY: 0})], slices)) as g, client(g.port) as c:

            async def on_candidate() -> set[int]:
                answers = [await c.ask(x_session_id=f"player-{i}") for i in range(300)]
                return {i for i, a in enumerate(answers) if a.fields["x-understudy-track"] == "canary"}

            assert await on_candidate() == set()
            before: set[int] = set()
            for step, weight in enumerate((10, 50, 100)):
                g.change(snapshot([table({STABLE: 100 - weight, CANARY: weight}, generation=2 + step)]))
                now = await on_candidate()
                assert before <= now
                assert abs(len(now) - 3 * weight) <= 3.29 * (300 * weight / 100 * (1 - weight / 100)) ** 0.5
                before = now
            g.change(snapshot([table(generation=9)]))
            assert await on_candidate() == set()
            assert g.plane.conversations["header"] == 1200


async def test_a_stream_outlives_its_table_and_is_counted_until_it_ends() -> None:
    finish = asyncio.Event()

    async with engine(holds_streams(finish)) as candidate, engine() as stable:
        slices = [endpoints(STABLE, [stable.port]), endpoints(CANARY, [candidate.port])]
        async with gateway(snapshot([table({STABLE: 0, CANARY: 100})], slices)) as g, client(g.port) as c:
            await c.send(request(chat(stream=True)))
            await c.until(b"one")
            g.change(snapshot([table(generation=2)], [endpoints(CANARY, [])]))
            assert (await ask(g.port)).fields["x-understudy-revision"] == STABLE
            state = g.state(CANARY)
            assert (state.open_requests, state.usable_endpoints) == (1, 0)
            finish.set()
            assert (await c.answer()).done
            await g.quiet()
            assert (g.state(CANARY).open_requests, g.state(CANARY).attempts) == (0, 1)


async def test_pods_that_die_one_after_the_other_fail_no_request() -> None:
    async with engine() as one_, engine() as two, engine() as three:
        engines = [one_, two, three]
        async with gateway(snapshot([table()], [endpoints(STABLE, [e.port for e in engines])])) as g:
            stop = False
            answered = 0

            async def load() -> None:
                nonlocal answered
                async with client(g.port) as c:
                    while not stop:
                        assert (await c.ask()).status == 200
                        answered += 1

            tasks = [asyncio.ensure_future(load()) for _ in range(10)]
            for e in engines[:2]:
                before = answered
                await until(lambda before=before: answered > before + 50)  # type: ignore[misc]
                await e.kill()
            before = answered
            await until(lambda: answered > before + 50)
            stop = True
            await asyncio.gather(*tasks)


async def test_a_mistake_over_one_request_ends_that_one_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    async with engine() as e, gateway(snapshot([table()], [])) as g:
        async with client(g.port) as c:
            await c.send(request())
            await g.waits()
            with monkeypatch.context() as broken:
                broken.setattr(Exchange, "dispatch", lambda self: 1 / 0)
                assert await c.ended()
            await g.waits(0)
        g.change(snapshot([], [endpoints(STABLE, [e.port])]))
        assert (await ask(g.port)).status == 200


# A revision that answered as another model.


def rolling(stable: int, candidate: int) -> dict[str, Any]:
    return snapshot([table({STABLE: 0, CANARY: 100})], [endpoints(STABLE, [stable]), endpoints(CANARY, [candidate])])


def withdrawn(stable: int, **more: Any) -> dict[str, Any]:
    """The table of a revert: everything goes to stable, and of the candidate no further word may pass."""
    cut = table({STABLE: 100}, generation=2, salt="", cut=[CANARY], **more)
    return snapshot([cut], [endpoints(STABLE, [stable])])


async def test_its_streams_end_with_an_error_event_and_drain_otherwise() -> None:
    endless = answers_well(*["wrong"] * 10_000, pace=0.01)
    async with engine() as good, engine(endless) as bad, gateway(rolling(good.port, bad.port)) as g:
        async with client(g.port) as c:
            await c.send(request(chat(stream=True)))
            await c.until(b"wrong")
            # A revert that cuts nobody lets it go on.
            g.change(snapshot([table({STABLE: 100}, salt="")], [endpoints(STABLE, [good.port])]))
            await asyncio.sleep(0.1)
            assert g.state(CANARY).open_requests == 1
            g.change(withdrawn(good.port))
            assert g.state(CANARY).open_requests == 0
            answer = await c.answer()
            assert answer.complete
            assert not answer.done
            assert answer.events[-1]["error"]["code"] == "revision_withdrawn"
            await asyncio.wait_for(bad.asked[0].closed.wait(), 30)
            # The connection is as good as before.
            assert (await c.ask()).fields["x-understudy-revision"] == STABLE
        assert (g.state(CANARY).attempts, g.state(CANARY).failed) == (1, 0)


@pytest.mark.parametrize("stream", [False, True])
async def test_who_has_not_got_a_word_of_it_is_answered_by_stable(stream: bool) -> None:
    async with engine() as good, engine(hangs) as bad, gateway(rolling(good.port, bad.port)) as g:
        async with client(g.port) as c:
            await c.send(request(chat(stream=stream)))
            asked = await bad.request()
            g.change(withdrawn(good.port))
            answer = await c.answer()
            assert (answer.status, answer.text) == (200, "once upon a time")
            assert answer.fields["x-understudy-revision"] == STABLE
            await asyncio.wait_for(asked.closed.wait(), 30)
        assert (g.state(CANARY).attempts, g.state(CANARY).failed) == (0, 0)


async def test_with_nobody_else_to_answer_it_is_refused_cleanly() -> None:
    async with engine(hangs) as bad:
        document = snapshot([table({CANARY: 100}, queue={"deadlineSeconds": 0.1})], [endpoints(CANARY, [bad.port])])
        async with gateway(document) as g, client(g.port) as c:
            await c.send(request(chat()))
            await bad.request()
            g.change(withdrawn(9) | {"endpoints": []})
            answer = await c.answer()
            assert (answer.status, answer.code) == (504, "queue_timeout")


@pytest.mark.slow
async def test_streams_of_stable_and_of_other_deployments_go_on() -> None:
    steady = answers_well(*["word"] * 40, pace=0.02)
    async with engine(steady) as e:
        tables = [table(), table({CANARY: 100}, name="other", names=["other"])]
        document = snapshot(tables, [endpoints(STABLE, [e.port]), endpoints(CANARY, [e.port], name="other")])
        async with gateway(document) as g, client(g.port) as c, client(g.port) as d:
            await c.send(request(chat(stream=True)))
            await d.send(request(chat(stream=True) | {"model": "other"}))
            await c.until(b"word")
            await d.until(b"word")
            g.change(withdrawn(e.port))
            assert (await c.answer()).done
            assert (await d.answer()).done
