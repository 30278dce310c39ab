"""Keys with a budget at a gateway: nothing is spent that the ledger has not granted, however an answer ends."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.gateway.clients import ask, chat, client, request
from tests.gateway.engines import Asked, answers_status, answers_well, completion, delta, engine, hangs
from tests.gateway.gateways import Gateway, gateway, until
from tests.gateway.worlds import KEY, STABLE, access_key, endpoints, snapshot, table
from tests.records.serving import Records, records
from understudy.gateway.kubeapi import ApiServer
from understudy.gateway.wire import budgets as budgets_module
from understudy.gateway.wire.ledger import Ledger
from understudy.records.ledger import Account

ACCOUNT = "understudy-system/key"


def world(*ports: int, amount: int = 1_000_000, **more: Any) -> dict[str, Any]:
    key = access_key(budgetTokens=amount, budgetPeriod="day", **more)
    return snapshot([table()], [endpoints(STABLE, ports)], [key])


@asynccontextmanager
async def kept(folder: Path) -> AsyncIterator[tuple[Records, Ledger]]:
    """A ledger, and how a gateway asks it."""
    async with records(folder, time.time) as r:
        yield r, Ledger(ApiServer(r.base), "gateway-1")


def account(r: Records, unit: str = "tokens") -> Account:
    assert r.ledger is not None
    (found,) = (found for found in r.ledger.accounts(ACCOUNT) if found.unit == unit)
    return found


async def settled(g: Gateway, r: Records, unit: str = "tokens") -> int:
    """What the ledger knows to be spent, once the gateway has given everything back."""
    g.plane.budgets.begin_to_leave()
    await g.plane.budgets.leave()
    found = account(r, unit)
    assert (found.open, found.leases, found.lost) == (0, 0, 0)
    return found.settled


async def test_a_key_without_a_budget_asks_nobody(tmp_path: Path) -> None:
    async with engine() as e, kept(tmp_path) as (r, ledger):
        keys = [access_key()]
        async with gateway(snapshot([table()], [endpoints(STABLE, [e.port])], keys), ledger=ledger) as g:
            assert (await ask(g.port)).status == 200
            assert "continuous_usage_stats" not in str(e.asked[-1].body)
            assert len(g.plane.budgets) == 0
        assert r.ledger is not None
        assert r.ledger.accounts() == []


@pytest.mark.parametrize(("stream", "tokens"), [(False, 11), (True, 10)])
async def test_the_ledger_learns_what_the_engine_counted(tmp_path: Path, stream: bool, tokens: int) -> None:
    async with engine() as e, kept(tmp_path) as (r, ledger), gateway(world(e.port), ledger=ledger) as g:
        for _ in range(3):
            assert (await ask(g.port, chat(stream=stream, max_tokens=500))).status == 200
        found = account(r)
        assert (found.amount, found.unit, found.period, found.leases) == (1_000_000, "tokens", "day", 1)
        assert 500 < found.open <= 10_000
        # One lease was enough for all of them.
        assert g.plane.budgets.outcomes["granted"] == 1
        assert await settled(g, r) == 3 * tokens
        assert len(g.plane.budgets) == 0


async def test_a_budget_that_is_used_up_refuses_for_good(tmp_path: Path) -> None:
    async with engine() as e, kept(tmp_path) as (r, ledger), gateway(world(e.port, amount=400), ledger=ledger) as g:
        answer = await ask(g.port, chat(max_tokens=500))
        assert (answer.status, answer.code, answer.fields["x-should-retry"]) == (429, "insufficient_quota", "false")
        assert "retry-after" not in answer.fields
        assert answer.json["error"]["message"].endswith(
            "tokens, and of the access key's budget of 400 tokens a day not as many are left"
        )
        # What needs less gets in, and what nobody counts does, too.
        assert (await ask(g.port, chat(max_tokens=100))).status == 200
        assert g.plane.refused == {"insufficient_quota": 1}
        assert len(e.asked) == 1
        assert await settled(g, r) == 11


@pytest.mark.slow
async def test_those_who_wait_for_the_ledger_go_in_turn(tmp_path: Path) -> None:
    async with engine() as e, kept(tmp_path) as (r, ledger), gateway(world(e.port), ledger=ledger) as g:
        answers = await asyncio.gather(*(ask(g.port, chat(str(n), max_tokens=900)) for n in range(20)))
        assert {answer.status for answer in answers} == {200}
        assert await settled(g, r) == 20 * 11


async def test_what_comes_back_goes_to_who_waits_without_the_ledger(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with engine(hangs) as e, kept(tmp_path) as (_, ledger), gateway(world(e.port), ledger=ledger) as g:
        async with client(g.port) as c:
            await c.send(request(chat(max_tokens=800)))
            await e.request()

            async def silent(*_: Any) -> Any:
                await asyncio.sleep(60)

            monkeypatch.setattr(ledger, "ask", silent)
            e.script = answers_well()
            # Four times what the first one needed was leased: too little for both of these beside it.
            second = asyncio.ensure_future(ask(g.port, chat(max_tokens=2_700)))
            await until(lambda: g.plane.budgets.waiting == 1)
            third = asyncio.ensure_future(ask(g.port, chat(max_tokens=2_700)))
            await until(lambda: g.plane.budgets.waiting == 2)
            c.writer.transport.abort()
        assert (await second).status == 200
        assert (await third).status == 200


async def test_a_client_that_leaves_while_it_waits_costs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with engine() as e, kept(tmp_path) as (r, ledger), gateway(world(e.port), ledger=ledger) as g:
        held = asyncio.Event()
        asked = ledger.ask

        async def slowly(*args: Any) -> Any:
            await held.wait()
            return await asked(*args)

        monkeypatch.setattr(ledger, "ask", slowly)
        async with client(g.port) as one, client(g.port) as two:
            await one.send(request(chat("one", max_tokens=100)))
            await until(lambda: g.plane.budgets.waiting == 1)
            await two.send(request(chat("two", max_tokens=100)))
            await until(lambda: g.plane.budgets.waiting == 2)
            one.writer.transport.abort()
            await until(lambda: g.plane.budgets.waiting == 1)
            two.writer.transport.abort()
            await until(lambda: g.plane.budgets.waiting == 0)
        held.set()
        assert e.asked == []
        assert await settled(g, r) == 0


@pytest.mark.slow
async def test_a_stream_whose_client_leaves_costs_what_had_come(tmp_path: Path) -> None:
    async def script(asked: Asked) -> None:
        await asked.begin_stream()
        for n in (1, 2):
            event = delta(asked.model, "word ")
            await asked.event(event[:-1] + b',"usage":{"prompt_tokens":7,"completion_tokens":%d}}' % n)
        await asyncio.sleep(60)

    async with engine(script) as e, kept(tmp_path) as (r, ledger), gateway(world(e.port), ledger=ledger) as g:
        async with client(g.port) as c:
            await c.send(request(chat(stream=True, max_tokens=900)))
            await c.reader.readuntil(b"word ")
            await c.reader.readuntil(b"word ")
            c.writer.transport.abort()
        await g.quiet()
        # Seven and two, and one that may have been on its way.
        assert await settled(g, r) == 10


async def test_what_no_engine_answers_costs_nothing(tmp_path: Path) -> None:
    failing = answers_status(500)
    async with engine(failing) as e, kept(tmp_path) as (r, ledger), gateway(world(e.port), ledger=ledger) as g:
        assert (await ask(g.port, chat(max_tokens=900))).status == 502
        e.script = answers_status(400)
        assert (await ask(g.port, chat(max_tokens=900))).status == 400
        assert await settled(g, r) == 0


async def test_a_count_beyond_any_context_is_not_believed(tmp_path: Path) -> None:
    async def script(asked: Asked) -> None:
        await asked.answer(200, {**completion(asked.model), "usage": {"prompt_tokens": 10**14, "completion_tokens": 4}})

    async with engine(script) as e, kept(tmp_path) as (r, ledger), gateway(world(e.port), ledger=ledger) as g:
        assert (await ask(g.port, chat(max_tokens=100))).status == 200
        assert await settled(g, r) < 2**20 + 1_000


async def test_without_a_ledger_a_key_with_a_budget_is_refused_for_now() -> None:
    async with engine() as e, gateway(world(e.port)) as g:
        answer = await ask(g.port)
        assert (answer.status, answer.code, answer.fields["retry-after"]) == (503, "budget_unavailable", "2")
        assert e.asked == []


async def test_without_a_ledger_a_key_may_go_on_if_its_secret_says_so() -> None:
    async with engine() as e, gateway(world(e.port, onLedgerLoss="allow")) as g:
        assert (await ask(g.port)).status == 200
        # There is nobody to be told.
        assert len(g.plane.budgets) == 0


@pytest.mark.slow
async def test_a_ledger_that_does_not_answer_refuses_within_seconds_and_then_at_once() -> None:
    ledger = Ledger(ApiServer("http://127.0.0.1:9"), "gateway-1")
    async with engine() as e, gateway(world(e.port), ledger=ledger) as g:
        assert (await ask(g.port)).code == "budget_unavailable"
        asked = g.plane.budgets.outcomes["failed"]
        assert asked >= 3
        assert (await ask(g.port)).code == "budget_unavailable"
        assert g.plane.budgets.outcomes["failed"] == asked
        assert e.asked == []


@pytest.mark.slow
async def test_what_was_spent_while_the_ledger_was_away_is_told_when_it_is_back(tmp_path: Path) -> None:
    async with kept(tmp_path) as (r, ledger):
        there = ledger._server
        ledger._server = ApiServer("http://127.0.0.1:9")
        async with engine() as e, gateway(world(e.port, onLedgerLoss="allow"), ledger=ledger) as g:
            for _ in range(2):
                assert (await ask(g.port)).status == 200
            ledger._server = there
            await until(lambda: g.plane.budgets.outcomes["granted"] > 0)
            assert await settled(g, r) == 22


async def test_a_key_that_is_deleted_gives_back_what_was_leased_for_it(tmp_path: Path) -> None:
    async with engine() as e, kept(tmp_path) as (r, ledger), gateway(world(e.port), ledger=ledger) as g:
        assert (await ask(g.port)).status == 200
        g.world.key_gone(ACCOUNT)
        g.world.compile()
        g.plane.rerouted()
        await until(lambda: len(g.plane.budgets) == 0)
        assert (account(r).open, account(r).settled) == (0, 11)


async def test_a_budget_that_is_changed_holds_from_the_next_question_on(tmp_path: Path) -> None:
    async with engine() as e, kept(tmp_path) as (r, ledger), gateway(world(e.port), ledger=ledger) as g:
        assert (await ask(g.port)).status == 200
        g.change(world(e.port, amount=2_000))
        assert (await ask(g.port, chat(max_tokens=100_000))).code == "insufficient_quota"
        assert account(r).amount == 2_000


async def test_a_gateway_that_leaves_gives_back_at_once_what_nobody_holds(tmp_path: Path) -> None:
    async with engine(hangs) as e, kept(tmp_path) as (r, ledger), gateway(world(e.port), ledger=ledger) as g:
        async with client(g.port) as c:
            await c.send(request(chat(max_tokens=500)))
            await e.request()
            before = account(r).open
            g.plane.budgets.begin_to_leave()
            await until(lambda: account(r).open < before)
            assert 500 < account(r).open < 700
            c.writer.transport.abort()
        await g.quiet()
        e.script = answers_well()
        assert (await ask(g.port, chat(max_tokens=100))).status == 200
        await g.plane.budgets.leave()
        assert account(r).open == 0


async def test_a_ledger_that_cannot_hear_the_last_word_does_not_hold_a_gateway_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(budgets_module, "_LEAVE_SECONDS", 0.2)
    async with engine() as e, kept(tmp_path) as (r, ledger), gateway(world(e.port), ledger=ledger) as g:
        assert (await ask(g.port)).status == 200
        ledger._server = ApiServer("http://127.0.0.1:9")
        g.plane.budgets.begin_to_leave()
        await g.plane.budgets.leave()
        assert account(r).open > 0
    assert "the ledger was not told of 1 leases: they count as spent" in caplog.text


async def test_metrics_show_what_is_leased_and_who_waits(tmp_path: Path) -> None:
    async with engine() as e, kept(tmp_path) as (_, ledger), gateway(world(e.port), ledger=ledger) as g:
        assert (await ask(g.port, authorization=f"Bearer {KEY}")).status == 200
        gauges = g.plane.gauges()
        assert gauges["understudy_purses"][1] == {"": 1}
        assert gauges["understudy_ledger_waiting_requests"][1] == {"": 0}
        assert gauges["understudy_ledger_questions_total"][1]["granted"] == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    "answer",
    [b"{}", b'{"fence": "x", "granted": 1, "seconds": 1, "free": 1}', b"[]", b'{"fence": null}', b"not json"],
)
async def test_what_is_no_answer_of_a_ledger_is_none(answer: bytes) -> None:
    async def nonsense(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(answer), answer))
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(nonsense, "127.0.0.1", 0)
    ledger = Ledger(ApiServer(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"), "gateway-1")
    async with engine() as e, gateway(world(e.port), ledger=ledger) as g:
        assert (await ask(g.port)).code == "budget_unavailable"
    server.close()
