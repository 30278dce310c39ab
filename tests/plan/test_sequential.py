"""The relative verdict: what it may never do, whatever is counted, and what it must find in simulated rollouts."""

import json
import math
import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.trials import Case, run
from understudy.plan.clumping import Clumping
from understudy.plan.eprocess import GAINS, LIMIT, EProcess, tilt, upper_rate
from understudy.plan.sequential import (
    DOUBT,
    INTERVAL,
    Comparison,
    Standard,
    at_step,
    counted,
    divided,
    dump,
    evidence,
    parse,
    pod_luck,
)

STANDARD = Standard(tolerance=1.5, alpha=0.005, luck=pod_luck(1, 4))
COUNTS = st.tuples(st.integers(0, 10_000), st.integers(0, 10_000))
DELTAS = st.lists(st.tuples(COUNTS, COUNTS, st.floats(0.0, 60.0)), max_size=30)
CHANCES = st.floats(1e-9, 1 - 1e-9)
ROUNDS = st.floats(0.0, 1e6)


def fed(deltas: list[tuple[tuple[int, int], tuple[int, int], float]], *, mixed: bool = True) -> Comparison:
    comparison = at_step(Comparison(), "1/10", mixed=mixed, standard=STANDARD)
    for subject, other, seconds in deltas:
        comparison = counted(comparison, subject, other, seconds, STANDARD)
    return comparison


def numbers(process: EProcess) -> tuple[float, ...]:
    return (process.bank, *process.stakes, *process.classes)


# The formula.


@given(st.lists(st.tuples(ROUNDS, ROUNDS, CHANCES), max_size=20), st.floats(1.0, 100.0), st.floats(0.0, 2.0))
def test_no_count_however_odd_overflows_or_ends_in_nothing(
    rounds: list[tuple[float, float, float]], tolerance: float, luck: float
) -> None:
    process = EProcess()
    for hits, misses, chance in rounds:
        process = process.after(hits, misses, chance)
        assert all(math.isfinite(number) and abs(number) <= LIMIT for number in numbers(process))
        assert math.exp(process.log_evidence(tolerance, luck)) >= 0.0


@given(st.integers(0, 200), st.integers(1, 200), CHANCES)
def test_a_failure_that_falls_on_the_candidate_instead_of_stable_speaks_against_it(
    hits: int, misses: int, chance: float
) -> None:
    less, more = EProcess().after(hits, misses, chance), EProcess().after(hits + 1, misses - 1, chance)
    assert more.log_evidence(1.5, 0.0) >= less.log_evidence(1.5, 0.0)


@given(st.integers(0, 200), st.integers(0, 200), CHANCES, st.floats(0.0, 2.0))
def test_luck_with_pods_never_speaks_against_the_candidate(hits: int, misses: int, chance: float, luck: float) -> None:
    process = EProcess().after(hits, misses, chance)
    assert process.log_evidence(1.5, luck) <= process.log_evidence(1.5, 0.0)


@given(CHANCES, st.integers(1, 12))
def test_at_the_tolerated_rate_the_capital_is_expected_to_stay_what_it_is(chance: float, rounds: int) -> None:
    """The mean over all outcomes of so many rounds, by the binomial distribution, is the 1 of the start."""
    mean = sum(
        math.comb(rounds, hits)
        * chance**hits
        * (1 - chance) ** (rounds - hits)
        * math.exp(EProcess().after(hits, rounds - hits, chance).log_evidence(1.5, 0.0))
        for hits in range(rounds + 1)
    )
    assert mean == pytest.approx(1.0, rel=1e-6)


def test_luck_with_pods_explains_away_what_it_may_and_no_more() -> None:
    twice, tenfold = EProcess(), EProcess()
    for _ in range(400):
        twice = twice.after(*_expected(3.0), tilt(0.1, 1.5))
        tenfold = tenfold.after(*_expected(10.0), tilt(0.1, 1.5))
    assert twice.log_evidence(1.5, 0.0) > math.log(200) > twice.log_evidence(1.5, 1.0)
    assert tenfold.log_evidence(1.5, 0.335) > math.log(200)


def _expected(ratio: float) -> tuple[float, float]:
    """Rounds of one failure in the mean, at a share of 10 % and `ratio` times stable's rate."""
    return tilt(0.1, ratio), 1 - tilt(0.1, ratio)


