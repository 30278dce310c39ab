"""The little of the Kubernetes API that a gateway needs: list, watch, and token review.

The official client costs half a second and 59 MB to import; this is one request per connection over asyncio.
"""

import asyncio
import os
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

import httptools
import orjson

_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_TIMEOUT: Final = 15.0
_READ: Final = 256 * 1024
_MAX_LINE: Final = 64 * 1024 * 1024


class ApiError(Exception):
    """An answer other than success; `status` is HTTP's, or the one inside a watch's ERROR event."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status


@dataclass(frozen=True, slots=True)
class ApiServer:
    """Where the API server is. The token is read anew for each request, since it is rotated; "" sends none.

    `server_name` is what its certificate is for, where that is not the host in `url`.
    """

    url: str
    token_file: str = ""
    ca_file: str = ""
    server_name: str = ""

    def token(self) -> str:
        """The bearer token of this moment; raises OSError."""
        return Path(self.token_file).read_text().strip() if self.token_file else ""


def in_cluster() -> ApiServer | None:
    """The API server as a pod finds it; None outside a cluster."""
    host, port = os.environ.get("KUBERNETES_SERVICE_HOST", ""), os.environ.get("KUBERNETES_SERVICE_PORT", "443")
    if not host:
        return None
    address = f"[{host}]" if ":" in host else host
    return ApiServer(f"https://{address}:{port}", str(_ACCOUNT / "token"), str(_ACCOUNT / "ca.crt"))


class _Answer:
    """Callbacks of the parser: status, and the body as it comes."""

    def __init__(self) -> None:
        self.status = 0
        self.body = bytearray()
        self.complete = False
        self.parser = httptools.HttpResponseParser(self)

    def on_headers_complete(self) -> None:
        self.status = self.parser.get_status_code()

    def on_body(self, data: bytes) -> None:
        self.body += data
        if len(self.body) > _MAX_LINE:
            raise ValueError("answer too long")

    def on_message_complete(self) -> None:
        self.complete = True


async def request(server: ApiServer, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """One call and its JSON object; raises ApiError, OSError (TimeoutError included)."""
    async with asyncio.timeout(_TIMEOUT), _open(server, method, path, body) as (reader, answer):
        while not answer.complete:
            await _read(reader, answer)
        return _object(answer)


async def watch(
    server: ApiServer, path: str, query: Mapping[str, str], stale_seconds: float
) -> AsyncIterator[dict[str, Any]]:
    """Events of a watch until the server ends it; raises ApiError, OSError.

    A server that is being killed can leave a watch open and silent, so nothing within `stale_seconds`
    (bookmarks come every minute) raises TimeoutError.
    """
    question = urlencode({**query, "watch": "1", "allowWatchBookmarks": "true"})
    async with _open(server, "GET", f"{path}?{question}", None) as (reader, answer):
        while True:
            async with asyncio.timeout(stale_seconds):
                await _read(reader, answer)
            if answer.status and answer.status != 200:
                raise ApiError(answer.status, bytes(answer.body[:200]).decode(errors="replace"))
            *lines, rest = bytes(answer.body).split(b"\n") if answer.status else [b""]
            if answer.status:
                answer.body[:] = rest
            for line in lines:
                if line:
                    yield _event(line)
            if answer.complete:
                return


def _event(line: bytes) -> dict[str, Any]:
    try:
        event = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise ApiError(502, f"an event that is not JSON: {error}") from error
    if event.get("type") == "ERROR":
        status = event.get("object", {})
        raise ApiError(int(status.get("code", 500)), str(status.get("message", "")))
    return dict(event)


def _object(answer: _Answer) -> dict[str, Any]:
    if not 200 <= answer.status < 300:
        raise ApiError(answer.status, bytes(answer.body[:200]).decode(errors="replace"))
    try:
        return dict(orjson.loads(answer.body))
    except ValueError as error:
        raise ApiError(502, f"an answer that is not a JSON object: {error}") from error


async def _read(reader: asyncio.StreamReader, answer: _Answer) -> None:
    data = await reader.read(_READ)
    if not data:
        raise ConnectionError("the API server closed the connection")
    try:
        answer.parser.feed_data(data)
    except httptools.HttpParserError as error:
        raise ConnectionError(f"the API server does not speak HTTP: {error}") from error


@asynccontextmanager
async def _open(
    server: ApiServer, method: str, path: str, body: Mapping[str, Any] | None
) -> AsyncIterator[tuple[asyncio.StreamReader, _Answer]]:
    url = urlsplit(server.url)
    tls = ssl.create_default_context(cafile=server.ca_file or None) if url.scheme == "https" else None
    host, port = url.hostname or "", url.port or (443 if tls else 80)
    payload = orjson.dumps(body) if body is not None else b""
    token = server.token()
    authorization = f"Authorization: Bearer {token}\r\n" if token else ""
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: {url.netloc}\r\n{authorization}Accept: application/json\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(payload)}\r\nConnection: close\r\n"
        f"User-Agent: understudy-gateway\r\n\r\n"
    )
    async with asyncio.timeout(_TIMEOUT):
        name = (server.server_name or None) if tls is not None else None
        reader, writer = await asyncio.open_connection(host, port, ssl=tls, server_hostname=name)
    try:
        writer.write(head.encode() + payload)
        async with asyncio.timeout(_TIMEOUT):
            await writer.drain()
        yield reader, _Answer()
    finally:
        writer.transport.abort()
