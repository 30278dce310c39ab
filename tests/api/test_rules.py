"""Each CEL rule on a real API server: what it refuses, with its message, and what looks alike and is right."""

from typing import Any

import pytest

from tests.api.bounds import Bound, located, placed
from tests.api.examples import Object, changed, example
from tests.api.rules import ACCEPTED, REFUSED, Case, rules
from tests.api.server import Server

pytestmark = pytest.mark.cluster

# Rules of scalar types stand at many fields; each field gets the type's own table.
_SCALARS: dict[str, tuple[list[Any], list[Any]]] = {
    "write a duration from 0s to 168h": (["30 minutes", "-1s", "1.5h", "169h", "1d", "5", ""], ["0s", "168h", "1h30m"]),
    "write a duration from 1s to 168h": (["30 minutes", "-1s", "999ms", "169h", "0s", "999999h9999h"], ["1s", "168h"]),
    "write a duration from 1ms to 10m": (["fast", "0s", "601s", "11m"], ["1ms", "10m"]),
    "write a duration from 100ms to 24h": (["soon", "99ms", "25h", "86401s"], ["100ms", "24h"]),
    "write a quantity such as": (["lots", "-1", -1, "1gb"], ["0", 0, "0.5", "500m", "16Gi", 4, "1e3"]),
    "write a quantity above zero": (["lots", "0", 0, "-1Gi"], ["1", 1, "24Gi"]),
    "write a regular expression": (["(", "(?=x)", "(a)\\1", "[z-a]"], ["(?i)oui", "^[a-z]+$", "\\bword\\b"]),
}


def _scalar(message: str) -> tuple[list[Any], list[Any]] | None:
    return next((values for start, values in _SCALARS.items() if message.startswith(start)), None)


SCALAR_RULES = [rule for rule in rules() if _scalar(rule[2])]
# A rule over oldSelf speaks on updates only: test_updates.py.
ON_UPDATE = ("cannot be changed",)


@pytest.mark.parametrize("case", REFUSED, ids=str)
def test_what_breaks_a_rule_is_refused_with_its_message(server: Server, case: Case) -> None:
    answer = server.dry_create(changed(example(case.kind, case.of), case.changes))
    assert answer.status == 422, answer.message
    assert case.message in answer.message


@pytest.mark.parametrize(("kind", "changes", "of"), ACCEPTED, ids=lambda value: str(value)[:60])
def test_what_looks_alike_and_is_right_is_accepted(server: Server, kind: str, changes: dict[str, Any], of: str) -> None:
    answer = server.dry_create(changed(example(kind, of), changes))
    assert answer.ok, answer.message


@pytest.mark.parametrize(("kind", "path", "message"), SCALAR_RULES, ids=lambda value: str(value)[:60])
def test_a_scalar_rule_holds_wherever_it_stands(server: Server, kind: str, path: str, message: str) -> None:
    values = _scalar(message)
    assert values
    for refused in values[0]:
        answer = server.dry_create(_with(kind, path, refused))
        assert answer.status == 422, (refused, answer.message)
        assert message in answer.message, refused
    for accepted in values[1]:
        answer = server.dry_create(_with(kind, path, accepted))
        assert answer.ok, (accepted, answer.message)


def _with(kind: str, path: str, value: Any) -> Object:
    found = located(Bound(kind, path, "rule", {}))
    assert found, f"no example has {path}: add it to tests/api/manifests"
    return placed(*found, value)


def test_every_rule_has_a_case() -> None:
    tested = {(case.kind, case.path) for case in REFUSED}
    untested = [
        (kind, path, message)
        for kind, path, message in rules()
        if not _scalar(message)
        and not any(words in message for words in ON_UPDATE)
        and not any(case.message in message for case in REFUSED if (case.kind, case.path) == (kind, path))
    ]
    assert untested == [], sorted(tested)


def test_every_message_says_what_to_do() -> None:
    advice = ("write", "remove", "need", "make another", "edit", "must sum", "go with")
    assert [message for _, _, message in rules() if not any(words in message for words in advice)] == []
