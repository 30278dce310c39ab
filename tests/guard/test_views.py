"""Views: local to the code point, whatever the cuts, with a way back to the text."""

import itertools
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.guard.corpus import LITERALS, LONG, SHORT
from understudy.guard.views import PLAIN, WORDS, Piece, ViewName, Views, fold, read


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("Hello, World!\t1", "hello, world!\t1"),
        ("ＦＵＬＬ ｗｉｄｔｈ", "full width"),
        ("𝕗𝖺𝓃𝘤𝐲 ⓒⓘⓡⓒⓛⓔⓢ ²³", "fancy circles 23"),
        ("ﬁne STRAßE ẞ", "fine strasse ss"),
        ("nai\u0308ve café Ångström", "naive cafe angstrom"),
        ("d\u0e31a\u0e48r\u093en \u0e31x 1\u0902", "darn x 1"),
        ("กั กำ กํา कि कु", "กั ก\u0e4dา กํา कि कु"),
        ("か\u3099 ハ\u309a ﾊﾟ", "か\u3099 ハ\u309a ハ\u309a"),
        ("a\u200bb\u200dc\u2060d\ufefff\u00adg\u034fh\u180ei\u3164j", "abcdfghij"),
        ("a\x00b\x1bc\x7fd\u009fe", "abcde"),
        ("a\u0336b\u20ddc\ufe0fd\U000e0101e", "abcde"),
        ("\u202eabc\u202c\u2066d\u2069", "abcd"),
        ("İstanbul", "istanbul"),
        ("\ud83d", "\ufffd"),
        ("4\u20111\u20131\u22121 ٤١ ४१", "4-1-1-1 41 41"),
        ("a\u2065b\ufff0c\U000e0080d\U000e0ffee\u2d7ff\U00016fe4g\U0001d159h", "abcdefgh"),
        ("ᾳ ᾼ ῷ α\u0345", "α α ω α"),
    ],
)
def test_plain_is_decomposed_small_and_without_what_cannot_be_seen(text: str, plain: str) -> None:
    assert fold(text, PLAIN) == plain


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("sh!t 4ss b00b5 $€x", "shit ass boobs sex"),
        ("ВАСК раураl", "back paypal"),
        ("he1l ki|| ѕӏυt", "he1l ki11 s1υt"),
        ("ΗΕΛΛΑΣ Ζευς", "ηeλλaσ zeυσ"),
        ("ᎻᎬᏞᏞ ꮋꭼꮮꮮ ꓧꓰꓡꓡ", "hell hell hell"),
        ("バカ ﾊﾞｶ", "は\u3099か は\u3099か"),
        ("שָׁלוֹם עֲלֵיכֶם־ךף", "שלומ עליכמ-כפ"),
        ("کـتـاب ی", "كتاب ي"),
        ("a \t\n  b\u1680c", "a b c"),
        ("ɗαɾɳ Đ₳Ɽ₦ ₭ɨ₤₤", "darn darn kill"),
        ("🅵🅞🅾 🇦🇧", "foo ab"),
        ("don’t “quote” a‑b", 'don\'t "quote" a-b'),
        ("a\nb\tc\u2028d\u00a0e", "a b c d e"),
        ("ŁØĐ ı", "lod i"),
    ],
)
def test_words_also_undoes_look_alikes_leet_and_kinds_of_white_space(text: str, words: str) -> None:
    assert fold(text, WORDS) == words


@pytest.mark.parametrize("text", ["किताब", "หมู", "がぎ", "తెలుగు"])
def test_marks_without_which_another_letter_is_left_stay(text: str) -> None:
    assert len(fold(text, PLAIN)) >= len(text)


@pytest.mark.parametrize("text", ["שָׁלוֹם", "مَرْحَبًا"])
def test_points_that_are_left_out_in_everyday_writing_are_dropped(text: str) -> None:
    assert len(fold(text, PLAIN)) < len(text)


