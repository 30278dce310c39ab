"""Text as it is read, not as it is written: what detectors look at, with the way back to what is written.

Each character of the text becomes none, one or several characters of a view, whatever comes after it. So a view does
not depend on how the text is cut into pieces, and each of its characters knows the one that it came from. Forbidden
text is cut out of what was written, never out of a view.

There are two. `PLAIN` is decomposed (NFKD), in small letters, without marks and without what cannot be seen, with one
kind of dash and of digits; patterns look at it. `WORDS` also undoes look-alikes and leet, and has white space of one
kind and width; words are looked for there.

Of what stands before a character two things count: a mark that makes another letter does so only of one of its own
script (on others it is decoration), and of white space only the first character is in `WORDS`.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal

from understudy.guard.lookalikes import ALIKE, CONFUSABLES, DASHES, LEET

ViewName = Literal["plain", "words"]
PLAIN: Final[ViewName] = "plain"
WORDS: Final[ViewName] = "words"

# What a character of a view is, one letter for each:
OTHER: Final = "0"  # space, punctuation, a sign
DIGIT: Final = "1"
LETTER: Final = "2"
UNSPACED: Final = "3"  # a letter of a script that puts no space between words
HANGUL: Final = "4"  # a word begins with it and goes on with particles of grammar
REST: Final = "m"  # not the first of those that one character became
JOINED: Final = "12m"
"""A word neither begins after one of these nor ends before one."""
LETTERS: Final = frozenset((LETTER, UNSPACED, HANGUL))

# Thai to Burmese, Khmer, Tai scripts, kana and ideographs: word boundaries there are a matter of dictionaries.
_UNSPACED: Final = (
    (0x0E00, 0x0EFF), (0x1000, 0x109F), (0x1780, 0x17FF), (0x1950, 0x19DF), (0x1A20, 0x1AAF), (0x2E80, 0x2FDF),
    (0x3005, 0x3007), (0x3021, 0x3029), (0x3038, 0x303B), (0x3041, 0x30FF), (0x31F0, 0x31FF), (0x3400, 0x4DBF),
    (0x4E00, 0x9FFF), (0xA9E0, 0xA9FF), (0xAA60, 0xAADF), (0xF900, 0xFAFF), (0xFF66, 0xFF9F), (0x1B000, 0x1B16F),
    (0x20000, 0x3FFFF),
)  # fmt: skip

_HANGUL: Final = ((0x1100, 0x11FF), (0x3130, 0x318F), (0xA960, 0xA97F), (0xAC00, 0xD7FF), (0xFFA0, 0xFFDC))

# Fillers, joiners and what stretches a line: letters or marks by category, and yet nothing that is read.
_UNSEEN: Final = frozenset(
    "\u0640\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u2d7f\u3164\uffa0\U00016fe4\U0001d159"
)
# Not assigned, and to be shown as nothing when they are (Default_Ignorable_Code_Point): so programs show them today.
_RESERVED: Final = ((0x2065, 0x2065), (0xFFF0, 0xFFF8), (0xE0000, 0xE0FFF))
_SEEN_CONTROLS: Final = frozenset("\t\n\v\f\r\x85")
# Combining classes of marks without which another letter is left: nuktas, voicing marks of kana, viramas, and the
# vowels of scripts from Telugu to Tibetan. Marks of class 0 are vowels of scripts, too, but for enclosing ones.
_OWN_LETTERS: Final = frozenset((0, 7, 8, 9, *range(84, 133)))

_EASY: Final = re.compile(r"[\t\n\v\f\r -~]*", re.ASCII)
_GAP: Final = re.compile(r"[\t\n\v\f\r ]{2}")
_WHITE: Final = frozenset("\t\n\v\f\r ")
# Scripts by the first word of a character's name, where a mark's says another one than those that it belongs to.
_SCRIPTS: Final = {"HIRAGANA": "KATAKANA", "HALFWIDTH": "KATAKANA"}
_MARKS: Final = {"\u3099": "KATAKANA", "\u309a": "KATAKANA", "\U0001133b": "GRANTHA", "\u1cf7": "BENGALI"}
_ASCII: Final = tuple(map(chr, range(128)))
_KINDS: Final = {ord(c): LETTER if c.isalpha() else DIGIT if c.isdigit() else OTHER for c in _ASCII}
_EASY_WORDS: Final = {ord(c): CONFUSABLES.get(low, LEET.get(low, low)) for c in _ASCII for low in (c.lower(),)}


@dataclass(frozen=True, slots=True)
class Piece:
    """What one piece of text adds to a view; all four are of one length."""

    chars: str
    """The view."""
    kinds: str
    """What each of them is."""
    before: str
    """The kind of the seen character before each of them in the text; REST within one that became several."""
    origins: Sequence[int]
    """Where in the text each of them comes from, counted in code points from the beginning of the stream."""


class Views:
    """Both views of one stream, fed with the text in pieces of whole code points."""

    __slots__ = ("_last", "_script", "_white", "read")

    def __init__(self) -> None:
        self.read = 0
        # The kind and the script of the last character that was seen, and whether it is white in WORDS.
        self._last = OTHER
        self._script = ""
        self._white = False

    def feed(self, text: str) -> tuple[Piece, Piece]:
        """What this text adds to PLAIN and to WORDS."""
        start = self.read
        self.read += len(text)
        # Most text is plain ASCII: each character becomes one, and all is done by few calls for the whole piece.
        if _EASY.fullmatch(text) and not (_GAP.search(text) or (self._white and text[:1] in _WHITE)):
            kinds = text.translate(_KINDS)
            before = (self._last + kinds)[: len(text)]
            if text:
                self._last, self._script, self._white = kinds[-1], "", text[-1] in _WHITE
            origins = range(start, self.read)
            return (
                Piece(text.lower(), kinds, before, origins),
                Piece(text.translate(_EASY_WORDS), kinds, before, origins),
            )
        plain, words = _Builder(self._last), _Builder(self._last)
        for at, seen in _seen(text, self._script):
            plain.add(start + at, seen.plain, seen.kind)
            white = seen.words == " "
            if not (white and self._white):
                words.add(start + at, seen.words, seen.kind)
            self._white, self._script = white, seen.script
        self._last = plain.last
        return plain.piece(), words.piece()


@dataclass(frozen=True, slots=True)
class Seen:
    """How one code point is read."""

    plain: str
    words: str
    kind: str
    script: str
    mark: bool
    """Makes another letter of one of its script before it."""


@lru_cache(maxsize=16384)
def read(char: str) -> Seen | None:
    """How one code point is read; None when it cannot be seen, or only decorates the one before."""
    if _ignorable(char):
        return None
    # Before letters are made small: the mark below ᾳ would become one.
    bare = "".join(c for c in unicodedata.normalize("NFKD", char) if not _ignorable(c))
    decomposed = unicodedata.normalize("NFKD", bare.casefold())
    plain = "".join(_plain(c) for c in decomposed if not _ignorable(c))
    words = "".join(CONFUSABLES.get(c, LEET.get(c, c)) for c in plain)
    return Seen(plain, words, _kind(char), _script(char), unicodedata.category(char)[0] == "M")


def _script(char: str) -> str:
    first = unicodedata.name(char, "").partition(" ")[0]
    return _MARKS.get(char, _SCRIPTS.get(first, first))


def _seen(text: str, script: str | None) -> Iterator[tuple[int, Seen]]:
    """The characters that count, with their indices. `script`: of what stands before; None when that is not known."""
    for at, char in enumerate(text):
        seen = read(char)
        if seen is not None and not (seen.mark and script not in (seen.script, None)):
            script = seen.script
            yield at, seen


def _plain(char: str) -> str:
    # Half of a surrogate pair has no encoding, and no engine could be asked about it.
    if unicodedata.category(char) == "Cs":
        return "\ufffd"
    digit = unicodedata.decimal(char, None)
    return DASHES.get(char, char) if digit is None else str(digit)


def fold(text: str, view: ViewName) -> str:
    """A piece of text in one view: what must be looked for in the view to find it."""
    if view == PLAIN:
        return "".join(seen.plain for _, seen in _seen(text, None))
    return re.sub(" +", " ", "".join(seen.words for _, seen in _seen(text, None)))


def kinds_of(text: str) -> str:
    """What its characters are that are seen, one letter for each."""
    return "".join(seen.kind for _, seen in _seen(text, None))


def alike(words: str, others: str) -> bool:
    """Whether two pieces of WORDS, of one length, may be the same word."""
    return words == others or all(b in ALIKE.get(a, a) for a, b in zip(words, others, strict=True))


def _ignorable(char: str) -> bool:
    category = unicodedata.category(char)
    if category == "Mn":
        return (
            char in _UNSEEN
            or unicodedata.combining(char) not in _OWN_LETTERS
            or 0xFE00 <= ord(char) <= 0xFE0F
            or 0xE0100 <= ord(char) <= 0xE01EF
        )
    if category == "Cc":
        return char not in _SEEN_CONTROLS
    if category == "Cn":
        return any(first <= ord(char) <= last for first, last in _RESERVED)
    return category in ("Cf", "Me") or char in _UNSEEN


def _kind(char: str) -> str:
    category = unicodedata.category(char)
    if category[0] == "N":
        return DIGIT
    if category[0] not in "LM":
        # Letters in circles and boxes are signs by category; a word ends before a trademark sign.
        return UNSPACED if category == "So" and _spelled(char) else OTHER
    point = ord(char)
    if any(first <= point <= last for first, last in _HANGUL):
        return HANGUL
    return UNSPACED if any(first <= point <= last for first, last in _UNSPACED) else LETTER


def _spelled(char: str) -> bool:
    return char in CONFUSABLES or unicodedata.normalize("NFKD", char).isalpha()


def _before(last: str, kind: str) -> str:
    """What stands before, to a character of this kind: of Hangul only a syllable of Hangul is the beginning."""
    if kind == HANGUL:
        return LETTER if last == HANGUL else OTHER
    return last


class _Builder:
    __slots__ = ("_before", "_chars", "_kinds", "_origins", "last")

    def __init__(self, last: str) -> None:
        self.last = last
        self._chars: list[str] = []
        self._kinds: list[str] = []
        self._before: list[str] = []
        self._origins: list[int] = []

    def add(self, at: int, chars: str, kind: str) -> None:
        more = len(chars) - 1
        self._chars.append(chars)
        self._kinds.append(kind + REST * more)
        self._before.append(_before(self.last, kind) + REST * more)
        self._origins.extend([at] * len(chars))
        self.last = kind

    def piece(self) -> Piece:
        return Piece("".join(self._chars), "".join(self._kinds), "".join(self._before), self._origins)
