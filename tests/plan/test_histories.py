"""Random histories: whatever happens in whatever order, every promise holds, and in the end it settles."""

import copy
import os
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.plan.audit import Audit
from tests.plan.parts import Behaviour
from tests.plan.test_guards import compiled, edited, guardrail, mistaken
from tests.plan.test_replay import probing
from tests.plan.world import NAME, Cluster, rollout
from understudy.plan.observed import Object
from understudy.plan.replay import Spoken
from understudy.plan.rollout import RULES
from understudy.plan.rulebook import Rulebook

pytestmark = pytest.mark.slow

HISTORIES = int(os.environ.get("UNDERSTUDY_HISTORIES", "500"))

IMAGES: dict[str, Behaviour] = {
    "good-1": Behaviour(),
    "good-2": Behaviour(start=1.0),
    "slow": Behaviour(start=20.0),
    "crashes": Behaviour(exit_code=1),
    "crashes-later": Behaviour(start=25.0, exit_code=1),
    "missing": Behaviour(pull=("ImagePullBackOff", "image not found")),
    "impostor": Behaviour(identity="answers as another model"),
    "mute": Behaviour(fails_prompt=True),
    "errs": Behaviour(error_rate=0.9),
    "worse": Behaviour(error_rate=0.15, bad={"rejected": 0.3, "timeToFirstToken": 0.5}),
    "unhealthy": Behaviour(unhealthy=True),
}
PROMPT = {"name": "answers", "messages": [{"role": "user", "content": "Say yes."}]}
STEPS: dict[str, Any] = {
    "usual": rollout(),
    "two": rollout(steps=[{"weight": 30, "soak": "2s"}, {"weight": 100, "soak": "2s"}]),
    "at-once": rollout(strategy="Immediate"),
    "impatient": rollout(
        analysis={"minSamples": 5, "noData": {"timeout": "20s", "then": "Revert"}, "ceilings": {"minRequests": 5}}
    ),
    "by-hand": rollout(strategy="BlueGreen", steps=None),
    "by-itself": rollout(strategy="BlueGreen", steps=None, autoPromoteAfter="6s"),
    "one-by-one": rollout(strategy="Immediate", capacity={"mode": "Recreate"}),
    "copied": rollout(shadow={"percent": 50, "samples": 8}),
    "copied-in-vain": rollout(
        shadow={"percent": 100, "samples": 5000},
        analysis={"minSamples": 5, "noData": {"timeout": "20s", "then": "Revert"}, "ceilings": {"minRequests": 5}},
    ),
    "surge": rollout(capacity={"mode": "Surge"}),
    "borrow": rollout(capacity={"mode": "Borrow", "maxUnavailable": 2}),
}


