"""One pass: when it is made, in what order it writes, and when it is made again."""

import asyncio
from collections.abc import Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from tests.engine import virtual
from tests.engine.fake_api import FakeApi, status_error
from tests.engine.objects import SPACE, child, deployment, made
from tests.engine.test_gateways import Fleet
from tests.engine.test_prober import Pod, listed, probe
from understudy.api.v1alpha1.modeldeployment import ModelDeploymentSpec
from understudy.domain.key import Key
from understudy.engine import reconcile
from understudy.engine.asking import AskError, Detectors
from understudy.engine.cache import Cache
from understudy.engine.clock import Clock
from understudy.engine.contents import ConfigMapContents
from understudy.engine.events import EventRecorder
from understudy.engine.executor import Executor
from understudy.engine.gateways import GatewayPoller
from understudy.engine.holders import Holders
from understudy.engine.observe import Sources
from understudy.engine.prober import Prober
from understudy.engine.queue import WorkQueue
from understudy.engine.reconcile import Reconciler
from understudy.engine.replayer import Replayer
from understudy.engine.wake import Waker, Work
from understudy.guard.served.codec import Question
from understudy.guard.served.judge import Judge
from understudy.kube.client import Scope
from understudy.kube.reflector import Reflector
from understudy.kube.resources import (
    CONFIG_MAP,
    DEPLOYMENT,
    GUARDRAIL,
    MODEL,
    MODEL_DEPLOYMENT,
    MODEL_SNAPSHOT,
    ROUTING_TABLE,
    Resource,
)
from understudy.plan.actions import Apply, Plan
from understudy.plan.memory import Memory
from understudy.plan.observed import Observed, Settings
from understudy.plan.wanted import Blocked, Reading
from understudy.telemetry.operator import OperatorMetrics

TALK = Key(SPACE, "talk")
WORK = Work("ModelDeployment", TALK)
LEXICON = {"name": "words", "type": "lexicon", "configMapRef": {"name": "none"}}


class Nowhere:
    """No server is outside."""

    async def ask(self, judge: Judge, question: Question) -> bytes:
        raise AskError("nobody is there")


class Stage:
    """A reconciler with one worker, real reflectors, and a planner that the test writes."""

    def __init__(self, decide: Callable[[Observed], Plan]) -> None:
        self.api = FakeApi()
        self.metrics = OperatorMetrics()
        self.queue: WorkQueue[Work] = WorkQueue(self.metrics)
        self.cache = Cache(self.metrics, virtual.now)
        self.waker = Waker(self.cache)
        self.waker.begin(self.queue.add)
        self.cache.listen(self.waker.changed)
        self.pod = Pod()
        self.prober = Prober(self.pod, monotonic=virtual.now, metrics=self.metrics, wake=lambda _key: None)
        self.poller = GatewayPoller(
            self.cache, "system", Fleet(), interval=1, monotonic=virtual.now, metrics=self.metrics, wake=_nobody
        )
        self.recorder = EventRecorder(self.api, "me", wall=virtual.now, metrics=self.metrics)
        self.seen: list[Observed] = []
        self.times: list[float] = []

        def deciding(observed: Observed) -> Plan:
            self.seen.append(observed)
            self.times.append(round(virtual.now(), 3))
            return decide(observed)

        contents = ConfigMapContents(self.api, self.cache)
        detectors = Detectors(self.pod, Nowhere(), lambda _key: None)
        self.replayer = Replayer(self.pod, detectors, contents, self.metrics, wake=lambda _key: None)
        sources = Sources(
            self.cache, self.waker, self.poller, self.prober, Clock(virtual.now, virtual.now, "me"), Settings()
        )
        self.reconciler = Reconciler(
            sources,
            contents,
            Holders(self.api, self.cache, virtual.now),
            self.replayer,
            Executor(self.api, self.cache, self.recorder, self.metrics, virtual.now),
            self.queue,
            self.metrics,
            epoch=3,
            decide=deciding,
        )

    @asynccontextmanager
    async def running(self, *resources: Resource) -> Any:
        watched = resources or (MODEL_DEPLOYMENT, MODEL, GUARDRAIL, DEPLOYMENT, ROUTING_TABLE, CONFIG_MAP)
        reflectors = [Reflector(self.api, Scope(r), self.cache, monotonic=virtual.now) for r in watched]
        tasks = [asyncio.create_task(reflector.run()) for reflector in reflectors]
        for reflector in reflectors:
            await reflector.synced.wait()
        tasks.append(asyncio.create_task(self.reconciler.work()))
        try:
            yield
        finally:
            await self.prober.stop()
            await self.replayer.stop()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def writes(self) -> list[str]:
        return [f"{call.verb} {call.resource.kind}" for call in self.api.writes()]

    def result(self, result: str, kind: str = "ModelDeployment") -> float:
        labels = {"kind": kind, "result": result}
        return self.metrics.registry.get_sample_value("understudy_reconcile_seconds_count", labels) or 0


