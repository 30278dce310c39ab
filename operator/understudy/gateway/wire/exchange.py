"""One request on its way: dispatch, retries, the answer to the client, and every way in which it can end.

Until the first event has gone to the client a failed attempt may be followed by another; after it, only the
truth can: an error event. A client that waits long for its stream gets the head and heartbeats before that; then
whatever else there is to tell, a refusal included, is an event.
"""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from understudy.gateway.policy.balance import UNBOUNDED, Endpoint, acquitted
from understudy.gateway.policy.choose import choose_candidate, choose_endpoint, choose_variant
from understudy.gateway.policy.conversation import traceparent
from understudy.gateway.policy.evidence import ErrorKind
from understudy.gateway.policy.fallback import next_fallback
from understudy.gateway.policy.guarding import PINNED
from understudy.gateway.policy.head import Head
from understudy.gateway.policy.keys import AccessKey
from understudy.gateway.policy.operations import RESPONSES, Operation
from understudy.gateway.policy.pairs import Half
from understudy.gateway.policy.refusal import Refusal
from understudy.gateway.policy.retry import (
    CHARGED,
    POISONED,
    Course,
    Failure,
    Step,
    ends_connection,
    gave_up,
    next_step,
    rationed,
)
from understudy.gateway.policy.story import ANSWERED, CLIENT_GONE, NO_STORY
from understudy.gateway.table import Entry, Variant
from understudy.gateway.wire.answer import id_fields
from understudy.gateway.wire.attempt import STALLED, TOO_LONG, Attempt
from understudy.gateway.wire.helpline import Helpline
from understudy.gateway.wire.letter import Letter
from understudy.gateway.wire.means import Means
from understudy.gateway.wire.playing import Turn
from understudy.gateway.wire.refusals import NO_CAPACITY, NO_TURN, REVOKED, UNAVAILABLE, WITHDRAWN
from understudy.gateway.wire.reply import Reply
from understudy.gateway.wire.shadow import Pair, Request
from understudy.gateway.wire.switching import Way
from understudy.gateway.wire.talk import Talk
from understudy.gateway.wire.watch import Watch, watch_of

if TYPE_CHECKING:
    from understudy.gateway.wire.connection import Connection

_DIRECT: Final = "direct"


