"""One run at a time: two that build the same image or create the same cluster would end each other's work."""

import fcntl
import functools
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, ParamSpec, TypeVar

from local import cache

DEADLINE = 3600.0
P = ParamSpec("P")
R = TypeVar("R")
_held: list[IO[str]] = []


@contextmanager
def held() -> Iterator[None]:
    """Hold the lock for the block; within a process it may be taken again. Raises TimeoutError after an hour's wait."""
    if _held:
        yield
        return
    with (cache.folder("run") / "lock").open("w") as file:
        _wait(file)
        _held.append(file)
        try:
            yield
        finally:
            _held.clear()


def alone(function: Callable[P, R]) -> Callable[P, R]:
    """Run the function only while no other process runs one that is marked like this."""

    @functools.wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        with held():
            return function(*args, **kwargs)

    return wrapped


def _wait(file: IO[str]) -> None:
    end = time.monotonic() + DEADLINE
    said = False
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > end:
                raise TimeoutError(f"another run of `python3 -m local` has held {file.name} for an hour") from None
            if not said:
                print("… another run of `python3 -m local` is at work, waiting for it to end", flush=True)
                said = True
            time.sleep(0.2)
        else:
            return
