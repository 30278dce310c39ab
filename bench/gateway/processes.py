"""Processes under test: pinned, their whole tree's CPU time and memory read from /proc, ended with everything below."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
# The process under test has a core of its own; engines, load and whatever else there is share the other.
TESTED, OTHERS, BOTH = "1", "0", "0,1"


def tree(pid: int) -> list[int]:
    """The process and all its descendants."""
    found, left = [], [pid]
    while left:
        one = left.pop()
        found.append(one)
        for task in Path(f"/proc/{one}/task").glob("*/children"):
            left += [int(child) for child in task.read_text().split()]
    return found


def cpu_seconds(pids: Iterable[int]) -> float:
    """User and system time so far of all threads of the processes, to the nanosecond."""
    total = 0.0
    for pid in pids:
        with contextlib.suppress(OSError):
            # The number of a process's own clock, as clock_getcpuclockid(3) makes it; /proc counts in hundredths.
            total += time.clock_gettime((~pid << 3) | 2)
    return total


def memory_mb(pids: Iterable[int]) -> float:
    """Proportional set size in MB: shared pages count in parts."""
    total = 0
    for pid in pids:
        try:
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
        except OSError:
            continue
        total += next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
    return total / 1024


def busy_seconds() -> float:
    """Seconds that all cores together have not been idle since the machine began, steal included."""
    fields = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return (sum(fields) - fields[3] - fields[4]) / _TICKS


def idle() -> float:
    """The part of the machine that nobody used in the last quarter of a second."""
    busy, began = busy_seconds(), time.monotonic()
    time.sleep(0.25)
    cores = os.cpu_count() or 1
    return max(0.0, 1 - (busy_seconds() - busy) / (time.monotonic() - began) / cores)


def start(command: Sequence[str], cores: str, log: Path, environ: Mapping[str, str] | None = None) -> "Child":
    """Start a command on some cores; what it says goes to `log`. It does not outlive this process, whatever happens."""
    with log.open("wb") as file:
        child = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "taskset", "--cpu-list", cores, *command],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(environ or {})},
            start_new_session=True,
        )
    return Child(child, log)


class Child:
    """One started command."""

    def __init__(self, process: "subprocess.Popen[bytes]", log: Path) -> None:
        self.process = process
        self.log = log
        self.began = time.monotonic()

    @property
    def pids(self) -> list[int]:
        """It and what it has started."""
        return tree(self.process.pid)

    def stop(self) -> None:
        """End it, politely at first, and everything below it."""
        self.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(5)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
