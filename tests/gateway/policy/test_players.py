"""Who plays is whom somebody vouches for, and nobody else."""

import base64
import hashlib
import hmac
import json
from typing import Any

import pytest

from understudy.gateway.policy.players import (
    Pace,
    Players,
    Who,
    check_fiction,
    fiction_of,
    parse_players,
    player_fields,
    who,
)
from understudy.gateway.policy.refusal import Refusal

SECRET = "s" * 32
NOW = 1_800_000_000.0
GAME = Players("games", asserts=True)
APP = Players("games", secret=SECRET)


def part(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def token(secret: str = SECRET, head: Any = None, **claims: Any) -> bytes:
    """A JSON Web Token, as any library makes it."""
    first = part(json.dumps({"alg": "HS256", "typ": "JWT"} if head is None else head).encode())
    said = first + b"." + part(json.dumps({"sub": "anna", "exp": NOW + 60, **claims}).encode())
    return said + b"." + part(hmac.new(secret.encode(), said, hashlib.sha256).digest())


def test_the_word_of_a_key_counts_that_may_assert_players() -> None:
    fields = {b"x-player-id": b"anna", b"x-session-id": b"evening"}
    assert who(GAME, fields, NOW) == Who("games", "anna", "evening")
    assert who(APP, fields, NOW) == Who("games", "", "evening")
    assert who(Players(), {}, NOW) == Who("", "", "")


def test_somebody_is_known_by_either_name() -> None:
    assert not Who("games", "", "").known
    assert Who("games", "anna", "").known
    assert Who("games", "", "evening").known


@pytest.mark.parametrize("name", [b"anna b", b"a/b", b"\xff", b"x" * 129, b"<script>"])
def test_a_player_is_called_by_letters_and_digits(name: bytes) -> None:
    refused = who(GAME, {b"x-player-id": name}, NOW)
    assert isinstance(refused, Refusal)
    assert (refused.status, refused.code) == (400, "invalid_request")


def test_a_token_counts_that_was_signed_and_has_not_expired() -> None:
    assert who(APP, {b"x-player-token": token()}, NOW) == Who("games", "anna", "")
    # It counts before the word of a key, and is nothing to a key that has no secret.
    both = Players("games", asserts=True, secret=SECRET)
    assert who(both, {b"x-player-token": token(), b"x-player-id": b"berta"}, NOW) == Who("games", "anna", "")
    assert who(GAME, {b"x-player-token": token(), b"x-player-id": b"berta"}, NOW) == Who("games", "berta", "")


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (b"anna", "want a JSON Web Token"),
        (token() + b"." + b"x" * 2048, "want a JSON Web Token"),
        (token("t" * 32), "its signature is not by this key's playerSecret"),
        (token()[:-2] + b"!!", "its signature is not by this key's playerSecret"),
        (token(head={"alg": "none"}), "want alg HS256, and no crit"),
        (token(head={"alg": "HS256", "crit": ["x"]}), "want alg HS256, and no crit"),
        (token(head=[]), "want alg HS256, and no crit"),
        (token(sub=7), "want a player as sub: 1 to 128 letters, digits and . _ ~ : @ + = -"),
        (token(sub="a b"), "want a player as sub: 1 to 128 letters, digits and . _ ~ : @ + = -"),
        (token(exp="soon"), "want exp, in seconds since 1970"),
        (token(exp=True), "want exp, in seconds since 1970"),
        (token(exp=NOW), "it has expired"),
    ],
)
def test_a_token_that_does_not_hold_is_refused(bad: bytes, why: str) -> None:
    refused = who(APP, {b"x-player-token": bad}, NOW)
    assert refused == Refusal(401, "invalid_player_token", f"x-player-token: {why}", final=True)


def test_what_is_no_json_is_no_token() -> None:
    said = part(b'{"alg":"HS256"}') + b"." + part(b"no json")
    bad = said + b"." + part(hmac.new(SECRET.encode(), said, hashlib.sha256).digest())
    assert isinstance(who(APP, {b"x-player-token": bad}, NOW), Refusal)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"tenant": "games", "assertsPlayers": "true"},
        {"playerSecret": SECRET, "crisisRequests": "0"},
        {"assertsFiction": "true"},
    ],
)
def test_a_secret_says_what_it_is_made_of(fields: dict[str, str]) -> None:
    assert player_fields("understudy-system/key", parse_players("understudy-system/key", fields)) == fields


@pytest.mark.parametrize(
    ("may", "said", "fiction", "refused"),
    [
        (True, None, "", False),
        (True, b"true", "fiction", False),
        (True, b"Adult", "adult", False),
        (True, b"yes", "", True),
        # Of a key that may not say it nothing is heard: else whoever plays could ask for less protection.
        (False, b"true", "", False),
        (False, b"adult", "", False),
        (False, b"yes", "", False),
    ],
)
def test_that_a_session_is_fiction_is_said_by_keys_that_may(
    may: bool, said: bytes | None, fiction: str, refused: bool
) -> None:
    fields = {} if said is None else {b"x-understudy-fiction": said}
    players = Players(fiction=may)
    assert fiction_of(players, fields) == fiction
    refusal = check_fiction(players, fields)
    assert (refusal is not None and refusal.status == 400) is refused


def test_a_key_that_has_done_enough_in_a_second_waits_for_the_next() -> None:
    pace = Pace(2)
    assert [pace.keeps("a", 10.0 + n / 10) for n in range(3)] == [True, True, False]
    assert pace.keeps("b", 10.5)
    assert pace.keeps("a", 11.0)


def test_keys_without_a_tenant_have_one_of_their_own() -> None:
    assert parse_players("understudy-system/key", {}).tenant == "understudy-system/key"


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"tenant": "a b"}, "tenant: want up to 320 letters, digits and . _ / -"),
        ({"assertsPlayers": "yes"}, "assertsPlayers: want true or false"),
        ({"assertsFiction": "1"}, "assertsFiction: want true or false"),
        ({"playerSecret": "short"}, "playerSecret: want 32 characters at least"),
        ({"crisisRequests": "-1"}, "crisisRequests: want a number of requests a day"),
    ],
)
def test_what_cannot_be_meant_is_refused(fields: dict[str, str], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        parse_players("ns/key", fields)
