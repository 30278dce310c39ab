"""Kopf does what it is told to do here, and no more."""

import asyncio
import itertools
from pathlib import Path
from typing import Any

import kopf
import pytest
from kopf._cogs.structs.references import Resource as KopfResource

from understudy.domain.key import Key
from understudy.engine.wake import Work
from understudy.handlers import wiring
from understudy.handlers.wiring import EndlessBackoffs, configure, login_in_cluster, operator_arguments, registry

KUBECONFIG = """
apiVersion: v1
kind: Config
current-context: here
contexts: [{name: here, context: {cluster: here, user: me}}]
clusters: [{name: here, cluster: {server: "https://127.0.0.1:6443"}}]
users: [{name: me, user: {token: secret}}]
"""


def settings() -> kopf.OperatorSettings:
    found = kopf.OperatorSettings()
    configure(found)
    return found


def test_only_low_level_handlers_are_registered() -> None:
    found = registry(lambda _work: None)
    assert len(found._watching.get_all_handlers()) == 3
    for high_level in (found._indexing, found._spawning, found._changing, found._webhooks):
        assert not list(high_level.get_all_handlers())


@pytest.mark.parametrize(
    ("plural", "kind"),
    [("modeldeployments", "ModelDeployment"), ("models", "Model"), ("guardrails", "Guardrail")],
)
async def test_an_event_enqueues_the_key_of_its_object(plural: str, kind: str) -> None:
    woken: list[Work] = []
    handlers: dict[str, Any] = {h.id: h.fn for h in registry(woken.append)._watching.get_all_handlers()}
    await handlers[plural](name="talk", namespace="shop", type="MODIFIED", body={}, logger=None)
    assert [(work.kind, work.key) for work in woken] == [(kind, Key("shop", "talk"))]


async def test_what_is_there_when_it_begins_wakes_nobody_again() -> None:
    woken: list[Work] = []
    for handler in registry(woken.append)._watching.get_all_handlers():
        listed: Any = handler.fn
        await listed(name="talk", namespace="shop", type=None, body={}, logger=None)
    assert woken == []


def test_each_handler_watches_our_group_and_one_kind() -> None:
    for handler in registry(lambda _work: None)._watching.get_all_handlers():
        assert handler.selector is not None
        resource = KopfResource(group="understudy.dev", version="v1alpha1", plural=str(handler.id))
        assert handler.selector.check(resource)
        assert not handler.selector.check(KopfResource(group="apps", version="v1", plural=str(handler.id)))


def test_it_writes_nothing_and_discovers_nothing() -> None:
    found = settings()
    assert found.posting.enabled is False
    assert found.scanning.disabled is True


def test_the_watch_asks_for_whole_seconds_and_outlives_the_pause_between_bookmarks() -> None:
    found = settings()
    server_timeout: Any = found.watching.server_timeout
    assert isinstance(server_timeout, int)
    assert found.watching.inactivity_timeout > 60


def test_it_lists_few_at_a_time() -> None:
    assert settings().watching.chunk_size == 100


def test_it_never_kills_the_process() -> None:
    assert settings().process.ultimate_exiting_timeout is None


def test_no_worker_limit_can_deadlock_it() -> None:
    assert settings().queueing.worker_limit is None


def test_retries_never_run_out_and_every_request_begins_afresh() -> None:
    backoffs = EndlessBackoffs()
    for _ in range(2):
        delays = list(itertools.islice(iter(backoffs), 1000))
        assert delays[0] == 0.5
        assert delays == sorted(delays)
        assert max(delays) == 15


def test_it_watches_what_the_operator_watches() -> None:
    assert operator_arguments(()) == {"clusterwide": True}
    assert operator_arguments(("a", "b")) == {"namespaces": ["a", "b"]}


def login(**kwargs: Any) -> kopf.ConnectionInfo | None:
    return login_in_cluster(settings=kopf.OperatorSettings(), **kwargs)


@pytest.mark.parametrize(
    ("host", "server"),
    [("10.96.0.1", "https://10.96.0.1:443"), ("fd00::1", "https://[fd00::1]:443")],
)
def test_in_a_pod_it_goes_to_the_address_it_was_given(monkeypatch: pytest.MonkeyPatch, host: str, server: str) -> None:
    info = kopf.ConnectionInfo(server="https://kubernetes.default.svc", token="t")
    monkeypatch.setattr(kopf, "login_with_service_account", lambda **_: info)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", host)
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    found = login()
    assert found is not None
    assert (found.server, found.token) == (server, "t")


def test_without_an_address_it_keeps_the_name(monkeypatch: pytest.MonkeyPatch) -> None:
    info = kopf.ConnectionInfo(server="https://kubernetes.default.svc")
    monkeypatch.setattr(kopf, "login_with_service_account", lambda **_: info)
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    assert login() is info


def test_outside_a_pod_there_is_no_service_account(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kopf, "login_with_service_account", lambda **_: None)
    assert login() is None


def test_outside_a_pod_it_reads_the_kubeconfig(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text(KUBECONFIG)
    monkeypatch.setenv("KUBECONFIG", str(path))
    found = wiring.login_with_kubeconfig(settings=kopf.OperatorSettings())
    assert found is not None
    assert (found.server, found.token) == ("https://127.0.0.1:6443", "secret")


def test_handlers_are_coroutines_so_that_no_event_costs_a_thread() -> None:
    for handler in registry(lambda _work: None)._watching.get_all_handlers():
        assert asyncio.iscoroutinefunction(handler.fn)
