"""Kopf's thread: it ends when it is told to, and its end is not overlooked when it is not."""

import asyncio
import os
import queue
import subprocess
import sys
import threading
import uuid
from typing import Any

import kopf
import pytest

from understudy.handlers.thread import KopfThread
from understudy.kube.aio import connect
from understudy.kube.resources import MODEL, NAMESPACE


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
    assert deaths.said.get(timeout=120) == "Kopf failed: RuntimeError('the CRD was deleted')"
    thread.stop()


def test_an_end_that_nobody_asked_for_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    async def ending(**_: Any) -> None:
        return None

    pretend(monkeypatch, ending)
    deaths = Deaths()
    thread = KopfThread(lambda _work: None, (), deaths)
    thread.start()
    assert deaths.said.get(timeout=120) == "Kopf ended by itself"
    thread.stop()


def test_an_end_that_was_asked_for_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    running = threading.Event()

    async def waiting(stop_flag: threading.Event, **_: Any) -> None:
        running.set()
        stop_flag.wait(120)

    pretend(monkeypatch, waiting)
    deaths = Deaths()
    thread = KopfThread(lambda _work: None, (), deaths)
    thread.start()
    assert running.wait(120)
    thread.stop(120)
    assert deaths.said.empty()


def test_one_that_never_began_is_stopped_all_the_same() -> None:
    deaths = Deaths()
    KopfThread(lambda _work: None, (), deaths).stop()
    assert deaths.said.empty()


# In a process of its own: Kopf leaves connections open when it ends, which would be blamed on some later test.
WATCH = """
import sys
from understudy.handlers.thread import KopfThread
thread = KopfThread(lambda work: print(work.kind, work.key, flush=True), (sys.argv[1],), sys.exit)
thread.start()
sys.stdin.read()
thread.stop(60)
"""


@pytest.mark.cluster
async def test_on_a_real_cluster_a_new_object_wakes_its_key_and_nothing_is_written_to_it(kubeconfig: str) -> None:
    api = await connect(kubeconfig)
    namespace = f"kopf-{uuid.uuid4().hex[:8]}"
    await api.create(NAMESPACE, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    watcher = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        WATCH,
        namespace,
        env={**os.environ, "KUBECONFIG": kubeconfig},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert watcher.stdin is not None
        assert watcher.stdout is not None
        told = asyncio.create_task(watcher.stdout.readline())
        names: list[str] = []
        async with asyncio.timeout(180):
            while not told.done():  # what is there before it watches is no news to it
                names.append(f"a-{len(names)}")
                spec = {"source": {"enginePath": "/models/a"}, "tasks": ["chat"]}
                meta = {"name": names[-1], "namespace": namespace}
                await api.create(
                    MODEL, {"apiVersion": MODEL.api_version, "kind": "Model", "metadata": meta, "spec": spec}
                )
                await asyncio.wait([told], timeout=1)
        kind, _, key = told.result().decode().rstrip().partition(" ")
        assert kind == "Model"
        assert key in [f"{namespace}/{name}" for name in names]
        after = await api.get(MODEL, namespace, key.partition("/")[2])
        assert after["metadata"].get("finalizers") is None
        assert after["metadata"].get("annotations") is None
        # The operator of an installation beside this test may have written the status by now.
        managers = {entry["manager"] for entry in after["metadata"]["managedFields"] if not entry.get("subresource")}
        assert len(managers) == 1
        watcher.stdin.close()
        async with asyncio.timeout(120):
            assert await watcher.wait() == 0
    finally:
        if watcher.returncode is None:
            watcher.kill()
            await watcher.wait()
        await api.delete(NAMESPACE, "", namespace)
        await api.close()
