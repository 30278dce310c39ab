"""An answer of the Responses API on its way through gates: events in, events out, and whole responses.

Every event that goes out is built anew. What an engine says at the end of a part, an item or the response is all of it
once more: there stands what was let out, and not what the engine said. A whole response is the events by which its
items end.

What comes while detectors have yet to speak on something that has ended waits, so that the order of events stays.
"""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from understudy.gateway.policy.asides import Say, counts, is_word, place, reflected
from understudy.gateway.policy.verdicts import Passage, Question, Verdicts, cut
from understudy.guard.findings import Finding, Status
from understudy.guard.gate import End, Release


@dataclass(frozen=True, slots=True)
class _Stream:
    """One kind of text: the type of its part, the field that has it in the end, and what numbers several of them."""

    part: str
    field: str
    number: str


_STREAMS: Final = {
    "response.output_text": _Stream("output_text", "text", "content_index"),
    "response.refusal": _Stream("refusal", "refusal", "content_index"),
    "response.reasoning_text": _Stream("reasoning_text", "text", "content_index"),
    "response.reasoning_summary_text": _Stream("summary_text", "text", "summary_index"),
    "response.function_call_arguments": _Stream("arguments", "arguments", ""),
    "response.custom_tool_call_input": _Stream("input", "input", ""),
}
_BY_PART: Final = {stream.part: stem for stem, stream in _STREAMS.items()}
# Events that begin or end a part, and what it is called in them.
_PARTS: Final = (
    "response.content_part.added",
    "response.content_part.done",
    "response.reasoning_part.added",
    "response.reasoning_part.done",
    "response.reasoning_summary_part.added",
    "response.reasoning_summary_part.done",
)
_BEGINNINGS: Final = ("response.created", "response.in_progress", "response.queued")
_ENDINGS: Final = ("response.completed", "response.incomplete")
# What a response says of itself, and of its request.
_RESPONSE: Final = (
    "id", "object", "created_at", "instructions", "metadata", "parallel_tool_calls", "temperature", "top_p",
    "tool_choice", "tools", "background", "max_output_tokens", "max_tool_calls", "reasoning", "service_tier", "text",
    "truncation", "user",
)  # fmt: skip
_BEGUN: Final = ("queued", "in_progress")
_ITEMS: Final = ("message", "reasoning", "function_call", "custom_tool_call")
_CALLS: Final[Mapping[str, str]] = {"function_call": "arguments", "custom_tool_call": "input"}
# What an item is of which the engine has not said it, by the part that comes of it.
_KINDS: Final = {
    "arguments": "function_call",
    "input": "custom_tool_call",
    "reasoning_text": "reasoning",
    "summary_text": "reasoning",
}


class _Text:
    """One text of an item. `fed`: it has been said in pieces; `over`: it has ended."""

    __slots__ = ("fed", "over", "passage", "said")

    def __init__(self, passage: Passage) -> None:
        self.passage = passage
        self.fed = self.over = False
        self.said = ""


class _Item:
    """One item of the output, as far as it has come."""

    __slots__ = ("call_id", "id", "index", "kind", "name", "status", "texts")

    def __init__(self, index: int, item: Mapping[str, Any], say: Say) -> None:
        self.index = index
        kind = item.get("type")
        self.kind = str(kind) if kind in _ITEMS else ""
        self.id = _id(item.get("id"), f"item-{index}", say)
        self.call_id = _id(item.get("call_id"), f"call-{index}", say)
        self.name = ""
        self.status = "in_progress"
        self.texts: dict[tuple[str, int], _Text] = {}

    def said(self) -> dict[str, Any]:
        """As it stands in the output."""
        if self.kind in _CALLS:
            field = _CALLS[self.kind]
            text = "".join(text.said for text in self.texts.values())
            called = {"call_id": self.call_id, "name": self.name, field: text}
            return {"id": self.id, "type": self.kind, "status": self.status, **called}
        parts = [_part(part, text.said) for (part, _), text in self.texts.items() if part != "summary_text"]
        if self.kind == "message":
            return {"id": self.id, "type": "message", "role": "assistant", "status": self.status, "content": parts}
        summary = [_part(part, text.said) for (part, _), text in self.texts.items() if part == "summary_text"]
        return {"id": self.id, "type": "reasoning", "status": self.status, "summary": summary, "content": parts}