def _nobody(_keys: Iterable[Key]) -> None:
    return None


def pool(replicas: int = 1) -> Apply:
    obj = child(DEPLOYMENT, "talk-1", "talk", "1", spec={"replicas": replicas})
    del obj["metadata"]["uid"], obj["metadata"]["resourceVersion"]
    return Apply(obj)


def test_actions_come_before_the_status() -> None:
    async def main() -> None:
        stage = Stage(lambda _: Plan((pool(),), {"phase": "Stable"}))
        stage.api.put(MODEL_DEPLOYMENT, deployment())
        async with stage.running():
            await asyncio.sleep(1)
        assert stage.writes() == ["apply Deployment", "replace/status ModelDeployment"]

    virtual.run(main())


def test_a_commit_writes_the_status_first() -> None:
    async def main() -> None:
        stage = Stage(lambda _: Plan((pool(),), {"phase": "Stable"}, status_first=True))
        stage.api.put(MODEL_DEPLOYMENT, deployment())
        async with stage.running():
            await asyncio.sleep(1)
        assert stage.writes() == ["replace/status ModelDeployment", "apply Deployment"]

    virtual.run(main())


def test_a_commit_that_fails_writes_nothing_else() -> None:
    async def main() -> None:
        stage = Stage(lambda _: Plan((pool(),), {"phase": "Stable"}, status_first=True))
        stage.api.put(MODEL_DEPLOYMENT, deployment())
        stage.api.fail(status_error(409, "Conflict"), verb="replace/status")
        async with stage.running():
            await asyncio.sleep(0.04)
            assert stage.writes() == ["replace/status ModelDeployment"]
            await asyncio.sleep(1)
        assert stage.writes()[1:] == ["replace/status ModelDeployment", "apply Deployment"]

    virtual.run(main())


def test_the_status_is_bound_to_what_was_observed() -> None:
    async def main() -> None:
        stage = Stage(lambda _: Plan((), {"phase": "Stable"}))
        stored = stage.api.put(MODEL_DEPLOYMENT, deployment())
        async with stage.running():
            await asyncio.sleep(1)
        meta = stage.api.writes()[0].body["metadata"]
        assert meta["uid"] == stored["metadata"]["uid"]
        assert meta["resourceVersion"] == stored["metadata"]["resourceVersion"]
        assert stage.api.writes()[0].manager == "understudy-status"

    virtual.run(main())


def test_an_edit_between_look_and_write_wins() -> None:
    async def main() -> None:
        def decide(observed: Observed) -> Plan:
            assert observed.deployment is not None
            generation = observed.deployment["metadata"]["generation"]
            if generation == 1:
                stage.api.put(MODEL_DEPLOYMENT, deployment(spec={"replicas": 2}))
            return Plan((), {"observedGeneration": generation})

        stage = Stage(decide)
        stage.api.put(MODEL_DEPLOYMENT, deployment())
        async with stage.running():
            await asyncio.sleep(1)
        stored = stage.api.read(MODEL_DEPLOYMENT, SPACE, "talk")
        assert stored is not None
        assert stored["status"] == {"observedGeneration": 2}
        assert stage.result("conflict") == 1

    virtual.run(main())


