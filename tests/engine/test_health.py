"""Liveness, readiness and metrics, as the kubelet and Prometheus see them."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import aiohttp
import pytest

from tests.engine import virtual
from tests.engine.fake_api import FakeApi
from tests.kube.test_reflector import Mirror
from understudy.engine.health import Health, serve
from understudy.kube.client import Scope
from understudy.kube.reflector import Reflector
from understudy.kube.resources import MODEL, POD
from understudy.telemetry.operator import OperatorMetrics


class Watches:
    """Two reflectors that never run; the test says what they have heard."""

    def __init__(self) -> None:
        self.time = 0.0
        self.metrics = OperatorMetrics()
        self.reflectors = [
            Reflector(FakeApi(), Scope(resource), Mirror(), monotonic=lambda: self.time) for resource in (MODEL, POD)
        ]
        self.health = Health(self.reflectors, self.metrics)

    def sync(self) -> None:
        for reflector in self.reflectors:
            reflector.synced.set()


@dataclass
class Site:
    """A served Watches."""

    watches: Watches
    session: aiohttp.ClientSession
    port: int

    async def get(self, path: str) -> tuple[int, str]:
        async with self.session.get(f"http://127.0.0.1:{self.port}{path}") as answer:
            return answer.status, await answer.text()


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    watches = Watches()
    runner = await serve(watches.health, watches.metrics, 0)
    async with aiohttp.ClientSession() as session:
        yield Site(watches, session, runner.addresses[0][1])
    await runner.cleanup()


async def test_it_is_not_ready_until_everything_is_listed(site: Site) -> None:
    assert await site.get("/readyz") == (503, "still listing models, pods\n")
    site.watches.reflectors[0].synced.set()
    assert await site.get("/readyz") == (503, "still listing pods\n")
    site.watches.sync()
    assert await site.get("/readyz") == (200, "standing by\n")


async def test_a_leader_says_so(site: Site) -> None:
    site.watches.sync()
    site.watches.health.leading = lambda: True
    assert await site.get("/readyz") == (200, "leading\n")


async def test_it_is_alive_while_it_lists_for_however_long(site: Site) -> None:
    site.watches.time = 10_000.0
    assert await site.get("/healthz") == (200, "ok\n")


async def test_a_watch_that_is_silent_for_minutes_is_sick(site: Site) -> None:
    site.watches.sync()
    site.watches.time = 299.0
    assert await site.get("/healthz") == (200, "ok\n")
    site.watches.time = 301.0
    assert await site.get("/healthz") == (503, "nothing heard about models for 301 s\n")


async def test_a_loop_that_runs_late_is_sick(site: Site) -> None:
    site.watches.health._lag = 11.0
    assert await site.get("/healthz") == (503, "the event loop runs 11.0 s late\n")


async def test_metrics_are_in_the_text_format(site: Site) -> None:
    site.watches.metrics.leader.set(1)
    status, text = await site.get("/metrics")
    assert status == 200
    assert "understudy_leader 1.0" in text


async def test_some_series_can_be_asked_for_by_name(site: Site) -> None:
    _, text = await site.get("/metrics?name[]=understudy_leader&name[]=understudy_queue")
    assert [line for line in text.splitlines() if not line.startswith("#")] == ["understudy_leader 0.0"]


async def test_what_is_not_served_is_not_found(site: Site) -> None:
    assert (await site.get("/"))[0] == 404


def test_of_a_resource_that_is_watched_in_two_places_the_longest_silence_is_told() -> None:
    watches = Watches()
    watches.time = 4.0
    later = Reflector(FakeApi(), Scope(POD, "other"), Mirror(), monotonic=lambda: watches.time)
    health = Health([*watches.reflectors, later], watches.metrics)
    watches.time = 7.0
    assert health._ages() == {"models": 7.0, "pods": 7.0}


def test_it_measures_its_watches_and_itself() -> None:
    async def main() -> None:
        watches = Watches()
        task = asyncio.create_task(watches.health.watch_loop())
        watches.time = 42.0
        await asyncio.sleep(1)
        value = watches.metrics.registry.get_sample_value("understudy_watch_age_seconds", {"resource": "models"})
        assert value == 42
        assert watches.metrics.registry.get_sample_value("understudy_loop_lag_seconds") == 0
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    virtual.run(main())
