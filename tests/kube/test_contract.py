"""What the operator relies on from an API server, shown on the fake one and on a real one alike.

The engine's tests run against the fake; these are the reason to believe them.
"""

import asyncio
import uuid
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import pytest

from tests.engine.fake_api import FakeApi
from understudy.kube.aio import connect
from understudy.kube.client import KubeClient, Object, Scope, WatchEvent
from understudy.kube.errors import ApiError, Conflict, Gone, NotFound
from understudy.kube.resources import CONFIG_MAP, LEASE, MODEL, NAMESPACE, ROUTING_TABLE, SERVICE
from understudy.kube.trim import FOREIGN, trim


@dataclass
class World:
    """One server and a namespace on it that belongs to the test."""

    api: KubeClient
    namespace: str

    def config_map(self, name: str = "settings", data: dict[str, str] | None = None, **meta: Any) -> dict[str, Any]:
        return {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": name, "namespace": self.namespace, **meta},
            "data": data if data is not None else {"a": "1"},
        }

    async def apply(self, obj: Object, manager: str = "understudy") -> Object:
        return await self.api.apply(CONFIG_MAP, obj, manager=manager)

    async def failure(self, obj: Object) -> ApiError:
        with pytest.raises(ApiError) as caught:
            await self.apply(obj)
        return caught.value


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.cluster)])
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    namespace = f"contract-{uuid.uuid4().hex[:8]}"
    if request.param == "fake":
        yield World(FakeApi(), namespace)
        return
    api = await connect(request.getfixturevalue("kubeconfig"))
    await api.create(NAMESPACE, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    try:
        yield World(api, namespace)
    finally:
        await api.delete(NAMESPACE, "", namespace)
        await api.close()


async def test_apply_creates_and_returns_what_is_stored(world: World) -> None:
    stored = await world.apply(world.config_map())
    assert stored["data"] == {"a": "1"}
    assert stored["metadata"]["uid"]
    assert stored["metadata"]["resourceVersion"].isdigit()


async def test_the_same_apply_again_changes_nothing(world: World) -> None:
    first = await world.apply(world.config_map())
    again = await world.apply(world.config_map())
    assert again["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]


async def test_a_changed_apply_raises_the_version(world: World) -> None:
    first = await world.apply(world.config_map())
    second = await world.apply(world.config_map(data={"a": "2"}))
    assert int(second["metadata"]["resourceVersion"]) > int(first["metadata"]["resourceVersion"])
    assert second["metadata"]["uid"] == first["metadata"]["uid"]


async def test_a_field_that_is_no_longer_applied_goes(world: World) -> None:
    await world.apply(world.config_map(data={"a": "1", "b": "2"}))
    stored = await world.apply(world.config_map(data={"a": "1"}))
    assert stored["data"] == {"a": "1"}


async def test_a_field_of_another_manager_stays(world: World) -> None:
    await world.apply(world.config_map(data={"b": "2"}), manager="somebody")
    stored = await world.apply(world.config_map(data={"a": "1"}))
    assert stored["data"] == {"a": "1", "b": "2"}


async def test_force_takes_a_field_back(world: World) -> None:
    await world.apply(world.config_map(data={"a": "1"}), manager="somebody")
    stored = await world.apply(world.config_map(data={"a": "2"}))
    assert stored["data"] == {"a": "2"}


async def test_a_foreign_manager_leaves_a_mark_that_goes_when_the_field_is_taken_back(world: World) -> None:
    await world.apply(world.config_map(data={"a": "1"}))
    assert FOREIGN not in trim(CONFIG_MAP, await world.api.get(CONFIG_MAP, world.namespace, "settings"))
    await world.apply(world.config_map(data={"a": "2"}), manager="somebody")
    assert trim(CONFIG_MAP, await world.api.get(CONFIG_MAP, world.namespace, "settings"))[FOREIGN]
    taken_back = await world.apply(world.config_map(data={"a": "1"}))
    assert FOREIGN not in trim(CONFIG_MAP, taken_back)


async def test_a_foreign_field_beside_ours_keeps_one_and_the_same_mark(world: World) -> None:
    await world.apply(world.config_map(data={"a": "1"}))
    await world.apply(world.config_map(data={"b": "1"}), manager="somebody")
    before = trim(CONFIG_MAP, await world.api.get(CONFIG_MAP, world.namespace, "settings"))[FOREIGN]
    after = trim(CONFIG_MAP, await world.apply(world.config_map(data={"a": "3"})))[FOREIGN]
    assert before == after


async def test_what_somebody_writes_into_a_table_goes_with_the_next_apply_of_ours(world: World) -> None:
    def table(**spec: Any) -> dict[str, Any]:
        meta = {"name": "talk", "namespace": world.namespace}
        return {"apiVersion": ROUTING_TABLE.api_version, "kind": "RoutingTable", "metadata": meta, "spec": spec}

    ours = await world.api.apply(ROUTING_TABLE, table(epoch=1), manager="understudy")
    await world.api.apply(ROUTING_TABLE, table(epoch=1, retired=True), manager="somebody")
    taken_back = await world.api.apply(ROUTING_TABLE, table(epoch=1), manager="understudy")
    assert taken_back["spec"] == ours["spec"]
    assert FOREIGN not in trim(ROUTING_TABLE, taken_back)


async def test_an_outdated_version_is_a_conflict(world: World) -> None:
    first = await world.apply(world.config_map())
    await world.apply(world.config_map(data={"a": "2"}))
    version = first["metadata"]["resourceVersion"]
    error = await world.failure(world.config_map(data={"a": "3"}, resourceVersion=version))
    assert (error.status, error.failure) == (409, Conflict())


async def test_the_current_version_is_accepted(world: World) -> None:
    first = await world.apply(world.config_map())
    meta = {"uid": first["metadata"]["uid"], "resourceVersion": first["metadata"]["resourceVersion"]}
    stored = await world.apply(world.config_map(data={"a": "2"}, **meta))
    assert stored["data"] == {"a": "2"}


async def test_another_uid_is_a_conflict(world: World) -> None:
    await world.apply(world.config_map())
    error = await world.failure(world.config_map(data={"a": "2"}, uid=str(uuid.uuid4())))
    assert (error.status, error.failure) == (422, Conflict())


async def test_a_uid_keeps_an_apply_from_creating(world: World) -> None:
    error = await world.failure(world.config_map(uid=str(uuid.uuid4())))
    assert (error.status, error.failure) == (409, Conflict())


async def test_sending_managed_fields_is_refused(world: World) -> None:
    error = await world.failure(world.config_map(managedFields=[{"manager": "x", "operation": "Apply"}]))
    assert error.status in (400, 422)


SEEN = {
    "type": "Seen",
    "status": "True",
    "reason": "Test",
    "message": "",
    "lastTransitionTime": "2026-01-01T00:00:00Z",
}


def service(world: World, **meta: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web", "namespace": world.namespace, **meta},
        "spec": {"ports": [{"port": 80, "protocol": "TCP"}]},
    }


async def seen(world: World, *conditions: Object, manager: str = "understudy-status", **meta: Any) -> Object:
    status = {**service(world, **meta), "status": {"conditions": list(conditions)}}
    del status["spec"]
    return await world.api.replace_status(SERVICE, status, manager=manager)


async def test_status_is_written_apart_and_leaves_no_foreign_mark(world: World) -> None:
    created = await world.api.apply(SERVICE, service(world), manager="understudy")
    stored = await seen(world, SEEN, uid=created["metadata"]["uid"], manager="somebody")
    assert stored["status"]["conditions"] == [SEEN]
    assert stored["spec"] == created["spec"]
    assert FOREIGN not in trim(SERVICE, stored)
    await world.api.apply(SERVICE, service(world), manager="understudy")
    kept = await world.api.get(SERVICE, world.namespace, "web")
    assert kept["status"]["conditions"] == [SEEN]


async def test_a_status_takes_away_what_somebody_else_wrote_into_it(world: World) -> None:
    await world.api.apply(SERVICE, service(world), manager="understudy")
    await seen(world, SEEN, {**SEEN, "type": "Restored"}, manager="a-backup")
    stored = await seen(world, SEEN)
    assert stored["status"]["conditions"] == [SEEN]
    again = await seen(world, SEEN)
    assert again["metadata"]["resourceVersion"] == stored["metadata"]["resourceVersion"]


async def test_a_status_of_another_object_or_version_is_a_conflict(world: World) -> None:
    created = await world.api.apply(SERVICE, service(world), manager="understudy")
    meta = {"uid": created["metadata"]["uid"], "resourceVersion": created["metadata"]["resourceVersion"]}
    await seen(world, SEEN, **meta)
    for stale in (meta, {"uid": str(uuid.uuid4())}):
        with pytest.raises(ApiError) as caught:
            await seen(world, **stale)
        assert caught.value.failure == Conflict()
    assert (await world.api.get(SERVICE, world.namespace, "web"))["status"]["conditions"] == [SEEN]


async def test_a_status_creates_nothing(world: World) -> None:
    with pytest.raises(ApiError) as caught:
        await seen(world, SEEN)
    assert caught.value.failure == NotFound()


async def test_what_is_not_there_is_not_found(world: World) -> None:
    with pytest.raises(ApiError) as caught:
        await world.api.get(CONFIG_MAP, world.namespace, "nothing")
    assert caught.value.failure == NotFound()


async def test_creating_twice_is_a_conflict(world: World) -> None:
    await world.api.create(CONFIG_MAP, world.config_map())
    with pytest.raises(ApiError) as caught:
        await world.api.create(CONFIG_MAP, world.config_map())
    assert caught.value.failure == Conflict()


async def test_replacing_an_outdated_lease_is_a_conflict(world: World) -> None:
    lease = {
        "apiVersion": LEASE.api_version,
        "kind": "Lease",
        "metadata": {"name": "leader", "namespace": world.namespace},
        "spec": {"holderIdentity": "a", "leaseTransitions": 1},
    }
    first = await world.api.create(LEASE, lease)
    await world.api.replace(LEASE, {**first, "spec": {"holderIdentity": "b", "leaseTransitions": 2}})
    with pytest.raises(ApiError) as caught:
        await world.api.replace(LEASE, {**first, "spec": {"holderIdentity": "c", "leaseTransitions": 2}})
    assert caught.value.failure == Conflict()
    assert (await world.api.get(LEASE, world.namespace, "leader"))["spec"]["holderIdentity"] == "b"


async def test_delete_holds_to_its_conditions(world: World) -> None:
    first = await world.apply(world.config_map())
    current = await world.apply(world.config_map(data={"a": "2"}))
    for wrong in ({"uid": str(uuid.uuid4())}, {"resource_version": first["metadata"]["resourceVersion"]}):
        with pytest.raises(ApiError) as caught:
            await world.api.delete(CONFIG_MAP, world.namespace, "settings", **wrong)
        assert caught.value.failure == Conflict()
    meta = current["metadata"]
    await world.api.delete(
        CONFIG_MAP, world.namespace, "settings", uid=meta["uid"], resource_version=meta["resourceVersion"]
    )
    with pytest.raises(ApiError) as caught:
        await world.api.delete(CONFIG_MAP, world.namespace, "settings")
    assert caught.value.failure == NotFound()


async def test_a_list_comes_in_pages_and_items_know_their_kind(world: World) -> None:
    for name in ("a", "b", "c"):
        await world.apply(world.config_map(name, labels={"mine": "yes"}))
    scope = Scope(CONFIG_MAP, world.namespace, label_selector="mine=yes")
    first = await world.api.list_page(scope, limit=2)
    second = await world.api.list_page(scope, limit=2, continue_token=first.continue_token)
    assert [item["metadata"]["name"] for item in (*first.items, *second.items)] == ["a", "b", "c"]
    assert {item["kind"] for item in first.items} == {"ConfigMap"}
    assert first.continue_token
    assert not second.continue_token


async def test_selectors_leave_out_what_they_should(world: World) -> None:
    await world.apply(world.config_map("labelled", labels={"mine": "no"}))
    await world.apply(world.config_map("plain"))
    by_label = await world.api.list_page(Scope(CONFIG_MAP, world.namespace, label_selector="mine"))
    assert [item["metadata"]["name"] for item in by_label.items] == ["labelled"]
    by_field = Scope(CONFIG_MAP, world.namespace, field_selector="metadata.name!=labelled")
    names = [item["metadata"]["name"] for item in (await world.api.list_page(by_field)).items]
    assert "plain" in names
    assert "labelled" not in names
    exactly = Scope(CONFIG_MAP, world.namespace, field_selector="metadata.name=plain")
    assert [item["metadata"]["name"] for item in (await world.api.list_page(exactly)).items] == ["plain"]


async def _take(events: AsyncGenerator[WatchEvent, None], count: int) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    async with asyncio.timeout(120):
        while len(found) < count:
            event = await anext(events)
            if event.type != "BOOKMARK":
                found.append((event.type, event.object["metadata"]["name"]))
    return found


async def test_a_watch_from_the_beginning_tells_what_there_is_where_that_ends_and_what_happens(world: World) -> None:
    scope = Scope(CONFIG_MAP, world.namespace, label_selector="mine")
    for name in ("a", "b"):
        await world.apply(world.config_map(name, labels={"mine": "1"}))
    await world.apply(world.config_map("other"))
    events = world.api.watch(scope, resource_version="", timeout_seconds=60)
    async with aclosing(events), asyncio.timeout(120):
        told = [await anext(events) for _ in range(3)]
        assert [event.type for event in told] == ["ADDED", "ADDED", "BOOKMARK"]
        assert {(event.object["kind"], event.object["metadata"]["name"]) for event in told[:2]} == {
            ("ConfigMap", "a"),
            ("ConfigMap", "b"),
        }
        assert [event.ends_beginning for event in told] == [False, False, True]
        stored = await world.apply(world.config_map("c", labels={"mine": "1"}))
        assert int(stored["metadata"]["resourceVersion"]) > int(told[2].object["metadata"]["resourceVersion"])
        assert await _take(events, 1) == [("ADDED", "c")]


async def test_a_watch_tells_what_happened_after_a_list(world: World) -> None:
    scope = Scope(CONFIG_MAP, world.namespace, label_selector="mine")
    await world.apply(world.config_map("old", labels={"mine": "1"}))
    page = await world.api.list_page(scope)
    await world.apply(world.config_map("new", labels={"mine": "1"}))
    await world.apply(world.config_map("other"))
    await world.apply(world.config_map("new", data={"a": "2"}, labels={"mine": "1"}))
    await world.api.delete(CONFIG_MAP, world.namespace, "old")
    events = world.api.watch(scope, resource_version=page.resource_version, timeout_seconds=60)
    async with aclosing(events):
        assert await _take(events, 3) == [("ADDED", "new"), ("MODIFIED", "new"), ("DELETED", "old")]


async def test_an_object_that_loses_its_label_leaves_the_watch_as_a_deletion(world: World) -> None:
    scope = Scope(CONFIG_MAP, world.namespace, label_selector="mine")
    page = await world.api.list_page(scope)
    await world.apply(world.config_map("wanderer", labels={"mine": "1"}))
    await world.apply(world.config_map("wanderer"))
    events = world.api.watch(scope, resource_version=page.resource_version, timeout_seconds=60)
    async with aclosing(events):
        assert await _take(events, 2) == [("ADDED", "wanderer"), ("DELETED", "wanderer")]


@pytest.mark.slow
async def test_a_watch_ends_without_an_error_when_its_time_is_up(world: World) -> None:
    scope = Scope(CONFIG_MAP, world.namespace)
    page = await world.api.list_page(scope)
    events = world.api.watch(scope, resource_version=page.resource_version, timeout_seconds=1)
    async with asyncio.timeout(120):
        kinds = [event.type async for event in events]
    assert set(kinds) <= {"BOOKMARK", "ADDED"}  # a fresh namespace gets its kube-root-ca.crt any moment


async def test_a_watch_from_the_distant_past_is_gone(world: World) -> None:
    if isinstance(world.api, FakeApi):
        await world.apply(world.config_map())
        await world.apply(world.config_map(data={"a": "2"}))
        world.api.compact()
    # Of its own kinds a young server may still know all since the beginning; a CRD's begins when that is made.
    events = world.api.watch(Scope(MODEL, world.namespace), resource_version="1", timeout_seconds=5)
    async with aclosing(events), asyncio.timeout(120):
        with pytest.raises(ApiError) as caught:
            await anext(events)
    assert caught.value.failure == Gone()


async def test_a_dry_run_answers_as_the_write_would_and_stores_nothing(world: World) -> None:
    fresh = await world.api.create(CONFIG_MAP, world.config_map(), dry_run=True)
    assert fresh["data"] == {"a": "1"}
    stored = await world.apply(world.config_map())
    changed = await world.api.replace(CONFIG_MAP, {**stored, "data": {"a": "2"}}, dry_run=True)
    assert changed["data"] == {"a": "2"}
    applied = await world.api.apply(CONFIG_MAP, world.config_map(data={"a": "3"}), manager="trial", dry_run=True)
    assert applied["data"] == {"a": "3"}
    kept = await world.api.get(CONFIG_MAP, world.namespace, "settings")
    assert (kept["data"], kept["metadata"]["resourceVersion"]) == ({"a": "1"}, stored["metadata"]["resourceVersion"])


async def test_a_dry_run_is_refused_as_the_write_would_be(world: World) -> None:
    await world.apply(world.config_map())
    with pytest.raises(ApiError) as caught:
        await world.api.create(CONFIG_MAP, world.config_map(), dry_run=True)
    assert caught.value.failure == Conflict()


@pytest.mark.parametrize("name", ["../settings", "..", "settings/status", "", "set%74ings", "set?tings"])
async def test_what_nothing_can_be_called_is_not_found(world: World, name: str) -> None:
    await world.apply(world.config_map())
    with pytest.raises(ApiError) as caught:
        await world.api.get(CONFIG_MAP, world.namespace, name)
    assert isinstance(caught.value.failure, NotFound)
    assert (await world.api.get(CONFIG_MAP, world.namespace, "settings"))["data"] == {"a": "1"}
