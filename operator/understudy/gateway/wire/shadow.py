"""Copies of requests for a shadow: sent once the client has its first bytes, heard to the end, and compared in memory.

Nothing here can reach a client, and no copy is worth a client's time: it is dropped where there is no room for it,
tried once, and forgotten when the client goes away, the table changes or the gateway leaves.
"""

import asyncio
import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal

import orjson

from understudy.gateway.policy.balance import Endpoint, pick
from understudy.gateway.policy.copies import Lots, Room
from understudy.gateway.policy.evidence import ErrorKind, Taking
from understudy.gateway.policy.pairs import COMPARED, KEPT, Comparison, Half, compare
from understudy.gateway.policy.refusal import Refusal
from understudy.gateway.policy.retry import CHARGED, Failure
from understudy.gateway.table import Entry, Mirror, Variant
from understudy.gateway.wire.attempt import STALLED, TOO_LONG, Attempt
from understudy.gateway.wire.watch import Watch

if TYPE_CHECKING:
    from understudy.gateway.spool import Spool
    from understudy.gateway.wire.plane import Plane

LOG: Final = logging.getLogger(__name__)
# Of a whole answer no more than this is read for nobody.
MAX_ANSWER: Final = 1024 * 1024

# compared: counted as a pair. dropped: the gateway had no room. unreachable: the shadow has no endpoint.
# discarded: the client went away or read too slowly, the table changed, or the gateway leaves.
End = Literal["compared", "dropped", "unreachable", "discarded"]
ENDS: Final[tuple[End, ...]] = ("compared", "dropped", "unreachable", "discarded")


@dataclass(frozen=True, slots=True)
class Request:
    """What a pair must know of the client's request: `name` is the model as the client calls it.

    `room` is how many characters of stable's answer somebody else wants to hear. Both answers are judged by `watch`.
    """

    path: str
    name: str
    request_id: str
    responses: bool
    stream: bool
    room: int
    watch: Watch | None = None


