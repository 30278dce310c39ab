"""The reflector against everything that happens to a watch, in virtual time."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.engine import virtual
from tests.engine.fake_api import FakeApi, status_error
from understudy.kube.client import Scope, WatchEvent
from understudy.kube.errors import ApiError, Retry
from understudy.kube.reflector import PAGE, SILENCE, Reflector
from understudy.kube.resources import CONFIG_MAP

SCOPE = Scope(CONFIG_MAP, "n")
END = {"k8s.io/initial-events-end": "true"}


class Mirror:
    """A sink that keeps objects by name and a diary."""

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, Any]] = {}
        self.diary: list[str] = []

    def retain(self, scope: Scope, names: set[tuple[str, str]]) -> None:
        self.diary.append(f"retain {len(names)}")
        self.objects = {name: obj for name, obj in self.objects.items() if ("n", name) in names}

    def upsert(self, scope: Scope, obj: dict[str, Any]) -> None:
        self.diary.append(f"upsert {obj['metadata']['name']}")
        self.objects[obj["metadata"]["name"]] = obj

    def remove(self, scope: Scope, obj: dict[str, Any]) -> None:
        self.diary.append(f"remove {obj['metadata']['name']}")
        self.objects.pop(obj["metadata"]["name"], None)


def put(api: FakeApi, name: str, value: str = "1") -> None:
    api.put(CONFIG_MAP, {"metadata": {"name": name, "namespace": "n"}, "data": {"v": value}})


class Stage:
    """A server, a mirror, and the reflector between them."""

    def __init__(self, page_size: int = 0) -> None:
        """With a page size the server tells no beginnings."""
        self.api = FakeApi()
        self.api.tells_beginnings = not page_size
        self.mirror = Mirror()
        self.reflector = Reflector(self.api, SCOPE, self.mirror, monotonic=virtual.now, page_size=page_size or PAGE)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.reflector.run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def count(self, verb: str) -> int:
        return sum(call.verb == verb for call in self.api.calls)


@asynccontextmanager
async def following(*names: str, page_size: int = 0) -> AsyncIterator[Stage]:
    """A stage on which the named objects have been listed and the watch goes on."""
    stage = Stage(page_size)
    for name in names:
        put(stage.api, name)
    async with stage.running():
        await stage.reflector.synced.wait()
        yield stage


def test_it_lists_then_follows() -> None:
    async def main() -> None:
        async with following("a") as stage:
            put(stage.api, "b")
            await virtual.settle()
            stage.api.remove(CONFIG_MAP, "n", "a")
            await virtual.settle()
        assert stage.mirror.diary == ["upsert a", "retain 1", "upsert b", "remove a"]

    virtual.run(main())


def test_a_list_of_many_pages_is_delivered_as_it_comes_and_says_at_its_end_what_is_there() -> None:
    async def main() -> None:
        async with following(*"abcde", page_size=2) as stage:
            pass
        assert stage.mirror.diary == [*(f"upsert {name}" for name in "abcde"), "retain 5"]
        assert stage.count("list") == 1 + 3

    virtual.run(main())


def test_a_server_that_tells_no_beginnings_is_asked_for_them_once() -> None:
    async def main() -> None:
        async with following("a", page_size=2) as stage:
            await asyncio.sleep(5)
            stage.api.fail(status_error(410, "Expired"), verb="watch")
            stage.api.cut_watches()
            await asyncio.sleep(5)
        assert stage.mirror.diary == ["upsert a", "retain 1"] * 2
        assert stage.count("list") == 1 + 2

    virtual.run(main())


def test_a_beginning_that_breaks_off_is_told_anew() -> None:
    async def main() -> None:
        stage = Stage()
        put(stage.api, "a")
        stage.api.breaks_off = 2
        async with stage.running():
            await stage.reflector.synced.wait()
        assert stage.mirror.diary == ["upsert a", "upsert a", "upsert a", "retain 1"]
        assert stage.count("list") == 3

    virtual.run(main())


def test_what_changes_or_goes_while_a_beginning_is_told_is_not_taken_for_what_is_there() -> None:
    def event(kind: Any, name: str, version: int) -> WatchEvent:
        meta = {"name": name, "namespace": "n", "resourceVersion": str(version)}
        return WatchEvent(kind, {"metadata": meta, "data": {}})

    async def events(*_: Any, **__: Any) -> AsyncGenerator[WatchEvent, None]:
        yield event("ADDED", "goes", 1)
        yield event("ADDED", "stays", 2)
        yield WatchEvent("BOOKMARK", {"metadata": {"resourceVersion": "3"}})
        yield event("DELETED", "goes", 4)
        yield event("MODIFIED", "comes", 5)
        yield WatchEvent("BOOKMARK", {"metadata": {"resourceVersion": "6", "annotations": END}})
        await asyncio.sleep(1000)

    async def main() -> None:
        stage = Stage()
        stage.api.watch = events  # type: ignore[method-assign]
        async with stage.running():
            await stage.reflector.synced.wait()
        assert sorted(stage.mirror.objects) == ["comes", "stays"]
        told = ["upsert goes", "upsert stays", "remove goes", "upsert comes", "retain 2"]
        assert stage.mirror.diary == told

    virtual.run(main())


def test_a_beginning_that_falls_silent_is_listed_instead() -> None:
    async def main() -> None:
        stage = Stage()
        put(stage.api, "a")
        stage.api.breaks_off = -1
        async with stage.running():
            await asyncio.sleep(SILENCE + 1)
            assert stage.reflector.synced.is_set()
        assert stage.count("list") == 2

    virtual.run(main())


def test_what_it_delivers_is_trimmed() -> None:
    async def main() -> None:
        async with following("a") as stage:
            put(stage.api, "b")
            await virtual.settle()
        assert all("data" not in obj for obj in stage.mirror.objects.values())

    virtual.run(main())


def test_an_end_of_stream_is_resumed_without_a_list() -> None:
    async def main() -> None:
        async with following() as stage:
            for name in "abc":
                await asyncio.sleep(2)
                stage.api.cut_watches()
                put(stage.api, name)
                await asyncio.sleep(2)
        assert stage.count("list") == 1
        assert sorted(stage.mirror.objects) == ["a", "b", "c"]

    virtual.run(main())


def test_watches_that_end_at_once_are_not_answered_with_a_storm() -> None:
    async def main() -> None:
        async with following() as stage:
            ends = asyncio.get_running_loop().time() + 60
            while asyncio.get_running_loop().time() < ends:
                stage.api.cut_watches()
                await asyncio.sleep(0.01)
        assert stage.count("watch") < 60

    virtual.run(main())


def test_after_gone_what_vanished_meanwhile_is_gone() -> None:
    async def main() -> None:
        async with following("ghost", "stays") as stage:
            await asyncio.sleep(5)
            stage.api.silence()
            stage.api.remove(CONFIG_MAP, "n", "ghost")
            put(stage.api, "late")
            stage.api.compact()
            stage.api.silence(False)
            stage.api.cut_watches()
            await asyncio.sleep(5)
        assert sorted(stage.mirror.objects) == ["late", "stays"]

    virtual.run(main())


def test_a_gone_in_the_middle_of_a_paged_list_starts_the_list_again() -> None:
    async def main() -> None:
        stage = Stage(page_size=2)
        asked = 1  # for the beginning, in vain
        for name in "abc":
            put(stage.api, name)
        real = stage.api.list_page

        async def once(scope: Scope, *, limit: int = 500, continue_token: str = "") -> Any:
            if continue_token and stage.count("list") == asked + 1:
                put(stage.api, "d")
                stage.api.compact()
            return await real(scope, limit=limit, continue_token=continue_token)

        stage.api.list_page = once  # type: ignore[method-assign]
        async with stage.running():
            await stage.reflector.synced.wait()
        assert sorted(stage.mirror.objects) == ["a", "b", "c", "d"]

    virtual.run(main())


def test_a_list_that_is_gone_again_and_again_is_asked_for_ever_more_rarely() -> None:
    async def main() -> None:
        stage = Stage()
        stage.api.fail(status_error(410, "Expired"), "list", times=1000)
        async with stage.running():
            await asyncio.sleep(60)
        assert 5 < stage.count("list") < 30

    virtual.run(main())


def test_silence_is_broken_by_a_fresh_watch_from_where_the_old_one_was() -> None:
    async def main() -> None:
        async with following() as stage:
            await asyncio.sleep(5)
            stage.api.silence()
            put(stage.api, "unheard")
            await asyncio.sleep(SILENCE - 10)
            assert not stage.mirror.objects
            stage.api.silence(False)
            await asyncio.sleep(10.5)
            assert sorted(stage.mirror.objects) == ["unheard"]
        assert stage.count("list") == 1

    virtual.run(main())


def test_its_age_is_that_of_the_last_word_and_bookmarks_are_words() -> None:
    async def main() -> None:
        async with following() as stage:
            await asyncio.sleep(30)
            assert stage.reflector.age == pytest.approx(30)
            stage.api.bookmark()
            await virtual.settle()
            assert stage.reflector.age == pytest.approx(0)
            assert stage.mirror.diary == ["retain 0"]

    virtual.run(main())


def test_a_server_that_is_down_is_asked_again_and_again_but_not_hammered() -> None:
    async def main() -> None:
        async with following() as stage:
            stage.api.stop()
            await asyncio.sleep(60)
            asked = stage.count("watch")
            assert 5 < asked < 30
            stage.api.stop(False)
            put(stage.api, "a")
            await asyncio.sleep(10)
            assert sorted(stage.mirror.objects) == ["a"]
        assert stage.count("list") == 1

    virtual.run(main())


def test_when_a_server_that_was_down_has_forgotten_the_version_the_list_follows_at_once() -> None:
    async def main() -> None:
        async with following() as stage:
            stage.api.stop()
            await asyncio.sleep(60)
            put(stage.api, "a")
            stage.api.compact()
            asked = stage.count("watch")
            stage.api.stop(False)
            while stage.count("watch") == asked:  # noqa: ASYNC110 - time is virtual
                await asyncio.sleep(0.1)
            await asyncio.sleep(0.3)
            assert sorted(stage.mirror.objects) == ["a"]

    virtual.run(main())


def test_a_list_that_is_refused_for_now_is_tried_again() -> None:
    async def main() -> None:
        stage = Stage()
        stage.api.fail(status_error(403, "Forbidden", "RBAC is still loading"), verb="list", times=3)
        stage.api.fail(status_error(429, "TooManyRequests"), verb="list")
        async with stage.running():
            async with asyncio.timeout(30):
                await stage.reflector.synced.wait()
        assert stage.count("list") == 5

    virtual.run(main())


def test_an_error_inside_the_stream_leads_to_a_fresh_list() -> None:
    async def main() -> None:
        async with following() as stage:
            stage.api.fail(status_error(400, "BadRequest", "no such selector"), verb="watch")
            stage.api.cut_watches()
            await asyncio.sleep(10)
        assert stage.count("list") == 2

    virtual.run(main())


def test_a_busy_server_is_given_the_time_it_asks_for() -> None:
    async def main() -> None:
        stage = Stage()
        stage.api.fail(ApiError(429, "TooManyRequests", "busy", Retry(20.0)), verb="list")
        async with stage.running():
            await stage.reflector.synced.wait()
            assert asyncio.get_running_loop().time() >= 10

    virtual.run(main())
