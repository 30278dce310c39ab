"""Responses on their way through gates: every event is built of what was let out, and in their order."""

from collections.abc import Sequence
from typing import Any

import pytest

from tests.gateway.policy.judging import BLOCK, REDACT, asking, cuts, guarding, usual, verdicts, whole
from understudy.gateway.policy.guarded_response import GuardedResponse
from understudy.gateway.policy.guarding import Guarding
from understudy.gateway.policy.verdicts import REMOVED, Facts
from understudy.guard.gate import Gate

BLOCKS = guarding(BLOCK)
REDACTS = guarding(REDACT)
HEAD = {"id": "r1", "object": "response", "created_at": 1, "model": "m", "tools": [], "odd": "darn"}
USAGE = {"input_tokens": 1, "output_tokens": 2}
# By kind of text: the item that has it, its events' stem, the field that holds it in the end, and what numbers it.
KINDS: dict[str, tuple[str, str, str, dict[str, int]]] = {
    "text": ("message", "response.output_text", "text", {"content_index": 0}),
    "refusal": ("message", "response.refusal", "refusal", {"content_index": 0}),
    "reasoning": ("reasoning", "response.reasoning_text", "text", {"content_index": 0}),
    "summary": ("reasoning", "response.reasoning_summary_text", "text", {"summary_index": 0}),
    "arguments": ("function_call", "response.function_call_arguments", "arguments", {}),
    "input": ("custom_tool_call", "response.custom_tool_call_input", "input", {}),
}
BEGUN = {
    "text": "content_part",
    "refusal": "content_part",
    "reasoning": "reasoning_part",
    "summary": "reasoning_summary_part",
}
PARTS = {"text": "output_text", "refusal": "refusal", "reasoning": "reasoning_text", "summary": "summary_text"}


def guard(holds: Guarding = BLOCKS, facts: Facts | None = None) -> GuardedResponse:
    return GuardedResponse(verdicts(holds, facts), {})


def item(kind: str, text: str | None = None, index: int = 0) -> dict[str, Any]:
    """An item as an engine has it; None: it has only begun."""
    name = KINDS[kind][0]
    said: dict[str, Any] = {"id": f"i{index}", "type": name, "status": "in_progress" if text is None else "completed"}
    if name in ("function_call", "custom_tool_call"):
        field = KINDS[kind][2]
        return {**said, "call_id": "c1", "name": "look", field: text or "", "odd": "darn"}
    part = {"type": PARTS[kind], KINDS[kind][2]: text, "annotations": ["darn"], "logprobs": ["darn"]}
    field = "summary" if kind == "summary" else "content"
    return {**said, field: [] if text is None else [part], "encrypted_content": "darn"}


def response(status: str, *items: dict[str, Any]) -> dict[str, Any]:
    return {**HEAD, "status": status, "output": list(items), "usage": USAGE if items else None}


def events(kind: str, pieces: Sequence[str], index: int = 0) -> list[dict[str, Any]]:
    """One item from its beginning to its end."""
    _, stem, field, number = KINDS[kind]
    at = {"item_id": f"i{index}", "output_index": index, **number}
    text = "".join(pieces)
    found = [{"type": "response.output_item.added", "output_index": index, "item": item(kind, index=index)}]
    part = {"type": PARTS.get(kind, ""), field: ""}
    if kind in BEGUN:
        found.append({"type": f"response.{BEGUN[kind]}.added", **at, "part": part})
    found += [{"type": f"{stem}.delta", **at, "delta": piece, "logprobs": ["darn"]} for piece in pieces]
    found.append({"type": f"{stem}.done", **at, field: text})
    if kind in BEGUN:
        found.append({"type": f"response.{BEGUN[kind]}.done", **at, "part": {**part, field: text}})
    return [*found, {"type": "response.output_item.done", "output_index": index, "item": item(kind, text, index)}]


def stream(*items: tuple[str, Sequence[str]], status: str = "completed") -> list[dict[str, Any]]:
    begun = [{"type": f"response.{name}", "response": response("in_progress")} for name in ("created", "in_progress")]
    said = [event for index, (kind, pieces) in enumerate(items) for event in events(kind, pieces, index)]
    whole = [item(kind, "".join(pieces), index) for index, (kind, pieces) in enumerate(items)]
    return [*begun, *said, {"type": f"response.{status}", "response": response(status, *whole)}]


