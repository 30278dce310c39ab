"""How who is spoken of is called in the records: by a number that says nothing, reached through a keyed hash.

An identifier (of a player, a session, an access key) is hashed with a secret and never stored. Secrets change: while
two are known, whoever is seen again is linked by the newer one, so that the older one can be thrown away some day.
"""

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from understudy.guard.pseudonyms import SubjectKind, pseudonym

_MOST: Final = 2
_SHORTEST: Final = 32
_VERSION: Final = re.compile(r"[1-9][0-9]{0,8}")


@dataclass(frozen=True, slots=True)
class Pseudonym:
    """A keyed hash, and which secret it was made with."""

    version: int
    digest: str


@dataclass(frozen=True, slots=True)
class Keys:
    """Secrets by their number, the newest first."""

    secrets: tuple[tuple[int, bytes], ...]

    def pseudonyms(self, kind: SubjectKind, tenant: str, identifier: str) -> tuple[Pseudonym, ...]:
        """What `identifier` is called, by each secret; the same identifier of another tenant is another."""
        return tuple(
            Pseudonym(version, pseudonym(secret, kind, tenant, identifier)) for version, secret in self.secrets
        )

    def for_states(self) -> "Keys":
        """Secrets by which gateways find what the records tell them of somebody; the others do not follow from them."""
        derived = (
            (version, hmac.new(secret, b"states of players", hashlib.sha256).digest())
            for version, secret in self.secrets
        )
        return Keys(tuple(derived))


def parse_keys(files: Mapping[str, bytes]) -> Keys:
    """Secrets from files that are named by their number; ValueError says what is wrong with them."""
    found: list[tuple[int, bytes]] = []
    for name, content in files.items():
        if not _VERSION.fullmatch(name):
            raise ValueError(f"{name!r} is no number: name each secret's file by its number, from 1 on")
        if len(content) < _SHORTEST:
            raise ValueError(f"the secret {name} has {len(content)} bytes: want {_SHORTEST} at least, drawn by chance")
        found.append((int(name), content))
    if not 1 <= len(found) <= _MOST:
        raise ValueError(f"{len(found)} secrets: want one, or two while the older one is being replaced")
    return Keys(tuple(sorted(found, reverse=True)))
