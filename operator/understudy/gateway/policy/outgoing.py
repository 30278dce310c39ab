"""What a client gets of an answer, read off what it is sent: the chunks, events and objects as they go out.

No gate is asked what it let out. Whoever looks at an answer a second time must not believe the first.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from understudy.gateway.policy.answers import choices_of
from understudy.gateway.policy.verdicts import REMOVED, Facts
from understudy.guard.second import Second, Text

MOST: Final = 65_536
"""Characters of one answer that are kept; what comes after them is not looked at."""
_FIELDS: Final = ("content", "reasoning", "reasoning_content", "refusal", "text")
# What a text is of: a choice and a field of it, or what numbers a text of a response.
Place = tuple[Any, ...]


class Outgoing:
    """The texts of one answer, which `second` is to look at.

    `own` is what the gateway itself may say in the place of a text or behind it.
    """

    __slots__ = ("_cut", "_ended", "_own", "_room", "_texts", "_words", "facts", "second")

    def __init__(self, second: Second, facts: Facts, own: Iterable[str]) -> None:
        self.second = second
        self.facts = facts
        self._own = (REMOVED, *own)
        self._texts: dict[Place, list[str]] = {}
        self._words: set[str] = set()
        # Choices that have come to their end by themselves, and those that a rule has ended.
        self._ended: set[int] = set()
        self._cut: set[int] = set()
        self._room = MOST

    def chunk(self, chunk: dict[str, Any]) -> None:
        """A chunk of a stream, or a whole answer that has choices."""
        for choice in choices_of(chunk):
            index = int(choice.get("index") or 0)
            said = choice.get("delta") or choice.get("message") or choice
            for field in _FIELDS:
                self._add((index, field), said.get(field))
            self._call((index, "function_call"), said.get("function_call"))
            for call in said.get("tool_calls") or ():
                self._call((index, "tool_calls", call.get("index", id(call))), call.get("function"))
            finish = choice.get("finish_reason")
            if finish is not None:
                (self._cut if finish == "content_filter" else self._ended).add(index)

    def whole(self, answer: dict[str, Any]) -> None:
        """A whole answer."""
        if "output" in answer:
            (self._ended if answer.get("status") == "completed" else self._cut).add(0)
            self._response(answer)
        elif "choices" in answer:
            self.chunk(answer)
        else:
            self._add((0, "prompt"), answer.get("prompt"))
            self._ended.add(0)

    def event(self, event: Mapping[str, Any]) -> None:
        """An event of a response."""
        kind, delta = str(event["type"]), event.get("delta")
        stem, _, verb = kind.rpartition(".")
        if verb == "delta":
            self._add((0, stem.rpartition(".")[2], event["output_index"], _number(event)), delta)
        elif isinstance(event.get("item"), dict):
            self._name(event["item"].get("name"))
        elif verb in ("completed", "incomplete"):
            (self._ended if verb == "completed" else self._cut).add(0)
            self._response(event["response"])

    def _response(self, response: Mapping[str, Any]) -> None:
        """A whole response: what of it was said in no event before."""
        known = {"".join(pieces) for pieces in self._texts.values()}
        for item in response["output"]:
            self._name(item.get("name"))
            for number, (kind, text) in enumerate(_texts_of(item)):
                if text not in known:
                    self._add((0, kind, item["id"], number), text)

    def texts(self) -> Iterator[Text]:
        """All of them, for a second look."""
        facts = self.facts
        said = {place: "".join(pieces) for place, pieces in self._texts.items()}
        replaced = {place[0] for place, text in said.items() if text.endswith(self._own)}
        for place, text in said.items():
            whole = place[0] in self._ended - self._cut - replaced and self._room > 0
            asked = place[1] in ("content", "text", "output_text")
            before = facts.before.get(place[0], "") if asked else ""
            is_json = place[-1] == "arguments" or place[1] == "function_call_arguments" or (asked and facts.json)
            if is_json and before:
                # Where a string of it began, only who has read all of it can tell.
                continue
            yield Text(before + self._without_own(text), len(before), json=is_json, whole=whole)
        for word in sorted(self._words):
            yield Text(word)

    def _add(self, place: Place, text: Any) -> None:
        if isinstance(text, str) and text and self._room > 0:
            self._texts.setdefault(place, []).append(text[: self._room])
            self._room -= len(text)

    def _call(self, place: Place, function: Any) -> None:
        if isinstance(function, dict):
            self._name(function.get("name"))
            self._add((*place, "arguments"), function.get("arguments"))

    def _name(self, name: Any) -> None:
        if isinstance(name, str) and name:
            self._words.add(name[:MOST])

    def _without_own(self, text: str) -> str:
        for said in self._own:
            if text.endswith(said):
                return text[: -len(said)].removesuffix("\n\n")
        return text


def _number(event: Mapping[str, Any]) -> Any:
    return event.get("content_index", event.get("summary_index", 0))


def _texts_of(item: Mapping[str, Any]) -> Sequence[tuple[str, str]]:
    """The texts of an item of a response, each with what its events are called."""
    if "arguments" in item:
        return [("function_call_arguments", item["arguments"])]
    if "input" in item:
        return [("custom_tool_call_input", item["input"])]
    parts = [*item.get("summary", ()), *item.get("content", ())]
    return [(part["type"], part["refusal" if part["type"] == "refusal" else "text"]) for part in parts]
