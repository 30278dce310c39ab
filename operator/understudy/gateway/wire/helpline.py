"""What is said to somebody who may be in danger, in the place of an answer or of the end that it would have had."""

import time
from typing import TYPE_CHECKING

from understudy.gateway.policy.operations import Operation
from understudy.gateway.policy.spoken import spoken, spoken_events

if TYPE_CHECKING:
    from understudy.gateway.wire.plane import Plane
    from understudy.gateway.wire.playing import Turn
    from understudy.gateway.wire.relay import Relay


class Helpline:
    """That of one request to the model that the client calls `name`. What is said is counted."""

    __slots__ = ("_plane", "_said")

    def __init__(self, plane: "Plane", operation: Operation, name: str, request_id: bytes) -> None:
        self._plane = plane
        self._said = operation, name, request_id.decode()

    def whole(self, text: str) -> bytes:
        """A whole answer."""
        self._count()
        operation, name, request_id = self._said
        return spoken(operation, name, text, request_id, int(time.time()))

    def events(self, text: str) -> bytes:
        """The events of a stream that has said nothing yet."""
        self._count()
        operation, name, request_id = self._said
        return spoken_events(operation, name, text, request_id, int(time.time()))

    def end(self, relay: "Relay", turn: "Turn | None") -> bytes:
        """The events that end a stream in the middle of an answer that cannot go on; empty where an error will do."""
        if turn is None or not turn.in_crisis:
            return b""
        self._count()
        operation, name, request_id = self._said
        at = relay.items, relay.numbered
        return spoken_events(operation, name, f"\n\n{turn.referral}", request_id, int(time.time()), at)

    def _count(self) -> None:
        if self._plane.players is not None:
            self._plane.players.referred()