def test_a_candidate_that_turns_bad_is_not_shielded_by_its_good_time() -> None:
    process = EProcess()
    for _ in range(2000):
        process = process.after(*_expected(1.0), tilt(0.1, 1.5))
    assert process.log_evidence(1.5, 0.0) < 0
    for _ in range(60):
        process = process.after(*_expected(10.0), tilt(0.1, 1.5))
    assert process.log_evidence(1.5, 0.0) > math.log(200)


@given(CHANCES, st.floats(1.0, 100.0))
def test_tilting_multiplies_the_odds(chance: float, ratio: float) -> None:
    tilted = tilt(chance, ratio)
    assert 0 < tilted <= 1
    assert tilted * (1 - chance) == pytest.approx(chance * ratio * (1 - tilted), abs=1e-6)


@given(st.integers(1, 100_000), st.floats(0.0, 1.0), st.floats(1e-6, 0.5))
def test_the_rate_that_is_still_possible_lies_above_what_was_seen_and_falls_with_data(
    attempts: int, part: float, doubt: float
) -> None:
    bad = round(attempts * part)
    high = upper_rate(attempts, bad, doubt)
    assert bad / attempts <= high <= 1.0
    assert upper_rate(attempts * 10, bad * 10, doubt) <= high + 1e-9


def test_the_rate_that_is_still_possible_is_chernoffs() -> None:
    # Without a failure the bound is exact: (1 - p) ** attempts = doubt.
    assert upper_rate(100, 0, 0.01) == pytest.approx(1 - 0.01 ** (1 / 100), abs=1e-9)
    assert upper_rate(0, 0, 0.01) == 1.0
    assert upper_rate(5, 9, 0.01) == 1.0


# Clumps.


def clumping(counts: list[int]) -> Clumping:
    found = Clumping()
    for count in counts:
        found = found.after(count)
    return found


@given(st.lists(st.integers(0, 10_000), max_size=50))
def test_a_clump_is_worth_one_to_twelve_failures(counts: list[int]) -> None:
    assert 1.0 <= clumping(counts).size <= 12.0


@pytest.mark.parametrize(
    ("counts", "low", "high"),
    [
        ([], 1, 1),
        ([7], 1, 1),
        ([2, 1, 2, 3, 2, 1, 2, 1] * 5, 1, 1),  # as even as single failures are, or more so
        ([5, 0, 0, 5, 0, 5, 0, 0] * 5, 3, 6),
        ([1, 2, 1, 1] * 5 + [90] * 40, 1, 1),  # an outage begins
        ([1, 2, 1, 1] * 5 + [90] * 40 + [1, 2, 1, 1] * 5, 1, 1),  # and ends
    ],
)
def test_clumps_are_known_by_how_much_neighbours_differ(counts: list[int], low: float, high: float) -> None:
    assert low <= clumping(counts).size <= high


@pytest.mark.parametrize(
    ("counts", "size"),
    [
        # (3 + squares) / (3 + sums) - 0.5, where the older is worth 0.98 of the newer with each interval.
        ([0, 6], (3 + 36) / (3 + 6) - 0.5),
        ([0, 6, 0], (3 + 36 * 0.98 + 36) / (3 + 6 * 0.98 + 6) - 0.5),
        ([4, 10], (3 + 36) / (3 + 14) - 0.5),
        # One difference counts as twelve times its sum at most.
        ([0, 100], (3 + 1200) / (3 + 100) - 0.5),
    ],
)
def test_the_size_of_clumps_is_that_of_the_page(counts: list[int], size: float) -> None:
    assert clumping(counts).size == pytest.approx(size)


def test_what_came_in_clumps_on_stable_is_worth_less_on_the_candidate() -> None:
    single = fed([((100, 1), (900, 1), INTERVAL)] * 40)
    clumped = fed([((100, 1), (900, 4), INTERVAL), *[((100, 1), (900, 0), INTERVAL)] * 3] * 10)
    assert clumped.clumping.size > 2
    assert single.clumping.size == 1
    burst = ((100, 4), (900, 0), INTERVAL)
    gained = [evidence(counted(c, *burst, STANDARD), STANDARD) / evidence(c, STANDARD) for c in (single, clumped)]
    assert gained[0] > gained[1] > 1


