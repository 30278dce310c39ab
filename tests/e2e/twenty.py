"""Twenty rollouts with faults, as data: what goes wrong in which rollout, how it must end, and how fast.

Eight of them are scenarios of `make test` (`shown_by`); the others run in `make proof` (test_twenty.py), which runs the
eight as well.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.e2e.stage import FAST_ROLLOUT

# (failureThreshold - 1) * interval + within + 1 s after the first failed probe starts, which is up to one interval
# after the fault.
PROBE_BOUND = (3 - 1) * 1 + 2 + 1 + 1
# From the kill; the kubelet's report alone takes up to 1.1 s of it.
CRASH_BOUND = 3.0
# The pods' identity is asked for with every probe: one interval, one answer, and the revert.
IDENTITY_BOUND = 1 + 2 + 1
# The Lease of a leader that was killed runs 10 s; its follower has to look around before it acts.
TAKEOVER = 15.0
# After a write that failed the kubelet reports a pod's state again with its next round, which it makes every 10 s.
KUBELET_ROUND = 10.0
# A killed gateway is restarted by the kubelet, and no table is programmed before it serves by it.
GATEWAY_BACK = 15.0

PROBES: Mapping[str, Any] = {
    "interval": "1s",
    "failureThreshold": 3,
    "prompts": [
        {
            "name": "answers",
            "messages": [{"role": "user", "content": "Say something."}],
            "maxTokens": 4,
            "expect": {"notEmpty": True, "mustNotMatch": "sk-[a-z0-9]+", "within": "2s"},
        }
    ],
}
HELD: Mapping[str, Any] = {
    **FAST_ROLLOUT,
    "steps": [{"weight": 50, "soak": "20m"}, {"weight": 100, "soak": "5s"}],
    # A rate of 20 % in the usual window of errors; enough requests for it come within two seconds.
    "analysis": {"minSamples": 20, "objectives": {"timeToFirstToken": "500ms"}},
}
IMMEDIATE: Mapping[str, Any] = {"strategy": "Immediate", "watch": "20m", "drain": "60s"}
BLUE_GREEN: Mapping[str, Any] = {"strategy": "BlueGreen", "watch": "20m", "drain": "60s"}
RECREATE: Mapping[str, Any] = {
    "strategy": "Immediate",
    "capacity": {"mode": "Recreate"},
    "watch": "20m",
    "drain": "60s",
}
STEPS: Mapping[str, Any] = {
    **FAST_ROLLOUT,
    "steps": [{"weight": 10, "soak": "8s"}, {"weight": 50, "soak": "8s"}, {"weight": 100, "soak": "4s"}],
    "drain": "120s",
}


@dataclass(frozen=True)
class Case:
    """One rollout: the new revision comes so far (`when`), then the faults happen, in this order.

    `when`: `half` and `tenth`: that share is programmed; `waits`: BlueGreen waits for promote; `watched`: it has taken
    over; `gap`: nobody serves (Recreate). `faults` that begin with `{` are set live on each pod of the new revision,
    `crash` kills their engines; with `one` before it, either befalls the first of these pods alone. The others befall
    our own processes. `reason` is why it must go back, empty if it must be promoted all the same. `bound` is in seconds
    from the last fault to every gateway serving the one revision that must win, alone. `args` are the new engine's.
    `cut` says whose streams may end early: `candidate`, `gateway`.
    `gap`: nobody serves for a while, by declaration; then requests may be refused.
    """

    name: str
    shown_by: str = ""
    rollout: Mapping[str, Any] = field(default_factory=lambda: STEPS)
    when: str = "half"
    faults: tuple[str, ...] = ()
    reason: str = ""
    bound: float = 0.0
    args: tuple[str, ...] = ()
    probes: Mapping[str, Any] = field(default_factory=lambda: PROBES)
    cut: frozenset[str] = frozenset()
    gap: bool = False


_BAD = "test_bad_revisions.py::test_bad_revision_goes_back_by_itself"
CASES = (
    # In `make test`.
    Case("canary-crashes", f"{_BAD}[crash-under-load]"),
    Case("canary-hangs", f"{_BAD}[probe-fails]"),
    Case("canary-answers-as-another-model", f"{_BAD}[wrong-identity]"),
    Case("leader-killed", "test_faults.py::test_leading_operator_dies[KILL]"),
    Case("leader-ended", "test_faults.py::test_leading_operator_dies[TERM]"),
    Case("gateway-killed", "test_faults.py::test_a_gateway_dies[KILL]"),
    Case("gateway-ended", "test_faults.py::test_a_gateway_dies[TERM]"),
    Case("api-server-away", "test_faults.py::test_api_server_is_away_for_30_seconds"),
    # In `make proof` alone: a candidate that is bad in other ways,
    Case(
        "canary-leaks-text",
        rollout=HELD,
        faults=('{"text": "the key is sk-0123456789abcdef"}',),
        reason="ProbeFailed",
        bound=PROBE_BOUND,
    ),
    Case(
        # Slower than the objective, but within what the probe allows: only the comparison with stable can tell.
        "canary-is-slow",
        rollout=HELD,
        faults=('{"firstToken": 1.0}',),
        reason="SlowerFirstToken",
        bound=60.0,
    ),
    Case(
        "canary-answers-with-errors",
        rollout=HELD,
        faults=('{"errorRate": 1.0}',),
        # No prompt that would fail as well: what the gateways count must be enough.
        probes={"interval": "1s"},
        reason="ErrorRate",
        bound=10.0,
    ),
    # other strategies,
    Case(
        "blue-green-crashes-before-the-switch",
        rollout=BLUE_GREEN,
        when="waits",
        faults=("crash",),
        reason="EngineCrash",
        bound=CRASH_BOUND,
    ),
    Case(
        "blue-green-answers-as-another-model-after-the-switch",
        rollout=BLUE_GREEN,
        when="watched",
        # One pod of two: until the previous revision is back, there is nobody else to try again with.
        faults=('one {"identity": "another-model"}',),
        reason="WrongModelIdentity",
        bound=IDENTITY_BOUND,
        cut=frozenset({"candidate"}),
    ),
    Case(
        # One pod of two, likewise.
        "immediate-crashes-in-the-watch",
        rollout=IMMEDIATE,
        when="watched",
        faults=("one crash",),
        reason="EngineCrash",
        bound=CRASH_BOUND,
        cut=frozenset({"candidate"}),
    ),
    Case(
        "recreate-does-not-start-while-the-leader-ends",
        rollout=RECREATE,
        when="gap",
        faults=("leader SIGTERM",),
        reason="EngineCrash",
        bound=120.0,
        args=("--crash=now",),
        gap=True,
    ),
    # and two things at once.
    Case(
        "canary-crashes-and-the-leader-is-killed",
        rollout=HELD,
        faults=("leader SIGKILL", "crash"),
        reason="EngineCrash",
        bound=TAKEOVER + CRASH_BOUND,
        cut=frozenset({"candidate"}),
    ),
    Case(
        "canary-hangs-and-a-gateway-ends",
        rollout=HELD,
        faults=("gateway SIGTERM", '{"hang": "requests"}'),
        reason="ProbeFailed",
        bound=GATEWAY_BACK + PROBE_BOUND,
    ),
    Case(
        # Gateways refuse such answers: whichever is first, the probe that asks who is there or the count of errors.
        "canary-answers-as-another-model-and-a-gateway-is-killed",
        rollout=HELD,
        faults=("gateway SIGKILL", '{"identity": "another-model"}'),
        reason="WrongModelIdentity or ErrorRate",
        bound=GATEWAY_BACK + IDENTITY_BOUND,
        cut=frozenset({"candidate", "gateway"}),
    ),
    Case(
        # The clock starts when the API server answers again; the Lease has run out by then.
        "canary-crashes-while-the-api-server-is-away",
        rollout=HELD,
        faults=("api server 30 s, crash",),
        reason="EngineCrash",
        bound=TAKEOVER + KUBELET_ROUND + CRASH_BOUND,
        cut=frozenset({"candidate"}),
    ),
    Case(
        "good-one-while-the-leader-is-killed-and-a-gateway-ends",
        when="tenth",
        faults=("leader SIGKILL", "gateway SIGTERM"),
        bound=150.0,
    ),
)