class Pair:
    """One request that stable answers, and after it the shadow; it owns the attempt at the shadow.

    `deadline` is when `expired` is due (monotonic seconds).
    """

    __slots__ = (
        "_asked", "_attempt", "_beginning", "_entry", "_held", "_kept", "_load", "_mirror", "_over", "_payload",
        "_request", "_shadow", "_shadow_over", "_shadows", "_spoke", "_stable_over", "_text", "_whole_until",
        "deadline", "hides_each", "name", "plane", "responses", "stable", "stream", "variant", "wants_usage", "watch",
    )  # fmt: skip

    def __init__(self, shadows: "Shadows", entry: Entry, mirror: Mirror, request: Request) -> None:
        self.plane = shadows.plane
        self.name = request.name
        self.responses = request.responses
        self.stream = request.stream
        self.watch = request.watch
        self.wants_usage = self.hides_each = False
        self.deadline = math.inf
        self._shadows = shadows
        self._entry = entry
        self._mirror = mirror
        self.variant = mirror.variant
        self._request = request
        self._text = mirror.settings.text and shadows.spool is not None
        room = KEPT if self._text else COMPARED
        self.stable = Half(stream=request.stream, room=max(room, request.room))
        self._shadow = Half(stream=request.stream, room=room)
        self._kept = b""
        self._payload = b""
        self._held = self._load = self._beginning = 0
        self._attempt: Attempt | None = None
        self._asked = self._spoke = self._stable_over = self._shadow_over = self._over = False
        self._whole_until = math.inf

    # What the client's exchange tells.

    def copy(self, document: dict[str, Any], size: int, load: int, beginning: int) -> None:
        """The client has its first bytes: send the copy, once. `document` takes `size` bytes; `load` is in tokens.

        `beginning` stands for how the prompt begins: an engine with a cold cache is slower than it would be.
        """
        if not self._asked:
            self._asked = True
            self._beginning = beginning
            self._shadows.soon(self, partial(self._send, document, size, load))

    def stable_over(self) -> None:
        """Stable's half is complete."""
        self._stable_over = True
        self._compare_soon()

    def discard(self) -> None:
        """Forget the pair: it would tell nothing, or nobody asks any more."""
        self._end("discarded")

    # What the routes and the clock tell.

    def current(self) -> bool:
        """Whether the table still has this shadow."""
        entry = self.plane.world.routes.deployments.get(self._entry.key)
        mirror = None if entry is None else entry.shadow
        return mirror is not None and mirror.variant.revision == self.variant.revision

    def expired(self, now: float) -> None:
        """The deadline that was set last has passed: the same ends as a client's request would have."""
        if self._spoke and self._attempt is not None:
            late = now >= self._whole_until
            self._attempt.break_off(None if late else "truncated", TOO_LONG if late else STALLED)
        else:
            self.failed("timeout")

    # What the attempt tells.

    def request_to(self, variant: Variant) -> bytes:
        """The request as the engine gets it. No trace context: nobody's trace shows an answer that nobody sees."""
        head = variant.heads[(self._request.path, self.stream)]
        return b"%b%d\r\n\r\n%b" % (head, len(self._payload), self._payload)

    def failed(self, failure: Failure) -> None:
        """It failed before its first content. Only a kept connection that had been idle too long is no failure."""
        attempt = self._end_attempt(clean=False)
        if attempt is None:
            return
        if failure == "stale":
            self._try(attempt.endpoint, reuse=False)
            return
        attempt.charge(CHARGED[failure])
        self._copied()

    def cut(self, kind: ErrorKind | None, refusal: Refusal) -> None:
        """The stream cannot go on."""
        del refusal
        attempt = self._end_attempt(clean=False)
        if attempt is None:
            return
        if kind is not None:
            attempt.spoil(kind)
        self._copied()

    def send(self, events: bytes, now: float, *, first: bool) -> None:
        """Events of the stream, of which only the time is of use: the half has listened already."""
        del events, first
        self._spoke = True
        self.deadline = min(now + self._entry.served.table.timeouts.between_tokens, self._whole_until)

    def stream_ended(self) -> None:
        """The stream has come to its end mark."""
        self._end_attempt(clean=True)
        self._copied()

    def grew(self, size: int) -> None:
        """More of a whole answer has come."""
        if size > MAX_ANSWER:
            self._drop()

    def answered(self, body: bytes) -> None:
        """The whole answer."""
        del body
        self.stream_ended()

    def engine_refused(self, refusal: Refusal) -> None:
        """The engine will not answer this request."""
        del refusal
        self.stream_ended()

    # What it comes to.

    def _send(self, document: dict[str, Any], size: int, load: int) -> None:
        if self._over:
            return
        if self._shadows.stopped or not self.current():
            self._end("discarded")
            return
        held = 2 * size if self._text else size
        if not self._shadows.room.take(held):
            self._drop()
            return
        self._held = held
        self._shadows.open[self] = None
        plane, variant = self.plane, self.variant
        now = plane.clock()
        draw = (plane.random(), plane.random())
        endpoint = pick(variant.endpoints, now, (), draw, beginning=self._beginning)
        if endpoint is None:
            self._end("unreachable")
            return
        self._payload = orjson.dumps({**document, "model": variant.model})
        if self._text:
            # As bytes: what a text was read into may take two dozen times its length. The salt tells tenants apart, and
            # is of use to an engine alone.
            kept = {**document, "model": self.name}
            kept.pop("cache_salt", None)
            self._kept = orjson.dumps(kept)
        self._load = load
        self._whole_until = now + self._entry.served.table.timeouts.whole
        self._try(endpoint, reuse=True)

    def _try(self, endpoint: Endpoint, *, reuse: bool) -> None:
        now = self.plane.clock()
        first = self._entry.served.table.timeouts.first_token if self.stream else math.inf
        self.deadline = min(now + first, self._whole_until)
        attempt = Attempt(
            self, self.variant, endpoint, self._load, now, sampled=False, half=self._shadow, crowded=self._drop
        )
        self._attempt = attempt
        attempt.begin(reuse=reuse)

    def _end_attempt(self, *, clean: bool) -> Attempt | None:
        attempt, self._attempt = self._attempt, None
        self.deadline = math.inf
        if attempt is not None:
            attempt.over(clean=clean)
        return attempt

    def _copied(self) -> None:
        self._shadow_over = True
        self._compare_soon()

    def _compare_soon(self) -> None:
        if self._stable_over and self._shadow_over:
            self._shadows.soon(self, self._compare)

    def _compare(self) -> None:
        if self._over:
            return
        comparison = compare(self.stable, self._shadow, self._mirror.settings)
        self._mirror.pairs.add(comparison)
        if self._text and self._shadows.spool is not None:
            self._shadows.spool.put(self._line(comparison))
        self._end("compared")

    def _drop(self) -> None:
        if not self._over:
            self._mirror.pairs.dropped += 1
            self._end("dropped")

    def _end(self, how: End) -> None:
        if self._over:
            return
        self._over = True
        self._end_attempt(clean=False)
        shadows = self._shadows
        shadows.ended[how] += 1
        if self in shadows.open:
            del shadows.open[self]
            shadows.room.give(self._held)

    def _line(self, comparison: Comparison) -> bytes:
        """The pair as a line of JSON."""
        entry, stable = self._entry, self._entry.stable
        line = {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "deployment": entry.key,
            "requestId": self._request.request_id,
            "path": self._request.path,
            "request": orjson.Fragment(self._kept),
            "stable": _told(self.stable, "" if stable is None else stable.revision, comparison.stable),
            "shadow": _told(self._shadow, self.variant.revision, comparison.shadow),
            "similarity": comparison.similarity,
        }
        return orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE)


