"""Port 9901: probes for the kubelet, `/state` for the operator, `/metrics` for Prometheus.

The last two tell how a deployment does and are therefore for whoever shows a ServiceAccount token that the API
server vouches for.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, Protocol

import orjson

from understudy.domain.names import ADMIN_AUDIENCE, GATEWAY_ADMIN_PORT
from understudy.domain.state import DeploymentState, DetectorState, GatewayState, dump_state
from understudy.gateway import kubeapi, pair
from understudy.gateway.policy.gauges import Gauges, joined
from understudy.gateway.policy.head import MAX_HEAD, Head, parse_head
from understudy.gateway.policy.refusal import Refusal
from understudy.gateway.reviews import Reviews
from understudy.gateway.wire.answer import plain_answer, refusal_answer
from understudy.gateway.wire.door import Door
from understudy.telemetry.beside import Beside
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


class Source(Protocol):
    """Whom the admin port tells of: the process itself, or all its workers."""

    @property
    def ready(self) -> bool:
        """What `/readyz` says."""
        ...

    def deployments(
        self, *, only_active: bool = False, names: Collection[str] | None = None
    ) -> Mapping[str, DeploymentState]:
        """What `/state` says of each deployment, of those that move, or of those called `names`."""
        ...

    def guards(self) -> Mapping[str, str]:
        """What `/state` says of policies of Guardrails."""
        ...

    def detectors(self) -> Mapping[str, DetectorState]:
        """What `/state` says of what finds things."""
        ...

    def beside(self) -> Mapping[str, Beside]:
        """What `/metrics` says of each deployment beside that."""
        ...

    def gauges(self) -> Gauges:
        """What `/metrics` says of the process."""
        ...


class Admin:
    """The admin server of one gateway. `clock` is in monotonic seconds."""

    def __init__(
        self,
        settings: AdminSettings,
        server: kubeapi.ApiServer | None,
        source: Source,
        *,
        start_id: str,
        clock: Callable[[], float],
    ) -> None:
        self._settings = settings
        self._source = source
        self._start_id = start_id
        self._clock = clock
        self._began = clock()
        self._pair: pair.Pair | None = None
        self._server: asyncio.Server | None = None
        self._reviews = Reviews(server, settings.subjects)
        self._metrics = GatewayMetrics(self.state, source.beside, self._gauges)

    def state(self, *, only_active: bool = False, names: Collection[str] | None = None) -> GatewayState:
        """What `/state` says: of all deployments, of those that are active, or of those called `names`."""
        source, uptime = self._source, self._clock() - self._began
        deployments = source.deployments(only_active=only_active, names=names)
        return GatewayState(self._start_id, uptime, deployments, source.guards(), source.detectors())

    async def start(self) -> None:
        """Listen; raises OSError for a taken port, PairError for a certificate that cannot be used."""
        settings = self._settings
        if settings.tls_dir is not None:
            self._pair = pair.Pair(settings.tls_dir)
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._protocol, settings.host, settings.port)

    async def renew(self) -> None:
        """Take renewed certificates for new connections until cancelled."""
        if self._pair is not None:
            await self._pair.renew()

    def stop(self) -> None:
        """Listen no more."""
        if self._server is not None:
            self._server.close()

    def _protocol(self) -> asyncio.Protocol:
        served = asyncio.StreamReaderProtocol(asyncio.StreamReader(MAX_HEAD), self._connection)
        return served if self._pair is None else Door(self._pair, served)

    def _gauges(self) -> Gauges:
        own = {} if self._pair is None else pair.gauges({"admin": self._pair})
        return joined((self._source.gauges(), own))

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
            ready = self._source.ready
            said = b'{"ready":true}' if ready else b'{"ready":false}'
            return plain_answer(200 if ready else 503, said, b"", close=close)
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
            allowed = await self._reviews.allow(token, self._clock())
        except (OSError, kubeapi.ApiError) as error:
            LOG.warning("token review: %s", error)
            return Refusal(503, "no_review", "the API server cannot be asked about the token", retry_after=1)
        return None if allowed else Refusal(403, "not_allowed", "this token's subject may not read here")
