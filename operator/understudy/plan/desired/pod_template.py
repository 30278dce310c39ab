"""Merging a user's podTemplate into a rendered pod: by name where lists have names, never below the floor."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from understudy.domain.names import GROUP, LABEL_COMPONENT, LABEL_INSTANCE, LABEL_MANAGED_BY, LABEL_NAME
from understudy.plan.desired.accelerator import required_nodes, well_formed
from understudy.plan.desired.floor import below_floor, container_security, pod_security
from understudy.plan.desired.refusal import Refusal

ENGINE: Final = "engine"
_PATH: Final = "spec.podTemplate"
_OWN_LABELS: Final = (LABEL_INSTANCE, LABEL_NAME, LABEL_MANAGED_BY, LABEL_COMPONENT)

# Fields that replace ours, or that we do not set, with their type.
_SCALARS: Final[Mapping[str, type]] = {
    "automountServiceAccountToken": bool,
    "dnsPolicy": str,
    "hostIPC": bool,
    "hostNetwork": bool,
    "hostPID": bool,
    "hostUsers": bool,
    "priorityClassName": str,
    "runtimeClassName": str,
    "schedulerName": str,
    "serviceAccountName": str,
    "terminationGracePeriodSeconds": int,
}
_OBJECTS: Final = ("affinity", "annotations", "dnsConfig", "labels", "nodeSelector", "securityContext")
# Lists of objects, with the field that tells their items apart ("" = they are only appended).
_LISTS: Final[Mapping[str, str]] = {
    "hostAliases": "",
    "imagePullSecrets": "name",
    "initContainers": "name",
    "tolerations": "",
    "topologySpreadConstraints": "",
    "volumeMounts": "mountPath",
    "volumes": "name",
}
_ELSEWHERE: Final[Mapping[str, str]] = {
    "containers": "write spec.engine, spec.resources and podTemplate.volumeMounts; a sidecar is an init container"
    " with restartPolicy: Always",
    "enableServiceLinks": "remove it: a Service named vllm would break the engine",
    "env": "write spec.engine.env",
    "image": "write spec.engine.image",
    "metadata": "write labels and annotations directly under podTemplate",
    "resourceClaims": "write spec.accelerator.claimTemplateName",
    "resources": "write spec.resources",
    "restartPolicy": "remove it: pods of a Deployment always restart",
    "spec": "write the pod's fields directly under podTemplate",
}


def refused(overrides: Mapping[str, Any], namespace: str, *, privileged: bool, grace: int) -> Refusal | None:
    """The first thing in a podTemplate that may not be there; `grace` is the least termination grace period."""
    return (
        _shape(overrides)
        or _own_labels(overrides)
        or (None if privileged else below_floor(overrides, namespace))
        or _too_short(overrides, grace)
    )


def merged(template: Mapping[str, Any], overrides: Mapping[str, Any], *, privileged: bool) -> dict[str, Any]:
    """`template` (metadata and spec of a pod) with a podTemplate that `refused` let pass.

    Maps are merged, lists with a key are merged by it, others are appended. The floor has the last word.
    """
    metadata = dict(template["metadata"])
    spec = dict(template["spec"])
    for name in ("labels", "annotations"):
        if both := {**(overrides.get(name) or {}), **metadata.get(name, {})}:
            metadata[name] = both
    for name in _SCALARS:
        if name in overrides:
            spec[name] = overrides[name]
    for name in ("nodeSelector", "dnsConfig"):
        if overrides.get(name):
            spec[name] = {**spec.get(name, {}), **overrides[name]}
    if overrides.get("affinity"):
        spec["affinity"] = _affinity(spec.get("affinity", {}), overrides["affinity"])
    for name, key in _LISTS.items():
        if name != "volumeMounts" and overrides.get(name):
            spec[name] = _by_key(spec.get(name, []), overrides[name], key)
    engine, *others = spec["containers"]
    mounts = _by_key(engine.get("volumeMounts", []), overrides.get("volumeMounts") or [], "mountPath")
    spec["containers"] = [{**engine, "volumeMounts": mounts}, *others]
    spec["securityContext"] = pod_security(overrides.get("securityContext") or {}, privileged=privileged)
    for name in ("containers", "initContainers"):
        if name in spec:
            spec[name] = [_secured(container, privileged=privileged) for container in spec[name]]
    return {"metadata": metadata, "spec": spec}


def _secured(container: Mapping[str, Any], *, privileged: bool) -> dict[str, Any]:
    context = container_security(container.get("securityContext") or {}, privileged=privileged)
    return {**container, "securityContext": context}


def _affinity(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> dict[str, Any]:
    """Their affinity with our node requirements added to each of its terms."""
    required = ours.get("nodeAffinity", {}).get("requiredDuringSchedulingIgnoredDuringExecution", {})
    expressions = tuple(e for term in required.get("nodeSelectorTerms", []) for e in term["matchExpressions"])
    return required_nodes(theirs, expressions)


def _by_key(ours: Sequence[Any], theirs: Sequence[Any], key: str) -> list[Any]:
    if not key:
        return [*ours, *theirs]
    items = {item[key]: item for item in ours}
    for item in theirs:
        known = items.get(item[key])
        # A container is merged into; a volume is one of many kinds and is replaced.
        items[item[key]] = {**known, **item} if known is not None and "image" in known else item
    return list(items.values())


def _shape(overrides: Mapping[str, Any]) -> Refusal | None:
    checks: list[Callable[[str, Any], Refusal | None]] = [_scalar, _object, _list]
    for name, value in overrides.items():
        path = f"{_PATH}.{name}"
        if name not in _SCALARS and name not in _OBJECTS and name not in _LISTS:
            known = ", ".join(sorted({*_SCALARS, *_OBJECTS, *_LISTS}))
            return Refusal(path, "is not for podTemplate", _ELSEWHERE.get(name, f"write one of {known}"))
        for check in checks:
            if refusal := check(name, value):
                return refusal
    return None


def _scalar(name: str, value: Any) -> Refusal | None:
    wanted = _SCALARS.get(name)
    if wanted is None or type(value) is wanted:
        return None
    words = {bool: "true or false", int: "a whole number", str: "a string"}
    return Refusal(f"{_PATH}.{name}", f"is {value!r}", f"write {words[wanted]}")


def _object(name: str, value: Any) -> Refusal | None:
    if name not in _OBJECTS:
        return None
    path = f"{_PATH}.{name}"
    if not isinstance(value, Mapping):
        return Refusal(path, "is not an object", "write keys and values")
    if name in ("labels", "annotations", "nodeSelector"):
        for key, item in value.items():
            if not isinstance(item, str):
                return Refusal(f"{path}[{key}]", f"is {item!r}", "write a string, in quotes")
    if name == "affinity" and not well_formed(value):
        return Refusal(f"{path}.nodeAffinity", "is not a node affinity", "write it as in a pod's spec")
    return None


def _list(name: str, value: Any) -> Refusal | None:
    if name not in _LISTS:
        return None
    path, key = f"{_PATH}.{name}", _LISTS[name]
    if not isinstance(value, Sequence) or isinstance(value, str):
        return Refusal(path, "is not a list", "write a list")
    seen: set[str] = set()
    for index, item in enumerate(value):
        if not isinstance(item, Mapping):
            return Refusal(f"{path}[{index}]", "is not an object", "write keys and values")
        if not key:
            continue
        label = item.get(key)
        if not isinstance(label, str) or not label:
            return Refusal(f"{path}[{index}]", f"has no {key}", f"write {key}")
        if label in seen:
            return Refusal(f"{path}[{index}].{key}", f"{label!r} appears twice", "remove one")
        seen.add(label)
    return None


def _own_labels(overrides: Mapping[str, Any]) -> Refusal | None:
    for name in ("labels", "annotations"):
        for key in overrides.get(name) or {}:
            if key.startswith(f"{GROUP}/") or (name == "labels" and key in _OWN_LABELS):
                return Refusal(f"{_PATH}.{name}[{key}]", "is Understudy's own", "choose another key")
    return None


def _too_short(overrides: Mapping[str, Any], grace: int) -> Refusal | None:
    wanted = overrides.get("terminationGracePeriodSeconds", grace)
    if wanted >= grace:
        return None
    path = f"{_PATH}.terminationGracePeriodSeconds"
    return Refusal(path, f"{wanted} s would cut open streams", f"write at least {grace}, or lower shutdownTimeout")
