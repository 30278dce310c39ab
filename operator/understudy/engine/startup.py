"""What must be there before the operator works: the CRDs, and the master key of all engine API keys."""

import asyncio
import base64
import logging
import secrets
from collections.abc import Awaitable, Callable
from typing import TypeVar

from understudy.domain.names import API_VERSION, LABEL_MANAGED_BY, MANAGED_BY, MASTER_KEY_FIELD, MASTER_KEY_SECRET
from understudy.kube.client import KubeClient, Object
from understudy.kube.errors import ApiError, Conflict, NotFound, Retry
from understudy.kube.resources import OWN_KINDS, SECRET

log = logging.getLogger(__name__)

T = TypeVar("T")

_KEY_BYTES = 32
_PATIENCE = 120.0  # seconds; a pod that ends instead is started again ever more slowly


class CannotStartError(Exception):
    """The operator cannot work here; the message says what to do about it."""


async def check_crds(client: KubeClient) -> None:
    """Raises CannotStartError when the API server does not know all of our kinds.

    Kopf would only warn and then wait for ever.
    """
    served = await _patiently(lambda: client.plurals(API_VERSION))
    missing = [f"{kind.plural}.{API_VERSION.split('/')[0]}" for kind in OWN_KINDS if kind.plural not in served]
    if missing:
        raise CannotStartError(
            f"the cluster does not know {', '.join(missing)}: install the CRDs first "
            "(the Helm chart does, or kubectl apply --server-side -f crds/)"
        )


async def master_key(client: KubeClient, namespace: str) -> bytes:
    """The installation's random master key, made now if there is none (32 bytes).

    Raises CannotStartError when it can be neither read nor made.
    """
    return await _patiently(lambda: _read_or_make_key(client, namespace))


async def _read_or_make_key(client: KubeClient, namespace: str) -> bytes:
    try:
        return _key_in(await client.get(SECRET, namespace, MASTER_KEY_SECRET))
    except ApiError as error:
        if not isinstance(error.failure, NotFound):
            raise
    fresh = secrets.token_bytes(_KEY_BYTES)
    try:
        await client.create(
            SECRET,
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {
                    "name": MASTER_KEY_SECRET,
                    "namespace": namespace,
                    "labels": {LABEL_MANAGED_BY: MANAGED_BY},
                },
                "type": "Opaque",
                "data": {MASTER_KEY_FIELD: base64.b64encode(fresh).decode()},
            },
        )
    except ApiError as error:
        if not isinstance(error.failure, Conflict):
            raise
        return _key_in(await client.get(SECRET, namespace, MASTER_KEY_SECRET))  # another replica was first
    return fresh


def _key_in(secret: Object) -> bytes:
    text = (secret.get("data") or {}).get(MASTER_KEY_FIELD, "")
    key = base64.b64decode(text)
    if len(key) < _KEY_BYTES:
        raise CannotStartError(
            f"Secret {MASTER_KEY_SECRET} has no field {MASTER_KEY_FIELD} of {_KEY_BYTES} bytes: "
            "put the old one back; or delete it: a new one is made, and engines that run keep the keys that they have"
        )
    return key


async def _patiently(call: Callable[[], Awaitable[T]]) -> T:
    """The call's result; an API server that does not answer gets two minutes to do so."""
    loop = asyncio.get_running_loop()
    deadline, pause = loop.time() + _PATIENCE, 0.5
    while True:
        try:
            return await call()
        except ApiError as error:
            if not isinstance(error.failure, Retry) or loop.time() >= deadline:
                raise CannotStartError(f"the API server refuses what the operator needs: {error}") from error
            log.warning("the API server does not help yet (%s); trying again", error)
            await asyncio.sleep(max(error.failure.after, pause))
            pause = min(pause * 2, 5.0)
