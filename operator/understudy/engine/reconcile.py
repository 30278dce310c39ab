"""One pass over one key, and the workers that make passes.

```
 key ─► is the cache behind our own last write? ─ yes ─► later
          │ no
          ▼
       observe ─► plan ─► execute ─► status, if it changed ─► again after requeue_after, or on an event
                             │ failed
                             ▼
              Retry: after its delay    Conflict: soon, with what the cache has then
              Terminal: told to the next plan, which says so in the status; again after half a minute
```
"""

import asyncio
import logging
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from understudy.domain.key import Key
from understudy.engine.contents import ConfigMapContents
from understudy.engine.executor import Executor, Result, Seen
from understudy.engine.guardrails import Guardrails
from understudy.engine.holders import Holders
from understudy.engine.observe import Carried, Sources, observe
from understudy.engine.queue import ShutDownError, WorkQueue
from understudy.engine.replayer import Replayer
from understudy.engine.reverts import revert_reason
from understudy.engine.wake import Work
from understudy.kube.errors import ApiError, Conflict, Failure, Retry, Terminal
from understudy.kube.resources import MODEL, MODEL_DEPLOYMENT, MODEL_SNAPSHOT, ROUTING_TABLE
from understudy.plan.actions import Apply, Plan, apply_status
from understudy.plan.memory import Memory
from understudy.plan.model import plan_model
from understudy.plan.observed import Observed
from understudy.plan.planner import plan
from understudy.telemetry.operator import OperatorMetrics

log = logging.getLogger(__name__)

_WAITS = 2.0  # a plan that wants to be asked again within so many seconds waits for gateways
_AFTER_REFUSAL = 30.0
# Looks by the clock alone may take about half of a core: what happens in the meantime comes as an event anyway.
_RESTLESS = 10.0  # a plan that wants to be asked again within so many seconds counts
_EACH = 0.002  # seconds between two such looks, of whichever deployments
_READINGS = 500  # deployments on the move whose specs stay as they were read, 20 KB for each
# Those of thousands that were looked at together after a start would ask for the next look together, for ever.
_EARLIER = 0.25  # share of its time by which a look that is not early may come before it


