"""Records that wait on the disk until `understudy records` has them: what is written here survives the process.

Each process appends to segments of its own, without a buffer: a line is with the kernel before the answer that it is
about has ended. `ship.py` takes them from here.
"""

import contextlib
import errno
import fcntl
import logging
import os
import secrets
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import orjson

from understudy.gateway.policy.segments import (
    ENDED,
    LANES,
    LOST,
    MAX_LINE,
    Kind,
    Lane,
    aside_name,
    bounds,
    dropped_name,
    kind_code,
    lane_of,
    makes_way,
    name_of,
    parse_dropped,
    records_in,
)

LOG: Final = logging.getLogger(__name__)
_FLAGS: Final = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
_LOCK: Final = "lock"
_PATIENCE: Final = 3.0


@dataclass(slots=True, eq=False)
class Segment:
    """A file of `lines` lines in `size` bytes, of which `told` lines, up to the byte `offset`, need not be sent again.

    `kinds` has a byte for each line, as `kind_code` makes it: it may be all that is left of the file.
    No line that waits was written before `since`, in Unix seconds. Nothing is added to a `sealed` one; it is `torn` if
    its last line has no end. So often in a row it could not be read: `failures`.
    """

    name: str
    path: Path
    lane: Lane
    since: float
    size: int = 0
    kinds: bytearray = field(default_factory=bytearray)
    told: int = 0
    offset: int = 0
    sealed: bool = False
    torn: bool = False
    failures: int = 0

    @property
    def lines(self) -> int:
        """How many lines there are, the torn one included."""
        return len(self.kinds)


