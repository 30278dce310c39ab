"""Counters: by revision, monotone, and kept while anything of the revision goes on."""

from understudy.domain.state import ERROR_KINDS, ITL_BOUNDS, TTFT_BOUNDS
from understudy.gateway.policy.evidence import KEPT, Evidence


def test_everything_counted_is_told() -> None:
    counters = Evidence().counters("a/b", "r1")
    counters.first_token(0.05)
    counters.first_token(0.051)
    counters.first_token(99.0)
    counters.gap(0.0)
    counters.gap(11.0)
    counters.answered()
    counters.refused()
    counters.failed("5xx")
    counters.used(3, 5)
    counters.used(1, 1)
    counters.empty += 1
    counters.open += 2
    state = counters.state(4)
    assert (state.attempts, state.rejected_4xx, state.empty) == (6, 1, 1)
    assert state.errors == {**dict.fromkeys(ERROR_KINDS, 0), "5xx": 1}
    assert (state.tokens_in, state.tokens_out, state.open_requests, state.usable_endpoints) == (4, 6, 2, 4)
    assert (state.ttft[0], state.ttft[1], state.ttft[-1]) == (1, 1, 1)
    assert (state.itl[0], state.itl[-1]) == (1, 1)
    assert (len(state.ttft), len(state.itl)) == (len(TTFT_BOUNDS) + 1, len(ITL_BOUNDS) + 1)


def test_what_was_told_does_not_change_afterwards() -> None:
    counters = Evidence().counters("a/b", "r1")
    before = counters.state(0)
    counters.failed("connect")
    assert before.errors["connect"] == 0


def test_a_revision_that_comes_back_goes_on_counting() -> None:
    evidence = Evidence()
    counters = evidence.counters("a/b", "r1")
    evidence.prune("a/b", frozenset({"r2"}))
    assert evidence.counters("a/b", "r1") is counters
    assert evidence.counters("a/c", "r1") is not counters


def test_only_ended_revisions_beyond_the_youngest_are_forgotten() -> None:
    evidence = Evidence()
    for i in range(KEPT + 5):
        evidence.counters("a/b", f"r{i}")
    evidence.counters("a/b", "r0").open = 1
    evidence.prune("a/b", frozenset({"r1"}))
    left = set(evidence.by_deployment["a/b"])
    assert {"r0", "r1"} <= left
    assert len(left) == KEPT + 2
    assert "r2" not in left
    evidence.prune("no/such", frozenset())