class History:
    """A cluster, its auditor, and what may happen to them."""

    def __init__(self) -> None:
        self.cluster = Cluster()
        self.cluster.behaviours = dict(IMAGES)
        self.cluster.apply_model()
        self.cluster.apply("good-1", replicas=2, probes={"prompts": [PROMPT], "interval": "1s"})
        self.audit = Audit(self.cluster)
        self.stale = 0

    def begin(self, where: str) -> None:
        """Skip to where it is interesting: in the middle of a rollout, at a weight or under watch."""
        if where == "fresh":
            return
        for _ in range(6):
            self.turn()
        if where == "serving":
            return
        if where == "lending":
            self.cluster.capacity = 2
        self.cluster.long_streams = True
        if where == "Shadow":
            self.terms("copied")
        self.image("good-2")
        for _ in range(60):
            self.turn()
            if where in (self.cluster.phase, str(self.cluster.status["weights"]["candidate"]["programmed"])):
                return
            if where == "lending" and self.cluster.status["rollout"]["lent"]:
                return

    def play(self, events: list[tuple[str, Any]]) -> None:
        """What happens, and then the end."""
        for name, value in events:
            getattr(self, name)(value)
            self.turn()
        self.settles()

    def turn(self, length: float = 1.0) -> None:
        """A second, at most one staleness, at most one failing write."""
        self.audit.turn(length, stale=self.stale)
        self.stale, self.cluster.fail_action = 0, None

    @property
    def there(self) -> bool:
        return ("ModelDeployment", NAME) in self.cluster.objects

    # Events.

    def wait(self, turns: int) -> None:
        for _ in range(turns):
            self.turn()

    def hurry(self, turns: int) -> None:
        for _ in range(turns):
            self.turn(0.1)

    def image(self, name: str) -> None:
        if self.there:
            self.cluster.edit(engine={**self.cluster.deployment["spec"]["engine"], "image": name})

    def terms(self, name: str) -> None:
        if self.there:
            self.cluster.edit(rollout={k: v for k, v in STEPS[name].items() if v is not None})

    def mistake(self, made: int) -> None:
        """The engine is given an argument that the operator must give itself, or is not any more."""
        if self.there:
            engine = {k: v for k, v in self.cluster.deployment["spec"]["engine"].items() if k != "args"}
            self.cluster.edit(engine={**engine, "args": ["--port=1"]} if made else engine)

    def replicas(self, count: int) -> None:
        if self.there:
            self.cluster.edit(replicas=count)

    def verb(self, name: str) -> None:
        if self.there:
            candidate = self.cluster.status.get("candidate", "0" * 8)
            self.cluster.ask(f"{name.format(candidate=candidate)};{self.cluster.true_time}")

    def crash(self, index: int) -> None:
        running = [p for p in self.cluster.pods.values() if p.started is not None and p.deleted is None]
        if running:
            self.cluster.crash(running[index % len(running)])

    def evict(self, index: int) -> None:
        alive = [p for p in self.cluster.pods.values() if p.deleted is None]
        if alive:
            self.cluster.delete_pod(alive[index % len(alive)], evicted=bool(index % 2))

    def node(self, index: int) -> None:
        name = sorted(self.cluster.nodes)[index % 2]
        self.cluster.nodes[name] = not self.cluster.nodes[name]

    def capacity(self, count: int) -> None:
        self.cluster.capacity = count

    def gateway(self, what: str) -> None:
        cluster = self.cluster
        match what:
            case "silent" if cluster.gateways:
                cluster.gateways[0].silent = not cluster.gateways[0].silent
            case "restarts" if cluster.gateways:
                cluster.restart_gateway(cluster.gateways[-1])
            case "dies" if cluster.gateways:
                cluster.gateways.pop()
            case "comes":
                cluster.add_gateway()
            case "slow" if cluster.gateways:
                cluster.gateways[-1].lag = 4.0

    def policy(self, how: str) -> None:
        """A Guardrail that must hold is made, compiled, edited rightly or wrongly, or deleted."""
        old = next((g for g in self.cluster.guardrails if g["metadata"]["name"] == "safe"), guardrail(selector={}))
        made: dict[str, tuple[Object, ...]] = {
            "made": (guardrail(selector={}),),
            "compiles": (compiled(selector={}),),
            "says something else": (compiled(selector={}, policy="2" * 64),),
            "is wrong": (mistaken(dict(old)),),
            "is edited": (edited(dict(old)),),
            "goes": (),
        }
        self.cluster.guardrails = (*self._but("safe"), *made[how])

    def _but(self, name: str) -> tuple[Object, ...]:
        return tuple(g for g in self.cluster.guardrails if g["metadata"]["name"] != name)

    def asking(self, prompts: int) -> None:
        """A Guardrail holds with so many prompts in its probe set, or none does."""
        found = (probing("probes", prompts=prompts, text=str(prompts)),) if prompts else ()
        self.cluster.guardrails = (*self._but("probes"), *found)

    def judging(self, why_not: str) -> None:
        """Answers to probe sets cannot be judged, or can again."""
        self.cluster.unjudged = why_not

    def guarding(self, whether: str) -> None:
        """A gateway cannot load what tables name, or can again."""
        for gateway in self.cluster.gateways[:1]:
            gateway.refuses = whether

    def operator(self, _: int) -> None:
        self.cluster.restart_operator()

    def see_old(self, turns: int) -> None:
        self.stale = turns

    def write_fails(self, index: int) -> None:
        self.cluster.fail_action = index

    def clock_jumps(self, seconds: int) -> None:
        self.cluster.skew += seconds

    def made_again(self, orphan: int) -> None:
        spec = self.cluster.deployment["spec"]
        self.cluster.delete_deployment(orphan=bool(orphan))
        if not orphan:
            for gateway in self.cluster.gateways:
                gateway.table, gateway.pending = None, None
        self.turn()
        self.cluster.put("ModelDeployment", NAME, {"spec": spec})
        self.audit.excused.update(p.revision for p in self.cluster.pods.values())

    def vandal(self, kind: str) -> None:
        names = sorted(self.cluster.of_kind(kind))
        if names:
            revision = names[0].removeprefix(f"{NAME}-")
            self.audit.excused.add(revision)
            self.cluster.vandalise(kind, names[0])

    def loses(self, register: str) -> None:
        """All that says how to make a revision goes at once."""
        if revision := self.cluster.status.get(register):
            self.audit.excused.add(revision)
            for kind in ("ModelSnapshot", "Deployment"):
                if f"{NAME}-{revision}" in self.cluster.of_kind(kind):
                    self.cluster.vandalise(kind, f"{NAME}-{revision}")

    def scaled_by_hand(self, count: int) -> None:
        for name, pool in self.cluster.of_kind("Deployment").items():
            self.audit.excused.add(name.removeprefix(f"{NAME}-"))
            self.cluster.put("Deployment", name, {**pool, "spec": {**pool["spec"], "replicas": count}})
            break

    def turns_bad(self, how: str) -> None:
        image = self.cluster.image("candidate") or self.cluster.image("stable")
        good = Behaviour()
        worse = {"errs": Behaviour(error_rate=1.0), "mute": Behaviour(fails_prompt=True), "worse": IMAGES["worse"]}
        worse["rude"] = Behaviour(findings={"safety/hate/6": 1.0}, acted=1.0, says={"p1": Spoken("hate", 6)})
        self.cluster.behaviours[image] = worse.get(how, Behaviour(unhealthy=True) if how == "unhealthy" else good)

    def guardrail(self, action: str) -> None:
        """A Guardrail holds whose ladder has a rung that says so, or none does."""
        rung = {"per": "revision", "rate": 0.3, "minTurns": 10, "action": action}
        meta = {"name": "safety", "namespace": self.cluster.deployment["metadata"].get("namespace"), "uid": "safety"}
        spec = {"selector": {}, "failurePolicy": "Open", "ladder": [rung]}
        self.cluster.guardrails = (*self._but("safety"), *([{"metadata": meta, "spec": spec}] if action else []))

    def model(self, there: int) -> None:
        if there:
            self.cluster.apply_model()
        else:
            self.cluster.objects.pop(("Model", "tiny"), None)

    def testers(self, rate: int) -> None:
        self.cluster.testers = float(rate)

    def traffic(self, rate: int) -> None:
        self.cluster.rate = float(rate)

    def power(self, rate: int) -> None:
        self.cluster.pod_rate = float(rate)

    def streams(self, long: int) -> None:
        self.cluster.long_streams = bool(long)

    def heal(self) -> None:
        """All faults stop."""
        cluster = self.cluster
        cluster.behaviours = {"slow": Behaviour(start=20.0)}
        cluster.guardrails = tuple(compiled(g["metadata"]["name"], selector={}) for g in self._but("safety"))
        cluster.nodes = dict.fromkeys(cluster.nodes, True)
        cluster.capacity, cluster.rate, cluster.long_streams = 20, 20.0, False
        cluster.pod_rate, cluster.unjudged = 100.0, ""
        for gateway in cluster.gateways:
            gateway.silent, gateway.lag, gateway.refuses = False, 0.2, ""
        if not cluster.gateways:
            cluster.add_gateway()
        cluster.apply_model()
        self.mistake(0)
        settings = dict(cluster.deployment["spec"]["rollout"])
        if settings.get("shadow"):
            settings["shadow"] = {"percent": 50, "samples": 8}
        if settings.get("steps") != rollout()["steps"]:  # the default ones take a quarter of an hour
            settings["steps"] = rollout()["steps"]
        cluster.edit(rollout=settings)
        if cluster.deployment["spec"]["replicas"] == 0:
            cluster.edit(replicas=1)
        if cluster.status.get("paused"):
            cluster.ask("resume;at last")

    def settles(self) -> None:
        """I13: with nothing going wrong any more, the rollout ends."""
        self.heal()
        for _ in range(250):
            self.turn()
            if self.settled():
                return
            if self.cluster.says("Reconciling")[1] == "WaitingForPromote":
                self.verb("promote@{candidate}")
        cluster = self.cluster
        raise AssertionError(f"does not settle: {cluster.phase} {cluster.last.reasons} {cluster.status}")

    def settled(self) -> bool:
        cluster = self.cluster
        if cluster.phase == "RolledBack":
            return cluster.status["stable"] != "" and not cluster.status.get("candidate")
        return cluster.phase == "Stable" and cluster.says("Ready")[0] == "True"


