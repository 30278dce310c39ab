"""What the ServiceAccounts may and may not do: asked of a real API server, as those accounts."""

import copy
from collections.abc import Iterator
from typing import Any

import pytest

from tests.api.server import Answer, Server, collection, until
from tests.chart.helm import SYSTEM, TEAMS, VALUE_SETS, Helm, Object, of_kind
from understudy.domain.names import MASTER_KEY_SECRET

pytestmark = pytest.mark.cluster

KINDS = ("ServiceAccount", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding")
ELSEWHERE = "default"


@pytest.fixture(scope="module", params=["cluster-wide", "namespaced"])
def mode(request: pytest.FixtureRequest, helm: Helm, cluster: Server) -> Iterator[str]:
    """The roles of one mode as one Helm renders them, written to the cluster and removed again."""
    values = VALUE_SETS["namespaced"] if request.param == "namespaced" else {}
    values = {**values, "records": {"enabled": True, "requests": {"enabled": True}}}
    objects = of_kind(helm.render(values), *KINDS)
    for obj in objects:
        answer = cluster.apply(obj, "understudy-chart-tests")
        assert answer.ok, answer.message
    # The server's authorizer hears of roles a moment after they are stored or deleted.
    until(lambda: _in_force(cluster, request.param))
    yield request.param
    for obj in objects:
        cluster.delete(obj)


def _in_force(cluster: Server, mode: str) -> Answer:
    """Whether each component has its rights as far as it must, and no further."""
    everywhere = mode == "cluster-wide"
    wanted = [
        *((row, place, True) for row in WATCHED for place in TEAMS),
        *((row, ELSEWHERE, everywhere) for row in WATCHED),
        *((row, SYSTEM, True) for row in SYSTEM_RIGHTS),
        *((row, "", True) for row in ASKING),
        (("operator", "nodes", ("list",)), "", everywhere),
    ]
    off = [
        (row, at) for row, at, may in wanted for verb in row[2] if _allowed(cluster, row[0], verb, row[1], at) != may
    ]
    return Answer(409 if off else 200, {"message": str(off)})


def _account(component: str) -> str:
    return f"system:serviceaccount:{SYSTEM}:understudy-{component}"


def _allowed(cluster: Server, component: str, verb: str, resource: str, namespace: str, name: str = "") -> bool:
    kind, _, group = resource.partition(".")
    kind, _, subresource = kind.partition("/")
    attributes = {"verb": verb, "group": group, "resource": kind, "subresource": subresource, "namespace": namespace}
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": attributes | ({"name": name} if name else {})},
    }
    path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    answer = cluster.request("POST", path, review, user=_account(component))
    assert answer.ok, answer.message
    return bool(answer.body["status"]["allowed"])


