"""A budget of three gateway processes and 64 clients, with a gateway and the ledger killed in the middle of it."""

import asyncio
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from local.ports import free_port
from tests.gateway.clients import ask, chat, client
from tests.gateway.engines import Asked, completion, engine
from tests.gateway.gateways import until
from tests.gateway.processes import Process, process
from tests.gateway.worlds import STABLE, access_key, endpoints, snapshot, table
from tests.records.serving import process as ledger_process
from understudy.domain.money import Pricing, decimal
from understudy.domain.table import Table, table_spec

AMOUNT = 6_000_000
MAX_TOKENS = 4_000
CLIENTS = 64
PRICING = Pricing(100_003_217, 400_000_009, "EUR", request=1_234_567)


class Spending:
    """Clients that ask until they are told, at every gateway that is left, that the budget is used up."""

    def __init__(self, cost: Callable[[int, int], int]) -> None:
        self.gateways: list[Process] = []
        self.cost = cost
        self.random = random.Random(5)
        self.used = 0
        self.answers: dict[str, int] = {}

    async def engine(self, asked: Asked) -> None:
        """Answers after a moment; what it writes is used, whether or not anybody hears of it."""
        tokens = self.random.randint(MAX_TOKENS // 2, MAX_TOKENS)
        await asyncio.sleep(self.random.random() / 10)
        self.used += self.cost(7, tokens)
        usage = {"prompt_tokens": 7, "completion_tokens": tokens, "total_tokens": 7 + tokens}
        await asked.answer(200, {**completion(asked.model), "usage": usage})

    async def client(self) -> None:
        ends = 0
        while ends < 6:
            gateway = self.random.choice(self.gateways)
            try:
                async with client(gateway.port) as c:
                    answer = await c.ask(chat(max_tokens=MAX_TOKENS))
            except OSError:
                continue
            kind = answer.code if answer.complete and answer.status != 200 else str(answer.status)
            self.answers[kind] = self.answers.get(kind, 0) + 1
            if kind == "insufficient_quota":
                ends += 1
            await asyncio.sleep(0.05 if kind == "200" else 0.5)


@pytest.mark.slow
@pytest.mark.parametrize("unit", ["tokens", "EUR"])
async def test_a_killed_gateway_and_a_killed_ledger_neither_overspend_a_budget_nor_waste_it(
    tmp_path: Path, unit: str
) -> None:
    port = free_port()
    priced: dict[str, Any] = {}
    amount = AMOUNT
    spending = Spending(lambda prompt, output: prompt + output)
    fields: dict[str, Any] = {"budgetTokens": AMOUNT}
    if unit == "EUR":
        spending, amount = Spending(PRICING.cost), PRICING.cost(0, AMOUNT)
        # Of the two budgets of the key, the one in money is used up.
        fields = {"budgetTokens": 2 * AMOUNT, "budgetMoney": decimal(amount), "budgetCurrency": unit}
        priced = {"pricing": table_spec(Table(0, (), (), pricing=PRICING))["pricing"]}
    async with engine(spending.engine) as e:
        key = access_key(budgetPeriod="month", **fields)
        file = tmp_path / "world.json"
        file.write_text(json.dumps(snapshot([table(**priced)], [endpoints(STABLE, [e.port])], [key])))
        flags = (f"--snapshot={file}", f"--ledger=http://127.0.0.1:{port}", "--grace=0s")
        async with (
            ledger_process(tmp_path, "--auth=none", port=port) as ledger,
            process(*flags) as one,
            process(*flags) as two,
            process(*flags) as three,
        ):
            spending.gateways[:] = [one, two, three]
            clients = asyncio.gather(*(spending.client() for _ in range(CLIENTS)))
            await until(lambda: spending.used > amount // 4)
            assert ledger.child is not None
            ledger.child.kill()
            await ledger.child.communicate()
            async with ledger_process(tmp_path, "--auth=none", port=port) as again:
                await until(lambda: spending.used > amount // 2)
                one.child.kill()
                await one.child.communicate()
                spending.gateways[:] = [two, three]
                await clients
                for gateway in (two, three):
                    gateway.child.terminate()
                    await gateway.child.communicate()
                accounts = (await again.ask("GET", "/v1/ledger/accounts"))[1]["accounts"]
    assert amount * 0.95 <= spending.used <= amount
    assert {account["unit"] for account in accounts} == {unit, "tokens"}
    for account in accounts:
        assert account["settled"] + account["open"] <= account["amount"]
        # Nothing is out but what the killed gateway had; the others gave theirs back when they were told to end.
        assert account["leases"] <= 1
    assert set(spending.answers) <= {"200", "0", "insufficient_quota", "budget_unavailable"}


@pytest.mark.slow
async def test_workers_lease_each_for_themselves_and_give_back_when_they_are_told_to_end(tmp_path: Path) -> None:
    port = free_port()
    async with engine() as e, ledger_process(tmp_path, "--auth=none", port=port) as ledger:
        key = access_key(budgetTokens=AMOUNT, budgetPeriod="month")
        file = tmp_path / "world.json"
        file.write_text(json.dumps(snapshot([table()], [endpoints(STABLE, [e.port])], [key])))
        flags = (f"--snapshot={file}", f"--ledger=http://127.0.0.1:{port}", "--grace=0s", "--workers=2")
        async with process(*flags) as gateway:
            await until(lambda: ready(gateway))
            answers = await asyncio.gather(*(ask(gateway.port, chat(max_tokens=900)) for _ in range(40)))
            assert {answer.status for answer in answers} == {200}
            account = (await ledger.ask("GET", "/v1/ledger/accounts"))[1]["accounts"][0]
            assert account["leases"] in (1, 2)
            gateway.child.terminate()
            _, said = await gateway.child.communicate()
            assert gateway.child.returncode == 0, said
        account = (await ledger.ask("GET", "/v1/ledger/accounts"))[1]["accounts"][0]
        assert (account["settled"], account["open"], account["leases"]) == (40 * 11, 0, 0)


async def ready(gateway: Process) -> bool:
    return (await gateway.get("/readyz"))[0] == 200
