"""Gateways hear where players stand: all that there is, then what changes, and from where they were after a pause."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from bench.players import START
from tests.gateway.fakeapi import fake_api
from tests.gateway.gateways import until
from tests.records.engagement.test_folding import cues, line, turn
from tests.records.serving import GATEWAY, Records, process, records
from tests.records.test_ingest import OTHER, SEGMENT
from tests.records.test_subjects import OLD
from understudy.gateway.kubeapi import ApiServer, watch
from understudy.records.engagement import routes

POLICY = {"profile": "therapeutic", "actions": {"L2": ["SuppressHooks"]}}
WHOM = {"tenant": "team-a", "identifier": "anna"}


class Listener:
    """What a gateway hears."""

    def __init__(self, base: str, after: int = 0, origin: str = "") -> None:
        query = {"after": str(after), "origin": origin}
        self._events = watch(ApiServer(base), "/v1/engagement/states", query, 20)

    async def next(self, kind: str = "STATE") -> dict[str, Any]:
        """The next line of a kind."""
        async with asyncio.timeout(120):
            async for event in self._events:
                if event["type"] == kind:
                    return event
        raise EOFError

    async def close(self) -> None:
        """Hear no more."""
        await self._events.aclose()  # type: ignore[attr-defined]  # it is a generator


@asynccontextmanager
async def listening(r: Records, after: int = 0, origin: str = "") -> AsyncIterator[Listener]:
    listener = Listener(r.base, after, origin)
    try:
        yield listener
    finally:
        await listener.close()


async def tell(r: Records, first: int, *events: Any, segment: str = SEGMENT) -> None:
    lines = [{**line(event), "policy": POLICY} for event in events]
    status, answer = await r.ask("POST", f"/v1/ingest/{segment}", {"first": first, "records": lines})
    assert (status, answer["rejected"]) == (200, 0)


async def test_a_gateway_hears_of_changes_and_goes_on_from_where_it_was(tmp_path: Path) -> None:
    async with records(tmp_path, lambda: START + 600, keys=OLD) as r:
        async with listening(r) as gateway:
            hello = await gateway.next("HELLO")
            assert (hello["anew"], list(hello["keys"])) == (True, ["1"])
            await tell(r, 0, turn(1, 0))
            first = await gateway.next()
            assert first["who"] == OLD.for_states().pseudonyms("player", "team-a", "anna")[0].digest
            assert first["state"] == {"since": START, "lastTurn": START}
            await tell(r, 1, *cues(1))
            second = await gateway.next()
            assert (second["state"]["level"], second["state"]["suppressHooks"]) == (2, True)
        async with listening(r, first["change"], hello["origin"]) as gateway:
            assert (await gateway.next("HELLO"))["anew"] is False
            assert await gateway.next() == second
        # A number that this database has not come to, or one of another.
        for after, origin in ((second["change"] + 5, hello["origin"]), (second["change"], "another")):
            async with listening(r, after, origin) as gateway:
                assert (await gateway.next("HELLO"))["anew"] is True
                assert await gateway.next() == second


@pytest.mark.slow
async def test_one_is_shown(tmp_path: Path) -> None:
    async with records(tmp_path, lambda: START + 600, keys=OLD) as r:
        async with listening(r) as gateway:
            await tell(r, 0, *cues(1))
            await gateway.next()
        status, shown = await r.ask("POST", "/v1/engagement/show", WHOM)
        assert (status, shown["level"], shown["signs"]) == (200, 2, ["E7", "E9"])
        assert shown["figures"]["cues"] == ["activities_given_up", "unavailability_distress"]
        status, answer = await r.ask("POST", "/v1/engagement/show", {**WHOM, "tenant": "team-b"})
        assert (status, answer["error"]["code"]) == (404, "unknown_player")


async def test_a_silent_stream_says_that_it_is_alive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes, "ALIVE_SECONDS", 0.01)
    monkeypatch.setattr(routes, "_LOOK_SECONDS", 0.01)
    async with records(tmp_path, time.time, keys=OLD) as r, listening(r) as gateway:
        assert (await gateway.next("ALIVE"))["change"] == 0


@pytest.mark.slow
async def test_many_changes_come_in_several_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes, "_BATCH", 2)
    async with records(tmp_path, lambda: START + 600, keys=OLD) as r, listening(r) as gateway:
        lines = [line(turn(number, 0), f"p{number}") for number in range(5)]
        await r.ask("POST", f"/v1/ingest/{OTHER}", {"first": 0, "records": lines})
        assert len({(await gateway.next())["who"] for _ in range(5)}) == 5


@pytest.mark.slow
async def test_there_are_no_more_streams_than_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes, "_MOST_STREAMS", 1)
    async with records(tmp_path, time.time, keys=OLD) as r, listening(r) as gateway:
        await gateway.next("HELLO")
        status, answer = await r.ask("GET", "/v1/engagement/states")
        assert (status, answer["error"]["code"]) == (503, "too_many_streams")


async def test_gateways_alone_may_listen(tmp_path: Path) -> None:
    async with fake_api() as api, records(tmp_path, time.time, api.url, keys=OLD) as r:
        api.users = {"gateway": GATEWAY, "player": "system:serviceaccount:default:game"}
        for token, expected in (("", 401), ("player", 403)):
            assert (await r.ask("GET", "/v1/engagement/states", None, token))[0] == expected
            assert (await r.ask("POST", "/v1/engagement/show", WHOM, token))[0] == expected
        assert (await r.ask("POST", "/v1/engagement/show", WHOM, "gateway"))[0] == 404


@pytest.mark.slow
async def test_as_a_process_it_ends_though_somebody_listens(url: str, tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "1").write_bytes(b"1" * 32)
    async with process(url, "--auth=none", f"--subject-keys={tmp_path}/keys") as r, listening(r) as gateway:
        await gateway.next("HELLO")
        await tell(r, 0, turn(1, 0))
        await gateway.next()

        async def counted() -> bool:
            metrics = (await r.ask("GET", "/metrics"))[1]
            assert "understudy_engagement_streams 1.0" in metrics
            return "understudy_engagement_events_total 1.0" in metrics

        await until(counted)
        assert r.child is not None
        r.child.send_signal(signal.SIGTERM)
        with pytest.raises((EOFError, ConnectionError)):
            await gateway.next("NEVER")
        _, said = await r.child.communicate()
        assert r.child.returncode == 0
        assert b"Traceback" not in said
