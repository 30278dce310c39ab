"""A policy on its way to the gateways: cut into parts that fit into ConfigMaps, and put together again.

The operator reads a Guardrail and the texts that it names, and gateways read neither: they get all of it in parts that
never change, and compile it themselves. What they got is right if it has the hash that their table names. So nothing
here has to be believed; what is read is bounded all the same, before any of it is kept.
"""

import json
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, Final

from understudy.guard.policy import Policy, PolicyError, compile_policy, enforced

# A ConfigMap holds 1 MiB, of which what cannot be compressed takes all.
PIECE: Final = 900 * 1024
"""Bytes of the document that one part holds, before they are compressed."""
MAX_PARTS: Final = 40
"""Sixteen detectors with full ConfigMaps, the spec, and what quotes cost."""
_FIELDS: Final = frozenset({"name", "spec", "sources"})

Source = tuple[str, Mapping[str, Any], Mapping[str, str]]
"""What `compile_policy` takes: name, spec, and the texts of ConfigMaps by detector."""


class ShardError(Exception):
    """A policy that does not fit, or parts that are not those of one."""


class OtherPolicyError(ShardError):
    """Parts that hold another policy than the one that was to be in them."""


def pack(name: str, spec: Mapping[str, Any], sources: Mapping[str, str]) -> tuple[bytes, ...]:
    """The parts of a policy, each at most 1 MiB. Of the spec only what is enforced: the rest may change without it.

    Each part is compressed by itself, so that what is in it does not depend on how well that is done.

    Raises ShardError if it is too large.
    """
    document = {"name": name, "spec": enforced(spec), "sources": dict(sources)}
    text = json.dumps(document, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()
    if len(text) > MAX_PARTS * PIECE:
        raise ShardError(
            f"spec and ConfigMaps have {len(text)} bytes together, and at most {MAX_PARTS * PIECE} can be enforced: "
            "write shorter lists, or several Guardrails"
        )
    return tuple(zlib.compress(text[start : start + PIECE]) for start in range(0, len(text), PIECE))


def unpack(parts: Sequence[bytes]) -> Source:
    """What was packed. Takes memory for `MAX_PARTS * PIECE` bytes at most, whatever the parts hold.

    Raises ShardError.
    """
    if not 0 < len(parts) <= MAX_PARTS:
        raise ShardError(f"{len(parts)} parts, where 1 to {MAX_PARTS} are a policy")
    text = b"".join(_inflated(number, part) for number, part in enumerate(parts))
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ShardError(f"the parts do not make one document: {error}") from None
    if not isinstance(document, dict) or document.keys() != _FIELDS:
        raise ShardError("the document is not of name, spec and sources")
    name, spec, sources = document["name"], document["spec"], document["sources"]
    if not isinstance(name, str) or not isinstance(spec, dict) or not _are_texts(sources):
        raise ShardError("the document has a name, a spec or sources of the wrong kind")
    return name, spec, sources


def policy_of(parts: Sequence[bytes], name: str, digest: str) -> tuple[Policy, Mapping[str, Any]]:
    """The policy that a table names by its Guardrail and its hash, and its spec. To compile it may take seconds.

    Raises ShardError, OtherPolicyError for parts of another one.
    """
    found, spec, sources = unpack(parts)
    try:
        policy = compile_policy(found, spec, sources)
    except PolicyError as error:
        raise ShardError(str(error)) from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ShardError(f"its spec is not that of a Guardrail: {type(error).__name__}: {error}") from error
    if (found, policy.hash) != (name, digest):
        raise OtherPolicyError(f"its parts hold policy {policy.hash} of {found!r}")
    return policy, spec


def _inflated(number: int, part: bytes) -> bytes:
    stream = zlib.decompressobj()
    try:
        text = stream.decompress(part, PIECE + 1)
    except zlib.error as error:
        raise ShardError(f"part {number} is not compressed as it should be: {error}") from None
    if len(text) > PIECE:
        raise ShardError(f"part {number} has more than {PIECE} bytes")
    if not stream.eof or stream.unused_data:
        raise ShardError(f"part {number} does not end where it should")
    return text


def _are_texts(sources: object) -> bool:
    return isinstance(sources, dict) and all(isinstance(text, str) for text in sources.values())