def test_nothing_to_change_means_nothing_written_and_no_next_pass() -> None:
    async def main() -> None:
        stage = Stage(lambda _: Plan((pool(),), {"phase": "Stable"}))
        stage.api.put(MODEL_DEPLOYMENT, deployment())
        async with stage.running():
            await asyncio.sleep(5)
            passes = len(stage.seen)
            await asyncio.sleep(600)
            assert len(stage.seen) == passes
        assert len(stage.writes()) == 2

    virtual.run(main())


def test_a_plan_is_asked_again_when_it_wants_to_be() -> None:
    async def main() -> None:
        stage = Stage(lambda _: Plan(requeue_after=7.0, status={}))
        stage.api.put(MODEL_DEPLOYMENT, deployment())
        async with stage.running():
            await asyncio.sleep(22)
        assert stage.times[-3:] == pytest.approx([7, 14, 21], abs=0.2)

    virtual.run(main())


def test_no_plan_is_made_on_a_past_that_our_own_write_has_changed() -> None:
    async def main() -> None:
        wanted = [1]
        stage = Stage(lambda _: Plan((pool(wanted[0]),)))
        stage.api.put(MODEL_DEPLOYMENT, deployment())
        async with stage.running():
            await asyncio.sleep(0.5)
            stage.api.silence()
            passes = len(stage.seen)
            wanted[0] = 2
            stage.queue.add(WORK)
            await asyncio.sleep(0.5)
            assert len(stage.seen) == passes + 1
            stage.queue.add(WORK)
            await asyncio.sleep(5)
            assert len(stage.seen) == passes + 1, "it waits for its own write to show"
            await asyncio.sleep(6)
            assert len(stage.seen) == passes + 2, "but not for ever"
        assert stage.metrics.registry.get_sample_value("understudy_cache_behind_timeouts_total") == 1

    virtual.run(main())


def test_memory_goes_from_pass_to_pass_even_if_the_writes_failed() -> None:
    async def main() -> None:
        def decide(observed: Observed) -> Plan:
            at = 0.0 if observed.memory is None else observed.memory.monotonic
            return Plan((pool(),), {}, memory=Memory(process="me", monotonic=at + 1), requeue_after=1)

        stage = Stage(decide)
        stage.api.put(MODEL_DEPLOYMENT, deployment())
        stage.api.fail(status_error(500, "InternalError"), verb="apply", times=2)
        async with stage.running():
            await asyncio.sleep(10)
        left = [0.0 if o.memory is None else o.memory.monotonic for o in stage.seen]
        assert left == [float(n) for n in range(len(left))]

    virtual.run(main())


def test_what_was_read_of_specs_is_kept_of_so_many_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconcile, "_READINGS", 2)
    spec = ModelDeploymentSpec.model_validate({"modelRef": {"name": "m"}, "engine": {"type": "sim"}})
    reading = Reading((), spec, Blocked("Waits", "for something", passing=True))

    async def main() -> None:
        stage = Stage(lambda _: Plan(status={}, memory=Memory("me", 0.0, reading=reading), requeue_after=1))
        for name in "abcd":
            stage.api.put(MODEL_DEPLOYMENT, deployment(name))
        async with stage.running():
            await asyncio.sleep(1.5)
        first, second = stage.seen[:4], stage.seen[4:8]
        assert [o.memory for o in first] == [None] * 4
        kept = [o.memory.reading for o in second if o.memory is not None]
        assert kept == [reading, reading, reading, None]

    virtual.run(main())


