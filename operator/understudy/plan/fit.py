"""On which nodes more pods would find their accelerators, node by node: words for people, the scheduler decides.

A sum over nodes is not looked at: four nodes with one free GPU each have no room for a pod that wants two. CPU, memory,
topology and priorities are the scheduler's alone, so "fits" means: accelerators will not be what keeps it waiting.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from understudy.domain.conditions import is_ready
from understudy.domain.quantity import parse_quantity
from understudy.plan.desired.accelerator import PRODUCT_LABEL
from understudy.plan.observed import Object
from understudy.plan.selectors import meets

_REQUIRED: Final = "requiredDuringSchedulingIgnoredDuringExecution"
_REPELLING: Final = ("NoSchedule", "NoExecute")
# Named in a sentence.
_NAMED: Final = 4


@dataclass(frozen=True, slots=True)
class Need:
    """What every pod of a template wants: `count` pieces of the extended `resource`, called `what` for people."""

    resource: str
    count: int
    what: str


def need_of(template: Mapping[str, Any]) -> Need | None:
    """The accelerators of a pod template; None if it wants none that nodes count."""
    spec = template["spec"]
    for container in spec["containers"]:
        for resource, amount in ((container.get("resources") or {}).get("limits") or {}).items():
            if is_extended(resource):
                return Need(resource, pieces(amount), _called(spec, resource))
    return None


def is_extended(resource: str) -> bool:
    """A resource that a device plugin offers, such as `nvidia.com/gpu`."""
    domain = resource.partition("/")[0] if "/" in resource else ""
    return bool(domain) and not domain.endswith("kubernetes.io")


def pieces(amount: Any) -> int:
    """A counted quantity; 0 for one that is none."""
    try:
        return int(parse_quantity(amount))
    except ValueError:
        return 0


def wanted_by(pod: Object) -> dict[str, int]:
    """Accelerators that a pod holds on its node: what runs together, or what runs before it if that is more."""
    spec = pod.get("spec") or {}
    together, before = dict[str, int](), dict[str, int]()
    for container in spec.get("containers") or ():
        for resource, count in _limits(container):
            together[resource] = together.get(resource, 0) + count
    for container in spec.get("initContainers") or ():
        for resource, count in _limits(container):
            before[resource] = max(before.get(resource, 0), count)
    return {name: max(together.get(name, 0), before.get(name, 0)) for name in {*together, *before}}


def room(
    nodes: Iterable[Object], taken: Mapping[str, Mapping[str, int]], template: Mapping[str, Any], need: Need
) -> dict[str, int]:
    """How many more pods of the template each node has accelerators for; nodes with none are left out.

    `taken` are the accelerators that pods of anybody hold, by node and resource.
    """
    found = {}
    for node in nodes:
        name = str(node["metadata"]["name"])
        offered = pieces(((node.get("status") or {}).get("allocatable") or {}).get(need.resource, 0))
        free = offered - taken.get(name, {}).get(need.resource, 0)
        if free >= need.count > 0 and _takes(node, template["spec"]):
            found[name] = free // need.count
    return found


def places(free: Mapping[str, int], pods: int) -> tuple[str, ...]:
    """Names of nodes that take so many pods together, those with most room first; fewer if there is not enough."""
    chosen: list[str] = []
    for name in sorted(free, key=lambda name: (-free[name], name)):
        if pods <= 0:
            break
        chosen.append(name)
        pods -= free[name]
    return tuple(sorted(chosen))


def listed(names: Iterable[str]) -> str:
    """Names of nodes for a sentence."""
    all_of_them = list(names)
    more = f" and {len(all_of_them) - _NAMED} more" if len(all_of_them) > _NAMED else ""
    return f"node{'s' if len(all_of_them) > 1 else ''} {', '.join(all_of_them[:_NAMED])}{more}"


def _limits(container: Mapping[str, Any]) -> list[tuple[str, int]]:
    resources = container.get("resources") or {}
    # Of extended resources limits and requests are equal; who writes one has both.
    return [
        (n, pieces(a))
        for n, a in {**(resources.get("requests") or {}), **(resources.get("limits") or {})}.items()
        if is_extended(n)
    ]


def _called(spec: Mapping[str, Any], resource: str) -> str:
    """The products that may be used, if they are named; else the resource."""
    for term in _terms(spec):
        for expression in term.get("matchExpressions") or ():
            if expression.get("key") == PRODUCT_LABEL and expression.get("operator") == "In":
                return " or ".join(expression.get("values") or ())
    return resource


def _takes(node: Object, spec: Mapping[str, Any]) -> bool:
    """The node is ready, and labels and taints let such a pod in."""
    node_spec, labels = node.get("spec") or {}, node["metadata"].get("labels") or {}
    if node_spec.get("unschedulable") or not is_ready(node):
        return False
    if any(labels.get(key) != value for key, value in (spec.get("nodeSelector") or {}).items()):
        return False
    terms = _terms(spec)
    if terms and not any(all(meets(e, labels) for e in term.get("matchExpressions") or ()) for term in terms):
        return False
    repelling = (taint for taint in node_spec.get("taints") or () if taint.get("effect") in _REPELLING)
    return all(any(_tolerates(t, taint) for t in spec.get("tolerations") or ()) for taint in repelling)


def _terms(spec: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    return list((affinity.get(_REQUIRED) or {}).get("nodeSelectorTerms") or ())


def _tolerates(toleration: Mapping[str, Any], taint: Mapping[str, Any]) -> bool:
    key, effect = toleration.get("key", ""), toleration.get("effect", "")
    if (key and key != taint.get("key")) or (effect and effect != taint.get("effect")):
        return False
    value, wanted = toleration.get("value", ""), taint.get("value", "")
    return toleration.get("operator", "Equal") == "Exists" or bool(value == wanted)
