"""The executor: in order, only what is needed, on the conditions given, and no further than the first failure."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.engine import virtual
from tests.engine.fake_api import FakeApi, status_error
from tests.engine.objects import SPACE, child, deployment
from understudy.domain.key import Key
from understudy.domain.names import ANNOTATION_APPLIED_HASH
from understudy.engine.cache import Cache, Ref
from understudy.engine.events import EventRecorder
from understudy.engine.executor import Executor, Result
from understudy.kube.client import Object, Scope
from understudy.kube.errors import Conflict, Retry, Terminal
from understudy.kube.resources import DEPLOYMENT, MODEL_DEPLOYMENT, MODEL_SNAPSHOT, SERVICE, Resource
from understudy.kube.trim import trim
from understudy.plan.actions import Action, Apply, Delete, Emit
from understudy.telemetry.operator import OperatorMetrics

TALK = Key(SPACE, "talk")


class Stage:
    """A server, a cache that catches up only when told to, and an executor."""

    def __init__(self) -> None:
        self.api = FakeApi()
        self.metrics = OperatorMetrics()
        self.cache = Cache(self.metrics, virtual.now)
        self.recorder = EventRecorder(self.api, "me", wall=virtual.now, metrics=self.metrics)
        self.executor = Executor(self.api, self.cache, self.recorder, self.metrics, virtual.now)

    async def run(self, *actions: Action) -> Result:
        return await self.executor.run(TALK, actions)

    def catch_up(self) -> None:
        for resource in (DEPLOYMENT, SERVICE, MODEL_SNAPSHOT, MODEL_DEPLOYMENT):
            found = [obj for name, obj in self.api._objects.items() if name[0] == resource]
            for obj in found:
                self.cache.upsert(Scope(resource), trim(resource, obj))
            self.cache.retain(Scope(resource), {(name[1], name[2]) for name in self.api._objects})

    def stored(self, resource: Resource, name: str) -> dict[str, Any]:
        obj = self.api.read(resource, SPACE, name)
        assert obj is not None
        return obj

    def written(self) -> list[str]:
        return [f"{call.verb} {call.resource.kind} {call.name}" for call in self.api.writes()]

    def fresh_process(self) -> None:
        """The same cluster and cache, in a process that remembers nothing."""
        self.executor = Executor(self.api, self.cache, self.recorder, self.metrics, virtual.now)
        self.api.calls.clear()


def pool(replicas: int = 1, name: str = "talk-1", **meta: Any) -> dict[str, Any]:
    obj = child(DEPLOYMENT, name, "talk", spec={"replicas": replicas})
    for field in ("uid", "resourceVersion"):
        del obj["metadata"][field]
    obj["metadata"].update(meta)
    return obj


def status_of(resource: Resource, name: str, status: Any, **conditions: str) -> Apply:
    obj = {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": {"name": name, "namespace": SPACE},
        "status": status,
    }
    return Apply(obj, manager="understudy-status", subresource="status", **conditions)


def tried(test: Callable[[Stage], Awaitable[None]]) -> Callable[[], None]:
    """Runs a test on a fresh stage in virtual time."""

    def wrapped() -> None:
        async def main() -> None:
            await test(Stage())

        virtual.run(main())

    wrapped.__name__ = test.__name__
    return wrapped


@tried
async def test_an_apply_stores_the_object_with_the_hash_of_what_was_applied(stage: Stage) -> None:
    assert await stage.run(Apply(pool())) == Result(written=1)
    stored = stage.stored(DEPLOYMENT, "talk-1")
    assert stored["spec"] == {"replicas": 1}
    assert len(stored["metadata"]["annotations"][ANNOTATION_APPLIED_HASH]) == 32


@tried
async def test_what_a_pass_has_seen_is_not_read_again_before_the_first_write(stage: Stage) -> None:
    await stage.run(Apply(pool()), Apply(pool(name="talk-2")))
    stage.catch_up()
    seen = {("Deployment", name): stage.cache.get(DEPLOYMENT, SPACE, name) or {} for name in ("talk-1", "talk-2")}
    stage.cache.retain(Scope(DEPLOYMENT), set())
    assert await stage.executor.run(TALK, [Apply(pool()), Apply(pool(name="talk-2"))], seen) == Result(written=0)
    # What was seen before a write may be another by now.
    actions = [Apply(pool(2)), Apply(pool(name="talk-2"))]
    assert await stage.executor.run(TALK, actions, seen) == Result(written=2)


@tried
async def test_annotations_of_the_object_stay_beside_the_hash(stage: Stage) -> None:
    await stage.run(Apply(pool(annotations={"mine": "yes"})))
    assert stage.stored(DEPLOYMENT, "talk-1")["metadata"]["annotations"]["mine"] == "yes"


@tried
async def test_what_is_as_applied_is_not_written_again(stage: Stage) -> None:
    await stage.run(Apply(pool()))
    stage.catch_up()
    assert await stage.run(Apply(pool())) == Result(written=0)
    assert len(stage.written()) == 1


@tried
async def test_a_new_process_writes_nothing_either(stage: Stage) -> None:
    await stage.run(Apply(pool()))
    stage.catch_up()
    stage.fresh_process()
    await stage.run(Apply(pool()))
    assert stage.written() == []


@tried
async def test_another_desire_is_written(stage: Stage) -> None:
    await stage.run(Apply(pool(1)))
    stage.catch_up()
    await stage.run(Apply(pool(2)))
    assert stage.stored(DEPLOYMENT, "talk-1")["spec"] == {"replicas": 2}


@tried
async def test_conditions_are_no_part_of_the_desire(stage: Stage) -> None:
    await stage.run(Apply(pool()))
    stage.catch_up()
    meta = stage.stored(DEPLOYMENT, "talk-1")["metadata"]
    await stage.run(Apply(pool(), uid=meta["uid"], resource_version=meta["resourceVersion"]))
    assert len(stage.written()) == 1


@tried
async def test_what_somebody_scaled_is_scaled_back(stage: Stage) -> None:
    await stage.run(Apply(pool(1)))
    stage.api.touch_as(DEPLOYMENT, SPACE, "talk-1", "kubectl", ("spec", "replicas"), 5)
    stage.catch_up()
    await stage.run(Apply(pool(1)))
    assert stage.stored(DEPLOYMENT, "talk-1")["spec"] == {"replicas": 1}


@tried
async def test_a_field_that_somebody_else_owns_beside_ours_is_fought_over_once_and_not_for_ever(stage: Stage) -> None:
    await stage.run(Apply(pool()))
    stage.api.touch_as(DEPLOYMENT, SPACE, "talk-1", "kubectl", ("metadata", "labels", "team"), "red")
    for _ in range(5):
        stage.catch_up()
        await stage.run(Apply(pool()))
    assert len(stage.written()) == 2
    assert stage.stored(DEPLOYMENT, "talk-1")["metadata"]["labels"]["team"] == "red"


@tried
async def test_after_that_another_foreign_touch_is_noticed_again(stage: Stage) -> None:
    await stage.run(Apply(pool()))
    stage.api.touch_as(DEPLOYMENT, SPACE, "talk-1", "kubectl", ("metadata", "labels", "team"), "red")
    stage.catch_up()
    await stage.run(Apply(pool()))
    stage.api.touch_as(DEPLOYMENT, SPACE, "talk-1", "kubectl", ("spec", "replicas"), 7)
    stage.catch_up()
    await stage.run(Apply(pool()))
    assert stage.stored(DEPLOYMENT, "talk-1")["spec"] == {"replicas": 1}


@tried
async def test_an_object_that_was_deleted_and_made_again_by_hand_is_applied_again(stage: Stage) -> None:
    await stage.run(Apply(pool()))
    stage.api.remove(DEPLOYMENT, SPACE, "talk-1")
    stage.catch_up()
    await stage.run(Apply(pool()))
    assert len(stage.written()) == 2


@tried
async def test_an_old_version_is_a_conflict_and_ends_the_run(stage: Stage) -> None:
    await stage.run(Apply(pool()))
    stage.catch_up()
    meta = stage.stored(DEPLOYMENT, "talk-1")["metadata"]
    stage.api.touch_as(DEPLOYMENT, SPACE, "talk-1", "kubectl", ("spec", "replicas"), 9)
    first = Apply(pool(3), uid=meta["uid"], resource_version=meta["resourceVersion"])
    result = await stage.run(first, Apply(pool(name="talk-2")))
    assert (result.written, result.failure, result.at) == (0, Conflict(), first)
    assert stage.api.read(DEPLOYMENT, SPACE, "talk-2") is None


@tried
async def test_another_uid_is_a_conflict(stage: Stage) -> None:
    await stage.run(Apply(pool()))
    stage.catch_up()
    assert (await stage.run(Apply(pool(3), uid="uid-of-another"))).failure == Conflict()


@tried
async def test_two_writes_to_one_object_in_one_run_do_not_trip_over_each_other(stage: Stage) -> None:
    await stage.run(Apply(pool()))
    stage.catch_up()
    meta = stage.stored(DEPLOYMENT, "talk-1")["metadata"]
    conditions = {"uid": meta["uid"], "resource_version": meta["resourceVersion"]}
    result = await stage.run(Apply(pool(2), **conditions), Apply(pool(3), **conditions))
    assert result == Result(written=1)
    assert stage.stored(DEPLOYMENT, "talk-1")["spec"] == {"replicas": 3}


@tried
async def test_the_status_of_what_this_run_created_needs_no_uid(stage: Stage) -> None:
    snapshot = child(MODEL_SNAPSHOT, "talk-1", "talk", spec={"revision": "1"})
    for field in ("uid", "resourceVersion"):
        del snapshot["metadata"][field]
    result = await stage.run(Apply(snapshot), status_of(MODEL_SNAPSHOT, "talk-1", {"state": "Candidate"}))
    assert result.failure is None
    assert stage.stored(MODEL_SNAPSHOT, "talk-1")["status"] == {"state": "Candidate"}


@tried
async def test_the_status_of_what_nobody_has_seen_is_not_written(stage: Stage) -> None:
    result = await stage.run(status_of(MODEL_SNAPSHOT, "talk-1", {"state": "Candidate"}))
    assert result.failure == Conflict()
    assert stage.written() == []


@tried
async def test_a_status_without_a_uid_is_bound_to_the_object_that_was_seen(stage: Stage) -> None:
    stage.api.put(MODEL_DEPLOYMENT, deployment())
    stage.catch_up()
    await stage.run(status_of(MODEL_DEPLOYMENT, "talk", {"phase": "Stable"}))
    assert stage.api.writes()[0].body["metadata"]["uid"] == stage.stored(MODEL_DEPLOYMENT, "talk")["metadata"]["uid"]


@tried
async def test_a_status_that_is_already_so_is_not_written(stage: Stage) -> None:
    stage.api.put(MODEL_DEPLOYMENT, deployment())
    stage.catch_up()
    status = status_of(MODEL_DEPLOYMENT, "talk", {"phase": "Stable", "history": ("a", "b")})
    await stage.run(status)
    stage.catch_up()
    await stage.run(status)
    stage.fresh_process()
    await stage.run(status)
    assert stage.written() == []


@tried
async def test_a_status_that_the_server_completed_with_defaults_is_not_written_for_ever(stage: Stage) -> None:
    stage.api.put(MODEL_DEPLOYMENT, deployment())
    stage.catch_up()
    real = stage.api.replace_status

    async def defaulting(resource: Resource, obj: Object, *, manager: str) -> Object:
        await real(resource, obj, manager=manager)
        return stage.api.patch(resource, SPACE, "talk", lambda stored: stored["status"].update(paused=False))

    stage.api.replace_status = defaulting  # type: ignore[method-assign]
    for _ in range(4):
        await stage.run(status_of(MODEL_DEPLOYMENT, "talk", {"phase": "Stable"}))
        stage.catch_up()
    assert len(stage.written()) == 1


@tried
async def test_what_somebody_added_to_a_status_goes(stage: Stage) -> None:
    stage.api.put(MODEL_DEPLOYMENT, deployment())
    stage.catch_up()
    await stage.run(status_of(MODEL_DEPLOYMENT, "talk", {"phase": "Stable"}))
    stage.api.patch(MODEL_DEPLOYMENT, SPACE, "talk", lambda stored: stored["status"].update(candidate="deadbeef"))
    stage.catch_up()
    await stage.run(status_of(MODEL_DEPLOYMENT, "talk", {"phase": "Stable"}))
    assert stage.stored(MODEL_DEPLOYMENT, "talk")["status"] == {"phase": "Stable"}


@tried
async def test_a_status_that_somebody_changed_is_written_again(stage: Stage) -> None:
    stage.api.put(MODEL_DEPLOYMENT, deployment())
    stage.catch_up()
    await stage.run(status_of(MODEL_DEPLOYMENT, "talk", {"phase": "Stable"}))
    stage.api.patch(MODEL_DEPLOYMENT, SPACE, "talk", lambda stored: stored["status"].update(phase="Canary"))
    stage.catch_up()
    await stage.run(status_of(MODEL_DEPLOYMENT, "talk", {"phase": "Stable"}))
    assert stage.stored(MODEL_DEPLOYMENT, "talk")["status"] == {"phase": "Stable"}


@tried
async def test_a_deletion_holds_to_its_conditions(stage: Stage) -> None:
    await stage.run(Apply(pool()))
    meta = stage.stored(DEPLOYMENT, "talk-1")["metadata"]
    assert (await stage.run(Delete("apps/v1", "Deployment", SPACE, "talk-1", "another"))).failure == Conflict()
    gone = Delete("apps/v1", "Deployment", SPACE, "talk-1", meta["uid"], meta["resourceVersion"])
    assert (await stage.run(gone)) == Result(written=1)
    assert stage.api.read(DEPLOYMENT, SPACE, "talk-1") is None


@tried
async def test_deleting_what_is_gone_is_no_failure(stage: Stage) -> None:
    assert (await stage.run(Delete("apps/v1", "Deployment", SPACE, "talk-1", "uid"))).failure is None


@tried
async def test_a_deletion_that_cannot_be_made_now_is_tried_again(stage: Stage) -> None:
    stage.api.fail(status_error(500, "InternalError"), verb="delete")
    assert (await stage.run(Delete("apps/v1", "Deployment", SPACE, "talk-1", "uid"))).failure == Retry(1.0)


@tried
async def test_own_writes_and_deletions_hold_the_key_until_they_show(stage: Stage) -> None:
    await stage.run(Apply(pool()))
    assert stage.cache.behind(TALK) > 0
    stage.catch_up()
    assert stage.cache.behind(TALK) == 0
    uid = stage.stored(DEPLOYMENT, "talk-1")["metadata"]["uid"]
    await stage.run(Delete("apps/v1", "Deployment", SPACE, "talk-1", uid))
    assert stage.cache.behind(TALK) > 0
    stage.catch_up()
    assert stage.cache.behind(TALK) == 0


@tried
async def test_a_refusal_for_ever_carries_the_servers_words(stage: Stage) -> None:
    stage.api.fail(status_error(422, "Invalid", "spec.x: no"), verb="apply")
    result = await stage.run(Apply(pool()))
    assert (result.failure, result.message) == (Terminal("spec.x: no"), "spec.x: no")


@tried
async def test_what_was_refused_for_ever_is_not_asked_again_for_half_a_minute(stage: Stage) -> None:
    stage.api.fail(status_error(422, "Invalid", "spec.x: no"), verb="apply")
    await stage.run(Apply(pool()))
    again = await stage.run(Apply(pool()))
    assert again.failure == Terminal("spec.x: no")
    assert len(stage.written()) == 1
    await asyncio.sleep(30)
    assert (await stage.run(Apply(pool()))).failure is None
    assert len(stage.written()) == 2


@tried
async def test_another_desire_is_put_to_the_server_at_once(stage: Stage) -> None:
    stage.api.fail(status_error(422, "Invalid", "spec.x: no"), verb="apply")
    await stage.run(Apply(pool()))
    assert (await stage.run(Apply(pool(2)))).failure is None


@tried
async def test_a_refusal_is_forgotten_with_its_object(stage: Stage) -> None:
    stage.api.fail(status_error(422, "Invalid", "immutable"), verb="apply")
    await stage.run(Apply(pool()))
    stage.executor.forget(Ref(DEPLOYMENT, SPACE, "talk-1"))
    assert (await stage.run(Apply(pool()))).failure is None


@tried
async def test_what_a_write_needs_and_is_gone_is_a_conflict(stage: Stage) -> None:
    stage.api.fail(status_error(404, "NotFound", "namespace not found"), verb="apply")
    assert (await stage.run(Apply(pool()))).failure == Conflict()


@tried
async def test_an_event_is_recorded_about_the_deployment(stage: Stage) -> None:
    stage.api.put(MODEL_DEPLOYMENT, deployment())
    stage.catch_up()
    await stage.run(Emit("Normal", "Promoted", "it serves"))
    event = stage.recorder._waiting.get_nowait()
    assert (event["reason"], event["involvedObject"]["name"]) == ("Promoted", "talk")


@tried
async def test_an_event_about_what_is_gone_is_dropped(stage: Stage) -> None:
    assert (await stage.run(Emit("Normal", "Promoted", "it serves"))).failure is None
    assert stage.recorder._waiting.empty()


@tried
async def test_it_counts_outcomes_by_kind(stage: Stage) -> None:
    await stage.run(Apply(pool()))
    stage.catch_up()
    await stage.run(Apply(pool()))
    stage.api.fail(status_error(409, "Conflict"), verb="apply")
    await stage.run(Apply(pool(4)))
    for outcome in ("written", "unchanged", "conflict"):
        labels = {"kind": "Deployment", "outcome": outcome}
        assert stage.metrics.registry.get_sample_value("understudy_writes_total", labels) == 1


@tried
async def test_what_is_forgotten_is_judged_afresh(stage: Stage) -> None:
    stage.api.put(MODEL_DEPLOYMENT, deployment())
    stage.catch_up()
    await stage.run(status_of(MODEL_DEPLOYMENT, "talk", {"phase": "Stable"}))
    assert stage.executor._settled
    stage.executor.forget(Ref(MODEL_DEPLOYMENT, SPACE, "talk"))
    assert not stage.executor._settled


@pytest.mark.parametrize("kind", ["Job", "Ingress"])
def test_a_kind_it_must_not_touch_is_a_defect(kind: str) -> None:
    async def main() -> None:
        obj = {"apiVersion": "batch/v1", "kind": kind, "metadata": {"name": "x", "namespace": SPACE}}
        with pytest.raises(KeyError):
            await Stage().run(Apply(obj))

    virtual.run(main())