def run(judge: GuardedResponse, given: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [out for event in given for out in judge.event(event)]


def deltas(out: Sequence[dict[str, Any]]) -> str:
    return "".join(event["delta"] for event in out if event["type"].endswith(".delta"))


def kinds(out: Sequence[dict[str, Any]]) -> list[str]:
    return [event["type"].removeprefix("response.") for event in out]


@pytest.mark.parametrize("kind", KINDS)
def test_a_response_without_anything_forbidden_says_the_same_and_nothing_beside_its_texts(kind: str) -> None:
    text = '{"a":"well"}' if kind == "arguments" else "well, d"
    for pieces in cuts(text):
        out = run(guard(), stream((kind, pieces)))
        assert deltas(out) == text
        assert "darn" not in str(out)
        said = out[-1]["response"]
        assert (said["status"], said["usage"], said["incomplete_details"]) == ("completed", USAGE, None)
        want = item(kind, text)
        for field in ("odd", "encrypted_content", "annotations", "logprobs"):
            want.pop(field, None)
        [got] = said["output"]
        assert got["id"] == "i0"
        assert text in str(got)
        assert [event["type"] for event in out if not event["type"].endswith(".delta")] == [
            event["type"] for event in stream((kind, [text])) if not event["type"].endswith(".delta")
        ]


def leaks(kind: str) -> list[str]:
    found = []
    quote = '"' if kind == "arguments" else ""
    for at in range(0, 12, 3):
        before = "kind words! "[:at] + (" " if at else "")
        for pieces in cuts(f"{quote}{before}darn it{quote}"):
            judge = guard()
            out = run(judge, stream((kind, pieces)))
            whole = "".join(str(event) for event in out)
            if deltas(out) != quote + before or "darn" in whole or not judge.ended:
                # A name that was said before is all that there is.
                if judge.withheld and not quote + before:
                    continue
                found.append("|".join(pieces))
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_no_forbidden_character_comes_out_in_any_event(kind: str) -> None:
    assert leaks(kind) == []


def test_a_gate_that_lets_one_character_go_early_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    clear = Gate._clear

    def early(self: Gate, most: int | None = None) -> int:
        return min(clear(self, most) + 1, self._read())

    monkeypatch.setattr(Gate, "_clear", early)
    for kind in KINDS:
        assert leaks(kind)


def test_a_response_that_is_blocked_is_incomplete_and_says_by_which_finding() -> None:
    judge = guard()
    out = run(judge, stream(("reasoning", ["hm"]), ("text", ["so d", "arn it"])))
    assert kinds(out)[-4:] == ["output_text.done", "content_part.done", "output_item.done", "incomplete"]
    said = out[-1]["response"]
    assert (said["status"], said["incomplete_details"]) == ("incomplete", {"reason": "content_filter"})
    assert [each["status"] for each in said["output"]] == ["completed", "incomplete"]
    assert said["output"][1]["content"][0]["text"] == "so "
    assert said["guardrails"]["findings"][0]["channel"] == "output.1.output_text"
    assert (judge.cut, judge.withheld, judge.done) == (True, False, True)
    assert judge.event({"type": "response.output_text.delta", "delta": "more"}) == []


def test_a_response_of_which_nothing_may_be_seen_is_withheld() -> None:
    judge = guard()
    run(judge, stream(("text", ["darn it"])))
    assert judge.withheld


@pytest.mark.parametrize("kind", ["text", "arguments"])
def test_what_is_replaced_is_said_as_a_text(kind: str) -> None:
    text = '"so darn"' if kind == "arguments" else "so darn"
    judge = guard(usual("CrisisFlow"), Facts(languages=("de",)))
    out = run(judge, stream((kind, [text])))
    said = out[-1]["response"]
    assert (out[-1]["type"], said["status"]) == ("response.completed", "completed")
    last = said["output"][-1]
    assert (last["type"], last["status"]) == ("message", "completed")
    assert last["content"][0]["text"].endswith("\n\nDu bist nicht allein.")
    assert judge.cut
    plain = guard(usual("Replace"))
    assert run(plain, stream(("text", ["darn"])))[-1]["response"]["output"][0]["content"][0]["text"] == REMOVED


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_redacted_is_so_wherever_it_is_said(kind: str) -> None:
    quote = '"' if kind == "arguments" else ""
    out = run(guard(REDACTS), stream((kind, [f"{quote}a da", f"rn day{quote}"])))
    assert deltas(out) == f"{quote}a [rude] day{quote}"
    assert "darn" not in str(out)


def test_an_engine_that_says_all_at_the_end_is_judged_there() -> None:
    for text, out in (("so well", "so well"), ("so darn", "so "), ("so darn it", "so ")):
        for given in (
            [{"type": "response.output_item.done", "output_index": 0, "item": item("text", text)}],
            [{"type": "response.output_text.done", "output_index": 0, "text": text}],
            [{"type": "response.content_part.done", "output_index": 0, "part": {"type": "output_text", "text": text}}],
            [],
        ):
            judge = guard()
            end = {"type": "response.completed", "response": response("completed", item("text", text))}
            said = run(judge, [*given, end])
            assert said[-1]["response"]["output"][0]["content"][0]["text"] == out


@pytest.mark.parametrize("kind", KINDS)
def test_a_whole_response_is_put_together_again(kind: str) -> None:
    text = '{"a":"well"}' if kind == "arguments" else "well"
    judge = guard()
    given = response("incomplete", item(kind, text)) | {"incomplete_details": {"reason": "max_output_tokens"}}
    out = judge.together(given, whole(judge, given))
    assert (out["status"], out["incomplete_details"]) == ("incomplete", {"reason": "max_output_tokens"})
    assert text in str(out["output"])
    assert "darn" not in str(out)


@pytest.mark.parametrize("holds", [BLOCKS, REDACTS])
def test_a_name_that_may_not_be_said_ends_it(holds: Guarding) -> None:
    call = {**item("arguments", "{}"), "name": "darn"}
    for event in ("added", "done"):
        judge = guard(holds)
        run(judge, [{"type": f"response.output_item.{event}", "output_index": 0, "item": call}])
        assert judge.withheld
    judge = guard(holds)
    added = {"type": "response.output_item.added", "output_index": 1, "item": call}
    out = run(judge, [*events("text", ["well"]), added])
    assert kinds(out)[-1] == "incomplete"
    assert len(out[-1]["response"]["output"]) == 1


def test_what_is_not_known_is_dropped() -> None:
    judge = guard()
    odd: list[dict[str, Any]] = [
        {"type": "response.web_search_call.searching", "item_id": "darn"},
        {"type": "response.output_item.added", "output_index": 1, "item": {"type": "mcp_call", "name": "darn"}},
        {"type": "response.output_item.done", "output_index": 1, "item": {"type": "mcp_call", "output": "darn"}},
        {"type": "response.output_text.delta", "output_index": 1, "delta": "darn"},
        {"type": "response.output_text.done", "output_index": 1, "text": "darn"},
        {"type": "response.content_part.added", "output_index": 1, "part": {"type": "output_text"}},
        {"type": "response.content_part.added", "output_index": 2, "part": "darn"},
        {"type": "response.output_text.delta", "output_index": 2, "delta": None},
        {"type": "response.output_item.added", "output_index": 3, "item": "darn"},
        {"type": "response.created", "response": "darn"},
        {"type": "response.odd", "response": {"id": "r"}},
    ]
    assert run(judge, odd) == []
    odd_parts = {"content": [{"type": "odd", "text": "darn"}, "darn"]}
    [done] = judge.event({"type": "response.output_item.done", "output_index": 2, "item": odd_parts})
    assert done["item"]["content"] == []
    out = judge.event({"type": "response.completed", "response": {"output": "darn", "incomplete_details": "darn"}})
    assert "darn" not in str(out)


def test_deltas_without_a_beginning_are_of_the_item_that_they_must_be_of() -> None:
    for kind, (name, stem, _, number) in KINDS.items():
        text = '""' if kind == "arguments" else "well"
        judge = guard()
        out = run(judge, [{"type": f"{stem}.delta", "output_index": "x", "delta": text, **number}])
        assert deltas(out) == text
        [end] = judge.event({"type": "response.completed", "response": response("completed")})
        [said] = end["response"]["output"]
        assert said["type"] == name
        assert said["id"] == "item-0"


def test_where_nothing_is_enforced_events_stay_as_they_are() -> None:
    judge = guard(usual("Annotate"))
    given = stream(("text", ["a da", "rn day"]), ("arguments", ["{}"]))
    out = run(judge, given)
    told = out[-1]["response"].pop("guardrails")
    assert out == given
    assert told["findings"][0]["action"] == "annotate"
    named = guard(usual("Annotate"))
    call = {**item("arguments", "{}"), "name": "darn"}
    event = {"type": "response.output_item.added", "output_index": 0, "item": call}
    assert named.event(event) == [event]


def test_what_comes_after_an_end_that_waits_for_a_verdict_waits_too() -> None:
    judge = guard(asking())
    given = stream(("text", ["one. ", "two"]), ("text", ["three"]))
    out = run(judge, given)
    assert kinds(out) == ["created", "in_progress", "output_item.added", "content_part.added"]
    while judge.verdicts.questions:
        out += judge.heard(judge.verdicts.questions.pop(0), "g0/j", (), "ok")
    assert deltas(out) == "one. twothree"
    order = [kind for kind in kinds(out) if not kind.endswith(".delta")]
    assert order == [kind for kind in kinds(given) if not kind.endswith(".delta")]
    assert judge.done


def test_a_whole_response_waits_for_all_verdicts() -> None:
    judge = guard(asking())
    given = response("completed", item("text", "one. two"), item("text", "three", 1))
    out = whole(judge, given)
    assert not judge.done
    while judge.verdicts.questions:
        out += judge.heard(judge.verdicts.questions.pop(0), "g0/j", (), "ok")
    assert [each["content"][0]["text"] for each in judge.together(given, out)["output"]] == ["one. two", "three"]


def test_a_response_that_was_only_given_at_its_end_waits_there() -> None:
    judge = guard(asking())
    end = {"type": "response.completed", "response": response("completed", item("text", "one"), item("text", "two", 1))}
    out = judge.event(end)
    while judge.verdicts.questions:
        out += judge.heard(judge.verdicts.questions.pop(0), "g0/j", (), "ok")
    assert deltas(out) == "onetwo"
    assert kinds(out)[-1] == "completed"


def test_a_detector_that_fails_ends_it_without_a_finding() -> None:
    judge = guard(asking())
    run(judge, stream(("text", ["one. ", "two"])))
    first, second = judge.verdicts.questions
    assert judge.heard(first, "g0/j", (), "timeout") == []
    assert (judge.verdicts.failed, judge.withheld, judge.ended) == (True, False, True)
    assert judge.heard(second, "g0/j", (), "ok") == []


def test_a_text_that_the_end_of_its_item_does_not_have_any_more_is_waited_for_too() -> None:
    judge = guard(asking())
    run(judge, [{"type": "response.output_text.delta", "output_index": 0, "content_index": 0, "delta": "one. two"}])
    out = judge.heard(judge.verdicts.questions.pop(0), "g0/j", (), "ok")
    assert deltas(out) == "one. "
    assert run(judge, [{"type": "response.output_item.done", "output_index": 0, "item": {"type": "message"}}]) == []
    out = judge.heard(judge.verdicts.questions.pop(0), "g0/j", (), "ok")
    assert kinds(out) == ["output_text.delta", "output_item.done"]


def test_of_a_whole_response_items_that_are_not_known_are_left_out() -> None:
    judge = guard()
    given = response("completed", {"type": "mcp_call", "output": "darn"}, item("text", "well", 1))
    out = judge.together(given, whole(judge, given))
    assert [each["type"] for each in out["output"]] == ["message"]


def test_what_comes_after_the_end_of_a_text_or_of_its_item_is_nothing() -> None:
    at = {"output_index": 0, "content_index": 0}
    for end in ({"type": "response.output_text.done", **at}, {"type": "response.output_item.done", **at, "item": {}}):
        judge = guard()
        late = {"type": "response.output_text.delta", **at, "delta": "more"}
        assert deltas(run(judge, [{**late, "delta": "well"}, end, late, end])) == "well"


def test_a_response_says_of_its_request_what_was_asked() -> None:
    judge = GuardedResponse(verdicts(BLOCKS), {"instructions": "be kind, be brief", "user": "anna b"})
    said = {"instructions": "so darn it", "user": "anna b", "id": "darn", "text": {"format": {"type": "text"}}}
    [out] = judge.event({"type": "response.created", "response": {**said, "status": "queued"}})
    assert out["response"] == {
        "instructions": "be kind, be brief", "user": "anna b", "id": "answer", "text": {"format": {"type": "text"}},
        "status": "queued", "error": None, "incomplete_details": None, "output": [],
    }  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_somebody_in_a_crisis_is_not_refused(kind: str) -> None:
    judge = guard(usual("Block"), Facts(in_crisis=True))
    text = '"so darn it"' if kind == "arguments" else "so darn it"
    out = run(judge, stream((kind, [text])))
    last = out[-1]["response"]
    assert (last["status"], judge.withheld) == ("completed", False)
    assert last["output"][-1]["content"][-1]["text"].endswith("You are not alone.\n988")
    judge = guard(usual("Block"), Facts(in_crisis=True))
    call = {**item("arguments", "{}"), "name": "darn"}
    out = run(judge, [{"type": "response.output_item.added", "output_index": 0, "item": call}])
    assert out[-1]["response"]["output"][0]["content"][0]["text"] == "You are not alone.\n988"


def test_no_more_waits_behind_an_end_than_may_be_held_back() -> None:
    judge = guard(asking())
    run(judge, events("text", ["one. ", "two"]))
    more = {"type": "response.output_text.delta", "output_index": 1, "content_index": 0, "delta": "x"}
    for _ in range(judge.verdicts.room // 2):
        judge.event(more)
    assert not judge.ended
    for _ in range(judge.verdicts.room // 2 + 1):
        judge.event(more)
    assert (judge.ended, judge.verdicts.failed, judge.verdicts.found) == (True, True, [])
    assert [(each.detector, each.status) for each in judge.verdicts.failures] == [("", "overflow")]
