"""Databases of hyperscan on the disk: compiled in a process of their own, loaded in this one.

To compile thousands of patterns takes seconds and memory that is never given back: it would stand in the way of every
request. A file is known by what it was compiled from, the library and the processor, so it is never wrong, and a
restart needs no compiler. Workers that need the same one wait for the first of them.

Where there is no hyperscan that can be loaded a gateway must be able to say so: nothing of it is imported before it is
needed.
"""

import asyncio
import contextlib
import errno
import fcntl
import hashlib
import importlib
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Final

import orjson

from understudy.guard.engines import Engine, UnusableError
from understudy.guard.needles import Needle, PatternError

_SUFFIX: Final = ".hs"
# Of files that nothing has been loaded from lately so many are kept: those of the policy before last are of no use.
KEPT: Final = 32
_SECONDS: Final = 300.0
_DIGEST: Final = 32

Expressions = tuple[tuple[str, str], ...]
"""Names of patterns and what they are to hyperscan."""


class Databases:
    """Those in `folder`, which is made when there is something to put there."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def engine(self, needles: Sequence[Needle]) -> Engine:
        """The engine for these needles, once they were compiled. Takes milliseconds.

        Raises OSError if there is no file of them, or it was damaged, UnusableError where hyperscan cannot be had.
        """
        path = self._path(_expressions(needles))
        written = path.read_bytes()
        checked, database = written[:_DIGEST], written[_DIGEST:]
        if hashlib.sha256(database).digest() != checked:
            path.unlink(missing_ok=True)
            raise OSError(errno.EIO, "was damaged, and is gone now", str(path))
        with contextlib.suppress(OSError):
            os.utime(path)
        engine: Engine = _hyperscan().load(database)
        return engine

    async def compile(self, several: Sequence[Sequence[Needle]]) -> None:
        """See to it that there is a file of each of these.

        Raises PatternError for what hyperscan does not take, UnusableError where it cannot be had or its compiler dies,
        OSError where the folder, or a process, cannot be had.
        """
        missing = [each for needles in several if not self._path(each := _expressions(needles)).exists()]
        if not missing:
            return
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._tidy()
        question = self._write(orjson.dumps(missing))
        try:
            out, status = await _run(str(self._folder), str(question))
        finally:
            question.unlink(missing_ok=True)
        if out:
            raise PatternError(out.decode())
        if status:
            raise UnusableError(f"the process in which hyperscan compiles patterns ended with {status}")

    def make(self, several: Sequence[Expressions]) -> None:
        """What the process does that `compile` starts."""
        for expressions in several:
            path = self._path(expressions)
            with self._locked():
                if not path.exists():
                    database = _hyperscan().compile_expressions(expressions)
                    # A damaged database could end the process that asks it.
                    self._write(hashlib.sha256(database).digest() + database).replace(path)

    def _path(self, expressions: Expressions) -> Path:
        said = orjson.dumps([_hyperscan().kind(), [expression for _, expression in expressions]])
        return self._folder / (hashlib.sha256(said).hexdigest() + _SUFFIX)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        with (self._folder / "lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _write(self, content: bytes) -> Path:
        descriptor, path = tempfile.mkstemp(dir=self._folder, prefix=".")
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        return Path(path)

    def _tidy(self) -> None:
        found = sorted(self._folder.glob(f"*{_SUFFIX}"), key=lambda path: path.stat().st_mtime, reverse=True)
        for path in found[KEPT:]:
            path.unlink(missing_ok=True)


def _hyperscan() -> ModuleType:
    """What there is of hyperscan; raises UnusableError where that is nothing."""
    try:
        return importlib.import_module("understudy.guard.hyperscan_engine")
    except ImportError as error:
        raise UnusableError(f"hyperscan cannot be loaded here ({error})") from error


async def _run(*arguments: str) -> tuple[bytes, int]:
    """What the process says that compiles, and how it ends."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", __name__, *arguments, stdout=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(_SECONDS):
            out, _ = await process.communicate()
    except TimeoutError:
        raise PatternError(f"they take more than {_SECONDS:.0f} s to compile: write fewer, or simpler ones") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return out, process.returncode or 0


def _expressions(needles: Sequence[Needle]) -> Expressions:
    return tuple((needle.pattern.name, needle.expression) for needle in needles)


def _main() -> None:
    asked = orjson.loads(Path(sys.argv[2]).read_bytes())
    several = [tuple((name, expression) for name, expression in each) for each in asked]
    try:
        Databases(Path(sys.argv[1])).make(several)
    except PatternError as error:
        sys.stdout.write(str(error))


if __name__ == "__main__":
    _main()
