"""What a step prints is all that most people will ever read of it."""

import shutil
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from local import processes, steps
from local.cli import main
from local.steps import CommandFailed, StepFailed, step


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "understudy"


def test_a_step_says_that_it_starts_and_how_long_it_took(capsys: pytest.CaptureFixture[str]) -> None:
    with step("build the thing"):
        pass
    start, end = capsys.readouterr().out.splitlines()
    assert start == "▸ build the thing"
    assert end.startswith("✓ build the thing (0.")


def test_a_failed_command_shows_step_log_and_last_lines(capsys: pytest.CaptureFixture[str], own_cache: Path) -> None:
    with pytest.raises(StepFailed, match="exit code 3"), step("Build: the thing") as current:
        current.run(["sh", "-c", "for i in $(seq 40); do echo line $i; done; exit 3"])
    said = capsys.readouterr().out
    assert "✗ Build: the thing failed after" in said
    assert f"log: {own_cache}/logs/build-the-thing.log" in said
    assert "| line 40" in said
    assert "| line 26" in said
    assert "| line 1\n" not in said


def test_a_failure_on_a_full_disk_says_that_it_is_full(
    capsys: pytest.CaptureFixture[str], own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for free, told in ((1024, True), (10**10, False)):
        monkeypatch.setattr(shutil, "disk_usage", lambda _, free=free: SimpleNamespace(free=free))
        with pytest.raises(StepFailed), step("build") as current:
            current.run(["false"])
        assert (f"there is no room left on the disk of {own_cache}" in capsys.readouterr().out) is told


def test_a_cache_that_cannot_be_written_is_one_sentence(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setenv("UNDERSTUDY_WAY", "packages")
    assert main(["tools"]) == 1
    assert capsys.readouterr().err.startswith("✗ [Errno 20]")


def test_a_failure_inside_is_reported_once(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(StepFailed), step("outer"), step("inner") as inner:
        inner.run(["false"])
    assert capsys.readouterr().out.count("✗") == 1


def test_a_program_that_is_not_there_fails_the_step(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(StepFailed), step("call") as current:
        current.run(["/nowhere/program"])
    assert "✗ call failed" in capsys.readouterr().out


def test_a_command_past_its_deadline_is_ended_with_its_children(tmp_path: Path) -> None:
    script = f"sleep 600 & echo $! > {tmp_path}/child; wait"
    # A busy machine may not have come so far before the first of them.
    for deadline in (0.3, 3, 30):
        started = time.monotonic()
        with pytest.raises(StepFailed, match="ran past its deadline"), step("slow") as current:
            current.run(["sh", "-c", script], deadline=deadline)
        assert time.monotonic() - started < 300
        if (tmp_path / "child").exists() and (tmp_path / "child").read_text():
            break
    child = int((tmp_path / "child").read_text())
    while processes.started_at(child) and time.monotonic() - started < 300:
        time.sleep(0.05)
    assert not processes.started_at(child)


def test_a_command_has_no_standard_input() -> None:
    with step("read") as current:
        current.run([sys.executable, "-c", "import sys; assert sys.stdin.read() == ''"], deadline=300)


def test_standard_input_may_be_given(tmp_path: Path) -> None:
    (tmp_path / "input").write_text("content")
    with (tmp_path / "input").open("rb") as content, step("read it") as current:
        current.run(["grep", "-q", "content"], stdin=content)


def test_waiting_names_what_it_waited_for() -> None:
    with pytest.raises(StepFailed, match="waited 0 s for the moon, in vain"), step("wait") as current:
        current.wait("the moon", lambda: False, deadline=0.05, pause=0.01)


def test_waiting_ends_when_it_is_there() -> None:
    answers = iter([False, False, True])
    with step("wait") as current:
        current.wait("the third time", lambda: next(answers), deadline=300, pause=0.001)


def test_a_long_step_shows_a_sign_of_life_without_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steps, "QUIET_PROGRESS_SECONDS", -1.0)
    with step("long") as current:
        current.progress("half way")
    assert "  … long, 0 s: half way" in capsys.readouterr().out


def test_the_log_keeps_only_the_last_run(own_cache: Path) -> None:
    for word in ("first", "second"):
        with step("speak") as current:
            current.run(["echo", word])
            current.note(f"noted {word}")
    text = (own_cache / "logs" / "speak.log").read_text()
    assert "second" in text
    assert "noted second" in text
    assert "first" not in text


def test_control_characters_of_a_log_do_not_reach_the_terminal(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"one\n\x1b[31mred\x1b[0m\x07\n10%\r100%\n\n   \n")
    assert steps.tail(log, 10) == ["one", "red", "100%"]
    assert steps.last_line(log) == "100%"


def test_commands_are_shortened_for_messages() -> None:
    assert steps.shorten(["docker", "ps"]) == "docker ps"
    assert len(steps.shorten(["x" * 500])) == 98


def test_an_interrupt_is_said_and_passed_on(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyboardInterrupt), step("long"):
        raise KeyboardInterrupt
    assert "✗ long: interrupted" in capsys.readouterr().out


def test_a_failed_command_is_an_error_of_its_own() -> None:
    assert not issubclass(CommandFailed, StepFailed)