def test_a_failure_is_tried_again_later_and_later() -> None:
    async def main() -> None:
        stage = Stage(lambda _: Plan((pool(),)))
        stage.api.put(MODEL_DEPLOYMENT, deployment())
        stage.api.fail(status_error(500, "InternalError"), verb="apply", times=8)
        async with stage.running():
            await asyncio.sleep(60)
        gaps = [later - earlier for earlier, later in zip(stage.times, stage.times[1:], strict=False)]
        assert gaps[0] == pytest.approx(1), "an answer says after how long at least"
        assert gaps[6] == pytest.approx(3.2)
        assert stage.writes()[-1] == "apply Deployment"
        assert stage.result("retry") == 8

    virtual.run(main())


def test_a_defect_in_one_plan_stops_neither_itself_nor_the_others() -> None:
    async def main() -> None:
        def decide(observed: Observed) -> Plan:
            if observed.key == TALK:
                raise ZeroDivisionError
            return Plan((), {"phase": "Stable"})

        stage = Stage(decide)
        stage.api.put(MODEL_DEPLOYMENT, deployment("talk"))
        stage.api.put(MODEL_DEPLOYMENT, deployment("walk"))
        async with stage.running():
            await asyncio.sleep(5)
        assert stage.result("crash") > 3
        assert stage.writes() == ["replace/status ModelDeployment"]

    virtual.run(main())


def test_a_refusal_for_ever_is_told_to_the_next_plan_whose_status_is_written_all_the_same() -> None:
    async def main() -> None:
        def decide(observed: Observed) -> Plan:
            return Plan((pool(),), {"phase": "Preparing", "plan": observed.refused})

        stage = Stage(decide)
        stage.api.put(MODEL_DEPLOYMENT, deployment())
        error = status_error(500, "", "failed to create typed patch object: .spec.x: field not declared in schema")
        stage.api.fail(error, verb="apply", times=1000)
        async with stage.running():
            await asyncio.sleep(1)
            stored = stage.api.read(MODEL_DEPLOYMENT, SPACE, "talk")
            assert stored is not None
            assert "field not declared" in stored["status"]["plan"]
            tries = stage.writes().count("apply Deployment")
            await asyncio.sleep(120)
            assert stage.writes().count("apply Deployment") - tries <= 5
        assert stage.seen[0].refused == ""

    virtual.run(main())


def record_status() -> Apply:
    """A record's status, in a version that is long past."""
    meta = {"name": "talk-1", "namespace": SPACE, "uid": "u", "resourceVersion": "1"}
    obj = {"apiVersion": MODEL_SNAPSHOT.api_version, "kind": MODEL_SNAPSHOT.kind, "metadata": meta, "status": {"a": 1}}
    return Apply(obj, uid="u", resource_version="1", manager="understudy-status", subresource="status")


@pytest.mark.parametrize("status_first", [False, True])
def test_a_conflict_on_a_record_does_not_hold_up_the_deployments_own_status(status_first: bool) -> None:
    async def main() -> None:
        stage = Stage(lambda _: Plan((record_status(), pool()), {"phase": "Stable"}, status_first=status_first))
        stage.api.put(MODEL_DEPLOYMENT, deployment())
        stage.api.fail(status_error(409, "Conflict", "the object has been modified"), kind="ModelSnapshot")
        async with stage.running():
            await asyncio.sleep(1)
        order = ["replace/status ModelSnapshot", "replace/status ModelDeployment"]
        # Of the other writes the next pass decides, on what is there by then.
        assert stage.writes()[:3] == [*(reversed(order) if status_first else order), "replace/status ModelSnapshot"]

    virtual.run(main())


def test_a_conflict_on_anything_else_does() -> None:
    async def main() -> None:
        stage = Stage(lambda _: Plan((pool(),), {"phase": "Stable"}))
        stage.api.put(MODEL_DEPLOYMENT, deployment())
        stage.api.fail(status_error(409, "Conflict", "the object has been modified"), verb="apply", times=1)
        async with stage.running():
            await asyncio.sleep(60)
        assert stage.writes() == ["apply Deployment", "apply Deployment", "replace/status ModelDeployment"]

    virtual.run(main())


