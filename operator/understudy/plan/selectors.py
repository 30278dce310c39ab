"""Requirements on labels, as Kubernetes writes them: in a Guardrail's selector and in a pod's node affinity."""

from collections.abc import Iterable, Mapping
from typing import Any


def meets(requirement: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Whether `labels` are as an entry of matchExpressions wants them; Gt and Lt are there for nodes alone."""
    key, values = requirement["key"], requirement.get("values") or ()
    match requirement["operator"]:
        case "In":
            return labels.get(key) in values
        case "NotIn":
            return labels.get(key) not in values
        case "Exists":
            return key in labels
        case "DoesNotExist":
            return key not in labels
        case other:
            return _compares(other, labels.get(key, ""), values)


def _compares(operator: str, label: str, values: Iterable[str]) -> bool:
    """Gt or Lt, as of whole numbers."""
    bound = next(iter(values), "")
    if not (label.isdecimal() and bound.isdecimal()):
        return False
    return int(label) > int(bound) if operator == "Gt" else int(label) < int(bound)
