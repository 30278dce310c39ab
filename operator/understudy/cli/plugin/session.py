"""What a command runs in: the cluster, the terminal, the clock. Tests put their own in."""

import asyncio
import os
import shutil
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TextIO

from understudy.cli.plugin.cluster import Reader
from understudy.cli.plugin.screen import Screen
from understudy.kube.client import KubeClient


@dataclass(frozen=True, slots=True)
class Session:
    """One run of a command; `namespace` is "" for all of them, `now` gives Unix seconds."""

    client: KubeClient
    namespace: str
    out: TextIO
    now: Callable[[], float]
    sleep: Callable[[float], Awaitable[None]]

    @property
    def reader(self) -> Reader:
        """Reads the session's namespace."""
        return Reader(self.client, self.namespace)

    @property
    def screen(self) -> Screen:
        """The terminal as it is now: people resize it while they watch."""
        return terminal(self.out)

    @property
    def where(self) -> str:
        """The session's namespace, for a sentence."""
        return f"namespace {self.namespace}" if self.namespace else "any namespace"

    def show(self, lines: list[str]) -> None:
        """Lines to the terminal."""
        self.out.write("\n".join(lines) + "\n")
        self.out.flush()


def terminal(out: TextIO) -> Screen:
    """The screen that `out` is: nothing is wrapped or coloured that is not a terminal; NO_COLOR is honoured."""
    tty = out.isatty()
    encoding = (getattr(out, "encoding", "") or "").lower().replace("-", "")
    return Screen(
        width=shutil.get_terminal_size().columns if tty else 0,
        colour=tty and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb",
        blocks=encoding in ("utf8", ""),
    )


def stdout() -> TextIO:
    """Standard output, as it is at the time of the call."""
    return sys.stdout


def clock() -> float:
    """Unix seconds."""
    return time.time()


async def pause(seconds: float) -> None:
    """Let time go by."""
    await asyncio.sleep(seconds)
