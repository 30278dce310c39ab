"""Parts of one message as the one text that engines make of them: a word that lies across a seam is a word.

vLLM makes lines of them, or hands them to a template, and templates write one behind the other, with or without the
white space around each. Parts are judged by themselves too; what is looked at here is the seams, with as much of the
text around them as can matter, so that a long text is not read twice for having a short one beside it.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

from understudy.gateway.policy.said import Said


@dataclass(frozen=True, slots=True)
class Joined:
    """Parts of one message as one text; it stands where Said does. `seams`: where one ends and the next one begins."""

    parts: tuple[Said, ...]
    text: str
    seams: tuple[tuple[int, int], ...]

    json: ClassVar = False
    word: ClassVar = False

    @property
    def path(self) -> str:
        """How a person finds it."""
        return self.parts[0].part_of

    @property
    def role(self) -> str:
        """Who says it."""
        return self.parts[0].role

    @property
    def answered(self) -> bool:
        """Whether somebody has said something to it already."""
        return self.parts[0].answered

    def put(self, text: str) -> None:
        """Have the model hear something else: the first part says all of it."""
        self.parts[0].put(text)
        for part in self.parts[1:]:
            part.put("")

    def across(self, start: int, end: int) -> bool:
        """Whether a place in it begins before a seam and ends behind it."""
        at = bisect_right(self.seams, start, key=lambda seam: seam[0])
        return at < len(self.seams) and self.seams[at][1] < end

    def part_at(self, place: int) -> Said:
        """The part in which a place is."""
        return self.parts[bisect_right(self.seams, place, key=lambda seam: seam[0])]


def runs(texts: Sequence[Said]) -> list[tuple[int, ...]]:
    """Which texts are put together, by their numbers: all parts of a message, and those of them that are no thought or
    refusal, which a template may leave out.
    """
    found: dict[tuple[str, bool], list[int]] = {}
    for number, each in enumerate(texts):
        if each.part_of:
            found.setdefault((each.part_of, False), []).append(number)
            if each.place == "text" or each.place.__class__ is int:
                found.setdefault((each.part_of, True), []).append(number)
    return list(dict.fromkeys(tuple(run) for run in found.values() if len(run) > 1))


def ways(heard: Sequence[str]) -> Iterator[tuple[Sequence[str], str]]:
    """What engines and templates make of these texts: the texts, and what stands between two of them."""
    yield heard, ""
    yield heard, "\n"
    trimmed = [text.strip() for text in heard]
    if trimmed != heard:
        yield trimmed, ""


def join(parts: Sequence[Said], texts: Sequence[str], glue: str) -> Joined:
    """All of it as one text."""
    at, seams = 0, []
    for text, _ in pairwise(texts):
        at += len(text)
        seams.append((at, at + len(glue)))
        at += len(glue)
    return Joined(tuple(parts), glue.join(texts), tuple(seams))


def around(parts: Sequence[Said], texts: Sequence[str], glue: str, room: int) -> Iterator[Joined]:
    """All of its seams, with so many characters on both sides of each, or more where that is one text."""
    some: list[Said] = []
    said: list[str] = []
    for part, text in zip(parts, texts, strict=True):
        some.append(part)
        if len(text) > 2 * room:
            said.append(text[:room])
            if len(some) > 1:
                yield join(some, said, glue)
            some, said = [part], [text[-room:]]
        else:
            said.append(text)
    if len(some) > 1:
        yield join(some, said, glue)
