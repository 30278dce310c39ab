"""Server-sent events: from reads of any size to the payload of each event."""

from typing import Final

MAX_EVENT: Final = 4 * 1024 * 1024
# Events that say nothing are held back until one says something: a prompt may come back in some of them.
MAX_HELD: Final = 4 * MAX_EVENT
DONE: Final = b"[DONE]"


class EventTooLongError(ValueError):
    """An event that does not end within MAX_EVENT bytes."""


class EventSplitter:
    """Cuts one event stream. Comments, ids, retry times and event names are dropped: they are the engine's."""

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        """Payloads of the events that end within `data`; raises EventTooLongError."""
        if self._rest:
            data = self._rest + data
        if b"\r" in data:
            data, held = _unix_lines(data)
            events = data.split(b"\n\n")
            self._rest = events.pop() + held
        else:
            events = data.split(b"\n\n")
            self._rest = events.pop()
        if len(self._rest) > MAX_EVENT:
            raise EventTooLongError
        payloads = []
        for event in events:
            if event.startswith(b"data: ") and b"\n" not in event and len(event) > 6:
                payloads.append(event[6:])
            else:
                payload = _payload(event)
                if payload:
                    payloads.append(payload)
        return payloads


def _unix_lines(data: bytes) -> tuple[bytes, bytes]:
    """Line ends as LF; a CR at the very end is held back, since an LF may follow."""
    held = b"\r" if data.endswith(b"\r") else b""
    if held:
        data = data[:-1]
    return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n"), held


def _payload(event: bytes) -> bytes:
    lines = [line[5:].removeprefix(b" ") for line in event.split(b"\n") if line.startswith(b"data:")]
    return b"\n".join(lines)
