"""What waits in an outbox reaches the records once, however often either of them ends."""

import asyncio
import errno
import os
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import orjson
import pytest

from local.ports import free_port
from tests.gateway.gateways import until
from tests.gateway.test_outbox import killed
from tests.records.serving import Records, records
from tests.records.test_subjects import violation
from understudy.gateway import ship
from understudy.gateway.kubeapi import ApiServer
from understudy.gateway.outbox import Outbox
from understudy.gateway.policy.segments import LANES
from understudy.gateway.policy.story import Story
from understudy.gateway.ship import Shipper
from understudy.records.ingest import Totals

SMALL = 256 * 1024


def body(number: int) -> bytes:
    """A request's record; its id is the number."""
    story = Story(str(number), "storyteller", "/v1/chat/completions", "f" * 64, 0.0, stream=False)
    return orjson.dumps(story.line("default/story", "", 200, "", 0.5, time.time()))


def totals(r: Records) -> Totals:
    assert r.ingest is not None
    return r.ingest.totals()


@asynccontextmanager
async def shipping(folder: Path, r: Records, most: int = SMALL) -> AsyncIterator[Shipper]:
    outbox = Outbox(folder / "outbox", most)
    yield Shipper(outbox, ApiServer(r.base))
    outbox.close()


async def all_sent(shipper: Shipper) -> None:
    """Have all sent, however slow the machine."""
    await shipper.flush()
    while shipper.outbox.next() is not None:
        await shipper.flush()


async def test_all_that_waits_is_sent_in_batches_and_forgotten(tmp_path: Path) -> None:
    async with records(tmp_path, time.time) as r, shipping(tmp_path, r, 4 * SMALL) as shipper:
        for number in range(1_100):
            shipper.outbox.put("request", body(number))
        await all_sent(shipper)
        assert totals(r).stored == 1_100
        assert (shipper.outbox.next(), shipper.outbox.size) == (None, 0)
        assert [path.name for path in (tmp_path / "outbox").iterdir()] == ["lock"]
        batches = shipper.gauges()["understudy_outbox_batches_total"][1]
        assert batches["sent"] >= 3
        assert (batches["failed"], batches["late"]) == (0, 0)
        shown = (await r.ask("GET", "/metrics"))[1]
        assert 'understudy_records_stored_total{kind="request"} 1100.0' in shown


async def test_it_sends_by_itself_and_pauses_while_it_is_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(ship, "_PAUSE_SECONDS", 0.01)
    outbox = Outbox(tmp_path / "outbox", SMALL)
    nobody = Shipper(outbox, ApiServer(f"http://127.0.0.1:{free_port()}"))
    outbox.put("request", body(1))
    running = asyncio.ensure_future(nobody.run())
    await until(lambda: nobody.gauges()["understudy_outbox_batches_total"][1]["failed"] >= 3)
    running.cancel()
    assert [record.getMessage()[:21] for record in caplog.records] == ["records are not taken"]
    async with records(tmp_path, time.time) as r:
        running = asyncio.ensure_future(Shipper(outbox, ApiServer(r.base)).run())
        await until(lambda: totals(r).stored == 1)
        outbox.put("request", body(2))
        await until(lambda: totals(r).stored == 2)
        running.cancel()
    outbox.close()


async def test_a_batch_whose_answer_did_not_come_is_stored_once(tmp_path: Path) -> None:
    async with records(tmp_path, time.time) as r:
        first = Outbox(tmp_path / "outbox", SMALL)
        for number in range(10):
            first.put("request", body(number))
        await Shipper(first, ApiServer(r.base))._send()
        first.put("request", body(10))
        # It has heard the answer, and is killed before it could forget what it sent.
        killed(first)
        async with shipping(tmp_path, r) as again:
            await all_sent(again)
        assert totals(r) == Totals(segments=1, stored=11, rejected=0, missing=0, lost=0, erased=0)
        assert "understudy_records_repeated_total 10.0" in (await r.ask("GET", "/metrics"))[1]