class Outbox:
    """At most `max_bytes` of records in `folder`, which no other process uses.

    `written` and `dropped` count records by kind; dropped are those that made way, or for which there was no room.
    `unreadable` counts segments that could not be read and lie aside.
    """

    def __init__(
        self, folder: Path, max_bytes: int, left: Iterable[Path] = (), wall: Callable[[], float] = time.time
    ) -> None:
        """Take over what processes before left there, and in the folders `left`.

        What cannot be read of it is set aside: a disk that fails must not keep a gateway from serving.

        Raises OSError if the folder cannot be used, or another process does.
        """
        self.unreadable = 0
        self.written: Counter[Kind] = Counter()
        self.dropped: Counter[Kind] = Counter()
        self._folder = folder
        self._bounds = bounds(max_bytes)
        self._wall = wall
        self._producer = secrets.token_hex(8)
        self._number = 0
        self._segments: dict[Lane, deque[Segment]] = {"common": deque(), "kept": deque()}
        self._sizes: dict[Lane, int] = {"common": 0, "kept": 0}
        self._open: dict[Lane, int] = {}
        # What is still to be told: segments that made way, and records that never got into one.
        self._ended: dict[str, int] = {}
        self._lost: Counter[str] = Counter()
        self._failing = False
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = os.open(folder / _LOCK, _FLAGS, 0o600)
        if not _locked(self._lock):
            os.close(self._lock)
            raise OSError(errno.EBUSY, f"{folder} is used by another process")
        for other in left:
            self._take_over_from(other)
        self._take_over()

    def put(self, kind: Kind, body: bytes) -> bool:
        """Take a record, a JSON object that is not empty; when this returns, it is with the kernel, or counted.

        Whether there was room for it.
        """
        line = b'{"kind":"' + kind.encode() + b'",' + body[1:] + b"\n"
        if self._ended or self._lost:
            self._tell()
        if len(line) <= MAX_LINE and self._write(LANES[kind], line):
            self.written[kind] += 1
            return True
        self.dropped[kind] += 1
        self._lost[kind] += 1
        return False

    def next(self) -> Segment | None:
        """The segment of which lines are to be sent first: of what must not be lost, and then the oldest."""
        if self._ended or self._lost:
            self._tell()
        for lane in ("kept", "common"):
            for segment in self._segments[lane]:
                if segment.told < segment.lines:
                    return segment
        return None

    def told(self, segment: Segment, lines: int, offset: int, since: float | None = None) -> None:
        """The first `lines` lines, which end at `offset`, are where they should be.

        The others are no older than `since`.
        """
        if lines > segment.told:
            segment.told, segment.offset = lines, offset
        if since is not None:
            segment.since = since
        whole = segment.told >= segment.lines - segment.torn
        if segment.sealed and whole and segment in self._segments[segment.lane]:
            self._segments[segment.lane].remove(segment)
            self._sizes[segment.lane] -= segment.size
            if segment.torn:
                self._ended[segment.name] = segment.lines
                self._mark_dropped(segment)
            else:
                segment.path.unlink(missing_ok=True)

    def gone(self, segment: Segment) -> None:
        """Its file is not there: either it made way in this moment, or somebody deleted it, and then it is told."""
        if segment in self._segments[segment.lane]:
            self._segments[segment.lane].remove(segment)
            self._drop(segment)

    def set_aside(self, segment: Segment, why: str) -> None:
        """Its file cannot be read: leave it to somebody who looks at the disk, and tell that its records are lost."""
        if segment in self._segments[segment.lane]:
            self._segments[segment.lane].remove(segment)
            self._leave(segment.path, why)
            # A mark in its place, so that a process that is killed before it has told leaves that to the next.
            with contextlib.suppress(OSError):
                segment.path.touch(0o600)
            self._drop(segment)

    def seal(self) -> None:
        """Add nothing more to any segment; the next record begins a new one."""
        for lane in tuple(self._open):
            self._close(lane)

    def close(self) -> None:
        """Leave the folder to the next process."""
        self.seal()
        os.close(self._lock)

    @property
    def size(self) -> int:
        """Bytes that wait, those that were sent but whose file is not at its end included."""
        return self._sizes["common"] + self._sizes["kept"]

    def age(self) -> float:
        """Seconds since the oldest record was written that waits; 0 if none does."""
        waiting = [s.since for segments in self._segments.values() for s in segments if s.told < s.lines]
        return max(0.0, self._wall() - min(waiting)) if waiting else 0.0

    def _write(self, lane: Lane, line: bytes) -> bool:
        """Append a line, with room made for it; whether that went well."""
        try:
            if not self._make_room(lane, len(line)):
                return False
            segment = self._current(lane)
            descriptor = self._open[lane]
            if os.write(descriptor, line) < len(line):
                os.ftruncate(descriptor, segment.size)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            if not self._failing:
                LOG.warning("records cannot be kept in %s: %s", self._folder, error)
            self._failing = True
            return False
        self._failing = False
        if segment.told == segment.lines:
            segment.since = self._wall()
        segment.size += len(line)
        segment.kinds.append(kind_code(line, lane))
        self._sizes[lane] += len(line)
        if segment.size >= self._bounds.segment:
            self._close(lane)
        return True

    def _make_room(self, lane: Lane, adding: int) -> bool:
        sizes, within = self._sizes, self._bounds
        if sizes["common"] + sizes["kept"] + adding <= within.whole and sizes["common"] + adding <= within.common:
            return True
        common = self._segments["common"]
        gone = makes_way([segment.size for segment in common], sizes["kept"], adding, lane, within)
        for _ in range(gone or 0):
            self._drop(common.popleft())
        return gone is not None

    def _drop(self, segment: Segment) -> None:
        if not segment.sealed:
            # It is the only one, hence the one that is open.
            os.close(self._open.pop(segment.lane))
            segment.sealed = True
        self._sizes[segment.lane] -= segment.size
        if segment.told == segment.lines:
            segment.path.unlink(missing_ok=True)
            return
        self.dropped.update(records_in(segment.kinds[segment.told :]))
        self._ended[segment.name] = segment.lines
        self._mark_dropped(segment)

    def _mark_dropped(self, segment: Segment) -> None:
        """Have the file say that it made way, before it is emptied: a process that is killed now tells it later."""
        marked = segment.path.with_name(dropped_name(segment.name, segment.lines))
        # Where somebody has deleted it already there is none to mark.
        with contextlib.suppress(FileNotFoundError):
            segment.path.rename(marked)
            os.truncate(marked, 0)

    def _tell(self) -> None:
        """Write down what was lost, where there is room for that."""
        for name, lines in tuple(self._ended.items()):
            if not self._write("kept", _line(ENDED, segment=name, lines=lines)):
                return
            del self._ended[name]
            # A file that cannot be deleted is told once more by the next process, which changes nothing.
            with contextlib.suppress(OSError):
                (self._folder / dropped_name(name, lines)).unlink()
        for kind, count in tuple(self._lost.items()):
            if not self._write("kept", _line(LOST, of=kind, count=count)):
                return
            del self._lost[kind]

    def _current(self, lane: Lane) -> Segment:
        """The segment that a line is to be added to."""
        if lane not in self._open:
            self._number += 1
            name = name_of(self._producer, lane, self._number)
            self._open[lane] = os.open(self._folder / name, _FLAGS, 0o600)
            self._segments[lane].append(Segment(name, self._folder / name, lane, self._wall()))
        return self._segments[lane][-1]

    def _close(self, lane: Lane) -> None:
        descriptor = self._open.pop(lane, None)
        if descriptor is not None:
            os.close(descriptor)
            self._segments[lane][-1].sealed = True

    def _take_over_from(self, other: Path) -> None:
        """Have the files of a process that is not there any more."""
        try:
            for path in other.iterdir():
                path.rename(self._folder / path.name) if path.name != _LOCK else path.unlink()
            other.rmdir()
        except OSError as error:
            # The rest is for the next start.
            LOG.warning("what lies in %s cannot be taken over: %s", other, error)

    def _take_over(self) -> None:
        """Find what the process before left: it did not live to send it."""
        found: list[Segment] = []
        for path in self._folder.iterdir():
            lane = lane_of(path.name)
            dropped = parse_dropped(path.name)
            if dropped is not None:
                self._ended[dropped[0]] = dropped[1]
            elif lane is not None:
                try:
                    found.append(_left(path, lane))
                except OSError as error:
                    # How many lines it has nobody can say any more.
                    self._leave(path, str(error))
        for segment in sorted(found, key=lambda segment: (segment.since, segment.name)):
            if segment.lines:
                self._segments[segment.lane].append(segment)
                self._sizes[segment.lane] += segment.size
                self.told(segment, 0, 0)
            else:
                with contextlib.suppress(OSError):
                    segment.path.unlink()

    def _leave(self, path: Path, why: str) -> None:
        """Call a file what no process takes over."""
        LOG.warning("records in %s cannot be read, and are left to lie as %s: %s", path, aside_name(path.name), why)
        self.unreadable += 1
        with contextlib.suppress(OSError):
            path.rename(path.with_name(aside_name(path.name)))


def _left(path: Path, lane: Lane) -> Segment:
    """A segment of a process that is not there any more; raises OSError."""
    data = path.read_bytes()
    torn = not data.endswith(b"\n") and bool(data)
    lines = data.split(b"\n")[: data.count(b"\n") + torn]
    kinds = bytearray(kind_code(line, lane) for line in lines)
    return Segment(path.name, path, lane, path.stat().st_mtime, len(data), kinds, sealed=True, torn=torn)


def _locked(descriptor: int) -> bool:
    """Whether the lock could be had; a process that was killed takes a moment to be gone."""
    end = time.monotonic() + _PATIENCE
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= end:
                return False
            time.sleep(0.05)
        else:
            return True


def _line(kind: str, **more: str | int) -> bytes:
    return orjson.dumps({"kind": kind, **more}, option=orjson.OPT_APPEND_NEWLINE)
