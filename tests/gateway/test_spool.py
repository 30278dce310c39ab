"""The spool: bounded on the disk and before it, never in the way, and told about when it loses something."""

import asyncio
import os
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.gateway.gateways import until
from understudy.gateway import spool as module
from understudy.gateway.spool import Spool


@asynccontextmanager
async def writing(spool: Spool) -> AsyncIterator[None]:
    """The spool while it runs; what it has taken is written when this is over."""
    task = asyncio.ensure_future(spool.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


async def handled(spool: Spool, number: int) -> None:
    await until(lambda: spool.written + spool.dropped == number)


async def test_lines_are_written_in_order_and_for_their_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    spool = Spool(path, 1000)
    async with writing(spool):
        for number in range(5):
            spool.put(b"%d\n" % number)
        await handled(spool, 5)
        spool.put(b"5\n")
        await handled(spool, 6)
    assert path.read_bytes() == b"0\n1\n2\n3\n4\n5\n"
    assert path.stat().st_mode & 0o777 == 0o600


async def test_what_is_waiting_when_the_gateway_leaves_is_written(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "lines", 1000)
    async with writing(spool):
        await asyncio.sleep(0)
        spool.put(b"last\n")
    assert ((tmp_path / "lines").read_bytes(), spool.written) == (b"last\n", 1)


async def test_what_is_being_written_when_the_gateway_leaves_comes_before_what_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = Spool(tmp_path / "lines", 1000)
    begun, go_on = threading.Event(), threading.Event()
    write = spool._write

    def slowly(lines: list[bytes]) -> None:
        if not begun.is_set():
            begun.set()
            assert go_on.wait(60)
        write(lines)

    monkeypatch.setattr(spool, "_write", slowly)
    async with writing(spool):
        spool.put(b"first\n")
        await until(begun.is_set)
        spool.put(b"last\n")
        asyncio.get_running_loop().call_later(0.02, go_on.set)
    assert ((tmp_path / "lines").read_bytes(), spool.written, spool.dropped) == (b"first\nlast\n", 2, 0)


async def test_a_full_file_takes_nothing_more_until_it_is_moved_away(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    path.write_bytes(b"of an earlier process\n")
    path.chmod(0o644)
    spool = Spool(path, 30)
    async with writing(spool):
        for line in (b"12345678\n", b"1234567\n", b"\n"):
            spool.put(line)
        await handled(spool, 3)
        assert (spool.written, spool.dropped) == (1, 2)
        path.rename(tmp_path / "collected")
        spool.put(b"new\n")
        await handled(spool, 4)
    assert (tmp_path / "collected").read_bytes() == b"of an earlier process\n1234567\n"
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (b"new\n", 0o600)


async def test_one_that_rotates_keeps_what_came_last_in_two_files_of_half_the_size(tmp_path: Path) -> None:
    path = tmp_path / "lines.jsonl"
    spool = Spool(path, 20, rotates=True)
    async with writing(spool):
        for number in range(5):
            spool.put(b"line %d\n" % number)
        await handled(spool, 5)
        assert (spool.written, spool.dropped) == (5, 0)
        assert contents(tmp_path) == {"lines.jsonl": b"line 4\n", "lines.1.jsonl": b"line 3\n"}
        # What fits in no file is dropped, and makes no room for itself.
        spool.put(b"much too long\n")
        spool.put(b"5\n")
        await handled(spool, 7)
    assert (path.read_bytes(), spool.dropped) == (b"line 4\n5\n", 1)
    assert (tmp_path / "lines.1.jsonl").stat().st_mode & 0o777 == 0o600


async def test_a_file_that_is_moved_away_is_begun_anew_and_never_rotated_over(tmp_path: Path) -> None:
    path = tmp_path / "lines.jsonl"
    spool = Spool(path, 20, rotates=True)
    async with writing(spool):
        spool.put(b"line 0\n")
        await handled(spool, 1)
        path.rename(tmp_path / "collected")
        spool.put(b"line 1\n")
        await handled(spool, 2)
    assert path.read_bytes() == b"line 1\n"
    assert not (tmp_path / "lines.1.jsonl").exists()


async def test_a_file_that_another_worker_moves_between_opening_and_locking_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "lines.jsonl"
    spool = Spool(path, 1000, rotates=True)
    opened, turns = spool._open, iter([True, False])

    def moved() -> int:
        descriptor = opened()
        if next(turns):
            path.rename(tmp_path / "lines.1.jsonl")
        return descriptor

    monkeypatch.setattr(spool, "_open", moved)
    async with writing(spool):
        spool.put(b"line\n")
        await handled(spool, 1)
    assert contents(tmp_path) == {"lines.1.jsonl": b"", "lines.jsonl": b"line\n"}


async def test_two_workers_that_write_and_rotate_lose_no_line_and_tear_none(tmp_path: Path) -> None:
    spools = [Spool(tmp_path / "lines.jsonl", 100_000, rotates=True) for _ in range(2)]
    async with writing(spools[0]), writing(spools[1]):
        for number in range(400):
            for worker, spool in enumerate(spools):
                spool.put(b"%d %04d %s\n" % (worker, number, b"x" * 90))
            await asyncio.sleep(0)
        for spool in spools:
            await handled(spool, 400)
    assert [spool.written for spool in spools] == [400, 400]
    lines = b"".join(contents(tmp_path).values()).splitlines()
    assert len(lines) == len(set(lines))
    assert {len(line) for line in lines} == {97}
    # 80 kB went through two files of 50 kB at most: what is missing was rotated away, the newest is there.
    assert {b"0 0399 " + b"x" * 90, b"1 0399 " + b"x" * 90} <= set(lines)


async def test_before_the_disk_lines_are_bounded_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_WAITING", 8)
    spool = Spool(tmp_path / "lines", 1000)
    for _ in range(3):
        spool.put(b"abc\n")
    assert spool.dropped == 1
    async with writing(spool):
        await handled(spool, 3)
        spool.put(b"abc\n")
        await handled(spool, 4)
    assert (spool.written, spool.dropped) == (3, 1)


async def test_a_disk_that_fails_is_told_of_once_and_used_again_when_it_works(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "away"
    spool = Spool(folder / "lines", 1000)
    with pytest.raises(FileNotFoundError):
        spool.check()
    async with writing(spool):
        for number in (1, 2):
            spool.put(b"lost\n")
            await handled(spool, number)
        assert (spool.written, spool.dropped) == (0, 2)
        folder.mkdir()
        spool.check()
        spool.put(b"kept\n")
        await handled(spool, 3)
    assert (folder / "lines").read_bytes() == b"kept\n"
    (record,) = caplog.records
    assert record.getMessage().startswith(f"lines cannot be kept in {folder / 'lines'}: [Errno 2] No such file")


async def test_a_disk_that_fills_up_leaves_no_torn_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "lines"
    spool = Spool(path, 1000)
    write = os.write

    # Room for one line, and the beginning of the next one.
    monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:8]))
    async with writing(spool):
        for line in (b"whole\n", b"torn\n", b"whole\n"):
            spool.put(line)
        await handled(spool, 3)
    assert (path.read_bytes(), spool.written, spool.dropped) == (b"whole\n", 1, 2)


async def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "other").touch()
    (tmp_path / "lines").symlink_to(tmp_path / "other")
    with pytest.raises(OSError, match="symbolic links"):
        Spool(tmp_path / "lines", 1000).check()


async def test_several_processes_keep_to_one_size_and_write_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    spools = [Spool(path, 1000), Spool(path, 1000)]
    async with writing(spools[0]), writing(spools[1]):
        for number in range(100):
            spools[number % 2].put(b"%018d\n" % number)
            await asyncio.sleep(0)
        for spool in spools:
            await handled(spool, 50)
    lines = path.read_bytes().splitlines()
    assert len(lines) == 1000 // 19 == sum(spool.written for spool in spools)
    assert {len(line) for line in lines} == {18}
    assert len(set(lines)) == len(lines)