@dataclass(slots=True)
class Reconciler:
    """What a pass needs; one per term of leadership, whose number is `epoch`."""

    sources: Sources
    contents: ConfigMapContents
    holders: Holders
    replayer: Replayer
    executor: Executor
    queue: WorkQueue[Work]
    metrics: OperatorMetrics
    epoch: int
    decide: Callable[[Observed], Plan] = plan
    _carried: dict[Key, Carried] = field(default_factory=dict)
    _said: dict[Key, tuple[str, ...]] = field(default_factory=dict)
    _restless: set[Key] = field(default_factory=set)
    _guardrails: Guardrails = field(init=False)

    def __post_init__(self) -> None:
        """What passes over Guardrails need, from the same parts."""
        self._guardrails = Guardrails(
            self.sources, self.contents, self.executor, lambda key: self.queue.add(Work("Guardrail", key))
        )

    async def work(self) -> None:
        """Make passes until the queue is shut down."""
        while True:
            try:
                work = await self.queue.get()
            except ShutDownError:
                return
            try:
                await self._pass(work)
            finally:
                self.queue.done(work)
            # A pass that writes nothing waits for nothing: thousands in a row would hold up the Lease and all else.
            await asyncio.sleep(0)

    async def _pass(self, work: Work) -> None:
        if wait := self.sources.cache.behind(work.key):
            self.metrics.gate_waits.inc()
            self.queue.add_after(work, wait)  # the event that is waited for comes first, if it comes
            return
        began = asyncio.get_running_loop().time()
        try:
            failure = await self._reconcile(work)
            result = type(failure).__name__.lower() if failure else "ok"
        except ApiError as error:
            failure, result = error.failure, type(error.failure).__name__.lower()
        except Exception:  # a defect in one plan must not stop the others
            log.exception("%s %s: the pass failed", work.kind, work.key)
            failure, result = Retry(0.0), "crash"
        took = asyncio.get_running_loop().time() - began
        self.metrics.reconcile_seconds.labels(work.kind, result).observe(took)
        self._again(work, failure)

    def _again(self, work: Work, failure: Failure | None) -> None:
        match failure:
            case None:
                self.queue.forget(work)
            case Retry(after):
                self.queue.add_rate_limited(work, after)
            case Terminal():
                self.queue.add_rate_limited(work, _AFTER_REFUSAL)
            case _:
                self.queue.add_rate_limited(work)

    async def _reconcile(self, work: Work) -> Failure | None:
        if work.kind == "ModelDeployment":
            return await self._deployment(work)
        if work.kind == "Guardrail":
            done = await self._guardrails.reconcile(work.key)
            if done.again is not None:
                self.queue.add_after(work, done.again)
            return done.failure
        model = self.sources.cache.get(MODEL, work.key.namespace, work.key.name)
        if model is None:
            return None
        users = (user.name for user in self.sources.waker.users_of(work.key))
        status = plan_model(model, users, self.sources.clock.now())
        write = apply_status(MODEL.api_version, MODEL.kind, model, status)
        return (await self.executor.run(work.key, [write])).failure

    async def _deployment(self, work: Work) -> Failure | None:
        key = work.key
        named = self.sources.waker.named_by(MODEL_DEPLOYMENT.kind, key)
        configmaps = await self.contents.read(key.namespace, named)
        taken = await self.holders.read(key)
        if self.sources.cache.behind(key):  # reading took time; another pass may not have, but be sure
            return Conflict()
        before = self._carried.get(key, Carried())
        observed = observe(self.sources, key, self.epoch, configmaps, before, taken, self.replayer.observed(key))
        decided = self.decide(observed)
        self._say(key, decided)
        if decided.violated:
            self.metrics.invariant_violations.inc()
        memory = self._kept(decided.memory)
        self._carried[key] = Carried(memory, before.refused)
        result = await self._execute(observed, decided)
        refused = result.message if isinstance(result.failure, Terminal) else ""
        self._carried[key] = Carried(memory, refused)
        self._follow_up(work, decided)
        if refused and refused != before.refused:
            return Retry(0.0)  # at once: the status has yet to say so
        return result.failure

    async def _execute(self, observed: Observed, decided: Plan) -> Result:
        status: list[Apply] = []
        if decided.status is not None and observed.deployment is not None:
            kind = MODEL_DEPLOYMENT
            status.append(apply_status(kind.api_version, kind.kind, observed.deployment, decided.status))
        order = [*status, *decided.actions] if decided.status_first else [*decided.actions, *status]
        result = await self.executor.run(observed.key, order, _seen(observed))
        if _status_may_follow(observed, result) and not decided.status_first:
            await self.executor.run(observed.key, status)
        if result.written and observed.deployment is not None:
            # Registers that change are written first of all: what was written, was written with them.
            why = revert_reason(observed.deployment.get("status") or {}, decided)
            if why:
                self.metrics.reverts.labels(why).inc()
        wrote_table = any(isinstance(a, Apply) and a.obj["kind"] == ROUTING_TABLE.kind for a in decided.actions)
        if result.written and wrote_table:
            self.sources.poller.hurry()
        return result

    def _follow_up(self, work: Work, decided: Plan) -> None:
        self.sources.prober.set_probes(work.key, decided.probes)
        self.replayer.set_replay(work.key, decided.replay, decided.probes)
        waits = decided.requeue_after is not None and decided.requeue_after <= _WAITS
        self.sources.poller.set_active(work.key, waits)
        if decided.requeue_after is not None:
            self.queue.add_after(work, self._next_look(work.key, decided.requeue_after))
        elif decided.status is None:  # the deployment is gone, and nothing is left to do about it
            self._carried.pop(work.key, None)
            self._said.pop(work.key, None)
            self._restless.discard(work.key)

    def _kept(self, memory: Memory | None) -> Memory | None:
        """What the next pass is told; where too many move, not what this one has read, which would fill the memory."""
        if memory is None or memory.reading is None or len(self._restless) <= _READINGS:
            return memory
        return replace(memory, reading=None)

    def _next_look(self, key: Key, wanted: float) -> float:
        """Seconds until the next look by the clock: as wanted, unless too many want the like."""
        if wanted > _RESTLESS:
            self._restless.discard(key)
            return wanted * random.uniform(1 - _EARLIER, 1)  # noqa: S311 - spreads load, no secret
        self._restless.add(key)
        return max(wanted, len(self._restless) * _EACH)

    def _say(self, key: Key, decided: Plan) -> None:
        """Log why, when it is for other reasons than last time."""
        if self._said.get(key, ()) != decided.reasons:
            self._said[key] = decided.reasons
            log.info("%s: %s", key, "; ".join(decided.reasons) or "nothing to do")


def _seen(observed: Observed) -> Seen:
    """What an executor may find of a deployment's own objects as long as it has changed nothing."""
    single = (observed.deployment, observed.table, observed.policy)
    many = (observed.pools, observed.services, observed.engine_keys)
    there = (*(obj for obj in single if obj is not None), *observed.snapshots, *(o for m in many for o in m.values()))
    return {(obj["kind"], obj["metadata"]["name"]): obj for obj in there}


def _status_may_follow(observed: Observed, result: Result) -> bool:
    """What ended the writes is no reason to keep the deployment's own status back: the next pass is about the rest."""
    if isinstance(result.failure, Terminal):
        return bool(observed.refused)  # refused again, as expected, and the status says so
    # A record that somebody else has just written holds evidence; what the deployment says of itself is as true.
    record = isinstance(result.at, Apply) and result.at.obj["kind"] == MODEL_SNAPSHOT.kind and result.at.subresource
    return isinstance(result.failure, Conflict) and bool(record)
