"""Kopf, by its low-level handlers alone: an event on one of our kinds enqueues a key, and that is all.

Kopf's high-level handlers keep state on the objects, add finalizers and miss deletions during a
relist; none of that is used. It writes nothing here. Truth comes from the reflector, which also
wakes keys: an event that Kopf does not see delays nothing.
"""

import dataclasses
import os
from collections.abc import Callable, Coroutine, Iterator, Sequence
from typing import Any

import kopf

from understudy.domain.key import Key
from understudy.domain.names import GROUP, VERSION
from understudy.engine.wake import Enqueue, Work, WorkKind

_KINDS: tuple[tuple[str, WorkKind], ...] = (
    ("modeldeployments", "ModelDeployment"),
    ("models", "Model"),
    ("guardrails", "Guardrail"),
)
_BACKOFFS = (0.5, 1, 2, 3, 5, 8)
_LONGEST = 15


class EndlessBackoffs:
    """Delays between retries that never run out: Kopf gives up for good when they do.

    Iterated afresh by every request, so it must be more than a generator.
    """

    def __iter__(self) -> Iterator[float]:
        yield from _BACKOFFS
        while True:
            yield _LONGEST


class NoDifferences(kopf.DiffBaseStorage):
    """Nothing to compare: who is told of events asks for no differences, and each object would be copied for them."""

    def build(self, **_: Any) -> Any:
        """What of an object differences would be looked for in."""
        return {}

    def fetch(self, **_: Any) -> None:
        """What was kept of it."""

    def store(self, **_: Any) -> None:
        """Keep it."""


def registry(enqueue: Enqueue) -> kopf.OperatorRegistry:
    """All handlers; `enqueue` must be safe to call from Kopf's thread."""
    handlers = kopf.OperatorRegistry()
    kopf.on.startup(registry=handlers, id="configure")(configure)
    kopf.on.login(registry=handlers, id="service-account")(login_in_cluster)
    kopf.on.login(registry=handlers, id="kubeconfig")(login_with_kubeconfig)
    for plural, kind in _KINDS:
        kopf.on.event(GROUP, VERSION, plural, registry=handlers, id=plural)(_waker(kind, enqueue))
    return handlers


def configure(settings: kopf.OperatorSettings, **_: Any) -> None:
    """Settings found on a real API server; each one answers to a way in which Kopf stops without it."""
    settings.posting.enabled = False
    settings.scanning.disabled = True  # no watch on CRDs and namespaces, nor the permissions for it
    settings.persistence.diffbase_storage = NoDifferences()
    settings.persistence.finalizer = f"{GROUP}/finalizer"  # unused unless a high-level handler slips in
    settings.watching.server_timeout = 300  # whole seconds: the API server refuses fractions
    settings.watching.connect_timeout = 10
    settings.watching.inactivity_timeout = 70  # bookmarks come every 60 s
    settings.watching.chunk_size = 100  # it reads each object into as many dicts, and what they take stays taken
    settings.networking.request_timeout = 30
    settings.networking.enforce_retry_after = True
    settings.networking.error_backoffs = EndlessBackoffs()
    settings.queueing.worker_limit = None
    settings.queueing.idle_timeout = 0.1  # else a list of thousands leaves as many tasks and queues for seconds
    settings.process.ultimate_exiting_timeout = None  # it would SIGKILL the whole process


def login_in_cluster(settings: kopf.OperatorSettings, **kwargs: Any) -> kopf.ConnectionInfo | None:
    """The pod's service account, at the address the kubelet gives: no need for DNS to be up."""
    info = kopf.login_with_service_account(settings=settings, **kwargs)
    host, port = os.environ.get("KUBERNETES_SERVICE_HOST"), os.environ.get("KUBERNETES_SERVICE_PORT")
    if info is None or not host or not port:
        return info
    return dataclasses.replace(info, server=f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}")


def login_with_kubeconfig(settings: kopf.OperatorSettings, **kwargs: Any) -> kopf.ConnectionInfo | None:
    """The file that KUBECONFIG names."""
    return kopf.login_with_kubeconfig(settings=settings, **kwargs)


def operator_arguments(namespaces: Sequence[str]) -> dict[str, Any]:
    """Where Kopf watches: the namespaces, or the whole cluster if there are none."""
    return {"namespaces": list(namespaces)} if namespaces else {"clusterwide": True}


def _waker(kind: WorkKind, enqueue: Enqueue) -> Callable[..., Coroutine[None, None, None]]:
    # Synchronous and instant, but a synchronous handler would cost a thread per event: hence the coroutine.
    async def wake(name: str, namespace: str, type: str | None, **_: Any) -> None:  # noqa: A002 - Kopf's name for it
        if type is not None:  # what Kopf lists when it begins, or begins anew, the reflector has told already
            enqueue(Work(kind, Key(namespace, name)))

    return wake
