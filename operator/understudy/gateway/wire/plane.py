"""What all connections of one worker share: routes, the pool, limits, counters, and the clock that sweeps them."""

import asyncio
import logging
import random
import secrets
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from understudy.domain.table import Logging
from understudy.gateway.policy.choose import Pins
from understudy.gateway.policy.clients import Clients
from understudy.gateway.policy.conversation import SOURCES
from understudy.gateway.policy.copies import MAX_REQUEST
from understudy.gateway.policy.demand import Demand
from understudy.gateway.policy.evidence import Samples, Taking
from understudy.gateway.policy.head import Head
from understudy.gateway.policy.holds import Holds
from understudy.gateway.policy.keys import FAILURES_PER_SECOND, AccessKey, FailedKeys
from understudy.gateway.policy.memory import Memory
from understudy.gateway.policy.meters import Lease, Meters
from understudy.gateway.policy.part import WHOLE, Part
from understudy.gateway.policy.refusal import Refusal
from understudy.gateway.policy.retry import FLOOR_PER_SECOND, Poisons, RetryBudget
from understudy.gateway.policy.shares import Shares
from understudy.gateway.policy.story import NO_STORY, Story
from understudy.gateway.policy.texts import Texts
from understudy.gateway.upstream_tls import UpstreamTls
from understudy.gateway.wire.budgets import Budgets
from understudy.gateway.wire.findings import Findings
from understudy.gateway.wire.ids import RequestIds
from understudy.gateway.wire.ledger import Ledger
from understudy.gateway.wire.panel import Panel
from understudy.gateway.wire.queue import Queue
from understudy.gateway.wire.second import SecondLooks
from understudy.gateway.wire.shadow import Shadows
from understudy.gateway.wire.upstream import Pool
from understudy.gateway.world import World

if TYPE_CHECKING:
    from understudy.gateway.players import Players
    from understudy.gateway.requestlog import RequestLog
    from understudy.gateway.spool import Spool
    from understudy.gateway.wire.connection import Connection

