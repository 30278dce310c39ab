"""Every order of events in a small world, over the real planner: what is reached, and what breaks.

The planner's own invariants and the auditor's are asserted on every transition; a broken one is a finding with the
shortest way to it. In the end every world must have a way to a place where the rollout rests.
"""

import math
import random
import re
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field

from tests.plan.explore.fork import Node
from tests.plan.explore.key import key_of
from tests.plan.explore.small import LONG, SHORT, Small, flow
from tests.plan.world import Cluster
from understudy.plan.actions import Plan
from understudy.plan.observed import Observed
from understudy.plan.planner import plan
from understudy.plan.rollout import RULES
from understudy.plan.rulebook import Rulebook

# While one of these is tried, what the gateways count decides something.
ON_TRIAL = ("Shadow", "Canary", "Promoting", "Watching")
RESTS = ("Stable", "RolledBack")


@dataclass(frozen=True)
class Finding:
    """A promise that is broken, and the steps that lead there."""

    what: str
    path: tuple[str, ...]

    @property
    def invariant(self) -> str:
        """Its short name."""
        named = re.search(r"I\d+", self.what)
        return named[0] if named is not None else self.what


@dataclass
class Explored:
    """What a search found. `edges` are (phase, phase); `whole` is False if it was cut short."""

    name: str
    states: int = 0
    transitions: int = 0
    plans: int = 0
    edges: set[tuple[str, str]] = field(default_factory=set)
    findings: list[Finding] = field(default_factory=list)
    stuck: list[tuple[str, ...]] = field(default_factory=list)
    whole: bool = True
    compared: int = 0
    differing: list[tuple[str, ...]] = field(default_factory=list)


