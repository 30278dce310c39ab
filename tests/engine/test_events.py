"""Kubernetes events: said once, counted, never in the way."""

import asyncio
from typing import Any

from tests.engine import virtual
from tests.engine.fake_api import FakeApi, status_error
from tests.engine.objects import SPACE, deployment
from understudy.engine.events import EventRecorder
from understudy.kube.resources import EVENT
from understudy.plan.actions import Emit
from understudy.telemetry.operator import OperatorMetrics

REVERTED = Emit("Warning", "Reverting", "a90b1234 answers as another model")


class Stage:
    def __init__(self) -> None:
        self.api = FakeApi()
        self.metrics = OperatorMetrics()
        self.time = 1_800_000_000.0
        self.recorder = EventRecorder(self.api, "pod-1", wall=lambda: self.time, metrics=self.metrics)

    def say(self, emit: Emit = REVERTED, about: str = "talk") -> None:
        self.recorder.record(deployment(about), emit)

    async def flush(self) -> None:
        task = asyncio.create_task(self.recorder.run())
        await virtual.settle()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    def events(self) -> list[dict[str, Any]]:
        return [dict(obj) for name, obj in sorted(self.api._objects.items(), key=str) if name[0] == EVENT]

    def count(self, outcome: str) -> float:
        return self.metrics.registry.get_sample_value("understudy_events_total", {"outcome": outcome}) or 0


def test_an_event_says_what_about_whom_and_when() -> None:
    async def main() -> None:
        stage = Stage()
        stage.say()
        await stage.flush()
        event = stage.events()[0]
        assert event["type"] == "Warning"
        assert event["reason"] == "Reverting"
        assert event["message"] == "a90b1234 answers as another model"
        assert event["count"] == 1
        assert event["lastTimestamp"] == "2027-01-15T08:00:00Z"
        assert event["involvedObject"] == {
            "apiVersion": "understudy.dev/v1alpha1",
            "kind": "ModelDeployment",
            "namespace": SPACE,
            "name": "talk",
            "uid": "uid-talk",
        }
        assert event["metadata"]["namespace"] == SPACE
        assert event["reportingInstance"] == "pod-1"

    virtual.run(main())


def test_the_same_again_within_a_minute_is_not_written_but_counted() -> None:
    async def main() -> None:
        stage = Stage()
        for _ in range(30):
            stage.say()
            stage.time += 1
        await stage.flush()
        assert [event["count"] for event in stage.events()] == [1]
        stage.time += 60
        stage.say()
        await stage.flush()
        assert [event["count"] for event in stage.events()] == [31], "one object, its count raised"
        assert stage.count("repeated") == 29

    virtual.run(main())


def test_after_a_long_silence_it_counts_from_one_again() -> None:
    async def main() -> None:
        stage = Stage()
        stage.say()
        await stage.flush()
        stage.time += 3600
        stage.say()
        await stage.flush()
        assert [event["count"] for event in stage.events()] == [1]

    virtual.run(main())


def test_other_words_are_another_event() -> None:
    async def main() -> None:
        stage = Stage()
        stage.say()
        stage.say(Emit("Warning", "Reverting", "other words"))
        stage.say(about="walk")
        await stage.flush()
        assert len(stage.events()) == 3

    virtual.run(main())


def test_one_object_cannot_flood_and_another_is_still_heard() -> None:
    async def main() -> None:
        stage = Stage()
        for number in range(100):
            stage.say(Emit("Normal", "Noise", str(number)))
        stage.say(about="walk")
        await stage.flush()
        about = [event["involvedObject"]["name"] for event in stage.events()]
        assert about.count("talk") == 20
        assert about.count("walk") == 1
        assert stage.count("dropped") == 80
        stage.time += 30
        for number in range(100, 110):
            stage.say(Emit("Normal", "Noise", str(number)))
        await stage.flush()
        assert len(stage.events()) == 23, "two more after half a minute"

    virtual.run(main())


def test_a_writer_that_is_stuck_costs_events_and_nothing_else() -> None:
    async def main() -> None:
        stage = Stage()
        for number in range(1000):
            stage.say(about=f"d{number}")
        assert stage.recorder._waiting.qsize() == 512
        assert stage.count("dropped") == 488

    virtual.run(main())


def test_what_it_remembers_is_bounded() -> None:
    async def main() -> None:
        stage = Stage()
        for number in range(5000):
            stage.say(about=f"d{number}")
        assert len(stage.recorder._told) == 4096
        assert len(stage.recorder._buckets) <= 4096

    virtual.run(main())


def test_a_write_that_fails_is_counted_and_the_next_one_is_made() -> None:
    async def main() -> None:
        stage = Stage()
        stage.api.fail(status_error(403, "Forbidden", "the namespace is being terminated"), verb="apply")
        stage.say()
        stage.say(about="walk")
        await stage.flush()
        assert len(stage.events()) == 1
        assert (stage.count("failed"), stage.count("written")) == (1, 1)

    virtual.run(main())


def test_a_long_message_is_cut_to_what_the_server_takes() -> None:
    async def main() -> None:
        stage = Stage()
        stage.say(Emit("Normal", "Long", "x" * 5000))
        await stage.flush()
        assert len(stage.events()[0]["message"]) == 1000

    virtual.run(main())