# One metric over a rollout.


@given(DELTAS, st.booleans())
def test_whatever_is_counted_the_evidence_is_a_number(
    deltas: list[tuple[tuple[int, int], tuple[int, int], float]], mixed: bool
) -> None:
    value = evidence(fed(deltas, mixed=mixed), STANDARD)
    assert value >= 0.0
    assert not math.isnan(value)


@given(st.lists(st.tuples(COUNTS, COUNTS), min_size=2, max_size=6), st.randoms())
def test_the_order_of_counts_within_an_interval_does_not_matter(
    parts: list[tuple[tuple[int, int], tuple[int, int]]], chance: random.Random
) -> None:
    shuffled = chance.sample(parts, len(parts))
    last = [((1, 0), (1, 0), INTERVAL)]
    once = fed([*((s, o, 0.5) for s, o in parts), *last])
    assert once == fed([*((s, o, 0.5) for s, o in shuffled), *last])
    whole = (sum(s[0] for s, _ in parts) + 1, sum(s[1] for s, _ in parts))
    other = (sum(o[0] for _, o in parts) + 1, sum(o[1] for _, o in parts))
    assert once == fed([(whole, other, INTERVAL + 0.5 * len(parts))])


@given(DELTAS, st.integers(0, 30))
def test_a_restart_in_between_changes_nothing(
    deltas: list[tuple[tuple[int, int], tuple[int, int], float]], where: int
) -> None:
    before = fed(deltas[:where])
    after = parse(json.loads(json.dumps(dump(before))))
    assert after == before
    for subject, other, seconds in deltas[where:]:
        after = counted(after, subject, other, seconds, STANDARD)
    assert after == fed(deltas)


