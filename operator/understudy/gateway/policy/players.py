"""Who plays: what a key's word counts for, and what a token says that somebody's own server has signed.

Players are known within a tenant. Keys that name the same one speak of the same players; without a name each key has a
tenant of its own.
"""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from understudy.gateway.policy.refusal import Refusal, bad_request
from understudy.guard.actions import Fiction

TENANT_FIELD: Final = "tenant"
ASSERTS_FIELD: Final = "assertsPlayers"
SECRET_FIELD: Final = "playerSecret"  # noqa: S105  # the name of a field
CRISIS_FIELD: Final = "crisisRequests"
FICTION_FIELD: Final = "assertsFiction"
FIELDS: Final = (TENANT_FIELD, ASSERTS_FIELD, SECRET_FIELD, CRISIS_FIELD, FICTION_FIELD)
PLAYER_HEADER: Final = b"x-player-id"
TOKEN_HEADER: Final = b"x-player-token"
SESSION_HEADER: Final = b"x-session-id"
FICTION_HEADER: Final = b"x-understudy-fiction"
# Requests of a key that a crisis alone lets through, a day.
USUAL_ALLOWANCE: Final = 200
# Of each key a worker takes so many batches of events a second, and so many signs of danger into the room that is kept
# for them: what is above that makes way as requests do, so that nobody can fill it.
MOST_POSTS: Final = 50
MOST_SIGNS: Final = 10

_TENANT: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,319}")
_PLAYER: Final = re.compile(rb"[A-Za-z0-9._~:@+=-]{1,128}")
_SHORTEST: Final = 32
_LONGEST_TOKEN: Final = 2048
_ALLOWANCE: Final = re.compile(r"[0-9]{1,6}")
_FICTION: Final[Mapping[bytes, Fiction]] = {b"true": "fiction", b"adult": "adult"}


@dataclass(frozen=True, slots=True)
class Players:
    """Of a key: whose players its requests may speak of, and how.

    With `asserts` the key's own word counts. By `secret` tokens are signed that count besides; empty: none do.
    `allowance`: so many of its requests a day are served that only a crisis lets through. `fiction`: it may say that a
    session is fiction.
    """

    tenant: str = ""
    asserts: bool = False
    secret: str = ""
    allowance: int = USUAL_ALLOWANCE
    fiction: bool = False


# Of a key that says nothing of any, such as that of everybody where no keys are asked for.
NOBODY: Final = Players()


@dataclass(frozen=True, slots=True)
class Who:
    """Who a request is of, as the tenant calls them; empty where nobody says."""

    tenant: str
    player: str
    session: str

    @property
    def known(self) -> bool:
        """Whether there is anybody to speak of."""
        return bool(self.player or self.session)


class Pace:
    """So many times a second each of several keys may do something; what is above that has to wait for the next."""

    __slots__ = ("_counts", "_most", "_second")

    def __init__(self, most: int) -> None:
        self._most = most
        self._second = 0
        self._counts: dict[str, int] = {}

    def keeps(self, key: str, now: float) -> bool:
        """Whether `key` may once more, at `now` in seconds; this one is counted."""
        if int(now) != self._second:
            self._second = int(now)
            self._counts.clear()
        self._counts[key] = self._counts.get(key, 0) + 1
        return self._counts[key] <= self._most


def parse_players(secret: str, fields: Mapping[str, str]) -> Players:
    """What the Secret of a key, `<namespace>/<name>`, says of players; ValueError says what is wrong with it."""
    tenant = fields.get(TENANT_FIELD) or secret
    if not _TENANT.fullmatch(tenant):
        raise ValueError(f"{TENANT_FIELD}: want up to 320 letters, digits and . _ / -, and one of the first two first")
    asserts, fiction = _flag(fields, ASSERTS_FIELD), _flag(fields, FICTION_FIELD)
    signs = fields.get(SECRET_FIELD, "")
    if signs and len(signs) < _SHORTEST:
        raise ValueError(f"{SECRET_FIELD}: want {_SHORTEST} characters at least, drawn by chance")
    allowance = fields.get(CRISIS_FIELD, str(USUAL_ALLOWANCE))
    if not _ALLOWANCE.fullmatch(allowance):
        raise ValueError(f"{CRISIS_FIELD}: want a number of requests a day, of up to six digits")
    return Players(tenant, asserts, signs, int(allowance), fiction)


