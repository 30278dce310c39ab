"""What was said in a request, as its line in the log tells it: of bounded length, and without keys."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.domain.table import Logging
from understudy.gateway.policy.pairs import Half
from understudy.gateway.policy.texts import Texts

KEY = "us-" + "aB3-_" * 8 + "xyz"


def chunk(text: str) -> dict[str, Any]:
    """A piece of a stream."""
    return {"choices": [{"index": 0, "delta": {"content": text}}]}


def texts(document: dict[str, Any] | None = None, shown: str = "", **logging: Any) -> Texts:
    """Those of a request of a deployment that logs what clients got."""
    return Texts(Logging(**{"text": "released", **logging}), document or {"prompt": "hi"}, shown)


def heard(of: Texts, *pieces: str) -> Texts:
    """The same, after an answer."""
    half = of.listening(None, stream=True)
    for piece in pieces:
        half.heard(chunk(piece))
    return of


def test_request_and_answer_are_told_with_what_kind_they_are_of_and_how_long_they_may_be_kept() -> None:
    line = heard(texts({"model": "m", "messages": [{"role": "user", "content": "hi"}]}, ttl=60.0), "he", "llo")
    assert line.line(answered=True) == {
        "kind": "released",
        "ttlSeconds": 60.0,
        "request": '{"messages":[{"role":"user","content":"hi"}]}',
        "requestCut": False,
        "answer": "hello",
        "answerCut": False,
        "toolNames": [],
    }
    assert texts(text="raw").line(answered=False)["kind"] == "raw"


def test_who_asks_and_in_which_conversation_is_left_out() -> None:
    named = {"user": "u", "metadata": {"session": "s"}, "prompt_cache_key": "p", "safety_identifier": "i"}
    line = texts({"prompt": "hi", "cache_salt": "c", "model": "m", **named}).line(answered=True)
    assert orjson.loads(line["request"]) == {"prompt": "hi"}


def test_what_an_engine_said_is_not_told_unless_the_client_got_it() -> None:
    line = heard(texts(), "secret").line(answered=False)
    assert (line["answer"], line["answerCut"], line["toolNames"]) == ("", False, [])


@pytest.mark.parametrize(("kind", "told"), [("released", ("", True)), ("raw", ('{"prompt":"hi"}', False))])
def test_what_a_guardrail_forbids_is_told_by_raw_alone(kind: Any, told: tuple[str, bool]) -> None:
    line = texts(text=kind).line(answered=False, forbidden=True)
    assert (line["request"], line["requestCut"]) == told


def test_what_came_of_a_try_before_the_last_one_is_forgotten() -> None:
    of = heard(heard(texts(), "first"), "second")
    assert of.line(answered=True)["answer"] == "second"


def test_half_of_a_pair_listens_for_both() -> None:
    of, half = texts(), Half(stream=False, room=100)
    assert of.listening(half, stream=False) is half
    tool = {"id": "1", "type": "function", "function": {"name": "look_up", "arguments": "{}"}}
    half.heard({"choices": [{"index": 0, "message": {"content": "both", "tool_calls": [tool]}}]})
    line = of.line(answered=True)
    assert (line["answer"], line["toolNames"]) == ("both", ["look_up"])


@pytest.mark.parametrize(("most", "told"), [(100, ["(access key)", "look_up"]), (4, ["(acc", "look"])])
def test_names_of_tools_are_told_as_texts_are(most: int, told: list[str]) -> None:
    of = texts(max_bytes=most)
    calls = [{"function": {"name": name}} for name in (KEY, "look_up")]
    of.listening(None, stream=False).heard({"choices": [{"message": {"tool_calls": calls}}]})
    assert of.line(answered=True)["toolNames"] == told


@pytest.mark.parametrize(("most", "answer", "cut"), [(6, "äöü", False), (5, "äö", True), (0, "", True)])
def test_a_text_has_so_many_bytes_at_most_and_ends_with_a_whole_character(most: int, answer: str, cut: bool) -> None:
    line = heard(texts(max_bytes=most), "ä", "öü").line(answered=True)
    assert (line["answer"], line["answerCut"]) == (answer, cut)
    assert len(line["request"].encode()) <= most
    assert line["requestCut"]


@given(st.lists(st.text(), max_size=6), st.integers(0, 40))
def test_whatever_is_said_its_beginning_is_told(pieces: list[str], most: int) -> None:
    line = heard(texts(max_bytes=most), *pieces).line(answered=True)
    whole = "".join(pieces)
    assert whole.startswith(line["answer"])
    assert len(line["answer"].encode()) <= most
    assert line["answerCut"] == (line["answer"] != whole)


@pytest.mark.parametrize("shown", ["", "another-key"])
def test_an_access_key_is_in_no_text(shown: str) -> None:
    line = heard(texts({"prompt": f"my key is {KEY}, ok?"}, shown), f"is it {KEY[:20]}", f"{KEY[20:]}?")
    told = line.line(answered=True)
    assert orjson.loads(told["request"]) == {"prompt": "my key is (access key), ok?"}
    assert told["answer"] == "is it (access key)?"


def test_the_key_of_the_request_is_in_no_text_whatever_it_looks_like() -> None:
    told = heard(texts({"prompt": "swordfish-7, please"}, "swordfish-7"), "swordfish-7").line(answered=True)
    assert (orjson.loads(told["request"]), told["answer"]) == ({"prompt": "(access key), please"}, "(access key)")


def test_a_word_is_no_key() -> None:
    told = heard(texts({"prompt": "a fox"}, "fox"), "the fox", " of us-all").line(answered=True)
    assert (orjson.loads(told["request"]), told["answer"]) == ({"prompt": "a fox"}, "the fox of us-all")


@pytest.mark.parametrize("most", range(0, 60, 7))
def test_no_part_of_a_key_is_left_where_a_text_is_cut(most: int) -> None:
    told = heard(texts({"prompt": KEY}, max_bytes=most), "x" * 20, KEY, "y" * 20).line(answered=True)
    for text in (told["request"], told["answer"]):
        assert KEY[3:9] not in text
