"""Matching by hyperscan in its streaming mode: all patterns at once, however the text is cut.

The binding (0.9.1) has to be handled with care, and is handled here only:
- a stream borrows its callback and its database: without another reference to either the process dies;
- `Stream.size()` kills the process, and so does a scan of a stream that was closed; one that is dropped without
  `close()` leaks its native state;
- an exception in a callback, of whatever kind, ends the scan as ScanTerminated, and the rest of the text is not looked
  at: that is a failure of the detector, never an answer;
- of some expressions, `(?:e.|x)\\s` for one, a match is lost for ever that ends with the last byte of a scan of more
  than 16 bytes: none is longer.
"""

from collections.abc import Sequence
from functools import cache
from typing import Final

import hyperscan

from understudy.guard.engines import EngineError, UnusableError
from understudy.guard.needles import Needle, PatternError

_FLAGS: Final = hyperscan.HS_FLAG_UTF8
_LONGEST_SCAN: Final = 16


class HyperscanEngine:
    """A compiled database with its scratch space. For one thread."""

    def __init__(self, database: hyperscan.Database) -> None:
        self._database = database

    def open(self) -> "HyperscanMatcher":
        """A stream from its beginning."""
        return HyperscanMatcher(self._database)


class HyperscanMatcher:
    """One stream in one view."""

    __slots__ = ("_bytes", "_chars", "_database", "_hits", "_note", "_open", "_stream")

    def __init__(self, database: hyperscan.Database) -> None:
        hits: list[tuple[int, int]] = []

        def note(number: int, _start: int, end: int, _flags: int, _context: object) -> None:
            hits.append((end, number))

        # The stream borrows the callback and the database: they live as long as it does.
        self._database = database
        self._hits = hits
        self._note = note
        self._stream = database.stream(match_event_handler=note)
        self._stream.__enter__()
        self._open = True
        self._bytes = 0
        self._chars = 0

    def scan(self, chars: str) -> list[tuple[int, int]]:
        """Raises EngineError when the engine does: nothing more may be asked then."""
        if not self._open:
            raise EngineError("hyperscan was asked about a stream that was closed")
        encoded = chars.encode()
        hits, bytes_before, chars_before = self._hits, self._bytes, self._chars
        self._bytes += len(encoded)
        self._chars += len(chars)
        try:
            for at in range(0, len(encoded), _LONGEST_SCAN):
                self._stream.scan(encoded[at : at + _LONGEST_SCAN])
        except hyperscan.error as error:
            raise EngineError(f"hyperscan ended a scan: {type(error).__name__}") from error
        if not hits:
            return []
        found = sorted(set(hits))
        hits.clear()
        if len(encoded) == len(chars):
            return [(number, end - bytes_before + chars_before) for end, number in found]
        return [(number, chars_before + len(encoded[: end - bytes_before].decode())) for end, number in found]

    def close(self) -> None:
        """Free the native state."""
        if self._open:
            self._open = False
            self._stream.__exit__(None, None, None)

    def __del__(self) -> None:
        self.close()


@cache
def kind() -> str:
    """Which databases this library loads on this processor: its version, and what the processor has.

    Raises UnusableError where the library does not run.
    """
    database = hyperscan.Database(mode=hyperscan.HS_MODE_STREAM)
    try:
        _compile(database, ["a"])
    except hyperscan.error as error:
        raise UnusableError(f"hyperscan does not run on this processor ({error})") from error
    return str(database.info())


def compile_expressions(named: Sequence[tuple[str, str]]) -> bytes:
    """The database for expressions by the names of their patterns, to be loaded on processors of the same kind.

    Takes seconds for thousands. Raises PatternError, naming the one that hyperscan does not take.
    """
    database = hyperscan.Database(mode=hyperscan.HS_MODE_STREAM)
    try:
        _compile(database, [expression for _, expression in named])
    except hyperscan.error as error:
        for name, expression in named:
            _try(name, expression)
        raise PatternError(f"hyperscan does not take these {len(named)} patterns together: {error}") from error
    return bytes(hyperscan.dumpb(database))


def compile_needles(needles: Sequence[Needle]) -> bytes:
    """The database for these needles, as `compile_expressions`."""
    return compile_expressions([(needle.pattern.name, needle.expression) for needle in needles])


def load(database: bytes) -> HyperscanEngine:
    """An engine from what `compile_needles` made. Takes milliseconds. Raises UnusableError for what it did not make."""
    try:
        loaded = hyperscan.loadb(database, hyperscan.HS_MODE_STREAM)
        loaded.scratch = hyperscan.Scratch(loaded)
    except hyperscan.error as error:
        raise UnusableError(f"not a database of this library for this processor ({error})") from error
    return HyperscanEngine(loaded)


def hyperscan_engine(needles: Sequence[Needle]) -> HyperscanEngine:
    """Compile and load in one."""
    return load(compile_needles(needles))


def _compile(database: hyperscan.Database, expressions: Sequence[str]) -> None:
    encoded = [expression.encode() for expression in expressions]
    count = len(encoded)
    database.compile(expressions=encoded, ids=list(range(count)), elements=count, flags=[_FLAGS] * count)


def _try(name: str, expression: str) -> None:
    try:
        _compile(hyperscan.Database(mode=hyperscan.HS_MODE_STREAM), [expression])
    except hyperscan.error as error:
        raise PatternError(f"pattern {name!r}: hyperscan does not take it ({error}): write it simpler") from error
