"""The HTTP API: who may ask, how a lease goes, and a sentence for everything that is wrong."""

import json
import time
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.gateway.fakeapi import REVIEWS, fake_api
from tests.records.serving import ACCOUNT, GATEWAY, lease, question, records

PROMETHEUS = "system:serviceaccount:monitoring:prometheus"


async def test_a_lease_is_taken_spent_and_ended(url: str) -> None:
    async with records(url, time.time) as r:
        status, answer = await r.ask("POST", lease(1), question(need=200))
        assert (status, answer["fence"], answer["granted"], answer["free"]) == (200, 1, 1_000, 99_000)
        status, answer = await r.ask("POST", lease(1), question(fence=1, spent=900, keep=1_000, want=500))
        assert (status, answer["fence"], answer["granted"], answer["free"]) == (200, 2, 1_500, 98_500)
        assert await r.ask("POST", lease(1) + "/end", {"spent": 1_100}) == (200, {"ended": True})
        status, shown = await r.ask("GET", f"/v1/ledger/accounts/{ACCOUNT}")
        (account,) = shown["accounts"]
        assert (status, account["settled"], account["open"], account["amount"]) == (200, 1_100, 0, 100_000)
        assert await r.ask("GET", "/v1/ledger/accounts") == (200, shown)
        assert await r.ask("GET", "/v1/ledger/accounts/understudy-system/nobody") == (200, {"accounts": []})


async def test_a_budget_that_is_used_up_is_told_by_what_is_granted(url: str) -> None:
    async with records(url, time.time) as r:
        assert (await r.ask("POST", lease(1), question(amount=100, need=100)))[1]["granted"] == 100
        status, answer = await r.ask("POST", lease(2), question(amount=100, need=1))
        assert (status, answer["granted"], answer["free"]) == (200, 0, 0)
        metrics = (await r.ask("GET", "/metrics"))[1]
        assert 'understudy_ledger_answers_total{outcome="exhausted"} 1.0' in metrics
        assert 'understudy_ledger_answers_total{outcome="granted"} 1.0' in metrics


async def test_what_contradicts_the_ledger_is_told_so(url: str) -> None:
    async with records(url, time.time) as r:
        await r.ask("POST", lease(1), question())
        for path, body, status, code in (
            (lease(2), question(fence=7), 404, "lease_unknown"),
            (lease(2) + "/end", {"spent": 1}, 404, "lease_unknown"),
            (lease(1), question(fence=7), 409, "stale_fence"),
            (lease(1), question(fence=1, keep=5_000), 409, "bad_keep"),
            (lease(1), question(fence=1, period="week"), 409, "lease_over"),
        ):
            answered = await r.ask("POST", path, body)
            assert (answered[0], answered[1]["error"]["code"]) == (status, code)
            assert answered[1]["error"]["message"]


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"tz": "Mars"}, "body.tz: 'Mars' is not a time zone: write one such as Europe/Berlin, or UTC"),
        ({"period": "hour"}, "body.period: Input should be 'day', 'week' or 'month'"),
        ({"need": -1}, "body.need: Input should be greater than or equal to 0"),
        ({"want": 1.5}, "body.want: Input should be a valid integer"),
        ({"want": "5"}, "body.want: Input should be a valid integer"),
        ({"want": True}, "body.want: Input should be a valid integer"),
        ({"amount": 10**18 + 1}, "body.amount: Input should be less than or equal to 1000000000000000000"),
        ({"account": "Team A"}, "body.account: String should match pattern"),
        ({"unit": ""}, "body.unit: String should match pattern"),
        ({"colour": "red"}, "body.colour: Extra inputs are not permitted"),
    ],
)
async def test_a_wrong_question_is_told_what_is_wrong_with_it(
    tmp_path: Path, changed: dict[str, Any], sentence: str
) -> None:
    async with records(tmp_path, time.time) as r:
        status, answer = await r.ask("POST", lease(1), question(**changed))
        assert (status, answer["error"]["code"]) == (422, "invalid_request")
        assert answer["error"]["message"].startswith(sentence)