_OWN = ("get", "list", "watch", "create", "patch", "delete")
_READ = ("get", "list", "watch")
# Component, resource, verbs: in every watched namespace.
WATCHED = [
    ("operator", "modeldeployments.understudy.dev", _READ),
    ("operator", "models.understudy.dev", _READ),
    ("operator", "guardrails.understudy.dev", _READ),
    ("operator", "modelsnapshots.understudy.dev", _OWN),
    ("operator", "routingtables.understudy.dev", _OWN),
    ("operator", "modeldeployments/status.understudy.dev", ("patch",)),
    ("operator", "models/status.understudy.dev", ("patch",)),
    ("operator", "guardrails/status.understudy.dev", ("patch",)),
    ("operator", "modelsnapshots/status.understudy.dev", ("patch",)),
    ("operator", "modeldeployments/finalizers.understudy.dev", ("update",)),
    ("operator", "deployments.apps", _OWN),
    ("operator", "services", _OWN),
    ("operator", "secrets", _OWN),
    ("operator", "configmaps", _OWN),
    ("operator", "networkpolicies.networking.k8s.io", _OWN),
    ("operator", "pods", _READ),
    ("operator", "events", ("create", "patch")),
    ("gateway", "routingtables.understudy.dev", _READ),
    ("gateway", "endpointslices.discovery.k8s.io", _READ),
    ("gateway", "configmaps", ("get",)),
    ("records", "modelsnapshots.understudy.dev", _READ),
]
# In the system namespace.
SYSTEM_RIGHTS = [
    ("operator", "leases.coordination.k8s.io", ("get", "create", "update")),
    ("operator", "secrets", ("create",)),
    ("operator", "pods", _READ),
    ("gateway", "secrets", _READ),
    ("gateway", "endpointslices.discovery.k8s.io", _READ),
]
# For the whole cluster.
ASKING: list[tuple[str, str, tuple[str, ...]]] = [
    ("gateway", "tokenreviews.authentication.k8s.io", ("create",)),
    ("records", "tokenreviews.authentication.k8s.io", ("create",)),
    ("records", "subjectaccessreviews.authorization.k8s.io", ("create",)),
]
# In no mode and nowhere.
NEVER = [
    ("operator", "modeldeployments.understudy.dev", ("create", "update", "patch", "delete")),
    ("operator", "models.understudy.dev", ("update", "patch", "delete")),
    ("operator", "guardrails.understudy.dev", ("update", "patch", "delete")),
    ("operator", "pods", ("create", "delete", "patch")),
    ("operator", "pods/exec", ("create",)),
    ("operator", "pods/log", ("get",)),
    ("operator", "serviceaccounts", ("create", "impersonate")),
    ("operator", "serviceaccounts/token", ("create",)),
    ("operator", "roles.rbac.authorization.k8s.io", ("create", "patch", "bind", "escalate")),
    ("operator", "statefulsets.apps", ("create", "delete")),
    ("operator", "deployments.apps", ("deletecollection",)),
    ("operator", "secrets", ("deletecollection",)),
    ("gateway", "routingtables.understudy.dev", ("create", "patch", "delete")),
    ("gateway", "modeldeployments.understudy.dev", ("get", "list", "patch")),
    ("gateway", "secrets", ("create", "patch", "delete")),
    ("gateway", "pods", ("get", "list", "delete")),
    ("gateway", "configmaps", ("list", "watch", "create", "patch", "delete")),
    ("gateway", "endpointslices.discovery.k8s.io", ("create", "patch", "delete")),
    ("records", "secrets", ("get", "list", "create")),
    ("records", "modeldeployments.understudy.dev", ("get", "list", "patch")),
    ("records", "pods", ("get", "list", "delete")),
    ("records", "modeldeployments/requests.understudy.dev", ("get",)),
    ("records", "modelsnapshots.understudy.dev", ("create", "patch", "delete")),
]
CLUSTER_NEVER = [
    ("operator", "nodes", ("patch", "delete")),
    ("operator", "namespaces", ("create", "delete")),
    ("operator", "customresourcedefinitions.apiextensions.k8s.io", ("create", "patch", "delete")),
    ("operator", "clusterroles.rbac.authorization.k8s.io", ("create", "bind", "escalate")),
    ("gateway", "nodes", ("get", "list")),
    ("gateway", "subjectaccessreviews.authorization.k8s.io", ("create",)),
]


def _table(rows: list[tuple[str, str, tuple[str, ...]]]) -> list[tuple[str, str, str]]:
    return [(component, resource, verb) for component, resource, verbs in rows for verb in verbs]


@pytest.mark.parametrize(("component", "resource", "verb"), _table(WATCHED))
def test_allowed_where_it_works(mode: str, cluster: Server, component: str, resource: str, verb: str) -> None:
    for team in TEAMS:
        assert _allowed(cluster, component, verb, resource, team)
    # Namespaced mode ends at the namespaces; cluster-wide mode has none.
    in_system = any((component, resource) == row[:2] and verb in row[2] for row in SYSTEM_RIGHTS)
    assert _allowed(cluster, component, verb, resource, ELSEWHERE) == (mode == "cluster-wide")
    assert _allowed(cluster, component, verb, resource, SYSTEM) == (mode == "cluster-wide" or in_system)


@pytest.mark.parametrize(("component", "resource", "verb"), _table(SYSTEM_RIGHTS))
def test_allowed_in_the_system_namespace(mode: str, cluster: Server, component: str, resource: str, verb: str) -> None:
    assert _allowed(cluster, component, verb, resource, SYSTEM)


