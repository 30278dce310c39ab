"""What tier 0 looks for: one pattern as all engines need it, or a sentence on why it cannot be looked for.

A literal is found however it is disguised (`views.py`, WORDS), unless it has no letter: then digits are only digits.
A literal that begins or ends with a letter or digit is not found in the middle of a word, unless its pattern lets the
word go on there; a regular expression is not where it says `\\b`. An expression is looked for in PLAIN, where digits
stay digits.
"""

from dataclasses import dataclass, field

from understudy.guard.expression import ENDLESS, ExpressionError, parse, spelled, widths
from understudy.guard.findings import Severity
from understudy.guard.lookalikes import SHAPES
from understudy.guard.positions import NO_POSITIONS, Positions, count, positions
from understudy.guard.views import DIGIT, HANGUL, JOINED, LETTER, LETTERS, PLAIN, WORDS, ViewName, fold, kinds_of

MAX_LENGTH = 4096
"""Characters of a pattern as it is written."""
MAX_POSITIONS = 4096
"""Of one expression: what it takes to know at each character whether a match may be under way."""
BEFORE, AFTER = 0, 1
"""The sides of a literal."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """What is wanted: a literal or a regular expression."""

    detector: str
    name: str
    category: str
    severity: Severity
    literal: str = ""
    regex: str = ""
    check: str = ""
    """Names what a match must pass besides (`pii.py`)."""
    inside: tuple[bool, bool] = (False, False)
    """Whether a word may go on, BEFORE a literal and AFTER it."""


@dataclass(frozen=True, slots=True)
class Needle:
    """What is looked for: an expression by its `positions`, a literal by its `chars`, which an expression lacks."""

    pattern: Pattern
    view: ViewName
    expression: str
    """As hyperscan and RE2 read it."""
    width: int
    """Characters of the view that a match has at most."""
    starts_word: bool
    ends_word: bool
    chars: str = ""
    shape: str = ""
    """`chars` as engines look for them: in WORDS, whatever is alike has one shape."""
    positions: Positions = field(default_factory=lambda: NO_POSITIONS)

    def starts(self, text: str, end: int) -> list[int]:
        """Every index of `text`, a piece of the view, at which a match may begin that ends before index `end`."""
        if self.chars:
            return [end - len(self.chars)]
        return self.positions.starts(text, end)


class PatternError(Exception):
    """Which pattern cannot be looked for, why, and what to write instead."""


def prepare(pattern: Pattern, max_hold: int) -> Needle:
    """Everything about a pattern that does not depend on the text.

    Raises PatternError: also for one of which more would have to be held back than `max_hold` characters.
    """
    length = len(pattern.literal) + len(pattern.regex)
    if length > MAX_LENGTH:
        raise PatternError(
            f"pattern {pattern.name!r} is {length} characters long, and at most {MAX_LENGTH} can be: write several"
        )
    try:
        needle = _literal(pattern) if pattern.literal else _expression(pattern)
    except ExpressionError as error:
        raise PatternError(f"pattern {pattern.name!r}: {error}") from None
    # One more, to see whether the word goes on.
    if needle.width >= max_hold:
        raise PatternError(
            f"pattern {pattern.name!r} finds up to {needle.width} characters, and at most {max_hold - 1} can be held "
            f"back under stream.maxHoldChars: {max_hold}: write smaller bounds, or raise maxHoldChars"
        )
    return needle


def _literal(pattern: Pattern) -> Needle:
    seen = kinds_of(pattern.literal)
    # Spelt in digits and signs alone, 455 must not be found for ass, nor the other way round.
    view = PLAIN if LETTERS.isdisjoint(seen) else WORDS
    chars = fold(pattern.literal, view)
    if not chars.strip():
        raise ExpressionError("its literal has no character that can be seen: write some text")
    shape = chars.translate(SHAPES) if view == WORDS else chars
    expression = "".join(f"\\x{{{ord(char):x}}}" for char in shape)
    starts = seen[0] in (DIGIT, LETTER, HANGUL) and not pattern.inside[BEFORE]
    ends = seen[-1] in JOINED and not pattern.inside[AFTER]
    return Needle(pattern, view, expression, len(chars), starts, ends, chars=chars, shape=shape)


def _expression(pattern: Pattern) -> Needle:
    expression = parse(pattern.regex)
    least, most = widths(expression.node)
    if most == ENDLESS:
        raise ExpressionError(
            f"{pattern.regex!r} repeats without end, and nothing could be released while it might go on: "
            "write bounds, such as {0,40} for * and {1,40} for +"
        )
    if least == 0:
        raise ExpressionError(
            f"{pattern.regex!r} matches nothing at all, which is everywhere: name at least one character"
        )
    if count(expression.node) > MAX_POSITIONS:
        raise ExpressionError(
            f"{pattern.regex!r} is {count(expression.node)} characters long with all its repetitions written out, and "
            f"at most {MAX_POSITIONS} can be: write smaller bounds, or several patterns"
        )
    return Needle(
        pattern,
        PLAIN,
        spelled(expression.node),
        most,
        expression.starts_word,
        expression.ends_word,
        positions=positions(expression.node),
    )
