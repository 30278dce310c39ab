"""The second look: it sees what should not have come out, and nothing in what may."""

import json
import random
from dataclasses import replace
from typing import Any

import pytest

from tests.guard.corpus import EXPRESSIONS, LITERALS, LONG, SHORT
from tests.guard.test_policy import BLOCK_SLURS, PII, made, patterns, plan, rule
from understudy.guard.actions import Fiction
from understudy.guard.engines import EngineError
from understudy.guard.findings import Step
from understudy.guard.gate import Gate
from understudy.guard.json_gate import JsonGate, json_plans
from understudy.guard.plan import Plan
from understudy.guard.policy import Policy
from understudy.guard.scan import Scan
from understudy.guard.second import PIECE, Leak, Second, Text, second_of

CARD = "4111 1111 1111 1111"
DARN = patterns(
    {"name": "d", "literal": "darn", "category": "slur"},
    {"name": "two", "literal": "kick the bucket", "category": "slur"},
)
POLICY = made(DARN, PII, rules=[BLOCK_SLURS, rule("pii", {"medium": ["Redact"]})])
ALL = [
    *({"name": f"l{number}", "literal": each} for number, each in enumerate(dict.fromkeys(LITERALS))),
    *({"name": name, "regex": each} for name, each in EXPRESSIONS.items()),
]


TEXTS = [*SHORT, *LONG]


def second(*policies: Policy) -> Second:
    made_ = second_of(policies or (POLICY,))
    assert made_ is not None
    return made_


def look(text: Text | str, of: Second | None = None, fiction: Fiction = "") -> list[tuple[str, int, int]]:
    """What is seen: categories and places."""
    steps = (of or second()).look(Text(text) if isinstance(text, str) else text, fiction=fiction)
    while True:
        try:
            next(steps)
        except StopIteration as over:
            return sorted((leak.category, leak.start, leak.end) for leak in over.value)


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("well, darn it", [("slur", 6, 10)]),
        ("a darn day", [("slur", 2, 6)]),
        ("darn", [("slur", 0, 4)]),
        ("ｄ\u200bａｒｎ it", [("slur", 0, 5)]),
        ("to kick  the bucket", [("slur", 3, 19)]),
        (f"my {CARD}, darn", [("pii", 3, 22), ("slur", 24, 28)]),
        ("a darned barn", []),
        ("4111 1111 1111 1112", []),
        ("", []),
    ],
)
def test_what_can_be_read_is_seen(text: str, seen: list[tuple[str, int, int]]) -> None:
    assert look(text) == seen


def test_it_says_whose_rule_was_broken() -> None:
    other = made(DARN, rules=[BLOCK_SLURS], name="other")
    steps = second(POLICY, other).look(Text("darn"))
    next(steps)
    with pytest.raises(StopIteration) as over:
        next(steps)
    assert set(over.value.value) == {Leak("g", "slur", 0, 4), Leak("other", "slur", 0, 4)}


def test_words_between_two_spaces_are_seen_without_any_view_or_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Scan, "feed", lambda self, text: Step(0))
    monkeypatch.setattr(Scan, "finish", lambda self: Step(0))
    assert look("oh DaRN it, a darn") == [("slur", 3, 7)]
    assert look("oh darn, it dаrn is naïve") == []


def test_what_stands_beside_a_mask_had_another_neighbour_and_is_no_leak() -> None:
    for text in ("darn[pii]", "[pii]darn", "darn\u200b[pii] x", "x [pii]\u0301darn", "[pii]darn[pii]", "[slur]darn"):
        assert look(text) == [], text
    for text in ("darn [pii]", "[pii] darn", "[pii], darn", "[else]darn", "[pii]x darn y[pii]"):
        assert [category for category, *_ in look(text)] == ["slur"], text


def test_a_mask_is_not_read_as_what_it_says() -> None:
    word = patterns({"name": "w", "literal": "slur", "category": "slur"})
    assert look("a [slur] b", second(made(word, rules=[BLOCK_SLURS]))) == []
    assert look("a slur b", second(made(word, rules=[BLOCK_SLURS]))) == [("slur", 2, 6)]


def test_of_an_answer_that_was_cut_off_its_last_word_may_be_the_beginning_of_another() -> None:
    assert look(Text("oh darn", whole=False)) == []
    assert look(Text("oh darn\u200b", whole=False)) == []
    assert look(Text("oh darn.", whole=False)) == [("slur", 3, 7)]
    assert look(Text(f"my {CARD}", whole=False)) == []


def test_what_somebody_had_already_did_not_come_out() -> None:
    assert look(Text("darn it", 4)) == []
    assert look(Text("a darn it", 4)) == [("slur", 2, 6)], "its end did"


