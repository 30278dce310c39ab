"""The dialect of patterns: what it means is what RE2 means by it, and what it refuses comes with what to write."""

import re
import time

import pytest
import re2
from hypothesis import given
from hypothesis import strategies as st

from understudy.guard import charset
from understudy.guard.charset import CharSet
from understudy.guard.expression import ENDLESS, ExpressionError, parse, spelled, widths
from understudy.guard.positions import count, positions
from understudy.guard.views import PLAIN, fold

NONE = (
    "a class without any character that can be seen and is read as one (syllables of Hangul are read as several): "
    "name some, or write (?:…|…)"
)
# Written in small letters without marks, so that RE2 can be asked about the same text.
UNDERSTOOD = [
    "abc",
    "a|b|cd",
    "a?b{2}c{1,3}",
    "(ab|c){1,2}d",
    "(?:a(?:b|c)?){2}",
    "[a-c]x[^a-c]",
    "[]a]|[^]a]b",
    "[a-]|[-b]|a[b\\-c]",
    "\\d\\D\\w\\W\\s\\S",
    "[\\d.][\\s,][^\\w]",
    "a.b",
    "\\.\\*\\(\\)\\[\\{\\|\\\\",
    "a\\x62\\x{63}\\t|\\n",
    "a{,2}|{|}|a{x}",
    "(a|b?)c",
    "(a?b?){1,2}c",
    "x(|a)y",
    "a{2,3}?b??",
    "\\-\\@\\/",
    "[[]a",
]


@pytest.mark.parametrize("source", UNDERSTOOD)
def test_an_expression_means_what_re2_means_by_it(source: str) -> None:
    node = parse(source).node
    theirs, ours = re2.compile(source), re2.compile(spelled(node))
    made = positions(node)
    least, most = widths(node)
    for text in (
        "abc",
        "cd",
        "abbccc",
        "ababd",
        "aab",
        "ax-",
        "1a_ \tb",
        "a\nb",
        ".*()[{|\\",
        "a{,2}",
        "cc",
        "xay",
        "]b",
        "[a",
    ):
        for start in range(len(text) + 1):
            for end in range(start, len(text) + 1):
                said = theirs.fullmatch(text[start:end]) is not None
                assert (ours.fullmatch(text[start:end]) is not None) == said
                assert not said or least <= end - start <= most
                if end > start:
                    assert (start in made.starts(text, end)) == said
                    assert (end - start in made.ends(text[start:end], 0)[-1:] and said) == said


@pytest.mark.parametrize(
    ("source", "folded"),
    [
        ("ABC", "abc"),
        ("[A-C]", "[a-c]"),
        ("É", "e"),
        ("ß+".replace("+", "{1,2}"), "(?:ss){1,2}"),
        ("[é]", "e"),
        ("ﬁ", "fi"),
    ],
)
def test_expressions_are_read_as_texts_are(source: str, folded: str) -> None:
    assert spelled(parse(source).node) == spelled(parse(folded).node)


