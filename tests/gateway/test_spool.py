"""The spool: bounded on the disk and before it, never in the way, and told about when it loses something."""

import asyncio
import os
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
    assert record.getMessage().startswith(
        f"texts of pairs cannot be kept in {folder / 'lines'}: [Errno 2] No such file"
    )


async def test_a_disk_that_fills_up_leaves_no_torn_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "lines"
    spool = Spool(path, 1000)
    write = os.write

    def half(descriptor: int, data: bytes) -> int:
        return write(descriptor, data if data == b"whole\n" else data[:3])

    monkeypatch.setattr(os, "write", half)
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
