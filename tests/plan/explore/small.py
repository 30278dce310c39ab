"""Small worlds: what may happen in each, so that all of it can be tried in every order.

Each step is one of these: some time goes by with traffic of some kind and the operator makes a pass; the same after one
more thing has happened; the same on a view of the API server that is old; the same, but the operator dies between two
of its writes and another one begins. Time goes by in steps of `SHORT`, which is less than every deadline, and `LONG`,
which is more than all but the start's.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from tests.plan.audit import Audit
from tests.plan.explore.fork import Node
from tests.plan.explore.key import SAMPLES
from tests.plan.parts import Behaviour
from tests.plan.test_replay import probing
from tests.plan.world import Cluster, rollout
from understudy.plan.capacity import REST
from understudy.plan.replay import Spoken

SHORT, LONG = 5.0, 40.0
REQUESTS = 40  # in every step with traffic, whatever its length
REVISIONS = ("a", "b", "c")
GOOD = Behaviour(start=1.0)
RUDENESS = Spoken("hate", 6)
PROBING = probing(prompts=2)

# Does one thing, and says whether there was anything to do.
Happening = Callable[[Node], bool]


def terms(**fields: Any) -> dict[str, Any]:
    """Two steps of one short tick each, a watch of two, deadlines of one long tick; None leaves a field out."""
    whole = rollout(
        **{
            "steps": [{"weight": 50, "soak": "2s"}, {"weight": 100, "soak": "2s"}],
            "watch": "4s",
            "drain": "30s",
            "deadlines": {"scheduling": "30s"},
            "analysis": {
                # Without a Guardrail nothing is compared: what comparisons say is bench/verdict.py's to show.
                "metrics": ["guardrailBlocks"],
                "minSamples": SAMPLES,
                "ceilings": {"errorRate": 0.2, "minRequests": SAMPLES},
                "noData": {"timeout": "30s", "then": "Revert"},
            },
            **fields,
        }
    )
    return {name: value for name, value in whole.items() if value is not None}


@dataclass(frozen=True, eq=False)
class Small:
    """One small world: how it begins, what may happen in it, and how often the user may interfere (`left`)."""

    name: str
    happenings: Mapping[str, Happening]
    left: int = 3
    replicas: int = 1
    gateways: int = 1
    places: int = 8
    rollout: Mapping[str, Any] = field(default_factory=terms)
    traffic: tuple[str, ...] = ("none", "healthy", "bad", "both bad")
    deaths: bool = True
    stale: int = 0
    at: str = "Stable"
    then: tuple[str, ...] = ()
    guardrails: tuple[Mapping[str, Any], ...] = ()

    def begin(self, cluster: Cluster) -> Node:
        """The first revision serves (`at` is Stable), or the second is in that phase; `then` has happened, too.

        If `at` is "", the deployment has just been made and no operator has seen it yet.
        """
        cluster.behaviours = dict.fromkeys(REVISIONS, GOOD)
        cluster.capacity, cluster.guardrails = self.places, self.guardrails
        cluster.apply_model()
        engine = {"type": "sim", "image": REVISIONS[0], "startupTimeout": "1s", "shutdownTimeout": "1s"}
        cluster.apply(replicas=self.replicas, rollout=dict(self.rollout), engine=engine)
        node = Node(cluster, Audit(cluster), self.left, self.stale)
        flow(node, "healthy", SHORT)
        for image, phase in zip(REVISIONS, dict.fromkeys(("Stable" if self.at else "", self.at)), strict=False):
            cluster.edit(engine={**engine, "image": image})
            for _ in range(60):
                if cluster.phase == phase:
                    break
                node.audit.turn(SHORT)
            else:
                raise AssertionError(f"I13: {phase} is never reached")
        for name in self.then:
            self.happenings[name](node)
            node.audit.turn(SHORT)
        return node


def flow(node: Node, kind: str, seconds: float) -> None:
    """Requests of the next `seconds`: none; healthy; failing on what is on trial; failing on everything."""
    cluster = node.cluster
    cluster.rate = 0.0 if kind == "none" else REQUESTS / seconds
    trial = cluster.image("candidate") or cluster.image("stable")
    for image, how in cluster.behaviours.items():
        bad = kind == "both bad" or (kind == "bad" and image == trial)
        cluster.behaviours[image] = replace(how, error_rate=1.0 if bad else 0.0)


# The user.


def edit(image: str) -> Happening:
    """The spec asks for another revision."""

    def change(node: Node) -> bool:
        engine = node.cluster.deployment["spec"]["engine"]
        return _spend(node, engine["image"] != image, lambda c: c.edit(engine={**engine, "image": image}))

    return change


def scale(replicas: int) -> Happening:
    """The spec asks for so many pods."""

    def change(node: Node) -> bool:
        other = node.cluster.deployment["spec"]["replicas"] != replicas
        return _spend(node, other, lambda c: c.edit(replicas=replicas))

    return change


def copies(node: Node) -> bool:
    """The spec no longer asks for copies."""
    rollout = node.cluster.deployment["spec"]["rollout"]
    kept = {name: value for name, value in rollout.items() if name != "shadow"}
    return _spend(node, kept != rollout, lambda c: c.edit(rollout=kept))


def ask(verb: str) -> Happening:
    """A request by annotation; it is possible once there is a status to ask about."""

    def change(node: Node) -> bool:
        candidate = node.cluster.status.get("candidate", "")
        possible = bool(node.cluster.status) and (bool(candidate) or "@" not in verb)
        value = f"{verb.format(candidate=candidate)};{node.left}"
        # A user who is waited for can always answer: without that, I13 would not hold.
        awaited = node.cluster.says("Reconciling")[1]
        free = {"resume": node.cluster.status.get("paused"), "promote@{candidate}": awaited == "WaitingForPromote"}
        price = 0 if free.get(verb) else 1
        return _spend(node, possible, lambda c: c.ask(value), price)

    return change


def _spend(node: Node, possible: bool, change: Callable[[Cluster], None], price: int = 1) -> bool:
    if not possible or node.left < price:
        return False
    node.left -= price
    change(node.cluster)
    return True


# Pods and nodes. Whatever goes wrong can also get well again: I13 asks for a way out of every world.


def crash(register: str) -> Happening:
    """The engine of a pod of that revision ends."""

    def change(node: Node) -> bool:
        running = [p for p in node.cluster.pods_of(_image(node, register)) if p.started is not None and not p.deleted]
        fresh = [p for p in running if p.restarts == 0]
        for pod in fresh[:1]:
            node.cluster.crash(pod)
        return bool(fresh)

    return change


def evict(register: str) -> Happening:
    """A pod of that revision is evicted."""

    def change(node: Node) -> bool:
        there = [p for p in node.cluster.pods_of(_image(node, register)) if p.deleted is None]
        for pod in there[:1]:
            node.cluster.delete_pod(pod, evicted=True)
        return bool(there)

    return change


def turn(register: str, **how: Any) -> Happening:
    """That revision's pods behave otherwise from now on, or well again."""

    def change(node: Node) -> bool:
        image, behaviours = _image(node, register), node.cluster.behaviours
        if image not in behaviours:
            return False
        worse = replace(GOOD, **how)
        now = replace(behaviours[image], error_rate=0.0)
        behaviours[image] = GOOD if now == worse else worse
        return True

    return change


