"""What of an object the operator keeps in memory: what a plan reads, and nothing that must not leak.

- managedFields go, but for a mark of foreign field managers: a child that somebody else touched is
  applied again even though the hash of what we applied still matches.
- Secrets and ConfigMaps keep the SHA-256 of their content, never the content.
- Of Services and NetworkPolicies a plan reads whether they are there, and whose.
- Pods and Nodes keep what placement, readiness and failure classification read.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import orjson

from understudy.domain.names import MANAGER_CHILDREN, MANAGER_STATUS
from understudy.kube.client import Object
from understudy.kube.resources import CONFIG_MAP, NETWORK_POLICY, NODE, POD, SECRET, SERVICE, Resource

# Keys that the reflector adds beside the object's own fields; no Kubernetes object has them at its root.
FOREIGN: Final = "understudyForeignManagers"
CONTENT_HASH: Final = "understudyContentHash"

_OWN_MANAGERS: Final = frozenset({MANAGER_CHILDREN, MANAGER_STATUS})
_METADATA: Final = (
    "name",
    "namespace",
    "uid",
    "resourceVersion",
    "generation",
    "labels",
    "annotations",
    "ownerReferences",
    "finalizers",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
)
_CLIENT_SIDE_APPLY: Final = "kubectl.kubernetes.io/last-applied-configuration"
_POD_SPEC: Final = ("nodeName", "schedulerName", "priorityClassName", "terminationGracePeriodSeconds")
_CONTAINER: Final = ("name", "image", "resources")
_POD_STATUS: Final = (
    "phase",
    "reason",
    "message",
    "podIP",
    "startTime",
    "conditions",
    "containerStatuses",
    "initContainerStatuses",
)
_NODE_STATUS: Final = ("capacity", "allocatable")
_NODE_CONDITION: Final = ("type", "status", "reason", "message")


def trim(resource: Resource, obj: Object) -> dict[str, Any]:
    """The part of `obj` that is kept; shares nested values with it and changes nothing in it."""
    body = _TRIMMERS.get(resource, _whole)(obj)
    kept: dict[str, Any] = {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": _metadata(obj["metadata"]),
        **body,
    }
    foreign = foreign_managers(obj["metadata"].get("managedFields") or ())
    if foreign:
        kept[FOREIGN] = foreign
    return kept


def foreign_managers(managed_fields: Iterable[Mapping[str, Any]]) -> str:
    """A mark of which fields are owned by managers other than the operator; empty if there are none.

    Writes of status do not count, writes through the scale subresource do: replicas are ours. The
    mark changes when the set of fields changes, not when the same fields are written again.
    """
    entries = sorted(
        orjson.dumps([entry.get("manager"), entry.get("operation"), entry.get("fieldsV1")], option=orjson.OPT_SORT_KEYS)
        for entry in managed_fields
        if entry.get("manager") not in _OWN_MANAGERS and entry.get("subresource") != "status"
    )
    return hashlib.sha256(b"\n".join(entries)).hexdigest()[:16] if entries else ""


def content_hash(obj: Object) -> str:
    """SHA-256 (64 hexadecimal digits) of what a ConfigMap or Secret holds; metadata does not count."""
    content = [obj.get("data") or {}, obj.get("binaryData") or {}]
    return hashlib.sha256(orjson.dumps(content, option=orjson.OPT_SORT_KEYS)).hexdigest()


def _metadata(meta: Mapping[str, Any]) -> dict[str, Any]:
    kept = {key: meta[key] for key in _METADATA if key in meta}
    annotations = kept.get("annotations")
    if annotations and _CLIENT_SIDE_APPLY in annotations:
        kept["annotations"] = {k: v for k, v in annotations.items() if k != _CLIENT_SIDE_APPLY}
    return kept


def _whole(obj: Object) -> dict[str, Any]:
    return {key: value for key, value in obj.items() if key not in ("apiVersion", "kind", "metadata")}


def _content(obj: Object) -> dict[str, Any]:
    kept: dict[str, Any] = {CONTENT_HASH: content_hash(obj)}
    if "immutable" in obj:
        kept["immutable"] = obj["immutable"]
    return kept


def _presence(_obj: Object) -> dict[str, Any]:
    """Nothing but that it is there: whether it is as it was applied is told by its annotation and its managers."""
    return {}


def _pod(obj: Object) -> dict[str, Any]:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    containers = [{key: c[key] for key in _CONTAINER if key in c} for c in spec.get("containers") or ()]
    return {
        "spec": {**{key: spec[key] for key in _POD_SPEC if key in spec}, "containers": containers},
        "status": {key: status[key] for key in _POD_STATUS if key in status},
    }


def _node(obj: Object) -> dict[str, Any]:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    # Heartbeat times change every few minutes on every node and decide nothing.
    conditions = [{key: c[key] for key in _NODE_CONDITION if key in c} for c in status.get("conditions") or ()]
    return {
        "spec": {key: spec[key] for key in ("taints", "unschedulable") if key in spec},
        "status": {**{key: status[key] for key in _NODE_STATUS if key in status}, "conditions": conditions},
    }


_TRIMMERS: Final[Mapping[Resource, Callable[[Object], dict[str, Any]]]] = {
    SECRET: _content,
    CONFIG_MAP: _content,
    SERVICE: _presence,
    NETWORK_POLICY: _presence,
    POD: _pod,
    NODE: _node,
}
