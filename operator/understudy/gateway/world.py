"""What the gateway has been told so far, by watch or by snapshot, and when it is believed.

A table that does not parse or carries a lower epoch is refused and the one before stays; a table's deletion
counts only once it was retired, or after a minute: losing a table must never be a slip.
"""

import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from understudy.domain.keys import USUAL
from understudy.domain.state import DeploymentState
from understudy.domain.table import Guard, InvalidTableError, parse_table
from understudy.gateway.guards import Guards
from understudy.gateway.policy.balance import breakers, usable
from understudy.gateway.policy.budget import Budget
from understudy.gateway.policy.evidence import Evidence
from understudy.gateway.policy.keys import AccessKey, make_key
from understudy.gateway.policy.limits import RateLimits
from understudy.gateway.policy.part import WHOLE, Part
from understudy.gateway.policy.players import NOBODY, Players
from understudy.gateway.policy.standing import Standing, beside, told
from understudy.gateway.table import Address, Endpoints, Entry, Routes, Served, compile_entry, compile_routes
from understudy.telemetry.beside import Beside

DELETION_DELAY: Final = 60.0
_NOBODY: Final[Mapping[str, int]] = {}
# Hash, namespaces, names, and the rest in the order of AccessKey.
KeyScope = tuple[str, tuple[str, ...], tuple[str, ...], bool, int, RateLimits | None, tuple[Budget, ...], Players]


@dataclass(frozen=True, slots=True)
class Rejected:
    """A table that was refused: its generation, and why."""

    generation: int
    reason: str


