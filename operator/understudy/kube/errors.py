"""What an answer of the API server means for whoever sent the request.

One exception leaves the adapters; it carries a value that says what to do next. Every rule here was
seen on a real server: the status code alone does not decide (an unknown field is a 500 without a
reason, a wrong uid is a 422, a namespace that is going away is a 403).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson


@dataclass(frozen=True, slots=True)
class Retry:
    """Nothing was wrong with the request: send it again after `after` seconds."""

    after: float


@dataclass(frozen=True, slots=True)
class Conflict:
    """The object is not the one that was observed: observe again, then decide again."""


@dataclass(frozen=True, slots=True)
class Gone:
    """The resourceVersion or continue token is too old: list again."""


@dataclass(frozen=True, slots=True)
class NotFound:
    """There is no such object (or no such kind)."""


@dataclass(frozen=True, slots=True)
class Terminal:
    """The same request will be refused for ever; `reason` is the API server's own sentence."""

    reason: str


Failure = Retry | Conflict | Gone | NotFound | Terminal


class ApiError(Exception):
    """A request that did not succeed. `status` is the HTTP code, 0 when no answer came."""

    def __init__(self, status: int, reason: str, message: str, failure: Failure) -> None:
        super().__init__(f"{status or 'no answer'} {reason}: {message}".replace(" :", ":"))
        self.status = status
        self.reason = reason
        self.message = message
        self.failure = failure


def unreachable(cause: BaseException) -> ApiError:
    """The error for a request that got no answer (refused, reset, timed out)."""
    return ApiError(0, type(cause).__name__, str(cause) or "no answer in time", Retry(1.0))


def unnameable(cause: ValueError) -> ApiError:
    """The error for a request that was not sent, since nothing can have the name that it asks for."""
    return ApiError(404, "NotFound", str(cause), NotFound())


def from_answer(status: int, body: bytes, retry_after: str = "") -> ApiError:
    """The error for an answer outside 200 to 299; `retry_after` is that header's value in seconds."""
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError:
        parsed = None
    if not isinstance(parsed, dict):  # 404 of an unknown kind and 429 answer in plain text
        parsed = {"message": body[:300].decode(errors="replace").strip()}
    return from_status(status, parsed, retry_after)


def from_status(status: int, body: Mapping[str, Any], retry_after: str = "") -> ApiError:
    """The error for a metav1.Status, as an answer or inside a watch stream."""
    reason, message = str(body.get("reason") or ""), str(body.get("message") or "")
    return ApiError(status, reason, message, classify(status, body, retry_after))


def classify(status: int, body: Mapping[str, Any], retry_after: str = "") -> Failure:
    """What to do about an answer with this status code and this metav1.Status body."""
    message = str(body.get("message") or "")
    causes = (body.get("details") or {}).get("causes") or ()
    match status:
        case 404:
            return NotFound()
        case 409:
            return Conflict()
        case 410:
            return Gone()
        case 422:
            # A uid precondition that does not hold is reported as an invalid field.
            if any(str(cause.get("field", "")) == "metadata.uid" for cause in causes):
                return Conflict()
            return Terminal(message)
        case 403:
            return _forbidden(message, causes)
        case 429 | 503:
            return Retry(_seconds(retry_after))
        case 500 if "failed to create typed patch object" in message:
            return Terminal(message)
        case 401 | 408 | 500 | 502 | 504:
            return Retry(1.0)
        case _:
            return Terminal(message)


def _forbidden(message: str, causes: Any) -> Failure:
    """Terminal while the namespace goes away; else worth a retry: RBAC loads late after a server start."""
    if any(cause.get("reason") == "NamespaceTerminating" for cause in causes) or "being terminated" in message:
        return Terminal(message)
    if "exceeded quota" in message:
        return Retry(30.0)
    return Retry(1.0)


def _seconds(header: str) -> float:
    return min(float(header), 60.0) if header.isdigit() else 1.0
