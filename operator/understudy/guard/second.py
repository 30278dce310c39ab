"""A second opinion on what was let out: whether anything that a rule forbids can be read in it after all.

Gates, holding back, masks, the automaton and hyperscan have had their say by then, and none of them is asked again. The
whole text that a reader has got is looked at from its beginning, by the portable engine; and, as somebody would who
knows nothing of views, for words between two spaces. Both find nothing unless something is wrong with us.

Where a mask stands, or an answer was cut off, there is another neighbour now than there was: `bar` is no word in
`barSECRET` and is one in `bar[pii]`. What is certain by such a neighbour alone is no leak. So is the beginning of
something: that half a word came out can be told by nobody who does not know the other half.
"""

import json
import re
from bisect import bisect_left
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from understudy.guard.actions import Content, Fiction, combine
from understudy.guard.engines import EngineError
from understudy.guard.findings import Finding, Step
from understudy.guard.needles import Needle
from understudy.guard.pii import CHECKS
from understudy.guard.plan import Plan
from understudy.guard.policy import Policy
from understudy.guard.portable_engine import PortableEngine
from understudy.guard.scan import Scanner
from understudy.guard.surrogates import joined

PIECE: Final = 256
"""Characters that are looked at in one step: a third of a millisecond's worth with 1,600 words and numbers."""
_LITERAL: Final = re.compile(r'"((?:[^"\\]|\\.)*)("?)', re.DOTALL)


@dataclass(frozen=True, slots=True)
class Text:
    """What somebody has read. The characters before `begin` they had already; `whole`: it was not cut off."""

    text: str
    begin: int = 0
    json: bool = False
    whole: bool = True


@dataclass(frozen=True, slots=True)
class Leak:
    """Something that should not have come out: of which Guardrail and category, and where it stands in its text."""

    guardrail: str
    category: str
    start: int
    end: int


Leaks = tuple[Leak, ...]


class Second:
    """What is looked for again: all that tier 0 enforces on answers."""

    def __init__(self, needles: Sequence[Needle], rules: Plan) -> None:
        self._plan = rules
        self._words: dict[str, list[Needle]] = {}
        for needle in needles:
            literal = needle.pattern.literal
            if literal.isascii() and literal.isalpha():
                self._words.setdefault(literal.lower(), []).append(needle)
        masks = sorted({re.escape(f"[{rule.category}]") for said in rules.rules.values() for rule in said})
        self._masks = re.compile("|".join(masks))

    def look(self, text: Text, *, fiction: Fiction = "", in_crisis: bool = False) -> Generator[None, None, Leaks]:
        """What there is to see in it, in steps of PIECE characters. Raises EngineError where that cannot be told."""
        leaks: Leaks = ()
        for part in _strings(text) if text.json else (text,):
            findings = [*(yield from self._scanned(part)), *self._between_spaces(part)]
            masks = [match.span() for match in self._masks.finditer(part.text)]
            # Of two opinions on the same words one is enough.
            leaks += tuple(
                {
                    Leak(finding.detector.partition("/")[0], finding.category, finding.start, finding.end): True
                    for finding in findings
                    if self._forbidden(finding, part, masks)
                    and self._acts(finding, fiction=fiction, in_crisis=in_crisis)
                }
            )
        return leaks

    def _scanned(self, text: Text) -> Generator[None, None, list[Finding]]:
        scan, findings = self._plan.detector.open(), list[Finding]()
        for at in range(0, len(text.text), PIECE):
            findings += _said(scan.feed(text.text[at : at + PIECE]))
            yield
        return findings + _said(scan.finish())

    def _between_spaces(self, text: Text) -> Iterable[Finding]:
        """Words of ASCII letters alone, as they are written, with a space on both sides: nobody can doubt those."""
        at = 0
        words = text.text.split(" ")
        for place, word in enumerate(words):
            if 0 < place < len(words) - 1 and word.isascii():
                for needle in self._words.get(word.lower(), ()):
                    pattern, end = needle.pattern, at + len(word)
                    yield Finding(
                        pattern.detector, pattern.name, pattern.category, pattern.severity, None, at, end, end, at
                    )
            at += len(word) + 1

    def _forbidden(self, finding: Finding, text: Text, masks: Sequence[tuple[int, int]]) -> bool:
        """Whether it would have been found in the text that the engine said, too."""
        if finding.end <= text.begin or (finding.decided >= len(text.text) and not text.whole):
            return False
        after = bisect_left(masks, (finding.end,))
        near = masks[max(0, after - 1) : after + 1]
        return not any(
            (start < finding.end and end > finding.start)
            or not _apart(text.text[end : finding.start] if end <= finding.start else text.text[finding.end : start])
            for start, end in near
        )

    def _acts(self, finding: Finding, *, fiction: Fiction, in_crisis: bool) -> bool:
        said = self._plan.decide(finding, fiction=fiction)
        return combine(said, in_crisis=in_crisis).content >= Content.REDACT


def second_of(policies: Sequence[Policy]) -> Second | None:
    """What is looked for again under these policies; None if they enforce nothing that is found at once.

    Raises PatternError where the portable engine does not take a pattern.
    """
    enforced = [policy for policy in policies if policy.enforced]
    needles = [needle for policy in enforced for needle in policy.needles if _is_enforced(policy, needle)]
    if not needles:
        return None
    detectors = {needle.pattern.detector: policy for policy in enforced for needle in policy.needles}
    rules = {name: tuple(each.rule for each in policy.about("output")) for name, policy in detectors.items()}
    return Second(needles, Plan("output", Scanner(needles, PortableEngine, CHECKS, lambda _: False), rules))


def _said(step: Step) -> list[Finding]:
    if step.status != "ok":
        raise EngineError("the portable engine has failed over a text that was let out")
    return list(step.findings)


def _is_enforced(policy: Policy, needle: Needle) -> bool:
    pattern = needle.pattern
    return policy.strictest("output", pattern.category, pattern.severity) >= Content.REDACT


def _apart(between: str) -> bool:
    """Whether something stands between two places that every reader sees."""
    return any(char.isascii() and char.isprintable() for char in between)


def _strings(text: Text) -> Iterable[Text]:
    """The strings of a JSON text as they are read, and what is around them."""
    for match in _LITERAL.finditer(text.text):
        said, closed = match.groups()
        try:
            meant = json.loads(f'"{said}"', strict=False)
        except ValueError:
            meant = said
        yield Text(joined(meant), whole=bool(closed) or text.whole)
    yield Text(_LITERAL.sub('""', text.text), whole=text.whole)
