"""One try at one endpoint: connect, send, and read the answer, whole or event by event.

It is told what happens on the engine's connection and tells the exchange what that means; once `over`, it is
told nothing more.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol

import orjson

from understudy.gateway.policy.answers import has_choices, is_refusal, says_something, tokens_used
from understudy.gateway.policy.asides import is_word
from understudy.gateway.policy.balance import Endpoint, eject, failed, succeeded
from understudy.gateway.policy.evidence import ErrorKind, SampleCounters
from understudy.gateway.policy.guarded_choices import GuardedChoices
from understudy.gateway.policy.guarded_response import GuardedResponse
from understudy.gateway.policy.guarded_text import GuardedText
from understudy.gateway.policy.outgoing import Outgoing
from understudy.gateway.policy.pairs import Half
from understudy.gateway.policy.refusal import Refusal
from understudy.gateway.policy.responses import is_empty
from understudy.gateway.policy.retry import Failure
from understudy.gateway.policy.story import Story, finish_of
from understudy.gateway.policy.verdicts import Question, Verdicts
from understudy.gateway.table import Variant
from understudy.gateway.wire.asking import Asking, Crowded, Heard
from understudy.gateway.wire.completions import CompletionsRelay
from understudy.gateway.wire.guarded import GuardedChoicesRelay, GuardedResponseRelay, WholeAnswer
from understudy.gateway.wire.relay import Relay, StreamFailedError
from understudy.gateway.wire.responses import ResponsesRelay
from understudy.gateway.wire.watch import Watch
from understudy.guard.findings import Finding, Status

if TYPE_CHECKING:
    from understudy.gateway.wire.plane import Plane
    from understudy.gateway.wire.upstream import Upstream

LOG: Final = logging.getLogger(__name__)
_LOST = Refusal(502, "engine_lost", "the engine was lost in the middle of its answer")
_ERROR = Refusal(502, "engine_error", "the engine failed in the middle of its answer")
STALLED = Refusal(504, "engine_stalled", "the engine stopped in the middle of its answer")
TOO_LONG = Refusal(504, "deadline", "the answer took longer than this deployment allows")
_MAX_MESSAGE = 4096
_REFUSED = "the engine refused the request"


class Owner(Protocol):
    """Whoever makes an attempt, and hears what becomes of it: a client's request, or a copy of one."""

    plane: "Plane"
    name: str
    responses: bool
    stream: bool
    wants_usage: bool
    hides_each: bool
    watch: Watch | None

    def request_to(self, variant: Variant) -> bytes:
        """The request as the engine gets it."""

    def grew(self, size: int) -> None:
        """A whole answer has come to `size` bytes: the attempt is over if that is more than is read."""

    def failed(self, failure: Failure) -> None:
        """It failed before its first content."""

    def cut(self, kind: ErrorKind | None, refusal: Refusal) -> None:
        """The stream cannot go on."""

    def send(self, events: bytes, now: float, *, first: bool) -> None:
        """Events of the stream."""

    def stream_ended(self) -> None:
        """The stream has come to its end mark."""

    def answered(self, body: bytes) -> None:
        """The whole answer."""

    def engine_refused(self, refusal: Refusal) -> None:
        """The engine will not answer this request."""


