"""What the gateway says when it does not serve: every error a client can see is one of these values.

The body has OpenAI's shape, so that official clients raise their usual exceptions.
"""

from dataclasses import dataclass
from typing import Final

import orjson

REASONS: Final = {
    200: b"OK",
    202: b"Accepted",
    400: b"Bad Request",
    401: b"Unauthorized",
    403: b"Forbidden",
    404: b"Not Found",
    405: b"Method Not Allowed",
    408: b"Request Timeout",
    413: b"Content Too Large",
    415: b"Unsupported Media Type",
    417: b"Expectation Failed",
    422: b"Unprocessable Content",
    429: b"Too Many Requests",
    431: b"Request Header Fields Too Large",
    500: b"Internal Server Error",
    501: b"Not Implemented",
    502: b"Bad Gateway",
    503: b"Service Unavailable",
    504: b"Gateway Timeout",
    505: b"HTTP Version Not Supported",
}

# Refusals of the client's that another moment may undo: it was slow, or asked too often.
_TIMES: Final = frozenset({408, 429})


@dataclass(frozen=True, slots=True)
class Refusal:
    """One error answer.

    `retry_after` is in seconds, 0 for none. `final`: asking again cannot help, though the status does not say so
    (official clients retry every 408, 409, 429 and 5xx). `close` ends the connection: what follows on it cannot
    be trusted to be a request. `allow` lists the methods of a 405.
    """

    status: int
    code: str
    message: str
    param: str | None = None
    retry_after: int = 0
    final: bool = False
    close: bool = False
    allow: str = ""

    @property
    def kind(self) -> str:
        """OpenAI's `type` for the status."""
        if self.status == 429:
            return "requests"
        return "invalid_request_error" if self.status < 500 else "server_error"

    @property
    def terminal(self) -> bool:
        """Whether official clients are told not to try again."""
        return self.final or (self.status < 500 and self.status not in _TIMES)


NO_ROOM: Final = Refusal(503, "busy", "too many request bodies at once", retry_after=1)


def error_body(refusal: Refusal) -> bytes:
    """The JSON body of a refusal."""
    return orjson.dumps({"error": error_object(refusal)})


def error_object(refusal: Refusal) -> dict[str, str | None]:
    """The `error` member, as in a body and in an error event of a stream."""
    return {"message": refusal.message, "type": refusal.kind, "code": refusal.code, "param": refusal.param}


def error_event(refusal: Refusal) -> bytes:
    """The event that ends a stream which cannot go on."""
    return b"data: %b\n\n" % error_body(refusal)


def bad_request(message: str, param: str | None = None) -> Refusal:
    """400 for a request whose bytes were understood but whose content was not."""
    return Refusal(400, "invalid_request", message, param)


def unsupported(message: str, param: str) -> Refusal:
    """400 for a request that is right by OpenAI's API and asks for what this server does not do."""
    return Refusal(400, "unsupported", message, param)


def bad_bytes(message: str) -> Refusal:
    """400 for bytes that are not one clear HTTP/1.1 request; the connection ends."""
    return Refusal(400, "bad_request", message, final=True, close=True)
