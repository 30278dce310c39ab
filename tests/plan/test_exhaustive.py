"""Small worlds in which every order of events is tried: no promise breaks, every phase is left, all of it rests.

`UNDERSTUDY_STATES` says how many states of each world are expanded; `make proof` expands all of them.
"""

import copy
import os
import re
from functools import cache
from pathlib import Path

import pytest

from tests.plan.explore.key import key_of
from tests.plan.explore.search import Explored, Search
from tests.plan.explore.small import WORLDS, Small, flow
from tests.plan.world import Cluster

pytestmark = pytest.mark.slow

STATES = int(os.environ.get("UNDERSTUDY_STATES", "120"))
PAGE = Path(__file__).parents[2] / "docs" / "rollout.md"

# Every way from one phase to the next, as docs/rollout.md tells it.
EDGES = {
    "Preparing": {"Shadow", "Canary", "Promoting", "Reverting", "Replacing"},
    "Shadow": {"Canary", "Reverting"},
    "Canary": {"Promoting", "Reverting"},
    "Replacing": {"Promoting", "Stable", "RolledBack"},
    "Promoting": {"Stable", "Watching", "Reverting", "Replacing"},
    "Watching": {"Stable", "Restoring", "Replacing"},
    "Restoring": {"RolledBack", "Reverting"},
    "Reverting": {"Stable", "RolledBack", "Preparing"},
    "RolledBack": {"Stable"},
    "Stable": {"Preparing", "RolledBack"},
}
# An aborted candidate without any pod has nothing to wait for on its way back.
AT_ONCE = {("Preparing", "RolledBack")}


@cache
def explored(small: Small) -> Explored:
    return Search(small, limit=STATES).run()


@pytest.mark.parametrize("small", WORLDS, ids=[small.name for small in WORLDS])
def test_no_order_of_events_breaks_a_promise(small: Small) -> None:
    found = explored(small)
    assert found.findings == []
    assert found.stuck == []
    assert found.transitions > 0


def test_every_way_from_phase_to_phase_is_gone_and_no_other() -> None:
    gone = {(a, b) for small in WORLDS for a, b in explored(small).edges if a != b}
    told = {(a, b) for a, following in EDGES.items() for b in following}
    assert told <= gone, f"never gone: {told - gone}"
    assert gone <= told | AT_ONCE, f"not told: {gone - told - AT_ONCE}"


def test_the_ways_are_those_between_the_phases_of_the_page() -> None:
    table = PAGE.read_text().partition("| Phase |")[2].partition("\n\n")[0]
    assert set(re.findall(r"^\| ([A-Z]\w+) \|", table, re.MULTILINE)) == set(EDGES)


def test_a_whole_world_has_a_way_to_rest_from_everywhere() -> None:
    requests = next(small for small in WORLDS if small.name == "requests")
    found = Search(Small("one request", requests.happenings, left=1, traffic=("healthy",))).run()
    assert found.whole
    assert (found.findings, found.stuck) == ([], [])
    assert found.states > 100


def test_two_futures_of_one_present_do_not_touch_each_other() -> None:
    node = WORLDS[0].begin(Cluster(1))
    before, present = key_of(node), copy.deepcopy(vars(node.cluster) | {"on_write": [], "_ids": 0})
    other = node.fork()
    flow(other, "bad", 5.0)
    WORLDS[0].happenings["edit to b"](other)
    for _ in range(6):
        other.audit.turn(5.0)
    assert key_of(node) == before != key_of(other)
    assert vars(node.cluster) | {"on_write": [], "_ids": 0} == present
