"""A client's request as engines get it: the same document each time, under each engine's name for the model."""

import hashlib
from typing import Any

import orjson

from understudy.gateway.policy.affinity import LONG, beginning
from understudy.gateway.policy.demand import load_of
from understudy.gateway.policy.keys import AccessKey
from understudy.gateway.policy.operations import RESPONSES, Operation
from understudy.gateway.table import Variant


class Letter:
    """That of one request, which had `size` bytes. `name` is the model as the client calls it; `load` is in tokens.

    `wants_usage`: the client asked to be told the tokens used; `hides_each`: the gateway alone asked to be told them
    with every event.
    """

    __slots__ = (
        "_beginning", "_name", "_operation", "_salt", "_stream", "_trace", "_written_for", "document", "hides_each",
        "load", "payload", "wants_usage",
    )  # fmt: skip

    def __init__(
        self, operation: Operation, document: dict[str, Any], key: AccessKey, trace: bytes | None, size: int
    ) -> None:
        self.document = document
        self._name: str = document["model"]
        self._operation = operation
        self._salt = key.salt
        self._stream = document.get("stream") is True
        self._trace = b"traceparent: %b\r\n" % trace if trace is not None else b""
        # How a long prompt begins, for engines that keep that in a cache; below 0 until it is asked for.
        self._beginning = -1 if operation.salted and size >= LONG else 0
        self._written_for = ""
        self.payload = b""
        self.load = 0
        self.wants_usage = self.hides_each = False
        if self._stream and operation is not RESPONSES:
            options = document.get("stream_options") or {}
            self.wants_usage = options.get("include_usage") is True
            document["stream_options"] = {**options, "include_usage": True}
        if operation.salted and key.salt:
            document["cache_salt"] = key.salt

    @property
    def sent(self) -> bool:
        """Whether any engine was to get it."""
        return bool(self._written_for)

    def count_each(self) -> None:
        """Have engines tell the tokens used with every event: it must be known what a part of an answer has cost."""
        if self._stream and self._operation is not RESPONSES and not self.hides_each:
            options = self.document["stream_options"]
            self.hides_each = options.get("continuous_usage_stats") is not True
            options["continuous_usage_stats"] = True

    def write(self, variant: Variant) -> None:
        """Put it into the words of an engine."""
        if variant.model != self._written_for:
            self._written_for = self.document["model"] = variant.model
            self.payload = orjson.dumps(self.document)
            self.load = load_of(self.document, len(self.payload))

    def rewrite(self) -> None:
        """It is another deployment's now, or was another request."""
        self._written_for = ""

    def to(self, variant: Variant) -> bytes:
        """All of it, with its head, as it was last written."""
        head = variant.heads[(self._operation.path, self._stream)]
        return b"%b%d\r\n%b\r\n%b" % (head, len(self.payload), self._trace, self.payload)

    def begins(self, variant: Variant) -> int:
        """What stands for how the prompt begins, 0 for a short one and where there is no choice."""
        if self._beginning < 0 and len(variant.endpoints) > 1:
            self._beginning = beginning(self.document, self._operation.turns, self._salt)
        return max(self._beginning, 0)

    def digest(self) -> bytes:
        """What the same request of the same client has as well."""
        self.document["model"] = self._name
        self.rewrite()
        return hashlib.blake2b(orjson.dumps(self.document), digest_size=16).digest()
