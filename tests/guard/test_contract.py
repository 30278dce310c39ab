"""What every detector must keep, whatever it looks for and whichever engine it asks."""

import itertools
import random
from collections.abc import Sequence

import pytest

from tests.guard.corpus import LONG, SHORT, needles
from understudy.guard.detectors import Detector
from understudy.guard.engines import EngineError, MakeEngine
from understudy.guard.findings import Step
from understudy.guard.hyperscan_engine import hyperscan_engine
from understudy.guard.lexicon import lexicon_patterns
from understudy.guard.needles import Needle, Pattern, prepare
from understudy.guard.pii import CHECKS, ENTITIES, pii_patterns
from understudy.guard.portable_engine import PortableEngine
from understudy.guard.scan import Scanner

WORDS = "darn\nkick the bucket\tlow\n[slur]\nknave\nass\tmedium\n人殺し\n1488\n"
PATTERNS: dict[str, Sequence[Pattern]] = {
    "patterns": [needle.pattern for needle in needles()],
    "pii": pii_patterns("pii", ENTITIES),
    "lexicon": lexicon_patterns("lexicon", "lexicon", WORDS),
}
ENGINES: dict[str, MakeEngine] = {"hyperscan": hyperscan_engine, "portable": PortableEngine}
TEXTS = (
    *SHORT[::3],
    *LONG,
    "pay 4111 1111 1111 1111 or DE89 3704 0044 0532 0130 00; mail j.doe@example.org, call +49 30 1234567.",
    "key sk-0123456789abcdefghij from 203.0.113.7, ssn 219-09-9999, knave! 2001:db8::8a2e:370:7334",
)


class Unsure:
    """An engine of one stream that fails at the third question."""

    def __init__(self, needles: Sequence[Needle]) -> None:
        self.asked = 0

    def open(self) -> "Unsure":
        return self

    def scan(self, chars: str) -> list[tuple[int, int]]:
        self.asked += 1
        if self.asked > 2:
            raise EngineError("planted")
        return []

    def close(self) -> None:
        """Nothing to free."""


def build(kind: str, make: MakeEngine) -> Scanner:
    return Scanner([prepare(pattern, 2048) for pattern in PATTERNS[kind]], make, CHECKS)


# Compiled once, as in a process that serves.
DETECTORS: dict[str, Detector] = {
    f"{kind}-{name}": build(kind, make) for kind in PATTERNS for name, make in ENGINES.items()
}


@pytest.fixture(params=DETECTORS)
def detector(request: pytest.FixtureRequest) -> Detector:
    return DETECTORS[request.param]


def ask(detector: Detector, parts: Sequence[str]) -> list[Step]:
    session = detector.open()
    return [*(session.feed(part) for part in parts), session.finish()]


def cut(text: str, cuts: Sequence[int]) -> list[str]:
    return [text[a:b] for a, b in itertools.pairwise([0, *cuts, len(text)])]


def some_cuts(text: str) -> list[list[int]]:
    chance = random.Random(len(text))
    cuts = [sorted(chance.sample(range(len(text) + 1), min(len(text), count))) for count in (1, 3, 12)]
    return [*cuts, list(range(1, len(text)))]


ALL_CUTS = [(text, cuts) for text in TEXTS for cuts in some_cuts(text)]


def test_the_same_text_gives_the_same_findings_however_it_is_cut(detector: Detector) -> None:
    for text in TEXTS:
        whole = [finding for step in ask(detector, [text]) for finding in step.findings]
        for cuts in some_cuts(text):
            assert [finding for step in ask(detector, cut(text, cuts)) for finding in step.findings] == whole


def test_what_is_clear_never_becomes_unclear_and_holds_no_later_finding(detector: Detector) -> None:
    for text, cuts in ALL_CUTS:
        parts = cut(text, cuts)
        safe = read = 0
        for part, step in zip([*parts, ""], ask(detector, parts), strict=True):
            assert all(finding.start >= safe for finding in step.findings)
            read += len(part)
            assert safe <= step.safe_upto <= read
            safe = step.safe_upto
        assert safe == len(text)


def test_findings_lie_in_the_text_and_are_certain_when_they_are_said(detector: Detector) -> None:
    for text in TEXTS:
        parts, read = [*cut(text, list(range(3, len(text), 3))), ""], 0
        for part, step in zip(parts, ask(detector, parts[:-1]), strict=True):
            read += len(part)
            for finding in step.findings:
                assert 0 <= finding.start < finding.end <= finding.decided + 1 <= len(text) + 1
                assert max(finding.decided, finding.clear) <= read
                assert finding.severity in (2, 4, 6)
            assert list(step.findings) == sorted(step.findings, key=lambda finding: finding.decided)


@pytest.mark.parametrize("kind", PATTERNS)
def test_a_failure_is_never_an_answer(kind: str) -> None:
    detector = build(kind, Unsure)
    steps = ask(detector, ["da", "rn", " kick", " the", " bucket"])
    failed = next(at for at, step in enumerate(steps) if step.status != "ok")
    assert {step.status for step in steps[failed:]} == {"error"}
    assert {step.safe_upto for step in steps[failed:]} == {steps[failed - 1].safe_upto}
    assert [step.findings for step in steps[failed:]] == [()] * (len(steps) - failed)


@pytest.mark.parametrize("kind", PATTERNS)
def test_memory_is_bounded_by_what_can_be_held_back(kind: str) -> None:
    detector = DETECTORS[f"{kind}-hyperscan"]
    session = detector.open()
    assert isinstance(detector, Scanner)
    widest = max(lane.width for lane in detector.lanes.values())
    for _ in range(400):
        session.feed("nothing much but 12 e@e and da rn, é\u0301 ")
        assert max(len(lane._chars) for _, lane in session._lanes) <= widest + 400  # type: ignore[attr-defined]


def test_texts_of_one_detector_know_nothing_of_each_other(detector: Detector) -> None:
    whole = [ask(detector, [text]) for text in TEXTS]
    sessions = [detector.open() for _ in TEXTS]
    first = [session.feed(text[: len(text) // 2]) for session, text in zip(sessions, TEXTS, strict=True)]
    rest = [session.feed(text[len(text) // 2 :]) for session, text in zip(sessions, TEXTS, strict=True)]
    last = [session.finish() for session in sessions]
    for steps, *parts in zip(whole, first, rest, last, strict=True):
        assert [f for step in parts for f in step.findings] == [f for step in steps for f in step.findings]