class World:
    """Tables, endpoints and keys as they stand; `compile` turns them into routes.

    `slices` are by (namespace, Service), then by slice name. `unreadable` are Secrets that should hold access keys.
    `guards` are the Guardrails that tables name, as far as they are loaded.
    `gateways` is how many there are, this one among them. Times are monotonic seconds, but for `taken`: when each
    table was taken, by `wall`, in seconds since 1970. Of what a table bounds for the whole gateway, this process has
    its `part`. `refusals` counts tables that were refused.
    """

    def __init__(
        self, evidence: Evidence | None = None, part: Part = WHOLE, wall: Callable[[], float] = time.time
    ) -> None:
        self.evidence = Evidence() if evidence is None else evidence
        self.routes = Routes()
        self.tables: dict[str, Served] = {}
        self.specs: dict[str, Mapping[str, Any]] = {}
        self.taken: dict[str, float] = {}
        self.rejected: dict[str, Rejected] = {}
        self.refusals: dict[str, float] = {"invalid": 0, "epoch": 0}
        self.slices: dict[tuple[str, str], dict[str, tuple[Address, ...]]] = {}
        self.key_scopes: dict[str, KeyScope] = {}
        self.unreadable: set[str] = set()
        self.guards = Guards()
        self.gateways = 1
        self.master = b""
        self.kept: Mapping[str, str] = {}
        self.version = 0
        self._part = part
        self._wall = wall
        self._endpoints = Endpoints()
        self._services: dict[tuple[str, str], str] = {}
        self._deleted: dict[str, float] = {}
        self._entries: dict[str, Entry] = {}
        self._dirty: set[str] = set()
        self._all_dirty = False
        self._keys: dict[str, AccessKey] = {}
        self._keys_dirty = False

    def set_table(self, namespace: str, name: str, uid: str, generation: int, spec: Mapping[str, Any]) -> None:
        """Take a table, unless it must not be served."""
        key = f"{namespace}/{name}"
        self._deleted.pop(key, None)
        served = self.tables.get(key)
        try:
            table = parse_table(name, spec)
        except (InvalidTableError, TypeError, AttributeError) as error:
            self._reject(key, "invalid", Rejected(generation, str(error)))
            return
        if served is not None and served.uid == uid and table.epoch < served.table.epoch:
            reason = f"spec.epoch: {table.epoch} is lower than {served.table.epoch}, which is served"
            self._reject(key, "epoch", Rejected(generation, reason))
            return
        self.rejected.pop(key, None)
        if served is None or (served.uid, served.generation) != (uid, generation):
            self.taken[key] = self._wall()
        queue = replace(table.queue, max=self._part.of(table.queue.max), per_pod=self._part.of(table.queue.per_pod))
        table = replace(table, queue=queue)
        self.tables[key] = Served(namespace, name, uid, generation, table)
        self.specs[key] = spec
        self._dirty.add(key)

    def table_gone(self, namespace: str, name: str, now: float) -> None:
        """A table no longer exists: forget it if it was retired, else after DELETION_DELAY."""
        key = f"{namespace}/{name}"
        served = self.tables.get(key)
        if served is None:
            self.rejected.pop(key, None)
        elif served.table.retired:
            self._drop(key)
        else:
            self._deleted.setdefault(key, now)

    def expire(self, now: float) -> bool:
        """Forget tables whose deletion has lasted; whether any was."""
        due = [key for key, at in self._deleted.items() if now - at >= DELETION_DELAY]
        for key in due:
            self._drop(key)
        return bool(due)

    def set_slice(self, namespace: str, name: str, service: str, addresses: Iterable[Address]) -> None:
        """Take one EndpointSlice."""
        if self._services.get((namespace, name), service) != service:
            self.slice_gone(namespace, name)
        self._services[(namespace, name)] = service
        self.slices.setdefault((namespace, service), {})[name] = tuple(addresses)
        self._touch_service(namespace, service)

    def slice_gone(self, namespace: str, name: str) -> None:
        """An EndpointSlice no longer exists."""
        service = self._services.pop((namespace, name), None)
        if service is None:
            return
        of_service = self.slices[(namespace, service)]
        del of_service[name]
        if not of_service:
            del self.slices[(namespace, service)]
        self._touch_service(namespace, service)

    def set_key(
        self,
        secret: str,
        digest: str,
        namespaces: Iterable[str],
        names: Iterable[str],
        *,
        chooses: bool = False,
        priority: int = USUAL,
        limits: RateLimits | None = None,
        budgets: tuple[Budget, ...] = (),
        players: Players = NOBODY,
    ) -> None:
        """Take one access key; `secret` names where it came from, the rest is as in AccessKey."""
        self._keys_dirty = True
        self.unreadable.discard(secret)
        scope = (tuple(namespaces), tuple(names))
        self.key_scopes[secret] = (digest, *scope, chooses, priority, limits, budgets, players)

    def key_gone(self, secret: str) -> None:
        """Revoke the access key of `secret`."""
        self._keys_dirty = True
        self.unreadable.discard(secret)
        self.key_scopes.pop(secret, None)

    def key_unreadable(self, secret: str) -> None:
        """What `secret` holds is no access key, though it should be one."""
        self.key_gone(secret)
        self.unreadable.add(secret)

    def set_master(self, master: bytes, kept: Mapping[str, str]) -> None:
        """Take the key that engine keys and cache salts are derived from; `kept` are engine keys that are not."""
        if master != self.master or kept != self.kept:
            self.master, self.kept = master, kept
            self._all_dirty = self._keys_dirty = True

    def compile(self) -> Routes:
        """The routes as of now; they are current from this call on."""
        for key in self.tables if self._all_dirty else self._dirty:
            served = self.tables.get(key)
            if served is None:
                self._entries.pop(key, None)
            else:
                addresses = self.addresses(key)
                guarded = self.guards.of(key, served.table.guards)
                if guarded[0] is not None:
                    self.evidence.place(key, guarded[0].findings)
                self._entries[key] = compile_entry(
                    served, addresses, self.master, self.kept, self._endpoints, self.evidence, guarded
                )
        self._dirty.clear()
        self._all_dirty = False
        if self._keys_dirty:
            self._keys_dirty = False
            self._keys = {
                digest: make_key(
                    digest,
                    namespaces,
                    names,
                    self.master,
                    chooses=chooses,
                    priority=priority,
                    limits=limits,
                    budgets=budgets,
                    players=players,
                )
                for digest, namespaces, names, chooses, priority, limits, budgets, players in self.key_scopes.values()
            }
        self.routes = compile_routes(self._entries, self._keys, self.routes)
        self.version += 1
        return self.routes

    def wanted(self) -> dict[str, tuple[Guard, ...]]:
        """The Guardrails that hold, by deployment; those are left out for which none does."""
        return {key: served.table.guards for key, served in self.tables.items() if served.table.guards}

    def guarded(self, keys: Iterable[str]) -> None:
        """Guardrails of these deployments have been loaded."""
        self._dirty.update(keys)

    def addresses(self, key: str) -> dict[str, list[Address]]:
        """Endpoints of a deployment's variants by revision."""
        served = self.tables[key]
        found: dict[str, list[Address]] = {}
        for variant in served.table.variants:
            slices = self.slices.get((served.namespace, variant.service), {})
            found[variant.revision] = [address for name in sorted(slices) for address in slices[name]]
        return found

    def state(
        self,
        now: float,
        waiting: Mapping[str, int] = _NOBODY,
        *,
        only_active: bool = False,
        names: Collection[str] | None = None,
    ) -> dict[str, DeploymentState]:
        """Every deployment as said on `/state`; `waiting` counts requests that wait by deployment.

        `only_active` leaves out those with one variant and no other work, for which nobody waits; with `names` it is
        of these alone, as far as they are known.
        """
        states = {}
        counted = self.evidence.by_deployment
        known = {**self.tables, **self.rejected, **counted}
        for key in known if names is None else known.keys() & names:
            standing = self._standing(key, now, waiting.get(key, 0))
            state = told(standing, counted.get(key, {}), only_active=only_active)
            if state is not None:
                states[key] = state
        return states

    def standings(self, now: float, waiting: Mapping[str, int]) -> dict[str, Standing]:
        """How every deployment stands that has a table, or one that was refused; `waiting` is as for `state`."""
        return {key: self._standing(key, now, waiting.get(key, 0)) for key in {**self.tables, **self.rejected}}

    def beside(self, now: float) -> dict[str, Beside]:
        """What metrics show of every deployment beside `state`."""
        counted = self.evidence.by_deployment
        return {
            key: beside(self._standing(key, now, 0), counted.get(key, {}))
            for key in {**self.tables, **self.rejected, **counted}
        }

    def _reject(self, key: str, why: str, rejected: Rejected) -> None:
        # The same table comes again with each list.
        self.refusals[why] += self.rejected.get(key) != rejected
        self.rejected[key] = rejected

    def _standing(self, key: str, now: float, waiting: int) -> Standing:
        entry = self._entries.get(key)
        rejected = self.rejected.get(key)
        return Standing(
            table_uid=entry.served.uid if entry else "",
            table_generation=entry.served.generation if entry else 0,
            epoch=entry.served.table.epoch if entry else 0,
            rejected=rejected.reason if rejected else "",
            rejected_generation=rejected.generation if rejected else 0,
            variants=len(self.tables[key].table.variants) if key in self.tables else None,
            waiting=waiting,
            usable={v.revision: usable(v.endpoints, now) for v in entry.variants} if entry else {},
            taken=self.taken.get(key, 0.0),
            breakers={v.revision: breakers(v.endpoints, now) for v in entry.variants} if entry else {},
            guarded=tuple(self.evidence.places.get(key, ())),
        )

    def _drop(self, key: str) -> None:
        self._deleted.pop(key, None)
        self.tables.pop(key, None)
        self.taken.pop(key, None)
        self.specs.pop(key, None)
        self.rejected.pop(key, None)
        self._dirty.add(key)

    def _touch_service(self, namespace: str, service: str) -> None:
        # A Service is named after its deployment and revision: `<name>-<hash8>`.
        key = f"{namespace}/{service[:-9]}"
        if key in self.tables:
            self._dirty.add(key)
