"""The Guardrails that tables name, from the parts in which the operator left them to what requests are judged by.

What a table names is fetched, put together, compiled in another process, and loaded; until that is done its deployment
goes on under the policies that it had. A policy that is not what the table says it is, or that no engine takes, is
refused: then nobody is served who would need it. Its parts are fetched again now and then, for what was put in place
of a wrong one may be right. Where hyperscan cannot be had the portable engine looks in its place, and that is told.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from understudy.domain.state import LOADED, DetectorState, policy_key
from understudy.domain.table import Guard
from understudy.gateway.databases import Databases
from understudy.gateway.policy.guarding import PINNED, Guarding, guarding_of
from understudy.guard.engines import Engine, UnusableError
from understudy.guard.needles import Needle, PatternError
from understudy.guard.policy import Policy
from understudy.guard.portable_engine import PortableEngine
from understudy.guard.second import Second, second_of
from understudy.guard.shards import ShardError, policy_of

LOG: Final = logging.getLogger(__name__)

_LOADING: Final = "not loaded yet"
_FIRST_BACKOFF: Final = 0.2
_LONGEST_BACKOFF: Final = 5.0
# Between two looks whether parts that were refused are others by now.
_FIRST_PATIENCE: Final = 1.0
_LONGEST_PATIENCE: Final = 60.0

Fetch = Callable[[str, str], Awaitable[bytes]]
"""What a part says, by namespace and name; raises OSError or ApiError where it cannot be had."""
# A namespace and a name there.
Name = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the guards of a table came to: `guarding`, and why not all of them hold that must (else empty).

    `refused`: the parts of one of them are not what they should be. `portable` is since when and why hyperscan does not
    look for its patterns, None where it does.
    """

    guards: tuple[Guard, ...]
    guarding: Guarding | None
    missing: str
    refused: bool = False
    portable: DetectorState | None = None


@dataclass(slots=True)
class Guards:
    """What is known of Guardrails: `shards` as they were fetched, and for each deployment what its guards came to.

    `states` says of each policy that a table names whether it was loaded, or why not. `loaded` are policies by
    Guardrail in the order in which they were loaded here.
    """

    shards: dict[Name, bytes] = field(default_factory=dict)
    states: dict[str, str] = field(default_factory=dict)
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    loaded: dict[Name, list[str]] = field(default_factory=dict)

    def of(self, deployment: str, guards: tuple[Guard, ...]) -> tuple[Guarding | None, str]:
        """What the deployment is judged by, and why it may not be served, if it may not.

        What was asked for last holds until what is asked for now is loaded.
        """
        if not guards:
            return None, ""
        outcome = self.outcomes.get(deployment)
        if outcome is None:
            closed = [guard.name for guard in guards if not guard.open]
            return None, f"{', '.join(closed)}: {_LOADING}" if closed else ""
        return outcome.guarding, outcome.missing

    def told(self, wanted: Mapping[str, tuple[Guard, ...]]) -> dict[str, str]:
        """Of each policy that a table names whether all deployments of such tables are under it here, or why not."""
        told: dict[str, str] = {}
        for key, guards in wanted.items():
            current = self._last(key) == guards
            for guard in guards:
                state = self.states.get(guard.policy, _LOADING)
                state = _LOADING if state == LOADED and not current else state
                if told.get(guard.policy, LOADED) == LOADED:
                    told[guard.policy] = state
        return told

    def portable(self) -> dict[str, DetectorState]:
        """Of each policy for which the portable engine looks why it does, as `/state` has it."""
        return {
            f"{policy_key(deployment.partition('/')[0], guard.name, guard.policy)}/": outcome.portable
            for deployment, outcome in self.outcomes.items()
            if outcome.portable is not None
            for guard in outcome.guards
        }

    def portable_deployments(self) -> int:
        """For how many the portable engine looks."""
        return sum(outcome.portable is not None for outcome in self.outcomes.values())

    def pending(self, wanted: Mapping[str, tuple[Guard, ...]]) -> list[str]:
        """Deployments whose guards have not come to anything yet."""
        return [key for key, guards in wanted.items() if guards and self._last(key) != guards]

    def _last(self, deployment: str) -> tuple[Guard, ...]:
        outcome = self.outcomes.get(deployment)
        return () if outcome is None else outcome.guards

    def keep(self, wanted: Mapping[str, tuple[Guard, ...]]) -> None:
        """Forget what no table names any more."""
        named = {(key.partition("/")[0], guard.name) for key, guards in wanted.items() for guard in guards}
        policies = {guard.policy for guards in wanted.values() for guard in guards}
        parts = {(key.partition("/")[0], shard) for key, guards in wanted.items() for g in guards for shard in g.shards}
        self.outcomes = {key: outcome for key, outcome in self.outcomes.items() if wanted.get(key)}
        self.states = {policy: state for policy, state in self.states.items() if policy in policies}
        self.shards = {name: part for name, part in self.shards.items() if name in parts}
        self.loaded = {name: policies for name, policies in self.loaded.items() if name in named}

    def revokes(self, namespace: str, guard: Guard, began_under: str) -> bool:
        """Whether an answer must end that began under this policy of the Guardrail.

        Of a policy that was never loaded here everything but what holds now may be older.
        """
        if not guard.revoke_before or began_under == guard.policy:
            return False
        order = self.loaded.get((namespace, guard.name), [])
        if guard.revoke_before not in order or began_under not in order:
            return True
        return order.index(began_under) <= order.index(guard.revoke_before)


