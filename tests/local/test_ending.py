"""Whoever ends a run ends its build too: hours of compiling must not go on unseen."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from local import processes
from local.cache import REPOSITORY

SCRIPT = """
import signal, sys
from local import cli
from local.steps import step

def long(_):
    with step("build") as current:
        current.run(["sh", "-c", "echo $$ > child; sleep 60"])

# A shell that runs the tests in the background has this one ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
cli.run = long
sys.exit(cli.main(["cluster"]))
"""


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT])
def test_a_run_that_is_told_to_end_ends_its_build(tmp_path: Path, sign: signal.Signals) -> None:
    environment = {"XDG_CACHE_HOME": str(tmp_path), "PYTHONPATH": str(REPOSITORY), "PATH": "/usr/bin:/bin"}
    with subprocess.Popen([sys.executable, "-c", SCRIPT], cwd=tmp_path, env=environment) as run:
        end = time.monotonic() + 20
        while not (tmp_path / "child").exists() or not (tmp_path / "child").read_text():
            assert time.monotonic() < end
            time.sleep(0.05)
        child = int((tmp_path / "child").read_text())
        run.send_signal(sign)
        assert run.wait(20) in (130, 143)
    assert not processes.started_at(child)
