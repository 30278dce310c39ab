"""Word lists, line by line."""

import pytest

from understudy.guard import lexicon
from understudy.guard.lexicon import LexiconError, lexicon_patterns


def test_a_list_has_terms_with_severities_and_categories() -> None:
    text = (
        "# words of old\nknave\nvarlet \tlow\r\n\n[violence_threat]\nI will smite thee\tmedium\n  [other] \nfie\thigh\n"
    )
    said = [
        (each.detector, each.name, each.category, each.severity, each.literal)
        for each in lexicon_patterns("g/words", "words", text)
    ]
    assert said == [
        ("g/words", "line 2", "words", 6, "knave"),
        ("g/words", "line 3", "words", 2, "varlet"),
        ("g/words", "line 6", "violence_threat", 4, "I will smite thee"),
        ("g/words", "line 8", "other", 6, "fie"),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a\n[S]\nb", "line 2: '[S]' is no category: write small letters, digits and _ in brackets, such as [slur]"),
        ("a\tgrave", "line 1: severity 'grave': write low, medium or high after the tab"),
        ("# nothing\n[slur]\n", "no term in the whole list: write one a line"),
        ("", "no term in the whole list: write one a line"),
    ],
)  # fmt: skip
def test_a_line_that_cannot_be_read_is_named_with_what_to_write(text: str, message: str) -> None:
    with pytest.raises(LexiconError) as refused:
        lexicon_patterns("g/words", "words", text)
    assert str(refused.value) == message


def test_a_list_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lexicon, "MAX_TERMS", 2)
    assert len(lexicon_patterns("g/words", "words", "a\nb")) == 2
    with pytest.raises(LexiconError, match="3 terms, and at most 2 can be: write several lists, or a shorter one"):
        lexicon_patterns("g/words", "words", "a\nb\nc")


def test_a_mark_of_byte_order_before_the_first_line_is_no_part_of_it() -> None:
    patterns = lexicon_patterns("words", "words", "\ufeff[slur]\nknave\n")
    assert [(pattern.category, pattern.literal) for pattern in patterns] == [("slur", "knave")]
