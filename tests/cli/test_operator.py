"""`understudy operator`: what its flags mean, and how it ends."""

import argparse
import asyncio
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest

from understudy.cli import operator
from understudy.cli.main import main
from understudy.kube.aio import connect
from understudy.kube.client import Scope
from understudy.kube.resources import LEASE, NAMESPACE


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests' own logging stays as it is."""
    monkeypatch.setattr(operator, "configure", lambda _level: None)


def parsed(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    operator.add_arguments(parser)
    return parser.parse_args(words)


def test_defaults_suit_a_pod() -> None:
    options = operator._options(parsed())
    assert options.namespace == "understudy-system"
    assert options.watch_namespaces == ()
    assert options.metrics_port == 8081
    assert options.poll_interval == 1.0
    assert options.engine_policies is True
    assert options.lease_name == "understudy-operator"


def test_every_flag_reaches_the_options() -> None:
    words = (
        "--namespace sys --watch-namespace a --watch-namespace b --gateway-url http://g --identity pod-1 "
        "--admin-ca /ca --admin-token /token --metrics-port 9 --sim-image s:1 --poll-interval 500ms "
        "--prestop-seconds 3 --lease-name l --privileged-namespace p --workers 4 --no-engine-policies "
        "--engine-tls-dir /engines"
    )
    options = operator._options(parsed(*words.split()))
    assert options.namespace == "sys"
    assert options.watch_namespaces == ("a", "b")
    assert options.gateway_url == "http://g"
    assert options.identity.startswith("pod-1_")
    assert (options.admin_ca, options.admin_token) == ("/ca", "/token")
    assert (options.metrics_port, options.sim_image, options.workers) == (9, "s:1", 4)
    assert options.poll_interval == 0.5
    assert options.engine_policies is False
    assert options.engine_tls_dir == "/engines"
    assert (options.prestop_seconds, options.lease_name, options.privileged_namespaces) == (3, "l", ("p",))


def test_two_processes_of_one_name_have_two_identities() -> None:
    assert (
        operator._options(parsed("--identity", "a")).identity != operator._options(parsed("--identity", "a")).identity
    )


def test_in_a_pod_the_namespace_is_the_pods_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "namespace"
    path.write_text("elsewhere\n")
    monkeypatch.setattr(operator, "_NAMESPACE_FILE", path)
    assert operator._options(parsed()).namespace == "elsewhere"


@pytest.mark.parametrize(("text", "expected"), [("2", 2.0), ("0.25", 0.25), ("250ms", 0.25), ("1m", 60.0)])
def test_an_interval_is_seconds_or_a_duration(text: str, expected: float) -> None:
    assert parsed("--poll-interval", text).poll_interval == expected


def test_an_interval_that_is_none_says_what_to_write(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parsed("--poll-interval", "often")
    assert "write one such as 90s" in capsys.readouterr().err


def test_a_kubeconfig_that_is_not_there_ends_it_with_a_sentence(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", "")
    assert main(["operator", "--kubeconfig", "/nowhere/config"]) == 2
    assert capsys.readouterr().err.startswith("understudy operator: cannot read the kubeconfig /nowhere/config")


def test_neither_pod_nor_kubeconfig_ends_it_with_a_sentence(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    assert main(["operator"]) == 2
    assert "the service account of this pod" in capsys.readouterr().err


@pytest.mark.cluster
async def test_on_a_real_cluster_it_leads_and_on_sigterm_it_releases_the_lease(kubeconfig: str) -> None:
    namespace = f"operator-{uuid.uuid4().hex[:8]}"
    api = await connect(kubeconfig)
    await api.create(NAMESPACE, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    words = f"operator --kubeconfig {kubeconfig} --namespace {namespace} --watch-namespace {namespace} --metrics-port 0"
    command = [sys.executable, "-m", "understudy.cli.main", *words.split()]
    process = subprocess.Popen(command)  # noqa: ASYNC220 - started once, before anything else is awaited
    try:
        deadline = time.monotonic() + 180
        holder = ""
        while not holder:
            assert process.poll() is None, f"it ended with {process.returncode}"
            assert time.monotonic() < deadline, "it never came to lead"
            page = await api.list_page(Scope(LEASE, namespace))
            holder = next((lease["spec"].get("holderIdentity", "") for lease in page.items), "")
            await asyncio.sleep(0.2)
        process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(process.wait, 120) == 0
        lease = await api.get(LEASE, namespace, "understudy-operator")
        assert lease["spec"]["holderIdentity"] == ""
    finally:
        process.kill()
        process.wait()
        await api.delete(NAMESPACE, "", namespace)
        await api.close()


def test_it_does_not_start_without_an_authority_to_trust_in_the_folder_for_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["operator", f"--engine-tls-dir={tmp_path}"]) == 2
    assert f"understudy operator: {tmp_path}/ca.crt: want the certificates, in PEM" in capsys.readouterr().err
