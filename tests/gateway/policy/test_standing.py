"""How a deployment stands with all workers of a pod."""

import pytest

from understudy.gateway.policy.evidence import Counters
from understudy.gateway.policy.standing import UNKNOWN, Standing, beside, together, told

OLD = Standing("u1", 1, 3, variants=1, usable={"r1": 2})
NEW = Standing("u1", 2, 4, variants=2, usable={"r1": 1, "r2": 1})
OTHER = Standing("u2", 1, 3, variants=1, usable={"r1": 2})


def version(standing: Standing) -> tuple[str, int]:
    return standing.table_uid, standing.table_generation


def test_all_by_one_table_are_by_that_table() -> None:
    whole = together([NEW, NEW], silent=False)
    assert (version(whole), whole.epoch, whole.variants) == (("u1", 2), 4, 2)


@pytest.mark.parametrize(
    ("standings", "silent"),
    [([OLD, NEW], False), ([NEW, UNKNOWN], False), ([NEW, OTHER], False), ([NEW], True), ([UNKNOWN], True), ([], True)],
)
def test_any_doubt_is_neither_a_table_nor_none(standings: list[Standing], silent: bool) -> None:
    whole = together(standings, silent=silent)
    assert whole.table_uid == ""
    assert whole.table_generation > 0
    # And it moves: whoever asks for that alone is told.
    assert told(whole, {}, only_active=True) is not None


def test_the_lower_one_of_two_tables_is_named() -> None:
    whole = together([NEW, OLD], silent=False)
    assert (whole.table_generation, whole.epoch) == (1, 3)


def test_none_has_a_table_when_nobody_has() -> None:
    assert together([UNKNOWN, UNKNOWN], silent=False) == UNKNOWN
    assert told(UNKNOWN, {}, only_active=False) is None


def test_an_endpoint_is_usable_only_where_every_worker_can_use_it_and_who_waits_is_added() -> None:
    one = Standing("u1", 2, variants=2, waiting=2, usable={"r1": 3, "r2": 1})
    other = Standing("u1", 2, variants=2, waiting=3, usable={"r1": 2, "r2": 0})
    whole = together([one, other], silent=False)
    assert (whole.waiting, whole.usable) == (5, {"r1": 2, "r2": 0})
    assert together([one, Standing("u1", 2)], silent=False).usable == {"r1": 0, "r2": 0}


def test_the_newest_refusal_of_any_worker_is_told() -> None:
    one = Standing("u1", 2, rejected="epoch", rejected_generation=3, variants=1)
    other = Standing("u1", 2, rejected="weights", rejected_generation=4, variants=1)
    for standings in ([one, other, OLD], [OLD, other, one]):
        whole = together(standings, silent=False)
        assert (whole.rejected, whole.rejected_generation) == ("weights", 4)


def test_what_neither_moves_nor_waits_is_left_out_of_the_short_form() -> None:
    busy = Counters()
    busy.open = 1
    assert told(OLD, {"r1": busy}, only_active=True) is None
    assert told(OLD, {"r1": busy, "r2": busy}, only_active=True) is not None
    assert told(Standing("u1", 1, variants=1, waiting=1), {}, only_active=True) is not None
    assert told(NEW, {}, only_active=True) is not None
    assert told(Standing(rejected="x"), {}, only_active=True) is not None
    state = told(OLD, {"r1": busy}, only_active=False)
    assert state is not None
    assert (state.revisions["r1"].open_requests, state.revisions["r1"].usable_endpoints) == (1, 2)


def test_a_deployment_whose_table_is_gone_is_told_of_while_its_last_requests_go_on() -> None:
    counters = Counters()
    assert told(UNKNOWN, {"r1": counters}, only_active=False) is None
    counters.open = 1
    assert told(UNKNOWN, {"r1": counters}, only_active=False) is not None


def test_breakers_are_shown_as_the_worker_has_them_that_has_the_fewest_closed() -> None:
    well, ill = {"closed": 2, "open": 0, "half_open": 0}, {"closed": 1, "open": 1, "half_open": 0}
    one = Standing("u1", 2, usable={"r1": 2, "r2": 1}, taken=5.0, breakers={"r1": well})
    other = Standing("u1", 2, usable={"r1": 1}, taken=6.0, breakers={"r1": ill})
    for standings in ([one, other], [other, one]):
        whole = together(standings, silent=False)
        assert (whole.breakers, whole.taken) == ({"r1": ill, "r2": {}}, 6.0)


def test_what_metrics_show_beside_is_counted_by_revision() -> None:
    counters = Counters()
    counters.first_token(0.25)
    counters.gap(0.5)
    counters.waited(2.0)
    counters.ejections += 3
    shown = beside(Standing("u1", 1, taken=7.0, breakers={"r1": {"closed": 1}}), {"r1": counters, "r2": Counters()})
    assert shown.table_taken == 7.0
    one, other = shown.revisions["r1"], shown.revisions["r2"]
    assert (one.ttft_sum, one.itl_sum, one.waits_sum, one.ejections) == (0.25, 0.5, 2.0, 3)
    assert (sum(one.waits), one.breakers, other.breakers, other.waits_sum) == (1, {"closed": 1}, {}, 0.0)
