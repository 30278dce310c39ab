"""Which Guardrails hold for a deployment, and whether they forbid serving it while nothing enforces them."""

from collections.abc import Mapping
from typing import Any

from understudy.api.v1alpha1.modeldeployment import ModelDeploymentSpec
from understudy.plan.observed import Object, Observed
from understudy.plan.selectors import meets


def guarding(observed: Observed, spec: ModelDeploymentSpec) -> tuple[Object, ...]:
    """The Guardrails that the deployment names or that select it, by name."""
    named = {ref.name for ref in spec.guardrail_refs}
    meta = observed.deployment["metadata"] if observed.deployment else {}
    labels: Mapping[str, str] = meta.get("labels") or {}
    return tuple(
        g
        for g in sorted(observed.guardrails, key=lambda g: str(g["metadata"]["name"]))
        if g["metadata"]["name"] in named or _selects(g["spec"].get("selector"), labels)
    )


def unguarded(observed: Observed, spec: ModelDeploymentSpec) -> tuple[str, tuple[str, ...]]:
    """Why nothing may be served newly ("" = it may), and the named Guardrails that do not exist."""
    present = guarding(observed, spec)
    known = {g["metadata"]["name"] for g in present}
    unknown = tuple(sorted(ref.name for ref in spec.guardrail_refs if ref.name not in known))
    closed = [g["metadata"]["name"] for g in present if _closed(g["spec"])]
    if not closed:
        return "", unknown
    why = f"Guardrail {', '.join(closed)} has failurePolicy Closed and guardrails are not enforced yet"
    return f"{why}: write failurePolicy: Open to serve without, or mode: monitor", unknown


def _closed(spec: Mapping[str, Any]) -> bool:
    policies = {spec.get("failurePolicy", "Closed"), *(r.get("failurePolicy") for r in spec.get("rules") or ())}
    return spec.get("mode", "enforce") == "enforce" and "Closed" in policies


def _selects(selector: Mapping[str, Any] | None, labels: Mapping[str, str]) -> bool:
    if selector is None:
        return False
    exact: Mapping[str, str] = selector.get("matchLabels") or {}
    return all(labels.get(k) == v for k, v in exact.items()) and all(
        meets(r, labels) for r in selector.get("matchExpressions") or ()
    )
