"""One pass over a Guardrail: what a plan may look at is gathered, the policy compiled if it must be, the plan done.

```
 Guardrail, texts of ConfigMaps ─┐
 its parts, tables of those it   ├─► ObservedGuardrail ─► needs_verdict? ─► compile ─► plan_guardrail ─► execute
 holds for, gateways' answers   ─┘                                                         │             ▲
                                      since when parts are named by nobody ◄───────────────┘             │
 gateways' answers ─► how detectors do, what was found ──────────────────────────────────────────────────┘
```
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from understudy.domain.conditions import transition
from understudy.domain.key import Key
from understudy.engine.cache import Cache
from understudy.engine.contents import ConfigMapContents
from understudy.engine.detectors import judged, replaced
from understudy.engine.executor import Executor
from understudy.engine.findings import Findings, added
from understudy.engine.observe import Sources
from understudy.engine.policies import Policies
from understudy.engine.policyparts import named_shards, shards
from understudy.engine.references import Reference
from understudy.guard.policy import policy_hash
from understudy.kube.client import Object
from understudy.kube.errors import Failure
from understudy.kube.resources import GUARDRAIL, MODEL_DEPLOYMENT, ROUTING_TABLE
from understudy.plan.actions import apply_status
from understudy.plan.guardrail import ObservedGuardrail, User, needs_verdict, plan_guardrail
from understudy.plan.guards import holds_for

# Of a detector's fields those that name a ConfigMap; it has one of them at most.
_HELD_ELSEWHERE: Final = ("configMapRef", "caRef")
TELL: Final = 30.0  # seconds between two looks at what was found


@dataclass(frozen=True, slots=True)
class Done:
    """How a pass went, and in how many seconds the next one is due; None for never."""

    failure: Failure | None
    again: float | None


class Guardrails:
    """Makes the passes, and remembers between them what the plans asked to be told again."""

    def __init__(
        self, sources: Sources, contents: ConfigMapContents, executor: Executor, wake: Callable[[Key], None]
    ) -> None:
        """`wake` is called with a Guardrail whose policy has been compiled meanwhile."""
        self._sources = sources
        self._contents = contents
        self._executor = executor
        self._policies = Policies(wake)
        self._findings = Findings()
        self._unused: dict[Key, Mapping[str, float]] = {}
        self._told: dict[Key, float] = {}  # when findings were last added up, in monotonic seconds

    async def reconcile(self, key: Key) -> Done:
        """One pass. Raises ApiError when a ConfigMap cannot be read now."""
        cache = self._sources.cache
        guardrail = cache.get(GUARDRAIL, key.namespace, key.name)
        spec: Mapping[str, Any] = guardrail["spec"] if guardrail is not None else {}
        found, missing = texts(spec, key.namespace, await self._contents.read(key.namespace, configmaps_of(spec)))
        observed = ObservedGuardrail(
            key=key,
            now=self._sources.clock.now(),
            guardrail=guardrail,
            policy=policy_hash(spec, found) if guardrail is not None and not missing else "",
            missing=missing,
            shards={obj["metadata"]["name"]: obj for obj in shards(cache, key)},
            named=named_shards(cache, key.namespace),
            users=users(cache, guardrail) if guardrail is not None else (),
            served=served(cache, key.namespace),
            gateways=self._sources.poller.observed(),
            unused=self._unused.get(key, {}),
        )
        if needs_verdict(observed):
            verdict = await self._policies.verdict(key, spec, found)
            observed = replace(observed, verdict=verdict)
        else:
            self._policies.forget(key)
        return await self._carried_out(observed)

    async def _carried_out(self, observed: ObservedGuardrail) -> Done:
        decided, key = plan_guardrail(observed), observed.key
        self._unused[key] = decided.unused
        if not decided.unused:
            del self._unused[key]
        writes = [*decided.actions]
        if decided.status is not None and observed.guardrail is not None:
            kind, told = GUARDRAIL, self._counters(observed, observed.guardrail)
            status = {**decided.status, "conditions": _with_detectors(decided.status, observed), **told}
            writes.append(apply_status(kind.api_version, kind.kind, observed.guardrail, status))
        else:
            self._findings.forget(key)
            self._told.pop(key, None)
        result = await self._executor.run(key, writes)
        return Done(result.failure, decided.requeue_after)

    def _counters(self, observed: ObservedGuardrail, guardrail: Object) -> dict[str, Any]:
        """What was found, added up twice a minute at most: each change of a status is told to everybody."""
        before: Mapping[str, int] = (guardrail.get("status") or {}).get("counters") or {}
        now = observed.now.monotonic
        if now - self._told.get(observed.key, float("-inf")) >= TELL:
            self._told[observed.key] = now
            deployments = (user.key for user in observed.users)
            new = self._findings.since(observed.key, deployments, observed.gateways, now)
            before = added(before, new)
        return {"counters": dict(before)} if before else {}


def _with_detectors(decided: Mapping[str, Any], observed: ObservedGuardrail) -> list[Mapping[str, Any]]:
    """The conditions that were decided, and how detectors do."""
    guardrail: Object = observed.guardrail or {}
    policy, used = str(decided.get("policyHash", "")), bool(observed.users)
    said = judged(observed.key, guardrail, policy, observed.gateways, used=used)
    before = (guardrail.get("status") or {}).get("conditions") or ()
    (written,) = transition(before, [said], int(decided["observedGeneration"]), observed.now.wall)
    return replaced(decided["conditions"], written)


def configmaps_of(spec: Mapping[str, Any]) -> set[Reference]:
    """The ConfigMaps that hold what detectors look for, and whose certificates they trust."""
    return {
        ("ConfigMap", d[field]["name"]) for d in spec.get("detectors") or () for field in _HELD_ELSEWHERE if field in d
    }


def texts(spec: Mapping[str, Any], namespace: str, found: Mapping[str, Object]) -> tuple[dict[str, str], str]:
    """The text of each detector that has a ConfigMap, and all that is missing, "" if nothing is.

    `found` are the ConfigMaps that exist, by name.
    """
    sources: dict[str, str] = {}
    missing: list[str] = []
    for detector in spec.get("detectors") or ():
        field = next((each for each in _HELD_ELSEWHERE if each in detector), "")
        if not field:
            continue
        reference, where = detector[field], f"detectors[{detector['name']}].{field}"
        name = reference["name"]
        if name not in found:
            missing.append(f"{where}: ConfigMap {name} does not exist in namespace {namespace}: make it")
            continue
        data: Mapping[str, str] = found[name].get("data") or {}
        key = reference.get("key") or (next(iter(data)) if len(data) == 1 else "")
        if key in data:
            sources[detector["name"]] = data[key]
        elif key:
            missing.append(f"{where}: ConfigMap {name} has no text under key {key}: write it there")
        else:
            has = f"texts under {', '.join(sorted(data))}: write which one as key" if data else "no text: write one"
            missing.append(f"{where}: ConfigMap {name} has {has}")
    return sources, "; ".join(missing)


def served(cache: Cache, namespace: str) -> frozenset[str]:
    """The names by which ModelDeployments of a namespace are asked, those of objects included."""
    return frozenset(
        name
        for obj in cache.all(MODEL_DEPLOYMENT, namespace)
        if "deletionTimestamp" not in obj["metadata"]
        for name in (obj["metadata"]["name"], *((obj.get("spec") or {}).get("servedNames") or ()))
    )


def users(cache: Cache, guardrail: Object) -> tuple[User, ...]:
    """The deployments for which a Guardrail holds, with their tables."""
    namespace = guardrail["metadata"]["namespace"]
    names = sorted(
        obj["metadata"]["name"]
        for obj in cache.all(MODEL_DEPLOYMENT, namespace)
        if "deletionTimestamp" not in obj["metadata"] and holds_for(guardrail, obj)
    )
    return tuple(User(Key(namespace, name), cache.get(ROUTING_TABLE, namespace, name)) for name in names)
