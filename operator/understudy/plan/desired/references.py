"""ConfigMaps and Secrets that a pod consumes: finding them, and pointing the pod at the revision's own copies.

A ConfigMap is copied into an immutable object per revision, so that an edit reaches a new revision only.
Secrets are not copied; a changed one is noticed by its hash.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from understudy.domain.names import child_name
from understudy.plan.desired.refusal import ReferenceKind

MAX_NAME: Final = 253
ReferenceName = tuple[ReferenceKind, str]


@dataclass(frozen=True, slots=True)
class Reference:
    """One consumed object: SHA-256 of its content ("" when an optional one does not exist), and its copy's name."""

    kind: ReferenceKind
    name: str
    hash: str
    copy: str = ""


@dataclass(frozen=True, slots=True)
class Use:
    """One place that consumes an object: the mapping that names it, and under which key of that mapping."""

    kind: ReferenceKind
    holder: Mapping[str, Any]
    field: str
    optional: bool

    @property
    def name(self) -> str:
        """Name of the object."""
        return str(self.holder[self.field])


def copy_name(deployment: str, revision: str, configmap: str) -> str:
    """Name of a revision's immutable copy of a ConfigMap; shortened by a hash where it would be too long."""
    name = f"{child_name(deployment, revision)}-{configmap}"
    if len(name) <= MAX_NAME:
        return name
    digest = hashlib.sha256(configmap.encode()).hexdigest()[:16]
    return f"{name[: MAX_NAME - 17].rstrip('-.')}-{digest}"


def uses(containers: Sequence[Mapping[str, Any]], volumes: Sequence[Mapping[str, Any]]) -> Iterator[Use]:
    """Every place in these containers' environments and in these volumes that consumes a ConfigMap or Secret.

    Shapes that Kubernetes would not take are passed over: the API server refuses them with its own words.
    """
    for container in containers:
        for variable in _objects(container.get("env")):
            source = _object(variable.get("valueFrom"))
            yield from _use("ConfigMap", source.get("configMapKeyRef"))
            yield from _use("Secret", source.get("secretKeyRef"))
        for block in _objects(container.get("envFrom")):
            yield from _use("ConfigMap", block.get("configMapRef"))
            yield from _use("Secret", block.get("secretRef"))
    for volume in volumes:
        yield from _use("ConfigMap", volume.get("configMap"))
        yield from _use("Secret", volume.get("secret"), field="secretName")
        for source in _objects(_object(volume.get("projected")).get("sources")):
            yield from _use("ConfigMap", source.get("configMap"))
            yield from _use("Secret", source.get("secret"))


def consumed(found: Iterator[Use]) -> dict[ReferenceName, bool]:
    """(kind, name) -> whether every use of it is optional."""
    optional: dict[ReferenceName, bool] = {}
    for use in found:
        key = (use.kind, use.name)
        optional[key] = optional.get(key, True) and use.optional
    return optional


def renamed(value: Any, rename: Callable[[str], str]) -> Any:
    """`value` (a container, a volume, or a list of them) with the name of each consumed ConfigMap changed."""
    if isinstance(value, list | tuple):
        return [renamed(item, rename) for item in value]
    if not isinstance(value, Mapping):
        return value
    return {
        key: {**item, "name": rename(str(item["name"]))}
        if key in ("configMap", "configMapKeyRef", "configMapRef") and isinstance(item, Mapping) and "name" in item
        else renamed(item, rename)
        for key, item in value.items()
    }


def _use(kind: ReferenceKind, holder: Any, field: str = "name") -> Iterator[Use]:
    if isinstance(holder, Mapping) and isinstance(holder.get(field), str):
        yield Use(kind, holder, field, optional=bool(holder.get("optional")))


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _objects(value: Any) -> list[Mapping[str, Any]]:
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list | tuple) else []