def _flag(fields: Mapping[str, str], name: str) -> bool:
    said = fields.get(name, "false").lower()
    if said not in ("true", "false"):
        raise ValueError(f"{name}: want true or false")
    return said == "true"


def player_fields(secret: str, players: Players) -> dict[str, str]:
    """What `parse_players` makes them of."""
    return {
        **({} if players.tenant == secret else {TENANT_FIELD: players.tenant}),
        **({ASSERTS_FIELD: "true"} if players.asserts else {}),
        **({SECRET_FIELD: players.secret} if players.secret else {}),
        **({} if players.allowance == USUAL_ALLOWANCE else {CRISIS_FIELD: str(players.allowance)}),
        **({FICTION_FIELD: "true"} if players.fiction else {}),
    }


def who(players: Players, fields: Mapping[bytes, bytes], now: float) -> Who | Refusal:
    """Who a request with these header fields is of; `now` is in Unix seconds.

    A player that nobody vouches for is none. A token that does not hold is refused: else whoever wants no protection
    would send a bad one.
    """
    session = fields.get(SESSION_HEADER, b"")[:320].decode("latin-1")
    token = fields.get(TOKEN_HEADER)
    if token is not None and players.secret:
        said = _signed(players.secret, token, now)
        return said if isinstance(said, Refusal) else Who(players.tenant, said, session)
    player = fields.get(PLAYER_HEADER, b"")
    if not player or not players.asserts:
        return Who(players.tenant, "", session)
    if not is_player(player):
        return bad_request(
            "x-player-id: want 1 to 128 letters, digits and . _ ~ : @ + = -; write a hash of anything else"
        )
    return Who(players.tenant, player.decode(), session)


def fiction_of(players: Players, fields: Mapping[bytes, bytes]) -> Fiction:
    """What a request with these header fields says of its session, if its key may say it."""
    return _FICTION.get(fields.get(FICTION_HEADER, b"").lower(), "") if players.fiction else ""


def check_fiction(players: Players, fields: Mapping[bytes, bytes]) -> Refusal | None:
    """The refusal for what a key that may say it says of a session, and nobody understands."""
    said = fields.get(FICTION_HEADER)
    if said is None or not players.fiction or said.lower() in _FICTION:
        return None
    return bad_request("x-understudy-fiction: want true, or adult where the player is known to be one")


def is_player(name: bytes) -> bool:
    """Whether a player may be called so."""
    return _PLAYER.fullmatch(name) is not None


def _signed(secret: str, token: bytes, now: float) -> str | Refusal:
    """The player of a JSON Web Token (RFC 7519) that is signed by HMAC-SHA-256."""
    parts = token.split(b".")
    if len(token) > _LONGEST_TOKEN or len(parts) != 3:
        return _refused("want a JSON Web Token")
    right = hmac.new(secret.encode(), parts[0] + b"." + parts[1], hashlib.sha256).digest()
    head, claims, signature = _object(parts[0]), _object(parts[1]), _bytes(parts[2])
    if signature is None or not hmac.compare_digest(signature, right):
        return _refused("its signature is not by this key's playerSecret")
    if head is None or head.get("alg") != "HS256" or "crit" in head:
        return _refused("want alg HS256, and no crit")
    if claims is None or not isinstance(claims.get("sub"), str) or not is_player(claims["sub"].encode()):
        return _refused("want a player as sub: 1 to 128 letters, digits and . _ ~ : @ + = -")
    ends = claims.get("exp")
    if not isinstance(ends, int | float) or isinstance(ends, bool):
        return _refused("want exp, in seconds since 1970")
    if ends <= now:
        return _refused("it has expired")
    return str(claims["sub"])


def _refused(why: str) -> Refusal:
    return Refusal(401, "invalid_player_token", f"x-player-token: {why}", final=True)


def _object(part: bytes) -> dict[str, Any] | None:
    data = _bytes(part)
    try:
        found = None if data is None else orjson.loads(data)
    except orjson.JSONDecodeError:
        return None
    return found if isinstance(found, dict) else None


def _bytes(part: bytes) -> bytes | None:
    try:
        return base64.b64decode(part + b"=" * (-len(part) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None
