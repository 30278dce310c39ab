"""One pass over a Guardrail: what a plan may look at is gathered, the policy compiled if it must be, the plan done.

```
 Guardrail, texts of ConfigMaps ─┐
 its parts, tables of those it   ├─► ObservedGuardrail ─► needs_verdict? ─► compile ─► plan_guardrail ─► execute
 holds for, gateways' answers   ─┘                                                         │             ▲
                                      since when parts are named by nobody ◄───────────────┘             │
 gateways' answers ─► what was found ────────────────────────────────────────────────────────────────────┘
```
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from understudy.domain.key import Key
from understudy.engine.cache import Cache
from understudy.engine.contents import ConfigMapContents
from understudy.engine.executor import Executor
from understudy.engine.findings import Findings, added
from understudy.engine.observe import Sources
from understudy.engine.policies import Policies
from understudy.engine.policyparts import named_shards, shards
from understudy.engine.references import Reference
from understudy.guard.policy import policy_hash
from understudy.guard.probeset import ProbeSetError, probe_set_hash, read_probe_set
from understudy.kube.client import Object
from understudy.kube.errors import Failure
from understudy.kube.resources import GUARDRAIL, MODEL_DEPLOYMENT, ROUTING_TABLE
from understudy.plan.actions import apply_status
from understudy.plan.guardrail import ObservedGuardrail, Probes, User, needs_verdict, plan_guardrail
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
        held = await self._contents.read(key.namespace, configmaps_of(spec))
        found, missing = texts(spec, key.namespace, held)
        probes, mistake = probes_of(spec, held)
        observed = ObservedGuardrail(
            key=key,
            now=self._sources.clock.now(),
            guardrail=guardrail,
            policy=policy_hash(spec, found) if guardrail is not None and not missing else "",
            missing=missing,
            probes=probes,
            mistake=mistake,
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
            writes.append(apply_status(kind.api_version, kind.kind, observed.guardrail, {**decided.status, **told}))
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


def configmaps_of(spec: Mapping[str, Any]) -> set[Reference]:
    """The ConfigMaps with what detectors look for, whose certificates they trust, and what candidates are asked."""
    asking = [spec["probeSet"]["configMapRef"]] if spec.get("probeSet") else []
    looking = [d[field] for d in spec.get("detectors") or () for field in _HELD_ELSEWHERE if field in d]
    return {("ConfigMap", reference["name"]) for reference in (*asking, *looking)}


def texts(spec: Mapping[str, Any], namespace: str, found: Mapping[str, Object]) -> tuple[dict[str, str], str]:
    """The text of each detector that has a ConfigMap, and all that is missing, "" if nothing is; of a probe set, too.

    `found` are the ConfigMaps that exist, by name.
    """
    sources: dict[str, str] = {}
    missing: list[str] = []
    for detector in spec.get("detectors") or ():
        field = next((each for each in _HELD_ELSEWHERE if each in detector), "")
        if not field:
            continue
        key, lacking = _key(detector[field], namespace, found)
        if lacking:
            missing.append(f"detectors[{detector['name']}].{field}: {lacking}")
        else:
            sources[detector["name"]] = found[detector[field]["name"]]["data"][key]
    if spec.get("probeSet"):
        _, lacking = _key(spec["probeSet"]["configMapRef"], namespace, found)
        missing += [f"probeSet.configMapRef: {lacking}"] if lacking else []
    return sources, "; ".join(missing)


def served(cache: Cache, namespace: str) -> frozenset[str]:
    """The names by which ModelDeployments of a namespace are asked, those of objects included."""
    return frozenset(
        name
        for obj in cache.all(MODEL_DEPLOYMENT, namespace)
        if "deletionTimestamp" not in obj["metadata"]
        for name in (obj["metadata"]["name"], *((obj.get("spec") or {}).get("servedNames") or ()))
    )


def probes_of(spec: Mapping[str, Any], found: Mapping[str, Object]) -> tuple[Probes | None, str]:
    """The probe set of a Guardrail, None if there is none; and what is wrong with it, "" if nothing is."""
    if not spec.get("probeSet"):
        return None, ""
    reference = spec["probeSet"]["configMapRef"]
    key, lacking = _key(reference, "", found)
    if lacking:
        return None, ""
    text = found[reference["name"]]["data"][key]
    try:
        return Probes(key, probe_set_hash(text), len(read_probe_set(text))), ""
    except ProbeSetError as error:
        return None, f"probeSet.configMapRef: ConfigMap {reference['name']}, key {key}: {error}"


def _key(reference: Mapping[str, Any], namespace: str, found: Mapping[str, Object]) -> tuple[str, str]:
    """Under which key of a ConfigMap a text is, and what is missing, "" if nothing is."""
    name = reference["name"]
    if name not in found:
        return "", f"ConfigMap {name} does not exist in namespace {namespace}: make it"
    data: Mapping[str, str] = found[name].get("data") or {}
    key = reference.get("key") or (next(iter(data)) if len(data) == 1 else "")
    if key in data:
        return key, ""
    if key:
        return "", f"ConfigMap {name} has no text under key {key}: write it there"
    has = f"texts under {', '.join(sorted(data))}: write which one as key" if data else "no text: write one"
    return "", f"ConfigMap {name} has {has}"


def users(cache: Cache, guardrail: Object) -> tuple[User, ...]:
    """The deployments for which a Guardrail holds, with their tables."""
    namespace = guardrail["metadata"]["namespace"]
    names = sorted(
        obj["metadata"]["name"]
        for obj in cache.all(MODEL_DEPLOYMENT, namespace)
        if "deletionTimestamp" not in obj["metadata"] and holds_for(guardrail, obj)
    )
    return tuple(User(Key(namespace, name), cache.get(ROUTING_TABLE, namespace, name)) for name in names)
