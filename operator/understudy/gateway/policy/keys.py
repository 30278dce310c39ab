"""Access keys: found by the SHA-256 of their full text, scoped to namespaces and names."""

import hashlib
import hmac
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from understudy.domain.keys import USUAL
from understudy.gateway.policy.budget import Budget
from understudy.gateway.policy.limits import RateLimits
from understudy.gateway.policy.players import NOBODY, Players
from understudy.gateway.policy.refusal import Refusal

ANY: Final = "*"
FAILURES_PER_SECOND: Final = 10
_MAX_ADDRESSES: Final = 10_000
_MAX_REMEMBERED: Final = 256


@dataclass(frozen=True, slots=True)
class AccessKey:
    """Who asks. `hash` is the hexadecimal SHA-256 of the key's text; `salt` separates tenants' prefix caches.

    `chooses` is the right to ask for the candidate by name, whatever its share. Of requests that wait, those of a
    higher `priority`, 0 to 9, go first. Without `limits` and `budgets` it may ask for as much as it likes. Of `players`
    its requests may speak.
    """

    hash: str
    namespaces: frozenset[str]
    names: frozenset[str]
    salt: str = ""
    chooses: bool = False
    priority: int = USUAL
    limits: RateLimits | None = None
    budgets: tuple[Budget, ...] = ()
    players: Players = NOBODY

    def allows(self, namespace: str, names: Iterable[str]) -> bool:
        """Whether the key reaches a deployment of `namespace` that goes by any of `names`."""
        if ANY not in self.namespaces and namespace not in self.namespaces:
            return False
        return ANY in self.names or not self.names.isdisjoint(names)


# Stands for everybody when the installation asks for no keys.
EVERYBODY: Final = AccessKey(hash="", namespaces=frozenset({ANY}), names=frozenset({ANY}))


def make_key(
    digest: str,
    namespaces: Iterable[str],
    names: Iterable[str],
    master: bytes,
    *,
    chooses: bool = False,
    priority: int = USUAL,
    limits: RateLimits | None = None,
    budgets: tuple[Budget, ...] = (),
    players: Players = NOBODY,
) -> AccessKey:
    """An access key with its tenant's cache salt: HMAC-SHA256 under the installation's master key."""
    salt = hmac.new(master, b"cache-salt " + digest.encode(), hashlib.sha256).hexdigest()[:32]
    scope = (frozenset(namespaces), frozenset(names))
    return AccessKey(digest, *scope, salt, chooses, priority, limits, budgets, players)


def find_key(keys: Mapping[str, AccessKey], authorization: bytes | None) -> AccessKey | Refusal:
    """The key that an Authorization field names; 401 without one or with an unknown one."""
    if authorization is None:
        return Refusal(401, "invalid_api_key", "send an access key: Authorization: Bearer us-…", final=True)
    if authorization[:7].lower() != b"bearer ":
        return Refusal(401, "invalid_api_key", "Authorization must be: Bearer <access key>", final=True)
    digest = _known_digest if len(authorization) <= _MAX_REMEMBERED else _digest
    found = keys.get(digest(authorization))
    if found is None:
        return Refusal(401, "invalid_api_key", "this access key is not known", final=True)
    return found


def _digest(authorization: bytes) -> str:
    """The hash of the key in an Authorization field."""
    return hashlib.sha256(authorization[7:]).hexdigest()


# Clients show the same key with each request. Whether it is still good is looked up anew each time.
_known_digest = lru_cache(maxsize=1024)(_digest)


class FailedKeys:
    """Counts wrong keys per client address, so that guessing does not become a load: `most` are judged a second."""

    __slots__ = ("_counts", "_most", "_second")

    def __init__(self, most: int = FAILURES_PER_SECOND) -> None:
        self._most = most
        self._second = 0
        self._counts: dict[str, int] = {}

    def refuse(self, address: str, now: float, refusal: Refusal) -> Refusal:
        """Count one wrong key from `address` at `now` (seconds); the refusal itself, or 429 above `most` a second."""
        second = int(now)
        if second != self._second:
            self._second = second
            self._counts.clear()
        count = self._counts.get(address, 0) + 1
        if count > 1 or len(self._counts) < _MAX_ADDRESSES:
            self._counts[address] = count
        if count <= self._most:
            return refusal
        message = f"more than {FAILURES_PER_SECOND} wrong access keys a second from this address"
        return Refusal(429, "too_many_wrong_keys", message, retry_after=1, final=True)
