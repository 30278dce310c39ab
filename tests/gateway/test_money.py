"""Keys with a budget in money: what requests cost is held and paid as tokens are, by the prices that they came for."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.gateway.clients import ask, chat, client, request
from tests.gateway.engines import Asked, completion, delta, engine, hangs
from tests.gateway.gateways import Gateway, gateway, until
from tests.gateway.test_budgets import account, kept, settled
from tests.gateway.worlds import STABLE, access_key, endpoints, snapshot, table
from understudy.domain.money import decimal

# A dollar for a million tokens of prompts, two for one of answers, and a cent for the request.
PRICES = {"inputPerMillion": "1", "outputPerMillion": "2", "perRequest": "0.01", "currency": "USD"}


def world(*ports: int, money: str = "10", prices: dict[str, str] | None = PRICES, **more: Any) -> dict[str, Any]:
    key = access_key(budgetMoney=money, budgetCurrency="USD", budgetPeriod="day", **more)
    priced: dict[str, Any] = {} if prices is None else {"pricing": prices}
    return snapshot([table(**priced)], [endpoints(STABLE, ports)], [key])


async def spent(g: Gateway, r: Any) -> str:
    return decimal(await settled(g, r, "USD"))


@pytest.mark.parametrize(("stream", "cost"), [(False, "0.010015"), (True, "0.010013")])
async def test_the_ledger_learns_what_the_answer_cost(tmp_path: Path, stream: bool, cost: str) -> None:
    async with engine() as e, kept(tmp_path) as (r, ledger), gateway(world(e.port), ledger=ledger) as g:
        assert (await ask(g.port, chat(stream=stream, max_tokens=500))).status == 200
        found = account(r, "USD")
        assert (found.amount, found.period, found.leases) == (10 * 10**9, "day", 1)
        assert await spent(g, r) == cost
        assert len(g.plane.budgets) == 0


async def test_a_budget_that_is_used_up_refuses_for_good(tmp_path: Path) -> None:
    async with engine() as e, kept(tmp_path) as (r, ledger), gateway(world(e.port, money="0.02"), ledger=ledger) as g:
        answer = await ask(g.port, chat(max_tokens=5_000))
        assert (answer.status, answer.code, answer.fields["x-should-retry"]) == (429, "insufficient_quota", "false")
        assert answer.json["error"]["message"].startswith("this request may take 0.0200")
        assert answer.json["error"]["message"].endswith(
            " USD, and of the access key's budget of 0.02 USD a day not as much is left"
        )
        assert (await ask(g.port, chat(max_tokens=100))).status == 200
        assert (await ask(g.port, chat(max_tokens=100))).code == "insufficient_quota"
        assert len(e.asked) == 1
        assert await spent(g, r) == "0.010015"


async def test_of_two_budgets_the_one_that_is_used_up_refuses_and_the_other_gets_back_what_was_held(
    tmp_path: Path,
) -> None:
    async with engine() as e, kept(tmp_path) as (r, ledger):
        both = world(e.port, money="0.02", budgetTokens=1_000_000)
        async with gateway(both, ledger=ledger) as g:
            assert (await ask(g.port, chat(max_tokens=100))).status == 200
            assert (await ask(g.port, chat(max_tokens=100))).code == "insufficient_quota"
            assert (await settled(g, r), await spent(g, r)) == (11, "0.010015")


async def test_a_client_that_leaves_while_it_waits_for_the_second_budget_costs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with engine() as e, kept(tmp_path) as (r, ledger):
        asked, held = ledger.ask, asyncio.Event()

        async def slowly(budget: Any, question: Any) -> Any:
            if budget.unit == "USD":
                await held.wait()
            return await asked(budget, question)

        monkeypatch.setattr(ledger, "ask", slowly)
        async with gateway(world(e.port, budgetTokens=1_000_000), ledger=ledger) as g:
            async with client(g.port) as c:
                await c.send(request(chat(max_tokens=100)))
                await until(lambda: g.plane.budgets.outcomes["granted"] == 1 and g.plane.budgets.waiting == 1)
                c.writer.transport.abort()
                await until(lambda: g.plane.budgets.waiting == 0)
            held.set()
            assert e.asked == []
            assert (await settled(g, r), await spent(g, r)) == (0, "0")


async def test_a_price_that_changes_while_a_stream_goes_on_is_for_the_next_request(tmp_path: Path) -> None:
    async with engine(hangs) as e, kept(tmp_path) as (r, ledger), gateway(world(e.port), ledger=ledger) as g:
        go = asyncio.Event()

        async def script(asked: Asked) -> None:
            await go.wait()
            usage = {"prompt_tokens": 1_000, "completion_tokens": 500}
            await asked.answer(200, {**completion(asked.model), "usage": usage})

        e.script = script
        first = asyncio.ensure_future(ask(g.port, chat(max_tokens=500)))
        await e.request()
        g.change(world(e.port, prices={**PRICES, "inputPerMillion": "100", "perRequest": "0"}))
        second = asyncio.ensure_future(ask(g.port, chat(max_tokens=500)))
        await e.request(2)
        go.set()
        assert {(await first).status, (await second).status} == {200}
        # A cent, a tenth of a cent and a tenth of a cent; then ten cents and a tenth of one.
        assert await spent(g, r) == "0.113"


async def test_a_stream_whose_client_leaves_costs_what_had_come(tmp_path: Path) -> None:
    async def script(asked: Asked) -> None:
        await asked.begin_stream()
        event = delta(asked.model, "word ")
        await asked.event(event[:-1] + b',"usage":{"prompt_tokens":7,"completion_tokens":1}}')
        await asyncio.sleep(60)

    async with engine(script) as e, kept(tmp_path) as (r, ledger), gateway(world(e.port), ledger=ledger) as g:
        async with client(g.port) as c:
            await c.send(request(chat(stream=True, max_tokens=900)))
            await c.reader.readuntil(b"word ")
            c.writer.transport.abort()
        await g.quiet()
        # Seven of the prompt, one of the answer and one that may have been on its way.
        assert await spent(g, r) == "0.010011"


@pytest.mark.parametrize(
    ("prices", "has"), [(None, "this model has no prices"), ({**PRICES, "currency": "EUR"}, "is priced in EUR")]
)
async def test_a_model_without_prices_in_the_budgets_currency_is_refused(
    tmp_path: Path, prices: dict[str, str] | None, has: str
) -> None:
    async with engine() as e, kept(tmp_path) as (r, ledger):
        async with gateway(world(e.port, prices=prices), ledger=ledger) as g:
            answer = await ask(g.port)
            assert (answer.status, answer.code, answer.fields["x-should-retry"]) == (403, "not_priced", "false")
            assert has in answer.json["error"]["message"]
            # What no model answers costs nothing, and needs no price.
            tokens = await ask(g.port, {"model": "storyteller", "prompt": "x"}, path="/tokenize")
            assert tokens.status != 403
        assert r.ledger is not None
        assert r.ledger.accounts() == []


async def test_what_takes_a_request_in_place_of_another_costs_what_that_would_have(tmp_path: Path) -> None:
    async with engine() as e, kept(tmp_path) as (r, ledger):
        tables = [table(pricing=PRICES, fallback=["plain"], queue={"max": 0}), table(name="plain", names=["plain"])]
        key = access_key(budgetMoney="10", budgetCurrency="USD", budgetPeriod="day")
        there = snapshot(tables, [endpoints(STABLE, [e.port], name="plain")], [key])
        async with gateway(there, ledger=ledger) as g:
            answer = await ask(g.port, chat(max_tokens=100))
            assert (answer.status, answer.fields["x-understudy-fallback"]) == (200, "plain")
            assert await spent(g, r) == "0.010015"


@pytest.mark.parametrize(("loss", "status", "code"), [("refuse", 503, "budget_unavailable"), ("allow", 200, None)])
async def test_without_a_ledger_a_budget_in_money_refuses_unless_the_key_says_otherwise(
    loss: str, status: int, code: str | None
) -> None:
    async with engine() as e, gateway(world(e.port, onLedgerLoss=loss)) as g:
        answer = await ask(g.port)
        assert (answer.status, answer.json.get("error", {}).get("code")) == (status, code)


async def test_a_request_that_could_cost_more_than_the_ledger_has_numbers_for_is_refused_as_any_other(
    tmp_path: Path,
) -> None:
    dear = {"inputPerMillion": "999999999", "outputPerMillion": "999999999", "perRequest": "999999999"}
    async with engine() as e, kept(tmp_path) as (_, ledger):
        most = world(e.port, money="100000000", prices=dear)
        async with gateway(most, ledger=ledger) as g:
            assert (await ask(g.port, chat(max_tokens=10_000_000, n=16))).code == "insufficient_quota"
            assert g.plane.budgets.outcomes["failed"] == 0