@pytest.mark.parametrize(("component", "resource", "verb"), _table(NEVER))
def test_denied_everywhere(mode: str, cluster: Server, component: str, resource: str, verb: str) -> None:
    for namespace in (SYSTEM, *TEAMS, ELSEWHERE):
        assert not _allowed(cluster, component, verb, resource, namespace), namespace


@pytest.mark.parametrize(("component", "resource", "verb"), _table(CLUSTER_NEVER))
def test_denied_on_the_cluster(mode: str, cluster: Server, component: str, resource: str, verb: str) -> None:
    assert not _allowed(cluster, component, verb, resource, "")


def test_gateways_read_secrets_in_their_own_namespace_alone(mode: str, cluster: Server) -> None:
    for namespace in (*TEAMS, ELSEWHERE, ""):
        assert not _allowed(cluster, "gateway", "list", "secrets", namespace)


def test_the_master_key_is_the_only_secret_that_a_namespaced_operator_reads_in_the_system(
    mode: str, cluster: Server
) -> None:
    assert _allowed(cluster, "operator", "get", "secrets", SYSTEM, MASTER_KEY_SECRET)
    other = _allowed(cluster, "operator", "get", "secrets", SYSTEM, "understudy-admin-tls")
    assert other == (mode == "cluster-wide")


@pytest.mark.parametrize(("component", "resource", "verb"), _table(ASKING))
def test_those_who_are_asked_ask_whose_a_token_is_and_records_who_may_read_them(
    mode: str, cluster: Server, component: str, resource: str, verb: str
) -> None:
    assert _allowed(cluster, component, verb, resource, "")


def test_nodes_are_read_by_a_cluster_wide_operator(mode: str, cluster: Server) -> None:
    assert _allowed(cluster, "operator", "list", "nodes", "") == (mode == "cluster-wide")


def _child(kind: str, version: str, spec: Any) -> Object:
    metadata = {"name": "as-the-operator", "namespace": TEAMS[0]}
    return {"apiVersion": version, "kind": kind, "metadata": metadata, **spec}


CHILDREN = [
    _child(
        "Deployment",
        "apps/v1",
        {
            "spec": {
                "selector": {"matchLabels": {"a": "b"}},
                "template": {
                    "metadata": {"labels": {"a": "b"}},
                    "spec": {"containers": [{"name": "engine", "image": "understudy:dev"}]},
                },
            }
        },
    ),
    _child("Service", "v1", {"spec": {"ports": [{"port": 8000}]}}),
    _child("ConfigMap", "v1", {"data": {"a": "b"}}),
    _child("Secret", "v1", {"stringData": {"a": "b"}}),
]


@pytest.mark.parametrize("child", CHILDREN, ids=lambda child: child["kind"])
def test_the_operator_applies_and_deletes_children(mode: str, cluster: Server, child: Object) -> None:
    path = f"{collection(child)}/{child['metadata']['name']}"
    query = {"fieldManager": "understudy", "force": "true"}
    owned = copy.deepcopy(child)
    answer = cluster.request("PATCH", path, owned, "application/apply-patch+yaml", user=_account("operator"), **query)
    assert answer.ok, answer.message
    assert cluster.request("DELETE", path, user=_account("operator")).ok
    elsewhere = copy.deepcopy(child)
    elsewhere["metadata"]["namespace"] = ELSEWHERE
    answer = cluster.request(
        "PATCH",
        f"{collection(elsewhere)}/{child['metadata']['name']}",
        elsewhere,
        "application/apply-patch+yaml",
        user=_account("operator"),
        dryRun="All",
        **query,
    )
    assert answer.status == (201 if mode == "cluster-wide" else 403)


def test_nobody_gets_a_wildcard(helm: Helm) -> None:
    for values in VALUE_SETS.values():
        for role in of_kind(helm.render(values), "Role", "ClusterRole"):
            for rule in role["rules"]:
                assert "*" not in (*rule["verbs"], *rule["resources"], *rule["apiGroups"])
