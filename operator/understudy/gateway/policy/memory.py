"""What has been judged before: a conversation brings all of itself with every turn, and only what is new is judged.

Nothing that was said is kept: texts are known by a keyed hash. What a Guardrail made of one is kept, so that what was
redacted once is so in every turn.
"""

import hashlib
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, Final

from understudy.guard.gate import End, Failure, Judged

MOST: Final = 16_384
"""Texts that are known at most, and findings."""
_LONGEST: Final = 16_384


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a text came to. `text` is what is to be heard in its place, None for itself."""

    judged: tuple[Judged, ...] = ()
    failures: tuple[Failure, ...] = ()
    end: End | None = None
    text: str | None = None


class Memory:
    """Of one process; `secret` keys the hashes."""

    __slots__ = ("_counted", "_outcomes", "_secret")

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self._outcomes: OrderedDict[bytes, Outcome] = OrderedDict()
        self._counted: OrderedDict[bytes, None] = OrderedDict()

    def digest(self, *parts: str) -> bytes:
        """What stands for these words."""
        digest = hashlib.blake2b(key=self._secret, digest_size=16)
        for part in parts:
            encoded = part.encode("utf-8", "surrogatepass")
            digest.update(len(encoded).to_bytes(8, "big") + encoded)
        return digest.digest()

    def known(self, digest: bytes) -> Outcome | None:
        """What a text came to, if it is known."""
        found = self._outcomes.get(digest)
        if found is not None:
            self._outcomes.move_to_end(digest)
        return found

    def learn(self, digest: bytes, outcome: Outcome) -> None:
        """A text has been judged. What failed may not fail again, and what is long is judged again."""
        if outcome.failures or (outcome.text is not None and len(outcome.text) > _LONGEST):
            return
        self._outcomes[digest] = outcome
        _bound(self._outcomes)

    def first(self, digest: bytes) -> bool:
        """Whether a finding counts: it does once."""
        if digest in self._counted:
            self._counted.move_to_end(digest)
            return False
        self._counted[digest] = None
        _bound(self._counted)
        return True


def _bound(known: OrderedDict[bytes, Any]) -> None:
    if len(known) > MOST:
        known.popitem(last=False)