def test_what_is_no_longer_refused_is_no_longer_told() -> None:
    async def main() -> None:
        stage = Stage(lambda _: Plan((pool(),), {}, requeue_after=5))
        stage.api.put(MODEL_DEPLOYMENT, deployment())
        stage.api.fail(status_error(422, "Invalid", "no"), verb="apply")
        async with stage.running():
            await asyncio.sleep(60)
        assert [bool(o.refused) for o in stage.seen[:2]] == [False, True]
        assert stage.seen[-1].refused == ""

    virtual.run(main())


def test_probes_of_the_plan_are_made_and_end_with_it() -> None:
    async def main() -> None:
        wanted = [(replace(probe(), interval=1.0),), ()]
        stage = Stage(lambda _: Plan((), {}, probes=wanted[0], requeue_after=1))
        stage.pod.models = listed()
        stage.api.put(MODEL_DEPLOYMENT, deployment())
        async with stage.running():
            await asyncio.sleep(3.5)
            assert stage.seen[-1].probes["pod-1"].identity == "ok"
            wanted.pop(0)
            await asyncio.sleep(2)
            asked = len(stage.pod.asked)
            await asyncio.sleep(5)
            assert len(stage.pod.asked) == asked

    virtual.run(main())


@pytest.mark.parametrize(("again", "active"), [(1.0, True), (30.0, False), (None, False)])
def test_gateways_are_polled_fast_for_those_who_want_to_be_asked_soon(again: float | None, active: bool) -> None:
    async def main() -> None:
        stage = Stage(lambda _: Plan((), {}, requeue_after=again))
        stage.api.put(MODEL_DEPLOYMENT, deployment())
        async with stage.running():
            await asyncio.sleep(0.5)
            assert (TALK in stage.poller._active) is active

    virtual.run(main())


def test_passes_that_write_nothing_let_others_have_their_turn() -> None:
    async def main() -> None:
        stage = Stage(lambda _: Plan((), {}, requeue_after=60.0))
        for number in range(3):
            stage.queue.add(Work("ModelDeployment", Key(SPACE, f"talk-{number}")))
        working = asyncio.create_task(stage.reconciler.work())
        for turn in range(1, 4):
            await asyncio.sleep(0)
            assert len(stage.seen) == turn
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)

    virtual.run(main())


def test_those_who_were_looked_at_together_are_not_looked_at_together_for_ever() -> None:
    async def main() -> None:
        stage = Stage(lambda _: Plan((), {}, requeue_after=60.0))
        for number in range(50):
            stage.api.put(MODEL_DEPLOYMENT, deployment(f"talk-{number}"))
        async with stage.running():
            await asyncio.sleep(40)
            stage.times.clear()
            await asyncio.sleep(21)
        assert len(stage.times) == 50, "each once, and not later than it asked for"
        assert max(stage.times) - min(stage.times) > 5

    virtual.run(main())


def test_a_written_table_makes_the_gateways_be_asked_at_once() -> None:
    async def main() -> None:
        table = child(ROUTING_TABLE, "talk", "talk", spec={"epoch": 3})
        del table["metadata"]["uid"], table["metadata"]["resourceVersion"]
        stage = Stage(lambda _: Plan((Apply(table),), {}))
        before = stage.poller._hurry
        stage.api.put(MODEL_DEPLOYMENT, deployment())
        async with stage.running():
            await asyncio.sleep(1)
        assert before.is_set()

    virtual.run(main())


def test_a_deployment_that_is_gone_is_planned_for_and_then_forgotten() -> None:
    async def main() -> None:
        stage = Stage(lambda o: Plan((), {} if o.deployment else None, memory=Memory(process="me", monotonic=1)))
        stage.api.put(MODEL_DEPLOYMENT, deployment())
        async with stage.running():
            await asyncio.sleep(1)
            assert stage.reconciler._carried
            stage.api.remove(MODEL_DEPLOYMENT, SPACE, "talk")
            await asyncio.sleep(1)
        assert stage.seen[-1].deployment is None
        assert not stage.reconciler._carried

    virtual.run(main())


