"""What operator, gateway and records may do: the one list that the chart's roles are made of.

Each rule says why it is there. Reading Secrets is the widest right: engines' keys, and Secrets that pods
consume, are hashed to see a change; namespaced mode narrows it.
"""

from dataclasses import dataclass
from typing import Any, Final

from understudy.crdgen.yamltext import to_yaml
from understudy.domain.names import GROUP, MASTER_KEY_SECRET

_READ: Final = ("get", "list", "watch")
_OWN: Final = ("create", "delete", "get", "list", "patch", "watch")


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of a Role: these verbs on these resources of this API group, `names` narrows to objects."""

    group: str
    resources: tuple[str, ...]
    verbs: tuple[str, ...]
    why: str
    names: tuple[str, ...] = ()

    def as_rule(self) -> dict[str, Any]:
        """The entry of a Role's `rules`."""
        narrowed = {"resourceNames": list(self.names)} if self.names else {}
        return {
            "apiGroups": [self.group],
            "resources": list(self.resources),
            "verbs": list(self.verbs),
            **narrowed,
        }


OPERATOR_WATCHED: Final = (
    Rule(GROUP, ("guardrails", "modeldeployments", "models"), _READ, "what users write"),
    Rule(GROUP, ("modelsnapshots", "routingtables"), _OWN, "records of revisions, and what gateways serve by"),
    Rule(
        GROUP,
        ("guardrails/status", "modeldeployments/status", "models/status", "modelsnapshots/status"),
        ("get", "patch"),
        "status; a spec is never written",
    ),
    Rule(GROUP, ("modeldeployments/finalizers",), ("update",), "children block their owner's deletion"),
    Rule("apps", ("deployments",), _OWN, "one pool of pods per revision"),
    Rule(
        "",
        ("configmaps", "secrets", "services"),
        _OWN,
        "engine keys, copies of ConfigMaps, policies of Guardrails, one Service per revision",
    ),
    Rule(
        "networking.k8s.io", ("networkpolicies",), _OWN, "only gateways and the operator reach a deployment's engines"
    ),
    Rule("", ("pods",), _READ, "why a pool is not ready"),
    Rule("", ("events",), ("create", "patch"), "what happened, for kubectl describe"),
)
OPERATOR_CLUSTER: Final = (Rule("", ("nodes",), _READ, "which nodes are lost: pods there brand no revision"),)
OPERATOR_SYSTEM: Final = (
    Rule("coordination.k8s.io", ("leases",), ("create", "get", "update"), "leader election"),
    Rule("", ("secrets",), ("create",), "the master key, made once"),
    Rule("", ("secrets",), ("get", "patch"), "the master key, and keys that it does not yield", (MASTER_KEY_SECRET,)),
    Rule("", ("pods",), _READ, "which gateways there are"),
)
GATEWAY_WATCHED: Final = (
    Rule(GROUP, ("routingtables",), _READ, "what to serve by"),
    Rule("discovery.k8s.io", ("endpointslices",), _READ, "addresses of engines"),
    Rule("", ("configmaps",), ("get",), "policies of Guardrails, by the names that tables have of them"),
)
GATEWAY_CLUSTER: Final = (Rule("authentication.k8s.io", ("tokenreviews",), ("create",), "who asks on the admin port"),)
GATEWAY_SYSTEM: Final = (
    Rule("", ("secrets",), _READ, "access keys, the engines' master key"),
    Rule("discovery.k8s.io", ("endpointslices",), _READ, "how many gateways share the limits of keys"),
)
RECORDS_WATCHED: Final = (Rule(GROUP, ("modelsnapshots",), _READ, "how rollouts were judged, and what came of them"),)
RECORDS_CLUSTER: Final = (
    Rule("authentication.k8s.io", ("tokenreviews",), ("create",), "who asks the ledger"),
    Rule("authorization.k8s.io", ("subjectaccessreviews",), ("create",), "who may read records"),
)
# Parts of deployments that the API server has no objects for: who may read records there is asked of its RBAC.
RECORDS_READER: Final = (
    Rule(
        GROUP,
        ("modeldeployments/engagement", "modeldeployments/requests", "modeldeployments/violations"),
        ("get",),
        "records of people: bound to nobody; bind it in a namespace, or (engagement, all namespaces) cluster-wide",
    ),
)
USERS_EDIT: Final = (
    Rule(
        GROUP,
        ("guardrails", "modeldeployments", "modeldeployments/scale", "models"),
        ("create", "delete", "deletecollection", "patch", "update"),
        "added to the roles admin and edit",
    ),
    Rule(GROUP, ("modelsnapshots",), ("patch",), "to keep a record; its spec cannot be changed by anybody"),
)
USERS_VIEW: Final = (
    Rule(
        GROUP,
        ("guardrails", "modeldeployments", "modelsnapshots", "models", "routingtables"),
        _READ,
        "added to the roles admin, edit and view",
    ),
    Rule(GROUP, ("modeldeployments/decisions", "modeldeployments/history"), ("get",), "what records have of rollouts"),
)

BLOCKS: Final = {
    "operator.watched": OPERATOR_WATCHED,
    "operator.cluster": OPERATOR_CLUSTER,
    "operator.system": OPERATOR_SYSTEM,
    "gateway.watched": GATEWAY_WATCHED,
    "gateway.cluster": GATEWAY_CLUSTER,
    "gateway.system": GATEWAY_SYSTEM,
    "records.watched": RECORDS_WATCHED,
    "records.cluster": RECORDS_CLUSTER,
    "records.reader": RECORDS_READER,
    "users.edit": USERS_EDIT,
    "users.view": USERS_VIEW,
}


def template() -> str:
    """The chart's named templates, one per list of rules."""
    return "\n".join(_define(name, rules) for name, rules in BLOCKS.items())


def _define(name: str, rules: tuple[Rule, ...]) -> str:
    entries = "".join(f"# {rule.why}\n{to_yaml([rule.as_rule()])}" for rule in rules)
    return f'{{{{- define "understudy.rules.{name}" -}}}}\n{entries}{{{{- end }}}}\n'
