"""Texts and patterns for the tests of tier 0, and what must be found in them, computed in the slowest possible way."""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import cache

from understudy.guard.lookalikes import READINGS
from understudy.guard.needles import Needle, Pattern, prepare
from understudy.guard.views import PLAIN, WORDS, ViewName, fold, read

MAX_HOLD = 2048

LITERALS = (
    "darn",
    "kick the bucket",
    "ass",
    "人殺し",
    "1488",
    "Ирина",
    "naïve",
    "ß",
    "c++",
    ":-(",
    "ใจร้าย",
    "ass",
    "as s",
    "hell",
    "mail me",
    "ναι",
    "바보",
    "כלב",
    "كلب",
    "किताब",
    "ばか",
)
EXPRESSIONS = {
    "mail": r"\b[a-z0-9][a-z0-9._%+-]{0,30}@[a-z0-9][a-z0-9.-]{0,30}\.[a-z]{2,8}\b",
    "branches": r"ab{1,5}(c|de){0,2}x?",
    "digits": r"\b(?:\d[ -]?){3,7}\d\b",
    "either": r"(?:left|le)(?:ft)?side\b",
    "not-letters": r"\b[^a-z]{2}z",
    "cyrillic": r"[а-яё]{2,4}!",
}

SHORT = (
    "darn",
    "darn it",
    "a darned barn",
    "D\u200bA\u0301R\u00adN.",
    "d4rn a$$ @ss 455",
    "ａｓｓ 𝖆𝖘𝖘 ⓐⓢⓢ ass™",
    "glass class ass",
    "as s, as  s",
    "as\u00a0s as\ns",
    "ﬁß ẞ STRASSE",
    "人殺しだ、我ass你",
    "ирина Ирина Иринам",
    "nai\u0308ve NAÏVE naive",
    "c++ C++, :-( :-(",
    "ใจร้ายมาก",
    "abbcdex ab abc",
    "abbbbbb",
    "12 34-5678 9",
    "1488 21488 14-88",
    "leftside lefttside leside",
    "x--z ??z",
    "abc!да! дада!",
    "a@b.co",
    "me@ex.com.",
    "\ud83dass\udc00",
    "ass\u0336 a\u0336s\u0336s\u0336",
    "🅰🆂🆂 a‍s‍s",
    "\u202eass\u202c",
    "da\u0e31\u0e48rn \u0e31darn d\u093earn",
    "กั\u0e31 ใจ\u0e49ร้าย ใจร\u0e49าย",
    "ΝΑΙ Ναι ναι vai ηαι NAI",
    "he11 HELL heil he!l ΗΕLL ηell hel! vell",
    "mail  me mall me\r\nmail \u00a0\tme ma1l\nme",
    "바보는 바보 개바보 x바보 바본 ass를 한ass",
    "כלב כֶּלֶב הכלב (כלב) כלבים",
    "كلب كـلـب کلب الكلب كَلْب",
    "किताब किताबें क\u0e31िताब",
    "バカ ばか ﾊﾞｶ バ\u0e31カ ハ\u3099カ",
    "ᎻᎬᏞᏞ ꓧꓰꓡꓡ he|l heӏӏ 111 1ll",
    "",
)
LONG = (
    "Kick the bucket? He said: “kick the bucket”, then kick  the bucket, then KICK\u200b THE BUCKET!",
    "Write to john.doe+news@mail.example.com or to jane@example.org; not to @nobody, nor a@b, nor x@y.z.",
    "The dwarf ran. “Darn!” he cried, and dropped his glass: 148 800 pieces. Assassins pass as a mass of grass.",
    "שלום ass עולם, مرحبا darn بالعالم; नमस्ते दुनिया किताब 1488 안녕하세요 🎲🎲🏴‍☠️ end",
    "code: if (a[s] != s) { c++; d['arn'] = 14.88; } // ab abb abbb abbbb abbbbb abbbbbb acdex abccx",
)

UNSPACED = (
    "CJK", "HIRAGANA", "KATAKANA", "THAI", "LAO", "MYANMAR", "KHMER", "TAI ", "NEW TAI ", "IDEOGRAPHIC", "HANGUL",
    "HALFWIDTH", "COMBINING",
)  # fmt: skip
Span = tuple[str, int, int]


def needles() -> list[Needle]:
    """All patterns, as they are looked for."""
    patterns = [Pattern("words", text, "rude", 6, literal=text) for text in LITERALS]
    patterns += [Pattern("shapes", name, "shape", 4, regex=source) for name, source in EXPRESSIONS.items()]
    return [prepare(pattern, MAX_HOLD) for pattern in patterns]


def expected(text: str, looked_for: Sequence[Needle]) -> list[Span]:
    """Name, beginning and end of what must be found: for each end of a match the earliest beginning; sorted."""
    return sorted(span for needle in looked_for for span in _spans(text, needle))


def _spans(text: str, needle: Needle) -> Iterator[Span]:
    chars = _shown(text, needle.view)
    view = "".join(char for char, _ in chars)
    for end in range(1, len(view) + 1):
        for start in range(max(0, end - needle.width), end):
            if _matches(view[start:end], needle) and _fits(text, needle, chars, start, end):
                yield needle.pattern.name, chars[start][1], chars[end - 1][1] + 1
                break


def _shown(text: str, view: ViewName) -> list[tuple[str, int]]:
    """The characters of the view, each with the index of the one that it comes from."""
    shown: list[tuple[str, int]] = []
    last = " "
    for at, raw in enumerate(text):
        if read(raw) is None or (unicodedata.category(raw)[0] == "M" and _script(raw) != _script(last)):
            continue
        folded = fold(raw, view)
        if view == PLAIN or folded != " " or fold(last, view) != " " or not shown:
            shown += [(char, at) for char in folded]
        last = raw
    return shown


def _script(char: str) -> str:
    first = unicodedata.name(char, "").split(" ")[0]
    return "KANA" if first in ("HIRAGANA", "KATAKANA", "HALFWIDTH", "COMBINING") else first


def _matches(view: str, needle: Needle) -> bool:
    if needle.chars:
        return len(view) == len(needle.chars) and all(map(_same, view, needle.chars))
    return _python(needle).fullmatch(view) is not None


def _same(one: str, other: str) -> bool:
    return one == other or one in READINGS.get(other, "") or other in READINGS.get(one, "")


@cache
def _compiled(expression: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\\x\{([0-9a-f]+)\}", lambda match: f"\\U{int(match[1], 16):08x}", expression), re.DOTALL)


def _python(needle: Needle) -> re.Pattern[str]:
    """The expression as Python's own engine reads it."""
    return _compiled(needle.expression)


def _fits(text: str, needle: Needle, chars: list[tuple[str, int]], start: int, end: int) -> bool:
    first, last = chars[start][1], chars[end - 1][1]
    if needle.starts_word and start:
        before = chars[start - 1][1]
        joined = _is_hangul if _is_hangul(text[first]) else _goes_on
        if before == first or joined(text[before]):
            return False
    if needle.ends_word and end < len(chars) and (chars[end][1] == last or _goes_on(text[chars[end][1]])):
        return False
    return needle.view != WORDS or any(map(_is_letter, text[first : last + 1]))


def _goes_on(char: str) -> bool:
    category = unicodedata.category(char)[0]
    return category == "N" or (category in "LM" and not unicodedata.name(char, "").startswith(UNSPACED))


def _is_hangul(char: str) -> bool:
    return unicodedata.name(char, "").startswith("HANGUL")


def _is_letter(char: str) -> bool:
    return char.isalpha() or unicodedata.normalize("NFKD", char).isalpha() or "🅐" <= char <= "🇿"
