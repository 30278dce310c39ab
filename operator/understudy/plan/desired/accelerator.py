"""GPU scheduling: counted resources with product and memory, or a claim of dynamic resource allocation."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from understudy.api.v1alpha1.engine import Accelerator
from understudy.domain.quantity import parse_quantity
from understudy.plan.desired.refusal import Refusal

PRODUCT_LABEL: Final = "nvidia.com/gpu.product"
MEMORY_LABEL: Final = "nvidia.com/gpu.memory"
CLAIM: Final = "accelerator"
_MIB: Final = 2**20
_REQUIRED: Final = "requiredDuringSchedulingIgnoredDuringExecution"


@dataclass(frozen=True, slots=True)
class Scheduling:
    """What an accelerator adds to a pod: container resources, node requirements, claims, and pieces per pod."""

    resources: Mapping[str, str] = field(default_factory=dict)
    node_expressions: tuple[Mapping[str, Any], ...] = ()
    claim_template: str = ""
    count: int = 0


def schedule(accelerator: Accelerator | None) -> Scheduling | Refusal:
    """Node labels, resources and claims for an accelerator; nothing without one."""
    if accelerator is None:
        return Scheduling()
    if accelerator.claim_template_name is not None:
        return Scheduling(claim_template=accelerator.claim_template_name)
    if accelerator.resource is None:
        return Refusal("spec.accelerator", "names no hardware", "write resource: nvidia.com/gpu, or claimTemplateName")
    count = accelerator.count or 1
    labelled = accelerator.products or accelerator.min_memory is not None
    if labelled and not accelerator.resource.startswith("nvidia.com/"):
        return Refusal(
            "spec.accelerator",
            f"products and minMemory are NVIDIA's node labels, and {accelerator.resource} is not theirs",
            "write your nodes' labels into podTemplate.nodeSelector",
        )
    expressions: list[Mapping[str, Any]] = []
    if accelerator.products:
        expressions.append({"key": PRODUCT_LABEL, "operator": "In", "values": sorted(accelerator.products)})
    if accelerator.min_memory is not None:
        try:
            mebibytes = math.ceil(parse_quantity(accelerator.min_memory) / _MIB)
        except ValueError as error:
            return Refusal("spec.accelerator.minMemory", str(error), "write a quantity such as 24Gi")
        # Gt is the only comparison that node affinity has; the label counts MiB.
        expressions.append({"key": MEMORY_LABEL, "operator": "Gt", "values": [str(mebibytes - 1)]})
    return Scheduling({accelerator.resource: str(count)}, tuple(expressions), "", count)


def well_formed(affinity: Mapping[str, Any]) -> bool:
    """Whether `required_nodes` can read the affinity; everything else in it is the API server's to judge."""
    node = affinity.get("nodeAffinity") or {}
    required = node.get(_REQUIRED) or {} if isinstance(node, Mapping) else None
    terms = required.get("nodeSelectorTerms") or [] if isinstance(required, Mapping) else None
    return isinstance(terms, list) and all(
        isinstance(term, Mapping) and isinstance(term.get("matchExpressions") or [], list) for term in terms
    )


def required_nodes(affinity: Mapping[str, Any], expressions: tuple[Mapping[str, Any], ...]) -> dict[str, Any]:
    """`affinity` with every one of its node terms narrowed by `expressions` (terms are alternatives)."""
    if not expressions:
        return dict(affinity)
    node = dict(affinity.get("nodeAffinity") or {})
    required = dict(node.get(_REQUIRED) or {})
    terms = required.get("nodeSelectorTerms") or [{}]
    required["nodeSelectorTerms"] = [
        {**term, "matchExpressions": [*(term.get("matchExpressions") or []), *map(dict, expressions)]} for term in terms
    ]
    return {**affinity, "nodeAffinity": {**node, _REQUIRED: required}}
