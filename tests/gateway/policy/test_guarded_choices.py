"""Answers with choices on their way through gates: nothing forbidden comes out, in no channel and however it is cut."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from tests.gateway.guardrails import CRISIS, WORDS, policy_spec, rule
from tests.gateway.policy.judging import BLOCK, REDACT, asking, cuts, guarding, usual, verdicts, whole
from understudy.gateway.policy.guarded_choices import GuardedChoices
from understudy.gateway.policy.guarding import Guarding
from understudy.gateway.policy.verdicts import REMOVED, Facts
from understudy.gateway.policy.wording import REFERRALS
from understudy.guard.findings import Finding
from understudy.guard.gate import Gate

HEAD = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
BLOCKS = guarding(BLOCK)
REDACTS = guarding(REDACT)


def guard(
    holds: Guarding = BLOCKS, facts: Facts | None = None, *, expected: int = 1, legacy: bool = False
) -> GuardedChoices:
    return GuardedChoices(verdicts(holds, facts), expected=expected, legacy=legacy)


def chunk(delta: dict[str, Any], finish: str | None = None, index: int = 0, **more: Any) -> dict[str, Any]:
    return {**HEAD, "choices": [{"index": index, "delta": delta, "finish_reason": finish, **more}]}


# How a piece of text comes and where it is found again, by channel.
Put = Callable[[str], dict[str, Any]]


def tool(text: str) -> dict[str, Any]:
    return {"tool_calls": [{"index": 3, "function": {"arguments": text}}]}


CHANNELS: dict[str, Put] = {
    "content": lambda text: {"content": text},
    "reasoning": lambda text: {"reasoning": text},
    "reasoning_content": lambda text: {"reasoning_content": text},
    "refusal": lambda text: {"refusal": text},
    "tool_calls": tool,
    "function_call": lambda text: {"function_call": {"arguments": text}},
}


def said(chunks: Sequence[dict[str, Any]], channel: str, index: int = 0) -> str:
    """All that a reader gets of one channel."""
    out = ""
    for each in chunks:
        for choice in each["choices"]:
            part = choice.get("delta", choice).get(channel) if choice["index"] == index else None
            if channel == "tool_calls":
                out += "".join(call.get("function", {}).get("arguments", "") for call in part or ())
            elif channel == "function_call":
                out += (part or {}).get("arguments", "")
            else:
                out += part or ""
    return out


def finish(chunks: Sequence[dict[str, Any]]) -> list[str]:
    return [c["finish_reason"] for each in chunks for c in each["choices"] if c["finish_reason"]]


def told(chunks: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [each["guardrails"] for each in chunks if "guardrails" in each]


def stream(judge: GuardedChoices, pieces: Sequence[str], put: Put = CHANNELS["content"]) -> list[dict[str, Any]]:
    chunks = [out for piece in pieces for out in judge.chunk(chunk(put(piece)))]
    return [*chunks, *judge.chunk(chunk({}, "stop")), *judge.end()]


def leaks(channel: str, quote: str = "") -> list[str]:
    """Texts of which something comes out that may not, with a hit planted at every offset and cut everywhere."""
    found = []
    for at in range(12):
        before = "kind words! "[:at] + ("" if at in (0, 12) else " ")
        text = f"{quote}{before}darn it{quote}"
        for pieces in cuts(text):
            out = said(stream(guard(), pieces, CHANNELS[channel]), channel)
            if out != quote + before:
                found.append("|".join(pieces))
    return found


@pytest.mark.parametrize("channel", CHANNELS)
def test_no_forbidden_character_comes_out_at_any_offset_and_whatever_the_cuts(channel: str) -> None:
    assert leaks(channel, '"' if channel in ("tool_calls", "function_call") else "") == []


def test_a_gate_that_lets_one_character_go_early_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    clear = Gate._clear

    def early(self: Gate, most: int | None = None) -> int:
        return min(clear(self, most) + 1, self._read())

    monkeypatch.setattr(Gate, "_clear", early)
    for channel in CHANNELS:
        assert leaks(channel, '"' if channel in ("tool_calls", "function_call") else "")


@pytest.mark.parametrize("channel", CHANNELS)
def test_what_is_redacted_is_so_in_every_channel(channel: str) -> None:
    quote = '"' if channel in ("tool_calls", "function_call") else ""
    text = f"{quote}a darn day, 4111 1111 1111 1111{quote}"
    for pieces in cuts(text):
        chunks = stream(guard(REDACTS), pieces, CHANNELS[channel])
        assert said(chunks, channel) == f"{quote}a [rude] day, [pii]{quote}"
        assert finish(chunks) == ["stop"]


NAMES = ("reasoning", "reasoning_content")


def called(pieces: Sequence[str], *names: str) -> list[dict[str, Any]]:
    """A stream in which what is thought is called by one name after the other."""
    judge = guard()
    chunks = [chunk({names[number % len(names)]: piece}) for number, piece in enumerate(pieces)]
    return [out for each in (*chunks, chunk({}, "stop")) for out in judge.chunk(each)]


def test_no_forbidden_word_is_thought_under_two_names() -> None:
    for text, clear in (
        ("so darn it", "so "),
        ("so \U0001d41d\u0301\u200barn\u0301 it", "so "),
        ("so dar n", "so dar n"),
    ):
        for pieces in cuts(text):
            for first, second in (NAMES, NAMES[::-1]):
                chunks = called(pieces, first, second)
                assert said(chunks, first) == clear
                assert said(chunks, second) == ""


@pytest.mark.parametrize("between", ["x", " ", "darn't"])
def test_what_is_thought_under_another_name_between_hides_nothing(between: str) -> None:
    for at in range(1, 4):
        judge = guard()
        deltas = [{"reasoning": "darn"[:at]}, {"reasoning_content": between}, {"reasoning": "darn"[at:]}]
        chunks = [out for delta in deltas for out in judge.chunk(chunk(delta))]
        assert "darn" not in (said(chunks, "reasoning"), said(chunks, "reasoning_content"))


def test_what_is_thought_under_both_names_at_once_is_one_text_and_leaves_under_both() -> None:
    for pieces in cuts("so darn it"):
        judge = guard(REDACTS)
        chunks = [out for piece in pieces for out in judge.chunk(chunk(dict.fromkeys(NAMES, piece)))]
        chunks += judge.chunk(chunk({}, "stop"))
        assert [said(chunks, name) for name in NAMES] == ["so [rude] it"] * 2
        assert len(judge.verdicts.found) == 1


@pytest.mark.parametrize(
    ("thought", "gets"),
    [
        ({"reasoning": "so darn it", "reasoning_content": "so darn it"}, ["so [rude] it"] * 2),
        ({"reasoning": "so da", "reasoning_content": "rn it"}, ["so [rude] it", None]),
        ({"reasoning": None, "reasoning_content": "a darn"}, [None, "a [rude]"]),
    ],
)
def test_what_a_whole_answer_thinks_is_one_text(thought: dict[str, Any], gets: list[str | None]) -> None:
    message = {"role": "assistant", "content": "well", **thought}
    answer = {**HEAD, "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
    judge = guard(REDACTS)
    out = judge.together(answer, whole(judge, answer))["choices"][0]["message"]
    assert [out.get(name) for name in NAMES] == gets
    assert out["content"] == "well"


def test_halves_of_a_character_in_two_chunks_are_one() -> None:
    assert said(stream(guard(), ["é", "a\ud83d", "\ude00b\ude00", "c\ud83d"]), "content") == "éa😀b\ufffdc\ufffd"


def test_an_answer_that_is_json_is_judged_as_what_it_means() -> None:
    facts = Facts(json=True)
    assert said(stream(guard(facts=facts), ['{"a":"so d\\u00', '61rn"}']), "content") == '{"a":"so '
    assert said(stream(guard(facts=facts), ['{"a":"\\u00e9"}']), "content") == '{"a":"é"}'


def test_what_the_reader_has_already_is_looked_at_too() -> None:
    facts = Facts(before={0: "what a da"})
    assert said(stream(guard(facts=facts), ["rn day"]), "content") == ""
    assert said(stream(guard(facts=facts), ["y"]), "content") == "y"


def test_a_choice_ends_where_a_rule_ends_it_and_says_by_which_finding() -> None:
    judge = guard()
    chunks = [*judge.chunk(chunk({"role": "assistant", "content": ""})), *judge.chunk(chunk({"content": "so darn it"}))]
    assert [each["choices"] for each in chunks] == [
        [{"index": 0, "delta": {"role": "assistant", "content": ""}, "logprobs": None, "finish_reason": None}],
        [{"index": 0, "delta": {"content": "so "}, "logprobs": None, "finish_reason": "content_filter"}],
        [],
    ]
    finding = {"id": "v1", "guardrail": "g0", "category": "rude", "severity": 6, "action": "block"}
    assert told(chunks) == [{"findings": [{**finding, "choice": 0, "channel": "content"}]}]
    assert (judge.over, judge.cut, judge.withheld, judge.done) == (True, True, False, True)
    assert judge.chunk(chunk({"content": "more"}, "stop")) == []
    assert judge.end() == []


def test_a_stream_goes_on_for_the_choices_that_are_left() -> None:
    judge = guard(expected=2)
    judge.chunk(chunk({"content": "darn "}))
    assert (judge.over, judge.cut, judge.withheld) == (False, False, False)
    judge.chunk(chunk({"content": "fine"}, index=1))
    judge.chunk(chunk({}, "length", index=1))
    assert (judge.over, judge.cut, judge.withheld) == (True, True, False)


def test_an_answer_of_which_nothing_may_be_seen_is_withheld() -> None:
    judge = guard(expected=2)
    judge.chunk({**HEAD, "choices": [{"index": index, "delta": {"content": "darn "}} for index in (0, 1)]})
    assert judge.withheld


def test_an_answer_that_the_engine_ended_is_not_cut() -> None:
    judge = guard()
    chunks = [*judge.chunk(chunk({"content": "well"})), *judge.chunk(chunk({}, "eos"))]
    assert (said(chunks, "content"), finish(chunks)) == ("well", ["stop"])
    assert (judge.over, judge.cut, judge.done) == (True, False, True)


def test_an_answer_that_ends_without_saying_why_is_let_out_to_its_end() -> None:
    judge = guard()
    chunks = [*judge.chunk(chunk({"content": "a d"})), *judge.end()]
    assert (said(chunks, "content"), finish(chunks)) == ("a d", [])
    assert judge.done


@pytest.mark.parametrize(
    ("text", "out"), [("so darn it", f"so \n\n{REMOVED}"), ("darn it", REMOVED)],
)  # fmt: skip
def test_what_is_replaced_has_something_in_its_place_and_ends(text: str, out: str) -> None:
    chunks = stream(guard(usual("Replace")), [text])
    assert (said(chunks, "content"), finish(chunks)) == (out, ["stop"])
    assert told(chunks)[0]["findings"][0]["action"] == "replace"


def test_a_person_in_crisis_is_told_where_help_is_in_place_of_the_answer() -> None:
    chunks = stream(guard(usual("CrisisFlow"), Facts(languages=("de",))), ['"darn"'], tool)
    assert (said(chunks, "content"), finish(chunks)) == ("\n\nDu bist nicht allein.", ["stop"])
    assert said(chunks, "tool_calls") == '"'
    legacy = guard(usual("CrisisFlow"), legacy=True)
    chunks = legacy.chunk({**HEAD, "choices": [{"index": 0, "text": "darn it"}]})
    assert chunks[0]["choices"][0]["text"] == "You are not alone.\n988"


def test_what_is_annotated_is_told_with_the_text() -> None:
    chunks = stream(guard(guarding(policy_spec("Annotate"), BLOCK | {"mode": "monitor"})), ["a darn day"])
    assert said(chunks, "content") == "a darn day"
    assert [each["findings"][0]["action"] for each in told(chunks)] == ["annotate"]


def test_a_banner_is_told_beside_what_is_redacted() -> None:
    spec = {"detectors": [WORDS], "rules": [rule("rude", "Redact", "CrisisBanner")], "crisis": CRISIS}
    chunks = stream(guard(guarding(spec)), ["a darn", " day"])
    assert said(chunks, "content") == "a [rude] day"
    assert told(chunks)[0]["crisis"] == {"text": "You are not alone.", "phone": "988", "url": ""}
    assert "choices" in chunks[0]


def test_a_banner_without_words_is_none() -> None:
    spec = {"detectors": [WORDS], "rules": [rule("rude", "Redact", "CrisisBanner")]}
    assert "crisis" not in told(stream(guard(guarding(spec)), ["a darn day"]))[0]
    crisis = {"detectors": [WORDS], "rules": [rule("rude", "CrisisFlow")]}
    assert said(stream(guard(guarding(crisis)), ["darn "]), "content") == REFERRALS["en"]


def test_an_engine_says_nothing_beside_its_text() -> None:
    top = {"token": "so", "logprob": -1.0, "bytes": [100], "top_logprobs": [{"token": "darn"}]}
    full = chunk(
        {"role": "darn", "content": "so", "audio": {"data": "darn"}, "annotations": ["darn"]},
        logprobs={"content": [top], "refusal": [top]},
        stop_reason="darn",
        token_ids=[1],
    )
    [out] = guard().chunk({**full, "prompt_token_ids": [1], "prompt_logprobs": ["darn"], "kv_transfer_params": {}})
    assert out == {
        **HEAD,
        "choices": [
            {
                "index": 0,
                "delta": {"role": "assistant", "content": "so"},
                "logprobs": {
                    "content": [{"token": "so", "logprob": -1.0, "bytes": None, "top_logprobs": []}],
                    "refusal": None,
                },
                "finish_reason": None,
            }
        ],
    }


def test_completions_say_their_tokens_with_their_characters() -> None:
    judge = guard(legacy=True)
    values = {"tokens": ["so", " da", "rn"], "token_logprobs": [None, -1, -2], "top_logprobs": [], "text_offset": [0]}
    chunks = [
        *judge.chunk({**HEAD, "choices": [{"index": 0, "text": "so da", "logprobs": values}]}),
        *judge.chunk({**HEAD, "choices": [{"index": 0, "text": "y off", "finish_reason": None}]}),
        *judge.chunk({**HEAD, "choices": [{"index": 0, "text": "", "finish_reason": "stop"}]}),
    ]
    assert said(chunks, "text") == "so day off"
    first = {"tokens": ["so"], "token_logprobs": [None], "top_logprobs": None, "text_offset": [0]}
    assert chunks[0]["choices"][0]["logprobs"] == first
    assert chunks[1]["choices"][0]["logprobs"] == {
        "tokens": [" da"], "token_logprobs": [-1.0], "top_logprobs": None, "text_offset": [2],
    }  # fmt: skip
    assert chunks[2]["choices"][0]["logprobs"] is None


def test_a_call_is_said_with_its_id_and_name_and_nothing_else() -> None:
    head = {"index": 0, "id": "call_1", "type": "function", "darn": 1, "function": {"name": "look", "arguments": "{"}}
    more: list[Any] = ["darn", {"index": 1, "id": "so darn", "function": None}, {"index": "x", "id": "b"}]
    [out] = guard().chunk(chunk({"tool_calls": [head, *more]}))
    assert out["choices"][0]["delta"]["tool_calls"] == [
        {"index": 0, "id": "call_1", "type": "function", "function": {"name": "look", "arguments": "{"}},
        {"index": 1, "id": "call-1", "type": "function"},
    ]


@pytest.mark.parametrize("holds", [BLOCKS, REDACTS, usual("Replace")])
@pytest.mark.parametrize(
    "put",
    [
        {"tool_calls": [{"index": 0, "id": "a", "function": {"name": "darn"}}]},
        {"function_call": {"name": "so darn", "arguments": "{}"}},
    ],
)
def test_a_name_that_may_not_be_said_ends_the_choice(holds: Guarding, put: dict[str, Any]) -> None:
    judge = guard(holds)
    chunks = judge.chunk(chunk(put))
    assert finish(chunks) == ["content_filter"]
    assert "darn" not in str([each["choices"] for each in chunks])
    assert judge.withheld


def test_a_name_may_come_without_arguments() -> None:
    [out] = guard().chunk(chunk({"function_call": {"name": "look", "arguments": None}}))
    assert out["choices"][0]["delta"] == {"function_call": {"name": "look"}}


def test_what_cannot_be_read_says_nothing() -> None:
    judge = guard()
    odd = {"content": 1, "tool_calls": "x", "function_call": ["darn"], "reasoning": {"darn": 1}}
    assert judge.chunk(chunk(odd)) == []
    assert judge.chunk({**HEAD, "choices": [{"index": None, "delta": "darn", "logprobs": "darn"}]}) == []


def test_where_nothing_is_enforced_the_answer_stays_as_it_is() -> None:
    judge = guard(usual("Annotate"))
    one = chunk({"content": "a darn day", "odd": 1}, token_ids=[1])
    out = judge.chunk(one)
    assert [{key: value for key, value in each.items() if key != "guardrails"} for each in out] == [one]
    assert told(out)[0]["findings"][0]["action"] == "annotate"
    assert judge.end() == []
    assert not judge.verdicts.acted


def test_a_whole_answer_is_put_together_again() -> None:
    message: dict[str, Any] = {
        "role": "assistant", "content": None, "reasoning": "hm", "refusal": None, "odd": "darn",
        "tool_calls": [{"id": "a", "type": "function", "function": {"name": "look", "arguments": '{"at":"x"}'}}, "x"],
        "function_call": {"name": "go", "arguments": "{}"},
    }  # fmt: skip
    answer = {**HEAD, "usage": {"prompt_tokens": 1}, "odd": 1, "choices": [{"index": 0, "message": message}]}
    judge = guard()
    out = judge.together(answer, whole(judge, answer))
    del message["odd"], message["refusal"]
    message["tool_calls"] = message["tool_calls"][:1]
    assert out == {
        **HEAD,
        "usage": {"prompt_tokens": 1},
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}],
    }


def test_a_whole_answer_of_several_choices_ends_each_where_it_must() -> None:
    entry = {"token": "well", "logprob": -1.0}
    choices = [
        {"index": 1, "message": {"content": "so darn it"}, "finish_reason": "length"},
        {"index": 0, "message": {"content": "well"}, "logprobs": {"content": [entry]}, "finish_reason": "length"},
    ]
    judge = guard(expected=2)
    answer = {**HEAD, "choices": choices}
    out = judge.together(answer, whole(judge, answer))
    assert [(c["message"]["content"], c["finish_reason"]) for c in out["choices"]] == [
        ("well", "length"), ("so ", "content_filter"),
    ]  # fmt: skip
    assert out["choices"][0]["logprobs"]["content"][0]["token"] == "well"
    assert out["guardrails"]["findings"][0]["choice"] == 1


def test_a_whole_answer_of_completions_is_put_together_too() -> None:
    judge = guard(legacy=True)
    answer = {**HEAD, "choices": [{"index": 0, "text": "a d", "finish_reason": "stop"}]}
    out = judge.together(answer, whole(judge, answer))
    assert out["choices"] == [{"index": 0, "text": "a d", "logprobs": None, "finish_reason": "stop"}]


def test_a_whole_answer_that_is_only_watched_stays_as_it_is() -> None:
    judge = guard(usual("Annotate"))
    answer = {**HEAD, "odd": 1, "choices": [{"index": 0, "message": {"content": "a darn day"}}]}
    out = judge.together(answer, whole(judge, answer))
    assert {key: value for key, value in out.items() if key != "guardrails"} == answer
    assert out["guardrails"]["findings"][0]["action"] == "annotate"


def test_what_detectors_are_asked_about_waits_for_their_word_and_so_does_the_end() -> None:
    judge = guard(asking())
    assert judge.chunk(chunk({"content": "one. two"}, index=0)) == []
    assert judge.chunk({**chunk({}, "stop"), "usage": {}}) == []
    assert judge.end() == []
    assert (judge.done, judge.verdicts.asked) == (False, frozenset({"g0/j"}))
    first, second = judge.verdicts.questions
    chunks = judge.heard(first, "g0/j", (), "ok")
    assert (said(chunks, "content"), finish(chunks)) == ("one. ", [])
    chunks = judge.heard(second, "g0/j", (), "ok")
    assert (said(chunks, "content"), finish(chunks), judge.done) == ("two", ["stop"], True)
    assert judge.heard(second, "g0/j", (), "ok") == []


def test_what_a_detector_finds_ends_the_choice() -> None:
    judge = guard(asking())
    judge.chunk(chunk({"content": "one. two"}))
    [question] = judge.verdicts.questions
    chunks = judge.heard(question, "g0/j", [Finding("g0/j", "x", "rude", 6, None, 0, 5, 5, 0)], "ok")
    assert (said(chunks, "content"), finish(chunks), judge.cut) == ("", ["content_filter"], True)
    assert judge.chunk(chunk({"content": "late"})) == []


def test_a_detector_that_fails_is_no_finding() -> None:
    judge = guard(asking())
    judge.chunk(chunk({"content": "one. two"}))
    [question] = judge.verdicts.questions
    assert judge.heard(question, "g0/j", (), "timeout") == []
    assert (judge.verdicts.failed, judge.verdicts.found, judge.verdicts.acted) == (True, [], False)
    assert [(failure.detector, failure.status) for failure in judge.verdicts.failures] == [("g0/j", "timeout")]
    assert not judge.withheld
    judge.verdicts.close()


def test_an_answer_that_goes_on_without_a_detector_says_so() -> None:
    judge = guard(asking("Degrade"))
    judge.chunk(chunk({"content": "one. two"}))
    [question] = judge.verdicts.questions
    chunks = judge.heard(question, "g0/j", (), "timeout")
    assert (said(chunks, "content"), told(chunks)) == ("one. ", [{"degraded": True}])


def test_a_whole_answer_is_put_together_of_what_detectors_let_go_one_after_the_other() -> None:
    judge = guard(asking())
    entries = [{"token": token, "logprob": -1.0} for token in ("one.", " ", "two")]
    answer = {**HEAD, "choices": [{"index": 0, "message": {"content": "one. two"}, "logprobs": {"content": entries}}]}
    chunks = whole(judge, answer)
    for question in judge.verdicts.questions:
        chunks += judge.heard(question, "g0/j", (), "ok")
    [choice] = judge.together(answer, chunks)["choices"]
    assert choice["message"]["content"] == "one. two"
    assert [entry["token"] for entry in choice["logprobs"]["content"]] == ["one.", " ", "two"]


def test_a_choice_that_one_of_its_texts_ends_at_its_end_says_no_more_of_the_others() -> None:
    judge = guard()
    judge.chunk(chunk({"reasoning": "so darn", "content": "well, d"}))
    chunks = judge.chunk(chunk({}, "stop"))
    assert (said(chunks, "content"), finish(chunks)) == ("", ["content_filter"])


def test_a_long_whole_answer_comes_in_pieces_and_is_put_together_again() -> None:
    text = "well, " * 1000
    judge = guard()
    answer = {**HEAD, "choices": [{"index": 0, "message": {"content": text}, "finish_reason": "stop"}]}
    assert max(len(str(piece)) for piece in judge.pieces(answer)) < 2048 + len(str(answer)) - len(text) + 200
    [choice] = judge.together(answer, whole(judge, answer))["choices"]
    assert choice["message"]["content"] == text


def test_a_window_that_is_not_complete_may_end_an_answer_and_lets_out_nothing() -> None:
    judge = guard(asking())
    judge.chunk(chunk({"content": "one two"}))
    judge.chunk(chunk({"tool_calls": [{"index": 0, "function": {"arguments": '"x'}}]}))
    question, of_tool = judge.verdicts.waiting()
    assert (question.window.text, question.early) == ("one two", True)
    assert (of_tool.window.text, of_tool.early) == ("x", True)
    assert judge.heard(of_tool, "g0/j", (), "ok") == []
    assert judge.heard(question, "g0/j", (), "ok") == []
    assert judge.heard(question, "g0/j", (), "timeout") == []
    assert not judge.verdicts.failed
    chunks = judge.heard(question, "g0/j", [Finding("g0/j", "x", "rude", 6, None, 0, 3, 3, 0)], "ok")
    assert finish(chunks) == ["content_filter"]
    assert guard().verdicts.waiting() == []


def test_a_stream_has_one_head() -> None:
    judge = guard()
    first = chunk({"content": "a "})
    for name in ("id", "system_fingerprint"):
        first[name] = "da"
    second = {**chunk({"content": "b "}), "id": "rn", "service_tier": "x", "system_fingerprint": "rn"}
    chunks = [*judge.chunk(first), *judge.chunk(second)]
    assert {(each["id"], each["system_fingerprint"], "service_tier" in each) for each in chunks} == {
        ("da", "da", False)
    }


def test_choices_that_nobody_asked_for_are_left_out() -> None:
    judge = guard()
    for index in (1, -1, 2**40):
        assert judge.chunk(chunk({"content": "well"}, index=index)) == []
    assert judge.done


def test_what_calls_are_named_is_said_once() -> None:
    judge = guard()
    judge.chunk(chunk({"tool_calls": [{"index": 0, "id": "da", "function": {"name": "da"}}]}))
    assert judge.chunk(chunk({"tool_calls": [{"index": 0, "id": "rn", "function": {"name": "rn"}}]})) == []
    assert said(judge.chunk(chunk(tool("{}"))), "tool_calls") == "{}"


@pytest.mark.parametrize(("given", "id_of"), [("call_1", "call_1"), ("darn", "call-0"), ("so darn", "call-0")])
def test_an_id_that_a_model_may_have_written_is_judged(given: str, id_of: str) -> None:
    judge = guard()
    [out] = judge.chunk(chunk({"tool_calls": [{"index": 0, "id": given, "function": {"name": "f"}}]}))
    assert out["choices"][0]["delta"]["tool_calls"][0]["id"] == id_of
    assert judge.verdicts.found == []


@pytest.mark.parametrize(
    ("last", "used", "usage"),
    [
        ({"model": "m", "usage": {"prompt_tokens": 1, "darn": "darn"}}, (5, 5), {"prompt_tokens": 1}),
        ({"model": "m", "usage": "darn"}, (1, 2), {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}),
        (None, (1, 2), {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}),
        (None, None, None),
    ],
)
def test_tokens_are_told_in_a_chunk_that_says_nothing_else(last: Any, used: Any, usage: Any) -> None:
    judge = guard()
    if last is None:
        judge.chunk(chunk({"content": "well"}))
    tail = judge.tail(last, used)
    assert tail is None if usage is None else tail is not None and (tail["usage"], tail["choices"]) == (usage, [])
    assert "darn" not in str(tail)
    watched = guard(usual("Annotate"))
    assert last is None or watched.tail(last, used) is last


def test_of_a_whole_answer_all_is_told_that_was_found_in_any_choice() -> None:
    spec = {"detectors": [WORDS], "rules": [rule("rude", "Redact", "CrisisBanner")], "crisis": CRISIS}
    judge = guard(guarding(spec), expected=3)
    texts = ("a darn day", "well", "darn " + "x" * 4000 + " darn ")
    choices = [{"index": index, "message": {"content": text}} for index, text in enumerate(texts)]
    out = judge.together({**HEAD, "choices": choices}, whole(judge, {**HEAD, "choices": choices}))
    assert [finding["choice"] for finding in out["guardrails"]["findings"]] == [0, 2, 2]
    assert out["guardrails"]["crisis"]["phone"] == "988"


def test_no_more_words_are_kept_than_an_honest_engine_has() -> None:
    said_by = guard().verdicts
    assert [said_by.say(f"w{number}") for number in range(200)] == [True] * 200
    assert len(said_by._words) == 64
    assert not said_by.say("darn")


@pytest.mark.parametrize("facts", [Facts(in_crisis=True), Facts(in_crisis=True, languages=("de",))])
def test_somebody_in_a_crisis_is_not_refused(facts: Facts) -> None:
    where = "Du bist nicht allein." if facts.languages else "You are not alone.\n988"
    judge = guard(guarding(policy_spec()), facts)
    chunks = stream(judge, ["so darn it"])
    assert (said(chunks, "content"), finish(chunks)) == (f"so \n\n{where}", ["stop"])
    assert judge.verdicts.referred
    judge = guard(guarding(policy_spec()), facts)
    chunks = judge.chunk(chunk({"tool_calls": [{"index": 0, "function": {"name": "darn"}}]}))
    assert (said(chunks, "content"), finish(chunks), judge.withheld) == (where, ["stop"], False)


def test_where_no_guardrail_says_where_help_is_we_do() -> None:
    judge = guard(facts=Facts(in_crisis=True))
    assert said(stream(judge, ["darn it"]), "content") == REFERRALS["en"]
