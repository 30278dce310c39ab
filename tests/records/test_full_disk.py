"""A disk of its own that is full: what was answered is there, what was not is taken when there is room again."""

import itertools
from pathlib import Path
from typing import Any

import pytest

from tests.records.serving import Records, lease, process, question
from tests.records.test_ingest import SEGMENT, line

_BATCH = 200


def on_a_disk_of(size: str, folder: Path) -> tuple[str, ...]:
    """Words that give what follows them a small disk in the place of a folder, which nobody else sees."""
    mounts = 'mount -t tmpfs -o size="$0" none "$1" && shift && exec "$@"'
    return ("unshare", "--user", "--map-root-user", "--mount", "sh", "-c", mounts, size, str(folder))


def fill(folder: Path, room: int) -> Path:
    """Leave so many bytes of a disk; the file that takes the others."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            file.truncate(file.tell() - room)
    return ballast


def batch(first: int) -> dict[str, Any]:
    return {"first": first, "records": [line(number) for number in range(first, first + _BATCH)]}


async def bring(r: Records, first: int) -> tuple[int, Any]:
    return await r.ask("POST", f"/v1/ingest/{SEGMENT}", batch(first))


@pytest.mark.slow
async def test_nothing_is_lost_on_a_full_disk_and_it_goes_on_when_there_is_room(tmp_path: Path) -> None:
    folder = tmp_path / "disk"
    folder.mkdir()
    async with process(folder, "--auth=none", within=on_a_disk_of("8m", folder)) as r:
        assert r.child is not None
        ballast = fill(Path(f"/proc/{r.child.pid}/root{folder}"), room=400_000)
        granted = 0
        for first in itertools.count(0, _BATCH):
            status, answer = await bring(r, first)
            if status != 200:
                break
            assert answer == {"next": first + _BATCH, "stored": _BATCH, "rejected": 0}
        assert (status, answer["error"]["code"]) == (503, "disk_full")
        for number in range(1, 500):
            status, answer = await r.ask("POST", lease(number), question(want=1, holder="h" * 128))
            if status != 200:
                break
            granted += 1
        assert (status, answer["error"]["code"]) == (503, "disk_full")
        # What was answered can be read meanwhile,
        status, answer = await r.ask("GET", "/v1/requests?limit=1")
        assert (status, len(answer["items"])) == (200, 1 if first else 0)
        assert (await r.ask("GET", "/healthz"))[0] == 200
        # and what was not is taken as soon as there is room, once.
        ballast.unlink()
        for again in (first, first):
            assert (await bring(r, again))[1]["next"] == first + _BATCH
        assert (await r.ask("GET", "/v1/ingest"))[1]["stored"] == first + _BATCH
        status, answer = await r.ask("POST", lease(1_000), question(want=1))
        assert (status, answer["granted"]) == (200, 1)
        # Whether or not some of them have lapsed by now.
        shown = (await r.ask("GET", "/v1/ledger/accounts"))[1]["accounts"][0]
        assert shown["open"] + shown["settled"] == granted + 1
        metrics = (await r.ask("GET", "/metrics"))[1]
        assert 'understudy_records_failures_total{why="disk_full"}' in metrics
