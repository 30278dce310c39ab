"""Port 9901: probes for the kubelet, `/state` for the operator, `/metrics` for Prometheus.

The last two tell how a deployment does and are therefore for whoever shows a ServiceAccount token that the API
server vouches for.
"""

import asyncio
import logging
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import orjson

from understudy.domain.names import ADMIN_AUDIENCE, GATEWAY_ADMIN_PORT
from understudy.domain.state import GatewayState, dump_state
from understudy.gateway import kubeapi, pair
from understudy.gateway.policy.head import MAX_HEAD, Head, parse_head
from understudy.gateway.policy.refusal import Refusal
from understudy.gateway.reviews import Reviews
from understudy.gateway.wire.answer import plain_answer, refusal_answer
from understudy.gateway.wire.door import Door
from understudy.gateway.wire.plane import Plane
from understudy.telemetry.gateway import GatewayMetrics

LOG: Final = logging.getLogger(__name__)
_READ_SECONDS: Final = 10.0
_TEXT: Final = b"text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True, slots=True)
class AdminSettings:
    """How the admin port is served. `tls_dir` holds tls.crt and tls.key; None serves plain HTTP."""

    host: str = "0.0.0.0"  # noqa: S104  # a gateway in a pod listens on the pod's address
    port: int = GATEWAY_ADMIN_PORT
    tls_dir: Path | None = None
    auth: Literal["token", "none"] = "token"
    subjects: tuple[str, ...] = ()


class Admin:
    """The admin server of one gateway. `ready` is what `/readyz` says, `clients` the data port's certificate."""

    def __init__(
        self,
        settings: AdminSettings,
        server: kubeapi.ApiServer | None,
        plane: Plane,
        *,
        start_id: str,
        ready: bool,
        clients: pair.Pair | None = None,
    ) -> None:
        self.ready = ready
        self._settings = settings
        self._plane = plane
        self._start_id = start_id
        self._began = plane.clock()
        self._pairs = {} if clients is None else {"clients": clients}
        self._server: asyncio.Server | None = None
        self._reviews = Reviews(server, settings.subjects)
        self._metrics = GatewayMetrics(self.state, self._gauges)

    def become_ready(self) -> None:
        """Everything needed is known; a gateway that is leaving stays unready."""
        self.ready = not self._plane.draining

    def state(self, *, only_active: bool = False, names: Collection[str] | None = None) -> GatewayState:
        """What `/state` says: of all deployments, of those that are active, or of those called `names`."""
        now = self._plane.clock()
        waiting = self._plane.queue.waiting()
        deployments = self._plane.world.state(now, waiting, only_active=only_active, names=names)
        return GatewayState(start_id=self._start_id, uptime=now - self._began, deployments=deployments)

    async def start(self) -> None:
        """Listen; raises OSError for a taken port, PairError for a certificate that cannot be used."""
        settings = self._settings
        if settings.tls_dir is not None:
            self._pairs["admin"] = pair.Pair(settings.tls_dir)
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._protocol, settings.host, settings.port)

    async def renew(self) -> None:
        """Take renewed certificates, of the data port too, for new connections until cancelled."""
        await asyncio.gather(*(known.renew() for known in self._pairs.values()))

    def stop(self) -> None:
        """Listen no more."""
        if self._server is not None:
            self._server.close()

    def _protocol(self) -> asyncio.Protocol:
        served = asyncio.StreamReaderProtocol(asyncio.StreamReader(MAX_HEAD), self._connection)
        return Door(self._pairs["admin"], served) if "admin" in self._pairs else served

    def _gauges(self) -> dict[str, tuple[str, dict[str, float]]]:
        return {**self._plane.gauges(), **(pair.gauges(self._pairs) if self._pairs else {})}

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request after the other until the client has had enough."""
        try:
            while True:
                async with asyncio.timeout(_READ_SECONDS):
                    raw = await reader.readuntil(b"\r\n\r\n")
                head = parse_head(raw)
                if isinstance(head, Refusal):
                    writer.write(refusal_answer(head, b"", close=True))
                    break
                writer.write(await self._answer(head))
                await writer.drain()
                if not head.keep_alive or head.length:
                    break
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass
        finally:
            writer.close()

    async def _answer(self, head: Head) -> bytes:
        close = not head.keep_alive or bool(head.length)
        path, _, query = head.target.partition(b"?")
        if path == b"/healthz":
            return plain_answer(200, b'{"status":"ok"}', b"", close=close)
        if path == b"/readyz":
            status = 200 if self.ready else 503
            return plain_answer(status, b'{"ready":true}' if self.ready else b'{"ready":false}', b"", close=close)
        if path not in (b"/state", b"/metrics"):
            return refusal_answer(Refusal(404, "unknown_path", "no such path"), b"", close=close)
        refusal = await self._refuse(head)
        if refusal is not None:
            return refusal_answer(refusal, b"", close=close)
        if path == b"/state":
            name, _, value = query.partition(b"=")
            names = value.decode("latin-1").split(",") if name == b"deployments" else None
            state = self.state(only_active=query == b"rollouts=active", names=names)
            return plain_answer(200, orjson.dumps(dump_state(state)), b"", close=close)
        return plain_answer(200, self._metrics.render(), b"", close=close, kind=_TEXT)

    async def _refuse(self, head: Head) -> Refusal | None:
        if self._settings.auth == "none":
            return None
        scheme, _, token = head.fields.get(b"authorization", b"").decode("latin-1").partition(" ")
        if scheme.lower() != "bearer" or not token:
            return Refusal(401, "no_token", f"send a ServiceAccount token with audience {ADMIN_AUDIENCE}")
        try:
            allowed = await self._reviews.allow(token, self._plane.clock())
        except (OSError, kubeapi.ApiError) as error:
            LOG.warning("token review: %s", error)
            return Refusal(503, "no_review", "the API server cannot be asked about the token", retry_after=1)
        return None if allowed else Refusal(403, "not_allowed", "this token's subject may not read here")
