"""What must hold for every text that a guardrail judges, and for every policy that somebody writes.

Kept by themselves since they need the engines, which the gateway's readers do not.
"""

import itertools
import random
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any, Final

import re2

from understudy.guard.actions import Rule, decision
from understudy.guard.findings import Finding
from understudy.guard.gate import Gate
from understudy.guard.hyperscan_engine import hyperscan_engine
from understudy.guard.needles import MAX_LENGTH, Needle, Pattern, prepare
from understudy.guard.plan import Plan
from understudy.guard.policy import MAX_POSITIONS, PolicyError, compile_policy
from understudy.guard.portable_engine import PortableEngine
from understudy.guard.scan import Scanner
from understudy.guard.second import Leaks, Second, Text
from understudy.guard.surrogates import joined

CHUNKINGS: Final = 12
"""Of each text, so that a minute of fuzzing sees some hundred thousand."""
_BLOCKED: Final = ("darn", "kick the bucket", "hell", "人殺し", "바보", "ναι", "ใจร้าย", "@ss", "1488")
_REDACTED: Final = (
    r"\b[a-z0-9][a-z0-9._-]{0,20}@[a-z0-9.-]{1,20}\.[a-z]{2,8}\b",
    r"\b(?:\d[ -]?){3,7}\d\b",
    r"ab{1,5}(c|de){0,2}x?",
    r"[а-яё]{2,4}!",
)


@cache
def _needles() -> list[Needle]:
    patterns = [Pattern("words", each, "rude", 6, literal=each) for each in _BLOCKED]
    patterns += [Pattern("shapes", each, "shape", 4, regex=each) for each in _REDACTED]
    return [prepare(each, 2048) for each in patterns]


@cache
def _scanner(portable: bool) -> Scanner:
    return Scanner(_needles(), PortableEngine if portable else hyperscan_engine, {})


@cache
def _second(words: str) -> Second:
    return Second(_needles(), replace(_plan(words), detector=_scanner(portable=True)))


def _plan(words: str) -> Plan:
    def rule(category: str, action: str) -> tuple[Rule, ...]:
        return (Rule(category, frozenset({"output"}), {2: decision([action])}, {}),)

    rules = {"words": rule("rude", words), "shapes": rule("shape", "Redact")}
    return Plan("output", _scanner(portable=False), rules)


def guard(data: bytes) -> None:
    """What a gate lets out is the same for every cut, has nothing forbidden, and nothing else is missing.

    A second look at it finds nothing.
    """
    judge(_text(data), random.Random(data))


def chunkings(inputs: Sequence[bytes], least: int) -> int:
    """Texts at random from pieces of known inputs, until at least so many cuts of them were tried; how many were."""
    chance, tried = random.Random(least), 0
    texts = [_text(data) for data in inputs]
    while tried < least:
        pieces = [chance.choice(texts) for _ in range(chance.randint(1, 3))]
        judge("".join(each[chance.randint(0, len(each)) // 2 :] for each in pieces), chance)
        tried += 2 * CHUNKINGS
    return tried


def judge(text: str, chance: random.Random) -> None:
    """The same of a text, cut at random."""
    for action in ("Redact", "Block"):
        plan = _plan(action)
        out = _let_out(plan, [text])
        findings = _found(joined(text))
        if action == "Redact":
            assert out == _without(joined(text), findings)
        else:
            begin = min((each.start for each in findings if each.detector == "words"), default=None)
            clear = joined(text)[:begin]
            masked = [each for each in findings if begin is None or each.end <= begin]
            assert _without(clear, masked).startswith(out)
            assert begin is not None or out == _without(clear, masked)
        blocked = action == "Block" and any(each.detector == "words" for each in findings)
        assert _seen(_second(action), Text(out, whole=not blocked)) == ()
        for _ in range(CHUNKINGS):
            cuts = sorted(chance.choices(range(len(text) + 1), k=chance.randint(1, 8)))
            assert _let_out(plan, [text[a:b] for a, b in itertools.pairwise([0, *cuts, len(text)])]) == out


def _seen(second: Second, text: Text) -> Leaks:
    steps = second.look(text)
    while True:
        try:
            next(steps)
        except StopIteration as over:
            leaks: Leaks = over.value
            return leaks


def _text(data: bytes) -> str:
    try:
        # Halves of surrogate pairs, as JSON can have them.
        return data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return data.decode("utf-8", "replace")


def _let_out(plan: Plan, parts: list[str]) -> str:
    gate = Gate(plan)
    out = [gate.feed(part).text for part in parts]
    return "".join([*out, gate.finish().text])


def _found(text: str) -> list[Finding]:
    """By the other engine, character by character."""
    scan = _scanner(portable=True).open()
    steps = [*(scan.feed(char) for char in text), scan.finish()]
    assert all(step.status == "ok" for step in steps)
    return [finding for step in steps for finding in step.findings]


def _without(text: str, findings: list[Finding]) -> str:
    out, end = [], 0
    spans = sorted((each.start, -each.end, each.category) for each in findings)
    for start, negative, category in spans:
        if start >= end:
            out += [text[end:start], f"[{category}]"]
        end = max(end, -negative)
    return "".join([*out, text[end:]])


def policy(data: bytes) -> None:
    """Any policy is taken or refused with all that is wrong; what is taken is bounded, and means what RE2 means."""
    kind, _, rest = data.partition(b"\n")
    written, _, text = _text(rest).partition("\x00")
    spec, sources = _spec(kind, written)
    try:
        taken = compile_policy("g", spec, sources)
    except PolicyError as error:
        assert error.problems
        assert all(error.problems)
        assert max(map(len, error.problems)) < 4 * MAX_LENGTH + 1000
        return
    assert sum(len(needle.positions.chars) for needle in taken.needles) <= MAX_POSITIONS
    assert all(0 < needle.width < taken.max_hold for needle in taken.needles)
    for needle in taken.needles[:4]:
        if not needle.chars:
            _means(needle.expression, needle.starts, text[:12])


def _spec(kind: bytes, written: str) -> tuple[dict[str, Any], dict[str, str]]:
    detector: dict[str, Any] = {"name": "d", "type": "patterns"}
    sources: dict[str, str] = {}
    if kind == b"words":
        detector = {"name": "d", "type": "lexicon", "configMapRef": {"name": "c"}}
        sources["d"] = written
    elif kind == b"list":
        detector["configMapRef"] = {"name": "c"}
        sources["d"] = written
    else:
        detector["patterns"] = [{"name": "n", "literal" if kind == b"literal" else "regex": written or "x"}]
    return {"detectors": [detector], "rules": [{"category": "d", "actions": {"high": ["Block"]}}]}, sources


def _means(expression: str, starts: Any, text: str) -> None:
    try:
        theirs = re2.compile(f"(?s:{expression})")
    except re2.error:
        return
    text = joined(text)
    for end in range(len(text) + 1):
        wanted = [start for start in range(end + 1) if theirs.fullmatch(text[start:end])]
        assert starts(text, end) == wanted