# What may happen, each with what it may happen to; listed twice is twice as likely.
HAPPENINGS: tuple[tuple[Callable[..., None], tuple[Any, ...]], ...] = (
    (History.wait, (1, 2, 3, 5, 8)),
    (History.wait, (5, 8, 13, 34)),
    (History.hurry, (1, 5)),
    (History.image, tuple(IMAGES)),
    (History.image, ("good-1", "good-2", "errs", "crashes-later")),
    (History.terms, tuple(STEPS)),
    (History.mistake, (0, 1)),
    (History.replicas, (0, 1, 2, 3)),
    (History.verb, ("abort", "retry", "pause", "resume", "promote@{candidate}", "promote-full@{candidate}")),
    (History.verb, ("rollback=1", "rollback=2", "rollback=3", "dance", "abort@00000000", "retry")),
    (History.crash, (0, 1, 2)),
    (History.evict, (0, 1, 2, 3)),
    (History.node, (0, 1)),
    (History.capacity, (0, 1, 2, 4, 8)),
    (History.gateway, ("silent", "restarts", "dies", "comes", "slow")),
    (History.policy, ("made", "compiles", "compiles", "says something else", "is wrong", "is edited", "goes")),
    (History.guarding, ("ConfigMap is not there", "")),
    (History.operator, (0,)),
    (History.see_old, (1, 2, 3)),
    (History.write_fails, (0, 1, 2, 3, 4)),
    (History.clock_jumps, (-3600, 3600, 86400)),
    (History.made_again, (0, 1)),
    (History.vandal, ("RoutingTable", "Deployment", "Service", "Secret", "ModelSnapshot")),
    (History.loses, ("stable", "candidate", "previous")),
    (History.scaled_by_hand, (0, 1, 5)),
    (History.turns_bad, ("errs", "mute", "unhealthy", "worse", "rude", "good")),
    (History.guardrail, ("Rollback", "PauseRollout", "Quarantine", "Notify", "")),
    (History.asking, (0, 2, 6)),
    (History.judging, ("detector guard: timeout", "")),
    (History.model, (0, 1)),
    (History.traffic, (0, 1, 50)),
    (History.testers, (0, 5)),
    (History.power, (2, 100)),
    (History.streams, (0, 1)),
)
BEGINNINGS = ("fresh", "serving", "Preparing", "Shadow", "10", "50", "100", "Promoting", "Watching", "lending")
EVENTS = st.one_of(*(st.tuples(st.just(act.__name__), st.sampled_from(values)) for act, values in HAPPENINGS))


@lru_cache(maxsize=len(BEGINNINGS))
def _first_part(where: str) -> History:
    history = History()
    history.begin(where)
    return history


def begun(where: str, rules: Rulebook = RULES) -> History:
    """A history that has come so far, by the real rules; from here on by `rules`."""
    history = copy.deepcopy(_first_part(where))
    history.cluster.rules = rules
    return history


@settings(max_examples=HISTORIES)
@given(st.sampled_from(BEGINNINGS), st.lists(EVENTS, min_size=2, max_size=12))
def test_every_promise_holds_in_every_history(where: str, events: list[tuple[str, Any]]) -> None:
    begun(where).play(events)


def test_a_stable_of_which_nothing_is_left_is_not_waited_for() -> None:
    begun("10").play([("vandal", "ModelSnapshot"), ("vandal", "Deployment"), ("image", "slow")])
