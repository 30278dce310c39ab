"""Errors that only a real API server makes, and what they are taken for."""

import uuid
from collections.abc import AsyncIterator

import pytest

from tests.kube.test_contract import World
from understudy.kube.aio import AioClient, NoClusterError, connect
from understudy.kube.errors import ApiError, NotFound, Retry, Terminal
from understudy.kube.resources import DEPLOYMENT, NAMESPACE, Resource

pytestmark = pytest.mark.cluster


@pytest.fixture
async def api(kubeconfig: str) -> AsyncIterator[AioClient]:
    client = await connect(kubeconfig)
    yield client
    await client.close()


def deployment(**pod_spec: object) -> dict[str, object]:
    labels = {"app": "contract"}
    container = {"name": "main", "image": "none.invalid/none:1"}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "contract", "namespace": "default"},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container], **pod_spec}},
        },
    }


async def refused(api: AioClient, obj: dict[str, object], resource: Resource = DEPLOYMENT) -> ApiError:
    with pytest.raises(ApiError) as caught:
        await api.apply(resource, obj, manager="understudy")
    return caught.value


async def test_an_unknown_field_is_terminal_though_it_is_a_500(api: AioClient) -> None:
    error = await refused(api, deployment(noSuchField=1))
    assert error.status == 500
    assert isinstance(error.failure, Terminal)
    assert "noSuchField" in error.failure.reason


async def test_an_invalid_value_is_terminal_and_says_which(api: AioClient) -> None:
    error = await refused(api, deployment(restartPolicy="Sometimes"))
    assert error.status == 422
    assert isinstance(error.failure, Terminal)
    assert "Sometimes" in error.failure.reason


async def test_an_unknown_kind_is_not_found(api: AioClient) -> None:
    resource = Resource("understudy.invalid/v1", "Nothing", "nothings")
    obj: dict[str, object] = {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": {"name": "x", "namespace": "default"},
    }
    assert (await refused(api, obj, resource)).failure == NotFound()


async def test_a_namespace_that_is_not_there_is_not_found(api: AioClient) -> None:
    obj = deployment()
    obj["metadata"] = {"name": "contract", "namespace": "no-such-namespace"}
    assert (await refused(api, obj)).failure == NotFound()


async def test_a_namespace_that_goes_away_is_terminal(api: AioClient) -> None:
    namespace = f"contract-going-{uuid.uuid4().hex[:8]}"
    held = {"name": namespace, "finalizers": ["understudy.dev/test"]}
    await api.apply(NAMESPACE, {"apiVersion": "v1", "kind": "Namespace", "metadata": held}, manager="understudy")
    try:
        await api.delete(NAMESPACE, "", namespace)
        error = await World(api, namespace).failure(World(api, namespace).config_map())
        assert error.status == 403
        assert isinstance(error.failure, Terminal)
    finally:
        free = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
        await api.apply(NAMESPACE, free, manager="understudy")


async def test_a_server_that_is_not_there_is_worth_a_retry(kubeconfig: str) -> None:
    client = await connect(kubeconfig)
    client._api.configuration.host = "https://127.0.0.1:1"
    with pytest.raises(ApiError) as caught:
        await client.get(DEPLOYMENT, "default", "x")
    await client.close()
    assert isinstance(caught.value.failure, Retry)


async def test_it_knows_which_kinds_are_served(api: AioClient) -> None:
    assert {"deployments", "deployments/status"} <= await api.plurals("apps/v1")
    assert await api.plurals("understudy.invalid/v1") == frozenset()


async def test_a_missing_kubeconfig_is_said_to_be_missing() -> None:
    with pytest.raises(NoClusterError, match="cannot read the kubeconfig /nowhere/config"):
        await connect("/nowhere/config")


async def test_outside_a_pod_there_is_no_service_account(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(NoClusterError, match="service account"):
        await connect()