def test_kinds_tell_letters_digits_signs_and_scripts_without_spaces_apart() -> None:
    plain, words = Views().feed("aé1,½人ไⓐ™कि ")
    assert list(zip(plain.chars, plain.kinds, strict=True)) == [
        ("a", "2"), ("e", "2"), ("1", "1"), (",", "0"), ("1", "1"), ("\u2044", "m"), ("2", "m"), ("人", "3"),
        ("ไ", "3"), ("a", "3"), ("t", "3"), ("m", "m"), ("क", "2"), ("ि", "2"), (" ", "0"),
    ]  # fmt: skip
    assert words.kinds == plain.kinds


def test_each_character_knows_what_was_seen_before_it_and_where_it_comes_from() -> None:
    views = Views()
    views.feed("x\u200b")
    plain, _ = views.feed("\u0301ﬁ, a")
    assert plain == Piece("fi, a", "2m002", "2m200", [3, 3, 4, 5, 6])
    assert list(views.feed("b")[0].origins) == [7]
    assert views.read == 8


def test_a_piece_without_anything_that_can_be_seen_adds_nothing() -> None:
    views = Views()
    views.feed("a")
    assert views.feed("\u200b\u0301")[0] == Piece("", "", "", [])
    assert views.feed("")[0].chars == ""
    assert views.feed("b")[0].before == "2"


@pytest.mark.parametrize("text", SHORT + LONG)
def test_cuts_change_nothing(text: str) -> None:
    whole = _joined(text, [])
    for cut in range(len(text)):
        assert _joined(text, [cut]) == whole


@settings(max_examples=30)
@given(st.text(max_size=40), st.lists(st.integers(0, 40), max_size=8))
def test_cuts_change_nothing_in_any_text(text: str, cuts: list[int]) -> None:
    assert _joined(text, sorted(cuts)) == _joined(text, [])


@settings(max_examples=30)
@given(st.text(max_size=40))
def test_a_view_is_what_each_character_is_read_as_but_for_decoration_and_white_space(text: str) -> None:
    without = [char for char in text if unicodedata.category(char)[0] != "M" and fold(char, WORDS) != " "]
    for at, view in enumerate((PLAIN, WORDS)):
        assert _joined("".join(without), [])[at][0] == "".join(fold(char, view) for char in without)


@pytest.mark.parametrize("view", [PLAIN, WORDS])
def test_what_is_looked_for_is_read_as_what_is_looked_at(view: ViewName) -> None:
    for text in (*SHORT, *LONG, *LITERALS):
        assert _joined(f"x{text}", [])[view == WORDS][0] == fold(f"x{text}", view)


def test_a_mark_at_the_beginning_of_what_is_looked_for_stays_since_nobody_knows_what_it_stands_on() -> None:
    assert fold("\u0e31ก", PLAIN) == "\u0e31ก"


def test_of_hangul_only_a_syllable_before_a_syllable_is_before_it() -> None:
    plain, _ = Views().feed("바보x바는")
    assert (plain.kinds, plain.before) == ("4m4m24m4mm", "0m2m40m2mm")


@given(st.characters())
def test_what_is_read_once_is_read_so_again(char: str) -> None:
    seen = read(char)
    if seen is not None:
        assert fold(seen.plain, PLAIN) == seen.plain
        assert fold(seen.plain, WORDS) == seen.words


def test_all_of_ascii_is_read_the_same_on_the_short_way() -> None:
    for char in map(chr, range(128)):
        alone, beside = Views().feed(char), Views().feed(char + "é")
        for short, long in zip(alone, beside, strict=True):
            assert (short.chars, short.kinds) == (long.chars[:-1], long.kinds[:-1])


def _joined(text: str, cuts: list[int]) -> list[tuple[str, str, str, list[int]]]:
    views = Views()
    bounds = itertools.pairwise([0, *(min(cut, len(text)) for cut in cuts), len(text)])
    pairs = [views.feed(text[start:end]) for start, end in bounds]
    return [
        (
            "".join(piece.chars for piece in pieces),
            "".join(piece.kinds for piece in pieces),
            "".join(piece.before for piece in pieces),
            [origin for piece in pieces for origin in piece.origins],
        )
        for pieces in zip(*pairs, strict=True)
    ]
