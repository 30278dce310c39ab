"""Records on their way to `understudy records`: which kinds there are, how files of them are called, what makes way.

Records wait in segments, files that are only appended to. Requests come by the thousand, and of them the oldest make
way when there is no room; of what must not be lost a part of the room is kept free of them.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

Kind = Literal["request", "violation", "crisis", "engagement", "sign"]
Lane = Literal["common", "kept"]
LANES: Final[dict[Kind, Lane]] = {
    "request": "common",
    "violation": "kept",
    "crisis": "kept",
    "engagement": "common",
    "sign": "kept",
}
# What a line may say beside records: that nothing more comes of a segment, or that records never got into one.
ENDED: Final = "ended"
LOST: Final = "lost"
# In which a record is a line at most so long, with its line feed.
MAX_LINE: Final = 65_536
# What is taken for the kind of a line that a disk has damaged: what there is most of in its lane.
_USUAL: Final[dict[Lane, Kind]] = {"common": "request", "kept": "violation"}
_KINDS: Final = tuple(LANES)
_NO_RECORD: Final = len(_KINDS)
_CODES: Final[dict[bytes, int]] = {kind.encode(): code for code, kind in enumerate((*_KINDS, ENDED))} | {
    LOST.encode(): _NO_RECORD
}
_KIND: Final = re.compile(rb'\{"kind":"([a-z]+)"')
_LETTER: Final[dict[Lane, str]] = {"common": "c", "kept": "k"}
_LANE: Final[dict[str, Lane]] = {letter: lane for lane, letter in _LETTER.items()}
_NAME: Final = re.compile(r"[0-9a-f]{16}-([ck])[0-9]{8}")
_DROPPED: Final = re.compile(r"([0-9a-f]{16}-[ck][0-9]{8})\.([0-9]{1,9})")
_SHARES: Final = 32
_SMALLEST: Final = 4096
_LARGEST: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Bounds:
    """How many bytes there may be: of records that make way, of all together, and in one segment of theirs."""

    common: int
    whole: int
    segment: int


def bounds(most: int) -> Bounds:
    """Of `most` bytes, a quarter is kept for what must not be lost."""
    return Bounds(most - most // 4, most, min(_LARGEST, max(_SMALLEST, most // _SHARES)))


def name_of(producer: str, lane: Lane, number: int) -> str:
    """The name of a segment; `producer` is 16 hexadecimal digits, drawn by each process."""
    return f"{producer}-{_LETTER[lane]}{number:08d}"


def lane_of(name: str) -> Lane | None:
    """The lane of a segment by its name; None for what is no segment's name."""
    found = _NAME.fullmatch(name)
    return None if found is None else _LANE[found[1]]


def dropped_name(name: str, lines: int) -> str:
    """What a segment is called that made way, until that has been told."""
    return f"{name}.{lines}"


def parse_dropped(name: str) -> tuple[str, int] | None:
    """The segment and its lines, of a name as `dropped_name` makes it."""
    found = _DROPPED.fullmatch(name)
    return None if found is None else (found[1], int(found[2]))


def aside_name(name: str) -> str:
    """What a segment is called that cannot be read: it is left to somebody who looks at the disk."""
    return f"{name}.unreadable"


def kind_code(line: bytes, lane: Lane) -> int:
    """The byte that stands for a line's kind: of each line that waits its kind has to be known when it makes way."""
    found = _KIND.match(line)
    code = _CODES.get(found[1]) if found is not None else None
    return _CODES[_USUAL[lane].encode()] if code is None else code


def records_in(codes: bytes | bytearray) -> Counter[Kind]:
    """How many records of each kind there are among lines; those that tell of other lines are none."""
    return Counter({kind: codes.count(code) for code, kind in enumerate(_KINDS)})


def makes_way(sizes: Sequence[int], kept: int, adding: int, lane: Lane, within: Bounds) -> int | None:
    """How many of the common segments, of `sizes` from the oldest on, must go before `adding` bytes have room.

    None if they never have: `kept` bytes are taken by what does not make way.
    """
    common = sum(sizes)
    for gone in range(len(sizes) + 1):
        fits = common + kept + adding <= within.whole
        if fits and (lane == "kept" or common + adding <= within.common):
            return gone
        common -= sizes[gone] if gone < len(sizes) else 0
    return None