@pytest.mark.parametrize(("source", "starts", "ends"), [
    ("\\bab\\b", True, True), ("\\bab", True, False), ("ab\\b", False, True), ("ab\\\\b", False, False),
    ("ab", False, False),
])  # fmt: skip
def test_a_word_boundary_at_either_end_is_a_condition_on_the_text_around(source: str, starts: bool, ends: bool) -> None:
    expression = parse(source)
    assert (expression.starts_word, expression.ends_word) == (starts, ends)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("^a", "at character 1 of '^a': a stream has no lines to begin: leave out `^`, or write \\^ for the character"),
        ("a$", "at character 2 of 'a$': a stream has no lines to end: leave out `$`, or write \\$ for the character"),
        ("a\\bc", "at character 4 of 'a\\\\bc': `\\b` goes at the very beginning or the very end of a pattern"),
        ("*a", "at character 1 of '*a': nothing before `*` to repeat: write \\* for the character"),
        ("a**", "at character 3 of 'a**': a repetition of a repetition: write (?:…) around the first"),
        ("a{2}{3}", "at character 5 of 'a{2}{3}': a repetition of a repetition: write (?:…) around the first"),
        ("(?i)a", "only (…) and (?:…) can be groups: nothing may look around, and capitals never matter"),
        ("(?=a)", "only (…) and (?:…) can be groups"),
        ("(a", "at character 3 of '(a': a group is not closed: write `)`"),
        ("a)", "at character 2 of 'a)': nothing is open that `)` could close: write \\) for the character"),
        ("[a", "at character 3 of '[a': it ends too early"),
        ("a\\", "it ends too early"),
        ("a{3,2}", "{3,2} has its bounds the wrong way round: write {2,3}"),
        ("a{0}", "a repetition goes from once to 1000 times: write bounds within"),
        ("a{1001}", "a repetition goes from once to 1000 times: write bounds within"),
        ("a{2000,}", "a repetition goes from once to 1000 times: write bounds within"),
        ("[z-a]", "a range of a class goes from a character to a later one: write [a-z], or \\- for the sign"),
        ("[a-\\d]", "a range of a class goes from a character to a later one"),
        ("[\\x00-\\x{10ffff}]", "a range of more than 32768 characters: write [^…] with those that are not meant"),
        ("[[:alpha:]]", "classes by name are not known: write a-z, 0-9, \\d, \\w or \\s, and \\[ for the sign"),
        ("\\pL", "`\\p` means nothing here: write the characters themselves, or \\d, \\w, \\s, \\x{…}"),
        ("\\1", "`\\1` means nothing here"),
        ("\\x{}", "`\\x` needs the number of a character: write \\x41 or \\x{1F600}"),
        ("\\x{110000}", "`\\x` needs the number of a character"),
        ("\\x{41", "`\\x` needs the number of a character"),
        ("\\xg1", "`\\x` needs the number of a character"),
        ("\u200b", "'\\u200b' cannot be seen and is never looked at: leave it out"),
        ("[ß]", "'ß' in a class is read as 'ss': write it as (?:…|ss)"),
        ("[\u0301]", "'\u0301' in a class cannot be seen: leave it out"),
        ("[\u200b-\u200d]", NONE),
        ("[가-갛]", NONE),
        ("(" * 40 + "a" + ")" * 40, "more than 32 groups within each other: write fewer"),
    ],
)
def test_what_is_refused_comes_with_the_place_and_what_to_write_instead(source: str, message: str) -> None:
    with pytest.raises(ExpressionError) as refused:
        parse(source)
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("source", "least", "most", "number"),
    [("a", 1, 1, 1), ("a*", 0, ENDLESS, None), ("(a+b){2}", 4, ENDLESS, None), ("a|bcd", 1, 3, 4),
     ("a{2,5}(b|c*)?", 2, ENDLESS, None),
     ("(ab?){2,4}", 2, 8, 8), ("", 0, 0, 0)],
)  # fmt: skip
def test_widths_of_matches_are_known(source: str, least: int, most: int, number: int | None) -> None:
    node = parse(source).node
    assert widths(node) == (least, most)
    if number is not None:
        assert count(node) == number


# Never by RE2 alone: it would take what we refuse.
PARTS = st.recursive(
    st.sampled_from(["a", "b", "c", "[ab]", "[^a]", "."]),
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map("".join),
        st.tuples(inner, inner).map(lambda pair: f"(?:{pair[0]}|{pair[1]})"),
        st.tuples(inner, st.sampled_from(["?", "{2}", "{1,3}", "{0,2}"])).map(lambda pair: f"(?:{pair[0]}){pair[1]}"),
    ),
    max_leaves=6,
)


