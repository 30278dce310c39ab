"""Two runs at the same time would end each other's work."""

import multiprocessing
import time
from pathlib import Path

import pytest

from local import lock


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


@lock.alone
def note(path: Path, word: str) -> None:
    """Write the word, be slow, write it again."""
    for _ in range(2):
        with path.open("a") as file:
            file.write(word)
        time.sleep(0.2)


@pytest.mark.slow
def test_marked_functions_of_two_processes_do_not_overlap(tmp_path: Path) -> None:
    path = tmp_path / "words"
    context = multiprocessing.get_context("fork")
    others = [context.Process(target=note, args=(path, word)) for word in "ab"]
    for other in others:
        other.start()
    for other in others:
        other.join()
    assert path.read_text() in ("aabb", "bbaa")


def test_a_marked_function_may_call_another(tmp_path: Path) -> None:
    with lock.held():
        note(tmp_path / "words", "a")
    assert (tmp_path / "words").read_text() == "aa"


def test_the_lock_is_free_after_a_failure(tmp_path: Path) -> None:
    @lock.alone
    def fail() -> None:
        raise OSError("broken")

    with pytest.raises(OSError, match="broken"):
        fail()
    note(tmp_path / "words", "b")
    assert (tmp_path / "words").read_text() == "bb"


def test_waiting_has_an_end(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(lock, "DEADLINE", 0.3)
    context = multiprocessing.get_context("fork")
    ready = context.Event()
    over = context.Event()

    def hold() -> None:
        with lock.held():
            ready.set()
            over.wait(120)

    other = context.Process(target=hold)
    other.start()
    assert ready.wait(120)
    with pytest.raises(TimeoutError, match="another run"):
        note(tmp_path / "words", "c")
    over.set()
    other.join()
    assert capsys.readouterr().out.count("waiting for it to end") == 1