def test_a_broken_invariant_is_counted() -> None:
    async def main() -> None:
        stage = Stage(lambda _: Plan((), {}, violated=("I2: weights sum to 90",)))
        stage.api.put(MODEL_DEPLOYMENT, deployment())
        async with stage.running():
            await asyncio.sleep(1)
        assert stage.metrics.registry.get_sample_value("understudy_invariant_violations_total") == len(stage.seen)

    virtual.run(main())


def test_config_maps_come_whole() -> None:
    async def main() -> None:
        stage = Stage(lambda _: Plan((), {}))
        stage.api.put(CONFIG_MAP, {"metadata": {"name": "tuning", "namespace": SPACE}, "data": {"a": "1"}})
        stage.api.put(MODEL_DEPLOYMENT, deployment(spec={"envFrom": [{"configMapRef": {"name": "tuning"}}]}))
        async with stage.running():
            await asyncio.sleep(1)
        assert stage.seen[-1].configmaps["tuning"]["data"] == {"a": "1"}

    virtual.run(main())


def test_a_config_map_that_cannot_be_read_puts_the_pass_off() -> None:
    async def main() -> None:
        stage = Stage(lambda _: Plan((), {}))
        stage.api.put(CONFIG_MAP, {"metadata": {"name": "tuning", "namespace": SPACE}, "data": {"a": "1"}})
        stage.api.put(MODEL_DEPLOYMENT, deployment(spec={"envFrom": [{"configMapRef": {"name": "tuning"}}]}))
        stage.api.fail(status_error(503, "ServiceUnavailable"), verb="get")
        async with stage.running():
            await asyncio.sleep(0.5)
            assert stage.seen == []
            await asyncio.sleep(5)
            assert stage.seen

    virtual.run(main())


def test_models_and_guardrails_get_their_status() -> None:
    async def main() -> None:
        stage = Stage(lambda _: Plan((), {}))
        stage.api.put(MODEL, made(MODEL, "storyteller", spec={"source": {"enginePath": "/m"}, "tasks": ["chat"]}))
        stage.api.put(GUARDRAIL, made(GUARDRAIL, "safe", spec={"detectors": [LEXICON]}))
        stage.api.put(MODEL_DEPLOYMENT, deployment())
        async with stage.running():
            await asyncio.sleep(2)
            stage.api.remove(MODEL, SPACE, "storyteller")
            await asyncio.sleep(2)
        assert "replace/status Model" in stage.writes()
        assert "replace/status Guardrail" in stage.writes()
        assert stage.result("ok", "Model") >= 2

    virtual.run(main())


@pytest.mark.slow
def test_looks_by_the_clock_become_rarer_the_more_want_them() -> None:
    async def main() -> None:
        stage = Stage(lambda _: Plan((), {}, requeue_after=1.0))
        for number in range(750):
            stage.api.put(MODEL_DEPLOYMENT, deployment(f"talk-{number}"))
        async with stage.running():
            await asyncio.sleep(4)
            stage.times.clear()
            await asyncio.sleep(6)
        assert len(stage.times) == pytest.approx(750 * 4, abs=750), "each every second and a half"

    virtual.run(main())


@pytest.mark.slow
def test_who_needs_no_early_look_takes_none_from_the_others() -> None:
    async def main() -> None:
        early = True
        stage = Stage(lambda o: Plan((), {}, requeue_after=1.0 if early or o.key == TALK else 60.0))
        for number in range(750):
            stage.api.put(MODEL_DEPLOYMENT, deployment(f"talk-{number}"))
        stage.api.put(MODEL_DEPLOYMENT, deployment("talk"))
        async with stage.running():
            await asyncio.sleep(5)
            early = False
            await asyncio.sleep(10)
            stage.seen.clear()
            await asyncio.sleep(10)
        assert len([observed for observed in stage.seen if observed.key == TALK]) in (9, 10)

    virtual.run(main())
