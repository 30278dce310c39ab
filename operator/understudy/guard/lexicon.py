"""Word lists: a term a line, and what it means.

# a remark
[slur]                 category of the terms that follow
some term              severity high
another<TAB>medium     severity low, medium or high
stem*                  a word may go on there; before its first letter: come before
"""

import re
from typing import Final

from understudy.guard.findings import Severity
from understudy.guard.needles import Pattern

MAX_TERMS: Final = 20_000
# Of a line, as much as it takes to know it again.
_SHOWN: Final = 64
_SEVERITIES: Final[dict[str, Severity]] = {"low": 2, "medium": 4, "high": 6}
_CATEGORY: Final = re.compile(r"\[([a-z][a-z0-9_]{0,63})\]")


class LexiconError(Exception):
    """Which line of a word list cannot be read, and what to write instead."""


def lexicon_patterns(detector: str, category: str, text: str) -> tuple[Pattern, ...]:
    """The terms of a word list, of `category` unless it names others.

    Findings bear the number of the term's line, so that no record repeats the word.

    Raises LexiconError.
    """
    found: list[Pattern] = []
    for number, line in enumerate(text.removeprefix("\ufeff").splitlines(), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        if line.startswith("["):
            category = _category(number, line)
            continue
        term, tab, severity = line.partition("\t")
        if tab and severity.strip() not in _SEVERITIES:
            shown = severity.strip()[:_SHOWN]
            raise LexiconError(f"line {number}: severity {shown!r}: write low, medium or high after the tab")
        grave = _SEVERITIES[severity.strip() or "high"]
        literal, inside = _stem(term.strip())
        found.append(Pattern(detector, f"line {number}", category, grave, literal=literal, inside=inside))
    if not found:
        raise LexiconError("no term in the whole list: write one a line")
    if len(found) > MAX_TERMS:
        raise LexiconError(f"{len(found)} terms, and at most {MAX_TERMS} can be: write several lists, or a shorter one")
    return tuple(found)


def _stem(term: str) -> tuple[str, tuple[bool, bool]]:
    """A term without the stars that say where its word may go on. Other stars are meant as they stand."""
    before = len(term) > 1 and term[0] == "*" and term[1].isalnum()
    after = len(term) > 1 and term[-1] == "*" and term[-2].isalnum()
    return term[before : len(term) - after], (before, after)


def _category(number: int, line: str) -> str:
    match = _CATEGORY.fullmatch(line)
    if match is None:
        raise LexiconError(
            f"line {number}: {line[:_SHOWN]!r} is no category: write small letters, digits and _ in brackets, "
            "such as [slur]"
        )
    return match[1]