class GuardedResponse:
    """The events of one response to a request, `asked`. `spoke`: the reader has got something of it; `ended` once its
    last event is out.

    `cut`: a rule ended it, and the engine may go on. `withheld`: a rule ended it, and nothing of it may be seen.
    """

    __slots__ = ("_asked", "_head", "_items", "_later", "_waiting", "cut", "ended", "spoke", "verdicts", "withheld")

    def __init__(self, verdicts: Verdicts, asked: Mapping[str, Any]) -> None:
        self.verdicts = verdicts
        self._asked = asked
        self.spoke = self.ended = self.cut = self.withheld = False
        self._head: dict[str, Any] = {}
        self._items: dict[int, _Item] = {}
        # An event that ends something of which not everything is let out yet, and all that came after it.
        self._waiting: dict[str, Any] | None = None
        self._later: deque[dict[str, Any]] = deque()

    def event(self, event: dict[str, Any]) -> list[dict[str, Any]]:
        """What goes out for an event that came in."""
        if self.ended:
            return []
        if self._waiting is not None:
            self._later.append(event)
            if len(self._later) > self.verdicts.room:
                self.verdicts.overflow()
                self.ended = True
            return []
        out = self._take(event)
        return self._told(out if self.verdicts.enforces else [event])

    def heard(
        self, question: Question, detector: str, findings: Sequence[Finding], status: Status
    ) -> list[dict[str, Any]]:
        """What goes out once a detector has spoken."""
        if self.ended:
            return []
        passage = question.passage
        item, key = self._place(passage)
        out = self._let(item, key, question.heard(detector, findings, status))
        if self._waiting is not None:
            self._later.appendleft(self._waiting)
            self._waiting = None
        while self._later and self._waiting is None and not self.ended:
            out += self._take(self._later.popleft())
        return self._told(out)

    @property
    def done(self) -> bool:
        """Whether nothing more will come out."""
        return self.ended

    def pieces(self, answer: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """A whole response as the events of a stream."""
        output = answer.get("output")
        for index, item in enumerate(output if isinstance(output, list) else ()):
            at = {"output_index": index}
            kind = item.get("type") if isinstance(item, dict) else None
            if kind in _ITEMS:
                yield {"type": "response.output_item.added", **at, "item": item}
                for (part, number), text in _texts_of(str(kind), item):
                    stem = _BY_PART[part]
                    for piece in cut(text):
                        yield {"type": f"{stem}.delta", **at, _STREAMS[stem].number: number, "delta": piece}
            yield {"type": "response.output_item.done", **at, "item": item}
        status = "incomplete" if answer.get("status") == "incomplete" else "completed"
        yield {"type": f"response.{status}", "response": answer}

    def piece(self, piece: dict[str, Any]) -> list[dict[str, Any]]:
        """What goes out for one of them."""
        return self.event(piece)

    def together(self, answer: dict[str, Any], events: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """The whole response that these events are of, which came out for it."""
        del answer
        response: dict[str, Any] = events[-1]["response"]
        return response

    def _take(self, event: dict[str, Any]) -> list[dict[str, Any]]:
        kind = str(event.get("type"))
        stem, _, verb = kind.rpartition(".")
        if stem in _STREAMS and verb == "delta":
            return self._delta(_STREAMS[stem], event)
        if stem in _STREAMS and verb == "done":
            return self._done(_STREAMS[stem], stem, event)
        if kind in _PARTS:
            return self._part(kind, event)
        if kind == "response.output_item.added":
            return self._added(event)
        if kind == "response.output_item.done":
            return self._item_done(event)
        response = event.get("response")
        if isinstance(response, dict):
            self._head = self._about(response)
            if kind in _BEGINNINGS:
                status = response.get("status")
                return [{"type": kind, "response": self._response(status if status in _BEGUN else "in_progress")}]
            if kind in _ENDINGS:
                return self._ending(kind, event, response)
        return []

    def _about(self, response: Mapping[str, Any]) -> dict[str, Any]:
        """What a response says beside its output. The model's name is the gateway's own by now."""
        say, asked = self.verdicts.say, self._asked
        head = {name: reflected(response[name], asked.get(name), say) for name in _RESPONSE if name in response}
        head.update({"model": response["model"]} if "model" in response else {})
        head["id"] = head.get("id") or "answer"
        return {**head, "usage": counts(response["usage"])} if "usage" in response else head

    # Texts.

    def _delta(self, stream: _Stream, event: dict[str, Any]) -> list[dict[str, Any]]:
        item = self._item(event, {"type": _KINDS.get(stream.part, "message")})
        delta = event.get("delta")
        if not isinstance(delta, str) or not delta or not item.kind:
            return []
        key = (stream.part, _number(event, stream))
        return self._feed(item, key, delta)

    def _done(self, stream: _Stream, stem: str, event: dict[str, Any]) -> list[dict[str, Any]]:
        item = self._item(event, {"type": _KINDS.get(stream.part, "message")})
        if not item.kind:
            return []
        key = (stream.part, _number(event, stream))
        out = self._finish(item, key, event.get(stream.field))
        if self.ended or self._waits(event, item, key):
            return out
        return [*out, self._text_done(stem, item, key)]

    def _text_done(self, stem: str, item: _Item, key: tuple[str, int]) -> dict[str, Any]:
        stream = _STREAMS[stem]
        said = {stream.field: item.texts[key].said, **_beside_text(stream.part)}
        return {"type": f"{stem}.done", **_at(item, stream, key), **said}

    def _part(self, kind: str, event: dict[str, Any]) -> list[dict[str, Any]]:
        given = event.get("part")
        said: dict[str, Any] = given if isinstance(given, dict) else {}
        part = str(said.get("type"))
        item = self._item(event, {"type": _KINDS.get(part, "message")})
        if part not in _BY_PART or not item.kind:
            return []
        stream = _STREAMS[_BY_PART[part]]
        key = (stream.part, _number(event, stream))
        if kind.endswith(".added"):
            return [{"type": kind, **_at(item, stream, key), "part": _part(stream.part, "")}]
        out = self._finish(item, key, said.get(stream.field))
        if self.ended or self._waits(event, item, key):
            return out
        return [*out, {"type": kind, **_at(item, stream, key), "part": _part(stream.part, item.texts[key].said)}]

    def _feed(self, item: _Item, key: tuple[str, int], text: str) -> list[dict[str, Any]]:
        found = self._text(item, key)
        if found.over:
            return []
        found.fed = True
        return self._let(item, key, found.passage.feed(text))

    def _finish(self, item: _Item, key: tuple[str, int], text: Any) -> list[dict[str, Any]]:
        """A text has ended; `text` is all of it, for an engine that has not said it in pieces."""
        found = self._text(item, key)
        out = []
        if not found.fed and isinstance(text, str) and text:
            out += self._feed(item, key, text)
        found.over = True
        if not self.ended:
            out += self._let(item, key, found.passage.gate.finish())
        return out

    def _text(self, item: _Item, key: tuple[str, int]) -> _Text:
        found = item.texts.get(key)
        if found is None:
            part, number = key
            channel = f"output.{item.index}.{part}" + (f".{number}" if number else "")
            if part == "output_text":
                passage = self.verdicts.open(channel, 0)
            else:
                passage = self.verdicts.open_side(channel, 0, json=part == "arguments")
            found = item.texts[key] = _Text(passage)
        return found

    def _waits(self, event: dict[str, Any], item: _Item, key: tuple[str, int]) -> bool:
        if item.texts[key].passage.gate.done:
            return False
        self._waiting = event
        return True

    def _let(self, item: _Item, key: tuple[str, int], release: Release) -> list[dict[str, Any]]:
        """Take what a gate lets out."""
        before = len(self.verdicts.found)
        text = self.verdicts.take(item.texts[key].passage, release)
        out = self._say(item, key, text) if text else []
        if release.end is not None and self.verdicts.enforces:
            out += self._stop(item, key, release.end, before)
        return out

    def _say(self, item: _Item, key: tuple[str, int], text: str) -> list[dict[str, Any]]:
        self.spoke = True
        item.texts[key].said += text
        stem = _BY_PART[key[0]]
        said = {"delta": text, **_beside_text(key[0])}
        return [{"type": f"{stem}.delta", **_at(item, _STREAMS[stem], key), **said}]

    # Items.

    def _item(self, event: Mapping[str, Any], item: Mapping[str, Any]) -> _Item:
        index = place(event.get("output_index"))
        found = self._items.get(index)
        if found is None:
            found = self._items[index] = _Item(index, item, self.verdicts.say)
        return found

    def _place(self, passage: Passage) -> tuple[_Item, tuple[str, int]]:
        return next(
            (item, key) for item in self._items.values() for key, text in item.texts.items() if text.passage is passage
        )

    def _added(self, event: dict[str, Any]) -> list[dict[str, Any]]:
        given = event.get("item")
        item = self._item(event, given if isinstance(given, dict) else {})
        if not item.kind:
            return []
        before = len(self.verdicts.found)
        end = self._named(item, given)
        if end is not None:
            return self._nameless(item, end, before)
        return [{"type": "response.output_item.added", "output_index": item.index, "item": item.said()}]

    def _named(self, item: _Item, given: Any) -> End | None:
        """What ends it if what it calls may not be named."""
        name = given.get("name") if isinstance(given, dict) else None
        if item.kind not in _CALLS or item.name or not isinstance(name, str) or not name:
            return None
        said, end = self.verdicts.word(name, f"output.{item.index}.name", 0)
        if end is not None:
            return end if self.verdicts.enforces else None
        item.name = said
        self.spoke = True
        return None

    def _item_done(self, event: dict[str, Any]) -> list[dict[str, Any]]:
        given = event.get("item")
        said: dict[str, Any] = given if isinstance(given, dict) else {}
        item = self._item(event, said)
        if not item.kind:
            return []
        before = len(self.verdicts.found)
        end = self._named(item, said)
        if end is not None:
            return self._nameless(item, end, before)
        out: list[dict[str, Any]] = []
        for key, text in _texts_of(item.kind, said):
            out += self._finish(item, key, text)
            if self.ended or self._waits(event, item, key):
                return out
        for key, found in item.texts.items():
            found.over = True
            out += self._let(item, key, found.passage.gate.finish())
            if self.ended or self._waits(event, item, key):
                return out
        item.status = "incomplete" if said.get("status") == "incomplete" else "completed"
        return [*out, {"type": "response.output_item.done", "output_index": item.index, "item": item.said()}]

    # The end.

    def _ending(self, kind: str, event: dict[str, Any], response: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The engine's response has ended: with what it never said in pieces, and what is held back of the rest."""
        out: list[dict[str, Any]] = []
        output = response.get("output")
        for index, given in enumerate(output if isinstance(output, list) else ()):
            if index not in self._items or self._items[index].status == "in_progress":
                out += self._item_done({"output_index": index, "item": given})
                if self.ended:
                    return out
                if self._waiting is not None:
                    self._waiting = event
                    return out
        details = response.get("incomplete_details")
        reason = details.get("reason") if isinstance(details, dict) else None
        said = _id(reason, "", self.verdicts.say)
        return [*out, self._end(kind.rpartition(".")[2], said)]

    def _stop(self, item: _Item, key: tuple[str, int], end: End, before: int) -> list[dict[str, Any]]:
        """It ends here: blocked, failed, or with something else to be said in its place."""
        if end.why == "failed":
            self.ended = True
            return []
        instead = self.verdicts.instead(end, self.verdicts.found[before:])
        if instead and key[0] == "output_text":
            self.cut = True
            out = self._say(item, key, self._apart(instead)) + self._close(item, key, "completed")
            return [*out, self._end("completed", "")]
        return self._ended_by_rule(self._close(item, key, "incomplete"), instead)

    def _nameless(self, item: _Item, end: End, before: int) -> list[dict[str, Any]]:
        """What an item calls may not be named: it is none."""
        del self._items[item.index]
        return self._ended_by_rule([], self.verdicts.instead(end, self.verdicts.found[before:]))

    def _ended_by_rule(self, closing: list[dict[str, Any]], instead: str) -> list[dict[str, Any]]:
        """A rule has ended it, and what it ended is closed: something is said instead, as an item, or nothing."""
        self.cut = True
        if instead:
            return [*closing, *self._message(self._apart(instead)), self._end("completed", "")]
        if not self.spoke:
            self.withheld = self.ended = True
            return []
        return [*closing, self._end("incomplete", "content_filter")]

    def _apart(self, text: str) -> str:
        return ("\n\n" if self.spoke else "") + text

    def _message(self, text: str) -> list[dict[str, Any]]:
        """A text of ours as the last item."""
        message = _Item(max(self._items, default=-1) + 1, {"type": "message"}, self.verdicts.say)
        self._items[message.index] = message
        place = ("output_text", 0)
        self._text(message, place)
        at = _at(message, _STREAMS["response.output_text"], place)
        item = {**message.said(), "content": []}
        begun = [
            {"type": "response.output_item.added", "output_index": message.index, "item": item},
            {"type": "response.content_part.added", **at, "part": _part("output_text", "")},
        ]
        return begun + self._say(message, place, text) + self._close(message, place, "completed")

    def _close(self, item: _Item, key: tuple[str, int], status: str) -> list[dict[str, Any]]:
        """The events by which an item ends that a rule has ended."""
        stem = _BY_PART[key[0]]
        out = [self._text_done(stem, item, key)]
        if item.kind == "message":
            at = _at(item, _STREAMS[stem], key)
            out.append({"type": "response.content_part.done", **at, "part": _part(key[0], item.texts[key].said)})
        item.status = status
        return [*out, {"type": "response.output_item.done", "output_index": item.index, "item": item.said()}]

    def _end(self, status: str, reason: str) -> dict[str, Any]:
        self.ended = True
        response = self._response(status)
        response["incomplete_details"] = {"reason": reason} if reason else None
        return {"type": f"response.{status}", "response": response}

    def _response(self, status: str) -> dict[str, Any]:
        items = [self._items[index].said() for index in sorted(self._items) if self._items[index].kind]
        output = items if status in ("completed", "incomplete") else []
        return {**self._head, "status": status, "error": None, "incomplete_details": None, "output": output}

    def _told(self, events: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The events, the last one of all with what is to be told beside the answer."""
        if events and self.ended and isinstance(events[-1].get("response"), dict):
            last = events[-1]
            events[-1] = {**last, "response": {**last["response"], **self.verdicts.tell()}}
        return events


def _number(event: Mapping[str, Any], stream: _Stream) -> int:
    return place(event.get(stream.number)) if stream.number else 0


def _at(item: _Item, stream: _Stream, key: tuple[str, int]) -> dict[str, Any]:
    at: dict[str, Any] = {"item_id": item.id, "output_index": item.index}
    return {**at, stream.number: key[1]} if stream.number else at


def _beside_text(part: str) -> dict[str, Any]:
    return {"logprobs": []} if part == "output_text" else {}


def _part(part: str, text: str) -> dict[str, Any]:
    if part == "output_text":
        return {"type": part, "text": text, "annotations": [], "logprobs": []}
    return {"type": part, "refusal" if part == "refusal" else "text": text}


def _texts_of(kind: str, item: Mapping[str, Any]) -> list[tuple[tuple[str, int], Any]]:
    """All texts of an item as the engine has it, each with its place."""
    if kind in _CALLS:
        return [((_CALLS[kind], 0), item.get(_CALLS[kind]))]
    found: list[tuple[tuple[str, int], Any]] = []
    for field in ("summary", "content"):
        parts = item.get(field)
        for number, part in enumerate(parts if isinstance(parts, list) else ()):
            if isinstance(part, dict) and part.get("type") in _BY_PART:
                name = str(part["type"])
                found.append(((name, number), part.get("refusal" if name == "refusal" else "text")))
    return found


def _id(given: Any, otherwise: str, say: Say) -> str:
    return str(given) if is_word(given) and say(given) else otherwise
