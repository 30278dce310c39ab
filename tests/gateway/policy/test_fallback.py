"""Which of the names that stand in may take a request."""

from typing import Any

from tests.gateway.worlds import STABLE, snapshot, table, world_of
from understudy.gateway.policy.fallback import next_fallback
from understudy.gateway.policy.keys import AccessKey
from understudy.gateway.policy.operations import FORWARDED

CHATS = next(operation for operation in FORWARDED if operation.path == "/v1/chat/completions")
NAMES = ("one", "two", "three")
BODY: dict[str, Any] = {"model": "story", "messages": [{"role": "user", "content": "hi"}], "cache_salt": "ours"}


def after(
    names: tuple[str, ...], *, asked: tuple[str, ...] = (), allowed: str = "*", body: dict[str, Any] = BODY
) -> tuple[str, tuple[str, ...]] | None:
    """The next of `names`, and those after it. `two` takes one more field than the others."""
    extra = {"two": ["odd_field"]}
    tables = [table({STABLE: 100}, name=n, names=[n], extraFields=extra.get(n, [])) for n in NAMES]
    key = AccessKey("0" * 64, frozenset("*"), frozenset(allowed.split(",")))
    found = next_fallback(names, world_of(snapshot(tables)).routes, key, asked, CHATS, body)
    return None if found is None else (found[0], found[2])


def test_the_first_one_is_next_and_the_others_are_left() -> None:
    assert after(NAMES) == ("one", ("two", "three"))
    assert after(("three",)) == ("three", ())
    assert after(()) is None


def test_those_that_are_not_there_or_not_for_the_key_or_were_asked_are_passed_over() -> None:
    assert after(("nobody", "two", "three")) == ("two", ("three",))
    assert after(NAMES, allowed="three") == ("three", ())
    assert after(NAMES, asked=("default/one", "default/two")) == ("three", ())
    assert after(NAMES, asked=("default/one",), allowed="one") is None


def test_those_whose_guardrails_are_not_loaded_are_passed_over() -> None:
    guards = [{"name": "calm", "policy": "0" * 64, "shards": [f"understudy-guard-{'0' * 16}-0"]}]
    tables = [table({STABLE: 100}, name=n, names=[n], guards=guards if n == "one" else []) for n in NAMES]
    routes = world_of(snapshot(tables)).routes
    found = next_fallback(NAMES, routes, AccessKey("0" * 64, frozenset("*"), frozenset("*")), (), CHATS, BODY)
    assert found is not None
    assert found[0] == "two"


def test_those_that_do_not_take_its_fields_are_passed_over() -> None:
    assert after(NAMES, body=BODY | {"odd_field": 1}) == ("two", ("three",))
