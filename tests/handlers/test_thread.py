"""Kopf's thread: it ends when it is told to, and its end is not overlooked when it is not."""

import queue
import threading
import uuid
from typing import Any

import kopf
import pytest

from understudy.domain.key import Key
from understudy.engine.wake import Work
from understudy.handlers.thread import KopfThread
from understudy.kube.aio import connect
from understudy.kube.resources import MODEL, Resource

NAMESPACES = Resource("v1", "Namespace", "namespaces", namespaced=False)


class Deaths:
    """What was said at the thread's end."""

    def __init__(self) -> None:
        self.said: queue.Queue[str] = queue.Queue()

    def __call__(self, why: str) -> None:
        self.said.put(why)


def pretend(monkeypatch: pytest.MonkeyPatch, operator: Any) -> None:
    monkeypatch.setattr(kopf, "operator", operator)


def test_a_failure_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    async def failing(**_: Any) -> None:
        raise RuntimeError("the CRD was deleted")

    pretend(monkeypatch, failing)
    deaths = Deaths()
    thread = KopfThread(lambda _work: None, (), deaths)
    thread.start()
    assert deaths.said.get(timeout=30) == "Kopf failed: RuntimeError('the CRD was deleted')"
    thread.stop()


def test_an_end_that_nobody_asked_for_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    async def ending(**_: Any) -> None:
        return None

    pretend(monkeypatch, ending)
    deaths = Deaths()
    thread = KopfThread(lambda _work: None, (), deaths)
    thread.start()
    assert deaths.said.get(timeout=30) == "Kopf ended by itself"
    thread.stop()


def test_an_end_that_was_asked_for_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    running = threading.Event()

    async def waiting(stop_flag: threading.Event, **_: Any) -> None:
        running.set()
        stop_flag.wait(30)

    pretend(monkeypatch, waiting)
    deaths = Deaths()
    thread = KopfThread(lambda _work: None, (), deaths)
    thread.start()
    assert running.wait(30)
    thread.stop(30)
    assert deaths.said.empty()


@pytest.fixture
def in_cluster_config(kubeconfig: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("KUBECONFIG", kubeconfig)
    return kubeconfig


@pytest.mark.cluster
async def test_on_a_real_cluster_a_new_object_wakes_its_key_and_nothing_is_written_to_it(
    in_cluster_config: str,
) -> None:
    api = await connect(in_cluster_config)
    namespace = f"kopf-{uuid.uuid4().hex[:8]}"
    await api.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    woken: queue.Queue[Work] = queue.Queue()
    thread = KopfThread(woken.put, (namespace,), Deaths())
    thread.start()
    try:
        spec = {"source": {"enginePath": "/models/a"}, "tasks": ["chat"]}
        body = {
            "apiVersion": MODEL.api_version,
            "kind": "Model",
            "metadata": {"name": "a", "namespace": namespace},
            "spec": spec,
        }
        await api.create(MODEL, body)
        assert woken.get(timeout=60) == Work("Model", Key(namespace, "a"))
        after = await api.get(MODEL, namespace, "a")
        assert after["metadata"].get("finalizers") is None
        assert after["metadata"].get("annotations") is None
        # The operator of an installation beside this test may have written the status by now.
        managers = {entry["manager"] for entry in after["metadata"]["managedFields"] if not entry.get("subresource")}
        assert len(managers) == 1
    finally:
        thread.stop(30)
        await api.delete(NAMESPACES, "", namespace)
        await api.close()