def test_strings_of_json_are_read_as_what_they_mean() -> None:
    said = {"a darn b": "d\u0061rn", "n": [CARD, "darn\nit"]}
    text = json.dumps(said).replace("darn\\n", "d\\u0061rn\\n")
    assert [category for category, *_ in look(Text(text, json=True))] == ["pii", "slur", "slur", "slur"]
    assert look(Text('{"n": 4111111111111111}', json=True)) == [("pii", 5, 21)], "the names are not there"
    assert look(Text('{"a": "darn[pii]", "b": "da", "rn": 1}', json=True)) == []
    assert look(Text('"oh \\darn"', json=True)) == [("slur", 4, 8)], "what is no escape is read as it stands"
    assert look(Text('"\\ud83d darn"', json=True)) == [("slur", 2, 6)]


def test_of_json_that_was_cut_off_only_the_last_string_may_go_on() -> None:
    assert look(Text('{"darn": "oh darn', json=True, whole=False)) == [("slur", 0, 4)]
    assert look(Text('{"a": "oh darn', json=True)) == [("slur", 3, 7)]
    assert look(Text('{"n": 4111111111111111', json=True, whole=False)) == []


def test_only_what_is_enforced_is_looked_for() -> None:
    assert second_of([made(DARN, rules=[BLOCK_SLURS], mode="monitor")]) is None
    assert second_of([made(DARN, rules=[rule("slur", {"high": ["Annotate"]})])]) is None
    assert second_of([made(DARN, rules=[{**BLOCK_SLURS, "where": ["input"]}])]) is None
    assert second_of([]) is None
    both = second(made(DARN, PII, rules=[BLOCK_SLURS, rule("pii", {"medium": ["Log"]})]))
    assert look(f"{CARD} darn", both) == [("slur", 20, 24)]


def test_what_a_story_may_say_is_no_leak_in_a_story() -> None:
    mild = made(DARN, rules=[{**BLOCK_SLURS, "fictionAllowance": 1}], audience="adults")
    assert look("darn", second(mild), fiction="fiction") == []
    assert look("darn", second(mild)) == [("slur", 0, 4)]


def test_an_engine_that_fails_says_nothing() -> None:
    for method in ("feed", "finish"):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Scan, method, lambda self, *_: Step(0, status="error"))
            with pytest.raises(EngineError, match="has failed"):
                look("well")


def test_a_long_text_is_looked_at_in_steps() -> None:
    steps = second().look(Text("x" * PIECE + " darn " + "y" * PIECE))
    assert sum(1 for _ in steps) == 3
    assert look("x" * (PIECE - 2) + " darn y") == [("slur", PIECE - 1, PIECE + 3)]


def policy(action: str) -> Policy:
    detector = patterns(*({**each, "category": "slur"} for each in ALL))
    return made(detector, PII, rules=[rule("slur", {"high": [action]}), rule("pii", {"medium": [action]})])


def gone_out(judged: Plan, text: str, sizes: random.Random, *, is_json: bool = False) -> Text:
    """What a gate lets out of a text that comes in pieces of these sizes, up to where its reader goes away."""
    gate: Any = JsonGate(json_plans(judged)) if is_json else Gate(judged)
    out, at, end = "", 0, None
    reader_stays = sizes.random() < 0.7
    while at < len(text) and end is None:
        size = sizes.randint(1, 9)
        release = gate.feed(text[at : at + size])
        out, at, end = out + release.text, at + size, release.end
        if not reader_stays and at > len(text) // 2:
            gate.close()
            return Text(out, json=is_json, whole=False)
    if end is None:
        release = gate.finish()
        out, end = out + release.text, release.end
    gate.close()
    return Text(out, json=is_json, whole=end is None)


@pytest.mark.parametrize("action", ["Block", "Redact", "Replace"])
def test_of_what_gates_let_out_nothing_is_a_leak(action: str) -> None:
    judged, sees, sizes = plan(policy(action)), second(policy(action)), random.Random(action)
    for text in TEXTS * 3:
        came = gone_out(judged, text, sizes)
        assert look(came, sees) == [], (text, came)
        as_json = gone_out(judged, json.dumps({"a": text, "n": 1}), sizes, is_json=True)
        assert look(as_json, sees) == [], (text, as_json)


def test_a_gate_that_forgets_to_hold_back_or_to_judge_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    text, judged, sees = "oh darn it, my 4111 1111 1111 1111 is gone", plan(policy("Redact")), second(policy("Redact"))
    assert look(gone_out(judged, text, random.Random(1)), sees) == []
    with monkeypatch.context() as patch:
        patch.setattr(Gate, "_mask", lambda self, judged: None)
        assert {category for category, *_ in look(gone_out(judged, text, random.Random(1)), sees)} == {"pii", "slur"}
    with monkeypatch.context() as patch:
        patch.setattr(Gate, "_judge", lambda self, findings: ())
        assert look(gone_out(judged, text, random.Random(1)), sees)


def test_an_engine_that_overlooks_something_is_seen() -> None:
    deaf = replace(plan(policy("Block")), detector=plan(made(PII, rules=[rule("pii", {"medium": ["Block"]})])).detector)
    gate = Gate(deaf)
    out = gate.feed("oh darn it").text + gate.finish().text
    assert [category for category, *_ in look(out, second(policy("Block")))] == ["slur"]