def room(slots: int) -> Happening:
    """The nodes have room for so many pods, or for all again."""

    def change(node: Node) -> bool:
        node.cluster.capacity = 8 if node.cluster.capacity == slots else slots
        return True

    return change


def more_room(node: Node) -> bool:
    """The nodes have twice the places of two pods, or just these again."""
    node.cluster.capacity = 2 if node.cluster.capacity == 4 else 4
    return True


def crowd(node: Node) -> bool:
    """No pod answers in time any more, or all do again."""
    node.cluster.pod_rate = 0.1 if node.cluster.pod_rate > 1.0 else 100.0
    return True


def rest(node: Node) -> bool:
    """As long goes by as nothing is lent again after it was called back."""
    lately = node.cluster.says("Stalled")[1] == "InsufficientCapacity" and node.cluster.status["rollout"]["recalled"]
    if lately:
        node.audit.lapse(REST)
    return bool(lately)


def _image(node: Node, register: str) -> str:
    return node.cluster.image(register)


# Gateways.


def silence(node: Node) -> bool:
    """A gateway no longer answers, or does again."""
    for gateway in node.cluster.gateways[:1]:
        gateway.silent = not gateway.silent
    return bool(node.cluster.gateways)


def lag(node: Node) -> bool:
    """A gateway takes no table up, or does again."""
    for gateway in node.cluster.gateways[-1:]:
        gateway.lag = 0.2 if gateway.lag > 1.0 else 1e9
        if gateway.pending is not None:
            gateway.pending = (gateway.lag if gateway.lag > 1.0 else 0.0, gateway.pending[1])
    return bool(node.cluster.gateways)


