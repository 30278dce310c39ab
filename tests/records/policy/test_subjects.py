"""What who is spoken of is called."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.records.policy.subjects import Keys, parse_keys

ONE, TWO = b"1" * 32, b"2" * 32
KEYS = Keys(((2, TWO), (1, ONE)))


def test_each_secret_gives_another_name_and_the_newest_comes_first() -> None:
    newer, older = KEYS.pseudonyms("player", "team-a", "anna")
    assert (newer.version, older.version) == (2, 1)
    assert newer.digest != older.digest
    assert Keys(((1, ONE),)).pseudonyms("player", "team-a", "anna") == (older,)
    assert "anna" not in newer.digest


def test_gateways_find_states_by_keys_of_their_own() -> None:
    derived = KEYS.for_states()
    assert [version for version, _ in derived.secrets] == [2, 1]
    names = {name.digest for keys in (KEYS, derived) for name in keys.pseudonyms("player", "team-a", "anna")}
    assert len(names) == 4
    assert derived == KEYS.for_states()


PART = st.text(alphabet="ab\x00/", max_size=3)


@given(st.tuples(PART, PART), st.tuples(PART, PART))
def test_only_the_same_one_of_the_same_tenant_has_the_same_name(one: tuple[str, str], other: tuple[str, str]) -> None:
    keys = Keys(((1, ONE),))
    assert (keys.pseudonyms("player", *one) == keys.pseudonyms("player", *other)) == (one == other)
    assert keys.pseudonyms("session", *one) != keys.pseudonyms("player", *other)


def test_secrets_come_from_files_that_are_named_by_their_number() -> None:
    assert parse_keys({"1": ONE, "2": TWO}) == KEYS
    assert parse_keys({"10": TWO, "9": ONE}).secrets[0] == (10, TWO)


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ({}, "0 secrets: want one, or two while the older one is being replaced"),
        ({"1": ONE, "2": TWO, "3": ONE}, "3 secrets: want one, or two"),
        ({"new": ONE}, "'new' is no number: name each secret's file by its number, from 1 on"),
        ({"0": ONE}, "'0' is no number"),
        ({"1": b"short"}, "the secret 1 has 5 bytes: want 32 at least, drawn by chance"),
    ],
)
def test_what_are_no_secrets_is_told(files: dict[str, bytes], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        parse_keys(files)
