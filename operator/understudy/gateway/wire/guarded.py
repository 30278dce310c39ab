"""Answers that are judged on their way: what the engine says goes through gates, and what is clear goes on.

The engine is heard to its end, unless nothing that it may still say can be let out; then it is cut off. What tells the
tokens used, and the end mark, come when the answer has ended for the client.
"""

import json
from collections.abc import Sequence
from typing import Any, Final

from understudy.gateway.policy.answers import finishes, has_choices, says_something
from understudy.gateway.policy.events import DONE
from understudy.gateway.policy.guarded_choices import GuardedChoices
from understudy.gateway.policy.guarded_response import GuardedResponse
from understudy.gateway.policy.outgoing import Outgoing
from understudy.gateway.policy.pairs import Half
from understudy.gateway.policy.refusal import Refusal
from understudy.gateway.policy.responses import ends
from understudy.gateway.policy.responses import says_something as says_something_of_response
from understudy.gateway.policy.verdicts import Guarded, Question, Verdicts
from understudy.gateway.wire.completions import CompletionsRelay
from understudy.gateway.wire.refusals import FILTERED, UNAVAILABLE
from understudy.gateway.wire.relay import StreamFailedError, written
from understudy.gateway.wire.responses import ResponsesRelay
from understudy.guard.findings import Finding, Status

# Pieces of a whole answer that are judged in one turn of the loop.
_AT_ONCE: Final = 8
_SURROGATES: Final = b"\\ud"


def _none(word: str) -> Any:
    raise ValueError(f"{word} is no JSON")


def _lenient(payload: bytes) -> Any:
    """JSON in which halves of characters stand, as where two events cut between them: to who is strict it is none."""
    try:
        return json.loads(payload, parse_constant=_none)
    except (ValueError, RecursionError) as error:
        raise StreamFailedError(malformed=True) from error


def refusal_of(guard: Guarded) -> Refusal | None:
    """What is answered where nothing of it, or nothing more, may be."""
    if guard.verdicts.failed:
        return UNAVAILABLE
    return FILTERED if guard.withheld else None


class WholeAnswer:
    """A whole answer on its way."""

    __slots__ = ("_answer", "_guard", "_left", "_out", "_read")

    def __init__(self, guard: Guarded, answer: dict[str, Any]) -> None:
        self._guard = guard
        self._answer = answer
        self._left = guard.pieces(answer)
        self._read = False
        self._out: list[dict[str, Any]] = []

    def read_on(self) -> bool:
        """Judge some more of it, as much as may be at once; whether all has been read.

        Where detectors are waited for, no more is read than they are asked about: what waits for them is bounded.
        """
        verdicts = self.verdicts
        for _ in range(_AT_ONCE):
            piece = None if self.refusal is not None else next(self._left, None)
            if piece is None:
                self._read = True
                break
            self._out += self._guard.piece(piece)
            if verdicts.questions and verdicts.awaits:
                break
        return self._read

    @property
    def verdicts(self) -> Verdicts:
        """What is said of it."""
        return self._guard.verdicts

    @property
    def over(self) -> bool:
        """Whether it is known what the client gets."""
        return self._read and (self._guard.done or self.refusal is not None)

    @property
    def refusal(self) -> Refusal | None:
        """What the client gets in its place."""
        return refusal_of(self._guard)

    def heard(self, question: Question, detector: str, findings: Sequence[Finding], status: Status) -> None:
        """What a detector says to a window of it."""
        self._out += self._guard.heard(question, detector, findings, status)

    def released(self) -> dict[str, Any]:
        """What the client gets."""
        return self._guard.together(self._answer, self._out)


