"""What a request may take at most, and what it has cost when it is over."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.gateway.policy.demand import (
    MEDIUM_TOKENS,
    NOTHING,
    USUAL_OUTPUT,
    Demand,
    cost_of,
    count_of,
    demand_of,
    load_of,
    max_output,
)
from understudy.gateway.policy.operations import (
    CHAT,
    COMPLETIONS,
    DETOKENIZE,
    EMBEDDINGS,
    RERANK,
    RESPONSES,
    SCORE,
    TOKENIZE,
    Operation,
)


@pytest.mark.parametrize(
    ("document", "output"),
    [
        ({}, None),
        ({"max_tokens": None}, None),
        ({"max_tokens": "7"}, None),
        ({"max_tokens": 0}, 0),
        ({"max_tokens": 7}, 7),
        ({"max_output_tokens": 5}, 5),
        # vLLM goes by the second one where the first is 0.
        ({"max_completion_tokens": 0, "max_tokens": 90}, 90),
        ({"max_completion_tokens": 9, "max_tokens": 7}, 9),
    ],
)
def test_a_request_says_how_long_an_answer_may_be(document: dict[str, Any], output: int | None) -> None:
    assert max_output(document) == output


@pytest.mark.parametrize(("document", "load"), [({}, 100 + 256), ({"max_tokens": 0}, 100), ({"max_tokens": 7}, 107)])
def test_a_request_is_a_load_by_its_bytes_and_the_length_of_its_answer(document: dict[str, Any], load: int) -> None:
    assert load_of(document, 400) == load


@pytest.mark.parametrize(
    ("operation", "document", "demand"),
    [
        (CHAT, {}, Demand(400, USUAL_OUTPUT)),
        (CHAT, {"max_tokens": 10}, Demand(400, 10)),
        (CHAT, {"max_tokens": 10, "n": 3}, Demand(400, 30, 3)),
        (CHAT, {"max_tokens": 10, "n": None}, Demand(400, 10)),
        (COMPLETIONS, {"max_tokens": 10, "n": 2, "best_of": 4}, Demand(400, 40, 4)),
        (COMPLETIONS, {"max_tokens": 10, "prompt": "one"}, Demand(400, 10)),
        (COMPLETIONS, {"max_tokens": 10, "prompt": ["one", "two"], "n": 2}, Demand(400, 40, 4)),
        (COMPLETIONS, {"max_tokens": 10, "prompt": [[1, 2], [3]]}, Demand(400, 20, 2)),
        (COMPLETIONS, {"max_tokens": 10, "prompt": [1, 2, 3]}, Demand(400, 10)),
        (COMPLETIONS, {"max_tokens": 10, "prompt": []}, Demand(400, 10)),
        (RESPONSES, {"max_output_tokens": 10}, Demand(400, 10)),
        *((operation, {}, Demand(400, 0)) for operation in (EMBEDDINGS, *RERANK, *SCORE)),
        *((operation, {}, NOTHING) for operation in (TOKENIZE, DETOKENIZE)),
    ],
)
def test_a_request_may_take_its_bytes_and_all_its_answers(
    operation: Operation, document: dict[str, Any], demand: Demand
) -> None:
    assert demand_of(operation, document, 400) == demand
    assert demand.most == demand.prompt + demand.output


@pytest.mark.parametrize(
    ("part", "number", "weight"),
    [
        ({"type": "image_url", "image_url": {"url": "data:" + "x" * 95}}, 1, 100),
        ({"type": "image_url", "image_url": "data:" + "x" * 95}, 1, 100),
        ({"type": "image_url", "image_url": {}}, 0, 0),
        ({"type": "input_audio", "input_audio": {"data": "x" * 100, "format": "wav"}}, 1, 100),
        ({"type": "input_audio", "input_audio": {"data": 7}}, 1, 0),
        ({"type": "input_audio", "input_audio": 7}, 1, 0),
        ({"type": "nested", "more": [{"image": ["data:1", "data:2"]}, 7]}, 2, 12),
    ],
)
def test_media_are_taken_for_a_number_of_tokens_and_not_for_their_bytes(part: Any, number: int, weight: int) -> None:
    document = {"messages": [{"role": "user", "content": [part]}], "max_tokens": 1, "prompt": ["not media"]}
    assert demand_of(CHAT, document, 1000) == Demand(1000 - weight + number * MEDIUM_TOKENS, 1)


def test_what_media_weigh_beyond_the_body_takes_nothing_away() -> None:
    # Escapes aside, a text has no more characters than bytes: only a wrong size could be smaller.
    document = {"messages": [{"content": [{"image_url": "data:" + "x" * 95}]}], "max_tokens": 0}
    assert demand_of(CHAT, document, 50) == Demand(MEDIUM_TOKENS, 0)


@pytest.mark.parametrize(
    ("demand", "usage", "events", "whole", "cost", "counted"),
    [
        (Demand(400, 600), (100, 50), 40, True, 150, True),
        (Demand(400, 600), (0, 0), 40, True, 0, True),
        # What had come, and what was on its way.
        (Demand(400, 600), (7, 40), 41, False, 48, False),
        (Demand(401, 600), None, 7, True, 101 + 7, False),
        (Demand(401, 600), None, 7, False, 101 + 7, False),
        (Demand(401, 600), None, 0, False, 101, False),
        # The last count was of one answer, the events were of all.
        (Demand(400, 600, 3), (7, 40), 120, False, 220, False),
        (Demand(400, 600, 3), (300, 40), 120, False, 341, False),
        (Demand(400, 600, 3), (7, 120), 120, True, 127, True),
    ],
)
def test_an_answer_costs_what_the_engine_counted_or_else_what_has_come(
    demand: Demand, usage: tuple[int, int] | None, events: int, whole: bool, cost: int, counted: bool
) -> None:
    assert cost_of(demand, usage, events, whole=whole) == (cost, counted)


@pytest.mark.parametrize(
    ("demand", "usage", "events", "whole", "tokens"),
    [
        (Demand(400, 600), (100, 50), 40, True, (100, 50)),
        (Demand(400, 600), (7, 40), 41, False, (7, 41)),
        (Demand(401, 600), None, 7, True, (101, 7)),
        (Demand(400, 600, 3), (7, 40), 120, False, (100, 120)),
        (Demand(400, 600, 3), (300, 40), 120, False, (300, 41)),
    ],
)
def test_tokens_of_prompts_and_of_answers_are_told_apart(
    demand: Demand, usage: tuple[int, int] | None, events: int, whole: bool, tokens: tuple[int, int]
) -> None:
    assert count_of(demand, usage, events, whole=whole)[0] == tokens


@given(
    st.sampled_from((CHAT, COMPLETIONS, RESPONSES, EMBEDDINGS)),
    st.dictionaries(
        st.sampled_from(
            ("max_tokens", "max_completion_tokens", "max_output_tokens", "n", "best_of", "prompt", "input")
        ),
        st.one_of(
            st.none(),
            st.integers(0, 10_000_000),
            st.text(),
            st.lists(st.one_of(st.text(), st.integers(), st.lists(st.integers()))),
        ),
    ),
    st.integers(0, 1 << 25),
)
def test_no_request_may_take_less_than_nothing(operation: Operation, document: dict[str, Any], size: int) -> None:
    # What the caps let through: numbers of answers are numbers.
    for field in ("n", "best_of"):
        if document.get(field).__class__ is not int:
            document.pop(field, None)
    demand = demand_of(operation, document, size)
    assert demand.prompt == size
    assert demand.output >= 0
    assert demand.answers >= 1
