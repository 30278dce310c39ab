"""What is made once in the cache, whoever asks for it and how often."""

import threading
import time
from pathlib import Path

import pytest

from local.environments import of_file, of_package, once


def test_of_many_who_ask_at_the_same_time_one_makes_it(tmp_path: Path) -> None:
    made: list[int] = []

    def make() -> None:
        (tmp_path / "it").mkdir()
        time.sleep(0.05)
        made.append(1)

    def ask() -> None:
        assert once(tmp_path / "it", make) == tmp_path / "it"
        assert made == [1]

    askers = [threading.Thread(target=ask) for _ in range(5)]
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join()
    assert made == [1]


def test_what_could_not_be_made_is_made_the_next_time(tmp_path: Path) -> None:
    def fail() -> None:
        (tmp_path / "it").mkdir()
        raise OSError("no network")

    with pytest.raises(OSError, match="no network"):
        once(tmp_path / "it", fail)
    once(tmp_path / "it", lambda: (tmp_path / "it" / "made").touch())
    assert (tmp_path / "it" / "made").exists()


def test_other_requirements_are_another_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    file = tmp_path / "sdks.txt"
    file.write_text("a==1\n")
    first = of_file(file)
    file.write_text("a==2\n")
    assert first != of_file(file)
    assert of_package("litellm[proxy]==1.2.3").name == "litellm-proxy-1.2.3"
