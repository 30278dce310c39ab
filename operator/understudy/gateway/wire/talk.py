"""The conversation that a request is part of, and where it stands on the line that the weights divide."""

from typing import TYPE_CHECKING, Any

from understudy.gateway.policy.conversation import conversation_id, position
from understudy.gateway.policy.story import Story
from understudy.gateway.table import Entry

if TYPE_CHECKING:
    from understudy.gateway.wire.plane import Plane


class Talk:
    """That of one request; looked for when somebody asks, since mostly nobody does.

    `session` is what its header says, `key` the hash of the access key, `turns` the field of `document` that holds it.
    """

    __slots__ = ("_document", "_id", "_key", "_plane", "_salt", "_session", "_story", "_turns", "_where")

    def __init__(
        self, plane: "Plane", story: Story, session: bytes | None, document: dict[str, Any], key: str, turns: str
    ) -> None:
        self._plane = plane
        self._story = story
        self._session = session
        self._document = document
        self._key = key
        self._turns = turns
        self._id = b""
        self._salt = ""
        self._where = 0

    def position(self, entry: Entry) -> int:
        """Where it stands among the conversations of a deployment; one without a sign of any stands by itself."""
        salt = entry.served.table.salt
        if not self._id:
            found, source = conversation_id(
                self._session,
                self._document,
                self._key,
                from_user=entry.served.table.session_from_user,
                turns=self._turns,
            )
            self._plane.conversations[source] += 1
            self._story.source = source
            self._id = found or self._plane.ids.next()
        elif salt == self._salt:
            return self._where
        self._salt = salt
        self._where = position(self._id, entry.key, salt)
        return self._where

    def move(self) -> None:
        """It is with another deployment now."""
        self._id = b""