async def test_what_is_no_question_is_refused(tmp_path: Path) -> None:
    async with records(tmp_path, time.time) as r:
        assert (await r.ask("POST", "/v1/ledger/leases/short", question()))[0] == 422
        assert (await r.ask("GET", "/nothing")) == (
            404,
            {"error": {"code": "unknown_path", "message": "there is nothing at this path"}},
        )
        assert (await r.ask("GET", lease(1)))[0] == 405
        assert (await r.ask("GET", "/docs"))[0] == 404
        status, answer = await r.ask("POST", lease(1), question(holder="x" * 5_000))
        assert (status, answer["error"]["code"]) == (413, "too_long")

        async def endless() -> Any:
            yield b"{"

        async with (
            aiohttp.ClientSession() as session,
            session.post(r.base + lease(1), data=endless()) as answered,
        ):
            assert (answered.status, json.loads(await answered.read())["error"]["code"]) == (411, "no_length")


async def test_only_who_the_api_server_vouches_for_may_ask(tmp_path: Path) -> None:
    async with fake_api() as api, records(tmp_path, time.time, api.url) as r:
        api.users = {"good": GATEWAY, "other": "system:serviceaccount:x:y"}
        for method, path, body in (
            ("POST", lease(1), question()),
            ("POST", lease(1) + "/end", {"spent": 0}),
            ("GET", "/v1/ledger/accounts", None),
            ("GET", f"/v1/ledger/accounts/{ACCOUNT}", None),
            ("GET", "/metrics", None),
        ):
            assert (await r.ask(method, path, body))[0] == 401
            assert (await r.ask(method, path, body, "other"))[0] == 403
            assert (await r.ask(method, path, body, "good"))[0] == 200
        assert (await r.ask("GET", "/healthz"))[0] == 200
        assert (await r.ask("GET", "/readyz"))[0] == 200
        api.fail[REVIEWS] = 500
        status, answer = await r.ask("GET", "/metrics", token="new")
        assert (status, answer["error"]["code"]) == (503, "no_review")
        assert (await r.ask("GET", "/metrics", token="good"))[0] == 200


async def test_who_may_read_metrics_may_not_spend(tmp_path: Path) -> None:
    async with fake_api() as api, records(tmp_path, time.time, api.url, (PROMETHEUS,)) as r:
        api.users = {"good": GATEWAY, "reader": PROMETHEUS}
        assert (await r.ask("GET", "/metrics", token="reader"))[0] == 200
        assert (await r.ask("GET", "/metrics", token="good"))[0] == 200
        assert (await r.ask("POST", lease(1), question(), "reader"))[0] == 403
        assert (await r.ask("GET", "/v1/ledger/accounts", token="reader"))[0] == 403


async def test_a_database_that_takes_nothing_is_told_of(url: str, caplog: pytest.LogCaptureFixture) -> None:
    async with records(url, time.time) as r:
        await r.ask("POST", lease(1), question())
        assert r.ledger is not None
        with r.ledger._engine.begin() as connection:
            connection.exec_driver_sql("DROP TABLE ledger_leases")
        status, answer = await r.ask("POST", lease(1), question())
        assert (status, answer["error"]["code"]) == (503, "unwritable")
        assert answer["error"]["message"] == "the ledger's database cannot be written: nothing was granted"
        assert "ledger_leases" in caplog.text
        assert 'understudy_ledger_failures_total{why="unwritable"} 1.0' in (await r.ask("GET", "/metrics"))[1]


async def test_a_full_disk_is_told_of_as_what_it_is(tmp_path: Path) -> None:
    async with records(tmp_path, time.time) as r:
        assert r.ledger is not None
        raw = r.ledger._engine.raw_connection()
        raw.execute(f"PRAGMA max_page_count={raw.execute('PRAGMA page_count').fetchone()[0]}")
        raw.close()
        for number in range(1, 500):
            status, answer = await r.ask("POST", lease(number), question(want=1, holder="h" * 128))
            if status != 200:
                break
        assert (status, answer["error"]["code"]) == (503, "disk_full")
        assert answer["error"]["message"] == (
            "the ledger's disk is full: nothing was granted, and nothing is lost; make its volume larger"
        )
