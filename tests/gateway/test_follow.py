"""Following a cluster: what changes there changes here, and whatever the API server does, what is known goes on."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.gateway.fakeapi import (
    SECRETS,
    SLICES,
    TABLES,
    FakeApi,
    fake_api,
    key_secret,
    secret,
    slice_object,
    table_object,
)
from tests.gateway.gateways import until
from tests.gateway.worlds import CANARY, KEY, STABLE, endpoints, table
from understudy.domain.names import master_id
from understudy.domain.state import DeploymentState
from understudy.gateway import follow, reflect, world
from understudy.gateway.follow import Follower
from understudy.gateway.kubeapi import ApiServer
from understudy.gateway.process import Settings
from understudy.gateway.wire.plane import Limits, Plane
from understudy.gateway.world import World

HASH = hashlib.sha256(KEY.encode()).hexdigest()
DEPLOYMENT = "default/story"
GATEWAY_SLICES = "/apis/discovery.k8s.io/v1/namespaces/understudy-system/endpointslices"


class Followed:
    """A world that follows a fake API server."""

    def __init__(self, api: FakeApi, plane: Plane, ready: asyncio.Event) -> None:
        self.api = api
        self.plane = plane
        self.world = plane.world
        self.ready = ready

    @property
    def generation(self) -> int:
        entry = self.world.routes.deployments.get(DEPLOYMENT)
        return entry.served.generation if entry is not None else 0

    def ports(self, revision: str = STABLE) -> list[int]:
        entry = self.world.routes.deployments[DEPLOYMENT]
        return sorted(e.port for v in entry.variants if v.revision == revision for e in v.endpoints)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reflect, "_FIRST_BACKOFF", 0.01)
    monkeypatch.setattr(reflect, "_LONGEST_BACKOFF", 0.05)
    monkeypatch.setattr(follow, "_SAVE_DELAY", 0.01)
    monkeypatch.setattr(follow, "_EXPIRY_PERIOD", 0.01)


@asynccontextmanager
async def following(api: FakeApi, known: World | None = None, **settings: Any) -> AsyncIterator[Followed]:
    plane = Plane(known or World(), Limits())
    server = ApiServer(api.url, settings.pop("token_file", ""))
    ready = asyncio.Event()
    follower = Follower(server, plane.world, plane, Settings(api=server, **settings))
    task = asyncio.ensure_future(follower.run(ready.set))
    try:
        yield Followed(api, plane, ready)
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@asynccontextmanager
async def cluster() -> AsyncIterator[FakeApi]:
    """An API server with one deployment, one key and the master key."""
    async with fake_api() as api:
        api.put(TABLES, table_object(table()))
        api.put(SLICES, slice_object(endpoints(STABLE, [8001])))
        api.put(SECRETS, key_secret("key", HASH, "default,other", "storyteller"))
        api.put(SECRETS, secret("understudy-engine-keys", master="m" * 32))
        yield api


async def test_everything_is_listed_before_the_gateway_is_ready() -> None:
    async with cluster() as api, following(api) as f:
        await f.ready.wait()
        assert f.generation == 1
        assert f.ports() == [8001]
        assert f.world.routes.keys[HASH].namespaces == {"default", "other"}
        assert f.world.master == b"m" * 32


async def test_it_is_not_ready_while_one_list_fails() -> None:
    async with cluster() as api:
        api.fail[SLICES] = 403
        async with following(api) as f:
            await until(lambda: len(api.asked(SLICES, watch=False)) > 2)
            assert not f.ready.is_set()
            del api.fail[SLICES]
            await f.ready.wait()


async def test_lists_come_in_pages() -> None:
    async with cluster() as api:
        for i in range(7):
            api.put(TABLES, table_object(table(name=f"other{i}", names=(f"n{i}",))))
        async with following(api) as f:
            await f.ready.wait()
            assert len(f.world.tables) == 8


async def test_changes_are_taken_up() -> None:
    async with cluster() as api, following(api) as f:
        await f.ready.wait()
        api.put(TABLES, table_object(table({STABLE: 90, CANARY: 10})))
        api.put(SLICES, slice_object(endpoints(CANARY, [8002])))
        await until(lambda: f.generation == 2 and f.ports(CANARY) == [8002])
        api.put(SECRETS, key_secret("second", "0" * 64))
        await until(lambda: len(f.world.routes.keys) == 2)
        api.delete(SECRETS, "understudy-system", "key")
        await until(lambda: list(f.world.routes.keys) == ["0" * 64])
        api.delete(SLICES, "default", f"story-{CANARY}-x")
        await until(lambda: f.ports(CANARY) == [])


async def test_a_key_that_cannot_be_read_is_no_key() -> None:
    async with cluster() as api, following(api) as f:
        await f.ready.wait()
        broken = key_secret("key", HASH)
        broken["data"]["hash"] = "%%%"
        api.put(SECRETS, broken)
        await until(lambda: not f.world.routes.keys)


def gateway_slice(name: str, *pods: str, ready: bool = True, **more: Any) -> dict[str, Any]:
    """A slice of the gateways' own Service; `more` are further fields of each endpoint."""
    labels = {"kubernetes.io/service-name": "understudy-gateway"}
    found = [
        {"addresses": [f"address-{name}-{pod}"], "conditions": {"ready": ready}, "targetRef": {"uid": pod}, **more}
        for pod in pods
    ]
    return {"metadata": {"namespace": "understudy-system", "name": name, "labels": labels}, "endpoints": found or None}


