"""Counters: by revision, monotone, and kept while anything of the revision goes on."""

import pytest

from understudy.domain.state import ERROR_KINDS, ITL_BOUNDS, TTFT_BOUNDS
from understudy.gateway.policy import evidence as module
from understudy.gateway.policy.evidence import KEPT, Evidence, Samples


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


def test_seconds_are_summed_as_they_were_measured_and_not_by_their_buckets() -> None:
    counters = Evidence().counters("a/b", "r1")
    for seconds in (0.25, 1.5, 128.0):
        counters.first_token(seconds)
        counters.gap(seconds)
        counters.waited(seconds)
    assert (counters.ttft_ns, counters.itl_ns, counters.waits_ns) == (129_750_000_000,) * 3
    assert (sum(counters.waits), counters.waits[-1]) == (3, 1)


def test_samples_are_told_apart_from_the_rest() -> None:
    counters = Evidence().counters("a/b", "r1")
    counters.sample.first_token(0.3)
    counters.sample.answered()
    counters.sample.refused()
    counters.sample.failed()
    counters.sample.streamed(0.3)
    counters.sample.empty += 1
    state = counters.state(1)
    sample = state.sample
    assert (state.attempts, sample.attempts, sample.errors, sample.rejected_4xx, sample.empty) == (0, 4, 1, 1, 1)
    assert (sample.ttft.index(1), sample.slowest.index(1)) == (TTFT_BOUNDS.index(0.5), ITL_BOUNDS.index(0.5))


def test_a_conversation_is_sampled_once_for_each_revision_in_a_span() -> None:
    samples = Samples()
    assert [samples.take("a/b", "r1", 7, now) for now in (0.0, 9.9, 10.0)] == [True, False, True]
    assert samples.take("a/b", "r2", 7, 10.0)
    assert samples.take("a/c", "r1", 7, 10.0)
    assert samples.take("a/b", "r1", 8, 10.0)


def test_samples_of_one_span_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_SAMPLES", 2)
    samples = Samples()
    assert [samples.take("a/b", "r1", where, 1.0) for where in range(4)] == [True, True, False, False]
    assert samples.take("a/b", "r1", 3, 11.0)


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
