"""An answer with choices (chat completions, completions) on its way through gates: chunks in, chunks out.

A chunk that goes out is built anew, of what is known: an engine may say things beside its text (bytes, token ids, other
tokens that it thought of), and all of that would go around the gate. A whole answer is one chunk that is put together
again.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from understudy.gateway.policy.answers import choices_of
from understudy.gateway.policy.logprobs import Entry, Logprobs
from understudy.gateway.policy.story import FINISHES
from understudy.gateway.policy.verdicts import Passage, Question, Verdicts, cut
from understudy.guard.findings import Finding, Status
from understudy.guard.gate import End, Release

REMOVED: Final = "[removed]"
"""What stands where a rule says Replace."""
_HEAD: Final[tuple[str, ...]] = ("id", "object", "created", "model", "system_fingerprint", "service_tier", "usage")
_BESIDE: Final = ("reasoning", "reasoning_content", "refusal")
_ID_CHARS: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.:")
_LONGEST_ID: Final = 128


class GuardedChoices:
    """The chunks of one answer. `expected` is how many choices it has, `legacy` whether they are those of completions.

    `spoke`: the reader has got something of it.
    """

    __slots__ = ("_choices", "_expected", "_head", "_legacy", "spoke", "verdicts")

    def __init__(self, verdicts: Verdicts, *, expected: int, legacy: bool) -> None:
        self.verdicts = verdicts
        self._expected = expected
        self._legacy = legacy
        self._head: dict[str, Any] = {}
        self._choices: dict[int, _Choice] = {}
        self.spoke = False

    @property
    def over(self) -> bool:
        """Whether every choice has come to its end."""
        return len(self._choices) >= self._expected and all(choice.ended for choice in self._choices.values())

    @property
    def done(self) -> bool:
        """Whether nothing more will come out, once the engine's answer has ended."""
        return all(choice.ended for choice in self._choices.values())

    @property
    def cut(self) -> bool:
        """Whether every choice has ended, and one of them before the engine has ended it."""
        return self.over and any(choice.cut for choice in self._choices.values())

    @property
    def withheld(self) -> bool:
        """Whether nothing of it may be seen."""
        return self.over and not self.spoke and all(choice.blocked for choice in self._choices.values())

    def chunk(self, chunk: dict[str, Any]) -> list[dict[str, Any]]:
        """What goes out for a chunk that came in."""
        self._head = {name: chunk[name] for name in _HEAD if name in chunk}
        pieces = []
        for said in choices_of(chunk):
            index = said.get("index")
            choice = self._choice(index if index.__class__ is int else 0)
            pieces.append(choice.take(said))
        if not self.verdicts.enforces:
            return [{**chunk, **self.verdicts.tell()}]
        return self._out(pieces)

    def heard(
        self, question: Question, detector: str, findings: Sequence[Finding], status: Status
    ) -> list[dict[str, Any]]:
        """What goes out once a detector has spoken."""
        self._head.pop("usage", None)
        choice = self._choices[question.passage.choice]
        return self._out([choice.heard(question, detector, findings, status)])

    def end(self) -> list[dict[str, Any]]:
        """The engine's answer has ended: what goes out that was held back."""
        self._head.pop("usage", None)
        pieces = [choice.close() for choice in self._choices.values() if not choice.ended]
        return self._out(pieces) if self.verdicts.enforces else []

    def pieces(self, answer: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """A whole answer as the chunks of a stream, and an empty one for its end."""
        for choice in choices_of(answer):
            for said in _deltas(choice):
                yield {**answer, "choices": [{"index": choice.get("index"), **said}]}
        yield {}

    def piece(self, piece: dict[str, Any]) -> list[dict[str, Any]]:
        """What goes out for one of them."""
        return self.chunk(piece) if piece else self.end()

    def together(self, answer: dict[str, Any], chunks: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """The whole answer that these chunks are of, which came out for it as one."""
        told: dict[str, Any] = {}
        for chunk in chunks:
            told.update({name: value for name, value in chunk.items() if name == "guardrails"})
        if not self.verdicts.enforces:
            return {**answer, **told}
        head = {name: answer[name] for name in _HEAD if name in answer}
        return {**head, "choices": _folded(chunks), **told}

    def _choice(self, index: int) -> "_Choice":
        found = self._choices.get(index)
        if found is None:
            found = self._choices[index] = _Choice(self.verdicts, index, legacy=self._legacy)
        return found

    def _out(self, pieces: Sequence[dict[str, Any] | None]) -> list[dict[str, Any]]:
        said = [piece for piece in pieces if piece is not None]
        chunks = [{**self._head, "choices": said}] if said else []
        self.spoke = self.spoke or any(choice.spoke for choice in self._choices.values())
        if any(piece["finish_reason"] is not None for piece in said):
            told = self.verdicts.tell()
            if told:
                head = {name: value for name, value in self._head.items() if name != "usage"}
                chunks.append({**head, "choices": [], **told})
        elif chunks:
            chunks[-1].update(self.verdicts.tell())
        return chunks


class _Choice:
    """One choice. `ended` once its last chunk has gone out, `blocked` if a rule ended it, `spoke` once it has said
    something.
    """

    __slots__ = (
        "_closing", "_finish", "_legacy", "_logprobs", "_passages", "_verdicts", "blocked", "ended", "index", "spoke",
    )  # fmt: skip

    def __init__(self, verdicts: Verdicts, index: int, *, legacy: bool) -> None:
        self._verdicts = verdicts
        self._legacy = legacy
        self._passages: dict[str, Passage] = {}
        self._logprobs: Logprobs | None = None
        # Why it ended, held back as long as some of its texts are.
        self._finish: str | None = None
        self._closing = False
        self.index = index
        self.blocked = self.ended = self.spoke = False

    def take(self, said: dict[str, Any]) -> dict[str, Any] | None:
        """What goes out of it for what came in."""
        if self.ended or self._closing:
            return None
        piece = _Piece()
        given = said.get("delta")
        delta: dict[str, Any] = given if isinstance(given, dict) else {}
        if "role" in delta:
            piece.delta["role"] = "assistant"
            if delta.get("content") == "":
                piece.delta["content"] = ""
        if isinstance(said.get("logprobs"), dict):
            self._logprobs = self._logprobs or Logprobs()
            self._logprobs.feed(said["logprobs"])
        if self._legacy:
            self._say(piece, "text", said.get("text"))
        else:
            for field in _BESIDE:
                self._say(piece, field, delta.get(field))
            self._say(piece, "content", delta.get("content"))
            self._call(piece, "function_call", delta.get("function_call"))
            calls = delta.get("tool_calls")
            for call in calls if isinstance(calls, list) else ():
                self._tool(piece, call)
        finish = said.get("finish_reason")
        if finish is not None:
            self._finish = finish if finish in FINISHES else "stop"
            self._closing = True
        return self._settle(piece, finishing=finish is not None)

    def heard(
        self, question: Question, detector: str, findings: Sequence[Finding], status: Status
    ) -> dict[str, Any] | None:
        """What goes out of it once a detector has spoken."""
        if self.ended:
            return None
        piece = _Piece()
        passage = question.passage
        self._let(piece, passage, question.heard(detector, findings, status))
        return self._settle(piece, finishing=False)

    def close(self) -> dict[str, Any] | None:
        """Nothing more comes of it."""
        self._closing = True
        return self._settle(_Piece(), finishing=True)

    def _settle(self, piece: "_Piece", *, finishing: bool) -> dict[str, Any] | None:
        """The piece as it goes out; with the last one the reason why it ended."""
        if finishing:
            for passage in self._passages.values():
                if not self.ended:
                    self._let(piece, passage, passage.gate.finish())
        if not self.ended and self._closing and all(passage.gate.done for passage in self._passages.values()):
            self.ended = True
            piece.finish = self._finish
        return self._built(piece)

    def _passage(self, channel: str, *, json: bool = False) -> Passage:
        found = self._passages.get(channel)
        if found is None:
            if channel in ("content", "text"):
                found = self._verdicts.open(channel, self.index)
            else:
                found = self._verdicts.open_side(channel, self.index, json=json)
            self._passages[channel] = found
        return found

    def _say(self, piece: "_Piece", channel: str, text: Any) -> None:
        if isinstance(text, str) and text and not self.ended:
            passage = self._passage(channel)
            self._let(piece, passage, passage.feed(text))

    def _tool(self, piece: "_Piece", call: Any) -> None:
        if not isinstance(call, dict):
            return
        index = call.get("index")
        index = index if index.__class__ is int else 0
        if isinstance(call.get("id"), str) and not self.ended:
            head = piece.call(f"tool_calls.{index}")
            head["id"] = call["id"] if is_id(call["id"]) else f"call-{index}"
            head["type"] = "function"
        self._call(piece, f"tool_calls.{index}", call.get("function"))

    def _call(self, piece: "_Piece", channel: str, function: Any) -> None:
        """The name of a function, which is said at once, and its arguments, which are JSON."""
        if not isinstance(function, dict) or self.ended:
            return
        name = function.get("name")
        if isinstance(name, str) and name:
            said = self._verdicts.word(name, channel, self.index)
            if said is None:
                self._block(piece)
                return
            piece.function(channel)["name"] = said
            self.spoke = True
        arguments = function.get("arguments")
        if isinstance(arguments, str) and arguments:
            passage = self._passage(channel, json=True)
            self._let(piece, passage, passage.feed(arguments))

    def _let(self, piece: "_Piece", passage: Passage, release: Release) -> None:
        """Take what a gate lets out."""
        before = len(self._verdicts.found)
        text = self._verdicts.take(passage, release)
        if text:
            self.spoke = True
            piece.add(passage.channel, text)
        if release.end is not None:
            self._stop(piece, release.end, before)

    def _stop(self, piece: "_Piece", end: End, before: int) -> None:
        """It ends here: blocked, failed, or with something else to be said in its place."""
        if end.why == "replaced":
            self.ended = True
            instead = self._verdicts.referral(self._verdicts.found[before:]) if end.decision.crisis else ""
            piece.add("text" if self._legacy else "content", ("\n\n" if self.spoke else "") + (instead or REMOVED))
            self.spoke = True
            piece.finish = "stop"
        elif end.why == "failed":
            # Nobody has found anything: who reads the answer is told that it cannot go on.
            self.ended = True
        else:
            self._block(piece)

    def _block(self, piece: "_Piece") -> None:
        self.blocked = self.ended = True
        piece.finish = "content_filter"

    @property
    def cut(self) -> bool:
        """Whether it has ended before the engine has ended it."""
        return self.ended and not self._closing

    def _built(self, piece: "_Piece") -> dict[str, Any] | None:
        channel = "text" if self._legacy else "content"
        entries = [] if self._logprobs is None else self._logprobs.released(piece.texts.get(channel, ""))
        if not (piece.texts or piece.delta or piece.calls or piece.finish is not None):
            return None
        told = None if not entries else (_legacy_logprobs(entries) if self._legacy else _logprobs(entries))
        out: dict[str, Any] = {"index": self.index, "logprobs": told, "finish_reason": piece.finish}
        if self._legacy:
            out["text"] = piece.texts.get("text", "")
        else:
            out["delta"] = piece.message()
        return out


class _Piece:
    """What of one choice goes out at once."""

    __slots__ = ("calls", "delta", "finish", "texts")

    def __init__(self) -> None:
        self.delta: dict[str, Any] = {}
        self.texts: dict[str, str] = {}
        self.calls: dict[str, dict[str, Any]] = {}
        self.finish: str | None = None

    def add(self, channel: str, text: str) -> None:
        """Text of a channel."""
        if channel == "function_call" or channel.startswith("tool_calls."):
            function = self.function(channel)
            function["arguments"] = function.get("arguments", "") + text
        else:
            self.texts[channel] = self.texts.get(channel, "") + text

    def call(self, channel: str) -> dict[str, Any]:
        """A call of a tool, by its channel."""
        return self.calls.setdefault(channel, {})

    def function(self, channel: str) -> dict[str, Any]:
        """The function that is called."""
        function: dict[str, Any] = self.call(channel).setdefault("function", {})
        return function

    def message(self) -> dict[str, Any]:
        """As a delta."""
        delta = {**self.delta, **self.texts}
        for channel, call in self.calls.items():
            if channel == "function_call":
                delta["function_call"] = call["function"]
            else:
                index = int(channel.rpartition(".")[2])
                delta.setdefault("tool_calls", []).append({"index": index, **call})
        return delta


def is_id(text: str) -> bool:
    """Whether it is an id, and not a text in its place."""
    return 0 < len(text) <= _LONGEST_ID and _ID_CHARS.issuperset(text)


def _logprobs(entries: Sequence[Entry]) -> dict[str, Any]:
    return {
        "content": [
            {"token": token, "logprob": value, "bytes": None, "top_logprobs": []} for token, value, _ in entries
        ],
        "refusal": None,
    }


def _legacy_logprobs(entries: Sequence[Entry]) -> dict[str, Any]:
    return {
        "tokens": [token for token, _, _ in entries],
        "token_logprobs": [value for _, value, _ in entries],
        "top_logprobs": None,
        "text_offset": [at for _, _, at in entries],
    }


def _deltas(choice: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A whole choice as those of a stream: who speaks, each text in pieces, and why it ended."""
    finish = choice.get("finish_reason") or "stop"
    beside = {"logprobs": choice.get("logprobs"), "finish_reason": None}
    message = choice.get("message")
    if not isinstance(message, dict):
        yield {**beside, "text": ""}
        for piece in cut(choice.get("text")):
            yield {"text": piece, "finish_reason": None}
        yield {"text": "", "finish_reason": finish}
        return
    yield {**beside, "delta": {"role": "assistant", "content": "" if message.get("content") == "" else None}}
    for field in (*_BESIDE, "content"):
        for piece in cut(message.get(field)):
            yield {"delta": {field: piece}, "finish_reason": None}
    for part in _call_pieces(message.get("function_call")):
        yield {"delta": {"function_call": part}, "finish_reason": None}
    calls = message.get("tool_calls")
    known = [call for call in (calls if isinstance(calls, list) else ()) if isinstance(call, dict)]
    for index, call in enumerate(known):
        head = {"index": index, "id": call.get("id")}
        for part in _call_pieces(call.get("function")):
            yield {"delta": {"tool_calls": [{**head, "function": part}]}, "finish_reason": None}
            head = {"index": index}
    yield {"delta": {}, "finish_reason": finish}


def _call_pieces(function: Any) -> Iterator[dict[str, Any]]:
    if isinstance(function, dict):
        yield {"name": function.get("name")}
        for piece in cut(function.get("arguments")):
            yield {"arguments": piece}


def _folded(chunks: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    choices: dict[int, dict[str, Any]] = {}
    for chunk in chunks:
        for piece in chunk["choices"]:
            blank = {"index": piece["index"], "logprobs": None, "finish_reason": None}
            _fold(choices.setdefault(piece["index"], blank), piece)
    return [choices[index] for index in sorted(choices)]


def _fold(choice: dict[str, Any], piece: dict[str, Any]) -> None:
    choice["finish_reason"] = piece["finish_reason"] or choice["finish_reason"]
    more = piece["logprobs"]
    if more is not None:
        had = choice["logprobs"]
        choice["logprobs"] = more if had is None else _joined(had, more)
    if "text" in piece:
        choice["text"] = choice.get("text", "") + piece["text"]
        return
    message = choice.setdefault("message", {"role": "assistant", "content": None})
    for field, value in piece["delta"].items():
        if field == "tool_calls":
            _fold_calls(message.setdefault("tool_calls", []), value)
        elif field == "function_call":
            _fold_function(message.setdefault("function_call", {"name": "", "arguments": ""}), value)
        elif field != "role":
            message[field] = (message.get(field) or "") + value


def _joined(had: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    return {name: value + more[name] if isinstance(value, list) else value for name, value in had.items()}


def _fold_calls(calls: list[dict[str, Any]], pieces: Sequence[dict[str, Any]]) -> None:
    for piece in pieces:
        while len(calls) <= piece["index"]:
            calls.append({"id": f"call-{len(calls)}", "type": "function", "function": {"name": "", "arguments": ""}})
        call = calls[piece["index"]]
        call["id"] = piece.get("id", call["id"])
        _fold_function(call["function"], piece.get("function", {}))


def _fold_function(function: dict[str, Any], piece: dict[str, Any]) -> None:
    function["name"] = piece.get("name", function["name"])
    function["arguments"] += piece.get("arguments", "")