class Attempt:
    """One try. `relay` is set once an event stream has begun to arrive; `sample` is None if it is none.

    `half` listens, as half of a pair or for the request log; None if nobody does. `crowded` is called where there is
    no room to judge a copy's answer; None for a client's, which waits for room.
    """

    __slots__ = (
        "_answer", "_asking", "_began", "_came", "_connecting", "_crowded", "_ended_at", "_exchange", "_first_at",
        "_last_token", "_load", "_outgoing", "_parts", "_reading", "_said_at", "_size", "_slowest", "_status",
        "_upstream", "_usage", "_verdicts", "endpoint", "half", "relay", "sample", "variant",
    )  # fmt: skip

    def __init__(
        self,
        exchange: Owner,
        variant: Variant,
        endpoint: Endpoint,
        load: int,
        now: float,
        *,
        sampled: bool,
        half: Half | None,
        crowded: Crowded | None = None,
    ) -> None:
        self._crowded = crowded
        self._exchange = exchange
        self.variant = variant
        self.endpoint = endpoint
        self.half = half
        self.relay: Relay | None = None
        self._load = load
        self._began = now
        self.sample: SampleCounters | None = variant.counters.sample if sampled else None
        self._last_token = self._slowest = 0.0
        self._connecting: asyncio.Task[None] | None = None
        self._upstream: Upstream | None = None
        self._status = 0
        self._parts: list[bytes] = []
        self._size = 0
        self._usage: tuple[int, int] | None = None
        self._answer: dict[str, Any] | None = None
        # Whether all of what is no stream has come.
        self._came = False
        self._asking: Asking | None = None
        # The next turn of the loop in which more of a long answer is judged.
        self._reading: asyncio.Handle | None = None
        self._verdicts: Verdicts | None = None
        # Who looks at it again; and of a stream that Guardrails judge, when the engine said its first word and its
        # last, and when the first went on.
        self._outgoing: Outgoing | None = None
        self._said_at = self._ended_at = self._first_at = 0.0
        variant.counters.open += 1
        endpoint.open += 1
        endpoint.tokens += load

    def begin(self, *, reuse: bool) -> None:
        """Take a connection, a kept one only if `reuse`, and send."""
        pool = self._exchange.plane.pool
        upstream = pool.take(self.endpoint) if reuse else None
        if upstream is not None:
            self.connected(upstream)
        else:
            self._connecting = pool.connect(self.endpoint, self)

    def over(self, *, clean: bool) -> None:
        """Hear no more. `clean`: the answer was read whole, so the connection may be kept."""
        self.variant.counters.open -= 1
        self.endpoint.open -= 1
        self.endpoint.tokens -= self._load
        if self.sample is not None and self._last_token:
            self.sample.streamed(self._slowest)
        if self.half is not None:
            now = self._exchange.plane.clock()
            self.half.over(now - (self._last_token or self._began), self._slowest, now - self._began)
        if self._reading is not None:
            self._reading.cancel()
        if self._exchange.watch is not None and self._verdicts is not None:
            self._end_watch(self._exchange.watch, self._verdicts, clean=clean)
        connecting, self._connecting = self._connecting, None
        if connecting is not None:
            # A cancelled task remembers where it was, and there this attempt is: kept, each would keep the other.
            connecting.cancel()
        if self._upstream is not None:
            if clean:
                self._upstream.release()
            else:
                self._upstream.abort()

    def _end_watch(self, watch: Watch, verdicts: Verdicts, *, clean: bool) -> None:
        plane, asking = self._exchange.plane, self._asking
        if self._outgoing is not None:
            watch.gone_out(plane, self._outgoing, verdicts)
        if asking is not None and clean and asking.waits and self.variant.track != "shadow" and not verdicts.failed:
            # Detectors that only count were not waited for: what they say is for the turn all the same.
            watch.tell(plane, self.variant, verdicts)
            asking.outlive(partial(self._tell_watch, watch, verdicts))
            return
        if asking is not None:
            asking.close()
        self._tell_watch(watch, verdicts)

    def _tell_watch(self, watch: Watch, verdicts: Verdicts) -> None:
        if self._judged():
            watch.judged(self._exchange.plane, self.variant, verdicts)
        elif self._came:
            # What was said instead of an answer is no turn.
            watch.tell(self._exchange.plane, self.variant, verdicts)
        verdicts.close()

    @property
    def used(self) -> tuple[tuple[int, int] | None, int]:
        """The engine's count of prompt and completion tokens, as far as it told, and how many events said something."""
        relay = self.relay
        return (self._usage, 0) if relay is None else (relay.usage, relay.chunks)

    def pause(self) -> None:
        """Read no more for now."""
        if self._upstream is not None:
            self._upstream.pause()

    def resume(self) -> None:
        """Read again."""
        if self._upstream is not None:
            self._upstream.resume()

    # What it is charged with.

    def charge(self, kind: ErrorKind) -> None:
        """It failed before its first content."""
        self.variant.counters.failed(kind)
        if self.sample is not None:
            self.sample.failed()
        if self.half is not None:
            self.half.failed = True

    def spoil(self, kind: ErrorKind) -> None:
        """It failed after its first content, with which it was counted already."""
        self.variant.counters.errors[kind] += 1
        if self.sample is not None:
            self.sample.errors += 1
        if self.half is not None:
            self.half.failed = True

    def told(self, story: Story) -> None:
        """What a request's story has of it; of a stream that broke off, what had come of it by then."""
        story.revision, story.track = self.variant.revision, self.variant.track
        story.sampled = self.sample is not None
        usage, chunks = self.used
        story.tokens = usage or (0, chunks)
        last = self._answer if self.relay is None else self.relay.last
        story.finish = "" if last is None else finish_of(last)

    def blame(self, now: float, *, at_once: bool) -> None:
        """Hold it against the endpoint, which goes out: `at_once`, or if it was not the first in a row."""
        if (eject if at_once else failed)(self.endpoint, now):
            self.variant.counters.ejections += 1
            LOG.info(
                "%s (revision %s) fails, and gets no requests for now", self.endpoint.address, self.variant.revision
            )

    # What the connection tells.

    def connected(self, upstream: "Upstream") -> None:
        """A connection is there: the request goes out."""
        self._connecting = None
        self._upstream = upstream
        upstream.send(self, self._exchange.request_to(self.variant))

    def connect_failed(self) -> None:
        """There is no connection to be had."""
        self._connecting = None
        self._exchange.failed("connect")

    def answer_head(self, status: int, content_type: bytes, encoding: bytes) -> None:
        """The head of the answer."""
        exchange = self._exchange
        self._status = status
        if encoding not in (b"", b"identity"):
            exchange.failed("malformed")
        elif status == 200:
            if exchange.stream != content_type.startswith(b"text/event-stream"):
                exchange.failed("malformed")
            elif exchange.stream:
                self.relay = self._opened()
        elif not is_refusal(status):
            exchange.failed("status" if status >= 500 or status in (408, 429) else "malformed")

    def _opened(self) -> Relay:
        exchange, model, half = self._exchange, self.variant.model, self.half
        usage = {"wants_usage": exchange.wants_usage, "hides_each": exchange.hides_each}
        watch = exchange.watch
        guard = None if watch is None else watch.answer()
        relay: GuardedResponseRelay | GuardedChoicesRelay | None = None
        if watch is not None and isinstance(guard, GuardedResponse):
            relay = GuardedResponseRelay(model, exchange.name, guard, half=half, hears_raw=watch.keeps_raw)
        elif watch is not None and isinstance(guard, GuardedChoices):
            relay = GuardedChoicesRelay(model, exchange.name, guard, half=half, hears_raw=watch.keeps_raw, **usage)
        if watch is not None and relay is not None:
            self._asks(relay.verdicts, watch, partial(self._heard, relay))
            relay.outgoing = self._outgoing
            return relay
        if exchange.responses:
            return ResponsesRelay(model, exchange.name, half=half)
        return CompletionsRelay(model, exchange.name, half=half, **usage)

    def answer_body(self, data: bytes) -> None:
        """A piece of the body."""
        relay = self.relay
        if relay is None:
            self._parts.append(data)
            self._size += len(data)
            self._exchange.grew(self._size)
            return
        try:
            relay.feed(data)
        except StreamFailedError as error:
            if self._begun():
                self.break_off("malformed" if error.malformed else "truncated", _ERROR)
            else:
                self._exchange.failed("malformed" if error.malformed else "status")

    def answer_flush(self, *, ended: bool) -> None:
        """Everything of one read has been told; `ended` when the answer is complete."""
        relay = self.relay
        if relay is None:
            if ended:
                self._whole_ended()
            return
        if self._asking is not None:
            self._asking.look()
        if self._verdicts is not None and not self._ended_at and (relay.pending or relay.done or not self._said_at):
            self._note(relay)
        if relay.refusal is not None:
            self._withheld(relay.refusal)
            return
        if relay.begun:
            self._send(relay)
        if relay.stopped or (ended and not relay.pending):
            self._stream_ended(relay)

    def _note(self, relay: Relay) -> None:
        """When the engine said its first word, and its last: from then on it is held back."""
        now = self._exchange.plane.clock()
        if relay.said and not self._said_at:
            self._said_at = now
        if relay.pending or relay.done:
            self._ended_at = now

    def answer_malformed(self) -> None:
        """The engine does not speak HTTP."""
        if self._begun():
            self.break_off("malformed", _ERROR)
        else:
            self._exchange.failed("malformed")

    def answer_lost(self, upstream: "Upstream") -> None:
        """The connection ended before the answer did."""
        if self._came or (self.relay is not None and self.relay.pending):
            # All of it has come, and detectors have yet to speak.
            return
        if self._begun():
            self.break_off("truncated", _LOST)
        elif upstream.started:
            self._exchange.failed("broken")
        else:
            self._exchange.failed("stale" if upstream.reused else "killed")

    # What it comes to.

    def break_off(self, kind: ErrorKind | None, refusal: Refusal) -> None:
        """The stream cannot go on, and `kind` is to be charged; once its end mark has come, nothing is lost by that."""
        relay = self.relay
        if relay is not None and relay.done:
            self._stream_ended(relay)
        else:
            self._exchange.cut(kind, refusal)

    def _withheld(self, refusal: Refusal) -> None:
        """The engine has done its part, and Guardrails do not let it through: it is charged with nothing."""
        if self._last_token:
            self._exchange.cut(None, refusal)
            return
        self.variant.counters.answered()
        if self.sample is not None:
            self.sample.answered()
        self._exchange.engine_refused(refusal)

    def _begun(self) -> bool:
        """Whether the owner has something of the stream already, or could be given all of it."""
        return bool(self._last_token) or (self.relay is not None and self.relay.done)

    def _send(self, relay: Relay) -> None:
        events = relay.take()
        if not events:
            return
        now = self._exchange.plane.clock()
        first = not self._last_token
        if first:
            self._first_at = now
            self.variant.counters.first_token(now - self._began)
            if self.sample is not None:
                self.sample.first_token(now - self._began)
            if self.half is not None:
                self.half.began(now - self._began)
            succeeded(self.endpoint)
        else:
            gap = now - self._last_token
            self.variant.counters.gap(gap)
            self._slowest = max(gap, self._slowest)
        self._last_token = now
        self._exchange.send(events, now, first=first)

    def _stream_ended(self, relay: Relay) -> None:
        if relay.done:
            self._send(relay)
            counters = self.variant.counters
            counters.used(*(relay.usage or (0, relay.chunks)))
            counters.empty += not relay.said
            if self.sample is not None:
                self.sample.empty += not relay.said
            if self.half is not None:
                self.half.empty = not relay.said
            if self._verdicts is not None and self._verdicts.enforces and self._exchange.watch is not None:
                self._tell_holds(self._exchange.watch)
            self._exchange.stream_ended()
        elif self._last_token:
            self._exchange.cut("truncated", _LOST)
        else:
            self._exchange.failed("broken")

    def _tell_holds(self, watch: Watch) -> None:
        """For how long its first word was held back, and its last; of an answer without a word no time at all."""
        now = self._exchange.plane.clock()
        first = self._first_at - (self._said_at or self._first_at)
        watch.streamed(self._exchange.plane, self.variant, first, now - (self._ended_at or now))

    def _whole_ended(self) -> None:
        self._came = True
        try:
            answer: Any = orjson.loads(b"".join(self._parts))
        except orjson.JSONDecodeError:
            answer = None
        variant = self.variant
        if self._status != 200:
            variant.counters.refused()
            if self.sample is not None:
                self.sample.refused()
            if self.half is not None:
                self.half.refused = True
            self._pass_on(self._refusal(answer))
            return
        if not isinstance(answer, dict) or answer.get("model", variant.model) != variant.model:
            self._exchange.failed("malformed")
            return
        if self._exchange.responses and answer.get("status") == "failed":
            self._exchange.failed("status")
            return
        if "model" in answer:
            answer["model"] = self._exchange.name
        variant.counters.answered()
        self._usage = tokens_used(answer)
        self._answer = answer
        variant.counters.used(*(self._usage or (0, 0)))
        if self._exchange.responses:
            empty = is_empty(answer)
        else:
            empty = has_choices(answer) and not says_something(answer)
        variant.counters.empty += empty
        if self.sample is not None:
            self.sample.answered()
            self.sample.empty += empty
        if self.half is not None:
            self.half.empty = empty
        succeeded(self.endpoint)
        self._let_out(answer)

    def _let_out(self, answer: dict[str, Any]) -> None:
        """Give a whole answer to the owner, through Guardrails where there are any."""
        watch = self._exchange.watch
        guard = None if watch is None else watch.answer()
        if watch is None or guard is None:
            self._hear(answer)
            self._exchange.answered(orjson.dumps(answer))
            return
        if watch.keeps_raw:
            self._hear(answer)
        self._judge(WholeAnswer(guard, answer), watch, partial(self._give, watch))

    def _pass_on(self, refusal: Refusal) -> None:
        """Give the engine's refusal to the owner, as far as Guardrails let it through."""
        watch = self._exchange.watch
        guard = None if watch is None else watch.instead()
        if watch is None or guard is None:
            self._exchange.engine_refused(refusal)
            return
        if not (is_word(refusal.param) and guard.verdicts.say(str(refusal.param))):
            refusal = replace(refusal, param=None)
        said = {GuardedText.FIELD: refusal.message}
        self._judge(WholeAnswer(guard, said), watch, partial(self._refuse, refusal))

    def _judge(self, whole: WholeAnswer, watch: Watch, then: Callable[[WholeAnswer], None]) -> None:
        self._asks(whole.verdicts, watch, partial(self._heard_of_whole, whole, then))
        self._conclude(whole, then)

    def _judged(self) -> bool:
        """Whether it is an answer, of which something has gone to the client or was withheld."""
        return (
            bool(self._last_token)
            or self._answer is not None
            or (self.relay is not None and self.relay.refusal is not None)
        )

    def _asks(self, verdicts: Verdicts, watch: Watch, heard: Heard) -> None:
        """Have detectors asked about an answer, if any judge it."""
        self._verdicts = verdicts
        self._outgoing = watch.listen(self._exchange.plane, self.variant, verdicts)
        if verdicts.asked:
            self._asking = Asking(verdicts, watch, self._exchange.plane.panel, heard, self._crowded)

    def _heard(
        self,
        relay: GuardedChoicesRelay | GuardedResponseRelay,
        question: Question,
        detector: str,
        findings: Sequence[Finding],
        status: Status,
    ) -> None:
        """What a detector says to a window of the stream."""
        relay.heard(question, detector, findings, status)
        self.answer_flush(ended=False)

    def _heard_of_whole(
        self,
        whole: WholeAnswer,
        then: Callable[[WholeAnswer], None],
        question: Question,
        detector: str,
        findings: Sequence[Finding],
        status: Status,
    ) -> None:
        whole.heard(question, detector, findings, status)
        self._conclude(whole, then)

    def _conclude(self, whole: WholeAnswer, then: Callable[[WholeAnswer], None]) -> None:
        """Judge more of a whole answer, and go on once all has been said of it."""
        asking = self._asking
        if asking is not None and whole.verdicts.awaits and asking.waits and whole.refusal is None:
            return
        read = whole.read_on()
        if asking is not None:
            asking.look()
        if whole.over:
            then(whole)
        elif not read and not (asking is not None and whole.verdicts.awaits and asking.waits):
            self._reading = asyncio.get_running_loop().call_soon(self._conclude, whole, then)

    def _give(self, watch: Watch, whole: WholeAnswer) -> None:
        refusal = whole.refusal
        if refusal is not None:
            self._exchange.engine_refused(refusal)
            return
        released = whole.released()
        if self._outgoing is not None:
            self._outgoing.whole(released)
        if not watch.keeps_raw:
            self._hear(released)
        self._exchange.answered(orjson.dumps(released))

    def _refuse(self, refusal: Refusal, whole: WholeAnswer) -> None:
        said = "" if whole.refusal is not None else str(whole.released()[GuardedText.FIELD])
        self._exchange.engine_refused(replace(refusal, message=said or _REFUSED))

    def _hear(self, answer: dict[str, Any]) -> None:
        if self.half is None:
            return
        if self._exchange.responses:
            self.half.heard_response(answer)
        else:
            self.half.heard(answer)

    def _refusal(self, answer: Any) -> Refusal:
        """The engine's own refusal, in our words but for its message."""
        error = answer.get("error", answer) if isinstance(answer, dict) else {}
        error = error if isinstance(error, dict) else {}
        message = str(error.get("message") or _REFUSED)[:_MAX_MESSAGE]
        param = error.get("param")
        return Refusal(
            self._status,
            "engine_refused",
            message.replace(self.variant.model, self._exchange.name),
            param if isinstance(param, str) else None,
        )
