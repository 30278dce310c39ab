"""How a prompt begins: alike for all turns of a conversation, and for all questions about a document."""

from typing import Any

import pytest

from understudy.gateway.policy.affinity import beginning

PERSONA = "You are Ann, who keeps the inn at the crossroads. " * 100
DOCUMENT = "The inn was built in 1412, and burned down in the year after. " * 50


def chat(*contents: Any, persona: str = PERSONA) -> dict[str, Any]:
    roles = ("user", "assistant") * len(contents)
    said = [{"role": role, "content": content} for role, content in zip(roles, contents, strict=False)]
    return {"messages": [{"role": "system", "content": persona}, *said]}


def begins(body: dict[str, Any], turns: str = "messages", salt: str = "tenant") -> int:
    found = beginning(body, turns, salt)
    assert 0 <= found < 2**56
    return found


def test_all_turns_of_a_conversation_begin_alike() -> None:
    first = begins(chat("Who are you?"))
    assert first > 0
    assert begins(chat("Who are you?", "I am Ann.", "And the inn?")) == first
    assert begins(chat("Where am I?")) != first


def test_other_instructions_are_another_beginning() -> None:
    first = begins(chat("hi"))
    # The ends are what is looked at of a long text, and how long it is.
    assert begins(chat("hi", persona=f"{PERSONA[:600]}{PERSONA[650:]}")) != first
    assert begins(chat("hi", persona="short")) != begins(chat("hi", persona="other"))


def test_all_questions_about_a_document_begin_alike() -> None:
    assert begins(chat(DOCUMENT + "Who built it?")) == begins(chat(DOCUMENT + "Who burned it?"))
    assert begins({"prompt": DOCUMENT + "a"}) == begins({"prompt": DOCUMENT + "b"})
    assert begins({"prompt": "a" + DOCUMENT}) != begins({"prompt": "b" + DOCUMENT})


def test_what_engines_keep_apart_begins_apart() -> None:
    assert begins(chat("hi"), salt="a") != begins(chat("hi"), salt="b")


def test_a_response_has_its_instructions_and_its_first_message() -> None:
    text = {"instructions": PERSONA, "input": "hi"}
    first = begins(text, "input")
    assert first == begins({"instructions": PERSONA, "input": [{"role": "user", "content": "hi"}, {}]}, "input")
    assert first != begins({"input": "hi"}, "input")


def test_texts_in_parts_are_read_and_what_is_no_text_is_passed_over() -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:,"}}
    parts = [picture, {"type": "text", "text": "What is it?"}, "odd", {"text": 7}]
    assert begins(chat(parts)) == begins(chat([{"type": "text", "text": "What is it?"}]))
    assert begins(chat([*[picture] * 4, {"type": "text", "text": "Never read."}])) == begins(chat(None))


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"prompt": [1, 2, 3]},
        {"messages": 7},
        {"messages": []},
        {"messages": ["hi"]},
        {"messages": [{"role": "assistant", "content": "hi"}]},
        {"messages": [*[{"role": "system", "content": str(i)} for i in range(8)], {"role": "user", "content": "hi"}]},
    ],
)
def test_a_prompt_of_which_that_cannot_be_told_has_none(body: dict[str, Any]) -> None:
    assert begins(body) == 0


def test_every_gateway_comes_to_the_same_number() -> None:
    assert beginning({"prompt": "Once upon a time"}, "messages", "tenant") == 72037679347981922


def test_odd_characters_are_no_mistake() -> None:
    assert begins({"prompt": "\ud800"}) > 0
