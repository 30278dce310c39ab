"""Every kind the operator reads or writes: how its kind maps to a path on the API server."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

from understudy.domain.names import API_VERSION


@dataclass(frozen=True, slots=True, eq=False)
class Resource:
    """One kind as the API server addresses it. There is one value of each, below: it is compared and hashed as itself.

    That is done a hundred times for each deployment that is looked at.
    """

    api_version: str
    kind: str
    plural: str
    namespaced: bool = True

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """URL path of the collection, of one object, or of its subresource.

        An empty namespace means all namespaces (lists and watches) or a cluster-scoped object. ValueError for what
        no object is called: the API server would take it for another path, escaped or not.
        """
        root = f"/apis/{self.api_version}" if "/" in self.api_version else f"/api/{self.api_version}"
        parts = [root]
        if self.namespaced and namespace:
            parts.append(f"namespaces/{_segment(namespace)}")
        parts.extend(_segment(part) for part in (self.plural, name, subresource) if part)
        return "/".join(parts)


def _segment(word: str) -> str:
    if word in (".", "..") or "/" in word or "%" in word:
        raise ValueError(f"nothing is called {word!r:.80}")
    return quote(word, safe=":")


MODEL: Final = Resource(API_VERSION, "Model", "models")
MODEL_DEPLOYMENT: Final = Resource(API_VERSION, "ModelDeployment", "modeldeployments")
GUARDRAIL: Final = Resource(API_VERSION, "Guardrail", "guardrails")
MODEL_SNAPSHOT: Final = Resource(API_VERSION, "ModelSnapshot", "modelsnapshots")
ROUTING_TABLE: Final = Resource(API_VERSION, "RoutingTable", "routingtables")
DEPLOYMENT: Final = Resource("apps/v1", "Deployment", "deployments")
SERVICE: Final = Resource("v1", "Service", "services")
POD: Final = Resource("v1", "Pod", "pods")
SECRET: Final = Resource("v1", "Secret", "secrets")
CONFIG_MAP: Final = Resource("v1", "ConfigMap", "configmaps")
NETWORK_POLICY: Final = Resource("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies")
NODE: Final = Resource("v1", "Node", "nodes", namespaced=False)
NAMESPACE: Final = Resource("v1", "Namespace", "namespaces", namespaced=False)
EVENT: Final = Resource("v1", "Event", "events")
LEASE: Final = Resource("coordination.k8s.io/v1", "Lease", "leases")

OWN_KINDS: Final = (MODEL, MODEL_DEPLOYMENT, GUARDRAIL, MODEL_SNAPSHOT, ROUTING_TABLE)
_BY_KIND: Final[Mapping[tuple[str, str], Resource]] = {
    (r.api_version, r.kind): r
    for r in (*OWN_KINDS, DEPLOYMENT, SERVICE, POD, SECRET, CONFIG_MAP, NETWORK_POLICY, NODE, EVENT, LEASE)
}


def resource_of(obj: Mapping[str, Any]) -> Resource:
    """The resource of an object that carries apiVersion and kind; KeyError for a kind the operator never touches."""
    return _BY_KIND[obj["apiVersion"], obj["kind"]]


def resource_named(api_version: str, kind: str) -> Resource:
    """The resource of a kind; KeyError for one the operator never touches."""
    return _BY_KIND[api_version, kind]
