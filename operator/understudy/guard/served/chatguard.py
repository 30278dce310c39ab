"""Guard models that are asked by chat and answer in a few words of their own: one parser for each grammar, by version.

The grammars are those of the model cards: Llama Guard 3, Qwen3Guard-Gen, Granite Guardian 3.3, and its releases before
that. A parser takes exactly that and nothing like it: a guard that rambles, hedges or was cut off has not answered.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from understudy.guard.actions import Where
from understudy.guard.findings import Finding, Severity
from understudy.guard.served.codec import (
    Question,
    UnreadableError,
    document,
    members,
    of_whole,
    shortened,
    single,
)
from understudy.guard.windows import Window

PATH: Final = "/v1/chat/completions"
# What a guard says: its own word, our category, and how grave that is.
Verdict = tuple[str, str, Severity]


@dataclass(frozen=True, slots=True)
class Parser:
    """One grammar. `categories` are those that it can find in either direction."""

    categories: frozenset[str]
    max_tokens: int
    read: Callable[[str, Where, str], Sequence[Verdict]]
    """What an answer says: its text, the direction, and the criterion that was asked for; raises UnreadableError."""
    criteria: Mapping[str, str]
    """By category, what is to be asked for; empty: one question is about all of them."""
    options: Callable[[str], Mapping[str, Any]]
    """Fields of the request for a criterion."""


class ChatGuard:
    """A guard model. `wanted`: categories that rules speak of; others of its words have no consequence."""

    def __init__(self, detector: str, parser: Parser, wanted: frozenset[str]) -> None:
        self._detector = detector
        self._parser = parser
        asked = {parser.criteria[category] for category in parser.criteria.keys() & wanted}
        # Without criteria there is one question, and it is about everything.
        self._criteria: tuple[str, ...] = tuple(sorted(asked)) if parser.criteria else ("",)
        self._wanted = wanted

    def questions(self, window: Window, where: Where, before: str) -> tuple[Question, ...]:
        """As Codec."""
        messages = [{"role": "user", "content": window.text}]
        if where == "output":
            # What a guard judges is the last message; the one before it tells what it answers.
            messages = [
                {"role": "user", "content": shortened(before)},
                {"role": "assistant", "content": window.text},
            ]
        usual = {"messages": messages, "max_tokens": self._parser.max_tokens, "temperature": 0}
        return tuple(Question(PATH, {**usual, **self._parser.options(each)}) for each in self._criteria)

    def read(self, answers: Sequence[bytes], window: Window, where: Where) -> tuple[Finding, ...]:
        """As Codec."""
        return tuple(
            of_whole(window, self._detector, word, category, severity, None)
            for answer, criterion in zip(answers, self._criteria, strict=True)
            for word, category, severity in self._parser.read(said(answer), where, criterion)
            if category in self._wanted
        )


def said(answer: bytes) -> str:
    """The text of a chat completion that came to its end, without white space around it.

    Raises UnreadableError.
    """
    choice = members(single(members(document(answer), "the answer").get("choices"), "choices"), "choices[0]")
    # `S1` may be the beginning of `S10`.
    if choice.get("finish_reason") != "stop":
        raise UnreadableError("the answer was cut off")
    text = members(choice.get("message"), "message").get("content")
    if not isinstance(text, str):
        raise UnreadableError("content is no text")
    return text.strip()


_LLAMA: Final[Mapping[str, str]] = {
    "S1": "violence",
    "S2": "illicit",
    "S3": "sexual",
    "S4": "sexual_minors",
    "S5": "defamation",
    "S6": "specialized_advice",
    "S7": "privacy",
    "S8": "intellectual_property",
    "S9": "weapons",
    "S10": "hate",
    "S11": "self_harm",
    "S12": "sexual",
    "S13": "elections",
    "S14": "code_abuse",
}
_LLAMA_SAYS: Final = re.compile(r"safe|unsafe\n(S[0-9]{1,2}(?:, ?S[0-9]{1,2})*)")


def _read_llama(text: str, where: Where, criterion: str) -> Sequence[Verdict]:
    del where, criterion
    match = _LLAMA_SAYS.fullmatch(text)
    if match is None:
        raise UnreadableError("neither `safe`, nor `unsafe` and its categories on the next line")
    codes = [code.strip() for code in match[1].split(",")] if match[1] else []
    if unknown := [code for code in codes if code not in _LLAMA]:
        raise UnreadableError(f"category {unknown[0]}, and there are S1 to S14")
    return [(code, _LLAMA[code], 6) for code in codes]


_QWEN: Final[Mapping[str, str]] = {
    "Violent": "violence",
    "Non-violent Illegal Acts": "illicit",
    "Sexual Content or Sexual Acts": "sexual",
    "PII": "privacy",
    "Suicide & Self-Harm": "self_harm",
    "Unethical Acts": "unethical",
    "Politically Sensitive Topics": "political",
    "Copyright Violation": "intellectual_property",
    "Jailbreak": "jailbreak",
}
_QWEN_SAYS: Final = re.compile(r"Safety: (Safe|Controversial|Unsafe)\nCategories: ([^\n]+)(?:\nRefusal: (Yes|No))?")
_QWEN_SEVERITY: Final[Mapping[str, Severity]] = {"Controversial": 4, "Unsafe": 6}


def _read_qwen(text: str, where: Where, criterion: str) -> Sequence[Verdict]:
    del criterion
    match = _QWEN_SAYS.fullmatch(text)
    if match is None:
        raise UnreadableError("not the lines Safety and Categories")
    safety, listed, refusal = match.groups()
    if (refusal is None) != (where == "input"):
        raise UnreadableError("a line Refusal belongs to answers, and to them alone")
    words = [word.strip() for word in listed.split(",")]
    if unknown := [word for word in words if word != "None" and word not in _QWEN]:
        raise UnreadableError(f"category {unknown[0][:64]!r}")
    if (safety == "Safe") != (words == ["None"]) or ("None" in words and len(words) > 1):
        raise UnreadableError("Safety and Categories contradict each other")
    return [(word, _QWEN[word], _QWEN_SEVERITY[safety]) for word in words if word != "None"]


_GRANITE: Final[Mapping[str, str]] = {
    "harm": "harm",
    "social_bias": "hate",
    "profanity": "profanity",
    "sexual_content": "sexual",
    "unethical_behavior": "unethical",
    "violence": "violence",
    "jailbreak": "jailbreak",
}
_GRANITE_SAYS: Final = re.compile(r"(?:<think>\s*</think>)?\s*<score>\s*(yes|no)\s*</score>")


def _read_granite(text: str, where: Where, criterion: str) -> Sequence[Verdict]:
    del where
    match = _GRANITE_SAYS.fullmatch(text)
    if match is None:
        raise UnreadableError("no <score> that is yes or no")
    return [(criterion, _GRANITE[criterion], 6)] if match[1] == "yes" else []


def _granite_options(criterion: str) -> Mapping[str, Any]:
    # Reasoning would cost hundreds of tokens for each window.
    return {"chat_template_kwargs": {"guardian_config": {"criteria_id": criterion}, "think": False}}


# From 3.2 on it says how sure it is.
_GRANITE_RISK_SAYS: Final = re.compile(r"(Yes|No)(?:\n<confidence> ?(High|Low) ?</confidence>)?")


def _read_granite_risk(text: str, where: Where, criterion: str) -> Sequence[Verdict]:
    del where
    match = _GRANITE_RISK_SAYS.fullmatch(text)
    if match is None:
        raise UnreadableError("neither Yes nor No, with nothing but a line <confidence> after it")
    return [(criterion, _GRANITE[criterion], 4 if match[2] == "Low" else 6)] if match[1] == "Yes" else []


def _granite_risk_options(criterion: str) -> Mapping[str, Any]:
    return {"chat_template_kwargs": {"guardian_config": {"risk_name": criterion}}}


def _no_options(criterion: str) -> Mapping[str, Any]:
    del criterion
    return {}


_GRANITE_ASKED: Final = {category: criterion for criterion, category in _GRANITE.items()}
_GRANITE_FINDS: Final = frozenset(_GRANITE_ASKED)
PARSERS: Final[Mapping[str, Parser]] = {
    "llamaguard/v3": Parser(frozenset(_LLAMA.values()), 64, _read_llama, {}, _no_options),
    "qwen3guard/v1": Parser(frozenset(_QWEN.values()), 64, _read_qwen, {}, _no_options),
    "granite/v3": Parser(_GRANITE_FINDS, 32, _read_granite, _GRANITE_ASKED, _granite_options),
    "granite-risk/v1": Parser(_GRANITE_FINDS, 32, _read_granite_risk, _GRANITE_ASKED, _granite_risk_options),
}
"""By name and version, as a Guardrail has them."""
