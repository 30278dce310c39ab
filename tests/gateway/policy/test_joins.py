"""Parts of one message as one text: which are put together, in which ways, and what lies across a seam."""

from typing import Any

import pytest

from understudy.gateway.policy.joins import Joined, around, join, runs, ways
from understudy.gateway.policy.operations import CHAT, COMPLETIONS, EMBEDDINGS, RESPONSES, Operation
from understudy.gateway.policy.said import Said, said


def turn(*parts: Any, role: str = "user", field: str = "content") -> dict[str, Any]:
    return {"role": role, field: list(parts)}


def text(text: str, kind: str = "text") -> dict[str, Any]:
    return {"type": kind, "text": text}


def parts_of(*texts: str) -> list[Said]:
    return list(said(CHAT, {"messages": [turn(*map(text, texts))]}))


IMAGE = {"type": "image_url", "image_url": {"url": "x"}}


@pytest.mark.parametrize(
    ("operation", "body", "found"),
    [
        (CHAT, {"messages": [turn(text("a"), text("b"))]}, ["ab"]),
        (CHAT, {"messages": [turn(text("a"), IMAGE, text("b"), "c", {"text": "d"})]}, ["abcd"]),
        (CHAT, {"messages": [turn(text("a"), text("b")), turn(text("c")), turn("d", "e")]}, ["ab", "de"]),
        # Members that no engine takes for a part's text are none.
        (CHAT, {"messages": [turn({**text("a"), "odd": "x", "refusal": "y"}, text("b"))]}, ["ab"]),
        # What is thought or refused is shown by some templates, and left out by others.
        (CHAT, {"messages": [turn(text("a"), {"type": "refusal", "refusal": "r"}, text("b"))]}, ["arb", "ab"]),
        (CHAT, {"messages": [turn(text("a"), {"type": "thinking", "thinking": "t", "text": "x"})]}, ["at"]),
        (CHAT, {"messages": [turn({"type": ["odd"], "text": "a"}, text("b"))]}, ["ab"]),
        (CHAT, {"messages": [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}]}, []),
        (CHAT, {"messages": [{"tool_calls": [{"function": {"name": "f", "arguments": "{}", "text": "a"}}]}]}, []),
        (CHAT, {"messages": ["a", "b"], "documents": [{"text": "c"}, {"text": "d"}]}, []),
        (RESPONSES, {"input": [turn(text("a", "input_text"), text("b", "input_text"))]}, ["ab"]),
        (RESPONSES, {"input": [{"type": "function_call_output", "output": [text("a"), text("b")]}]}, ["ab"]),
        (RESPONSES, {"input": [{"type": "reasoning", "summary": [text("a"), text("b")]}]}, ["ab"]),
        (COMPLETIONS, {"prompt": ["a", "b"]}, []),
        (EMBEDDINGS, {"input": ["a", "b"]}, []),
    ],
)  # fmt: skip
def test_parts_of_one_message_are_put_together_and_nothing_else(
    operation: Operation, body: dict[str, Any], found: list[str]
) -> None:
    texts = list(said(operation, body))
    assert ["".join(texts[number].text for number in run) for run in runs(texts)] == found


def test_parts_are_put_together_as_lines_as_they_are_and_trimmed() -> None:
    assert list(ways(["for", "bidden"])) == [(["for", "bidden"], ""), (["for", "bidden"], "\n")]
    assert list(ways(["for ", "\nbidden"]))[2] == (["for", "bidden"], "")


def test_what_lies_across_a_seam_is_told_from_what_lies_beside_it() -> None:
    parts = parts_of("so da", "", "rn", "it")
    plain, lines = (join(parts, [each.text for each in parts], glue) for glue in ("", "\n"))
    assert (plain.text, lines.text) == ("so darnit", "so da\n\nrn\nit")
    assert [plain.across(*place) for place in ((3, 7), (0, 5), (5, 7), (6, 8), (7, 9))] == [
        True,
        False,
        False,
        True,
        False,
    ]
    assert [lines.across(*place) for place in ((3, 6), (3, 9), (7, 10), (10, 12))] == [False, True, False, False]
    assert [plain.part_at(place).text for place in (0, 4, 5, 6, 7)] == ["so da", "so da", "rn", "rn", "it"]


def test_the_first_part_says_all_that_is_heard_instead() -> None:
    body = {"messages": [{"role": "user", "content": "a"}, turn(text("da"), text("rn"), role="system")]}
    _, *parts = said(CHAT, body)
    joined = join(parts, ["da", "rn"], "")
    assert (joined.path, joined.role, joined.answered) == ("messages[1].content", "system", False)
    joined.put("[rude]")
    assert body["messages"][1]["content"] == [text("[rude]"), text("")]


def looked_at(texts: list[str], room: int) -> list[str]:
    return [each.text for each in around(parts_of(*texts), texts, "|", room)]


def test_of_long_parts_only_what_is_near_a_seam_is_looked_at_again() -> None:
    long = "b" * 10 + "m" * 80 + "e" * 10
    assert looked_at(["a", "c"], 10) == ["a|c"]
    assert looked_at([long, "c"], 10) == ["e" * 10 + "|c"]
    assert looked_at(["a", long], 10) == ["a|" + "b" * 10]
    assert looked_at(["a", long, long, "c"], 10) == ["a|" + "b" * 10, "e" * 10 + "|" + "b" * 10, "e" * 10 + "|c"]
    assert looked_at(["x" * 20, "c"], 10) == ["x" * 20 + "|c"]


def test_many_parts_are_looked_at_once_and_no_more() -> None:
    texts = ["x" * 100] * 2_000
    [seam] = around(parts_of(*texts), texts, "", 4096)
    assert len(seam.text) == 200_000
    assert isinstance(seam, Joined)
    assert len(seam.seams) == 1_999
