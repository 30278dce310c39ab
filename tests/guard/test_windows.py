"""Windows end where the text says so, whatever the cuts."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.guard.corpus import LONG, SHORT
from understudy.guard.windows import MAX_CHARS, Window, Windows


def cut(text: str, cuts: list[int]) -> list[Window]:
    windows = Windows()
    done = [w for a, b in itertools.pairwise([0, *sorted(cuts), len(text)]) for w in windows.feed(text[a:b])]
    return done + windows.finish()


@pytest.mark.parametrize(
    ("text", "texts"),
    [
        ("He ran. “Stop!” she said.", ["He ran. ", "“Stop!” ", "she said."]),
        ("3.14 is pi, e.g. here", ["3.14 is pi, e.g. ", "here"]),
        ("One\nTwo\n\nThree", ["One\n", "Two\n", "\n", "Three"]),
        ("死ね。「だめ。」はい！", ["死ね。", "「だめ。」", "はい！"]),
        ("ما هذا؟ نعم", ["ما هذا؟ ", "نعم"]),
        ("Really?!... Yes", ["Really?!... ", "Yes"]),
        ("x" * 450, ["x" * 200, "x" * 200, "x" * 50]),
        ("x" * 198 + ". y", ["x" * 198 + ". ", "y"]),
        ("x" * 199 + ". y", ["x" * 199 + ".", " y"]),
        ("", []),
    ],
)
def test_a_window_is_a_sentence_or_two_hundred_characters(text: str, texts: list[str]) -> None:
    windows = cut(text, [])
    assert [window.text for window in windows] == texts
    assert [text[window.start : window.end] for window in windows] == texts


def test_a_window_that_has_grown_begins_where_it_did() -> None:
    before = Window(5, 8, "abc")
    assert Window(5, 9, "abcd").grown(before)
    assert not Window(5, 8, "abc").grown(before)
    assert not Window(8, 12, "defg").grown(before)


@pytest.mark.parametrize("text", [*SHORT, *LONG, "a. " * 100 + "。" * 300, "x" * 199 + "。」 y" + "x" * 198 + "。"])
def test_no_cut_changes_a_window(text: str) -> None:
    for at in range(0, len(text), 1 if len(text) < 200 else 7):
        assert cut(text, [at]) == cut(text, [])
    assert cut(text, list(range(len(text)))) == cut(text, [])


@given(st.text(alphabet="ab .。!\n」'\"", max_size=500), st.data())
def test_windows_are_the_whole_text_and_none_is_too_long(text: str, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(text)))
    windows = cut(text, [at])
    assert windows == cut(text, [])
    assert "".join(window.text for window in windows) == text
    assert all(0 < len(window.text) <= MAX_CHARS for window in windows)


def test_no_more_than_a_window_is_kept() -> None:
    windows = Windows()
    for _ in range(100):
        windows.feed("no end in sight, ")
        assert len(windows._open) <= MAX_CHARS


def test_a_long_text_that_comes_whole_has_all_its_windows() -> None:
    assert len(Windows().feed("A bit. " * 20_000)) == 20_000
