"""The registers: what a status holds of them, and what is read from one that no pass has written."""

from dataclasses import replace
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.api.v1alpha1.deploymentstatus import Phase
from understudy.plan.state import (
    MAX_FAILED,
    ROLLED_BACK,
    Failure,
    Promoted,
    Request,
    State,
    brand,
    forgive,
    read_state,
    relent,
    state_fields,
)

A, B, C = "aaaaaaaa", "bbbbbbbb", "cccccccc"
RESTING = ("Stable", "Watching", "RolledBack")
FAILURE = Failure(A, "EngineCrash", "exit code 1", "2026-01-01T00:00:00Z", 3)
TRYING = State(phase="Canary", stable=A, candidate=B, weight=10)

WORDS, NUMBERS = st.text(max_size=5), st.integers(0, 99)
FAILURES = st.builds(Failure, st.sampled_from((A, B, C)), st.text(min_size=1, max_size=5), WORDS, WORDS, NUMBERS)
STATES = st.builds(
    State,
    phase=st.sampled_from([phase for phase in get_args(Phase) if phase not in RESTING]),
    stable=st.just(A),
    candidate=st.just(B),
    previous=st.sampled_from(("", C)),
    weight=st.integers(0, 100),
    paused=st.booleans(),
    pinned=st.sampled_from(("", A)),
    failed=st.lists(FAILURES, max_size=3, unique_by=lambda f: f.revision).map(tuple),
    history=st.lists(st.builds(Promoted, NUMBERS, st.just(A), WORDS, WORDS), max_size=2).map(tuple),
    request=st.builds(Request, WORDS, st.booleans(), WORDS),
    run=NUMBERS,
    restarts=st.dictionaries(WORDS, NUMBERS, max_size=2),
    exposed=st.booleans(),
    skip_to=st.integers(0, 100),
    frozen=st.dictionaries(WORDS, NUMBERS, max_size=2),
)


def status(state: State) -> dict[str, Any]:
    """As a pass writes it."""
    return {**state_fields(state), "weights": {"candidate": {"desired": state.weight}}}


@given(STATES, st.booleans())
def test_registers_are_read_as_they_were_written(state: State, left: bool) -> None:
    state = replace(state, failed=tuple(replace(f, left=left) for f in state.failed))
    assert read_state(status(state)) == state


def test_without_a_phase_no_pass_has_written_any() -> None:
    assert read_state({}) is None
    assert read_state({"phase": "", "stable": A}) is None


def test_what_is_not_written_has_its_default() -> None:
    assert read_state({"phase": "Preparing"}) == State()
    assert "previous" not in state_fields(State())


@pytest.mark.parametrize("phase", RESTING)
def test_nobody_is_tried_in_a_phase_that_rests(phase: Phase) -> None:
    read = read_state(status(replace(TRYING, phase=phase, previous=C)))
    assert read == State(phase=phase, stable=A, previous=C)


def test_no_revision_has_two_parts() -> None:
    assert read_state(status(replace(TRYING, candidate=A))) == State(phase="Canary", stable=A)
    for part in (A, B):
        assert read_state(status(replace(TRYING, previous=part))) == TRYING


def test_an_entry_of_a_failed_revision_may_lack_what_older_versions_did_not_write() -> None:
    entry = {"revision": A, "class": "Aborted", "at": "2026-01-01T00:00:00Z"}
    read = read_state({"phase": "Stable", "failed": [entry]})
    assert read is not None
    assert read.failed == (Failure(A, "Aborted", "", "2026-01-01T00:00:00Z", 0),)


def test_the_ten_latest_failures_are_kept_each_revision_once() -> None:
    state = State()
    for number in range(MAX_FAILED + 1):
        state = brand(state, f"{number:08}", "EngineCrash", "m" * 3000, 1_767_225_600.0, number)
    assert [f.generation for f in state.failed] == list(range(1, 11))
    assert len(state.failed[0].message) == 2000
    again = brand(state, "00000005", "Aborted", "by hand", 1_767_225_600.0, 77)
    assert again.failed[-1] == Failure("00000005", "Aborted", "by hand", "2026-01-01T00:00:00Z", 77)
    assert [f.revision for f in again.failed].count("00000005") == 1
    assert again.failure("00000005") == again.failed[-1]
    assert again.failure("00000000") is None
    assert forgive(again, "00000005").failed == again.failed[:-1]


def test_a_failed_revision_may_start_when_the_spec_left_it_and_comes_back() -> None:
    state = State(failed=(FAILURE,))
    assert relent(state, "") == state
    assert relent(state, A) == state
    gone = relent(state, B)
    assert gone.failed == (replace(FAILURE, left=True),)
    assert relent(gone, B) == gone
    assert relent(gone, A).failed == ()


@pytest.mark.parametrize(("skip_to", "weight", "waived"), [(0, 0, False), (1, 0, True), (9, 10, False), (10, 10, True)])
def test_a_step_is_waived_up_to_a_weight(skip_to: int, weight: int, waived: bool) -> None:
    assert State(skip_to=skip_to, weight=weight).waived is waived


def test_stable_is_fallen_when_it_failed_by_itself() -> None:
    assert State(stable=A, failed=(FAILURE,)).fallen
    assert not State(stable=A, failed=(replace(FAILURE, reason=ROLLED_BACK),)).fallen
    assert not State(stable=B, failed=(FAILURE,)).fallen


def test_who_has_a_part_is_named_once_and_stable_first() -> None:
    assert replace(TRYING, previous=C).live() == (A, B, C)
    assert State(stable=A, candidate=A, previous=B).live() == (A, B)
    assert State().live() == ()
