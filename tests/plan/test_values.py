"""The small pure parts: clocks, counters, fleets, terms, and the statuses of Models."""

from dataclasses import replace
from typing import Any

import pytest

from tests.plan.desired.specs import deployment
from tests.plan.world import KEY, NAME
from understudy.api.v1alpha1.rollout import METRICS, Metric, Rollout
from understudy.domain.state import DeploymentState, GatewayState, Guarded, Pairs, RevisionState, Sample
from understudy.plan import clocks
from understudy.plan.actions import Apply, Plan
from understudy.plan.analysis import differ
from understudy.plan.counts import Tally
from understudy.plan.desired.children import configmap_copy_manifest
from understudy.plan.evidence import MAX_BLOCKS, Record, alongside, count, read_record, record_fields, slide, totals
from understudy.plan.gone import plan_gone
from understudy.plan.memory import Block, Clock, Cursor, Evidence, Memory
from understudy.plan.metrics import Measures, Paired, measured, slower
from understudy.plan.model import plan_model
from understudy.plan.observed import GatewayPod, Now, Observed
from understudy.plan.programmed import describe, programmed, view_fleet, view_table
from understudy.plan.sequential import Comparison
from understudy.plan.strategy import freeze, terms

NOW = Now(wall=1000.0, monotonic=50.0, process="p")
MEMORY = Memory(process="p", monotonic=40.0, clocks={"a": Clock(900.0, 30.0)})


# Clocks.


@pytest.mark.parametrize(
    ("memory", "stamp", "elapsed"),
    [
        (None, 900.0, 100.0),  # a new process believes the stamp
        (None, 2000.0, 0.0),  # but no negative time
        (None, None, 0.0),
        (MEMORY, 900.0, 40.0),  # a known clock goes on by the monotonic clock, whatever the wall says
        (MEMORY, 950.0, 10.0),  # a new start cannot be older than the last pass
        (MEMORY, 995.0, 5.0),
        (MEMORY, None, 0.0),
        (replace(MEMORY, process="other"), 900.0, 100.0),
    ],
)
def test_a_clock_trusts_the_wall_once_and_the_monotonic_clock_from_then_on(
    memory: Memory | None, stamp: float | None, elapsed: float
) -> None:
    assert clocks.advance(memory, NOW, {"a": stamp}, {}) == {"a": Clock(stamp, elapsed)}


def test_a_clock_that_is_not_asked_for_starts_anew() -> None:
    assert clocks.advance(MEMORY, NOW, {}, {}) == {}


@pytest.mark.parametrize(
    ("memory", "began", "elapsed"),
    [
        (None, 900.0, 100.0),  # a new process believes what it is told
        (None, 2000.0, 0.0),
        (replace(MEMORY, clocks={}), 900.0, 10.0),  # one that was looking cannot have missed more than a pass
        (replace(MEMORY, clocks={}), 995.0, 5.0),
        (replace(MEMORY, clocks={"a": Clock(None, 30.0)}), 995.0, 40.0),  # a running clock is not set back
    ],
)
def test_a_clock_without_a_stamp_starts_from_what_is_known(memory: Memory | None, began: float, elapsed: float) -> None:
    assert clocks.advance(memory, NOW, {"a": None}, {"a": began}) == {"a": Clock(None, elapsed)}


def test_starts_are_kept_as_they_were_written_until_they_are_others() -> None:
    running = {"drain:x": Clock(None, 30.5), "blocked:y": Clock(None, 4.0), "thin": Clock(None, 4.0)}
    first = clocks.write_starts(running, {}, 1000.0)
    assert first == {"drain:x": "1970-01-01T00:16:10Z", "blocked:y": "1970-01-01T00:16:36Z"}
    kept = clocks.read_starts({"rollout": {"since": first}})
    assert kept == {"drain:x": 970.0, "blocked:y": 996.0}
    later = {name: Clock(None, clock.elapsed + 9.7) for name, clock in running.items()}
    assert clocks.write_starts(later, kept, 1010.0) == first
    # The wall clock has jumped: what is kept must say the same by it.
    assert clocks.read_starts({"rollout": {"since": clocks.write_starts(later, kept, 5010.0)}})["drain:x"] == 4970.0


@pytest.mark.parametrize("since", [None, {"drain:x": "yesterday"}, {"drain:x": 5}, {"drain:x": "2026-01-01T00:00:00"}])
def test_what_is_no_start_is_left_out(since: Any) -> None:
    assert clocks.read_starts({"rollout": {"since": since}}) == {}


