"""Whoever ends a run ends its build too: hours of compiling must not go on unseen."""

import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from local import processes
from local.cache import REPOSITORY

# With "at once" the signal comes while the command is being started, before anybody knows its number.
SCRIPT = """
import os, signal, subprocess, sys
from local import cli
from local.steps import step

def long(_):
    with step("build") as current:
        current.run(["sh", "-c", "echo $$ > child; sleep 600"])

# A shell that runs the tests in the background has this one ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
if sys.argv[1] == "at once":
    start = subprocess.Popen
    def interrupted(*words, **how):
        process = start(*words, **how)
        os.kill(os.getpid(), int(sys.argv[2]))
        return process
    subprocess.Popen = interrupted
cli.run = long
sys.exit(cli.main(["cluster"]))
"""


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("when", ["at once", "later"])
def test_a_run_that_is_told_to_end_ends_its_build(tmp_path: Path, sign: signal.Signals, when: str) -> None:
    environment = {"XDG_CACHE_HOME": str(tmp_path), "PYTHONPATH": str(REPOSITORY), "PATH": "/usr/bin:/bin"}
    command = [sys.executable, "-c", SCRIPT, when, str(int(sign))]
    with subprocess.Popen(command, cwd=tmp_path, env=environment) as run:
        if when == "later":
            end = time.monotonic() + 120
            while not (tmp_path / "child").exists() or not (tmp_path / "child").read_text():
                assert time.monotonic() < end
                time.sleep(0.05)
            run.send_signal(sign)
        assert run.wait(120) in (130, 143)
    # Ended before it could say its number, if the signal came at once.
    told = (tmp_path / "child").read_text() if (tmp_path / "child").exists() else ""
    assert not told or not processes.started_at(int(told))
    # Who was killed is there until the machine finds a moment for its end.
    end = time.monotonic() + 120
    while sleeping(tmp_path):
        assert time.monotonic() < end
        time.sleep(0.05)


def sleeping(folder: Path) -> list[str]:
    """The processes that work in `folder`."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if (entry / "cwd").readlink() == folder:
                found.append(entry.name)
    return found
