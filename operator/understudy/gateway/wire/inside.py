"""Questions to a detector that is a ModelDeployment of ours: sent to its pods as a client's request would be.

No key is asked for, no guardrail looks at them and nothing is billed: a detector's own questions go past all that, so
that no way leads round and round. They count as requests of the detector's revisions, on which its rollouts are judged.
"""

import asyncio
import hashlib
from typing import TYPE_CHECKING, Final

import orjson

from understudy.gateway.outside import AskError
from understudy.gateway.policy.choose import choose_endpoint, choose_variant
from understudy.gateway.policy.conversation import position
from understudy.gateway.policy.demand import load_of
from understudy.gateway.policy.evidence import ErrorKind
from understudy.gateway.policy.refusal import Refusal
from understudy.gateway.policy.retry import CHARGED, Course, Failure, Step, ends_connection, next_step
from understudy.gateway.table import Entry, Variant
from understudy.gateway.wire.attempt import Attempt
from understudy.gateway.wire.watch import Watch
from understudy.guard.served.codec import MAX_ANSWER, Question

if TYPE_CHECKING:
    from understudy.gateway.wire.plane import Plane

_STEPS: Final = (Step.ANOTHER, Step.STABLE)


class Inside:
    """The pods of one ModelDeployment, named `namespace/name`."""

    def __init__(self, plane: "Plane", deployment: str) -> None:
        self._plane = plane
        self._deployment = deployment

    async def ask(self, question: Question, seconds: float) -> bytes:
        """The body of the answer to one question, which may take so long. Cancelling it ends the attempt.

        Raises AskError and TimeoutError.
        """
        entry = self._plane.world.routes.deployments.get(self._deployment)
        if entry is None or not entry.split:
            raise AskError(f"ModelDeployment {self._deployment} does not serve")
        asked = _Asked(self._plane, entry, question)
        try:
            async with asyncio.timeout(seconds):
                return await asked.answer()
        except TimeoutError:
            asked.expired()
            raise
        finally:
            asked.leave()

    def close(self) -> None:
        """Nothing is kept: connections are the pool's."""


class _Asked:
    """One question; owns the attempts. At most one retry, and out of the budget that all requests have."""

    responses = stream = wants_usage = hides_each = False
    watch: Watch | None = None

    def __init__(self, plane: "Plane", entry: Entry, question: Question) -> None:
        self.plane = plane
        self.name = entry.key
        self._entry = entry
        self._question = question
        self._payload = b""
        self._attempt: Attempt | None = None
        self._course = Course()
        self._retried = False
        self._answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        digest = hashlib.blake2b(orjson.dumps(question.body), digest_size=16).digest()
        self._where = position(digest, entry.key, entry.served.table.salt)

    async def answer(self) -> bytes:
        """Set out, and wait for what comes of it."""
        self.plane.budget.request(self.plane.clock())
        self._dispatch()
        return await self._answer

    def expired(self) -> None:
        """It has taken too long, which is held against the engine."""
        attempt = self._end(clean=False)
        if attempt is not None:
            attempt.blame(self.plane.clock(), at_once=False)
            attempt.charge(CHARGED["timeout"])

    def leave(self) -> None:
        """Nobody waits any more."""
        self._end(clean=False)
        if self._answer.done() and not self._answer.cancelled():
            # Whoever was to hear of a failure may have gone at the same moment: then nobody need.
            self._answer.exception()

    # What the attempt tells.

    def request_to(self, variant: Variant) -> bytes:
        """The request as the engine gets it."""
        head = variant.heads[(self._question.path, False)]
        return b"%b%d\r\n\r\n%b" % (head, len(self._payload), self._payload)

    def grew(self, size: int) -> None:
        """More of an answer has come than anybody reads."""
        if size > MAX_ANSWER:
            self.failed("malformed")

    def failed(self, failure: Failure) -> None:
        """It failed: charge it, and try once more where that may help."""
        attempt = self._end(clean=False)
        if attempt is None:
            return
        plane, now = self.plane, self.plane.clock()
        step = next_step(self._course, failure, attempt.endpoint, on_candidate=attempt.variant.track == "canary")
        if step is Step.SAME:
            self._begin(attempt, now)
            return
        attempt.blame(now, at_once=ends_connection(failure))
        attempt.charge(CHARGED[failure])
        if step in _STEPS and not self._retried and plane.budget.take(now):
            self._retried = True
            plane.retries += 1
            self._dispatch()
        else:
            self._fail(f"its engine failed: {failure}")

    def cut(self, kind: ErrorKind | None, refusal: Refusal) -> None:
        """As Owner; there is no stream."""
        del kind, refusal
        self.failed("malformed")

    def send(self, events: bytes, now: float, *, first: bool) -> None:
        """As Owner; there is no stream."""
        del events, now, first

    def stream_ended(self) -> None:
        """As Owner; there is no stream."""

    def answered(self, body: bytes) -> None:
        """The whole answer."""
        self._end(clean=True)
        if not self._answer.done():
            self._answer.set_result(body)

    def engine_refused(self, refusal: Refusal) -> None:
        """The engine will not answer this request."""
        self._end(clean=True)
        self._fail(f"its engine refused: status {refusal.status}")

    # What it comes to.

    def _dispatch(self) -> None:
        plane, entry = self.plane, self._entry
        now = plane.clock()
        variant = choose_variant(entry, self._where, plane.pins)
        draw = (plane.random(), plane.random())
        chosen = choose_endpoint(entry, variant, now, self._course.tried, draw, desperate=True)
        if chosen is None:
            self._fail("no pod is there to answer")
            return
        variant, endpoint = chosen
        document = {**self._question.body, "model": variant.model}
        self._payload = orjson.dumps(document)
        sampled = bool(entry.served.table.salt) and plane.samples.take(entry.key, variant.revision, self._where, now)
        load = load_of(document, len(self._payload))
        self._attempt = Attempt(self, variant, endpoint, load, now, sampled=sampled, half=None)
        self._attempt.begin(reuse=True)

    def _begin(self, stale: Attempt, now: float) -> None:
        """The same again on a new connection."""
        load = load_of(dict(self._question.body), len(self._payload))
        sampled = stale.sample is not None
        self._attempt = Attempt(self, stale.variant, stale.endpoint, load, now, sampled=sampled, half=None)
        self._attempt.begin(reuse=False)

    def _end(self, *, clean: bool) -> Attempt | None:
        attempt, self._attempt = self._attempt, None
        if attempt is not None:
            attempt.over(clean=clean)
        return attempt

    def _fail(self, why: str) -> None:
        if not self._answer.done():
            self._answer.set_exception(AskError(why))