async def test_a_line_that_a_disk_has_damaged_is_counted_and_passed(tmp_path: Path) -> None:
    async with records(tmp_path, time.time) as r, shipping(tmp_path, r) as shipper:
        shipper.outbox.put("request", body(1))
        shipper.outbox.put("request", b'{"unreadable"')
        shipper.outbox.put("request", body(2))
        await all_sent(shipper)
        assert totals(r) == Totals(segments=1, stored=2, rejected=1, missing=0, lost=0, erased=0)


async def test_a_line_without_its_end_is_lost_and_told(tmp_path: Path) -> None:
    async with records(tmp_path, time.time) as r:
        first = Outbox(tmp_path / "outbox", SMALL)
        first.put("request", body(1))
        os.write(first._open["common"], b'{"kind"')
        killed(first)
        async with shipping(tmp_path, r) as shipper:
            await all_sent(shipper)
        assert totals(r) == Totals(segments=2, stored=1, rejected=0, missing=0, lost=1, erased=0)


async def test_what_made_way_is_known_to_the_records(tmp_path: Path) -> None:
    async with records(tmp_path, time.time) as r, shipping(tmp_path, r, 64 * 1024) as shipper:
        for number in range(500):
            shipper.outbox.put("request", body(number))
        await all_sent(shipper)
        found = totals(r)
        assert found.lost == shipper.outbox.dropped["request"] > 100
        assert found.stored + found.lost == 500
        shown = shipper.gauges()["understudy_outbox_records_total"][1]
        assert shown == {
            **{f"{kind} {outcome}": 0 for kind in LANES for outcome in ("written", "dropped")},
            "request written": 500,
            "request dropped": found.lost,
        }


async def test_what_there_was_room_for_comes_after_an_hour_and_of_the_rest_how_much_it_was(tmp_path: Path) -> None:
    now = [1_796_040_000.0]
    outbox = Outbox(tmp_path / "outbox", 64 * 1024, wall=lambda: now[0])
    away = Shipper(outbox, ApiServer("http://127.0.0.1:9"))
    for minute in range(60):
        for number in range(10):
            outbox.put("request", body(60 * minute + number))
        outbox.put("violation", orjson.dumps(violation(minute)))
        now[0] += 60
        assert outbox.size <= 64 * 1024
    assert await away._send() == "failed"
    # Since the oldest that is left.
    assert 60 <= outbox.age() <= 3600
    shown = away.gauges()["understudy_outbox_records_total"][1]
    assert (shown["request dropped"] > 100, shown["violation dropped"]) == (True, 0)
    async with records(tmp_path, time.time) as r:
        back = Shipper(outbox, ApiServer(r.base))
        await all_sent(back)
        status, answer = await r.ask("GET", "/v1/violations?limit=1000")
        assert (status, len(answer["items"])) == (200, 60)
        assert (totals(r).lost, totals(r).stored) == (shown["request dropped"], 660 - shown["request dropped"])
        assert back.gauges()["understudy_outbox_batches_total"][1]["late"] > 0
    outbox.close()


async def test_a_segment_that_makes_way_while_it_is_being_sent_is_passed(tmp_path: Path) -> None:
    async with records(tmp_path, time.time) as r, shipping(tmp_path, r, 64 * 1024) as shipper:
        shipper.outbox.put("request", body(0))
        segment = shipper.outbox.next()
        assert segment is not None
        segment.path.unlink()
        assert await shipper._send() == "more"


