"""What the chart makes of its values, and that a real API server takes it."""

import argparse
import base64
import json
import ssl
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.api.server import Server
from tests.chart.helm import CHART, ROOT, SYSTEM, TEAMS, VALUE_SETS, Helm, Object, component_args, of_kind, only
from understudy.domain import names
from understudy.domain.quantity import parse_quantity
from understudy.plan.desired.children import policy_manifest
from understudy.records.retention import Keep

pytestmark = pytest.mark.cluster
each_set = pytest.mark.parametrize("values", VALUE_SETS.values(), ids=VALUE_SETS.keys())


@each_set
def test_lint_is_content(helm: Helm, values: dict[str, Any]) -> None:
    done = helm.run("lint", str(CHART), "--strict", values=values)
    assert done.returncode == 0, done.stdout + done.stderr


@each_set
def test_the_api_server_takes_every_object(helm: Helm, cluster: Server, values: dict[str, Any]) -> None:
    for obj in helm.render(values):
        if obj["kind"] in ("ServiceMonitor", "PrometheusRule"):
            continue  # their CRDs belong to the Prometheus operator; the tests of monitoring look at their fields
        answer = cluster.apply(obj, "understudy-chart-tests", dryRun="All", fieldValidation="Strict")
        assert answer.ok, (obj["kind"], obj["metadata"]["name"], answer.message)


@each_set
def test_no_object_is_made_twice(helm: Helm, values: dict[str, Any]) -> None:
    keys = [(o["kind"], o["metadata"].get("namespace"), o["metadata"]["name"]) for o in helm.render(values)]
    assert len(set(keys)) == len(keys)


@each_set
def test_pods_live_under_the_restricted_standard_without_a_warning(
    helm: Helm, cluster: Server, values: dict[str, Any]
) -> None:
    for deployment in of_kind(helm.render(values), "Deployment"):
        answer = cluster.apply(deployment, "understudy-chart-tests", dryRun="All")
        assert answer.ok
        assert answer.warnings == ()
        template = deployment["spec"]["template"]
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "as-rendered", "namespace": SYSTEM},
            "spec": template["spec"] | {"serviceAccountName": "default"},
        }
        # Admission of a Pod enforces; of a Deployment it only warns.
        answer = cluster.create(pod, dryRun="All")
        assert answer.ok, answer.message
        assert answer.warnings == ()


@each_set
def test_the_commands_know_every_argument(helm: Helm, values: dict[str, Any]) -> None:
    for deployment in of_kind(helm.render(values), "Deployment"):
        component_args(deployment)


def _args(helm: Helm, component: str, values: dict[str, Any] | None = None) -> argparse.Namespace:
    return component_args(only(helm.render(values or {}), "Deployment", f"understudy-{component}"))


def _pod(helm: Helm, component: str, values: dict[str, Any] | None = None) -> Object:
    deployment = only(helm.render(values or {}), "Deployment", f"understudy-{component}")
    spec: Object = deployment["spec"]["template"]["spec"]
    return spec


def test_probes_ask_the_admin_port_by_tls(helm: Helm) -> None:
    container = _pod(helm, "gateway")["containers"][0]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == {"http": names.GATEWAY_DATA_PORT, "admin": names.GATEWAY_ADMIN_PORT}
    for probe, path in (("livenessProbe", "/healthz"), ("readinessProbe", "/readyz"), ("startupProbe", "/healthz")):
        assert container[probe]["httpGet"] == {"path": path, "port": "admin", "scheme": "HTTPS"}


@pytest.mark.parametrize("seconds", [1, 120, 3600])
def test_a_gateway_is_given_more_time_than_it_takes_to_drain(helm: Helm, seconds: int) -> None:
    values = {"gateway": {"shutdownTimeout": seconds}}
    pod, args = _pod(helm, "gateway", values), _args(helm, "gateway", values)
    assert args.shutdown_timeout == seconds
    assert pod["terminationGracePeriodSeconds"] >= args.grace + args.shutdown_timeout


@pytest.mark.parametrize("number", [1, 4])
def test_the_gateway_has_as_many_workers_as_are_asked_for(helm: Helm, number: int) -> None:
    assert _args(helm, "gateway", {"gateway": {"workers": number}}).workers == number


