"""An answer with choices (chat completions, completions) on its way through gates: chunks in, chunks out.

A chunk that goes out is built anew, of what is known: an engine may say things beside its text (bytes, token ids, other
tokens that it thought of), and all of that would go around the gate. A whole answer is one chunk that is put together
again.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from understudy.gateway.policy.answers import choices_of
from understudy.gateway.policy.asides import counts, head_of, is_word, place
from understudy.gateway.policy.logprobs import Entry, Logprobs
from understudy.gateway.policy.story import FINISHES
from understudy.gateway.policy.verdicts import Passage, Question, Verdicts, cut
from understudy.guard.findings import Finding, Status
from understudy.guard.gate import End, Release

# Two names of one thing: some engines say both, with the same text, and readers show either.
_THOUGHTS: Final = ("reasoning", "reasoning_content")


class GuardedChoices:
    """The chunks of one answer. `expected` is how many choices it has, `legacy` whether they are those of completions.

    `spoke`: the reader has got something of it.
    """

    __slots__ = ("_choices", "_expected", "_head", "_legacy", "_usage", "spoke", "verdicts")

    def __init__(self, verdicts: Verdicts, *, expected: int, legacy: bool) -> None:
        self.verdicts = verdicts
        self._expected = expected
        self._legacy = legacy
        # As the first chunk says it: of all that come later it is the same, or in pieces something else.
        self._head: dict[str, Any] | None = None
        self._usage: dict[str, Any] = {}
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
        if self._head is None:
            self._head = head_of(chunk, self.verdicts.say)
        self._usage = {"usage": counts(chunk["usage"])} if "usage" in chunk else {}
        pieces = []
        for said in choices_of(chunk):
            index = said.get("index")
            index = index if index.__class__ is int else 0
            # One that nobody asked for is nobody's.
            if 0 <= index < self._expected:
                pieces.append(self._choice(index).take(said))
        if not self.verdicts.enforces:
            return [{**chunk, **self.verdicts.tell()}]
        return self._out(pieces)

    def heard(
        self, question: Question, detector: str, findings: Sequence[Finding], status: Status
    ) -> list[dict[str, Any]]:
        """What goes out once a detector has spoken."""
        self._usage = {}
        choice = self._choices[question.passage.choice]
        return self._out([choice.heard(question, detector, findings, status)])

    def end(self) -> list[dict[str, Any]]:
        """The engine's answer has ended: what goes out that was held back."""
        self._usage = {}
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
        told = _told_together(chunks)
        if not self.verdicts.enforces:
            return {**answer, **told}
        head = head_of(answer, self.verdicts.say)
        if "usage" in answer:
            head["usage"] = counts(answer["usage"])
        return {**head, "choices": _folded(chunks), **told}

    def tail(self, last: dict[str, Any] | None, used: tuple[int, int] | None) -> dict[str, Any] | None:
        """The chunk that tells the tokens used, as the engine's `last` does, or as far as known (prompt, completion).

        None where nothing is.
        """
        if last is not None and not self.verdicts.enforces:
            return last
        usage = None if last is None else counts(last["usage"])
        if usage is None and used is not None:
            usage = {"prompt_tokens": used[0], "completion_tokens": used[1], "total_tokens": sum(used)}
        head = head_of(last or {}, self.verdicts.say) if self._head is None else self._head
        return None if usage is None else {**head, "choices": [], "usage": usage}

    def _choice(self, index: int) -> "_Choice":
        found = self._choices.get(index)
        if found is None:
            found = self._choices[index] = _Choice(self.verdicts, index, legacy=self._legacy)
        return found

    def _out(self, pieces: Sequence[dict[str, Any] | None]) -> list[dict[str, Any]]:
        said = [piece for piece in pieces if piece is not None]
        head = self._head or {}
        chunks = [{**head, "choices": said, **self._usage}] if said else []
        self.spoke = self.spoke or any(choice.spoke for choice in self._choices.values())
        if any(piece["finish_reason"] is not None for piece in said):
            told = self.verdicts.tell()
            if told:
                chunks.append({**head, "choices": [], **told})
        elif chunks:
            chunks[-1].update(self.verdicts.tell())
        return chunks