# Counting.

AGREED = terms(Rollout(), {})


def measure(state: RevisionState) -> Measures:
    return measured(state, AGREED, guarded=True)


def gateway(uid: str = "g", start: str = "s", uptime: float = 100.0, age: float = 0.0, **counts: int) -> GatewayPod:
    revisions = {
        r: RevisionState(attempts=n, errors={"5xx": n // 10}, sample=Sample(n, errors=n // 10))
        for r, n in counts.items()
    }
    state = GatewayState(start, uptime, {str(KEY): DeploymentState(revisions=revisions)})
    return GatewayPod(uid, uid, state, age)


@pytest.mark.parametrize(
    ("pod", "cursor", "since", "subject"),
    [
        (gateway(new=50), Cursor("s", {"new": (20, 1), "old": (0, 0)}), 1.0, (30, 4)),
        (gateway(new=50), None, 1.0, (0, 0)),  # unknown and older than our last look: a baseline
        (gateway(new=50, uptime=0.5), None, 1.0, (50, 5)),  # unknown and younger: from zero
        (gateway(new=50, uptime=0.5, age=0.6), None, 1.0, (0, 0)),
        (gateway(new=50, uptime=0.5), None, None, (0, 0)),  # never looked
        (gateway(start="t", new=7, uptime=0.5), Cursor("s", {"new": (20, 1)}), 1.0, (7, 0)),
        (gateway(new=50), Cursor("s", {"other": (1, 0)}), 1.0, (0, 0)),  # known, but not looked at before
        (gateway(new=5), Cursor("s", {"new": (20, 1)}), 1.0, (0, 0)),  # a counter that falls counts nothing
        (GatewayPod("g", "g", None, float("inf")), Cursor("s", {"new": (20, 1)}), 1.0, (0, 0)),
        (GatewayPod("g", "g", None, float("inf")), None, 1.0, (0, 0)),
        (GatewayPod("g", "g", GatewayState("s", 9.0, {}), 0.0), Cursor("s", {"new": (0, 0)}), 1.0, (0, 0)),
    ],
)
def test_what_a_gateway_counted_since_the_last_look(
    pod: GatewayPod, cursor: Cursor | None, since: float | None, subject: tuple[int, int]
) -> None:
    counted = count(KEY, "new", "old", [pod], {"g": cursor} if cursor else {}, since, measure)
    assert counted.subject == subject


def test_a_gateway_that_does_not_answer_keeps_its_cursor_and_one_that_is_gone_loses_it() -> None:
    cursors = {"g": Cursor("s", {"new": (20, 1)}), "gone": Cursor("s", {})}
    counted = count(KEY, "new", "", [GatewayPod("g", "g", None, 9.0)], cursors, 1.0, measure)
    assert counted.cursors == {"g": cursors["g"]}
    assert counted.other == (0, 0)


def test_evidence_survives_the_snapshot() -> None:
    evidence = Evidence("3/50", lasted=12.5, counted=True, soak=7.5, subject=(40, 2), other=(60, 1))
    pairs: Paired = {"errors": ((7, 2), (7, 1))}
    cursors = {"g": Cursor("s", {"new": (20, 1)}, {"new": {"errors": (9, 1), "rejected": (9, 0)}}, pairs)}
    comparisons: dict[Metric, Comparison] = {"errors": Comparison(step="3/50", subject=(9, 1))}
    tallies: dict[str, Tally] = {"rung:1": ((20, 3), (180, 2))}
    record = read_record(record_fields(evidence, cursors, comparisons, tallies, 1000.0))
    assert record == Record(evidence, cursors, comparisons, tallies, 1000.0)


def test_a_record_of_an_older_version_has_no_comparisons_and_begins_them_with_the_next_look() -> None:
    status = record_fields(Evidence("1/10"), {"g": Cursor("s", {"new": (20, 1)})}, {}, {}, 1000.0)
    del status["cursors"]["g"]["samples"], status["evidence"]["comparisons"]
    record = read_record(status)
    assert record is not None
    assert (record.cursors, record.comparisons) == ({"g": Cursor("s", {"new": (20, 1)})}, {})
    first = count(KEY, "new", "", [gateway(new=50)], record.cursors, 1.0, measure)
    assert (first.subject, first.samples["errors"]) == ((30, 4), ((0, 0), (0, 0)))
    second = count(KEY, "new", "", [gateway(new=80)], first.cursors, 1.0, measure)
    assert second.samples["errors"] == ((30, 3), (0, 0))


def coupled(pairs: Pairs, start: str = "s", uptime: float = 100.0) -> GatewayPod:
    deployment = DeploymentState(revisions={"new": RevisionState(pairs=pairs)})
    return GatewayPod("g", "g", GatewayState(start, uptime, {str(KEY): deployment}), 0.0)


def test_pairs_are_counted_from_where_copies_began() -> None:
    before, after = Pairs(10, {"errors": 3}), Pairs(30, {"errors": 5}, {"errors": 1}, {"errors": 4})
    known = {"g": Cursor("s", {"new": (0, 0)})}
    first = count(KEY, "new", "old", [coupled(before)], known, 1.0, measure, copies=True).of_pairs()
    assert (first.subject, first.other) == ((0, 0), (0, 0))
    second = count(KEY, "new", "old", [coupled(after)], first.cursors, 1.0, measure, copies=True).of_pairs()
    # A pair in which both were bad is a bad one of each.
    assert (second.subject, second.other) == ((20, 6), (20, 5))
    assert second.samples["errors"] == ((20, 6), (20, 5))
    assert second.samples["rejected"] == ((20, 0), (20, 0))
    third = count(KEY, "new", "old", [coupled(Pairs(90))], second.cursors, 1.0, measure)
    assert (third.cursors["g"].pairs, third.pairs["errors"]) == ({}, ((0, 0), (0, 0)))


def test_pairs_of_a_gateway_that_began_since_the_last_look_count_from_zero() -> None:
    restarted = coupled(Pairs(8, {"rejected": 1}), start="t", uptime=0.5)
    counted = count(KEY, "new", "old", [restarted], {"g": Cursor("s")}, 1.0, measure, copies=True)
    assert counted.pairs["rejected"] == ((8, 1), (8, 0))
    unknown = count(KEY, "new", "old", [restarted], {}, None, measure, copies=True)
    assert unknown.pairs["rejected"] == ((0, 0), (0, 0))


@pytest.mark.parametrize(
    ("objective", "expected"),
    [
        (1.0, (15, 9)),  # the objective is a bound: everything above it
        (0.7, (15, 9)),  # within a bucket: what may be on either side of it does not count
        (2.0, (15, 5)),
        (3.0, (15, 0)),  # beyond what is measured: nothing is surely above it
        (0.1, (15, 14)),
    ],
)
def test_only_what_is_surely_slower_than_the_objective_counts(objective: float, expected: tuple[int, int]) -> None:
    assert slower((1, 2, 3, 4, 5), (0.2, 0.5, 1.0, 2.0), objective) == expected


def test_every_metric_that_gateways_count_is_read_from_samples() -> None:
    sample = Sample(10, errors=3, rejected_4xx=2, empty=1, ttft=(0,) * 10 + (4,), slowest=(5,) + (0,) * 9 + (1,))
    assert measured(RevisionState(attempts=99, sample=sample, guard=Guarded(8, {}, 2)), AGREED, guarded=True) == {
        "errors": (10, 3),
        "rejected": (10, 2),
        "timeToFirstToken": (4, 4),
        "interTokenLatency": (6, 1),
        "emptyOutput": (10, 1),
        "guardrailBlocks": (8, 2),
    }
    assert set(measured(RevisionState(), AGREED, guarded=True)) == set(METRICS)
    assert set(METRICS) - set(measured(RevisionState(), AGREED, guarded=False)) == {"guardrailBlocks"}


@pytest.mark.parametrize("status", [{}, {"evidence": {"tag": "1/10"}}, {"evidence": {"tag": "1", "subject": "x"}}])
def test_a_record_of_another_shape_is_none(status: dict[str, Any]) -> None:
    assert read_record(status) is None


def test_the_window_reaches_back_half_a_minute_or_as_far_as_it_must() -> None:
    window: tuple[Block, ...] = ()
    for second in range(100):
        window = slide(window, (1, 0), (9, 0), float(second), least=20)
    assert 30 <= totals(window)[0][0] <= 32
    sparse: tuple[Block, ...] = ()
    for second in range(0, 500, 10):
        sparse = slide(sparse, (1, 0), (0, 0), float(second), least=20)
    assert totals(sparse)[0] == (20, 0)


def test_the_window_is_bounded_and_loses_nothing_by_it() -> None:
    window: tuple[Block, ...] = ()
    for second in range(500):
        window = slide(window, (0, 0), (2, 1), float(second), least=20)
    assert len(window) <= MAX_BLOCKS
    assert totals(window)[1] == (1000, 500)


def test_what_is_counted_within_a_second_shares_a_slice() -> None:
    window = slide(slide((), (1, 1), (2, 0), 10.0, 5), (1, 0), (2, 2), 10.5, 5)
    assert window == (Block(10.0, (2, 1), (4, 2)),)
    assert slide(window, (0, 0), (0, 0), 11.5, 5) == window


def test_the_comparator_counts_in_the_slices_where_the_subject_failed() -> None:
    window = (Block(0.0, (10, 0), (90, 0)), Block(1.0, (10, 5), (90, 45)))
    assert alongside(window) == (90, 45)


# What gateways serve by.


def table(generation: int = 4, weights: dict[str, int] | None = None) -> dict[str, Any]:
    shares = weights or {"a" * 8: 100}
    variants = [{"revision": r, "track": "stable", "weight": w, "service": f"{NAME}-{r}"} for r, w in shares.items()]
    meta = {"uid": "t", "generation": generation, "resourceVersion": "9"}
    return {"metadata": meta, "spec": {"epoch": 1, "variants": variants}}


def answering(generation: int = 4, usable: int = 1, age: float = 0.5, **fields: Any) -> GatewayPod:
    revisions = {"a" * 8: RevisionState(usable_endpoints=usable)}
    state = DeploymentState(table_uid="t", table_generation=generation, revisions=revisions, **fields)
    return GatewayPod("g", "gateway", GatewayState("s", 9.0, {str(KEY): state}), age)


@pytest.mark.parametrize(
    ("pods", "holds", "why"),
    [
        ([answering()], True, ""),
        ([], False, "there is no gateway pod"),
        ([answering(age=3.1)], False, "no answer from gateway gateway"),
        ([GatewayPod("g", "gateway", None, float("inf"))], False, "no answer from gateway gateway"),
        ([answering(generation=3)], False, "not yet served by gateway gateway"),
        # A gateway that is ahead means that our own view is old.
        ([answering(generation=5)], False, "not yet served by gateway gateway"),
        ([answering(rejected="epoch", rejected_generation=4)], False, "a gateway refuses the table: epoch"),
        ([answering(rejected="old story", rejected_generation=3)], True, ""),
        ([answering(usable=0)], False, "a gateway cannot reach every revision of the table"),
        ([answering(), answering(generation=3)], False, "not yet served by gateway gateway"),
    ],
)
def test_programmed_is_what_every_gateway_says(pods: list[GatewayPod], holds: bool, why: str) -> None:
    view = view_table(NAME, table())
    fleet = view_fleet(KEY, view, pods)
    assert programmed(fleet, view) is holds
    assert holds or describe(fleet) == why


def test_a_table_that_no_gateway_would_take_is_seen_as_such() -> None:
    view = view_table(NAME, table(weights={"a" * 8: 40}))
    assert view is not None
    assert (view.table, view.weights()) == (None, {})


# Terms.


def test_soak_of_a_weight_between_steps_is_that_of_the_step_below() -> None:
    agreed = terms(Rollout(), {})
    assert [agreed.soak(w) for w in (5, 10, 49, 50, 100)] == [120.0, 120.0, 120.0, 300.0, 300.0]
    assert [agreed.position(w) for w in (0, 10, 30, 50, 100)] == [0, 1, 2, 2, 3]
    assert [agreed.next_weight(w) for w in (0, 10, 60, 100)] == [10, 50, 100, 100]


def test_what_is_frozen_wins_over_the_spec_but_steps_do_not_freeze() -> None:
    strict = Rollout.model_validate({"analysis": {"minSamples": 7}, "deadlines": {"scheduling": "1m"}})
    live = Rollout.model_validate({"strategy": "Immediate", "steps": [{"weight": 100}], "watch": "1m"})
    agreed = terms(live, freeze(strict))
    assert (agreed.min_samples, agreed.scheduling, agreed.immediate) == (7, 60.0, False)
    assert (agreed.steps, agreed.watch) == (((100, 120.0),), 60.0)
    assert agreed.metrics == Rollout().analysis.metrics
    assert terms(live, {}).metrics == ()


# Image ids.


@pytest.mark.parametrize(
    ("images", "expected"),
    [
        ((), False),
        (("reg/a@sha256:1",), False),
        (("reg/a@sha256:1", "reg/a@sha256:2"), True),
        (("sha256:1", "sha256:2"), True),
        # The same image under two names, and an image that was pulled here and put there by hand.
        (("reg/a@sha256:1", "mirror/a@sha256:1"), False),
        (("reg/a@sha256:1", "sha256:9"), False),
    ],
)
def test_image_ids_are_compared_by_digest_and_only_with_their_like(images: tuple[str, ...], expected: bool) -> None:
    assert differ(images) is expected


# Copies of ConfigMaps, and a deployment that is gone.


def test_a_copy_of_a_configmap_holds_all_that_the_pods_mount_and_cannot_be_changed() -> None:
    record = {"metadata": {"namespace": "stories"}, "spec": {"deployment": "teller", "revision": "aaaaaaaa"}}
    source = {"data": {"a": "1"}, "binaryData": {"b": "Mg=="}, "metadata": {"name": "prompts"}}
    copy = configmap_copy_manifest(record, source, "prompts-1", deployment())
    assert {name: value for name, value in copy.items() if name != "metadata"} == {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "immutable": True,
        "data": {"a": "1"},
        "binaryData": {"b": "Mg=="},
    }
    assert (copy["metadata"]["name"], copy["metadata"]["namespace"]) == ("prompts-1", "stories")


def test_a_table_is_retired_as_it_is_and_only_once() -> None:
    named = {"name": NAME, "namespace": "stories", "labels": {"a": "b"}, "ownerReferences": [{"uid": "u"}]}
    table: dict[str, Any] = {
        "metadata": {**named, "uid": "t", "resourceVersion": "7", "managedFields": []},
        "spec": {"epoch": 4, "servedNames": ["tiny"], "variants": []},
    }
    retired: dict[str, Any] = {
        "apiVersion": "understudy.dev/v1alpha1",
        "kind": "RoutingTable",
        "metadata": named,
        "spec": {**table["spec"], "retired": True},
    }
    observed = Observed(KEY, NOW, 4, None, table=table)
    why = ("the deployment is gone",)
    assert plan_gone(observed) == Plan(
        actions=(Apply(obj=retired, uid="t", resource_version="7", why="retire the table"),), reasons=why
    )
    assert plan_gone(replace(observed, table={**table, "spec": retired["spec"]})) == Plan(reasons=why)


# Models.


def test_a_model_names_a_hundred_users_at_most_and_keeps_its_times() -> None:
    users = [f"d{i:03}" for i in range(101)]
    status = plan_model({"metadata": {"generation": 3}}, users, NOW)
    assert (status["observedGeneration"], status["usedBy"]) == (3, users[:100])
    assert status["conditions"][0]["message"] == (
        "weights are read by the engines that serve them; "
        "used by d000, d001, d002, d003, d004, d005, d006, d007, d008, d009 and 91 more"
    )
    later = plan_model({"metadata": {"generation": 4}, "status": status}, users[:2], replace(NOW, wall=9000.0))
    assert later["conditions"] == [
        {
            "type": kind,
            "status": "True" if kind == "Ready" else "False",
            "reason": "Declared",
            "message": "weights are read by the engines that serve them; used by d000, d001" if kind == "Ready" else "",
            "lastTransitionTime": "1970-01-01T00:16:40Z",
            "observedGeneration": 4,
        }
        for kind in ("Ready", "Reconciling", "Stalled")
    ]


def test_a_model_says_who_uses_it() -> None:
    model = {"metadata": {"name": "tiny", "generation": 3}, "spec": {}}
    users = [f"d{i:02}" for i in range(12)]
    status = plan_model(model, reversed(users), NOW)
    assert status["usedBy"] == users
    assert {c["type"]: (c["status"], c["reason"]) for c in status["conditions"]} == {
        "Ready": ("True", "Declared"),
        "Reconciling": ("False", "Declared"),
        "Stalled": ("False", "Declared"),
    }
    assert "and 2 more" in status["conditions"][0]["message"]
    assert plan_model({**model, "status": status}, users, NOW) == status
    assert "nobody" in plan_model(model, [], NOW)["conditions"][0]["message"]
