"""Pairs: each half is judged alone, by the same measure, and what only one of them did is told apart."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.domain.state import PAIR_METRICS, Pairs
from understudy.domain.table import Shadow
from understudy.gateway.policy.pairs import COMPARED, Half, PairCounters, compare, similarity

LIMITS = Shadow(percent=10, first_token=2.0, between_tokens=0.2)
NOTHING: frozenset[str] = frozenset()


def half(*, stream: bool = True, room: int = 100, **given_: Any) -> Half:
    made = Half(stream=stream, room=room)
    for field, value in given_.items():
        setattr(made, field, value)
    return made


def said(text: str = "", finish: str | None = None, *tools: str, room: int = 10_000) -> Half:
    """A half that ended well with this answer."""
    made = half(stream=False, room=room)
    calls = [{"function": {"name": tool}} for tool in tools]
    made.heard({"choices": [{"message": {"content": text, "tool_calls": calls}, "finish_reason": finish}]})
    return made


def delta(**part: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": part}]}


def test_a_stream_is_heard_piece_by_piece() -> None:
    heard = half()
    for chunk in (delta(role="assistant"), delta(content="once"), delta(content=""), delta(content=" upon")):
        heard.heard(chunk)
    heard.heard({"choices": [], "usage": {}})
    heard.heard({"choices": [{"index": 0, "delta": {}, "finish_reason": "length"}]})
    assert (heard.text, heard.finish, heard.tools) == ("once upon", "length", [])


def test_completions_have_their_text_in_another_place() -> None:
    heard = half()
    heard.heard({"choices": [{"text": "once"}]})
    heard.heard({"choices": [{"text": " upon", "finish_reason": "stop"}]})
    assert (heard.text, heard.finish) == ("once upon", "stop")


def test_of_several_choices_the_first_is_heard() -> None:
    heard = half()
    heard.heard({"choices": [{"index": 1, "text": "twice"}, {"index": 0, "text": "once"}]})
    assert heard.text == "once"


def test_a_text_is_cut_to_its_room() -> None:
    heard = half(room=6)
    for word in ("once", " upon", " a"):
        heard.heard(delta(content=word))
    assert heard.text == "once u"


def test_a_called_tool_is_known_by_the_name_in_its_first_piece() -> None:
    heard = half()
    heard.heard(delta(tool_calls=[{"index": 0, "function": {"name": "weather", "arguments": ""}}]))
    heard.heard(delta(tool_calls=[{"index": 0, "function": {"arguments": '{"city"'}}]))
    heard.heard(delta(tool_calls=[{"index": 1, "function": {"name": "time"}}]))
    assert heard.tools == ["weather", "time"]


def test_the_names_of_tools_are_bounded() -> None:
    heard = half()
    heard.heard(delta(tool_calls=[{"function": {"name": "again"}}] * 1000))
    assert heard.tools == ["again"] * 64


@pytest.mark.parametrize(("length", "kept"), [(256, "n" * 256), (257, "(too long)")])
def test_of_a_name_of_a_tool_that_is_too_long_no_part_is_kept(length: int, kept: str) -> None:
    heard = half()
    heard.heard(delta(tool_calls=[{"function": {"name": "n" * length}}]))
    assert heard.tools == [kept]


@pytest.mark.parametrize(
    "answer",
    [
        {"data": [{"embedding": [0.1]}]},
        {"choices": "none"},
        {"choices": ["none", {"delta": "none"}, {"message": {"content": ["a", "b"]}}, {"text": 7}]},
        delta(tool_calls="all"),
        delta(tool_calls=["a", {"function": "b"}, {"function": {"name": 7}}, {"function": {"name": ""}}]),
        {"choices": [{"finish_reason": 7}]},
    ],
)
def test_what_is_no_text_and_no_name_is_passed_over(answer: dict[str, Any]) -> None:
    heard = half()
    heard.heard(answer)
    assert (heard.text, heard.finish, heard.tools) == ("", "", [])


def test_an_answer_of_the_responses_api_has_its_text_and_its_calls_in_items() -> None:
    heard = half(room=9)
    message = {"type": "message", "content": [{"type": "output_text", "text": "once"}, {"text": " upon a time"}]}
    call = {"type": "function_call", "name": "weather", "arguments": "{}"}
    heard.heard_response(
        {"status": "completed", "output": [{"type": "reasoning", "content": [{"text": "hm"}]}, message, call]}
    )
    assert (heard.text, heard.finish, heard.tools) == ("once upon", "completed", ["weather"])


def test_the_names_of_tools_are_bounded_there_too() -> None:
    heard = half()
    heard.heard_response({"output": [{"type": "function_call", "name": "again"}] * 1000})
    assert heard.tools == ["again"] * 64


@pytest.mark.parametrize(
    "output",
    [None, 7, ["a"], [{"type": "message"}, {"type": "message", "content": ["b", {"text": 7}]}, {"type": "x_call"}]],
)
def test_what_is_no_text_and_no_name_is_passed_over_there_too(output: Any) -> None:
    heard = half()
    heard.heard_response({"output": output, "status": 7})
    assert (heard.text, heard.finish, heard.tools) == ("", "", [])


def test_a_first_token_in_time_is_good_and_one_that_never_came_is_as_late_as_it_was_waited_for() -> None:
    for seconds, bad in ((2.0, NOTHING), (2.01, {"timeToFirstToken"})):
        came, never = half(), half()
        came.began(seconds)
        came.over(0.0, 0.0, 3.0)
        never.over(seconds, 0.0, seconds)
        assert came.bad(LIMITS) == never.bad(LIMITS) == bad
        assert (came.first_token, came.whole, never.first_token) == (seconds, 3.0, seconds)


@pytest.mark.parametrize(("pending", "slowest"), [(0.21, 0.1), (0.1, 0.21)])
def test_the_gap_in_which_a_stream_breaks_off_counts_like_any_other(pending: float, slowest: float) -> None:
    late = half()
    late.began(0.1)
    late.over(pending, slowest, 9.0)
    assert late.bad(LIMITS) == {"interTokenLatency"}
    assert late.gap == 0.21
    good = half()
    good.began(0.1)
    good.over(0.2, 0.2, 9.0)
    assert good.bad(LIMITS) == NOTHING


def test_nothing_is_said_of_the_tokens_of_a_whole_answer() -> None:
    whole = half(stream=False)
    whole.over(99.0, 0.0, 99.0)
    assert (whole.bad(LIMITS), whole.whole) == (NOTHING, 99.0)


def test_a_refusal_is_not_late_whenever_it_comes() -> None:
    refused = half(refused=True)
    refused.over(99.0, 0.0, 99.0)
    assert refused.bad(LIMITS) == {"rejected"}


@pytest.mark.parametrize(("field", "metric"), [("failed", "errors"), ("refused", "rejected"), ("empty", "emptyOutput")])
def test_what_went_wrong_has_the_name_of_its_metric(field: str, metric: str) -> None:
    assert half(**{field: True}).bad(LIMITS) == {metric}
    assert metric in PAIR_METRICS


def test_two_answers_are_compared_by_how_they_end_what_they_call_and_what_they_say() -> None:
    told = compare(said("once upon", "stop", "weather"), said("once upon", "length", "time"), LIMITS)
    assert (told.stable, told.shadow) == (NOTHING, NOTHING)
    assert (told.other_finish, told.other_tools, told.similarity) == (True, True, 1.0)
    same = compare(said("once upon", "stop"), said("twice upon", "stop"), LIMITS)
    assert (same.other_finish, same.other_tools, same.similarity) == (False, False, 1 / 3)


@pytest.mark.parametrize("field", ["failed", "refused"])
def test_no_answer_differs_from_none(field: str) -> None:
    for halves in ((said("once", "stop"), half(**{field: True})), (half(**{field: True}), said("once", "stop", "a"))):
        told = compare(*halves, LIMITS)
        assert (told.other_finish, told.other_tools, told.similarity) == (False, False, None)


@pytest.mark.parametrize("texts", [("", "once"), ("once", ""), ("", "")])
def test_silence_is_not_alike(texts: tuple[str, str]) -> None:
    assert compare(said(texts[0]), said(texts[1]), LIMITS).similarity is None


def test_of_long_texts_the_beginning_is_compared() -> None:
    told = compare(said("x" * COMPARED + " a" * 999), said("x" * COMPARED + " b" * 999), LIMITS)
    assert told.similarity == 1.0


@pytest.mark.parametrize(
    ("a", "b", "share"),
    [
        ("once upon a time", "a time once upon", 1.0),
        ("once upon", "twice upon", 1 / 3),
        ("once", "twice", 0.0),
        ("grün blau", "grün rot", 1 / 3),
        ("да нет", "да", 1 / 2),
        ("昔々ある", "昔々いる", 3 / 5),
        ("ไก่", "ไก่", 1.0),
        ("yes!", "yes?", 1 / 3),
        ("🐉", "🐲", 0.0),
        (" ", "\n", 1.0),
        (" ", "once", 0.0),
    ],
)
def test_texts_are_as_alike_as_they_share_words_or_signs(a: str, b: str, share: float) -> None:
    assert similarity(a, b) == share


def test_two_stories_are_less_alike_than_two_tellings_of_one() -> None:
    a = "The old lighthouse keeper climbed the stairs and lit the lamp, as he had done every night for forty years."
    b = "A small dragon lived under the bakery, and every morning it warmed the oven with one careful breath of fire."
    assert similarity(a, b) < 0.25 < 0.75 < similarity(a, a.replace("forty", "fifty"))


@given(st.text(min_size=1), st.text(min_size=1))
def test_similarity_is_a_share_and_knows_no_order(a: str, b: str) -> None:
    assert 0.0 <= similarity(a, b) <= 1.0
    assert similarity(a, b) == similarity(b, a)
    assert similarity(a, a) == 1.0


def test_before_the_first_pair_there_is_nothing_of_anything() -> None:
    zero = dict.fromkeys(PAIR_METRICS, 0)
    assert PairCounters().state() == Pairs(worse=zero, better=zero, both=zero, similarity=(0,) * 10)


def test_pairs_are_counted_by_which_half_was_bad() -> None:
    counters = PairCounters()
    counters.add(compare(half(failed=True, empty=True), half(failed=True), LIMITS))
    counters.add(compare(said("once", "stop"), half(refused=True), LIMITS))
    counters.add(compare(said("once", "stop"), said("once", "length", "a"), LIMITS))
    counters.dropped += 1
    state = counters.state()
    assert (state.count, state.dropped, state.other_finish, state.other_tools) == (3, 1, 1, 1)
    assert {m: n for m, n in state.worse.items() if n} == {"rejected": 1}
    assert {m: n for m, n in state.better.items() if n} == {"emptyOutput": 1}
    assert {m: n for m, n in state.both.items() if n} == {"errors": 1}
    assert state.similarity == (0,) * 9 + (1,)


def test_pairs_of_texts_are_counted_in_ten_classes() -> None:
    counters = PairCounters()
    for other in ("c d", "a c", "a b"):
        counters.add(compare(said("a b"), said(other), LIMITS))
    assert counters.state().similarity == (1, 0, 0, 1, 0, 0, 0, 0, 0, 1)