class Search:
    """One search; `limit` bounds the states that are expanded, `sample` is the part of merges that is looked into.

    With a `limit`, the next state to expand is drawn at random (the same ones each time), so that a bounded search
    goes deep as well as wide; without one the order is breadth first, and every path that is told is a shortest one.
    """

    def __init__(
        self, small: Small, rules: Rulebook = RULES, limit: int = 0, sample: float = 0.0, seed: int = 1
    ) -> None:
        self.small, self.rules, self.limit, self.sample = small, rules, limit, sample
        self.random = random.Random(seed)
        self.found = Explored(small.name)
        self._known: dict[Hashable, int] = {}
        self._came: list[tuple[int, str]] = []
        self._next: list[set[int]] = []
        self._resting: set[int] = set()
        self._todo: deque[tuple[int, Node]] = deque()
        self._merged: list[tuple[int, Node]] = []

    def run(
        self, *, until_finding: bool = False, seconds: float = math.inf, tell: Callable[[Explored], None] | None = None
    ) -> Explored:
        """All of it, or until the first finding, or for so many seconds of this process; `tell` hears how it goes."""
        until = time.process_time() + seconds
        cluster = Cluster(self.small.gateways, rules=self.rules)
        try:
            self._meet(self.small.begin(cluster), -1, "")
        except AssertionError as broken:
            self._find(broken, 0, "on the way to where the world begins")
        expanded = 0
        while self._todo and (not self.limit or expanded < self.limit):
            if (until_finding and self.found.findings) or time.process_time() > until:
                break
            if self.limit:
                self._todo.rotate(self.random.randrange(len(self._todo)))
            number, node = self._todo.popleft()
            for step, reached in self._steps(node, number):
                self._meet(reached, number, step)
            expanded += 1
            self.found.states = len(self._came)
            if tell is not None and expanded % 500 == 0:
                tell(self.found)
        self.found.whole = not self._todo
        if not self.found.findings:
            self._ways_out()
            self._compare()
        return self.found

    # One step.

    def _steps(self, node: Node, number: int) -> Iterator[tuple[str, Node]]:
        """Everything that may happen next, and where it leads."""
        small, phase = self.small, node.cluster.phase
        on_trial = phase in ON_TRIAL
        kinds = small.traffic if on_trial else tuple(k for k in small.traffic if k == "healthy")
        for kind in kinds or ("none",):
            for seconds in (SHORT, LONG):
                yield from self._passes(node.fork(), number, kind, seconds, f"{seconds:.0f} s, {kind} traffic")
        quiet = "healthy" if "healthy" in small.traffic else "none"
        for name, happen in small.happenings.items():
            other = node.fork()
            if happen(other):
                yield from self._passes(other, number, quiet, SHORT, name)

    def _passes(self, node: Node, number: int, kind: str, seconds: float, step: str) -> Iterator[tuple[str, Node]]:
        """Time goes by, and the operator looks; then it writes all that it planned, or dies on the way."""
        flow(node, kind, seconds)
        try:
            node.audit.lapse(seconds)
        except AssertionError as broken:
            self._find(broken, number, step)
            return
        for stale in range(self.small.stale + 1):
            if stale > len(node.cluster.past):
                break
            observed = node.cluster.observe(stale=stale)
            if observed.deployment is None:
                continue
            decided = plan(observed, self.rules)
            self.found.plans += 1
            said = f"{step}, a view {stale} steps old" if stale else step
            yield from self._written(node, number, observed, decided, said, deaths=self.small.deaths and not stale)

    def _written(
        self, node: Node, number: int, observed: Observed, decided: Plan, step: str, *, deaths: bool
    ) -> Iterator[tuple[str, Node]]:
        whole = self._carried(node, number, observed, decided, step)
        if whole is None:
            return
        yield step, whole
        written = _writes(node.cluster, whole.cluster)
        if not deaths or written < 2:
            return
        before = 0
        for index in range(1, 64):
            part = self._carried(node, number, observed, decided, f"{step}, dies before write {index + 1}", index)
            if part is None:
                return
            count = _writes(node.cluster, part.cluster)
            if count == written:
                return
            if count > before:
                before = count
                part.cluster.restart_operator()
                yield f"{step}, dies after write {index}", part

    def _carried(
        self, node: Node, number: int, observed: Observed, decided: Plan, step: str, writes: int | None = None
    ) -> Node | None:
        """The world after the first so many writes of a plan; None if a promise is broken."""
        after = node.fork()
        after.cluster.fail_action = writes
        try:
            after.cluster.carry_out(observed, decided)
            after.audit.judge(decided)
            third_pool(after.cluster)
        except AssertionError as broken:
            self._find(broken, number, step)
            return None
        after.cluster.fail_action = None
        self.found.transitions += 1
        return after

    # The graph.

    def _meet(self, node: Node, origin: int, step: str) -> None:
        """A world was reached: known or new."""
        key = key_of(node)
        number = self._known.get(key)
        if number is None:
            number = self._known[key] = len(self._came)
            self._came.append((origin, step))
            self._next.append(set())
            if at_rest(node.cluster):
                self._resting.add(number)
            self._todo.append((number, node))
        elif self.sample and self.random.random() < self.sample:
            self._merged.append((number, node))
        self.found.edges |= node.audit.visited
        node.audit.visited.clear()
        if origin >= 0:
            self._next[origin].add(number)

    def _find(self, broken: AssertionError, number: int, step: str) -> None:
        self.found.findings.append(Finding(str(broken), (*self._path(number), step)))

    def _path(self, number: int) -> tuple[str, ...]:
        steps: list[str] = []
        while number > 0:
            number, step = self._came[number]
            steps.append(step)
        return tuple(reversed(steps))

    def _ways_out(self) -> None:
        """I13, backwards from where the rollout rests and from what was not looked into any more."""
        before: list[list[int]] = [[] for _ in self._next]
        for origin, targets in enumerate(self._next):
            for target in targets:
                before[target].append(origin)
        reached = self._resting | {number for number, _ in self._todo}
        todo = list(reached)
        while todo:
            for origin in before[todo.pop()]:
                if origin not in reached:
                    reached.add(origin)
                    todo.append(origin)
        self.found.stuck = [self._path(n) for n in range(len(self._next)) if n not in reached]

    def _compare(self) -> None:
        """Whether worlds that were taken for a known one really lead to the same."""
        if not self.sample or not self.found.whole:
            return
        sampled = self.random.sample(self._merged, min(len(self._merged), 300))
        for number, node in sampled:
            following = {self._known.get(key_of(reached), -1) for _, reached in self._steps(node, number)}
            self.found.compared += 1
            if following != self._next[number]:
                self.found.differing.append(self._path(number))


def third_pool(cluster: Cluster) -> None:
    """I7, on what is really there: at most two revisions ask for pods."""
    asking = [name for name, pool in cluster.of_kind("Deployment").items() if pool["spec"]["replicas"] > 0]
    assert len(asking) <= 2, f"I7: {', '.join(asking)} ask for pods"


def at_rest(cluster: Cluster) -> bool:
    """The rollout is over: something serves alone, or nothing is wanted."""
    if cluster.status.get("candidate"):
        return False
    asleep = cluster.deployment["spec"]["replicas"] == 0
    return asleep or (cluster.phase in RESTS and bool(cluster.status.get("stable")))


def _writes(before: Cluster, after: Cluster) -> int:
    """How many objects differ."""
    changed = sum(after.objects.get(ref) is not obj for ref, obj in before.objects.items())
    return changed + sum(ref not in before.objects for ref in after.objects)