def lose_gateways(node: Node) -> bool:
    """All gateways are gone, or one is there again."""
    if node.cluster.gateways:
        node.cluster.gateways = []
    else:
        node.cluster.add_gateway()
    return True


def stream(node: Node) -> bool:
    """Requests stay open, or end."""
    node.cluster.long_streams = not node.cluster.long_streams
    return True


def restart(node: Node) -> bool:
    """Another operator process takes over."""
    if node.cluster.memory is None:
        return False
    node.cluster.restart_operator()
    return True


def judge(node: Node) -> bool:
    """Answers to probe sets cannot be judged any more, or can again."""
    node.cluster.unjudged = "" if node.cluster.unjudged else "detector guard: timeout"
    return True


def lose_model(node: Node) -> bool:
    """The Model is deleted, or made again."""
    if ("Model", "tiny") in node.cluster.objects:
        del node.cluster.objects["Model", "tiny"]
    else:
        node.cluster.apply_model()
    return True


EDITS: dict[str, Happening] = {f"edit to {image}": edit(image) for image in REVISIONS}
VERBS: dict[str, Happening] = {
    verb.partition("@")[0]: ask(verb)
    for verb in ("abort", "retry", "pause", "resume", "promote@{candidate}", "promote-full@{candidate}")
}
CRASHES: dict[str, Happening] = {f"{r} crashes": crash(r) for r in ("stable", "candidate")}
IMPOSTORS: dict[str, Happening] = {
    "stable is another model": turn("stable", identity="another"),
    "candidate is another model": turn("candidate", identity="another"),
}
RUDE: dict[str, Happening] = {f"{r} is rude": turn(r, says={"p1": RUDENESS}) for r in ("stable", "candidate")}
PROMOTE: dict[str, Happening] = {"promote": VERBS["promote"]}
ROLLBACK: dict[str, Happening] = {"rollback to a": ask("rollback=1")}
PODS: dict[str, Happening] = {
    **{f"{r} is evicted": evict(r) for r in ("stable", "candidate")},
    **{f"{r} is unhealthy": turn(r, unhealthy=True) for r in ("stable", "candidate", "previous")},
}
ROOM: dict[str, Happening] = {"room for one": room(1)}
FLEET: dict[str, Happening] = {"a gateway is silent": silence, "a gateway lags": lag}
SLEEP: dict[str, Happening] = {f"replicas {count}": scale(count) for count in (0, 1)}
BASICS: dict[str, Happening] = {**EDITS, "another operator": restart}

