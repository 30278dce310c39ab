"""Keys must change with content and with nothing else: not with the folder a checkout lies in, nor with a timestamp."""

import os
from pathlib import Path

import pytest

from local import cache


def tree(folder: Path) -> Path:
    (folder / "package" / "inner").mkdir(parents=True)
    (folder / "package" / "a.py").write_text("a = 1\n")
    (folder / "package" / "inner" / "b.py").write_text("b = 2\n")
    return folder / "package"


def test_two_checkouts_of_the_same_content_have_the_same_key(tmp_path: Path) -> None:
    assert cache.content_key([tree(tmp_path / "one")]) == cache.content_key([tree(tmp_path / "two")])


def test_a_timestamp_and_compiled_files_do_not_change_the_key(tmp_path: Path) -> None:
    package = tree(tmp_path)
    before = cache.content_key([package])
    os.utime(package / "a.py", (1, 1))
    (package / "__pycache__").mkdir()
    (package / "__pycache__" / "a.pyc").write_bytes(b"compiled")
    assert before == cache.content_key([package])


def test_content_name_and_mode_change_the_key(tmp_path: Path) -> None:
    package = tree(tmp_path)
    keys = {cache.content_key([package])}
    (package / "a.py").write_text("a = 2\n")
    keys.add(cache.content_key([package]))
    (package / "a.py").rename(package / "c.py")
    keys.add(cache.content_key([package]))
    (package / "c.py").chmod(0o755)
    keys.add(cache.content_key([package]))
    keys.add(cache.content_key([package], "another part"))
    assert len(keys) == 5


def test_a_missing_file_counts_as_absent_and_is_noticed_when_it_appears(tmp_path: Path) -> None:
    before = cache.content_key([tmp_path / "requirements.txt"])
    (tmp_path / "requirements.txt").write_text("")
    assert before != cache.content_key([tmp_path / "requirements.txt"])


def test_moving_text_from_one_part_to_the_next_changes_the_key() -> None:
    assert cache.key("ab", "c") != cache.key("a", "bc")


def test_the_cache_follows_the_xdg_variable_when_it_is_absolute(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert tmp_path / "understudy" == cache.root()


@pytest.mark.parametrize("value", ["", "relative/folder"])
def test_the_cache_is_in_the_home_folder_otherwise(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, value: str) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", value)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert tmp_path / ".cache" / "understudy" == cache.root()


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "bin" / "tool"
    cache.put(path, "old")
    cache.put(path, "new", executable=True)
    assert path.read_text() == "new"
    assert os.access(path, os.X_OK)
    assert [path] == list(path.parent.iterdir())
