"""ConfigMaps that a spec names, read once per version."""

from typing import Any

import pytest

from tests.engine import virtual
from tests.engine.fake_api import FakeApi, status_error
from tests.engine.objects import SPACE
from understudy.engine import contents
from understudy.engine.cache import Cache
from understudy.engine.contents import ConfigMapContents
from understudy.engine.references import Reference
from understudy.kube.client import Scope
from understudy.kube.errors import ApiError
from understudy.kube.resources import CONFIG_MAP
from understudy.kube.trim import CONTENT_HASH, content_hash, trim
from understudy.telemetry.operator import OperatorMetrics


class Stage:
    def __init__(self) -> None:
        self.api = FakeApi()
        self.cache = Cache(OperatorMetrics(), virtual.now)
        self.contents = ConfigMapContents(self.api, self.cache)

    def put(self, name: str, text: str) -> None:
        obj = {"metadata": {"name": name, "namespace": SPACE, "labels": {"x": "y"}}, "data": {"text": text}}
        self.cache.upsert(Scope(CONFIG_MAP), trim(CONFIG_MAP, self.api.put(CONFIG_MAP, obj)))

    async def read(self, *names: str) -> dict[str, Any]:
        references: list[Reference] = [("ConfigMap", name) for name in names]
        return await self.contents.read(SPACE, [*references, ("Secret", "ignored")])

    @property
    def gets(self) -> int:
        return sum(call.verb == "get" for call in self.api.calls)


def test_what_the_spec_names_is_read_whole() -> None:
    async def main() -> None:
        stage = Stage()
        stage.put("tuning", "a")
        stage.put("other", "b")
        found = await stage.read("tuning")
        assert set(found) == {"tuning"}
        assert found["tuning"]["data"] == {"text": "a"}
        assert found["tuning"][CONTENT_HASH] == content_hash({"data": {"text": "a"}})
        assert "managedFields" not in found["tuning"]["metadata"]

    virtual.run(main())


def test_an_unchanged_one_is_read_once_and_a_changed_one_again() -> None:
    async def main() -> None:
        stage = Stage()
        stage.put("tuning", "a")
        for _ in range(3):
            await stage.read("tuning")
        assert stage.gets == 1
        stage.put("tuning", "b")
        assert (await stage.read("tuning"))["tuning"]["data"] == {"text": "b"}
        assert stage.gets == 2

    virtual.run(main())


def test_one_that_is_not_there_is_left_out_without_asking() -> None:
    async def main() -> None:
        stage = Stage()
        assert await stage.read("missing") == {}
        assert stage.gets == 0

    virtual.run(main())


def test_one_that_vanishes_just_now_is_left_out() -> None:
    async def main() -> None:
        stage = Stage()
        stage.put("tuning", "a")
        stage.api.remove(CONFIG_MAP, SPACE, "tuning")
        assert await stage.read("tuning") == {}

    virtual.run(main())


def test_one_that_cannot_be_read_now_is_an_error() -> None:
    async def main() -> None:
        stage = Stage()
        stage.put("tuning", "a")
        stage.api.fail(status_error(500, "InternalError"), verb="get")
        with pytest.raises(ApiError):
            await stage.read("tuning")

    virtual.run(main())


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contents, "_KEPT", 2)

    async def main() -> None:
        stage = Stage()
        for name in "abc":
            stage.put(name, name)
            await stage.read(name)
        await stage.read("c")
        await stage.read("a")
        assert stage.gets == 4

    virtual.run(main())
