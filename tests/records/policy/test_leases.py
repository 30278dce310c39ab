"""What is granted: never more than there is, never twice, to nobody more than his part."""

from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.records.policy.leases import Ask, Fault, Lease, Standing, ask, end, lapse

HELD = Lease(granted=1000, spent=400, fence=3)


def said(fence: int = 3, spent: int = 400, keep: int = 1000, need: int = 0, want: int = 0, held: int = 0) -> Ask:
    return Ask(fence, spent, held, keep, need, want)


def granted(standing: Standing, lease: Lease, question: Ask) -> int:
    answer = ask(standing, lease, question)
    assert isinstance(answer, Lease)
    return answer.granted


@pytest.mark.parametrize(
    ("amount", "taken", "others", "question", "expected"),
    [
        # A first lease gets what it wants, up to a hundredth of the budget.
        (1_000_000, 0, 0, said(0, 0, 0, 200, 3_000), 3_000),
        (1_000_000, 0, 0, said(0, 0, 0, 200, 90_000), 10_000),
        # What it needs it gets in any case, while there is enough.
        (1_000_000, 0, 0, said(0, 0, 0, 50_000, 90_000), 50_000),
        (1_000_000, 950_000, 5, said(0, 0, 0, 50_000, 90_000), 50_000),
        (1_000_000, 950_001, 5, said(0, 0, 0, 50_000, 90_000), 0),
        # Beyond that half of an even share of what is left.
        (1_000_000, 992_000, 3, said(0, 0, 0, 200, 9_000), 1_000),
        (1_000_000, 999_900, 0, said(0, 0, 0, 0, 9_000), 50),
        (1_000_000, 1_000_000, 0, said(0, 0, 0, 0, 9_000), 0),
        # A budget that was made smaller grants nothing until enough has come back.
        (1_000, 5_000, 2, said(0, 0, 0, 0, 10), 0),
    ],
)
def test_it_grants_what_is_needed_and_no_more_than_a_part_of_the_rest(
    amount: int, taken: int, others: int, question: Ask, expected: int
) -> None:
    assert granted(Standing(amount, taken, others), Lease(), question) == expected


def test_what_waits_to_be_spent_is_never_more_than_a_hundredth_beyond_what_is_needed() -> None:
    standing = Standing(100_000, 0, 0)
    assert granted(standing, HELD, said(need=0, want=9_000)) == 1_400
    assert granted(standing, HELD, said(need=700, want=9_000)) == 1_700
    assert granted(standing, Lease(5_000, 400, 3), said(keep=5_000, want=9_000)) == 5_000
    # What requests hold does not wait.
    assert granted(standing, Lease(5_000, 400, 3), said(keep=5_000, held=4_500, want=9_000)) == 5_900


def test_what_is_not_kept_comes_back() -> None:
    assert ask(Standing(10_000, 0, 0), HELD, said(keep=500)) == Lease(500, 400, 4)


def test_who_spent_more_than_was_granted_has_it_counted() -> None:
    over = ask(Standing(10_000, 9_000, 0), HELD, said(spent=1_200))
    assert over == Lease(1_000, 1_200, 4)
    assert over.counted == 1_200
    # The debt is part of what it needs; together that is all there is.
    assert granted(Standing(10_000, 8_700, 0), over, said(4, 1_200, need=300)) == 1_300
    assert granted(Standing(10_000, 8_701, 0), over, said(4, 1_200, need=300)) == 1_000


def test_a_question_that_is_repeated_gets_the_same_answer() -> None:
    assert ask(Standing(10_000, 0, 0), HELD, said(fence=2, want=50)) is HELD


@pytest.mark.parametrize("fence", [0, 1, 4, 99])
def test_a_question_that_was_overtaken_changes_nothing(fence: int) -> None:
    assert ask(Standing(10_000, 0, 0), HELD, said(fence=fence)) == Fault(
        "stale_fence", f"fence {fence} is not that of the last answer, 3"
    )


def test_nobody_keeps_what_he_was_not_granted() -> None:
    assert ask(Standing(10_000, 0, 0), HELD, said(keep=1_001)) == Fault(
        "bad_keep", "keep is 1001, more than the 1000 that were granted"
    )


def test_nobody_takes_back_what_he_spent() -> None:
    fault = Fault("bad_spent", "spent is 399, less than the 400 that were told before")
    assert ask(Standing(10_000, 0, 0), HELD, said(spent=399)) == fault
    assert end(HELD, 399) == fault


def test_a_lease_that_ended_counts_what_was_spent() -> None:
    ended = end(HELD, 450)
    assert ended == Lease(1_000, 450, 4, "ended")
    assert (HELD.counted, HELD.settled, HELD.lost) == (1_000, 0, 0)
    assert (ended.counted, ended.settled, ended.lost) == (450, 450, 0)
    assert end(ended, 450) is ended


def test_a_lease_that_lapsed_counts_whole_until_its_holder_tells() -> None:
    lapsed = lapse(HELD)
    assert (lapsed.counted, lapsed.settled, lapsed.lost) == (1_000, 1_000, 600)
    told = end(lapsed, 700)
    assert isinstance(told, Lease)
    assert (told.counted, told.lost) == (700, 0)


@pytest.mark.parametrize("over", [lapse(HELD), replace(HELD, state="ended")])
def test_nothing_is_granted_on_a_lease_that_is_over(over: Lease) -> None:
    assert ask(Standing(10_000, 0, 0), over, said()) == Fault(
        "lease_over", f"this lease has {over.state}: take a new one, and end this one by what it spent"
    )


@dataclass
class Holder:
    """A holder as it should be, but for its luck: answers get lost, and it may not live to tell."""

    lease: Lease = field(default_factory=Lease)
    granted: int = 0
    spent: int = 0
    fence: int = 0


Step = tuple[int, str, int, int, bool]
STEPS = st.lists(
    st.tuples(
        st.integers(0, 3),
        st.sampled_from(["ask", "spend", "shrink", "end", "lapse"]),
        st.integers(0, 400),
        st.integers(0, 900),
        st.booleans(),
    ),
    max_size=60,
)


@given(amount=st.integers(0, 5_000), steps=STEPS)
def test_whatever_is_lost_or_repeated_no_more_is_spent_than_there_is(amount: int, steps: list[Step]) -> None:
    over: list[Lease] = []
    spent_by_all = 0
    holders = [Holder() for _ in range(4)]
    for who, what, need, want, arrives in steps:
        h = holders[who]
        others = [o.lease for o in holders if o is not h and o.lease.state == "open"]
        standing = Standing(amount, sum(x.counted for x in [*over, *others]), len(others))
        if what == "spend":
            used = min(need, h.granted - h.spent)
            h.spent += used
            spent_by_all += used
        elif what == "shrink":
            h.granted = max(h.spent, h.granted - need)
        elif what == "ask":
            answer = ask(standing, h.lease, Ask(h.fence, h.spent, 0, h.granted, need, want))
            assert isinstance(answer, Lease)
            h.lease = answer
            if arrives:
                # An answer that repeats one that got lost may be to a question about less.
                h.granted, h.fence = max(h.granted, answer.granted), answer.fence
        elif what in ("end", "lapse"):
            after = lapse(h.lease) if what == "lapse" else end(h.lease, h.spent)
            assert isinstance(after, Lease)
            over.append(after)
            holders[who] = Holder()
        taken = sum(x.counted for x in over) + sum(h.lease.counted for h in holders)
        assert spent_by_all <= taken <= amount