LOG: Final = logging.getLogger(__name__)
# How late a timeout may fire: one sweep over all connections is far cheaper than a timer for each.
SWEEP_SECONDS: Final = 0.1


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of a gateway: seconds, bytes, and bytes per second."""

    header_seconds: float = 10.0
    body_seconds: float = 30.0
    body_rate: float = 1024.0
    connect_seconds: float = 2.0
    slow_reader_seconds: float = 60.0
    # Between two comments by which a client hears that its stream is alive.
    heartbeat_seconds: float = 5.0
    idle_seconds: float = 75.0
    # While draining: time for one more request on a connection whose client could not be told that it ends.
    last_idle_seconds: float = 5.0
    # Below the five seconds after which vLLM closes an idle connection.
    upstream_idle_seconds: float = 4.0
    max_body: int = 32 * 1024 * 1024
    body_pool: int = 64 * 1024 * 1024
    # What bodies are read into: an object takes far more memory than its text.
    document_pool: int = 256 * 1024 * 1024
    max_answer: int = 64 * 1024 * 1024
    max_copies: int = 64
    max_copy_bytes: int = 16 * 1024 * 1024

    def divided(self, part: Part) -> "Limits":
        """Those of one of several workers, where these are of the whole gateway.

        One request alone gets two thirds of a pool: less than what the largest takes would refuse it for ever.
        """
        if part.count == 1:
            return self
        largest = 3 * self.max_body // 2
        return replace(
            self,
            body_pool=max(part.of(self.body_pool), min(self.body_pool, largest)),
            document_pool=max(part.of(self.document_pool), min(self.document_pool, 4 * largest)),
            max_copies=part.of(self.max_copies),
            max_copy_bytes=max(part.of(self.max_copy_bytes), min(self.max_copy_bytes, MAX_REQUEST)),
        )


class Plane:
    """One worker's shared state. `open_access` serves everybody without a key; `spool` keeps pairs of texts, `log` the
    stories of requests; `ledger` is asked about budgets; `players` knows where they stand, None where nobody does.

    `engine_tls` is how engines are spoken to that speak TLS; None trusts none of them.
    Of what is bounded for the whole gateway it has its `part`; `samples` and `lots` remember which conversations have
    given a sample and a pair.
    `heard` is when the API server was last heard of, by path of what is watched there.
    """

    __slots__ = (
        "_empty", "_tasks", "_workers", "answered", "bodies", "budget", "budgets", "clients", "clock", "connections",
        "conversations", "documents", "draining", "failed_keys", "failovers", "fallbacks", "findings", "heard",
        "holds", "ids", "limits", "log", "memory", "meters", "open_access", "panel", "pins", "players", "poisons",
        "pool", "queue", "random", "refused", "retries", "samples", "second", "settled", "shadows", "world",
    )  # fmt: skip

    def __init__(
        self,
        world: World,
        limits: Limits,
        *,
        open_access: bool = False,
        spool: "Spool | None" = None,
        log: "RequestLog | None" = None,
        engine_tls: UpstreamTls | None = None,
        ledger: Ledger | None = None,
        players: "Players | None" = None,
        part: Part = WHOLE,
        samples: Taking | None = None,
        lots: Taking | None = None,
    ) -> None:
        self.world = world
        self.limits = limits = limits.divided(part)
        self.open_access = open_access
        self.players = players
        self._tasks: set[asyncio.Future[None]] = set()
        self.log = log
        self.clock: Callable[[], float] = asyncio.get_running_loop().time
        self.pool = Pool(limits.connect_seconds, limits.upstream_idle_seconds, engine_tls or UpstreamTls())
        self.connections: set[Connection] = set()
        self._empty = asyncio.Event()
        self.queue = Queue(self.isolated, self.clock)
        self.draining = False
        self.bodies = Shares(limits.body_pool)
        self.documents = Shares(limits.document_pool)
        self.random = random.random
        self.ids = RequestIds()
        self.budget = RetryBudget(part.of(FLOOR_PER_SECOND))
        self.poisons = Poisons()
        self.memory = Memory(secrets.token_bytes(32))
        self.findings = Findings()
        self.pins = Pins()
        self.samples: Taking = Samples() if samples is None else samples
        self.shadows = Shadows(self, spool, Samples() if lots is None else lots)
        self.failed_keys = FailedKeys(part.of(FAILURES_PER_SECOND))
        self.meters = Meters(self.clock())
        self._workers = part.count
        self._measure()
        self.budgets = Budgets(self.clock, ledger, self.isolated)
        self.clients = Clients()
        self.panel = Panel(self)
        self.holds = Holds()
        self.second = SecondLooks(self.spawn)
        self.conversations: dict[str, float] = dict.fromkeys(SOURCES, 0)
        self.refused: dict[str, float] = {}
        self.heard: dict[str, float] = {}
        self.settled: dict[str, float] = {"counted": 0, "estimated": 0}
        self.answered = 0
        self.retries = 0
        self.failovers = 0
        self.fallbacks = 0

    def rerouted(self) -> None:
        """The routes have changed: end what must not go on, and try again for what waits."""
        self.budgets.follow(self.world.routes.keys)
        self.clients.keep(self.world.routes.deployments)
        self.holds.keep(self.world.routes.deployments)
        self._measure()
        if any(entry.cut or entry.places for entry in self.world.routes.deployments.values()):
            for connection in tuple(self.connections):
                if connection.exchange is not None:
                    self.isolated(connection.exchange.rerouted, connection)
        self.shadows.rerouted()
        self.queue.rerouted()

    @property
    def shares(self) -> int:
        """Among how many workers of all gateways is divided what a key has of all of them together."""
        return self.world.gateways * self._workers

    def _measure(self) -> None:
        self.meters.follow(self.world.routes.keys, self.shares, self.clock())

    def admit(self, key: AccessKey, demand: Demand, now: float) -> tuple[Lease | Refusal | None, bytes]:
        """What a request of a key with limits gets to hold, or why it is refused, and header lines for its answer."""
        meter = self.meters.of(key)
        if meter is None:
            # The key, or its limits, went while the request came in.
            return None, b""
        return meter.admit(demand, now), meter.fields(now)

    def settle(self, lease: Lease, used: tuple[tuple[int, int] | None, int] | None, *, whole: bool) -> None:
        """A request has ended; `used` is what its answer had (see Lease), None if no engine answered."""
        now = self.clock()
        if used is None:
            lease.release(now)
        else:
            counted = lease.settle(*used, now, whole=whole)
            self.settled["counted" if counted else "estimated"] += 1

    def sweep(self) -> None:
        """Let everything whose time is over end; called every SWEEP_SECONDS."""
        now = self.clock()
        for connection in tuple(self.connections):
            if connection.deadline <= now:
                self.isolated(partial(connection.expired, now), connection)
        self.shadows.sweep(now)
        self.pool.sweep(now)
        self.queue.look()

    def isolated(self, action: Callable[[], None], client: "Connection") -> None:
        """A mistake over one request ends that client's connection and nobody else's."""
        try:
            action()
        except Exception:
            LOG.exception("a request could not be carried on")
            client.abort()

    async def sweep_forever(self) -> None:
        """Sweep until cancelled."""
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            self.sweep()

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Have something done beside the requests."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def count_refusal(self, code: str) -> None:
        """A request is refused."""
        self.refused[code] = self.refused.get(code, 0) + 1

    def open_requests(self) -> int:
        """Requests that have begun and not ended."""
        return sum(1 for connection in self.connections if connection.busy)

    def forget(self, connection: "Connection") -> None:
        """A connection has ended."""
        self.connections.discard(connection)
        if not self.connections:
            self._empty.set()

    async def emptied(self) -> None:
        """Wait until the last connection has ended."""
        while self.connections:
            self._empty.clear()
            await self._empty.wait()

    def gauges(self) -> dict[str, tuple[str, dict[str, float]]]:
        """What metrics show beside the evidence: name to help text and values by kind ("" for a single one)."""
        return {
            "understudy_connections": ("Clients connected", {"": len(self.connections)}),
            "understudy_body_bytes": ("Request bodies in memory", {"": self.bodies.used}),
            "understudy_document_bytes": (
                "Memory set aside for what request bodies are read into",
                {"": self.documents.used},
            ),
            "understudy_answered_total": ("Requests answered by an engine", {"": self.answered}),
            "understudy_refused_total": ("Requests refused, by code", dict(self.refused) or {"none": 0}),
            "understudy_retries_total": ("Attempts after a failed one", {"": self.retries}),
            "understudy_failovers_total": ("Conversations moved to stable", {"": self.failovers}),
            "understudy_fallbacks_total": ("Requests that another served name took", {"": self.fallbacks}),
            "understudy_conversations_total": ("Where conversation ids came from", dict(self.conversations)),
            "understudy_watch_age_seconds": ("Since the last event or bookmark", self._watch_ages()),
            "understudy_tables_rejected_total": ("Tables that were refused, by why", dict(self.world.refusals)),
            "understudy_settled_total": (
                "Answers to keys with a limit of tokens, by who counted what they cost: the engine, or nobody",
                dict(self.settled),
            ),
            "understudy_limit_shares": ("Gateways that share the limits of access keys", {"": self.world.gateways}),
            "understudy_access_keys": (
                "Secrets with the label of access keys, by whether they could be read",
                {"known": len(self.world.key_scopes), "unreadable": len(self.world.unreadable)},
            ),
            "understudy_guard_portable_deployments": (
                "Deployments for whose Guardrails the portable engine looks, since hyperscan cannot",
                {"": self.world.guards.portable_deployments()},
            ),
            **self.clients.gauges(),
            **self.budgets.gauges(),
            **self.panel.gauges(),
            **self.findings.gauges(),
            **self.second.gauges(),
            **self.holds.gauges(),
            **self.shadows.gauges(),
            **({} if self.log is None else self.log.gauges()),
            **self.pool.gauges(),
        }

    def _watch_ages(self) -> dict[str, float]:
        """Seconds since the API server was last heard of, by resource; the longest of those that it is watched in."""
        now = self.clock()
        ages: dict[str, float] = {}
        for path, at in self.heard.items():
            resource = path.rpartition("/")[2]
            ages[resource] = max(ages.get(resource, 0.0), now - at)
        return ages

    def story(self, request_id: bytes, name: str, operation: str, key_hash: str, *, stream: bool) -> Story:
        """Where to write what becomes of a new request; NO_STORY where no log is kept."""
        if self.log is None:
            return NO_STORY
        return Story(request_id.decode(), name, operation, key_hash, self.clock(), stream=stream)

    def listen(self, story: Story, logging: Logging, document: dict[str, Any], head: Head) -> None:
        """Have a new request's story keep what is said, if its deployment has texts kept and the lot falls on it.

        The file alone has texts: without it there is nothing to listen for.
        """
        if logging.text == "none" or self.log is None or self.log.spool is None:
            return
        if self.random() < logging.sample:
            _, _, shown = head.fields.get(b"authorization", b"").decode("latin-1").partition(" ")
            story.texts = Texts(logging, document, shown.strip())

    def tell(self, story: Story, deployment: str, fallback: str, ended: tuple[int, str]) -> None:
        """Let the log have the story of a request that has ended."""
        if self.log is not None:
            self.log.tell(story, deployment, fallback, ended, self.clock(), self.random())

    def close_idle(self) -> None:
        """End every connection that carries no request."""
        for connection in tuple(self.connections):
            if not connection.busy:
                connection.close()