@pytest.mark.parametrize("size", ["1Ki", "64Mi"])
def test_the_gateway_has_a_folder_for_texts_of_pairs_and_keeps_to_its_size(helm: Helm, size: str) -> None:
    values = {"gateway": {"pairsSize": size}}
    pod, args = _pod(helm, "gateway", values), _args(helm, "gateway", values)
    assert args.pairs_size == int(parse_quantity(size))
    mount = next(m for m in pod["containers"][0]["volumeMounts"] if m["name"] == "pairs")
    assert str(args.pairs_dir) == mount["mountPath"]
    assert next(v for v in pod["volumes"] if v["name"] == "pairs") == {"name": "pairs", "emptyDir": {}}


def test_gateways_count_the_pods_of_their_own_service(helm: Helm) -> None:
    services = [o["metadata"]["name"] for o in helm.render({}) if o["kind"] == "Service"]
    assert _args(helm, "gateway").gateway_service in services


def test_without_records_there_is_nothing_of_them(helm: Helm) -> None:
    assert not [o for o in helm.render({}) if "records" in o["metadata"]["name"]]
    assert _args(helm, "gateway").ledger is None


def test_gateways_ask_the_records_with_a_token_and_by_the_certificate_that_these_show(helm: Helm) -> None:
    objects = helm.render(VALUE_SETS["records"])
    gateway = _args(helm, "gateway", dict(VALUE_SETS["records"]))
    served = _args(helm, "records", dict(VALUE_SETS["records"]))
    assert gateway.ledger == f"https://understudy-records.{SYSTEM}.svc:{served.port}"
    (port,) = only(objects, "Service", "understudy-records")["spec"]["ports"]
    assert port["port"] == served.port
    assert gateway.ledger_server_name == f"understudy-gateway.{SYSTEM}.svc"
    assert served.subject == [f"system:serviceaccount:{SYSTEM}:understudy-gateway"]
    assert (served.only, served.auth) == ("ledger", "token")
    pod = _pod(helm, "gateway", dict(VALUE_SETS["records"]))
    mounts = {mount["name"]: mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    (token,) = volumes["ledger-token"]["projected"]["sources"]
    assert token["serviceAccountToken"]["audience"] == names.ADMIN_AUDIENCE
    assert gateway.ledger_token == f"{mounts['ledger-token']}/{token['serviceAccountToken']['path']}"
    # The CA and no more: both show the same certificate, but each by its own copy of the key.
    assert volumes["ledger-ca"]["secret"]["items"] == [{"key": "ca.crt", "path": "ca.crt"}]
    assert gateway.ledger_ca == f"{mounts['ledger-ca']}/ca.crt"


def test_the_records_keep_their_database_where_the_values_say(helm: Helm) -> None:
    for values, volume in (
        (VALUE_SETS["records"], {"persistentVolumeClaim": {"claimName": "understudy-records"}}),
        (VALUE_SETS["records-in-their-pod"], {"emptyDir": {"sizeLimit": "1Gi"}}),
    ):
        pod, args = _pod(helm, "records", dict(values)), _args(helm, "records", dict(values))
        mount = next(m for m in pod["containers"][0]["volumeMounts"] if m["name"] == "database")
        assert args.database == f"sqlite:///{mount['mountPath']}/records.db"
        assert next(v for v in pod["volumes"] if v["name"] == "database") == {"name": "database", **volume}
    claim = only(helm.render(VALUE_SETS["records"]), "PersistentVolumeClaim")
    assert claim["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    assert claim["spec"]["storageClassName"] == "fast"
    assert claim["spec"]["resources"] == {"requests": {"storage": "10Gi"}}
    assert of_kind(helm.render(VALUE_SETS["records-in-their-pod"]), "PersistentVolumeClaim") == []
    usual = only(helm.render({"records": {"enabled": True}}), "PersistentVolumeClaim")
    assert "storageClassName" not in usual["spec"]


def test_the_records_database_may_be_a_servers_whose_url_is_a_secret(helm: Helm) -> None:
    values = dict(VALUE_SETS["records-of-requests"])
    pod, args = _pod(helm, "records", values), _args(helm, "records", values)
    mount = next(m for m in pod["containers"][0]["volumeMounts"] if m["name"] == "database")
    secret = next(v for v in pod["volumes"] if v["name"] == "database")["secret"]
    assert (secret["secretName"], str(args.database_file)) == ("postgresql", f"{mount['mountPath']}/url")
    assert secret["items"] == [{"key": "url", "path": "url"}]
    assert of_kind(helm.render(values), "PersistentVolumeClaim") == []


def test_secrets_that_identifiers_are_hashed_with_are_mounted_where_they_are_looked_for(helm: Helm) -> None:
    assert _args(helm, "records", dict(VALUE_SETS["records"])).subject_keys is None
    values = dict(VALUE_SETS["records-of-requests"])
    pod, args = _pod(helm, "records", values), _args(helm, "records", values)
    mount = next(m for m in pod["containers"][0]["volumeMounts"] if m["name"] == "subject-keys")
    assert (mount["mountPath"], mount["readOnly"]) == (str(args.subject_keys), True)
    assert next(v for v in pod["volumes"] if v["name"] == "subject-keys")["secret"]["secretName"] == "subject-keys"


def test_records_of_requests_are_opt_in_and_brought_as_the_ledger_is_asked(helm: Helm) -> None:
    without = _args(helm, "gateway", dict(VALUE_SETS["records"]))
    assert (without.records, without.records_dir) == (None, None)
    values = dict(VALUE_SETS["records-of-requests"])
    gateway, served = _args(helm, "gateway", values), _args(helm, "records", values)
    assert (served.only, served.keep) == (None, 48 * 3600)
    assert (gateway.records, gateway.records_ca) == (gateway.ledger, gateway.ledger_ca)
    assert (gateway.records_token, gateway.records_server_name) == (gateway.ledger_token, gateway.ledger_server_name)
    # The log itself is not kept; its share holds for the records all the same.
    assert (gateway.requests_dir, gateway.requests_percent, gateway.records_size) == (None, 25, 8 * 2**20)
    pod = _pod(helm, "gateway", values)
    mounts = [mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"] if not mount.get("readOnly")]
    assert any(str(gateway.records_dir).startswith(f"{mount}/") for mount in mounts)


def test_each_kind_of_record_is_kept_for_as_long_as_the_values_say(helm: Helm) -> None:
    usual = _args(helm, "records", {"records": {"enabled": True, "requests": {"enabled": True}}})
    kept = (usual.keep, usual.keep_violations, usual.keep_engagement, usual.keep_decisions)
    assert kept == tuple(Keep().seconds()[kind] for kind in ("requests", "violations", "engagement", "decisions"))
    hours = {"keep": "1h", "keepViolations": "2h", "keepEngagement": "3h", "keepDecisions": "4h"}
    args = _args(helm, "records", {"records": {"enabled": True, "requests": {"enabled": True, **hours}}})
    assert (args.keep, args.keep_violations, args.keep_engagement, args.keep_decisions) == (3600, 7200, 10800, 14400)


def test_records_of_rollouts_are_of_the_namespaces_that_are_watched_and_records_are_read_by_whom_somebody_lets(
    helm: Helm,
) -> None:
    records = {"enabled": True, "requests": {"enabled": True}}
    for namespaces in ([], list(TEAMS)):
        values = {"records": records, "watchNamespaces": namespaces}
        assert _args(helm, "records", values).watch_namespace == namespaces
        objects = helm.render(values)
        bound = [
            o["metadata"].get("namespace", "")
            for o in of_kind(objects, "RoleBinding", "ClusterRoleBinding")
            if o["subjects"][0]["name"] == "understudy-records" and "cluster" not in o["roleRef"]["name"]
        ]
        assert bound == (namespaces or [""])
        reader = only(objects, "ClusterRole", f"understudy:{SYSTEM}:records-reader")
        assert {verb for rule in reader["rules"] for verb in rule["verbs"]} == {"get"}
        bindings = of_kind(objects, "RoleBinding", "ClusterRoleBinding")
        assert reader["metadata"]["name"] not in {o["roleRef"]["name"] for o in bindings}


def test_the_records_are_one_pod_that_gateways_alone_reach(helm: Helm) -> None:
    objects = helm.render(VALUE_SETS["records"])
    deployment = only(objects, "Deployment", "understudy-records")["spec"]
    assert (deployment["replicas"], deployment["strategy"]) == (1, {"type": "Recreate"})
    (rule,) = only(objects, "NetworkPolicy", "understudy-records")["spec"]["ingress"]
    assert rule["ports"] == [{"port": "ledger"}]
    assert [peer["podSelector"]["matchLabels"]["app.kubernetes.io/component"] for peer in rule["from"]] == ["gateway"]


def test_the_request_log_is_opt_in_and_lies_in_the_folder_that_can_be_written(helm: Helm) -> None:
    assert _args(helm, "gateway").requests_dir is None
    args = _args(helm, "gateway", dict(VALUE_SETS["logged"]))
    assert (args.requests_dir, args.requests_size, args.requests_percent) == (args.pairs_dir, 8 * 2**20, 0.5)


def test_the_operator_shows_a_token_for_the_gateways_alone(helm: Helm) -> None:
    pod = _pod(helm, "operator")
    volume = next(v for v in pod["volumes"] if v["name"] == "admin-token")
    source = volume["projected"]["sources"][0]["serviceAccountToken"]
    assert source["audience"] == names.ADMIN_AUDIENCE
    mount = next(m for m in pod["containers"][0]["volumeMounts"] if m["name"] == "admin-token")
    args = _args(helm, "operator")
    assert args.admin_token == f"{mount['mountPath']}/{source['path']}"
    # The CA and no more: the operator has no use for the gateways' private key.
    ca = next(v for v in pod["volumes"] if v["name"] == "admin-ca")
    assert ca["secret"]["items"] == [{"key": "ca.crt", "path": "ca.crt"}], (
        "the operator must not hold the gateways' key"
    )


def test_the_gateway_admits_the_operators_account_on_its_admin_port(helm: Helm) -> None:
    args = _args(helm, "gateway")
    assert args.admin_subject == [f"system:serviceaccount:{SYSTEM}:understudy-operator"]


def test_the_certificate_is_for_the_name_that_the_operator_asks_for(helm: Helm, tmp_path: Path) -> None:
    secret = only(helm.render({}), "Secret", "understudy-admin-tls")
    files = {key: tmp_path / key for key in secret["data"]}
    for key, path in files.items():
        path.write_bytes(base64.b64decode(secret["data"][key]))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(files["tls.crt"], files["tls.key"])
    client = ssl.create_default_context(cafile=str(files["ca.crt"]))
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        server.wrap_bio(to_server, to_client, server_side=True),
        client.wrap_bio(to_client, to_server, server_hostname=f"understudy-gateway.{SYSTEM}.svc"),
    ]
    for _ in range(4):
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
    assert ends[1].version()


def test_a_certificate_of_ones_own_is_mounted_instead(helm: Helm) -> None:
    objects = helm.render(VALUE_SETS["own-certificate"])
    assert of_kind(objects, "Secret") == []
    mounted = {
        volume["secret"]["secretName"]
        for deployment in of_kind(objects, "Deployment")
        for volume in deployment["spec"]["template"]["spec"]["volumes"]
        if "secret" in volume
    }
    assert mounted == {"mine"}


def test_clients_are_served_by_tls_from_a_secret_where_one_is_named(helm: Helm) -> None:
    for values, secret in (({}, None), (VALUE_SETS["tls"], "models-example-tls")):
        objects = helm.render(values)
        pod, args = _pod(helm, "gateway", dict(values)), _args(helm, "gateway", dict(values))
        mounts = {mount["mountPath"]: mount["name"] for mount in pod["containers"][0]["volumeMounts"]}
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        mounted = None if args.tls_dir is None else volumes[mounts[str(args.tls_dir)]]["secret"]
        assert (mounted and mounted["secretName"], "tls" in volumes) == (secret, secret is not None)
        (port,) = only(objects, "Service", "understudy-gateway")["spec"]["ports"]
        assert port.get("appProtocol") == ("https" if secret else None)


def test_whom_to_trust_among_engines_lies_with_gateways_and_operator_alike(helm: Helm) -> None:
    for values, secret in (({}, None), (VALUE_SETS["engine-tls"], "engine-trust")):
        for component in ("gateway", "operator"):
            pod, args = _pod(helm, component, dict(values)), _args(helm, component, dict(values))
            mounts = {mount["mountPath"]: mount["name"] for mount in pod["containers"][0]["volumeMounts"]}
            volumes = {volume["name"]: volume for volume in pod["volumes"]}
            mounted = volumes[mounts[str(args.engine_tls_dir)]]["secret"] if args.engine_tls_dir else None
            assert (mounted and mounted["secretName"], "engine-tls" in volumes) == (secret, secret is not None)


def test_crds_are_those_of_the_crds_folder_and_stay_on_uninstall(helm: Helm) -> None:
    rendered = {obj["metadata"]["name"]: obj for obj in of_kind(helm.render({}), "CustomResourceDefinition")}
    for path in (ROOT / "crds").glob("*.yaml"):
        crd = rendered.pop(path.stem)
        assert crd["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
        assert crd["spec"] == yaml.safe_load(path.read_text())["spec"]
    assert rendered == {}


def test_crds_can_be_left_to_others(helm: Helm) -> None:
    assert of_kind(helm.render({"crds": {"install": False}}), "CustomResourceDefinition") == []


def test_one_pod_survives_voluntary_disruptions_where_there_are_two(helm: Helm) -> None:
    assert len(of_kind(helm.render({}), "PodDisruptionBudget")) == 2
    # With one pod a budget would only block drains for ever.
    assert of_kind(helm.render(VALUE_SETS["one-of-each"]), "PodDisruptionBudget") == []


@pytest.mark.parametrize(
    ("values", "url"),
    [
        ({}, f"http://understudy-gateway.{SYSTEM}:8080"),
        ({"gateway": {"service": {"port": 80}}}, f"http://understudy-gateway.{SYSTEM}"),
        ({"gateway": {"url": "https://models.example"}}, "https://models.example"),
        ({"gateway": {"tls": {"secretName": "mine"}}}, f"https://understudy-gateway.{SYSTEM}:8080"),
        (
            {"gateway": {"tls": {"secretName": "mine"}, "service": {"port": 443}}},
            f"https://understudy-gateway.{SYSTEM}",
        ),
    ],
)
def test_the_operator_knows_the_gateways_address(helm: Helm, values: dict[str, Any], url: str) -> None:
    assert _args(helm, "operator", values).gateway_url == url


@pytest.mark.parametrize(
    ("image", "reference"),
    [
        ({}, "understudy:0.1.0"),
        ({"repository": "r/x", "tag": "t"}, "r/x:t"),
        ({"tag": "t", "digest": "sha256:" + "a" * 64}, "understudy@sha256:" + "a" * 64),
    ],
)
def test_the_image_is_named_by_tag_or_digest(helm: Helm, image: dict[str, str], reference: str) -> None:
    for component in ("operator", "gateway"):
        assert _pod(helm, component, {"image": image})["containers"][0]["image"] == reference
    assert _args(helm, "operator", {"image": image}).sim_image == reference


def test_network_policies_let_in_whom_they_must(helm: Helm) -> None:
    objects = helm.render(VALUE_SETS["namespaced"])
    gateway = only(objects, "NetworkPolicy", "understudy-gateway")["spec"]
    assert gateway["ingress"][0] == {"ports": [{"port": "http"}]}
    admin = gateway["ingress"][1]
    assert admin["from"][0]["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "operator"
    assert {p["metadata"]["namespace"] for p in of_kind(objects, "NetworkPolicy")} == {SYSTEM}


@pytest.mark.parametrize(
    ("policy", "made"),
    [
        ({}, True),
        ({"engines": False}, False),
        ({"enabled": False}, False),
        ({"enabled": False, "engines": True}, False),
    ],
)
def test_the_operator_makes_policies_for_engines_unless_told_not_to(
    helm: Helm, policy: dict[str, bool], made: bool
) -> None:
    assert _args(helm, "operator", {"networkPolicy": policy}).engine_policies is made


def test_the_policy_that_the_operator_makes_lets_in_the_pods_of_the_chart(helm: Helm) -> None:
    owner = {"metadata": {"name": "tale", "namespace": "shop", "uid": "u"}}
    (rule,) = policy_manifest(owner, SYSTEM)["spec"]["ingress"]
    (peer,) = rule["from"]
    assert peer["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": SYSTEM}
    for component in ("operator", "gateway"):
        pod = only(helm.render({}), "Deployment", f"understudy-{component}")["spec"]["template"]["metadata"]
        assert peer["podSelector"]["matchLabels"].items() <= pod["labels"].items()
        (expression,) = peer["podSelector"]["matchExpressions"]
        assert pod["labels"][expression["key"]] in expression["values"]


def test_monitoring_is_opt_in_and_reads_gateways_by_tls(helm: Helm) -> None:
    assert of_kind(helm.render({}), "ServiceMonitor") == []
    objects = helm.render(VALUE_SETS["monitored"])
    assert only(objects, "ServiceMonitor", "understudy-operator")["metadata"]["labels"]["release"] == "prometheus"
    endpoint = only(objects, "ServiceMonitor", "understudy-gateway")["spec"]["endpoints"][0]
    assert endpoint["scheme"] == "https"
    assert endpoint["tlsConfig"]["serverName"] == f"understudy-gateway.{SYSTEM}.svc"
    args = only(objects, "Deployment", "understudy-gateway")["spec"]["template"]["spec"]["containers"][0]["args"]
    assert "--admin-subject=system:serviceaccount:monitoring:prometheus" in args


def test_records_are_read_by_who_may_read_gateways_and_may_not_spend(helm: Helm) -> None:
    assert _args(helm, "records", {"records": {"enabled": True}}).metrics_subject == []
    without = {**VALUE_SETS["monitored"], "records": {"enabled": False}}
    assert {o["metadata"]["name"] for o in of_kind(helm.render(without), "ServiceMonitor")} == {
        "understudy-operator",
        "understudy-gateway",
    }
    objects = helm.render(VALUE_SETS["monitored"])
    monitor = only(objects, "ServiceMonitor", "understudy-records")
    assert monitor["metadata"]["labels"]["release"] == "prometheus"
    service = only(objects, "Service", "understudy-records")
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    (endpoint,) = monitor["spec"]["endpoints"]
    assert endpoint["port"] == service["spec"]["ports"][0]["name"]
    assert (endpoint["scheme"], endpoint["tlsConfig"]["serverName"]) == ("https", f"understudy-gateway.{SYSTEM}.svc")
    args = _args(helm, "records", dict(VALUE_SETS["monitored"]))
    assert args.subject == [f"system:serviceaccount:{SYSTEM}:understudy-gateway"]
    assert args.metrics_subject == ["system:serviceaccount:monitoring:prometheus"]
    (rule,) = only(objects, "NetworkPolicy", "understudy-records")["spec"]["ingress"]
    assert rule["from"][1] == {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}


def test_alerts_and_dashboard_are_opt_in_and_those_of_the_files(helm: Helm) -> None:
    plain = helm.render({})
    assert of_kind(plain, "PrometheusRule") == of_kind(plain, "ConfigMap") == []
    objects = helm.render(VALUE_SETS["monitored"])
    rule = only(objects, "PrometheusRule")
    assert rule["metadata"]["labels"]["release"] == "prometheus"
    assert rule["spec"] == yaml.safe_load((CHART / "files" / "alerts.yaml").read_text())
    dashboard = only(objects, "ConfigMap", "understudy-dashboard")
    assert dashboard["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert dashboard["metadata"]["annotations"] == {"grafana_folder": "Models"}
    assert json.loads(dashboard["data"]["understudy.json"]) == json.loads(
        (CHART / "files" / "dashboard.json").read_text()
    )


REFUSED = [
    ({"gateway": {"auth": "nobody"}}, ["/gateway/auth", "keys", "none"]),
    ({"operator": {"replicas": -1}}, ["/operator/replicas"]),
    ({"operator": {"replicas": "two"}}, ["/operator/replicas", "integer"]),
    ({"gateway": {"servce": {}}}, ["/gateway", "servce"]),
    ({"gatway": {}}, ["gatway"]),
    ({"gateway": {"service": {"type": "NodePort", "nodePort": 80}}}, ["/gateway/service/nodePort", "30"]),
    ({"gateway": {"service": {"type": "Ingress"}}}, ["/gateway/service/type", "ClusterIP"]),
    ({"watchNamespaces": ["Team_A"]}, ["/watchNamespaces/0"]),
    ({"watchNamespaces": "team-a"}, ["/watchNamespaces", "array"]),
    ({"watchNamespaces": ["a", "a"]}, ["/watchNamespaces"]),
    ({"image": {"pullPolicy": "Sometimes"}}, ["/image/pullPolicy", "IfNotPresent"]),
    ({"image": {"digest": "latest"}}, ["/image/digest"]),
    ({"gateway": {"shutdownTimeout": "2m"}}, ["/gateway/shutdownTimeout", "integer"]),
    ({"serviceMonitor": {"gatewaySubject": "prometheus"}}, ["/serviceMonitor/gatewaySubject"]),
]


@pytest.mark.parametrize(("values", "words"), REFUSED, ids=lambda value: json.dumps(value)[:50])
def test_wrong_values_are_refused_with_their_path(helm: Helm, values: dict[str, Any], words: list[str]) -> None:
    done = helm.run("template", "understudy", str(CHART), values=values)
    assert done.returncode != 0
    # Helm 3 before 3.18 writes paths with dots.
    said = done.stderr.replace(".", "/")
    assert all(word in said for word in words), done.stderr