async def test_a_segment_that_somebody_deleted_is_lost_and_told_and_holds_nothing_up(tmp_path: Path) -> None:
    async with records(tmp_path, time.time) as r, shipping(tmp_path, r) as shipper:
        for number in range(3):
            shipper.outbox.put("request", body(number))
        found = shipper.outbox.next()
        assert found is not None
        found.path.unlink()
        assert await shipper._send() == "more"
        shipper.outbox.put("request", body(3))
        await shipper.flush()
        assert (totals(r).stored, totals(r).lost, shipper.outbox.dropped["request"]) == (1, 3, 3)
        assert (shipper.outbox.next(), shipper.outbox.size) == (None, 0)


async def test_a_file_that_cannot_be_read_holds_the_others_up_for_three_tries(tmp_path: Path) -> None:
    async with records(tmp_path, time.time) as r, shipping(tmp_path, r) as shipper:
        for number in range(3):
            shipper.outbox.put("request", body(number))
        shipper.outbox.seal()
        shipper.outbox.put("request", body(3))
        found = shipper.outbox.next()
        assert found is not None
        found.path.unlink()
        found.path.mkdir()
        assert [await shipper._send() for _ in range(3)] == ["failed", "failed", "more"]
        await all_sent(shipper)
        assert (totals(r).stored, totals(r).lost, shipper.outbox.dropped["request"]) == (1, 3, 3)
        assert shipper.gauges()["understudy_outbox_unreadable_total"][1] == {"": 1}


async def test_a_file_whose_lines_a_disk_has_eaten_is_told_as_lost(tmp_path: Path) -> None:
    async with records(tmp_path, time.time) as r, shipping(tmp_path, r) as shipper:
        for number in range(3):
            shipper.outbox.put("request", body(number))
        found = shipper.outbox.next()
        assert found is not None
        found.path.write_bytes(b"\0" * found.size)
        await all_sent(shipper)
        assert (totals(r).stored, totals(r).lost, shipper.outbox.unreadable) == (0, 3, 1)


@pytest.mark.slow
async def test_a_disk_that_cannot_be_read_or_written_does_not_end_the_gateway(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    async with records(tmp_path, time.time) as r, shipping(tmp_path, r) as shipper:
        shipper.outbox.put("request", body(1))
        shipper.outbox.seal()
        with monkeypatch.context() as broken:
            broken.setattr(ship, "_read", fails)
            assert await shipper._send() == "failed"
        with monkeypatch.context() as broken:
            broken.setattr(Path, "unlink", fails)
            assert await shipper._send() == "failed"
        assert (totals(r).stored, shipper.outbox.next()) == (1, None)


@pytest.mark.parametrize("seed", range(3))
async def test_issued_is_stored_and_counted_through_kills_of_gateways(
    tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A machine that does much else may take longer for the last of them.
    monkeypatch.setattr("understudy.gateway.ship.FLUSH_SECONDS", 60.0)
    chance = random.Random(seed)
    issued = 0
    async with records(tmp_path, time.time) as r:
        for _ in range(8):
            # Sometimes nobody takes them.
            base = r.base if chance.random() < 0.8 else f"http://127.0.0.1:{free_port()}"
            shipper = Shipper(Outbox(tmp_path / "outbox", 64 * 1024), ApiServer(base))
            sending: list[asyncio.Future[object]] = []
            for _ in range(chance.randrange(1, 4)):
                for _ in range(chance.randrange(100)):
                    shipper.outbox.put("request", body(issued))
                    issued += 1
                sending.append(asyncio.ensure_future(shipper._send()))
                await asyncio.sleep(chance.random() / 100)
            for task in sending:
                task.cancel()
            await asyncio.gather(*sending, return_exceptions=True)
            killed(shipper.outbox)
        async with shipping(tmp_path, r, 64 * 1024) as last:
            await all_sent(last)
        found = totals(r)
        assert found.stored + found.lost == issued
        assert (found.rejected, found.missing) == (0, 0)
        assert r.ingest is not None
        with r.ingest._engine.begin() as connection:
            ids = [int(row[0]) for row in connection.exec_driver_sql("SELECT request_id FROM requests")]
        assert len(ids) == len(set(ids)) == found.stored
