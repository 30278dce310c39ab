"""What is recorded of a finding: enough to judge by, and of what was said no more than a Guardrail lets be kept."""

from typing import Any

import orjson
import pytest

from tests.gateway.policy.judging import BLOCK, guarding, verdicts
from understudy.gateway.policy.keeping import Keeping, keeping
from understudy.gateway.policy.verdicts import Facts, Noted
from understudy.gateway.policy.violations import About, violation
from understudy.guard.actions import Content, Decision
from understudy.guard.findings import Finding
from understudy.guard.gate import Judged
from understudy.guard.ladder import rungs_of
from understudy.records.lines import LINE, Violation

ABOUT = About("req", "default/story", "abcd1234", b"secret", "team", "player", "session", "6f1c9a02", "stable")
NOON = 1_800_000_000.0


def noted(excerpt: str = "so Darn 7", category: str = "rude", **decision: Any) -> Noted:
    finding = Finding("calm/words", "darn", category, 6, None, 3, 12, 13, 3)
    judged = Judged(finding, Decision(Content.BLOCK, **decision))
    return Noted("v1", "content", 0, judged, 4, excerpt)


def record(found: Noted, keeps: Keeping, wall: float = NOON, about: About = ABOUT) -> dict[str, Any]:
    kind, line = violation(found, about, "output", "0" * 64, 2, keeps, wall)
    # What the records take must be what is written.
    LINE.validate_json(orjson.dumps({"kind": kind, **line}))
    return {"kind": kind, **line}


def test_a_record_says_what_was_done_where_and_to_whom() -> None:
    line = record(noted(), Keeping("none", 60.0))
    assert line == {
        "kind": "violation",
        "time": "2027-01-15T08:00:00.000+00:00",
        "violationId": "v1",
        "requestId": "req",
        "deployment": "default/story",
        "guardrail": "calm",
        "policyHash": "0" * 64,
        "revision": "6f1c9a02",
        "track": "stable",
        "tenant": "team",
        "player": "player",
        "session": "session",
        "key": "abcd1234",
        "rule": 2,
        "direction": "output",
        "channel": "content",
        "category": "rude",
        "entity": None,
        "severity": 4,
        "score": None,
        "detector": "words",
        "detectorVersion": line["detectorVersion"],
        "start": 3,
        "end": 12,
        "length": 9,
        "action": "block",
        "evidenceSeconds": 60.0,
    }


def test_a_record_brings_the_terms_of_rungs_that_count_it() -> None:
    raw = {"per": "player", "count": 3, "within": "10m", "action": "CoolDown"}
    (rung,) = rungs_of("default", "calm", {"ladder": [raw]})
    kind, line = violation(noted(), ABOUT, "output", "0" * 64, 2, Keeping(), NOON, [rung])
    read = LINE.validate_json(orjson.dumps({"kind": kind, **line}))
    assert isinstance(read, Violation)
    assert [(each.per, each.read()) for each in read.ladder] == [("player", rung.terms)]
    assert "ladder" not in record(noted(), Keeping())


def test_a_crisis_is_a_kind_of_its_own() -> None:
    line = record(noted(crisis=True), Keeping())
    assert (line["kind"], line["action"]) == ("crisis", "crisis_flow")


@pytest.mark.parametrize(
    ("store", "excerpt"), [("none", None), ("full", "so Darn 7"), ("redacted", "so … …"), ("hash", None)]
)
def test_of_what_was_found_as_much_is_kept_as_the_guardrail_says(store: Any, excerpt: str | None) -> None:
    line = record(noted(), Keeping(store))
    assert line.get("excerpt") == excerpt
    assert ("excerptHash" in line) is (store == "hash")
    assert "excerptHash" not in record(noted(""), Keeping(store))


def test_what_names_somebody_is_told_by_kind_and_length_alone_whatever_the_guardrail_says() -> None:
    line = record(noted(category="pii"), Keeping("full"))
    assert (line["entity"], line["length"]) == ("darn", 9)
    assert "excerpt" not in line


def test_two_that_are_the_same_are_so_for_a_month_and_under_one_key() -> None:
    first = record(noted(), Keeping())["excerptHash"]
    assert record(noted(), Keeping(), NOON + 3600)["excerptHash"] == first
    assert record(noted(), Keeping(), NOON + 40 * 86400)["excerptHash"] != first
    assert record(noted(), Keeping(), about=About("r", "d/s", "k", b"other"))["excerptHash"] != first


def test_a_guardrail_that_says_nothing_keeps_hashes_for_a_month() -> None:
    assert keeping({}) == Keeping("hash", 30 * 86400.0)
    assert keeping({"evidence": {"store": "full", "ttl": "12h"}}) == Keeping("full", 43200.0)


def test_what_was_found_is_known_as_it_was_written_wherever_the_text_was_cut() -> None:
    said = verdicts(guarding(BLOCK), Facts(before={0: "I say "}))
    passage = said.open("content", 0)
    for piece in ("well " * 2000, "Da", "rN", " it"):
        said.take(passage, passage.feed(piece))
    assert [each.excerpt for each in said.found] == ["DarN"]


def test_of_json_and_of_what_is_long_gone_nothing_is_known() -> None:
    said = verdicts(guarding(BLOCK))
    json = said.open_side("tool", 0, json=True)
    said.take(json, json.feed('"darn"'))
    assert [each.excerpt for each in said.found] == [""]
    passage = said.open("content", 0)
    passage.feed("x" * 5000)
    passage.feed("y")
    assert passage.excerpt(Finding("d", "n", "c", 6, None, 0, 4, 4, 0)) == ""
