"""Policies are compiled beside everything else, once, and whoever did not wait is told."""

import asyncio
import threading

import pytest

from understudy.domain.key import Key
from understudy.engine import policies
from understudy.engine.policies import Policies, compiled
from understudy.guard.shards import ShardError, unpack
from understudy.plan.guardrail import Verdict

KEY = Key("shop", "safe")
RULES = [{"category": "words", "actions": {"high": ["Block"]}}]
SPEC = {"detectors": [{"name": "words", "type": "lexicon", "configMapRef": {"name": "list"}}], "rules": RULES}


def test_a_policy_comes_to_what_it_guarantees_and_the_parts_it_travels_in() -> None:
    found = compiled("safe", SPEC, {"words": "knave"})
    assert (found.problems, found.guarantees) == ((), {"words": "exact"})
    assert unpack(found.parts) == ("safe", SPEC, {"words": "knave"})


def test_one_that_is_wrong_comes_to_all_that_is_wrong_with_it() -> None:
    spec = {**SPEC, "rules": [*RULES, {"category": "other", "actions": {"high": ["Block"]}}]}
    found = compiled("safe", spec, {"words": "knave\tgrave"})
    assert found == Verdict(
        problems=("detectors[words]: line 1: severity 'grave': write low, medium or high after the tab",)
    )


def test_one_that_is_too_large_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def too_large(*_of: object) -> tuple[bytes, ...]:
        raise ShardError("too large")

    monkeypatch.setattr(policies, "pack", too_large)
    assert compiled("safe", SPEC, {"words": "knave"}) == Verdict(problems=("too large",))


def test_a_defect_of_ours_is_told_as_one_and_ends_nothing() -> None:
    found = compiled("safe", {"rules": 7}, {})
    assert found.problems[0].startswith("a defect of Understudy, please report it: TypeError: ")


class Counted:
    """Compiles when it may, and counts."""

    def __init__(self) -> None:
        self.calls = 0
        self.begun = threading.Event()
        self.may = threading.Event()

    def __call__(self, *_of: object) -> Verdict:
        self.calls += 1
        self.begun.set()
        assert self.may.wait(120.0)
        return Verdict(guarantees={"words": "exact"})


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counted:
    counted = Counted()
    monkeypatch.setattr(policies, "compiled", counted)
    monkeypatch.setattr(policies, "PATIENCE", 0.001)
    return counted


def test_what_takes_long_is_waited_for_by_nobody_and_compiled_once(counted: Counted) -> None:
    async def main() -> None:
        woken: asyncio.Queue[Key] = asyncio.Queue()
        asked = Policies(woken.put_nowait)
        assert await asked.verdict(KEY, SPEC, {}) is None
        assert await asked.verdict(KEY, SPEC, {}) is None
        counted.may.set()
        assert await asyncio.wait_for(woken.get(), 120.0) == KEY
        assert await asked.verdict(KEY, SPEC, {}) == Verdict(guarantees={"words": "exact"})
        # What is not of the policy does not matter.
        assert await asked.verdict(KEY, {**SPEC, "selector": {}}, {}) is not None
        assert counted.calls == 1

    asyncio.run(main())


def test_what_was_edited_or_forgotten_is_compiled_anew(counted: Counted, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        monkeypatch.setattr(policies, "PATIENCE", 120.0)
        asked = Policies(lambda _key: None)
        counted.may.set()
        await asked.verdict(KEY, SPEC, {"words": "a"})
        await asked.verdict(KEY, SPEC, {"words": "b"})
        assert counted.calls == 2
        asked.forget(KEY)
        asked.forget(KEY)
        await asked.verdict(KEY, SPEC, {"words": "b"})
        assert counted.calls == 3

    asyncio.run(main())


def test_one_is_compiled_at_a_time(counted: Counted) -> None:
    async def main() -> None:
        woken: asyncio.Queue[Key] = asyncio.Queue()
        asked = Policies(woken.put_nowait)
        assert await asked.verdict(KEY, SPEC, {}) is None
        assert await asked.verdict(Key("shop", "other"), SPEC, {}) is None
        assert await asyncio.to_thread(counted.begun.wait, 120.0)
        assert counted.calls == 1
        counted.may.set()
        await asyncio.wait_for(woken.get(), 120.0)
        await asyncio.wait_for(woken.get(), 120.0)
        assert counted.calls == 2

    asyncio.run(main())
