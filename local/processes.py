"""Processes that this package started, recorded so that it ends those and no others.

A recorded number alone may belong to a stranger by now: the start time that the kernel keeps tells them apart.
"""

import os
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from local import cache

# Held so that Python does not warn of processes meant to outlive it, and to reap those stopped in the same run.
_children: dict[str, subprocess.Popen[bytes]] = {}


def start(name: str, command: Sequence[str | Path], log: Path) -> int:
    """Start a process that outlives this one, with its output appended to `log`; returns its number."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    _children[name] = process
    cache.put(_record(name), f"{process.pid} {started_at(process.pid)}\n")
    return process.pid


def running(name: str) -> int | None:
    """The number of the process recorded under this name, if it still runs."""
    try:
        pid, start_time = _record(name).read_text().split()
    except (OSError, ValueError):
        return None
    return int(pid) if start_time != "0" and started_at(int(pid)) == int(start_time) else None


def stop(name: str, grace: float = 20.0) -> bool:
    """End the process recorded under this name, by force after `grace` seconds; False when none runs."""
    pid = running(name)
    if pid is not None:
        for sign in (signal.SIGTERM, signal.SIGKILL):
            os.kill(pid, sign)
            end = time.monotonic() + grace
            while running(name) and time.monotonic() < end:
                time.sleep(0.1)
            if not running(name):
                break
    if child := _children.pop(name, None):
        child.poll()
    _record(name).unlink(missing_ok=True)
    return pid is not None


def started_at(pid: int) -> int:
    """The kernel's start time of a process in clock ticks since boot; 0 when it is gone or a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return 0 if fields[0] == "Z" else int(fields[19])


def program(pid: int) -> str:
    """The name of the program that runs under this number, "" when none does."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def _record(name: str) -> Path:
    return cache.root() / "run" / name
