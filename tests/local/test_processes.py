"""Only processes that were started here may be ended, and a number alone does not tell them."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from local import dockerd, processes


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    yield tmp_path / "understudy"
    processes.stop("daemon", grace=1)


def test_a_started_process_runs_until_it_is_stopped(tmp_path: Path) -> None:
    pid = processes.start("daemon", ["sleep", "60"], tmp_path / "log")
    assert pid == processes.running("daemon")
    assert processes.stop("daemon")
    assert processes.running("daemon") is None
    assert not processes.stop("daemon")


@pytest.mark.slow
def test_a_process_that_ignores_the_request_is_ended_by_force(tmp_path: Path) -> None:
    script = "trap '' TERM; echo ready; while :; do sleep 0.1; done"
    processes.start("daemon", ["sh", "-c", script], tmp_path / "log")
    while "ready" not in (tmp_path / "log").read_text():
        pass
    assert processes.stop("daemon", grace=0.5)
    assert processes.running("daemon") is None


def test_a_stranger_under_the_recorded_number_is_left_alone(own_cache: Path) -> None:
    with subprocess.Popen(["sleep", "60"]) as stranger:
        (own_cache / "run").mkdir(parents=True)
        (own_cache / "run" / "daemon").write_text(f"{stranger.pid} 1\n")
        assert processes.running("daemon") is None
        assert not processes.stop("daemon")
        assert stranger.poll() is None
        stranger.kill()


@pytest.mark.parametrize("record", ["", "words", "1 2 3", "0 0"])
def test_a_damaged_record_is_no_process(own_cache: Path, record: str) -> None:
    (own_cache / "run").mkdir(parents=True)
    (own_cache / "run" / "daemon").write_text(record)
    assert processes.running("daemon") is None


def test_a_pid_file_is_stale_when_its_program_is_gone(tmp_path: Path) -> None:
    file = tmp_path / "daemon.pid"
    assert not dockerd.stale(file, "dockerd")
    file.write_text("no number")
    assert dockerd.stale(file, "dockerd")
    file.write_text(str(os.getpid()))
    assert dockerd.stale(file, "dockerd")
    assert not dockerd.stale(file, processes.program(os.getpid()))