async def test_gateways_are_counted_by_the_pods_of_their_service() -> None:
    async with cluster() as api:
        api.put(GATEWAY_SLICES, gateway_slice("v4", "one", "two"))
        api.put(SECRETS, key_secret("key", HASH, tokensPerMinute="600"))
        async with following(api, gateway_service="understudy-gateway") as f:
            await f.ready.wait()
            assert f.world.gateways == 2
            # The other family of addresses of the same pods, and one more.
            api.put(GATEWAY_SLICES, gateway_slice("v6", "one", "two", "three"))
            await until(lambda: f.world.gateways == 3)
            meter = f.plane.meters.of(f.world.routes.keys[HASH])
            assert meter is not None
            await until(lambda: b"x-ratelimit-limit-tokens: 200\r\n" in meter.fields(f.plane.clock()))
            api.put(GATEWAY_SLICES, gateway_slice("late", "four", ready=False))
            api.put(GATEWAY_SLICES, gateway_slice("nameless", "five", targetRef=None))
            await until(lambda: f.world.gateways == 4)
            for name in ("v4", "v6", "nameless", "late"):
                api.delete(GATEWAY_SLICES, "understudy-system", name)
            # It counts itself, whatever it is told.
            await until(lambda: f.world.gateways == 1)


async def test_slices_that_went_while_nobody_watched_are_no_gateways() -> None:
    async with cluster() as api:
        api.put(GATEWAY_SLICES, gateway_slice("a", "one", "two"))
        api.put(GATEWAY_SLICES, gateway_slice("b", "three"))
        async with following(api, gateway_service="understudy-gateway") as f:
            await f.ready.wait()
            assert f.world.gateways == 3
            await until(lambda: api.watches(GATEWAY_SLICES) == 1)
            api.forget(GATEWAY_SLICES, "understudy-system", "a")
            api.expire(GATEWAY_SLICES)
            await until(lambda: f.world.gateways == 1)


async def test_without_a_service_a_gateway_is_the_only_one() -> None:
    async with cluster() as api:
        api.put(GATEWAY_SLICES, gateway_slice("a", "one", "two"))
        async with following(api) as f:
            await f.ready.wait()
            assert f.world.gateways == 1
            assert api.asked(GATEWAY_SLICES, watch=False) == []


async def test_the_master_key_may_change_but_not_vanish() -> None:
    async with cluster() as api, following(api) as f:
        await f.ready.wait()
        # The operator has yet to put beside it what does not follow from it: until then nobody could be asked.
        new = "n" * 32
        api.put(SECRETS, secret("understudy-engine-keys", master=new))
        api.put(SECRETS, secret("understudy-engine-keys", master=new, **{"kept-for": master_id(b"m" * 32)}))
        seen = f.world.version
        api.put(SECRETS, key_secret("other", HASH))
        await until(lambda: f.world.version > seen)
        assert f.world.master == b"m" * 32
        kept = {"kept-for": master_id(new.encode()), "default.story-6f1c9a02": "its-own-key"}
        api.put(SECRETS, secret("understudy-engine-keys", master=new, **kept))
        await until(lambda: f.world.master == b"n" * 32)
        assert f.world.kept == {"default.story-6f1c9a02": "its-own-key"}
        # With the same master key other kept keys need no stamp.
        api.put(SECRETS, secret("understudy-engine-keys", master=new))
        await until(lambda: not f.world.kept)
        before = f.world.version
        api.delete(SECRETS, "understudy-system", "understudy-engine-keys")
        await until(lambda: f.world.version > before)
        api.put(SECRETS, secret("understudy-engine-keys", other="x"))
        await until(lambda: f.world.version > before + 1)
        assert f.world.master == b"n" * 32


