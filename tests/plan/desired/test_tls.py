"""An engine that speaks TLS: what its pods get, and what of that is the revision's."""

from dataclasses import replace
from typing import Any

import pytest

from tests.plan.desired.specs import HASH, SETTINGS, Manifest, attempt, deployment, engine, env, pod, refuse, render
from understudy.plan.desired.children import service_manifest, snapshot_manifest
from understudy.plan.desired.refusal import Missing

PAIR: Any = {("Secret", "pair"): HASH}
PROBES = ("startupProbe", "readinessProbe", "livenessProbe")
KINDS = pytest.mark.parametrize("kind", ["vllm", "sim"])


def tls(kind: str = "vllm", **more: Any) -> Manifest:
    """A deployment whose engine speaks TLS."""
    return deployment(type=kind, engine={"tls": {"secretRef": {"name": "pair"}, **more}})


@KINDS
def test_the_engine_is_told_where_its_certificate_is_and_to_look_at_it_again(kind: str) -> None:
    revision = render(tls(kind), references=PAIR)
    assert [arg for arg in engine(revision)["args"] if "ssl" in arg] == [
        "--ssl-certfile=/etc/understudy/tls/tls.crt",
        "--ssl-keyfile=/etc/understudy/tls/tls.key",
        "--enable-ssl-refresh",
    ]
    mount = {"name": "engine-tls", "mountPath": "/etc/understudy/tls", "readOnly": True}
    assert mount in engine(revision)["volumeMounts"]
    # Readable by the group that the pod's volumes get, and by nobody else.
    secret = {"secretName": "pair", "defaultMode": 0o440}
    assert {"name": "engine-tls", "secret": secret} in pod(revision)["volumes"]


def test_vllm_looks_at_the_names_of_its_files_as_the_kubelet_swaps_what_is_behind_them() -> None:
    assert env(engine(render(tls(), references=PAIR)))["WATCHFILES_FORCE_POLLING"] == "true"
    assert "WATCHFILES_FORCE_POLLING" not in env(engine(render(deployment())))


@KINDS
def test_the_kubelet_asks_by_tls(kind: str) -> None:
    container = engine(render(tls(kind), references=PAIR))
    assert container["ports"] == [{"name": "https", "containerPort": 8000, "protocol": "TCP"}]
    for name in PROBES:
        assert container[name]["httpGet"] == {"path": "/health", "port": "https", "scheme": "HTTPS"}


@KINDS
def test_where_clients_must_show_a_certificate_the_kubelet_only_looks_at_the_port(kind: str) -> None:
    container = engine(render(tls(kind, requireClientCertificate=True), references=PAIR))
    assert {"--ssl-ca-certs=/etc/understudy/tls/ca.crt", "--ssl-cert-reqs=2"} <= set(container["args"])
    for name in PROBES:
        assert container[name]["tcpSocket"] == {"port": "https"}
        assert "httpGet" not in container[name]


@pytest.mark.parametrize(("spec", "name"), [(tls(), "https"), (deployment(), "http")])
def test_the_port_of_the_service_says_what_is_spoken_there(spec: Manifest, name: str) -> None:
    service = service_manifest(snapshot_manifest(render(spec, references=PAIR)), spec)
    (port,) = service["spec"]["ports"]
    assert port == {"name": name, "port": 8000, "targetPort": name, "protocol": "TCP"}


def test_a_renewed_certificate_is_no_new_revision_and_nothing_that_has_drifted() -> None:
    revision = render(tls(), references=PAIR)
    assert render(tls(), references={("Secret", "pair"): "cd" * 32}).hash == revision.hash
    assert revision.references == ()


def test_speaking_tls_is_a_new_revision_and_so_is_another_secret() -> None:
    others = {**PAIR, ("Secret", "other"): HASH}
    specs = (deployment(), tls(), tls(secretRef={"name": "other"}), tls(requireClientCertificate=True))
    assert len({render(spec, references=others).hash for spec in specs}) == len(specs)


@pytest.mark.parametrize("references", [{}, {("Secret", "pair"): None}])
def test_a_secret_that_is_not_there_is_waited_for(references: Any) -> None:
    assert attempt(tls(), references=references) == Missing((("Secret", "pair"),))


def test_a_secret_that_is_also_read_otherwise_is_missed_once() -> None:
    spec = tls()
    spec["spec"]["engine"]["envFrom"] = [{"secretRef": {"name": "pair"}}]
    assert attempt(spec) == Missing((("Secret", "pair"),))


def test_an_installation_that_trusts_nobody_says_so_at_once() -> None:
    refusal = refuse(tls(), references=PAIR, settings=replace(SETTINGS, engine_tls=False))
    assert refusal.message == (
        "spec.engine.tls: nobody could speak to its pods: this installation trusts no authority for engines;"
        " remove it, or have the chart's engineTls.secretName set"
    )


@KINDS
@pytest.mark.parametrize(
    "arg",
    ["--ssl-certfile=x", "--ssl-keyfile=x", "--ssl_ca_certs", "--ssl-cert-reqs=0", "--ssl", "--enable-ssl-refresh"],
)
def test_flags_for_it_are_refused_with_the_field_to_write(kind: str, arg: str) -> None:
    refusal = refuse(deployment(type=kind, engine={"args": [arg]}))
    assert (refusal.path, refusal.instead) == ("spec.engine.args[0]", "write spec.engine.tls")
