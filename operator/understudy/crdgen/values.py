"""The chart's values: defaults, meaning and bounds, from which values.yaml and its schema are generated."""

from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from understudy.crdgen.yamltext import to_yaml

_SCHEMA: Final = "http://json-schema.org/draft-07/schema#"
_CONFIG: Final = ConfigDict(
    alias_generator=to_camel, populate_by_name=True, extra="forbid", use_attribute_docstrings=True
)

Namespace = Annotated[str, Field(pattern="^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=63)]
Namespaces = Annotated[list[Namespace], Field(json_schema_extra={"uniqueItems": True})]
FreeForm = dict[str, Any]
Strings = dict[str, str]


class Image(BaseModel):
    """Image of operator and gateway."""

    model_config = _CONFIG

    repository: Annotated[str, Field(min_length=1)] = "understudy"
    """Where it is."""
    tag: str = ""
    """Which one; the chart's appVersion when empty."""
    digest: Annotated[str, Field(pattern="^(sha256:[0-9a-f]{64})?$")] = ""
    """Wins over the tag."""
    pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"
    """When it is pulled."""


class Crds(BaseModel):
    """CustomResourceDefinitions."""

    model_config = _CONFIG

    install: bool = True
    """Install and upgrade them with the chart. They stay when it is uninstalled, and with them all objects."""


class Resources(BaseModel):
    """What a container asks for."""

    model_config = _CONFIG

    requests: dict[str, str | int] = Field(default_factory=dict)
    """Guaranteed amounts."""
    limits: dict[str, str | int] = Field(default_factory=dict)
    """Upper bounds."""


class Operator(BaseModel):
    """The operator: one leads, the others stand by."""

    model_config = _CONFIG

    replicas: Annotated[int, Field(ge=0, le=9)] = 2
    """Pods."""
    args: list[str] = Field(default_factory=list)
    """Further arguments of `understudy operator`."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """How much it says."""
    resources: Resources = Resources(requests={"cpu": "100m", "memory": "128Mi"}, limits={"memory": "512Mi"})
    """What its container asks for."""
    pod_disruption_budget: bool = True
    """Keep one pod through voluntary disruptions."""
    node_selector: Strings = Field(default_factory=dict)
    """Nodes it may run on."""
    tolerations: list[FreeForm] = Field(default_factory=list)
    """Taints it tolerates."""
    affinity: FreeForm = Field(default_factory=dict)
    """Further preferences; pods are spread over nodes anyway."""
    priority_class_name: str = ""
    """Its priority class."""
    service_account_annotations: Strings = Field(default_factory=dict)
    """Annotations of its ServiceAccount."""


class Service(BaseModel):
    """How clients reach the gateway."""

    model_config = _CONFIG

    type: Literal["ClusterIP", "NodePort", "LoadBalancer"] = "ClusterIP"
    """Kind of Service."""
    port: Annotated[int, Field(ge=1, le=65535)] = 8080
    """Port of the Service."""
    node_port: Annotated[int, Field(ge=30000, le=32767)] | None = None
    """Port on every node, for types NodePort and LoadBalancer; chosen by the cluster when null."""
    annotations: Strings = Field(default_factory=dict)
    """Annotations of the Service."""


class ClientTls(BaseModel):
    """TLS between clients and gateways."""

    model_config = _CONFIG

    secret_name: Annotated[str, Field(pattern="^([a-z0-9]([-a-z0-9.]*[a-z0-9])?)?$", max_length=253)] = ""
    """Secret with tls.crt and tls.key, in the release's namespace, as cert-manager writes them; a renewed one is taken
    while the gateways run. Empty: plain HTTP."""


class RequestLog(BaseModel):
    """A line of JSON for each request, in a folder of each gateway's pod, gone with it."""

    model_config = _CONFIG

    enabled: bool = False
    """Keep it, in requests.jsonl. It has no keys or conversations, and texts only where a ModelDeployment says so."""
    size: Annotated[str, Field(pattern="^[0-9]+(Ki|Mi|Gi)$")] = "64Mi"
    """Room for it; the oldest half makes room for the newest."""
    percent: Annotated[float, Field(ge=0, le=100)] = 100
    """Share of requests that it has, and the records; those that failed they have all."""


class Gateway(BaseModel):
    """The gateway: answers clients."""

    model_config = _CONFIG

    replicas: Annotated[int, Field(ge=0, le=999)] = 2
    """Pods."""
    args: list[str] = Field(default_factory=list)
    """Further arguments of `understudy gateway`."""
    workers: Annotated[int, Field(ge=1, le=64)] = 1
    """Processes that carry requests in each pod: one for each CPU that it may use."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """How much it says."""
    auth: Literal["keys", "none"] = "keys"
    """Access keys, or everybody who can reach the port."""
    url: Annotated[str, Field(pattern="^(https?://[^\\s]+)?$")] = ""
    """Address that clients use, shown in status.url; the Service's when empty."""
    tls: ClientTls = ClientTls()
    """TLS between clients and gateways."""
    service: Service = Service()
    """How clients reach it."""
    shutdown_timeout: Annotated[int, Field(ge=1, le=3600)] = 120
    """How many seconds open requests may take to end when a pod stops."""
    snapshot_size: Annotated[str, Field(pattern="^[0-9]+(Ki|Mi|Gi)$")] = "64Mi"
    """Room for the copy of tables and keys that a restarted gateway serves from."""
    pairs_size: Annotated[str, Field(pattern="^[0-9]+(Ki|Mi|Gi)$")] = "64Mi"
    """Room for the texts that stable and a shadow answered, where a ModelDeployment has text kept."""
    request_log: RequestLog = RequestLog()
    """A line of JSON for each request, in a folder of its pod, /var/spool/understudy."""
    resources: Resources = Resources(requests={"cpu": "200m", "memory": "128Mi"}, limits={"memory": "1Gi"})
    """What its container asks for."""
    pod_disruption_budget: bool = True
    """Keep one pod through voluntary disruptions."""
    node_selector: Strings = Field(default_factory=dict)
    """Nodes it may run on."""
    tolerations: list[FreeForm] = Field(default_factory=list)
    """Taints it tolerates."""
    affinity: FreeForm = Field(default_factory=dict)
    """Further preferences; pods are spread over nodes anyway."""
    priority_class_name: str = ""
    """Its priority class."""
    service_account_annotations: Strings = Field(default_factory=dict)
    """Annotations of its ServiceAccount."""


class Storage(BaseModel):
    """Where the records' database lies, unless it is a server's."""

    model_config = _CONFIG

    persistent: bool = True
    """On a PersistentVolumeClaim, which stays when the chart is uninstalled. Else in the pod: what was spent is
    forgotten with it."""
    size: Annotated[str, Field(pattern="^[0-9]+(Mi|Gi|Ti)$")] = "1Gi"
    """How large that is: a key with a budget takes some kilobytes, a request that is recorded a quarter of one."""
    storage_class: str | None = None
    """Of the claim; the cluster's default when null."""


Kept = Annotated[str, Field(pattern="^([0-9]+(ms|s|m|h))+$")]


class RequestRecords(BaseModel):
    """A row for each request, without texts, keys or conversations."""

    model_config = _CONFIG

    enabled: bool = False
    """Let gateways bring them, the share gateway.requestLog.percent. A million takes some 250 MB in SQLite: give the
    database room, since the ledger grants nothing on a full disk."""
    keep: Kept = "720h"
    """For how long."""
    keep_violations: Kept = "720h"
    """And what guardrails found."""
    keep_engagement: Kept = "2160h"
    """And what happened around players."""
    keep_decisions: Kept = "8760h"
    """And how rollouts were judged, and what became of revisions."""
    spool: Annotated[str, Field(pattern="^[0-9]+(Ki|Mi|Gi)$")] = "64Mi"
    """Room for what waits in each gateway's pod; then the oldest make way, counted."""


class Records(BaseModel):
    """The records: the ledger of budgets, and a row for each request."""

    model_config = _CONFIG

    enabled: bool = False
    """Run the ledger, and let gateways ask it: keys with a budget are refused without."""
    requests: RequestRecords = RequestRecords()
    """A row for each request."""
    database_secret: Annotated[str, Field(pattern="^([a-z0-9]([-a-z0-9.]*[a-z0-9])?)?$", max_length=253)] = ""
    """Secret with the key `url`, in the release's namespace: postgresql://user:password@host:5432/name. Empty: SQLite
    in a file on `storage`."""
    subject_keys_secret: Annotated[str, Field(pattern="^([a-z0-9]([-a-z0-9.]*[a-z0-9])?)?$", max_length=253)] = ""
    """Secret with a key `1`, at least 32 random bytes, that identifiers are hashed with; empty: none is stored."""
    args: list[str] = Field(default_factory=list)
    """Further arguments of `understudy records`."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """How much it says."""
    storage: Storage = Storage()
    """Where its database lies."""
    resources: Resources = Resources(requests={"cpu": "50m", "memory": "128Mi"}, limits={"memory": "512Mi"})
    """What its container asks for."""
    node_selector: Strings = Field(default_factory=dict)
    """Nodes it may run on."""
    tolerations: list[FreeForm] = Field(default_factory=list)
    """Taints it tolerates."""
    affinity: FreeForm = Field(default_factory=dict)
    """Further preferences."""
    priority_class_name: str = ""
    """Its priority class."""
    service_account_annotations: Strings = Field(default_factory=dict)
    """Annotations of its ServiceAccount."""


class Rbac(BaseModel):
    """Roles."""

    model_config = _CONFIG

    aggregate: bool = True
    """Let the cluster's roles admin, edit and view include Understudy's kinds."""


class AdminTls(BaseModel):
    """Certificate of the gateways' admin port, and of the records."""

    model_config = _CONFIG

    existing_secret: str = ""
    """Secret with tls.crt, tls.key and ca.crt for the name understudy-gateway.<namespace>.svc. Empty: the chart makes
    one at the first install and keeps it; renderers without a cluster (Argo CD) need one of your own."""


class EngineTls(BaseModel):
    """TLS to engines, of ModelDeployments that say `spec.engine.tls`."""

    model_config = _CONFIG

    secret_name: Annotated[str, Field(pattern="^([a-z0-9]([-a-z0-9.]*[a-z0-9])?)?$", max_length=253)] = ""
    """Secret in the release's namespace, for gateways and operator: ca.crt are the authorities whose engines they
    trust; tls.crt and tls.key, if they are there, are shown to engines that ask for a certificate. Renewed ones are
    taken while they run. Empty: no engine is trusted, and spec.engine.tls is refused."""


class NetworkPolicy(BaseModel):
    """NetworkPolicies; a network plug-in that knows them must enforce them."""

    model_config = _CONFIG

    enabled: bool = True
    """Make them: for operator and gateway, and for engines."""
    engines: bool = True
    """Let the operator make one for each ModelDeployment, so that its engines answer to gateways and operator only."""


class ServiceMonitor(BaseModel):
    """Scraping by the Prometheus operator."""

    model_config = _CONFIG

    enabled: bool = False
    """Make ServiceMonitors; needs monitoring.coreos.com/v1."""
    interval: Annotated[str, Field(pattern="^[0-9]+(ms|s|m)$")] = "30s"
    """How often."""
    labels: Strings = Field(default_factory=dict)
    """Labels that your Prometheus selects by."""
    gateway_subject: Annotated[str, Field(pattern="^(system:serviceaccount:[-a-z0-9]+:[-a-z0-9.]+)?$")] = ""
    """Who may read metrics of gateways and records: system:serviceaccount:monitoring:prometheus; empty: nobody."""
    gateway_token_file: str = "/var/run/secrets/understudy/token"  # noqa: S105 - a path
    """In Prometheus' pod: its projected ServiceAccount token with the audience understudy."""


class PrometheusRule(BaseModel):
    """Alerts, for the Prometheus operator. Without it: `rule_files` of Prometheus takes files/alerts.yaml as it is."""

    model_config = _CONFIG

    enabled: bool = False
    """Make a PrometheusRule; needs monitoring.coreos.com/v1."""
    labels: Strings = Field(default_factory=dict)
    """Labels that your Prometheus selects by."""


class Dashboard(BaseModel):
    """Dashboard of Grafana."""

    model_config = _CONFIG

    enabled: bool = False
    """Make a ConfigMap with it, for the sidecar of Grafana's chart. Without it: import files/dashboard.json."""
    labels: Strings = Field(default_factory=dict)
    """Labels that your sidecar looks for, beside grafana_dashboard: '1'."""
    annotations: Strings = Field(default_factory=dict)
    """Annotations, such as the folder that the sidecar puts it into."""


class Values(BaseModel):
    """Values of the chart understudy."""

    model_config = _CONFIG

    image: Image = Image()
    """Image of operator and gateway."""
    image_pull_secrets: list[Strings] = Field(default_factory=list)
    """Secrets for its registry, as `[{name: …}]`."""
    sim_image: str = ""
    """Image of simulated engines that name none; the same image when empty."""
    watch_namespaces: Namespaces = Field(default_factory=list)
    """Namespaced mode: work in these namespaces only. They must exist. Empty: in all."""
    privileged_namespaces: Namespaces = Field(default_factory=list)
    """Namespaces whose podTemplates may ask for privileged containers and host paths."""
    crds: Crds = Crds()
    """CustomResourceDefinitions."""
    rbac: Rbac = Rbac()
    """Roles."""
    pod_annotations: Strings = Field(default_factory=dict)
    """Annotations of all pods."""
    pod_labels: Strings = Field(default_factory=dict)
    """Labels of all pods."""
    operator: Operator = Operator()
    """The operator."""
    gateway: Gateway = Gateway()
    """The gateway."""
    records: Records = Records()
    """The records: the ledger of budgets."""
    admin_tls: AdminTls = AdminTls()
    """Certificate of the gateways' admin port, and of the records."""
    engine_tls: EngineTls = EngineTls()
    """TLS to engines, of ModelDeployments that say `spec.engine.tls`."""
    network_policy: NetworkPolicy = NetworkPolicy()
    """NetworkPolicies."""
    service_monitor: ServiceMonitor = ServiceMonitor()
    """Scraping."""
    prometheus_rule: PrometheusRule = PrometheusRule()
    """Alerts."""
    dashboard: Dashboard = Dashboard()
    """Dashboard of Grafana."""
    global_: Annotated[FreeForm, Field(alias="global")] = Field(default_factory=dict)
    """For charts that include this one; not read."""


def values_schema() -> dict[str, Any]:
    """JSON Schema (draft 7, which Helm 3 and 4 both read) of the values."""
    return {"$schema": _SCHEMA, **_untitled(Values.model_json_schema(by_alias=True))}


def values_yaml() -> str:
    """The default values, each with its meaning."""
    defaults = Values().model_dump(mode="json", by_alias=True)
    del defaults["global"]
    return "\n".join(_commented(defaults, Values, 0)) + "\n"


def _commented(values: dict[str, Any], model: type[BaseModel], depth: int) -> list[str]:
    lines: list[str] = []
    indent = "  " * depth
    for field in model.model_fields.values():
        name = str(field.alias)
        if name not in values:
            continue
        lines += [f"{indent}# {line.strip()}" for line in (field.description or "").splitlines()]
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            lines += [f"{indent}{name}:", *_commented(values[name], inner, depth + 1)]
        else:
            lines += [f"{indent}{line}" for line in to_yaml({name: values[name]}).splitlines()]
    return lines


def _untitled(value: Any) -> Any:
    """Without pydantic's titles, which repeat the names; a field that is called title stays."""
    if isinstance(value, dict):
        return {key: _untitled(item) for key, item in value.items() if not (key == "title" and isinstance(item, str))}
    if isinstance(value, list):
        return [_untitled(item) for item in value]
    return value
