"""Tokens of one request: the most that it may take, known when it comes, and what it cost, known when it has ended."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from understudy.gateway.policy.media import weigh_media
from understudy.gateway.policy.operations import Operation

# What a medium is taken for, and an answer whose request does not bound it, until the engine has counted.
MEDIUM_TOKENS: Final = 1024
USUAL_OUTPUT: Final = 1024
# What an answer is taken to be in length where loads are compared: there it is better to be right than to be safe.
_LIKELY_OUTPUT: Final = 256
# Where the engine never counted: English text has about four bytes a token, other languages fewer.
BYTES_PER_TOKEN: Final = 4
_OUTPUT_FIELDS: Final = ("max_completion_tokens", "max_tokens", "max_output_tokens")


@dataclass(frozen=True, slots=True)
class Demand:
    """Tokens that a request may take at most: of what it says, and of its `answers` together."""

    prompt: int
    output: int
    answers: int = 1

    @property
    def most(self) -> int:
        """Both together."""
        return self.prompt + self.output


NOTHING: Final = Demand(0, 0)


def demand_of(operation: Operation, document: Mapping[str, Any], size: int) -> Demand:
    """What a request of `size` bytes may take at most: no tokenizer makes more tokens than there are bytes.

    The bytes of the JSON around the texts stand for what the engine's template adds.
    """
    if not operation.copied:
        # No model answers.
        return NOTHING
    media, weight = weigh_media(document)
    prompt = max(0, size - weight) + media * MEDIUM_TOKENS
    if not operation.streams:
        return Demand(prompt, 0)
    answers = _answers(document)
    bound = max_output(document)
    return Demand(prompt, answers * (USUAL_OUTPUT if bound is None else bound), answers)


def max_output(document: Mapping[str, Any]) -> int | None:
    """Tokens that one answer may have, as the request says; None if it does not.

    Of several fields the highest: which of them an engine goes by is its own affair.
    """
    most: int | None = None
    for field in _OUTPUT_FIELDS:
        bound = document.get(field)
        if bound.__class__ is int and (most is None or bound > most):
            most = bound
    return most


def load_of(document: Mapping[str, Any], size: int) -> int:
    """Tokens by which a request of `size` bytes adds to the load of whoever answers it."""
    bound = max_output(document)
    return size // BYTES_PER_TOKEN + (_LIKELY_OUTPUT if bound is None else bound)


def count_of(
    demand: Demand, usage: tuple[int, int] | None, events: int, *, whole: bool
) -> tuple[tuple[int, int], bool]:
    """Tokens that an answer has taken (prompt, completion), and whether the engine has counted them all.

    `usage` is what the engine counted last, `events` how many events said something, `whole` whether the answer came to
    its end: one that was cut has cost what had come, and what was on its way.
    """
    estimate = -(-demand.prompt // BYTES_PER_TOKEN), events
    if usage is None:
        return estimate, False
    if whole:
        return usage, True
    seen = usage[0], usage[1] + 1
    # While a stream goes on, an engine's counts are those of one answer alone.
    return max(seen, estimate, key=sum) if demand.answers > 1 else seen, False


def cost_of(demand: Demand, usage: tuple[int, int] | None, events: int, *, whole: bool) -> tuple[int, bool]:
    """Both kinds of tokens of `count_of` together."""
    tokens, counted = count_of(demand, usage, events, whole=whole)
    return sum(tokens), counted


def _answers(document: Mapping[str, Any]) -> int:
    each: int = max(document.get("n") or 1, document.get("best_of") or 1)
    prompts = document.get("prompt")
    # A list of numbers is one prompt, in tokens.
    several = prompts.__class__ is list and prompts and prompts[0].__class__ in (str, list)
    return each * len(prompts) if prompts and several else each