async def test_endpoints_count_while_ready_or_if_need_be_while_serving() -> None:
    async with cluster() as api, following(api) as f:
        await f.ready.wait()
        other = endpoints(STABLE, [8002])
        other["slice"] = "second"
        for conditions, ports in (
            ({"ready": False, "serving": True, "terminating": True}, [8001]),
            ({"ready": True, "serving": True}, [8001, 8002]),
            ({"ready": False, "serving": False}, [8001]),
        ):
            api.put(SLICES, slice_object(other, **conditions))
            await until(lambda ports=ports: f.ports() == ports)  # type: ignore[misc]
        api.put(SLICES, slice_object(endpoints(STABLE, [8001]), ready=False, serving=True, terminating=True))
        await until(lambda: f.ports() == [8001])
        api.put(SLICES, slice_object(endpoints(STABLE, [8001]), ready=False, serving=False))
        await until(lambda: f.ports() == [])


async def test_a_slice_of_nobodys_service_is_passed_over() -> None:
    async with cluster() as api, following(api) as f:
        await f.ready.wait()
        stray = slice_object(endpoints(CANARY, [9]))
        del stray["metadata"]["labels"]["kubernetes.io/service-name"]
        stray["endpoints"] = None
        api.put(SLICES, stray)
        api.put(TABLES, table_object(table()))
        await until(lambda: f.generation == 2)
        assert list(f.world.slices) == [("default", f"story-{STABLE}")]


async def test_a_table_that_must_not_be_served_is_refused_and_the_old_one_stays() -> None:
    async with cluster() as api, following(api) as f:
        await f.ready.wait()
        api.put(TABLES, table_object(table({STABLE: 90, CANARY: 20})))

        def state() -> DeploymentState:
            return f.world.state(0.0)[DEPLOYMENT]

        await until(lambda: bool(state().rejected))
        assert (state().rejected_generation, state().table_generation) == (2, 1)
        assert "100" in state().rejected
        api.put(TABLES, table_object(table()))
        await until(lambda: f.generation == 3)
        assert state().rejected == ""


async def test_a_deposed_leaders_table_is_refused() -> None:
    async with cluster() as api, following(api) as f:
        await f.ready.wait()
        api.put(TABLES, table_object(table(epoch=5)))
        await until(lambda: f.generation == 2)
        api.put(TABLES, table_object(table(epoch=4)))
        await until(lambda: "epoch" in f.world.state(0.0)[DEPLOYMENT].rejected)
        assert f.generation == 2


async def test_a_retired_table_goes_with_its_object() -> None:
    async with cluster() as api, following(api) as f:
        await f.ready.wait()
        api.put(TABLES, table_object(table(retired=True)))
        await until(lambda: f.generation == 2)
        api.delete(TABLES, "default", "story")
        await until(lambda: not f.world.routes.deployments)


async def test_any_other_table_stays_for_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    async with cluster() as api, following(api) as f:
        await f.ready.wait()
        api.delete(TABLES, "default", "story")
        await until(lambda: bool(f.world._deleted))
        assert f.generation == 1
        api.put(TABLES, table_object(table()))
        await until(lambda: not f.world._deleted)
        api.delete(TABLES, "default", "story")
        await until(lambda: bool(f.world._deleted))
        monkeypatch.setattr(world, "DELETION_DELAY", 0.05)
        await until(lambda: not f.world.routes.deployments)


async def test_a_watch_that_ends_is_resumed_where_it_was() -> None:
    async with cluster() as api, following(api) as f:
        await f.ready.wait()
        await until(lambda: api.watches(TABLES) == 1)
        api.say(TABLES, {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "7777"}}})
        api.end_watches()
        await until(lambda: "7777" in [q["resourceVersion"] for q in api.asked(TABLES, watch=True)])
        assert len(api.asked(TABLES, watch=False)) == 1


async def test_a_forgotten_past_is_listed_anew_and_what_vanished_meanwhile_is_noticed() -> None:
    async with cluster() as api, following(api) as f:
        await f.ready.wait()
        await until(lambda: api.watches(SLICES) == 1 and api.watches(SECRETS) == 2)
        api.forget(SLICES, "default", f"story-{STABLE}-x")
        api.forget(SECRETS, "understudy-system", "key")
        for path in (SLICES, SECRETS):
            api.expire(path)
        await until(lambda: f.ports() == [] and not f.world.routes.keys)


@pytest.mark.parametrize("junk", [b"not json\n", b'{"type":"ERROR","object":{"code":500,"message":"x"}}\n'])
async def test_nonsense_in_a_watch_is_survived(junk: bytes) -> None:
    async with cluster() as api, following(api) as f:
        await f.ready.wait()
        await until(lambda: api.watches(TABLES) == 1)
        api.say(TABLES, junk)
        await until(lambda: len(api.asked(TABLES, watch=True)) > 1)
        api.put(TABLES, table_object(table()))
        await until(lambda: f.generation == 2)