WORLDS: tuple[Small, ...] = (
    Small("rollouts", {**BASICS, **CRASHES}, left=1),
    Small("edits", BASICS, left=3, traffic=("healthy", "bad")),
    Small("requests", {**BASICS, **VERBS}, left=2, traffic=("healthy", "bad")),
    Small("wrong models", {**BASICS, **IMPOSTORS}, left=1, traffic=("healthy",)),
    Small("two pods", {**BASICS, **PODS}, left=1, replicas=2, traffic=("healthy",), deaths=False),
    Small("no room", {**BASICS, **ROOM, **CRASHES}, left=1, traffic=("healthy",), deaths=False),
    Small(
        "two gateways", {**BASICS, **FLEET, "streams": stream}, left=1, gateways=2, traffic=("healthy",), deaths=False
    ),
    Small("no gateway", {**BASICS, "gateways": lose_gateways, "streams": stream}, left=1, traffic=("healthy",)),
    Small("asleep", {**BASICS, **SLEEP, **CRASHES}, left=2, traffic=("healthy",), deaths=False),
    Small("old views", BASICS, left=2, traffic=("healthy", "bad"), deaths=False, stale=3),
    Small("at once", {**BASICS, **CRASHES}, left=1, rollout=terms(strategy="Immediate", steps=None)),
    Small(
        "copies",
        {**BASICS, **CRASHES, **PROMOTE, "copies": copies},
        left=1,
        rollout=terms(shadow={"percent": 50, "samples": SAMPLES}),
    ),
    Small(
        "copies to two pods",
        {**BASICS, **PODS, "streams": stream},
        left=1,
        replicas=2,
        traffic=("healthy",),
        deaths=False,
        rollout=terms(shadow={"percent": 100, "samples": SAMPLES}),
        at="Shadow",
    ),
    Small("by hand", {**BASICS, **CRASHES, **PROMOTE}, left=1, rollout=terms(strategy="BlueGreen", steps=None)),
    Small(
        "rollbacks",
        {**BASICS, **CRASHES, **ROLLBACK},
        left=2,
        traffic=("healthy",),
        rollout=terms(strategy="Immediate", steps=None),
        at="Watching",
    ),
    *(
        Small(
            f"one by one from {phase}",
            {**BASICS, **CRASHES, "abort": VERBS["abort"], "streams": stream},
            left=1,
            traffic=("healthy",),
            rollout=terms(strategy="Immediate", steps=None, capacity={"mode": "Recreate"}),
            at=phase,
        )
        for phase in ("Stable", "Replacing", "Watching")
    ),
    *(
        Small(
            name,
            {**BASICS, **CRASHES, "room for four": more_room, "crowded": crowd, "ten minutes": rest},
            left=1,
            replicas=2,
            places=2,
            traffic=("healthy",),
            deaths=deaths,
            rollout=terms(capacity={"mode": mode}),
        )
        for name, mode, deaths in (("too few places", "Borrow", True), ("a node may come", "Auto", False))
    ),
    Small(
        "three pods lend",
        {**BASICS, **CRASHES, "crowded": crowd, "ten minutes": rest, **{f"replicas {n}": scale(n) for n in (2, 3)}},
        left=2,
        replicas=3,
        places=3,
        traffic=("healthy",),
        rollout=terms(capacity={"mode": "Borrow"}),
    ),
    Small("first revision", {**BASICS, **CRASHES}, left=2, traffic=("healthy",), at=""),
    Small("restores", {**BASICS, **IMPOSTORS}, left=1, traffic=("healthy",), deaths=False, at="Watching"),
    Small(
        "no way back",
        {**BASICS, **IMPOSTORS},
        left=1,
        traffic=("healthy",),
        at="Watching",
        then=("stable is another model", "candidate is another model"),
    ),
    *(
        Small(
            f"probe sets {how}",
            {**BASICS, **RUDE, **CRASHES, "nobody judges": judge},
            left=1,
            traffic=("healthy",),
            deaths=deaths,
            rollout=settings,
            guardrails=(PROBING,),
        )
        for how, deaths, settings in (
            ("before a canary", True, terms()),
            ("by hand", False, terms(strategy="BlueGreen", steps=None)),
        )
    ),
    Small(
        "no model", {**EDITS, **CRASHES, "model": lose_model}, left=1, traffic=("healthy",), deaths=False, at="Canary"
    ),
)
