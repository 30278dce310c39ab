"""What access keys have used of their limits at this gateway, and who is therefore let in.

A limit is a bucket that holds a minute's worth and fills up steadily: after a pause a minute's worth may come at once,
and over any time no more than that and what the time itself gives. The limit is of all gateways together, and each
gives out its part, so that nobody has to be asked; each of several workers counts as a gateway here. All is counted in
whole numbers (microseconds times the limit): nothing is lost or gained by rounding, however long it runs.

What a request costs in tokens is known only at its end. Until then it holds the most that it may take, and what is held
does not come back by time: else what is given back at the end would have come back twice.
"""

from collections.abc import Mapping
from typing import Final

from understudy.gateway.policy.demand import Demand, cost_of
from understudy.gateway.policy.keys import AccessKey
from understudy.gateway.policy.limits import RateLimits
from understudy.gateway.policy.refusal import Refusal

_SECOND: Final = 1_000_000
_MINUTE: Final = 60 * _SECOND
# A gateway knows nothing from before its start: each bucket has so much in it then.
FIRST_SECONDS: Final = 10
# A request that goes on for longer counts as if it had used all that it holds: else one long stream with a high
# max_tokens would keep everything else of its key out for as long as it lasts.
HELD_SECONDS: Final = 120
# Official clients heed no longer one, and come back within seconds instead.
LONGEST_RETRY_AFTER: Final = 60
_NO_WAIT: Final = (0, "", 0)