class Loader:
    """Loads what tables name. `wanted` tells the guards of every deployment, `changed` hears of what has come of them.

    Without `fetch` there is only what is known already. `follow` hears of all policies whose detectors may be asked, by
    `policy_key`: those that tables name, and for some time those that they named, under which requests began.
    """

    def __init__(
        self,
        guards: Guards,
        databases: Databases,
        wanted: Callable[[], Mapping[str, tuple[Guard, ...]]],
        changed: Callable[[Iterable[str]], None],
        fetch: Fetch | None = None,
        follow: Callable[[Mapping[str, tuple[str, Policy]]], None] = lambda _: None,
    ) -> None:
        self._guards = guards
        self._databases = databases
        self._wanted = wanted
        self._changed = changed
        self._fetch = fetch
        self._follow = follow
        self._news = asyncio.Event()
        self._done = asyncio.Event()
        self._policies: dict[tuple[str, str], tuple[Policy, Mapping[str, Any]] | str] = {}
        # What is followed, and when a table named it last.
        self._followed: dict[str, tuple[tuple[str, Policy], float]] = {}
        self._built: dict[tuple[str, ...], tuple[Guarding, DetectorState | None]] = {}
        self._patience = _FIRST_PATIENCE
        # Deployments whose parts were refused, and are to be looked at again.
        self._again: set[str] = set()

    async def settle(self) -> None:
        """Wait until all that tables name by now is loaded, or cannot be for the moment."""
        self._done.clear()
        self._news.set()
        await self._done.wait()

    def look(self) -> None:
        """Tables have changed."""
        self._news.set()

    async def run(self) -> None:
        """Load until cancelled."""
        backoff = _FIRST_BACKOFF
        while True:
            self._news.clear()
            try:
                await self.load()
            except OSError as error:
                LOG.warning("guardrails cannot be loaded for now: %s", error or type(error).__name__)
                self._pass_over()
                await asyncio.sleep(backoff)
                backoff = min(2 * backoff, _LONGEST_BACKOFF)
            else:
                backoff = _FIRST_BACKOFF
                self._pass_over()
                await self._rest()

    async def _rest(self) -> None:
        """Wait for other tables, or until it is time to look again at what was refused."""
        refused = [key for key, outcome in self._guards.outcomes.items() if outcome.refused]
        if not refused or self._fetch is None:
            self._patience = _FIRST_PATIENCE
            await self._news.wait()
            return
        try:
            async with asyncio.timeout(self._patience):
                await self._news.wait()
            self._patience = _FIRST_PATIENCE
        except TimeoutError:
            self._patience = min(2 * self._patience, _LONGEST_PATIENCE)
            self._again.update(refused)
            self._forget_refused()

    def _forget_refused(self) -> None:
        """Have what was refused read anew, from parts that are fetched anew."""
        for key in self._again:
            for guard in self._guards.outcomes[key].guards:
                if isinstance(self._policies.get((guard.name, guard.policy)), str):
                    del self._policies[(guard.name, guard.policy)]
                    for shard in guard.shards:
                        self._guards.shards.pop((key.partition("/")[0], shard), None)

    def _pass_over(self) -> None:
        if not self._news.is_set():
            self._done.set()

    async def load(self) -> None:
        """Load what is named and not loaded; raises OSError if something cannot be had for now."""
        wanted = dict(self._wanted())
        self._guards.keep(wanted)
        self._tidy(wanted)
        failed: OSError | None = None
        self._again &= wanted.keys()
        for key in dict.fromkeys((*self._guards.pending(wanted), *self._again)):
            try:
                outcome = await self._outcome(key, wanted[key])
            except OSError as error:
                failed = error
                continue
            self._again.discard(key)
            if outcome != self._guards.outcomes.get(key):
                self._guards.outcomes[key] = outcome
                self._tell()
                self._changed([key])
        self._tell()
        if failed is not None:
            raise failed

    async def _outcome(self, key: str, guards: tuple[Guard, ...]) -> Outcome:
        namespace = key.partition("/")[0]
        found: list[tuple[Policy, Mapping[str, Any]]] = []
        missing: list[str] = []
        for guard in guards:
            known = await self._policy(namespace, guard)
            if not isinstance(known, str):
                found.append(known)
            elif not guard.open:
                missing.append(f"{guard.name}: {known}")
        refused = len(found) < len(guards)
        try:
            guarding, portable = await self._guarding(namespace, found) if found else (None, None)
        except PatternError as error:
            # All are taken together or not at all: which of them it was is in the sentence.
            for policy, _ in found:
                self._guards.states[policy.hash] = str(error)
            closed = [guard.name for guard in guards if not guard.open]
            return Outcome(guards, None, f"{', '.join(closed)}: {error}" if closed else "", refused)
        for policy, _ in found:
            self._guards.states[policy.hash] = LOADED
            order = self._guards.loaded.setdefault((namespace, policy.name), [])
            if policy.hash in order:
                order.remove(policy.hash)
            order.append(policy.hash)
        return Outcome(guards, guarding, "; ".join(missing), refused, portable)

    async def _policy(self, namespace: str, guard: Guard) -> tuple[Policy, Mapping[str, Any]] | str:
        """The policy that a guard means, with its spec, or why it is refused."""
        known = self._policies.get((guard.name, guard.policy))
        if known is not None:
            return known
        self._guards.states.setdefault(guard.policy, _LOADING)
        try:
            parts = [await self._part(namespace, shard) for shard in guard.shards]
        except OSError as error:
            self._guards.states[guard.policy] = f"{_LOADING}: {error or type(error).__name__}"
            raise
        found = await asyncio.to_thread(_read, parts, guard)
        if isinstance(found, str):
            if self._guards.states[guard.policy] != found:
                LOG.warning("Guardrail %s/%s is refused: %s", namespace, guard.name, found)
            self._guards.states[guard.policy] = found
        self._policies[(guard.name, guard.policy)] = found
        return found

    async def _part(self, namespace: str, name: str) -> bytes:
        known = self._guards.shards.get((namespace, name))
        if known is None:
            if self._fetch is None:
                raise FileNotFoundError(f"ConfigMap {namespace}/{name} is not in the snapshot")
            known = self._guards.shards[(namespace, name)] = await self._fetch(namespace, name)
        return known

    async def _guarding(
        self, namespace: str, found: Sequence[tuple[Policy, Mapping[str, Any]]]
    ) -> tuple[Guarding, DetectorState | None]:
        """What these policies of a namespace come to, and why not by hyperscan; raises PatternError or OSError."""
        name = (namespace, *(part for policy, _ in found for part in (policy.name, policy.hash)))
        known = self._built.get(name)
        if known is not None:
            return known
        policies, specs = [policy for policy, _ in found], [spec for _, spec in found]
        asked: list[Sequence[Needle]] = []
        await asyncio.to_thread(guarding_of, namespace, policies, specs, _asking(asked))
        portable = None
        try:
            await self._databases.compile(asked)
            guarding = await asyncio.to_thread(guarding_of, namespace, policies, specs, self._databases.engine)
        except (PatternError, UnusableError) as error:
            guarding = await asyncio.to_thread(guarding_of, namespace, policies, specs, PortableEngine)
            why = f"{error}; the portable engine finds the same, and takes longer"
            LOG.warning("Guardrails %s: %s", ", ".join(policy.name for policy in policies), why)
            portable = DetectorState(why, time.time())
        guarding = replace(guarding, second=await asyncio.to_thread(_second, policies))
        built = self._built[name] = guarding, portable
        return built

    def _tell(self) -> None:
        """Have the detectors followed of all policies that requests may be under."""
        now = asyncio.get_running_loop().time()
        self._followed = {key: each for key, each in self._followed.items() if now - each[1] < PINNED}
        for deployment, outcome in self._guards.outcomes.items():
            namespace = deployment.partition("/")[0]
            for guard in outcome.guards:
                known = self._policies.get((guard.name, guard.policy))
                if isinstance(known, tuple):
                    key = policy_key(namespace, guard.name, guard.policy)
                    self._followed[key] = ((namespace, known[0]), now)
        self._follow({key: each for key, (each, _) in self._followed.items()})

    def _tidy(self, wanted: Mapping[str, tuple[Guard, ...]]) -> None:
        named = {(guard.name, guard.policy) for guards in wanted.values() for guard in guards}
        self._policies = {name: found for name, found in self._policies.items() if name in named}
        used = {id(outcome.guarding) for outcome in self._guards.outcomes.values()}
        self._built = {name: built for name, built in self._built.items() if id(built[0]) in used}


def _read(parts: Sequence[bytes], guard: Guard) -> tuple[Policy, Mapping[str, Any]] | str:
    try:
        return policy_of(parts, guard.name, guard.policy)
    except ShardError as error:
        return str(error)


def _second(policies: Sequence[Policy]) -> Second | None:
    """What is looked for again; nothing, where the portable engine does not take it."""
    try:
        return second_of(policies)
    except PatternError as error:
        LOG.warning("answers cannot be looked at again: %s", error)
        return None


def _asking(asked: list[Sequence[Needle]]) -> Callable[[Sequence[Needle]], Engine]:
    """Stands in for a maker of engines, and only hears what is to be compiled."""

    def make(needles: Sequence[Needle]) -> Engine:
        asked.append(needles)
        return _NoEngine()

    return make


class _NoEngine:
    def open(self) -> Any:
        raise NotImplementedError("nothing is judged before it is compiled")
