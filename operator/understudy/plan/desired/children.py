"""The children of a ModelDeployment as manifests, one builder per kind.

Everything of a pool comes from the snapshot, verbatim: a new operator's builders reach new revisions only.
"""

import base64
from collections.abc import Mapping
from typing import Any, Final

from understudy.domain.names import (
    ANNOTATION_REPLICAS,
    API_VERSION,
    ENGINE_KEY_FIELD,
    ENGINE_PORT,
    ENGINE_PORT_NAME,
    ENGINE_TLS_PORT_NAME,
    LABEL_COMPONENT,
    LABEL_DEPLOYMENT,
    LABEL_INSTANCE,
    LABEL_MANAGED_BY,
    LABEL_NAME,
    MANAGED_BY,
    child_name,
    engine_key_secret,
    policy_name,
)
from understudy.domain.table import Table, table_spec
from understudy.plan.desired.metadata import labels, owner_reference, selector
from understudy.plan.desired.revision import Revision
from understudy.plan.desired.tls import speaks_tls
from understudy.plan.observed import Object

# Kubernetes' word for "no deadline": starts are judged by the planner, not by the Deployment controller.
NO_DEADLINE: Final = 2**31 - 1


def snapshot_manifest(revision: Revision) -> dict[str, Any]:
    """The record of a revision. No owner: it outlives the ModelDeployment."""
    return {
        "apiVersion": API_VERSION,
        "kind": "ModelSnapshot",
        "metadata": {
            "name": child_name(revision.deployment, revision.revision),
            "namespace": revision.namespace,
            "labels": labels(revision.deployment, revision.revision),
        },
        "spec": {
            "deployment": revision.deployment,
            "revision": revision.revision,
            "hash": revision.hash,
            "hashVersion": revision.hash_version,
            "model": {"name": revision.model, "spec": dict(revision.model_spec)},
            "intent": dict(revision.intent),
            "recorded": dict(revision.recorded),
            "podTemplate": dict(revision.template),
            "references": [
                {"kind": r.kind, "name": r.name, "hash": r.hash, **({"copy": r.copy} if r.copy else {})}
                for r in revision.references
            ],
            "identity": {
                "modelId": revision.identity.model_id,
                "root": revision.identity.root,
                "maxModelLen": revision.identity.max_model_len,
            },
            "startDeadlineSeconds": revision.start_deadline,
        },
    }


def pool_manifest(snapshot: Object, replicas: int, owner: Object) -> dict[str, Any]:
    """The Deployment that runs a revision: the snapshot's pod template as it stands, and `replicas` of it."""
    name, revision = snapshot["spec"]["deployment"], snapshot["spec"]["revision"]
    spec = {
        "replicas": replicas,
        "selector": {"matchLabels": selector(name, revision)},
        "template": snapshot["spec"]["podTemplate"],
        # The template never changes, so this only says what a foreign edit of it would do.
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
        "revisionHistoryLimit": 0,
        "progressDeadlineSeconds": NO_DEADLINE,
    }
    manifest = _owned("apps/v1", "Deployment", snapshot, owner, {"spec": spec})
    manifest["metadata"]["annotations"] = {ANNOTATION_REPLICAS: str(replicas)}
    return manifest


def service_manifest(snapshot: Object, owner: Object) -> dict[str, Any]:
    """The Service whose EndpointSlices tell gateways the revision's pods."""
    name = ENGINE_TLS_PORT_NAME if speaks_tls(snapshot["spec"]["podTemplate"]) else ENGINE_PORT_NAME
    port = {"name": name, "port": ENGINE_PORT, "targetPort": name, "protocol": "TCP"}
    pods = selector(snapshot["spec"]["deployment"], snapshot["spec"]["revision"])
    spec = {"type": "ClusterIP", "selector": pods, "ports": [port]}
    return _owned("v1", "Service", snapshot, owner, {"spec": spec})


def engine_key_manifest(snapshot: Object, key: str, owner: Object) -> dict[str, Any]:
    """The Secret with the revision's engine API key."""
    name, revision = snapshot["spec"]["deployment"], snapshot["spec"]["revision"]
    data = {ENGINE_KEY_FIELD: base64.b64encode(key.encode()).decode()}
    body = {"type": "Opaque", "immutable": True, "data": data}
    return _owned("v1", "Secret", snapshot, owner, body, engine_key_secret(name, revision))


def configmap_copy_manifest(snapshot: Object, source: Object, copy: str, owner: Object) -> dict[str, Any]:
    """A revision's immutable copy, named `copy`, of the ConfigMap `source`."""
    data = {name: source[name] for name in ("data", "binaryData") if source.get(name)}
    return _owned("v1", "ConfigMap", snapshot, owner, {"immutable": True, **data}, copy)


def table_manifest(table: Table, owner: Object) -> dict[str, Any]:
    """The RoutingTable of a ModelDeployment."""
    return {
        "apiVersion": API_VERSION,
        "kind": "RoutingTable",
        "metadata": _whole(owner, owner["metadata"]["name"]),
        "spec": table_spec(table),
    }


def policy_manifest(owner: Object, system_namespace: str) -> dict[str, Any]:
    """The NetworkPolicy of a ModelDeployment's pods, of whichever revision: the kubelet's probes always pass."""
    name = owner["metadata"]["name"]
    peer = {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": system_namespace}},
        "podSelector": {
            "matchLabels": {LABEL_NAME: MANAGED_BY},
            "matchExpressions": [{"key": LABEL_COMPONENT, "operator": "In", "values": ["gateway", "operator"]}],
        },
    }
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": _whole(owner, policy_name(name)),
        "spec": {
            "podSelector": {"matchLabels": {LABEL_DEPLOYMENT: name}},
            "policyTypes": ["Ingress"],
            "ingress": [{"ports": [{"port": ENGINE_PORT, "protocol": "TCP"}], "from": [peer]}],
        },
    }


def _whole(owner: Object, name: str) -> dict[str, Any]:
    """Metadata of a child that is not of one revision."""
    deployment = owner["metadata"]["name"]
    return {
        "name": name,
        "namespace": owner["metadata"]["namespace"],
        "labels": {LABEL_DEPLOYMENT: deployment, LABEL_MANAGED_BY: MANAGED_BY, LABEL_INSTANCE: deployment},
        "ownerReferences": [owner_reference(owner)],
    }


def _owned(
    api_version: str, kind: str, snapshot: Object, owner: Object, body: Mapping[str, Any], name: str = ""
) -> dict[str, Any]:
    deployment, revision = snapshot["spec"]["deployment"], snapshot["spec"]["revision"]
    return {
        "apiVersion": api_version,
        "kind": kind,
        "metadata": {
            "name": name or child_name(deployment, revision),
            "namespace": snapshot["metadata"]["namespace"],
            "labels": labels(deployment, revision),
            "ownerReferences": [owner_reference(owner)],
        },
        **body,
    }
