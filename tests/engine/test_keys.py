"""Keys that do not follow from the master key: found by their hash, told to gateways, and the master key tended."""

import asyncio
import base64

import pytest

from tests.engine import virtual
from tests.engine.fake_api import FakeApi, status_error
from understudy.domain.names import (
    LABEL_DEPLOYMENT,
    LABEL_REVISION,
    MASTER_KEY_SECRET,
    engine_key,
    engine_key_secret,
    master_id,
)
from understudy.engine.cache import Cache
from understudy.engine.keys import kept_keys, publish, tend
from understudy.kube.client import Scope
from understudy.kube.errors import ApiError
from understudy.kube.resources import SECRET
from understudy.kube.trim import trim
from understudy.telemetry.operator import OperatorMetrics

OLD, NEW = b"m" * 32, b"n" * 32
REVISION = "6f1c9a02"
FIELD = f"shop.talk-{REVISION}"


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def put_key(api: FakeApi, data: dict[str, str], name: str = engine_key_secret("talk", REVISION)) -> None:
    labels = {LABEL_DEPLOYMENT: "talk", LABEL_REVISION: REVISION}
    api.put(SECRET, {"metadata": {"name": name, "namespace": "shop", "labels": labels}, "data": data})


def derived(master: bytes) -> dict[str, str]:
    return {"api-key": encoded(engine_key(master, "shop", "talk", REVISION).encode())}


def seen(api: FakeApi) -> Cache:
    """A cache of all Secrets, as the operator keeps them: hashes only."""
    cache = Cache(OperatorMetrics(), virtual.now)
    for name, obj in api._objects.items():
        if name[0] == SECRET:
            cache.upsert(Scope(SECRET, ""), trim(SECRET, obj))
    return cache


@pytest.mark.parametrize(
    ("data", "kept"),
    [
        (derived(NEW), {}),
        (derived(OLD), {FIELD: engine_key(OLD, "shop", "talk", REVISION)}),
        ({"api-key": encoded(b"anything")}, {FIELD: "anything"}),
        ({"api-key": encoded(b"\xff\xfe")}, {}),
        ({"api-key": "%"}, {}),
        ({}, {}),
    ],
)
def test_a_key_that_does_not_follow_from_the_master_key_is_kept(data: dict[str, str], kept: dict[str, str]) -> None:
    async def main() -> None:
        api = FakeApi()
        put_key(api, data)
        api.put(SECRET, {"metadata": {"name": "a-users-own", "namespace": "shop"}, "data": {"a": "Yg=="}})
        put_key(api, {"api-key": "Yg=="}, name="another-name")
        assert await kept_keys(api, seen(api), NEW) == kept

    virtual.run(main())


def test_keys_that_follow_are_not_even_read() -> None:
    async def main() -> None:
        api = FakeApi()
        put_key(api, derived(NEW))
        await kept_keys(api, seen(api), NEW)
        assert api.calls == []

    virtual.run(main())


def test_a_key_that_has_gone_meanwhile_is_not_kept_and_another_failure_is_one() -> None:
    async def main() -> None:
        api = FakeApi()
        put_key(api, derived(OLD))
        cache = seen(api)
        api.fail(status_error(403, "Forbidden", "no"), verb="get")
        with pytest.raises(ApiError):
            await kept_keys(api, cache, NEW)
        api.remove(SECRET, "shop", engine_key_secret("talk", REVISION))
        assert await kept_keys(api, cache, NEW) == {}

    virtual.run(main())


def put_master(api: FakeApi, master: bytes, **more: str) -> None:
    data = {"master": encoded(master), **more}
    api.put(SECRET, {"metadata": {"name": MASTER_KEY_SECRET, "namespace": "system"}, "data": data})


def master_data(api: FakeApi) -> dict[str, str]:
    found = api.read(SECRET, "system", MASTER_KEY_SECRET)
    assert found is not None
    data: dict[str, str] = found["data"]
    return data


def test_what_is_kept_is_told_in_one_write_and_only_when_it_changes() -> None:
    async def main() -> None:
        api = FakeApi()
        put_master(api, NEW, mine="eA==")
        stamp = encoded(master_id(NEW).encode())
        await publish(api, "system", NEW, {FIELD: "kept"})
        assert master_data(api) == {
            "master": encoded(NEW),
            "mine": "eA==",
            "kept-for": stamp,
            FIELD: encoded(b"kept"),
        }
        await publish(api, "system", NEW, {FIELD: "kept"})
        assert len(api.writes()) == 1
        await publish(api, "system", NEW, {})
        assert master_data(api) == {"master": encoded(NEW), "mine": "eA==", "kept-for": stamp}

    virtual.run(main())


def test_another_master_key_is_noticed_once() -> None:
    async def main() -> None:
        api = FakeApi()
        put_master(api, OLD)
        noticed: list[str] = []
        tending = asyncio.create_task(tend(api, "system", OLD, {}, noticed.append))
        await asyncio.sleep(65)
        assert not tending.done()
        put_master(api, NEW)
        await tending
        assert (len(noticed), virtual.now()) == (1, 70.0)
        assert master_data(api)["master"] == encoded(NEW)

    virtual.run(main())


def test_one_that_is_gone_is_put_back_with_all_that_lay_there() -> None:
    async def main() -> None:
        api = FakeApi()
        put_master(api, OLD)
        await publish(api, "system", OLD, {FIELD: "kept"})
        before = master_data(api)
        tending = asyncio.create_task(tend(api, "system", OLD, {FIELD: "kept"}, print))
        api.remove(SECRET, "system", MASTER_KEY_SECRET)
        # It takes as many looks as it must.
        api.fail(status_error(503, "ServiceUnavailable", "later"), verb="get")
        api.fail(status_error(503, "ServiceUnavailable", "later"), verb="create")
        await asyncio.sleep(35)
        assert master_data(api) == before
        assert not tending.done()
        tending.cancel()
        await asyncio.gather(tending, return_exceptions=True)

    virtual.run(main())