class Exchange:
    """One request from dispatch to the end of its answer. `name` is the model as the client calls it.

    `size` is the length of its body in bytes; `means` are None for a key without limits or a budget. A `direct` one is
    for the candidate alone, whatever its share: it never goes to stable.
    """

    __slots__ = (
        "_asked", "_attempt", "_barred", "_beat_at", "_began", "_charges", "_course", "_desperate", "_direct", "_due",
        "_entry_key", "_fallbacks", "_fields", "_helpline", "_key", "_letter", "_line", "_means", "_operation", "_pair",
        "_queue", "_reply", "_request_id", "_spoke", "_story", "_talk", "_timeouts", "_wait_until", "_whole_until",
        "client", "hides_each", "name", "plane", "responses", "stream", "turn", "wants_usage", "watch",
    )  # fmt: skip

    def __init__(
        self,
        client: "Connection",
        operation: Operation,
        head: Head,
        document: dict[str, Any],
        way: Way,
        key: AccessKey,
        means: Means | None,
        *,
        size: int,
        direct: bool = False,
    ) -> None:
        plane, entry = client.plane, way.entry
        fields = head.fields
        self.plane = plane
        self.name: str = (way.held and way.name) or document["model"]
        self.stream = document.get("stream") is True
        self.responses = operation is RESPONSES
        self._letter = Letter(operation, document, key, traceparent(fields.get(b"traceparent")), size)
        if means is not None and means.counts_each:
            self._letter.count_each()
        self.wants_usage, self.hides_each = self._letter.wants_usage, self._letter.hides_each
        self.client = client
        # Of whom it is, where anybody says so.
        self.turn: Turn | None = None
        self._operation = operation
        self._fields = fields
        self._entry_key = entry.key
        self._key = key
        self._means = means
        self._direct = direct
        self._request_id = plane.ids.next()
        self._helpline = Helpline(plane, operation, self.name, self._request_id)
        self._reply = Reply(client, id_fields(self._request_id, fields) + way.fields, responses=self.responses)
        self._reply.fallback = way.name
        table = entry.served.table
        self._timeouts, self._queue = table.timeouts, table.queue
        # What a rung of a ladder keeps from a model goes to no other either.
        self._fallbacks = () if way.held else table.fallback
        self._asked: tuple[str, ...] = (entry.key,)
        now = self._began = plane.clock()
        self._whole_until = now + self._timeouts.whole
        self._story = plane.story(self._request_id, document["model"], operation.path, key.hash, stream=self.stream)
        plane.listen(self._story, table.logging, document, head)
        # What judges it, where Guardrails do; `_barred` where they cannot, and nobody may be asked without.
        self.watch: Watch | None = None
        self._wait_until = 0.0
        # When patience ends with an engine that has not begun, or with waiting for one, and when to send a heartbeat.
        self._due = math.inf
        self._beat_at = now + self._timeouts.heartbeat_after if self.stream else math.inf
        # The line in which it waits, if it does.
        self._line = ""
        self._attempt: Attempt | None = None
        self._course = Course()
        self._charges: list[tuple[Attempt, ErrorKind]] = []
        self._talk = Talk(plane, self._story, fields.get(b"x-session-id"), document, key.hash, operation.turns)
        self._pair: Pair | None = None
        self._desperate, self._spoke, self._barred = True, False, False

    def guard(self, entry: Entry) -> None:
        """Have it judged by what holds for this deployment now, whatever comes later."""
        document, who = self._letter.document, (self._request_id.decode(), self._key)
        self._barred = bool(entry.unguarded)
        self.watch = watch_of(entry, self._operation, document, self._fields, who, self.turn, self.watch)
        if self.watch is not None:
            # An answer that ends early is to be paid for as far as it came.
            self._letter.count_each()
            self.hides_each = self._letter.hides_each

    def start(self) -> None:
        """Send the request on its way, as soon as it may."""
        self._hear(self._depart)

    def _depart(self) -> None:
        """Go on unless the player has a break: what they say is heard even then, since they may need help."""
        rests = None if self.turn is None else self.turn.rests
        if rests is not None:
            self.refuse(rests)
        elif self._means is not None:
            self._means.ask(self)
        else:
            self.set_out()

    def _hear(self, then: Callable[[], None]) -> None:
        """Have judged what it says; then go on, unless a Guardrail says otherwise."""
        if self._barred:
            self.refuse(UNAVAILABLE)
        elif self.watch is None:
            then()
        else:
            self.watch.hear(self, then)

    def add_fields(self, fields: bytes) -> None:
        """Header lines for whatever it is answered."""
        self._reply.fields += fields

    def set_out(self) -> None:
        """It may go."""
        plane = self.plane
        now = plane.clock()
        if self.turn is not None:
            self.add_fields(self.turn.begin(self._request_id, self._operation, self._letter.document))
        plane.budget.request(now)
        if plane.poisons and plane.poisons.holds(self._letter.digest(), now):
            self.refuse(POISONED)
        else:
            self.dispatch()

    def _over(self, attempt: Attempt | None, ended: tuple[int, str]) -> None:
        """It has `ended`, by status and code: what it has cost is known, it counts, and the log gets its story."""
        self.plane.clients.over(self._asked[0], ended[0], self.plane.clock() - self._began)
        if self._means is not None:
            self._means.pay(attempt, whole=ended == ANSWERED)
        if self.turn is not None and attempt is not None and ended == ANSWERED:
            self.turn.answered(attempt.variant.revision)
        if self._story is not NO_STORY:
            self.plane.tell(self._story, self._entry_key, self._reply.fallback, ended)

    def dispatch(self) -> None:
        """Choose variant and endpoint by the table of this moment and begin an attempt, or wait for one to choose."""
        plane = self.plane
        now = plane.clock()
        entry = plane.world.routes.deployments.get(self._entry_key)
        if entry is None or not entry.split:
            self._wait(now, "stable")
            return
        if self._direct:
            self._dispatch_direct(entry, now)
            return
        variant = entry.split[0]
        if len(entry.split) > 1:
            variant = choose_variant(entry, self._talk.position(entry), plane.pins)
        if self._is_behind(entry, variant.track):
            self._wait(now, variant.track)
            return
        draw = (plane.random(), plane.random())
        begins = self._letter.begins(variant)
        chosen = choose_endpoint(
            entry, variant, now, self._course.tried, draw, desperate=self._desperate, beginning=begins
        )
        if chosen is None:
            self._wait(now, variant.track)
            return
        if chosen[0] is not variant:
            self._pin(entry)
        sampled = bool(entry.served.table.salt) and plane.samples.take(
            entry.key, chosen[0].revision, self._talk.position(entry), now
        )
        half = None
        if entry.shadow is not None and chosen[0] is variant and variant is entry.stable and self._operation.copied:
            half = self._half(entry, now)
        self._begin(*chosen, now, reuse=True, sampled=sampled, half=half)

    def _half(self, entry: Entry, now: float) -> Half | None:
        """Half of a pair, if the lot says that this request is copied. The copy has one try: so has this half of it."""
        if self._letter.sent:
            return None
        request = Request(
            self._operation.path,
            self.name,
            self._request_id.decode(),
            responses=self.responses,
            stream=self.stream,
            room=self._story.room,
            watch=self.watch,
        )
        self._pair = self.plane.shadows.draw(entry, self._talk.position(entry), request, now)
        return None if self._pair is None else self._pair.stable

    def _dispatch_direct(self, entry: Entry, now: float) -> None:
        plane = self.plane
        if self._is_behind(entry, _DIRECT):
            self._wait(now, _DIRECT)
            return
        candidate = next((v for v in entry.split if v.track == "canary"), None)
        begins = 0 if candidate is None else self._letter.begins(candidate)
        chosen = choose_candidate(entry, now, self._course.tried, (plane.random(), plane.random()), begins)
        if isinstance(chosen, Refusal):
            self.refuse(chosen)
        elif chosen is None:
            self._wait(now, _DIRECT)
        else:
            # No lot sent it there, so it is no fair sample of what the candidate does.
            self._begin(*chosen, now, reuse=True, sampled=False, half=None)

    def _pin(self, entry: Entry) -> None:
        if len(entry.split) > 1:
            self.plane.failovers += 1
            self.plane.pins.add(entry, self._talk.position(entry))

    def _is_behind(self, entry: Entry, part: str) -> bool:
        """Whether a new request has to let others go first: where endpoints can be full, and some wait for one."""
        if entry.most == UNBOUNDED or self._line or self._course.tried:
            return False
        return self.plane.queue.holds(self._entry_key, part)

    def _wait(self, now: float, part: str) -> None:
        if self._line:
            return
        if not self._wait_until:
            self._wait_until = min(now + self._queue.deadline, self._whole_until)
        if now >= self._wait_until:
            self._unserved(NO_TURN, now)
            return
        if not self.plane.queue.enter(self, self._entry_key, part, self._key.priority, self._queue.max):
            self._unserved(NO_CAPACITY, now)
            return
        self._line = part
        # Whoever was tried may be tried again: what wakes this request is news.
        self._course.tried.clear()
        self._course.connects = 0
        self._desperate = False
        self._expect(self._wait_until)

    def _leave(self, *, served: bool) -> float:
        """Wait no more; for how many seconds it did."""
        line, self._line = self._line, ""
        return self.plane.queue.leave(self, self._entry_key, line, served=served) if line else 0.0

    def crowded_out(self) -> None:
        """It waits no more: the line was full, and somebody else had a better right to its place."""
        self._line = ""
        self._unserved(NO_CAPACITY, self.plane.clock())

    def _unserved(self, refusal: Refusal, now: float, *, by_budget: bool = False) -> None:
        """The deployment cannot serve it: let the next name that may take it do so, else refuse.

        `by_budget`: only if there is a retry left for that.
        """
        plane = self.plane
        self._leave(served=False)
        found = None
        if self._fallbacks and not self._direct and now < self._whole_until:
            routes, document = plane.world.routes, self._letter.document
            names = self._fallbacks if self.turn is None else self.turn.open_to(self._fallbacks, routes)
            found = next_fallback(names, routes, self._key, self._asked, self._operation, document)
        if found is None or (by_budget and not plane.budget.take(now)):
            self.refuse(refusal)
            return
        name, entry, self._fallbacks = found
        plane.fallbacks += 1
        self._close_pair()
        self._pair = None
        self._asked += (entry.key,)
        self._entry_key = entry.key
        self._reply.fallback = name
        self._timeouts, self._queue = entry.served.table.timeouts, entry.served.table.queue
        self.guard(entry)
        # What it has done to engines stays with it; everything else begins anew.
        kills = self._course.kills
        self._course = Course()
        self._course.kills = kills
        self._wait_until = 0.0
        self._desperate = True
        self._talk.move()
        self._letter.rewrite()
        self._hear(self.dispatch)

    def _begin(
        self, variant: Variant, endpoint: Endpoint, now: float, *, reuse: bool, sampled: bool, half: Half | None
    ) -> None:
        waited = self._leave(served=True)
        if waited:
            variant.counters.waited(waited)
        letter = self._letter
        letter.write(variant)
        first = self._timeouts.first_token if self.stream else self._timeouts.whole
        self._expect(min(now + first, self._whole_until))
        self._story.attempts += reuse
        half = self._story.listening(half)
        attempt = self._attempt = Attempt(self, variant, endpoint, letter.load, now, sampled=sampled, half=half)
        attempt.begin(reuse=reuse)

    def _expect(self, until: float) -> None:
        """Be patient until then, and let the client know now and then."""
        self._due = until
        self.client.deadline = until if self.client.paused else min(until, self._beat_at)

    def _beat(self, now: float) -> None:
        self._beat_at = now + self.plane.limits.heartbeat_seconds
        self._expect(self._due)
        self._reply.beat()

    def request_to(self, variant: Variant) -> bytes:
        """The request as the engine gets it."""
        return self._letter.to(variant)

    # What the attempt tells.

    def failed(self, failure: Failure) -> None:
        """The attempt failed before the client got anything: charge it, and try elsewhere where that may help."""
        attempt = self._end_attempt(clean=False)
        if attempt is None:
            return
        plane, course = self.plane, self._course
        variant, endpoint = attempt.variant, attempt.endpoint
        now = plane.clock()
        kills = course.kills
        step = next_step(course, failure, endpoint, on_candidate=variant.track == "canary" and not self._direct)
        if step is Step.SAME:
            self._begin(variant, endpoint, now, reuse=False, sampled=attempt.sample is not None, half=attempt.half)
            return
        attempt.blame(now, at_once=ends_connection(failure))
        if course.kills > kills:
            # Charged later, and not at all if the request turns out to be what kills.
            self._charges.append((attempt, CHARGED[failure]))
        else:
            attempt.charge(CHARGED[failure])
        if step is Step.POISON:
            self._poisoned(now)
        elif step is Step.GIVE_UP:
            self._unserved(gave_up(failure), now, by_budget=rationed(failure))
        elif rationed(failure) and not plane.budget.take(now):
            self.refuse(gave_up(failure))
        else:
            self._retry(step)

    def _retry(self, step: Step) -> None:
        self.plane.retries += 1
        entry = self.plane.world.routes.deployments.get(self._entry_key)
        if step is Step.STABLE and entry is not None:
            self._pin(entry)
        self.dispatch()

    def send(self, events: bytes, now: float, *, first: bool) -> None:
        """Events of the stream; the first ones settle that this attempt is the answer."""
        client = self.client
        if not client.paused:
            client.deadline = min(now + self._timeouts.between_tokens, self._whole_until)
        if self.turn is not None:
            events = self.turn.streamed(events)
        if not first:
            self._reply.go_on(events)
            return
        self._spoke = True
        self._story.first_token = now - self._story.began
        self._settle()
        self._reply.begin(events, None if self._attempt is None else self._attempt.variant)
        if self._pair is not None:
            self._copy(self._pair)

    def stream_ended(self) -> None:
        """The stream has come to its end mark."""
        self._over(self._end_attempt(clean=True), ANSWERED)
        self.plane.answered += 1
        self._end_stream()

    def cut(self, kind: ErrorKind | None, refusal: Refusal) -> None:
        """The stream cannot go on: what has come is sent, then an error event, and no end mark.

        `kind` is charged to the revision; None when the engine is not to blame.
        """
        attempt = self._end_attempt(clean=False)
        if attempt is None or attempt.relay is None:
            return
        self._over(attempt, (200, refusal.code))
        if kind is not None:
            attempt.spoil(kind)
            attempt.blame(self.plane.clock(), at_once=True)
        held = b"" if self.turn is None else self.turn.held()
        last = self._helpline.end(attempt.relay, self.turn) or attempt.relay.error_event(refusal)
        self._reply.go_on(held + attempt.relay.take() + last)
        self.plane.answered += 1
        self._end_stream()

    def rerouted(self) -> None:
        """The routes have changed: if not another word of this revision may reach a client, ask another one.

        Nobody is charged: the operator has judged already. An answer under Guardrails that hold no more goes on for a
        while, unless it was begun under what was revoked.
        """
        entry, attempt = self.plane.world.routes.deployments.get(self._entry_key), self._attempt
        if self.watch is not None and entry is not None and self.watch.guarding is not entry.guarding:
            self._whole_until = min(self._whole_until, self._began + PINNED)
            if self.watch.revoked(self.plane.world.guards, entry):
                self._revoked(entry, attempt)
                return
        if entry is None or attempt is None or attempt.variant.revision not in entry.cut:
            return
        self._discard_pair()
        if self._spoke:
            attempt.break_off(None, WITHDRAWN)
        else:
            self._end_attempt(clean=False)
            self.plane.retries += 1
            self.dispatch()

    def _revoked(self, entry: Entry, attempt: Attempt | None) -> None:
        """What it is judged by counts no more: who has got nothing yet is judged by what holds now."""
        self._discard_pair()
        if self._spoke and attempt is not None:
            attempt.break_off(None, REVOKED)
            return
        self.guard(entry)
        if self._end_attempt(clean=False) is not None:
            self._letter.rewrite()
            self._hear(self.dispatch)

    def answered(self, body: bytes) -> None:
        """The engine's whole answer."""
        variant = None if self._attempt is None else self._attempt.variant
        self._settle()
        self._over(self._end_attempt(clean=True), ANSWERED)
        self._reply.whole(body if self.turn is None else self.turn.whole(body), variant)
        self._close_pair()

    def grew(self, size: int) -> None:
        """More of a whole answer has come."""
        if size > self.plane.limits.max_answer:
            self.failed("malformed")

    def engine_refused(self, refusal: Refusal) -> None:
        """The engine will not answer this request, and that is the client's to know."""
        variant = None if self._attempt is None else self._attempt.variant
        self._settle()
        self._end_attempt(clean=True)
        self._tell(refusal, variant)

    def _tell(self, refusal: Refusal, variant: Variant | None) -> None:
        """The client gets no content: a refusal, as an event if its stream is open; in danger where help is."""
        if self.turn is not None and self.turn.in_crisis:
            self.refer(self.turn.referral)
            return
        self._over(None, (200 if self._reply.opened else refusal.status, refusal.code))
        self._reply.refuse(refusal, variant)
        self._close_pair()

    def _end_stream(self) -> None:
        self._reply.end()
        self._close_pair()

    def _close_pair(self) -> None:
        """The client has all that it will get: from now on the pair waits for its shadow alone."""
        if self._pair is not None:
            self._copy(self._pair)
            self._pair.stable_over()

    def _copy(self, pair: Pair) -> None:
        letter = self._letter
        pair.copy(letter.document, len(letter.payload), letter.load, letter.begins(pair.variant))

    def _discard_pair(self) -> None:
        if self._pair is not None:
            self._pair.discard()

    def _end_attempt(self, *, clean: bool) -> Attempt | None:
        attempt, self._attempt = self._attempt, None
        if attempt is not None:
            attempt.over(clean=clean)
            if self._story is not NO_STORY:
                attempt.told(self._story)
            self.plane.queue.freed(self._entry_key)
        return attempt

    def _poisoned(self, now: float) -> None:
        for attempt, _ in self._charges:
            acquitted(attempt.endpoint)
        self._charges.clear()
        self._discard_pair()
        self.plane.poisons.add(self._letter.digest(), now)
        self.refuse(POISONED)

    def _settle(self) -> None:
        for attempt, kind in self._charges:
            attempt.charge(kind)
        self._charges.clear()

    def refuse(self, refusal: Refusal) -> None:
        """It has come to nothing."""
        self._leave(served=False)
        self._settle()
        self._tell(refusal, None)

    def refer(self, text: str) -> None:
        """Somebody may be in danger: in the place of an answer they hear where there is help."""
        self._over(None, (200, "crisis_referral"))
        if self.stream:
            self._reply.begin(self._helpline.events(text), None)
            self.plane.answered += 1
            self._reply.end()
        else:
            self._reply.whole(self._helpline.whole(text), None)
        self._close_pair()

    def spared(self) -> bool:
        """Whether it goes on though its key has nothing left for it: its player may be in danger."""
        return self.turn is not None and self.turn.spared(self.plane.shares)

    # The client's side.

    def pause(self) -> None:
        """The client does not keep up: read no more from the engine."""
        if self.stream:
            # What is late from now on may be so because nobody read it.
            self._discard_pair()
        if self._attempt is not None:
            self._attempt.pause()

    def resume(self) -> None:
        """The client has caught up."""
        if self._spoke:
            self.client.deadline = min(self.plane.clock() + self._timeouts.between_tokens, self._whole_until)
        else:
            self._expect(self._due)
        if self._attempt is not None:
            self._attempt.resume()

    def cancel(self) -> None:
        """The client is gone: the engine is told by the end of its connection."""
        self._leave(served=False)
        self._discard_pair()
        if self.watch is not None:
            self.watch.leave()
        self._over(self._end_attempt(clean=False), CLIENT_GONE)
        self._settle()

    def expired(self, now: float) -> None:
        """The deadline that was set last has passed."""
        if self._spoke:
            late = now >= self._whole_until
            if self._attempt is not None:
                self._attempt.break_off(None if late else "truncated", TOO_LONG if late else STALLED)
        elif now < self._due:
            self._beat(now)
        elif self._line:
            self._unserved(NO_TURN, now)
        else:
            if now >= self._whole_until:
                self._course.give_up()
            self.failed("timeout")
