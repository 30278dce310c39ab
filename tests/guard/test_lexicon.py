"""Word lists, line by line."""

import pytest

from understudy.guard import lexicon
from understudy.guard.engines import MakeEngine
from understudy.guard.hyperscan_engine import hyperscan_engine
from understudy.guard.lexicon import LexiconError, lexicon_patterns
from understudy.guard.needles import prepare
from understudy.guard.portable_engine import PortableEngine
from understudy.guard.scan import Scanner


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


def test_a_star_says_that_a_word_may_go_on_there() -> None:
    text = "knave*\n*כלב\n*mid*\nf***\n*\n**bold**\nsh*t\n"
    said = [(each.literal, each.inside) for each in lexicon_patterns("g/words", "words", text)]
    assert said == [
        ("knave", (False, True)),
        ("כלב", (True, False)),
        ("mid", (True, True)),
        ("f***", (False, False)),
        ("*", (False, False)),
        ("**bold**", (False, False)),
        ("sh*t", (False, False)),
    ]


FOUND = {
    "darn": ("Darn! undarned darns", ["Darn"]),
    "darn*": ("Darn! undarned darns", ["Darn", "darn"]),
    "*darn": ("Darn! undarn darns", ["Darn", "darn"]),
    "дура*": ("Дурак и ДУРА, придурак", ["Дура", "ДУРА"]),
    "βλάκα*": ("ΒΛΑΚΑΣ! βλάκας, βλακα", ["ΒΛΑΚΑ", "βλάκα", "βλακα"]),
    "ճիշտ": ("Ճիշտ, ճիշտը", ["Ճիշտ"]),
    "כלב": ("כלב, הַכֶּלֶב, כֶּלֶב.", ["כלב", "כֶּלֶב"]),
    "*כלב*": ("כלב, הכלבים", ["כלב", "כלב"]),
    "كلب": ("كَلْب وكلب كـــلب ﻛﻠﺐ", ["كَلْب", "كـــلب", "ﻛﻠﺐ"]),
    "*کلب": ("كلب والكلب", ["كلب", "كلب"]),
    "कुत्ता": ("कुत्ता! कुत्ते", ["कुत्ता"]),
    "โง่": ("เขาโง่มาก โง", ["โง่"]),
    "笨蛋": ("你这个笨蛋啊", ["笨蛋"]),
    "ばか": ("このバカ! ﾊﾞｶめ", ["バカ", "ﾊﾞｶ"]),
    "바보": ("바보야, 이 바보! 개바보", ["바보", "바보"]),
    "*바보": ("개바보", ["바보"]),
    "ass": ("ass를 ass가 assist 你ass的", ["ass", "ass", "ass"]),
    "გიჟი": ("გიჟი და გიჟივით", ["გიჟი"]),
    "aptal*": ("Aptalsın, APTAL", ["Aptal", "APTAL"]),
}


@pytest.mark.parametrize("make", [hyperscan_engine, PortableEngine])
@pytest.mark.parametrize("term", FOUND)
def test_words_are_found_in_their_script_where_words_begin_and_end_in_it(term: str, make: MakeEngine) -> None:
    text, spans = FOUND[term]
    needles = [prepare(each, 100) for each in lexicon_patterns("g/words", "words", term)]
    scanner = Scanner(needles, make, {})
    for cut in range(len(text)):
        scan = scanner.open()
        findings = scan.feed(text[:cut]).findings + scan.feed(text[cut:]).findings + scan.finish().findings
        assert [text[each.start : each.end] for each in findings] == spans


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a\n[S]\nb", "line 2: '[S]' is no category: write small letters, digits and _ in brackets, such as [slur]"),
        ("a\tgrave", "line 1: severity 'grave': write low, medium or high after the tab"),
        ("a\t" + "b" * 99, f"line 1: severity '{'b' * 64}': write low, medium or high after the tab"),
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