class Bucket:
    """One limit of one key. Times are whole microseconds, amounts whole requests or tokens.

    `_owed` is what was taken and has not come back yet, weighed: a unit weighs `_each`, and a microsecond brings back
    `limit`. The bucket of a limit that has fewer units than there are gateways holds one, and fills so much slower.
    """

    __slots__ = ("_at", "_each", "_held", "_open", "_owed", "_room", "limit")

    def __init__(self, limit: int, gateways: int, began: int) -> None:
        self.limit = limit
        self._each = _MINUTE * gateways
        self._room = max(limit * _MINUTE, self._each)
        self._at = began
        self._owed = self._room - max(self._each, limit * FIRST_SECONDS * _SECOND)
        self._held = 0
        self._open: dict[Lease, None] = {}

    def change(self, limit: int, gateways: int, now: int) -> None:
        """Another limit or number of gateways from now on. What has been taken stays taken, up to a minute's worth."""
        self._look(now)
        # Rounded up: nobody gains by it.
        self._owed = -(-self._owed * gateways * _MINUTE // self._each)
        self._each = _MINUTE * gateways
        self._room = max(limit * _MINUTE, self._each)
        if limit != self.limit:
            self.limit = limit
            # A debt from a far higher limit would keep the key out for hours.
            self._owed = min(self._owed, self._room)

    def wait(self, number: int, now: int) -> int:
        """Seconds until `number` can be had, if all that is held is used; if that is too many, until all is there."""
        self._look(now)
        missing = self._taken() + min(number * self._each, self._room) - self._room
        return -(-missing // (self.limit * _SECOND)) if missing > 0 else 0

    def take(self, number: int, now: int) -> None:
        """Take so many, which may be more than there are: then others wait the longer."""
        self._look(now)
        self._owed += number * self._each

    def hold(self, lease: "Lease", now: int) -> None:
        """Set aside what a lease is for."""
        self._look(now)
        lease.until = self._at + HELD_SECONDS * _SECOND
        self._open[lease] = None
        self._held += lease.demand.most

    def end(self, lease: "Lease", cost: int, now: int) -> None:
        """A lease has ended, and has cost so much."""
        self._look(now)
        if lease in self._open:
            del self._open[lease]
            self._held -= lease.demand.most
        else:
            cost = max(0, cost - lease.demand.most)
        self._owed += cost * self._each

    def fields(self, kind: bytes, now: int) -> bytes:
        """Header lines by which clients know what is left here, named and written as OpenAI's."""
        self._look(now)
        taken = self._taken()
        left = max(0, self._room - taken) // self._each
        return (
            b"x-ratelimit-limit-%b: %d\r\nx-ratelimit-remaining-%b: %d\r\nx-ratelimit-reset-%b: %b\r\n"
            % (kind, self._room // self._each, kind, left, kind, _duration(-(-taken // (self.limit * 1000))))
        )  # fmt: skip

    def _taken(self) -> int:
        return self._owed + self._held * self._each

    def _look(self, now: int) -> None:
        if now <= self._at:
            # What was due by then has been seen to: a request looks several times at the same moment.
            return
        while self._open:
            lease = next(iter(self._open))
            if lease.until > now:
                break
            self._fill(lease.until)
            del self._open[lease]
            self._held -= lease.demand.most
            self._owed += lease.demand.most * self._each
        self._fill(now)

    def _fill(self, now: int) -> None:
        self._owed = max(0, self._owed - (now - self._at) * self.limit)
        self._at = now


class Lease:
    """What one request holds until it is known what it cost. To be ended once, by `settle` or by `release`."""

    __slots__ = ("_bucket", "demand", "until")

    def __init__(self, bucket: Bucket, demand: Demand) -> None:
        self._bucket = bucket
        self.demand = demand
        self.until = 0

    def settle(self, usage: tuple[int, int] | None, events: int, now: float, *, whole: bool) -> bool:
        """The answer has ended; whether the engine has counted what it cost. The arguments are those of `cost_of`.

        A count that is more than a minute's worth above what the request could take is not believed: by one wrong
        number an engine could keep a key out for years.
        """
        cost, counted = cost_of(self.demand, usage, events, whole=whole)
        most = self.demand.most + self._bucket.limit
        self._bucket.end(self, min(cost, most), int(now * _SECOND))
        return counted and cost <= most

    def release(self, now: float) -> None:
        """No engine answered: it has cost nothing."""
        self._bucket.end(self, 0, int(now * _SECOND))


class Meter:
    """What one key uses. Times are monotonic seconds; `began` is when this gateway did."""

    __slots__ = ("_gateways", "_requests", "_tokens", "limits")

    def __init__(self, limits: RateLimits, gateways: int, began: float) -> None:
        self._requests: Bucket | None = None
        self._tokens: Bucket | None = None
        self.change(limits, gateways, began, began)

    def change(self, limits: RateLimits, gateways: int, began: float, now: float) -> None:
        """Other limits or another number of gateways from now on."""
        self.limits = limits
        self._gateways = gateways
        start, at = int(began * _SECOND), int(now * _SECOND)
        self._requests = _changed(self._requests, limits.requests, gateways, start, at)
        self._tokens = _changed(self._tokens, limits.tokens, gateways, start, at)

    def admit(self, demand: Demand, now: float) -> Lease | Refusal | None:
        """Let a request in, or say when to come again; a lease where it holds tokens. A refused one takes nothing.

        One that may take more than this gateway's part gets in when all of that is there, and the next ones wait the
        longer; one that may take more than the whole limit never does.
        """
        at = int(now * _SECOND)
        requests, tokens = self._requests, self._tokens if demand.most else None
        if tokens is not None and demand.most > tokens.limit:
            return _too_large(demand, tokens.limit)
        wait, kind, limit = max(
            (requests.wait(1, at), "requests", requests.limit) if requests is not None else _NO_WAIT,
            (tokens.wait(demand.most, at), "tokens", tokens.limit) if tokens is not None else _NO_WAIT,
        )
        if wait:
            parts = f", and each of {self._gateways} gateways its part of them" if self._gateways > 1 else ""
            message = f"this access key has {limit} {kind} a minute{parts}: come again in {wait} s"
            return Refusal(429, "rate_limit_exceeded", message, retry_after=min(wait, LONGEST_RETRY_AFTER))
        if requests is not None:
            requests.take(1, at)
        if tokens is None:
            return None
        lease = Lease(tokens, demand)
        tokens.hold(lease, at)
        return lease

    def fields(self, now: float) -> bytes:
        """Header lines for every answer to this key."""
        at = int(now * _SECOND)
        requests = b"" if self._requests is None else self._requests.fields(b"requests", at)
        return requests + (b"" if self._tokens is None else self._tokens.fields(b"tokens", at))


class Meters:
    """Meters of all keys that have limits, by the key's hash: a key that is written anew goes on where it was."""

    __slots__ = ("_began", "_gateways", "_keys", "_meters")

    def __init__(self, began: float) -> None:
        self._began = began
        self._gateways = 1
        self._keys: Mapping[str, AccessKey] = {}
        self._meters: dict[str, Meter] = {}

    def __len__(self) -> int:
        return len(self._meters)

    def follow(self, keys: Mapping[str, AccessKey], gateways: int, now: float) -> None:
        """These are the keys from now on, and so many gateways share their limits. A key that is gone is forgotten."""
        if keys is self._keys and gateways == self._gateways:
            return
        meters: dict[str, Meter] = {}
        for digest, key in keys.items():
            limits = key.limits
            if limits is None:
                continue
            meter = self._meters.get(digest)
            if meter is None:
                meter = Meter(limits, gateways, self._began)
            elif meter.limits != limits or gateways != self._gateways:
                meter.change(limits, gateways, self._began, now)
            meters[digest] = meter
        self._keys, self._gateways, self._meters = keys, gateways, meters

    def of(self, key: AccessKey) -> Meter | None:
        """The meter of a key; None if it has no limits, or not any more."""
        return self._meters.get(key.hash)


def _changed(bucket: Bucket | None, limit: int, gateways: int, began: int, now: int) -> Bucket | None:
    if not limit:
        return None
    if bucket is None:
        return Bucket(limit, gateways, began)
    bucket.change(limit, gateways, now)
    return bucket


def _too_large(demand: Demand, limit: int) -> Refusal:
    message = (
        f"this request may take {demand.most} tokens ({demand.prompt} of what it says, counted in bytes, and "
        f"{demand.output} of the answer), and the access key has {limit} a minute: shorten it, or lower max_tokens, n "
        "or best_of"
    )
    return Refusal(429, "rate_limit_exceeded", message, final=True)


def _duration(milliseconds: int) -> bytes:
    """As OpenAI writes them, which is how Go does: 12ms, 8.64s, 6m0s, 1h0m0s."""
    if 0 < milliseconds < 1000:
        return b"%dms" % milliseconds
    minutes, rest = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    before = b"%dh%dm" % (hours, minutes) if hours else b"%dm" % minutes if minutes else b""
    return before + b"%gs" % (rest / 1000)