@given(PARTS, st.text("abcd", max_size=7))
def test_positions_find_every_match_of_any_expression(source: str, text: str) -> None:
    made, theirs = positions(parse(source).node), re.compile(source)
    spans = [(i, j) for i in range(len(text)) for j in range(i + 1, len(text) + 1) if theirs.fullmatch(text, i, j)]
    assert made.ends(text, 0) == sorted({end for _, end in spans})
    for end in range(1, len(text) + 1):
        assert made.starts(text, end) == sorted(start for start, stop in spans if stop == end)


@given(st.sets(st.integers(0, 0x24F)), st.integers(0, 0x24F))
def test_a_set_holds_what_it_was_made_of_and_its_inverse_all_else(points: set[int], asked: int) -> None:
    made = charset.of((point, point) for point in points)
    assert (chr(asked) in made) == (asked in points)
    assert (chr(asked) in made.inverted()) == (asked not in points)
    assert made.inverted().inverted() == made


def test_halves_of_surrogate_pairs_are_in_no_inverse() -> None:
    everything = CharSet(()).inverted()
    assert everything.ranges == ((0, 0xD7FF), (0xE000, 0x10FFFF))
    assert everything.inverted().ranges == ()
    assert charset.one("a").expression() == "[\\x{61}-\\x{61}]"


@given(st.text(max_size=12))
def test_any_expression_is_taken_or_refused(source: str) -> None:
    try:
        node = parse(source).node
    except ExpressionError:
        return
    assert widths(node)[0] <= widths(node)[1]


def test_a_literal_text_written_out_with_escapes_is_that_text() -> None:
    text = "C++ (kind of): 100% \\o/ [sic] {x}^2 $5 a|b? *.*"
    source = "".join(f"\\x{{{ord(char):x}}}" for char in text)
    assert re2.fullmatch(spelled(parse(source).node), fold(text, PLAIN)) is not None


@pytest.mark.parametrize("source", ["a()*", "a(?:|)+", "a(()){2,}", "a((((){1000}){1000}){1000}){1000}"])
def test_a_repetition_of_nothing_is_refused_at_once(source: str) -> None:
    with pytest.raises(ExpressionError, match="a repetition of nothing: leave out the empty group"):
        parse(source)


@pytest.mark.parametrize("source", ["\\bfoo|bar\\b", "\\bfoo|bar", "foo|bar\\b"])
def test_a_word_boundary_beside_alternatives_is_refused_since_re2_means_one_of_them(source: str) -> None:
    with pytest.raises(ExpressionError, match=r"write \(\?:…\|…\) around them, or several patterns"):
        parse(source)


def test_a_word_boundary_around_a_group_of_alternatives_is_one_of_them_all() -> None:
    assert (parse("\\b(?:foo|bar)\\b").starts_word, parse("\\b(?:foo|bar)\\b").ends_word) == (True, True)


def test_where_a_match_begins_is_found_at_once_also_among_hundreds_of_positions() -> None:
    made = positions(parse("eyj[a-z-]{8,200}[.]eyj[a-z-]{8,800}").node)
    text = "eyj" + "a" * 20 + ".eyj" + "a-" * 380
    began = time.process_time()
    for end in range(40, len(text), 4):
        assert made.starts(text, end) == [0]
    # Sets in place of bits took thirty milliseconds and more for each.
    assert time.process_time() - began < 2


def test_characters_of_texts_are_not_kept_without_end() -> None:
    made = positions(parse("a.").node)
    for point in range(0x4E00, 0x4E00 + 3000):
        assert made.starts("a" + chr(point), 2) == [0]
    assert len(made._at) <= 1024


def test_ranges_of_whole_blocks_are_read_once_and_others_only_so_often() -> None:
    ideographs = charset.of(parse("[一-鿿]").node.chars.ranges)  # type: ignore[union-attr]
    assert "一" in ideographs
    assert parse("[一-鿿]{2,4}" * 60)
    with pytest.raises(ExpressionError, match="too many ranges of a class: write fewer, or several patterns"):
        parse("[一-鿿]" * 129)
