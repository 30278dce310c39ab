"""Texts and patterns for the tests of tier 0, and what must be found in them, computed in the slowest possible way."""

import re
import unicodedata
from collections.abc import Iterator, Sequence

from understudy.guard.needles import Needle, Pattern, prepare
from understudy.guard.views import WORDS, fold, read

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
    "",
)
LONG = (
    "Kick the bucket? He said: “kick the bucket”, then kick  the bucket, then KICK\u200b THE BUCKET!",
    "Write to john.doe+news@mail.example.com or to jane@example.org; not to @nobody, nor a@b, nor x@y.z.",
    "The dwarf ran. “Darn!” he cried, and dropped his glass: 148 800 pieces. Assassins pass as a mass of grass.",
    "שלום ass עולם, مرحبا darn بالعالم; नमस्ते दुनिया किताब 1488 안녕하세요 🎲🎲🏴‍☠️ end",
    "code: if (a[s] != s) { c++; d['arn'] = 14.88; } // ab abb abbb abbbb abbbbb abbbbbb acdex abccx",
)

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
    chars = [(char, at) for at, raw in enumerate(text) for char in fold(raw, needle.view)]
    view = "".join(char for char, _ in chars)
    shape = _python(needle)
    for end in range(1, len(view) + 1):
        for start in range(max(0, end - needle.width), end):
            if shape.fullmatch(view, start, end) and _fits(text, needle, chars, start, end):
                yield needle.pattern.name, chars[start][1], chars[end - 1][1] + 1
                break


def _python(needle: Needle) -> re.Pattern[str]:
    """The expression as Python's own engine reads it."""
    spelled = re.sub(r"\\x\{([0-9a-f]+)\}", lambda match: f"\\U{int(match[1], 16):08x}", needle.expression)
    return re.compile(spelled, re.DOTALL)


def _fits(text: str, needle: Needle, chars: list[tuple[str, int]], start: int, end: int) -> bool:
    first, last = chars[start][1], chars[end - 1][1]
    if needle.starts_word and (
        (start and chars[start - 1][1] == first) or _goes_on(char for char in reversed(text[:first]))
    ):
        return False
    if needle.ends_word and (
        (end < len(chars) and chars[end][1] == last) or _goes_on(char for char in text[last + 1 :])
    ):
        return False
    return needle.view != WORDS or any(map(_is_letter, text[first : last + 1]))


def _goes_on(chars: Iterator[str]) -> bool:
    seen = next((char for char in chars if read(char) is not None), " ")
    unspaced = unicodedata.name(seen, "").startswith(("CJK", "HIRAGANA", "KATAKANA", "THAI"))
    return unicodedata.category(seen)[0] in "LMN" and not unspaced


def _is_letter(char: str) -> bool:
    return char.isalpha() or unicodedata.normalize("NFKD", char).isalpha() or "🅐" <= char <= "🆉"