async def test_an_event_that_comes_in_pieces_is_one_event() -> None:
    async with cluster() as api, following(api) as f:
        await f.ready.wait()
        await until(lambda: api.watches(TABLES) == 1)
        item = table_object(table())
        item["metadata"] |= {"uid": "uid-story", "generation": 9, "resourceVersion": "500"}
        raw = orjson.dumps({"type": "MODIFIED", "object": item}) + b"\n"
        for start in range(0, len(raw), 50):
            api.say(TABLES, raw[start : start + 50])
        await until(lambda: f.generation == 9)


async def test_a_silent_watch_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reflect, "_STALE_SECONDS", 0.1)
    async with cluster() as api, following(api) as f:
        await f.ready.wait()
        await until(lambda: len(api.asked(TABLES, watch=True)) > 2)
        assert f.generation == 1


async def test_the_world_goes_on_while_the_api_server_is_away() -> None:
    async with cluster() as api, following(api) as f:
        await f.ready.wait()
        port = int(api.url.rpartition(":")[2])
        await until(lambda: api.watches(TABLES) == 1)
        await api.stop()
        await until(lambda: api.watches(TABLES) == 0)
        api.put(TABLES, table_object(table({STABLE: 90, CANARY: 10})))
        asked = len(api.requests)
        await asyncio.sleep(0.1)
        assert f.generation == 1
        assert len(api.requests) == asked
        await api.start(port)
        await until(lambda: f.generation == 2)


async def test_namespaces_may_be_chosen() -> None:
    async with fake_api() as api:
        for namespace in ("a", "b"):
            tables = f"/apis/understudy.dev/v1alpha1/namespaces/{namespace}/routingtables"
            api.put(tables, table_object(table(namespace=namespace, names=())))
        async with following(api, watch_namespaces=("a", "b")) as f:
            await f.ready.wait()
            assert set(f.world.routes.deployments) == {"a/story", "b/story"}
            tables = "/apis/understudy.dev/v1alpha1/namespaces/a/routingtables"
            api.put(tables, {**table_object(table(namespace="a", names=(), retired=True))})
            await until(lambda: f.world.tables["a/story"].generation == 2)
            api.delete(tables, "a", "story")
            await until(lambda: set(f.world.routes.deployments) == {"b/story"})


async def test_the_token_is_read_anew_each_time(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("one\n")
    async with cluster() as api, following(api, token_file=str(token)) as f:
        await f.ready.wait()
        await until(lambda: api.watches(TABLES) == 1)
        assert set(api.tokens) == {"Bearer one"}
        token.write_text("two")
        api.end_watches()
        await until(lambda: "Bearer two" in api.tokens)


async def test_the_world_is_kept_on_disk_once_it_is_whole(tmp_path: Path) -> None:
    kept = tmp_path / "world.json"
    async with cluster() as api:
        api.fail[SECRETS] = 500
        async with following(api, state_file=kept) as f:
            await until(lambda: f.generation == 1)
            await asyncio.sleep(0.1)
            assert not kept.exists()
            del api.fail[SECRETS]
            await f.ready.wait()
            await until(kept.exists)
            api.put(TABLES, table_object(table({STABLE: 90, CANARY: 10})))
            await until(lambda: len(orjson.loads(kept.read_bytes())["tables"][0]["spec"]["variants"]) == 2)
    assert kept.stat().st_mode & 0o777 == 0o600
    assert len(list(await asyncio.to_thread(tmp_path.glob, "*"))) == 1


async def test_a_disk_that_is_full_stops_nothing(tmp_path: Path) -> None:
    async with cluster() as api, following(api, state_file=tmp_path / "no" / "such" / "folder") as f:
        await f.ready.wait()
        api.put(TABLES, table_object(table()))
        await until(lambda: f.generation == 2)


async def test_what_the_snapshot_knew_and_the_cluster_does_not_is_dropped() -> None:
    from tests.gateway.worlds import access_key, snapshot, world_of

    old = world_of(
        snapshot([table(), table(name="gone", retired=True)], [endpoints("0" * 8, [1], name="gone")], [access_key()])
    )
    async with cluster() as api, following(api, old) as f:
        await f.ready.wait()
        assert set(f.world.routes.deployments) == {DEPLOYMENT}
        assert set(f.world.slices) == {("default", f"story-{STABLE}")}
        assert f.world.routes.keys[HASH].names == {"storyteller"}


async def test_it_knows_when_each_watch_was_last_heard_of() -> None:
    async with cluster() as api, following(api) as f:
        await f.ready.wait()
        assert set(f.plane.heard) == {TABLES, SLICES, SECRETS}
        listed = f.plane.heard[TABLES]
        api.put(TABLES, table_object(table()))
        await until(lambda: f.generation == 2)
        assert f.plane.heard[TABLES] > listed
