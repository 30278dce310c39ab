"""A policy arrives as it was sent, whatever its size, and what is no policy is refused before it takes memory."""

import json
import random
import zlib
from typing import Any

import pytest

from understudy.guard import shards
from understudy.guard.policy import compile_policy
from understudy.guard.shards import MAX_PARTS, PIECE, OtherPolicyError, ShardError, pack, policy_of, unpack

SPEC: dict[str, Any] = {
    "mode": "enforce",
    "failurePolicy": "Closed",
    "detectors": [{"name": "words", "type": "lexicon", "configMapRef": {"name": "old"}}],
    "rules": [{"category": "words", "actions": {"high": ["Block"]}, "fictionAllowance": 0.5}],
}
WORDS = {"words": "knave\nVärlet\U0001f600\tlow\n"}


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of a thousand bytes."""
    monkeypatch.setattr(shards, "PIECE", 1000)


def noise(count: int) -> str:
    """So many characters that hardly compress."""
    return "".join(random.Random(1).choices("0123456789abcdef", k=count))


def test_what_was_packed_is_unpacked_as_it_was() -> None:
    assert unpack(pack("safe", SPEC, WORDS)) == ("safe", SPEC, WORDS)


def test_a_policy_is_had_by_its_name_and_hash_or_not_at_all() -> None:
    sent = compile_policy("safe", SPEC, WORDS)
    policy, spec = policy_of(pack("safe", SPEC, WORDS), "safe", sent.hash)
    assert (policy.hash, spec) == (sent.hash, SPEC)
    for name, digest in (("other", sent.hash), ("safe", "0" * 64)):
        with pytest.raises(OtherPolicyError, match=f"its parts hold policy {sent.hash} of 'safe'"):
            policy_of(pack("safe", SPEC, WORDS), name, digest)


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ({**SPEC, "rules": []}, "no rule says what follows from what it finds"),
        ({**SPEC, "rules": 7}, "its spec is not that of a Guardrail: TypeError"),
    ],
)
def test_parts_that_are_no_policy_are_no_error_of_another_kind(spec: dict[str, Any], says: str) -> None:
    with pytest.raises(ShardError, match=says):
        policy_of(pack("safe", spec, WORDS), "safe", "0" * 64)


def test_what_arrives_compiles_to_the_same_policy() -> None:
    sent = compile_policy("safe", SPEC, WORDS)
    assert compile_policy(*unpack(pack("safe", SPEC, WORDS))).hash == sent.hash


def test_a_small_policy_is_one_part_that_is_written_the_same_whatever_the_order_of_fields() -> None:
    (part,) = pack("safe", SPEC, WORDS)
    assert pack("safe", dict(reversed(SPEC.items())), WORDS) == (part,)


def test_for_whom_it_holds_and_what_it_revokes_is_not_of_the_policy() -> None:
    elsewhere = {**SPEC, "selector": {"matchLabels": {"app": "x"}}, "revokeBefore": "0" * 64}
    assert pack("safe", elsewhere, WORDS) == pack("safe", SPEC, WORDS)


@pytest.mark.usefixtures("small")
def test_a_large_one_is_cut_into_parts() -> None:
    sources = {"words": noise(3000)}
    parts = pack("safe", SPEC, sources)
    assert [len(zlib.decompress(part)) for part in parts[:-1]] == [1000] * 3
    assert unpack(parts) == ("safe", SPEC, sources)


def test_a_part_fits_into_a_config_map_even_if_it_does_not_compress() -> None:
    assert len(zlib.compress(random.Random(1).randbytes(PIECE))) <= 2**20


@pytest.mark.usefixtures("small")
def test_one_that_is_too_large_is_refused_with_what_to_write_instead() -> None:
    with pytest.raises(ShardError, match="at most 40000 can be enforced: write shorter lists, or several Guardrails"):
        pack("safe", SPEC, {"words": "x" * 40_000})


@pytest.mark.usefixtures("small")
def test_the_largest_that_fits_arrives() -> None:
    around = len(zlib.decompress(pack("safe", SPEC, {"words": ""})[0]))
    sources = {"words": "x" * (MAX_PARTS * 1000 - around)}
    parts = pack("safe", SPEC, sources)
    assert len(parts) == MAX_PARTS
    assert unpack(parts)[2] == sources


GOOD = pack("safe", SPEC, WORDS)[0]
BOMB = zlib.compress(b" " * (PIECE + 1))


def document(**changed: Any) -> bytes:
    return zlib.compress(json.dumps({"name": "safe", "spec": {}, "sources": {}, **changed}).encode())


@pytest.mark.parametrize(
    ("parts", "says"),
    [
        ((), "0 parts, where 1 to 40 are a policy"),
        ((GOOD,) * 41, "41 parts, where 1 to 40 are a policy"),
        ((b"{}",), "part 0 is not compressed as it should be: "),
        ((GOOD, BOMB), f"part 1 has more than {PIECE} bytes"),
        ((GOOD[:-1],), "part 0 does not end where it should"),
        ((GOOD + b"!",), "part 0 does not end where it should"),
        ((GOOD, GOOD), "the parts do not make one document: Extra data"),
        ((zlib.compress(b"\xff"),), "the parts do not make one document: "),
        ((zlib.compress(b"[" * 100_000),), "the parts do not make one document: "),
        ((zlib.compress(b"[]"),), "the document is not of name, spec and sources"),
        ((document(more=1),), "the document is not of name, spec and sources"),
        ((document(name=7),), "the document has a name, a spec or sources of the wrong kind"),
        ((document(spec=[]),), "the document has a name, a spec or sources of the wrong kind"),
        ((document(sources=[]),), "the document has a name, a spec or sources of the wrong kind"),
        ((document(sources={"words": 7}),), "the document has a name, a spec or sources of the wrong kind"),
    ],
)
def test_what_is_no_policy_is_refused(parts: tuple[bytes, ...], says: str) -> None:
    with pytest.raises(ShardError) as refused:
        unpack(parts)
    assert str(refused.value).startswith(says)