class Shadows:
    """All copies of one worker. `spool` takes pairs of texts where a deployment has them kept; None keeps none."""

    __slots__ = ("_loop", "_lots", "ended", "open", "plane", "room", "spool", "stopped")

    def __init__(self, plane: "Plane", spool: "Spool | None", samples: Taking) -> None:
        self.plane = plane
        self.spool = spool
        self.room = Room(plane.limits.max_copies, plane.limits.max_copy_bytes)
        self.open: dict[Pair, None] = {}
        self.ended: dict[str, float] = dict.fromkeys(ENDS, 0)
        self._lots = Lots(samples)
        self._loop = asyncio.get_running_loop()
        self.stopped = False

    def draw(self, entry: Entry, where: int, request: Request, now: float) -> Pair | None:
        """The pair that a request of the conversation at `where` becomes half of, if the lot falls on it."""
        mirror = entry.shadow
        if mirror is None or self.stopped:
            return None
        lot = self.plane.random()
        if not self._lots.take(mirror.settings, lot, entry.key, mirror.variant.revision, where, now):
            return None
        return Pair(self, entry, mirror, request)

    def soon(self, pair: Pair, action: Callable[[], None]) -> None:
        """Do it once this turn of the loop is over, and what clients are owed has left."""
        self._loop.call_soon(self._guarded, pair, action)

    def sweep(self, now: float) -> None:
        """End the copies whose time is over."""
        for pair in tuple(self.open):
            if pair.deadline <= now:
                self._guarded(pair, partial(pair.expired, now))

    def rerouted(self) -> None:
        """The routes have changed: forget the pairs whose shadow is no longer in its table."""
        for pair in tuple(self.open):
            if not pair.current():
                pair.discard()

    def stop(self) -> None:
        """The gateway leaves: no copy is worth waiting for."""
        self.stopped = True
        for pair in tuple(self.open):
            pair.discard()

    def gauges(self) -> dict[str, tuple[str, dict[str, float]]]:
        """What metrics show of the copies, as `Plane.gauges`."""
        shown = {
            "understudy_shadow_open": ("Copies under way", {"": float(self.room.copies)}),
            "understudy_shadow_copies_total": ("Copies that have ended, by how", dict(self.ended)),
        }
        if self.spool is not None:
            lines = {"written": float(self.spool.written), "dropped": float(self.spool.dropped)}
            shown["understudy_shadow_lines_total"] = ("Pairs of texts for the spool", lines)
        return shown

    def _guarded(self, pair: Pair, action: Callable[[], None]) -> None:
        """A mistake over one copy ends that copy and nothing else."""
        try:
            action()
        except Exception:
            LOG.exception("a copy could not be carried on")
            pair.discard()


def _told(half: Half, revision: str, bad: frozenset[str]) -> dict[str, Any]:
    return {
        "revision": revision,
        "text": half.text[:KEPT],
        "finishReason": half.finish or None,
        "toolNames": half.tools,
        "bad": sorted(bad),
        "firstTokenSeconds": half.first_token if half.spoke else None,
        "longestGapSeconds": half.gap if half.spoke else None,
        "seconds": half.whole,
    }
