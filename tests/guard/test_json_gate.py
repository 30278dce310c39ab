"""JSON through a gate: judged as it will be read, let out without a broken escape, whatever the cuts."""

import json
from dataclasses import replace
from typing import Any

import pytest

from tests.guard.test_policy import BLOCK_SLURS, PII, made, patterns, plan, rule
from understudy.guard.actions import Content, Decision
from understudy.guard.findings import Finding
from understudy.guard.gate import End, Gate, Release
from understudy.guard.json_gate import JsonGate, Literals, json_plans
from understudy.guard.plan import Plan
from understudy.guard.windows import Window

DARN = patterns({"name": "d", "literal": "darn", "category": "slur"})
REDACT = rule("pii", {"medium": ["Redact"]})
POLICY = made(DARN, PII, rules=[BLOCK_SLURS, REDACT])
PLANS = json_plans(plan(POLICY))


def run(text: str, size: int = 0, before: str = "", plans: Any = PLANS) -> tuple[str, str]:
    """What comes out of a text that is cut into pieces of this size, and why it ended, if it did."""
    gate = JsonGate(plans, before=before)
    pieces = [text[at : at + size] for at in range(0, len(text), size)] if size else [text]
    releases = [*(gate.feed(piece) for piece in pieces), gate.finish()]
    assert gate.done
    ends = [release.end.why for release in releases if release.end is not None]
    if ends:
        assert (gate.feed("more"), gate.finish()) == (Release(), Release())
    return "".join(release.text for release in releases), ends[0] if ends else ""


@pytest.mark.parametrize(
    ("text", "out"),
    [
        ('{"a": "\\u00e9 \\ud83d\\ude00", "b": [1, 2, true, null]}', '{"a": "é 😀", "b": [1, 2, true, null]}'),
        ('{"c": "my 4111 1111 1111 1111 ok"}', '{"c": "my [pii] ok"}'),
        ('{"a": "tab\\t quote \\" slash \\/ back \\\\"}', '{"a": "tab\\t quote \\" slash / back \\\\"}'),
        ('{"a": "line\nbreak"}', '{"a": "line\\nbreak"}'),
        ('{"a": "no \\escape \\u12 \\u"', '{"a": "no escape u12 u"'),
        ('{"half": "\\ud83d", "\\ude00": "\\ud83d\\ud83d\\ude00", "x": "\\ud83dy\\ud83d\\n"}',
         '{"half": "�", "�": "�😀", "x": "�y�\\n"}'),
        ('"\\ud83d\\u00e9', '"�é'),
        ('"no end \\ud83d', '"no end �'),
        ('"no end \\', '"no end '),
        ('"no end \\u00e', '"no end u00e'),
        ("", ""),
    ],
)  # fmt: skip
def test_what_may_be_said_means_the_same_whatever_the_cuts(text: str, out: str) -> None:
    assert {run(text, size) for size in range(12)} == {(out, "")}


def test_what_comes_out_of_json_is_the_same_json() -> None:
    said = {"a": ['x\u2028\x7f\x00"\\/', {"b": 1.5e10, "ключ": None}], "": "😀"}
    for ascii_only in (True, False):
        for size in range(8):
            out, end = run(json.dumps(said, ensure_ascii=ascii_only), size)
            assert (json.loads(out), end) == (said, "")


@pytest.mark.parametrize(
    ("text", "out"),
    [
        ('{"a":"hi d\\u0061rn it","b":1}', '{"a":"hi '),
        ('{"a":1,"\\u0064arn":2}', '{"a":1,"'),
        ('{"card": 4111111111111111}', '{"card": '),
        ('{"a": "ok"} darn', '{"a": "ok"} '),
        ('{"a": "d\\arn"}', '{"a": "'),
        ('{"a": "darn', '{"a": "'),
    ],
)
def test_what_may_not_be_said_ends_it_before_its_first_character(text: str, out: str) -> None:
    assert {run(text, size) for size in range(12)} == {(out, "blocked")}


def test_what_a_text_goes_on_with_is_looked_at_too() -> None:
    assert run('rn"}', before='{"a":"da') == ("", "blocked")
    assert run("1111}", before='{"card":411111111111') == ("", "blocked")
    assert run('ck","b":1}', before='{"a": ["x", "da') == ('ck","b":1}', "")
    assert run('061rn"}', before='{"a":"d\\u0') == ("", "blocked")


