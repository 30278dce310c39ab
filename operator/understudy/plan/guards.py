"""Which Guardrails hold for a deployment, which policies its table names for them, and what stands in the way.

A policy that compiled holds until another one does: neither a mistake in an edit, nor a Guardrail that is deleted while
a deployment still names it, takes away the guard that there was. Nor does either take down what serves by it; only
nothing new starts.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from understudy.domain.conditions import find
from understudy.domain.state import LOADED
from understudy.domain.table import Guard, Table
from understudy.guard.policy import is_open
from understudy.plan.observed import GatewayPod, Object, Observed
from understudy.plan.selectors import meets
from understudy.plan.wanted import Blocked


@dataclass(frozen=True, slots=True)
class Guarding:
    """What the Guardrails of a deployment come to.

    `guards` are the policies that its table is to name, `blocked` says why nothing new may start. `bare` are Guardrails
    that must hold and have no policy: nothing is served for which no table is there yet. `idle` have none and need not
    hold. `unknown` are named and do not exist.
    """

    guards: tuple[Guard, ...] = ()
    blocked: Blocked | None = None
    bare: tuple[str, ...] = ()
    idle: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()


def holds_for(guardrail: Object, deployment: Object) -> bool:
    """Whether the deployment names the Guardrail, or is selected by it; both are of one namespace."""
    refs = (deployment.get("spec") or {}).get("guardrailRefs") or ()
    labels: Mapping[str, str] = deployment["metadata"].get("labels") or {}
    name = guardrail["metadata"]["name"]
    return any(ref["name"] == name for ref in refs) or _selects(guardrail["spec"].get("selector"), labels)


def published(guardrail: Object) -> Guard | None:
    """The last policy of a Guardrail that compiled, as its status has it; None if none ever did."""
    status = guardrail.get("status") or {}
    policy, shards = str(status.get("policyHash") or ""), tuple(status.get("shards") or ())
    if not policy or not shards:
        return None
    revoked = str(status.get("revokeBefore") or "")
    return Guard(guardrail["metadata"]["name"], policy, shards, bool(status.get("failOpen")), revoked)


def holding(observed: Observed) -> tuple[Object, ...]:
    """The Guardrails that a deployment that exists names or that select it, by name."""
    deployment = observed.deployment or {}
    present = (guardrail for guardrail in observed.guardrails if holds_for(guardrail, deployment))
    return tuple(sorted(present, key=lambda guardrail: str(guardrail["metadata"]["name"])))


def guarding(observed: Observed, table: Table | None) -> Guarding:
    """What they come to; `table` is the deployment's table as observed, if it has one."""
    deployment, present = observed.deployment or {}, holding(observed)
    known = {str(g["metadata"]["name"]) for g in present}
    refs = (deployment.get("spec") or {}).get("guardrailRefs") or ()
    unknown = tuple(sorted({str(ref["name"]) for ref in refs} - known))
    # One that was deleted, or has just been made again, holds on as the table has it.
    before = {guard.name: guard for guard in table.guards} if table is not None else {}
    found = {str(g["metadata"]["name"]): published(g) for g in present} | dict.fromkeys(unknown, None)
    guards = {name: guard or before.get(name) for name, guard in found.items()}
    lacking = [name for name in sorted(guards) if guards[name] is None]
    opened = {str(g["metadata"]["name"]) for g in present if is_open(g["spec"])}
    return Guarding(
        guards=tuple(guard for _, guard in sorted(guards.items()) if guard is not None),
        blocked=_blocked([g for g in present if not is_open(g["spec"])], unknown, observed.key.namespace),
        bare=tuple(name for name in lacking if name not in opened),
        idle=tuple(name for name in lacking if name in opened),
        unknown=unknown,
    )


def unloaded(guards: Iterable[Guard], gateways: Sequence[GatewayPod]) -> str:
    """The first gateway that does not enforce one of the policies, and why, as a sentence; "" if all of them do."""
    for guard in guards:
        for pod in gateways:
            said = pod.state.guards.get(guard.policy, "it has not loaded it yet") if pod.state else "it does not answer"
            if said != LOADED:
                return f"gateway {pod.name} does not enforce Guardrail {guard.name}: {said}"
    return ""


def _blocked(closed: Sequence[Object], unknown: Sequence[str], namespace: str) -> Blocked | None:
    pending = None
    for guardrail in closed:
        meta, status = guardrail["metadata"], guardrail.get("status") or {}
        said = {kind: find(status.get("conditions") or (), kind) or {} for kind in ("Ready", "Stalled")}
        seen = status.get("observedGeneration") == meta.get("generation")
        if seen and said["Stalled"].get("status") == "True":
            message = f"Guardrail {meta['name']}: {said['Stalled'].get('message', '')}"
            return Blocked("GuardrailInvalid", message, passing=False)
        if not seen or said["Ready"].get("status") != "True":
            why = said["Ready"].get("message", "") if seen else ""
            pending = pending or f"Guardrail {meta['name']}: {why or 'it has not been compiled yet'}"
    if unknown:
        missing = f"Guardrail {', '.join(unknown)} does not exist in namespace {namespace}"
        return Blocked("GuardrailNotFound", missing, passing=True)
    return Blocked("GuardrailPending", pending, passing=True) if pending else None


def _selects(selector: Mapping[str, Any] | None, labels: Mapping[str, str]) -> bool:
    if selector is None:
        return False
    exact: Mapping[str, str] = selector.get("matchLabels") or {}
    return all(labels.get(k) == v for k, v in exact.items()) and all(
        meets(r, labels) for r in selector.get("matchExpressions") or ()
    )
