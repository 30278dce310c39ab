"""Access keys: found by hash, bounded by scope, and guessing is slowed down."""

import hashlib

import pytest

from understudy.gateway.policy.keys import EVERYBODY, FAILURES_PER_SECOND, AccessKey, FailedKeys, find_key, make_key
from understudy.gateway.policy.refusal import Refusal

TEXT = "us-secret"
DIGEST = hashlib.sha256(TEXT.encode()).hexdigest()
KEY = make_key(DIGEST, ["*"], ["*"], b"master")
WRONG = Refusal(401, "invalid_api_key", "no")


def scoped(namespaces: list[str], names: list[str]) -> AccessKey:
    return make_key(DIGEST, namespaces, names, b"")


def test_a_key_is_found_by_its_text() -> None:
    assert find_key({DIGEST: KEY}, b"Bearer us-secret") is KEY
    assert find_key({DIGEST: KEY}, b"bearer us-secret") is KEY


def test_a_key_longer_than_what_is_remembered_is_found_as_well() -> None:
    text = b"us-" + b"x" * 1000
    assert find_key({hashlib.sha256(text).hexdigest(): KEY}, b"Bearer " + text) is KEY


def test_a_key_that_was_good_is_looked_up_anew() -> None:
    assert find_key({DIGEST: KEY}, b"Bearer us-secret") is KEY
    found = find_key({}, b"Bearer us-secret")
    assert isinstance(found, Refusal)
    assert found.status == 401


@pytest.mark.parametrize(
    "authorization", [None, b"", b"us-secret", b"Basic us-secret", b"Bearer us-secre", b"Bearer ", b"Bearer us-secret "]
)
def test_anything_else_is_401(authorization: bytes | None) -> None:
    found = find_key({DIGEST: KEY}, authorization)
    assert isinstance(found, Refusal)
    assert (found.status, found.final, found.close) == (401, True, False)


@pytest.mark.parametrize(
    ("namespaces", "names", "allowed"),
    [
        (["*"], ["*"], True),
        (["a"], ["*"], True),
        (["b"], ["*"], False),
        (["*"], ["tales"], True),
        (["*"], ["story"], True),
        (["*"], ["other"], False),
        (["a", "b"], ["other", "tales"], True),
        ([], ["*"], False),
        (["*"], [], False),
    ],
)
def test_scopes_bound_what_a_key_reaches(namespaces: list[str], names: list[str], allowed: bool) -> None:
    assert scoped(namespaces, names).allows("a", ("story", "tales")) is allowed


def test_everybody_reaches_everything() -> None:
    assert EVERYBODY.allows("a", ("story",))


def test_the_cache_salt_differs_by_tenant_and_by_installation() -> None:
    salts = {
        KEY.salt,
        make_key(DIGEST, ["*"], ["*"], b"other").salt,
        make_key("0" * 64, ["*"], ["*"], b"master").salt,
    }
    assert len(salts) == 3
    assert make_key(DIGEST, [], [], b"master").salt == KEY.salt


def test_guessing_is_refused_above_ten_a_second_per_address() -> None:
    failed = FailedKeys()
    first = [failed.refuse("1.2.3.4", 5.0 + i / 100, WRONG) for i in range(FAILURES_PER_SECOND)]
    assert all(refusal is WRONG for refusal in first)
    over = failed.refuse("1.2.3.4", 5.5, WRONG)
    assert (over.status, over.retry_after) == (429, 1)
    assert failed.refuse("1.2.3.5", 5.5, WRONG) is WRONG
    assert failed.refuse("1.2.3.4", 6.0, WRONG) is WRONG


def test_addresses_that_are_remembered_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("understudy.gateway.policy.keys._MAX_ADDRESSES", 2)
    failed = FailedKeys()
    for address in ("a", "b", "c", "c", "c"):
        assert failed.refuse(address, 1.0, WRONG) is WRONG
    assert all(failed.refuse("a", 1.0, WRONG) is WRONG for _ in range(9))
    assert failed.refuse("a", 1.0, WRONG).status == 429