@pytest.mark.parametrize(("actions", "why"), [("Replace", "blocked"), ("CrisisFlow", "replaced"), ("Log", "")])
def test_a_piece_of_json_is_never_replaced_but_a_crisis_is_one(actions: str, why: str) -> None:
    plans = json_plans(plan(made(DARN, rules=[rule("slur", {"high": [actions]})])))
    assert run('{"a":"darn"}', plans=plans)[1] == why


def asking(**more: Any) -> Plan:
    """A plan in which a detector of tier 1 is waited for."""
    return replace(plan(POLICY), asked=frozenset({"judge"}), awaited=frozenset({"judge"}), **more)


def test_nothing_is_let_out_before_all_detectors_have_spoken_and_then_in_the_order_of_the_text() -> None:
    gate = JsonGate(json_plans(asking()))
    asked = [*gate.feed('{"a": "one", "b": "two"}').windows, *gate.finish().windows]
    assert [window.text for window in asked] == ["a", "one", "b", "two", '{"": "", "": ""}']
    outside, *literals = reversed(asked)
    assert gate.heard("judge", outside, ()).text == '{"'
    texts = [gate.heard("judge", window, ()).text for window in literals]
    assert texts == ["", "", "", 'a": "one", "b": "two"}']
    assert gate.done
    assert gate.heard("judge", outside, ()) == Release()


def test_behind_a_literal_that_ended_it_nothing_is_let_out() -> None:
    gate = JsonGate(json_plans(asking()))
    asked = [*gate.feed('{"a": "one"}').windows, *gate.finish().windows]
    key, value, outside = asked
    gate.heard("judge", outside, ())
    gate.heard("judge", value, ())
    release = gate.heard("judge", key, (), "timeout")
    assert (release.text, release.end) == ("", End("failed", Decision()))
    assert gate.done


def test_what_a_detector_says_of_a_literal_is_done_to_it() -> None:
    judging = replace(asking(), rules={"judge": plan(made(DARN, rules=[BLOCK_SLURS])).rules["g/p"]})
    gate = JsonGate(json_plans(judging))
    [window] = [each for each in (*gate.feed('"so what"').windows, *gate.finish().windows) if each.text == "so what"]
    release = gate.heard("judge", window, [Finding("judge", "x", "slur", 6, None, 0, 7, 7, 0)])
    assert release.end is not None
    assert release.end.decision.content == Content.BLOCK


def test_a_literal_that_takes_long_may_be_blocked_before_it_ends_and_is_not_released() -> None:
    judging = replace(asking(), rules={"judge": plan(made(DARN, rules=[BLOCK_SLURS])).rules["g/p"]})
    gate = JsonGate(json_plans(judging))
    assert gate.pending() is None
    gate.feed("{")
    around = gate.pending()
    assert around is not None
    assert around.text == "{"
    gate.feed('"a')
    first = gate.pending()
    assert first is not None
    gate.feed("b c")
    more = gate.pending()
    assert more is not None
    assert (first.text, more.text) == ("a", "ab c")
    assert (more.grown(first), first.grown(more), more.grown(around)) == (True, False, False)
    gate.feed('": "ab')
    other = gate.pending()
    assert other is not None
    assert (other.text, other.grown(first)) == ("ab", False)
    assert gate.warned("judge", other, ()) == Release()
    slur = [Finding("judge", "x", "slur", 6, None, 0, 2, 2, 0)]
    assert gate.warned("judge", Window(0, 2, "ab"), slur) == Release(), "it is nobody's"
    ended = gate.warned("judge", other, slur)
    assert (ended.text, ended.end) == ("", End("blocked", Decision(Content.BLOCK)))
    assert (gate.pending(), gate.warned("judge", other, slur)) == (None, Release())


def test_a_reader_who_has_gone_leaves_nothing_open() -> None:
    gate = JsonGate(PLANS)
    gate.feed('{"a": "da')
    gate.close()


def test_windows_of_others_are_nobodys() -> None:
    gate = JsonGate(json_plans(asking()))
    [window] = [*Gate(asking()).feed("one. ").windows]
    assert gate.heard("judge", window, ()) == Release()


def test_literals_are_told_from_what_is_around_them() -> None:
    assert list(Literals().read('{"a": 1}')) == [
        ("outside", "{"), ("opened", '"'), ("inside", "a"), ("closed", '"'), ("outside", ": 1}"),
    ]  # fmt: skip


def test_halves_of_a_character_that_come_in_two_pieces_are_one() -> None:
    assert run('{"a\ud83d\ude00":\ud83d\ude00"\ud83d"}', 1) == ('{"a😀":😀"\ufffd"}', "")
    assert run('"\ud83d', 1) == ('"\ufffd', "")
    assert run('\ude00"}', before='{"\ud83d') == ('\ufffd"}', "")
