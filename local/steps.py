"""Steps that say what they do, how long they took and, when they fail, where to read why.

A long build must look alive, and a failure must name its step and its log: whoever runs this has not read the code.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from local import cache

QUIET_PROGRESS_SECONDS = 20.0
TAIL_LINES = 15
FULL_BYTES = 16 * 1024 * 1024
Input = IO[bytes] | None


class StepFailed(Exception):  # noqa: N818  # says what happened, like a condition's reason
    """A step that did not succeed; its message has been printed already, with the log's last lines."""


class CommandFailed(Exception):  # noqa: N818  # same
    """A command that ended with an error or ran past its deadline."""


class Step:
    """One step under way: runs commands with their output in the step's log."""

    def __init__(self, name: str, log: Path) -> None:
        self.name = name
        self.log = log
        self.started = time.monotonic()
        self._shown = self.started

    @property
    def elapsed(self) -> float:
        """Seconds since the step began."""
        return time.monotonic() - self.started

    def run(
        self,
        command: Sequence[str | Path],
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        stdin: Input = None,
        deadline: float = 1800.0,
    ) -> None:
        """Run a command to its end; raises CommandFailed on an error or after `deadline` seconds."""
        words = [str(word) for word in command]
        with self.log.open("ab") as log:
            log.write(f"$ {' '.join(words)}\n".encode())
            log.flush()
            process = None
            try:
                with signals_held():
                    process = subprocess.Popen(
                        words,
                        env={**os.environ, **(env or {})},
                        cwd=cwd,
                        stdin=stdin or subprocess.DEVNULL,
                        stdout=log,
                        stderr=subprocess.STDOUT,
                        start_new_session=True,
                    )
                self._follow(process, words, time.monotonic() + deadline)
            finally:
                if process is not None:
                    end_group(process)

    def wait(self, what: str, ready: Callable[[], bool], *, deadline: float, pause: float = 0.5) -> None:
        """Wait until `ready()`; raises CommandFailed, naming `what`, after `deadline` seconds."""
        end = time.monotonic() + deadline
        while not ready():
            if time.monotonic() > end:
                raise CommandFailed(f"waited {deadline:.0f} s for {what}, in vain")
            self.progress(f"waiting for {what}")
            time.sleep(pause)

    def progress(self, text: str) -> None:
        """Show a sign of life: one line rewritten on a terminal, a line now and then elsewhere."""
        if sys.stdout.isatty():
            width = max(20, terminal_width() - 12)
            print(f"\r\033[K  … {self.elapsed:4.0f} s {text[:width]}", end="", flush=True)
        elif time.monotonic() - self._shown > QUIET_PROGRESS_SECONDS:
            self._shown = time.monotonic()
            print(f"  … {self.name}, {self.elapsed:.0f} s: {text[:160]}", flush=True)

    def note(self, text: str) -> None:
        """Put a line into the step's log."""
        with self.log.open("a") as log:
            log.write(f"{text}\n")

    def _follow(self, process: subprocess.Popen[bytes], words: Sequence[str], end: float) -> None:
        pause = 0.02
        while True:
            try:
                code = process.wait(timeout=pause)
            except subprocess.TimeoutExpired:
                pause = min(1.0, pause * 2)
                if time.monotonic() > end:
                    raise CommandFailed(f"`{shorten(words)}` ran past its deadline") from None
                if pause == 1.0:
                    self.progress(last_line(self.log))
                continue
            if code != 0:
                raise CommandFailed(f"`{shorten(words)}` ended with exit code {code}")
            return


@contextmanager
def step(name: str) -> Iterator[Step]:
    """Run the block as a named step: prints its start, and the time it took or, after a failure, the log's end.

    Raises StepFailed after a failure has been printed; a step inside a step is reported once, by the inner one.
    """
    log = cache.folder("logs") / f"{slug(name)}.log"
    log.write_text(time.strftime("%Y-%m-%d %H:%M:%S\n"))
    current = Step(name, log)
    print(f"▸ {name}", flush=True)
    try:
        yield current
    except StepFailed:
        raise
    except KeyboardInterrupt:
        print(f"{line_start()}✗ {name}: interrupted after {current.elapsed:.1f} s", flush=True)
        raise
    except Exception as error:
        print(f"{line_start()}✗ {name} failed after {current.elapsed:.1f} s: {error}\n  log: {log}", flush=True)
        for line in tail(log, TAIL_LINES):
            print(f"  | {line}", flush=True)
        # A log on a full disk ends before the line that would say so.
        if shutil.disk_usage(log.parent).free < FULL_BYTES:
            print(f"  there is no room left on the disk of {cache.root()}", flush=True)
        raise StepFailed(f"{name}: {error}") from error
    print(f"{line_start()}✓ {name} ({current.elapsed:.1f} s)", flush=True)


@contextmanager
def signals_held() -> Iterator[None]:
    """Let a request to end wait for the end of the block: a command of which nobody knows the number runs on.

    By handlers and not by a mask, which the command would inherit.
    """
    held: list[int] = []
    before = {
        sign: signal.signal(sign, lambda number, _: held.append(number)) for sign in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for sign, handler in before.items():
            signal.signal(sign, handler)
    for number in held:
        signal.raise_signal(number)


def end_group(process: subprocess.Popen[bytes]) -> None:
    """End a command that was started in a session of its own, with its children, if it still runs."""
    if process.poll() is not None:
        return
    for sign, grace in ((signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0)):
        try:
            os.killpg(process.pid, sign)
            process.wait(timeout=grace)
            return
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue


def slug(name: str) -> str:
    """A step's name as a file name."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def tail(log: Path, count: int) -> list[str]:
    """The last lines of a log, without control characters that would disturb a terminal."""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 64 * 1024))
        text = file.read().decode(errors="replace")
    lines = [
        re.sub(r"\x1b\[[0-9;]*[A-Za-z]|[\x00-\x08\x0b-\x1f]", "", line.split("\r")[-1]) for line in text.split("\n")
    ]
    return [line.rstrip() for line in lines if line.strip()][-count:]


def last_line(log: Path) -> str:
    """The last line of a log that says anything."""
    return "".join(tail(log, 1))


def shorten(words: Sequence[str]) -> str:
    """A command for a message: whole when short, its beginning otherwise."""
    text = " ".join(words)
    return text if len(text) <= 100 else f"{text[:97]}…"


def line_start() -> str:
    """What clears a progress line on a terminal."""
    return "\r\033[K" if sys.stdout.isatty() else ""


def terminal_width() -> int:
    """Columns of the terminal, 100 where it does not say."""
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or 100
    except (OSError, ValueError):
        return 100
