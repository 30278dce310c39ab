"""Guard models: each parser takes exactly its model card's grammar, and whatever else is said is a failure."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.guard.served.answers import TEXT, WINDOW, chat, recorded, spoiled
from understudy.guard.actions import Where
from understudy.guard.findings import Finding
from understudy.guard.served.chatguard import PARSERS, ChatGuard
from understudy.guard.served.codec import UnreadableError
from understudy.guard.windows import MAX_CHARS, Window

ALL = frozenset(category for parser in PARSERS.values() for category in parser.categories)


def read(
    parser: str, *answers: bytes, where: Where = "output", wanted: frozenset[str] = ALL
) -> list[tuple[str, str, int]]:
    guard = ChatGuard("g/guard", PARSERS[parser], wanted)
    return [(f.name, f.category, f.severity) for f in guard.read(answers, WINDOW, where)]


@pytest.mark.parametrize("parser", ["llamaguard/v3", "qwen3guard/v1"])
def test_a_question_is_a_short_chat_that_ends_with_what_is_judged(parser: str) -> None:
    guard = ChatGuard("g/guard", PARSERS[parser], ALL)
    (asked,) = guard.questions(WINDOW, "input", "ignored")
    assert (asked.path, asked.fields) == ("/v1/chat/completions", {})
    assert asked.body == {"messages": [{"role": "user", "content": TEXT}], "max_tokens": 64, "temperature": 0}
    (asked,) = guard.questions(WINDOW, "output", "x" * 5000 + "Who are you?")
    user, assistant = asked.body["messages"]
    assert (len(user["content"]), user["content"][-12:]) == (2000, "Who are you?")
    assert (user["role"], assistant) == ("user", {"role": "assistant", "content": TEXT})


@pytest.mark.parametrize("letter", ["x", "é", "中", "🦙"])
@pytest.mark.parametrize("odd", range(4))
def test_a_question_fits_into_a_small_context_in_any_script(letter: str, odd: int) -> None:
    # Given the longest window, and more before it than anybody needs
    window = Window(0, MAX_CHARS, letter * MAX_CHARS)
    guard = ChatGuard("g/guard", PARSERS["llamaguard/v3"], ALL)
    (asked,) = guard.questions(window, "output", letter * 5000 + "x" * odd)
    # Then with 1,200 tokens of a model's own instructions, and its answer, it has no more than 4,096: one for each byte
    room = 4096 - 1200 - asked.body["max_tokens"]
    assert sum(len(message["content"].encode()) for message in asked.body["messages"]) <= room
    # and what was cut is the beginning, never a part of a character
    before = asked.body["messages"][0]["content"]
    assert set(before) <= {letter, "x"}
    assert before.endswith("x" * odd)
    assert len(before.encode()) > 1996


def test_granite_is_asked_once_for_each_category_that_rules_speak_of_and_it_knows() -> None:
    guard = ChatGuard("g/guard", PARSERS["granite/v3"], frozenset({"violence", "sexual", "self_harm"}))
    options = [question.body["chat_template_kwargs"] for question in guard.questions(WINDOW, "input", "")]
    assert options == [
        {"guardian_config": {"criteria_id": "sexual_content"}, "think": False},
        {"guardian_config": {"criteria_id": "violence"}, "think": False},
    ]
    findings = guard.read([recorded("granite-no"), recorded("granite-yes")], WINDOW, "input")
    assert findings == (
        Finding("g/guard", "violence", "violence", 6, None, WINDOW.start, WINDOW.end, WINDOW.end, WINDOW.start),
    )
    with pytest.raises(ValueError, match="zip"):
        guard.read([recorded("granite-no")], WINDOW, "input")


def test_granite_before_33_is_asked_by_risk_and_says_how_sure_it_is() -> None:
    violence = frozenset({"violence"})
    (asked,) = ChatGuard("g/guard", PARSERS["granite-risk/v1"], violence).questions(WINDOW, "input", "")
    assert asked.body["chat_template_kwargs"] == {"guardian_config": {"risk_name": "violence"}}
    for said, findings in (
        ("Yes\n<confidence> High </confidence>", [("violence", "violence", 6)]),
        ("Yes\n<confidence> Low </confidence>", [("violence", "violence", 4)]),
        ("Yes", [("violence", "violence", 6)]),
        ("No\n<confidence> High </confidence>", []),
        ("No\n<confidence> Low </confidence>", []),
        ("No", []),
    ):
        assert read("granite-risk/v1", chat(said), wanted=violence) == findings


@pytest.mark.parametrize(
    "text",
    ["", "yes", "YES", "Yes.", "Yes No", "No\nYes", "Yes\n<confidence></confidence>", "Maybe",
     "Yes\n<confidence> Medium </confidence>", "No <confidence> High </confidence>", "Failed",
     "No\n<confidence> High </confidence>\nYes", "No, unless <confidence> High </confidence>", "<score> no </score>"],
)  # fmt: skip
def test_what_is_not_the_grammar_of_granite_before_33_is_a_failure(text: str) -> None:
    with pytest.raises(UnreadableError):
        read("granite-risk/v1", chat(text), wanted=frozenset({"violence"}))


def test_recorded_answers_are_understood() -> None:
    assert read("llamaguard/v3", recorded("llamaguard-safe")) == []
    assert read("llamaguard/v3", recorded("llamaguard-unsafe")) == [("S1", "violence", 6), ("S10", "hate", 6)]
    assert read("qwen3guard/v1", recorded("qwen3guard-prompt"), where="input") == [("Violent", "violence", 6)]
    assert read("qwen3guard/v1", recorded("qwen3guard-answer")) == [("Suicide & Self-Harm", "self_harm", 4)]
    assert read("qwen3guard/v1", recorded("qwen3guard-safe")) == []
    wanted = frozenset({"violence"})
    assert read("granite/v3", recorded("granite-yes"), wanted=wanted) == [("violence", "violence", 6)]
    assert read("granite/v3", recorded("granite-no"), wanted=wanted) == []


def test_what_no_rule_speaks_of_has_no_consequence() -> None:
    assert read("llamaguard/v3", recorded("llamaguard-unsafe"), wanted=frozenset({"hate"})) == [("S10", "hate", 6)]


def test_every_code_of_llama_guard_is_known() -> None:
    codes = ",".join(f"S{number}" for number in range(1, 15))
    found = read("llamaguard/v3", chat(f"unsafe\n{codes}"))
    assert [name for name, _, _ in found] == codes.split(",")
    assert {category for _, category, _ in found} == PARSERS["llamaguard/v3"].categories


def test_qwen_may_name_several_categories() -> None:
    text = "Safety: Unsafe\nCategories: PII, Non-violent Illegal Acts"
    assert [word for word, _, _ in read("qwen3guard/v1", chat(text), where="input")] == [
        "PII",
        "Non-violent Illegal Acts",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "", "Safe", "SAFE", "safe.", "safe\nS1", "not safe", "Not safe.", "unsafe", "unsafe\n", "unsafe S1",
        "unsafe\n\nS1", "unsafe\nS0", "unsafe\nS15", "unsafe\nS99", "unsafe\ns1", "unsafe\nS1,", "unsafe\nS1 S2",
        "unsafe\nViolent Crimes",
        "I cannot say whether that is safe", "safe safe", "safe\x00", "sаfe", "unsafe\nS1\nS2", "<score> no </score>",
    ],
)  # fmt: skip
def test_what_is_not_llama_guards_grammar_is_a_failure(text: str) -> None:
    with pytest.raises(UnreadableError):
        read("llamaguard/v3", chat(text))


@pytest.mark.parametrize(
    "text",
    [
        "", "Safe", "Safety: Safe", "Safety: Safe\nRefusal: No", "Safety: safe\nCategories: None\nRefusal: No",
        "Safety: Safe\nCategories: None", "Safety: Safe\nCategories: Violent\nRefusal: No",
        "Safety: Unsafe\nCategories: None\nRefusal: No", "Safety: Controversial\nCategories: None\nRefusal: No",
        "Safety: Unsafe\nCategories: None, Violent\nRefusal: No", "Safety: Safe\nCategories: None, None\nRefusal: No",
        "Safety: Unsafe\nCategories: Violence\nRefusal: No", "Safety: Unsafe\nCategories: \nRefusal: No",
        "Safety: Unsafe\nCategories: Violent,\nRefusal: No", "Safety: Unsafe\nCategories: Violent\nRefusal: Maybe",
        "Safety: Unsafe\nCategories: Violent\nRefusal: No\nRefusal: No",
        "Safety: Unsafe Categories: Violent Refusal: No",
        "Safety: Safe or Unsafe\nCategories: None\nRefusal: No", "safe",
        # As some would find the word in it.
        "The text is fine. Safety: Safe\nCategories: None\nRefusal: No",
    ],
)  # fmt: skip
def test_what_is_not_qwens_grammar_is_a_failure(text: str) -> None:
    with pytest.raises(UnreadableError):
        read("qwen3guard/v1", chat(text))


def test_a_refusal_is_told_of_answers_alone() -> None:
    with pytest.raises(UnreadableError, match="Refusal"):
        read("qwen3guard/v1", recorded("qwen3guard-safe"), where="input")


@pytest.mark.parametrize(
    "text",
    ["", "yes", "no", "Yes", "<score>yes", "<score> Yes </score>", "<score> maybe </score>", "<score></score>",
     "<score> no </score> <score> yes </score>", "<think>it is <score> no </score></think>", "<score> no </score> but",
     "<think>fine</think><score> no </score>"],
)  # fmt: skip
def test_what_is_not_granites_grammar_is_a_failure(text: str) -> None:
    with pytest.raises(UnreadableError):
        read("granite/v3", chat(text), wanted=frozenset({"violence"}))


@pytest.mark.parametrize("finish", ["length", "content_filter", None, "", "tool_calls"])
@pytest.mark.parametrize("parser", PARSERS)
def test_an_answer_that_was_cut_off_is_a_failure(parser: str, finish: Any) -> None:
    with pytest.raises(UnreadableError, match="cut off"):
        read(parser, chat("unsafe\nS1", finish), wanted=frozenset({"violence"}))


@pytest.mark.parametrize(
    "change",
    [
        lambda document: document.pop("choices"),
        lambda document: document.update(choices=[]),
        lambda document: document.update(choices=document["choices"] * 2),
        lambda document: document.update(choices=[3]),
        lambda document: document["choices"][0].pop("message"),
        lambda document: document["choices"][0].update(message="safe"),
        lambda document: document["choices"][0]["message"].update(content=None),
        lambda document: document["choices"][0]["message"].update(content=[{"type": "text", "text": "safe"}]),
        lambda document: document["choices"][0]["message"].pop("content"),
    ],
)
@pytest.mark.parametrize("parser", PARSERS)
def test_what_is_no_chat_completion_is_a_failure(parser: str, change: Callable[[Any], Any]) -> None:
    with pytest.raises(UnreadableError):
        read(parser, spoiled("llamaguard-safe", change), wanted=frozenset({"violence"}))


@pytest.mark.parametrize("parser", PARSERS)
def test_a_guard_that_says_nothing_but_white_space_is_read_in_no_time(parser: str) -> None:
    for text in (" " * 60_000, "safe" + " " * 60_000 + "x", "Safety: Safe\nCategories: " + " " * 60_000 + "x"):
        with pytest.raises(UnreadableError):
            read(parser, chat(text), wanted=frozenset({"violence"}))