@pytest.mark.parametrize(
    "broken", [{"stakes": [1.0]}, {"bank": math.nan}, {"classes": ["x"] * 4}, {"subject": [1]}, {"clumping": [1, 2.0]}]
)
def test_a_record_that_is_not_one_is_not_believed(broken: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse({**dump(Comparison()), **broken})


def test_an_interval_without_an_attempt_of_the_candidate_stays_open() -> None:
    open_for_long = fed([((0, 3), (50, 5), 10 * INTERVAL)])
    assert open_for_long.process == EProcess()
    closed = counted(open_for_long, (1, 0), (0, 0), 0.1, STANDARD)
    assert (closed.process == EProcess(), closed.seconds, closed.fresh_subject) == (False, 0.0, (0, 0))


def test_failures_of_one_moment_weigh_as_four_at_most() -> None:
    a_few = fed([((100, 3), (900, 1), INTERVAL)])
    stalled = fed([((100, 30), (900, 10), INTERVAL)])
    assert evidence(stalled, STANDARD) == pytest.approx(evidence(a_few, STANDARD))


def test_an_outage_of_both_speaks_for_nobody() -> None:
    outage = fed([((100, 90), (900, 810), INTERVAL)] * 60)
    assert evidence(outage, STANDARD) < 1.0


def test_stable_alone_failing_never_speaks_against_the_candidate() -> None:
    assert evidence(fed([((100, 0), (900, 200), INTERVAL)] * 20), STANDARD) < 1.0


def test_a_candidate_alone_is_held_against_what_stable_showed_before() -> None:
    shared = fed([((100, 1), (100, 1), INTERVAL)] * 60)
    alone = at_step(shared, "1/100", mixed=False, standard=STANDARD)
    assert (alone.baseline, alone.subject, alone.other) == ((6000, 60), (0, 0), (0, 0))
    as_good, worse = alone, alone
    for _ in range(60):
        as_good = counted(as_good, (200, 2), (0, 0), INTERVAL, STANDARD)
        worse = counted(worse, (200, 10), (0, 0), INTERVAL, STANDARD)
    assert evidence(as_good, STANDARD) < 1.0
    assert evidence(worse, STANDARD) > STANDARD.threshold
    watched = at_step(as_good, "1/watch", mixed=False, standard=STANDARD)
    assert (watched.baseline, watched.clumping) == ((6000, 60), shared.clumping)


@pytest.mark.parametrize("baseline", [[], [((5, 0), (3, 1), INTERVAL)]])
def test_without_enough_of_stable_to_hold_it_against_nothing_is_said(
    baseline: list[tuple[tuple[int, int], tuple[int, int], float]],
) -> None:
    before = fed(baseline)
    alone = at_step(before, "1/100", mixed=False, standard=STANDARD)
    for _ in range(20):
        alone = counted(alone, (100, 50), (0, 0), INTERVAL, STANDARD)
    assert alone.process == before.process


def test_alone_but_with_stable_tried_again_both_are_compared() -> None:
    """An outage of both at 100 %: what fails on the candidate is tried on stable, and fails there too."""
    shared = fed([((100, 1), (100, 1), INTERVAL)] * 60)
    alone = at_step(shared, "1/100", mixed=False, standard=STANDARD)
    for _ in range(60):
        alone = counted(alone, (200, 200), (200, 200), INTERVAL, STANDARD)
    assert evidence(alone, STANDARD) < 1.0


def test_the_next_step_begins_its_counts_anew_and_keeps_the_evidence() -> None:
    first = fed([((100, 3), (900, 9), INTERVAL), ((10, 1), (90, 1), 1.0)])
    second = at_step(first, "1/50", mixed=True, standard=STANDARD)
    assert (second.subject, second.other, second.fresh_subject, second.seconds) == ((0, 0), (0, 0), (0, 0), 0.0)
    assert second.process != first.process
    assert at_step(second, "1/50", mixed=True, standard=STANDARD) is second
    without_rest = at_step(fed([((100, 3), (900, 9), INTERVAL)]), "1/50", mixed=True, standard=STANDARD)
    assert without_rest.process == fed([((100, 3), (900, 9), INTERVAL)]).process


@pytest.mark.parametrize(
    ("metrics", "parts"),
    [
        (("errors",), {"errors": 0.01}),
        (("errors", "rejected", "emptyOutput"), {"errors": 0.005, "rejected": 0.0025, "emptyOutput": 0.0025}),
        (("rejected", "emptyOutput"), {"rejected": 0.005, "emptyOutput": 0.005}),
        ((), {}),
    ],
)
def test_errors_take_half_of_alpha_and_the_others_share_the_rest(
    metrics: tuple[str, ...], parts: dict[str, float]
) -> None:
    assert divided(0.01, metrics) == pytest.approx(parts)


def test_more_pods_leave_less_to_luck() -> None:
    assert pod_luck(1, 4) > pod_luck(4, 4) > pod_luck(100, 100) > 0
    assert pod_luck(0, 0) == pod_luck(1, 1)


def test_one_pod_that_answers_copies_may_owe_more_to_its_luck() -> None:
    assert pod_luck(1, 4, copied=True) > pod_luck(1, 4)


def test_the_doubt_about_stables_rate_is_part_of_alpha() -> None:
    assert 1 / STANDARD.threshold + STANDARD.alpha * DOUBT == pytest.approx(STANDARD.alpha)


def test_every_gain_lies_above_what_is_tolerated() -> None:
    assert min(GAINS) > 1


# Simulated rollouts; the whole grid is bench/verdict.py.

USUAL = Case(weight=10, rate=20.0, base=0.01, tolerance=1.5)


def verdicts(case: Case, runs: int) -> list[float]:
    """Seconds to each verdict, sorted; the others count as never."""
    found = [run(case, random.Random(f"{case} {index}")) for index in range(runs)]
    return sorted(math.inf if seconds is None else seconds for seconds in found)


@pytest.mark.parametrize(
    ("tolerance", "ratio", "limit"), [(1.5, 5.0, 180.0), (1.25, 5.0, 150.0), (1.5, 10.0, 60.0), (1.25, 10.0, 60.0)]
)
def test_a_worse_candidate_is_found_in_time(tolerance: float, ratio: float, limit: float) -> None:
    assert verdicts(replace(USUAL, tolerance=tolerance, ratio=ratio), 41)[20] <= limit


@pytest.mark.parametrize(
    "case",
    [
        replace(USUAL, uneven=True, outage=True),
        replace(USUAL, uneven=True, outage=True, tolerance=1.25, rate=200.0),
        replace(USUAL, weight=100),
        replace(USUAL, weight=50, base=0.05, tolerance=1.25),
    ],
)
def test_a_healthy_candidate_is_hardly_ever_turned_back(case: Case) -> None:
    assert sum(seconds < math.inf for seconds in verdicts(case, 40)) <= 1