class GuardedChoicesRelay(CompletionsRelay):
    """One stream, through `guard`. `hears_raw`: its half hears what the engine says, and else what the client gets.

    `outgoing` hears what the client gets in any case, where there is one.
    """

    __slots__ = ("_guard", "_hears_raw", "_tail", "outgoing", "pending", "refusal", "stopped")

    def __init__(
        self,
        model: str,
        name: str,
        guard: GuardedChoices,
        *,
        wants_usage: bool,
        hides_each: bool,
        half: Half | None,
        hears_raw: bool,
    ) -> None:
        super().__init__(model, name, wants_usage=wants_usage, hides_each=hides_each, half=half)
        self._guard = guard
        self._hears_raw = hears_raw
        # The chunk that tells the tokens used.
        self._tail: dict[str, Any] | None = None
        self.outgoing: Outgoing | None = None
        self.refusal = None
        self.stopped = self.pending = False

    @property
    def verdicts(self) -> Verdicts:
        """What is said of it."""
        return self._guard.verdicts

    def heard(self, question: Question, detector: str, findings: Sequence[Finding], status: Status) -> None:
        """What a detector says to a window of it."""
        self._put(self._guard.heard(question, detector, findings, status))
        self._look()
        self.stopped = self.stopped or self.done

    def _event(self, payload: bytes) -> None:
        if self.stopped or self.pending or self.refusal is not None:
            return
        if payload == DONE:
            self.pending = True
            self._put(self._guard.end())
        else:
            chunk = self._read(payload)
            if chunk is None:
                return
            if not has_choices(chunk):
                self._tail = chunk if "usage" in chunk else self._tail
                return
            if self._half is not None and self._hears_raw:
                self._half.heard(chunk)
            self.said = self.said or says_something(chunk)
            self._put(self._guard.chunk(chunk))
        self._look()

    def _parse(self, payload: bytes) -> Any:
        return _lenient(payload) if _SURROGATES in payload.lower() else super()._parse(payload)

    def _put(self, chunks: Sequence[dict[str, Any]]) -> None:
        for chunk in chunks:
            if self._half is not None and not self._hears_raw:
                self._half.heard(chunk)
            if self.outgoing is not None:
                self.outgoing.chunk(chunk)
            self.begun = self.begun or says_something(chunk) or finishes(chunk)
            self._out.append(b"data: %b\n\n" % written(chunk))

    def _look(self) -> None:
        """Whether it has come to its end, and to which."""
        guard = self._guard
        self.refusal = refusal_of(guard)
        if self.refusal is None and (guard.done if self.pending else guard.cut):
            self.stopped = not self.pending
            self._finish()

    def _finish(self) -> None:
        if self._wants_usage:
            tail = self._guard.tail(self._tail, self.usage)
            if tail is not None:
                self._out.append(b"data: %b\n\n" % written(tail))
        self._out.append(b"data: [DONE]\n\n")
        self.pending = False
        self.done = True


class GuardedResponseRelay(ResponsesRelay):
    """One stream of the Responses API, through `guard`; the rest is as in GuardedChoicesRelay."""

    __slots__ = ("_guard", "_hears_raw", "outgoing", "pending", "refusal", "stopped")

    def __init__(self, model: str, name: str, guard: GuardedResponse, *, half: Half | None, hears_raw: bool) -> None:
        super().__init__(model, name, half=half)
        self._guard = guard
        self._hears_raw = hears_raw
        self.outgoing: Outgoing | None = None
        self.refusal = None
        self.stopped = self.pending = False

    @property
    def verdicts(self) -> Verdicts:
        """What is said of it."""
        return self._guard.verdicts

    def heard(self, question: Question, detector: str, findings: Sequence[Finding], status: Status) -> None:
        """What a detector says to a window of it."""
        self._let_out(self._guard.heard(question, detector, findings, status))
        self.stopped = self.stopped or self.done

    def _event(self, payload: bytes) -> None:
        if self.done or self.pending or self.refusal is not None:
            return
        event = self._read(payload)
        self.said = self.said or says_something_of_response(event)
        self.pending = ends(event)
        if self.pending and self._hears_raw:
            self._hear(event)
        self._let_out(self._guard.event(event))

    def _parse(self, payload: bytes) -> Any:
        return _lenient(payload) if _SURROGATES in payload.lower() else super()._parse(payload)

    def _let_out(self, events: Sequence[dict[str, Any]]) -> None:
        guard = self._guard
        for event in events:
            self._number += 1
            event["sequence_number"] = self._number
            self.begun = self.begun or says_something_of_response(event) or ends(event)
            self._put(event)
            if self.outgoing is not None:
                self.outgoing.event(event)
        self.refusal = refusal_of(guard)
        if guard.ended and self.refusal is None:
            self.stopped = not self.pending
            self.pending = False
            self.done = True
            if not self._hears_raw and events:
                self._hear(events[-1])

    def _hear(self, event: dict[str, Any]) -> None:
        if self._half is not None and isinstance(event.get("response"), dict):
            self._half.heard_response(event["response"])