class _Choice:
    """One choice. `ended` once its last chunk has gone out, `blocked` if a rule ended it, `spoke` once it has said
    something.
    """

    __slots__ = (
        "_called", "_closing", "_finish", "_legacy", "_logprobs", "_passages", "_thoughts", "_verdicts", "blocked",
        "ended", "index", "spoke",
    )  # fmt: skip

    def __init__(self, verdicts: Verdicts, index: int, *, legacy: bool) -> None:
        self._verdicts = verdicts
        self._legacy = legacy
        self._passages: dict[str, Passage] = {}
        self._logprobs: Logprobs | None = None
        # Under which names what was thought leaves: those under which its first piece came.
        self._thoughts: tuple[str, ...] = ()
        # What calls have been named, and have an id: who reads them puts together what comes in pieces.
        self._called: set[str] = set()
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
            self._think(piece, delta)
            self._say(piece, "refusal", delta.get("refusal"))
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

    def _think(self, piece: "_Piece", delta: dict[str, Any]) -> None:
        """What is thought is one text, whatever it is called: a word in pieces under two names is a word.

        It leaves under the same names all along, so that under each a reader has what was judged and nothing else.
        """
        for names, text in _thoughts(delta):
            self._thoughts = self._thoughts or names
            self._say(piece, self._thoughts[0], text)

    def _tool(self, piece: "_Piece", call: Any) -> None:
        if not isinstance(call, dict):
            return
        index, given = place(call.get("index")), call.get("id")
        channel = f"tool_calls.{index}"
        if isinstance(given, str) and given and not self.ended and self._first(f"{channel}.id"):
            head = piece.call(channel)
            # Some engines have a model write it.
            head["id"] = given if is_word(given) and self._verdicts.say(given) else f"call-{index}"
            head["type"] = "function"
        self._call(piece, channel, call.get("function"))

    def _first(self, what: str) -> bool:
        if what in self._called:
            return False
        self._called.add(what)
        return True

    def _call(self, piece: "_Piece", channel: str, function: Any) -> None:
        """The name of a function, which is said at once, and its arguments, which are JSON."""
        if not isinstance(function, dict) or self.ended:
            return
        name = function.get("name")
        if isinstance(name, str) and name and self._first(channel):
            before = len(self._verdicts.found)
            said, end = self._verdicts.word(name, channel, self.index)
            if end is not None:
                self._stop(piece, end, before)
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
            for name in self._thoughts if passage.channel in _THOUGHTS else (passage.channel,):
                piece.add(name, text)
        if release.end is not None:
            self._stop(piece, release.end, before)

    def _stop(self, piece: "_Piece", end: End, before: int) -> None:
        """It ends here: blocked, failed, or with something else to be said in its place."""
        self.ended = True
        if end.why == "failed":
            # Nobody has found anything: who reads the answer is told that it cannot go on.
            return
        instead = self._verdicts.instead(end, self._verdicts.found[before:])
        if instead:
            piece.add("text" if self._legacy else "content", ("\n\n" if self.spoke else "") + instead)
            self.spoke = True
            piece.finish = "stop"
        else:
            self.blocked = True
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


def _thoughts(said: dict[str, Any]) -> list[tuple[tuple[str, ...], str]]:
    """What is thought in a delta or a message: texts, each with the names under which it is said there."""
    found: dict[str, tuple[str, ...]] = {}
    for name in _THOUGHTS:
        text = said.get(name)
        if isinstance(text, str) and text:
            found[text] = (*found.get(text, ()), name)
    return [(names, text) for text, names in found.items()]


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
    for names, text in (*_thoughts(message), *(((name,), message.get(name)) for name in ("refusal", "content"))):
        for piece in cut(text):
            yield {"delta": dict.fromkeys(names, piece), "finish_reason": None}
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


def _told_together(chunks: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What is to be told beside a whole answer, of which each chunk tells some."""
    told: dict[str, Any] = {}
    for more in (chunk["guardrails"] for chunk in chunks if "guardrails" in chunk):
        findings = [*told.get("findings", ()), *more.get("findings", ())]
        told = {**told, **more, **({"findings": findings} if findings else {})}
    return {"guardrails": told} if told else {}


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
