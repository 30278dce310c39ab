"""Sends what waits in the outbox to `understudy records`, beside the requests and never in their way."""

import asyncio
import contextlib
import logging
import random
import time
from pathlib import Path
from typing import Any, Final, Literal

import orjson

from understudy.gateway import kubeapi
from understudy.gateway.outbox import Outbox
from understudy.gateway.policy.gauges import Gauges
from understudy.gateway.policy.segments import LANES

LOG: Final = logging.getLogger(__name__)
# One question's worth: bytes and lines.
BATCH_BYTES: Final = 256 * 1024
BATCH_LINES: Final = 500
_PAUSE_SECONDS: Final = 1.0
_LONGEST_PAUSE: Final = 60.0
# A file that could not be read so often in a row is not waited for any more: others wait behind it.
_READ_TRIES: Final = 3
# What comes later than that was kept back by something.
_LATE_SECONDS: Final = 60.0
FLUSH_SECONDS: Final = 3.0


class Shipper:
    """Sends lines of `outbox` to `server`, and forgets what it says that it has."""

    def __init__(self, outbox: Outbox, server: kubeapi.ApiServer) -> None:
        self.outbox = outbox
        self._server = server
        self._turn = asyncio.Lock()
        self._pause = _PAUSE_SECONDS
        self._hurried = asyncio.Event()
        self._batches: dict[str, float] = dict.fromkeys(("sent", "late", "failed"), 0)

    async def run(self) -> None:
        """Send what comes until cancelled; pause ever longer while it is not taken."""
        while True:
            self._hurried.clear()
            if await self._send() != "more":
                # Many gateways that lost the records at the same moment do not come back at the same moment.
                pause = self._pause * (0.5 + random.random())  # noqa: S311  # nobody gains by guessing it
                await self._rest(pause, wakes=self._pause == _PAUSE_SECONDS)

    def hurry(self) -> None:
        """Something waits that somebody waits for."""
        self._hurried.set()

    async def flush(self) -> None:
        """Send what is left, for some seconds: with the pod its disk goes."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FLUSH_SECONDS):
                while self.outbox.next() is not None:
                    self.outbox.seal()
                    if await self._send() == "failed":
                        await asyncio.sleep(_PAUSE_SECONDS / 4)

    def gauges(self) -> Gauges:
        """What metrics show of it, as `Plane.gauges`."""
        outbox = self.outbox
        records: dict[str, float] = {
            f"{kind} {outcome}": counted[kind]
            for kind in LANES
            for outcome, counted in (("written", outbox.written), ("dropped", outbox.dropped))
        }
        return {
            "understudy_outbox_records_total": (
                "Records for the records process, by kind and what became of them",
                records,
            ),
            "understudy_outbox_batches_total": ("Batches of records, by how they were taken", dict(self._batches)),
            "understudy_outbox_unreadable_total": (
                "Files of records that could not be read and lie aside",
                {"": float(outbox.unreadable)},
            ),
            "understudy_outbox_bytes": ("Records on the disk of this gateway", {"": float(outbox.size)}),
            "understudy_outbox_age_seconds": ("Since when the oldest record waits", {"": outbox.age()}),
        }

    async def _rest(self, seconds: float, *, wakes: bool) -> None:
        """Wait so long, or, if it `wakes`, until something is to be sent at once."""
        if not wakes:
            await asyncio.sleep(seconds)
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._hurried.wait()

    async def _send(self) -> Literal["done", "more", "failed"]:
        """Send a batch; whether that is all for now."""
        async with self._turn:
            try:
                return await self._send_first()
            except (OSError, kubeapi.ApiError, KeyError, TypeError, ValueError) as error:
                # Neither the records nor a disk that fails may end the gateway.
                self._failed(error)
                return "failed"

    async def _send_first(self) -> Literal["done", "more"]:
        segment = self.outbox.next()
        if segment is None:
            return "done"
        now, age, known = time.time(), self.outbox.age(), segment.lines
        try:
            ends, lines = await asyncio.to_thread(_read, segment.path, segment.offset)
        except FileNotFoundError:
            self.outbox.gone(segment)
            return "more"
        except OSError as error:
            segment.failures += 1
            if segment.failures < _READ_TRIES:
                raise
            self.outbox.set_aside(segment, str(error))
            return "more"
        segment.failures = 0
        if not lines:
            if segment.told < segment.lines - segment.torn:
                self.outbox.set_aside(segment, f"no line ends within {BATCH_BYTES} bytes of byte {segment.offset}")
            else:
                # Its last line has no end, and gets none.
                self.outbox.told(segment, segment.lines, segment.size)
            return "more"
        answer = await kubeapi.request(
            self._server, "POST", f"/v1/ingest/{segment.name}", {"first": segment.told, "records": lines}
        )
        taken = int(answer["next"])
        self._pause = _PAUSE_SECONDS
        self._batches["sent"] += 1
        self._batches["late"] += age > _LATE_SECONDS
        count = min(taken - segment.told, len(ends))
        if count > 0:
            since = now if segment.told + count >= known else None
            self.outbox.told(segment, segment.told + count, ends[count - 1], since)
        return "more" if segment.sealed or len(lines) == BATCH_LINES else "done"

    def _failed(self, error: Exception) -> None:
        if self._pause == _PAUSE_SECONDS:
            LOG.warning("records are not taken: %s", error or type(error).__name__)
        self._batches["failed"] += 1
        self._pause = min(2 * self._pause, _LONGEST_PAUSE)


def _read(path: Path, offset: int) -> tuple[list[int], list[Any]]:
    """Whole lines from `offset` on, and where in the file each ends."""
    with path.open("rb") as file:
        file.seek(offset)
        data = file.read(BATCH_BYTES)
    ends: list[int] = []
    lines: list[Any] = []
    for line in data[: data.rfind(b"\n") + 1].splitlines(keepends=True)[:BATCH_LINES]:
        offset += len(line)
        ends.append(offset)
        lines.append(_fragment(line))
    return ends, lines


def _fragment(line: bytes) -> Any:
    """A line as it goes into a question; one that a disk has damaged goes as null, so that its number is taken."""
    try:
        orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return orjson.Fragment(line.strip())
