"""What rungs of ladders count comes with records of findings; what follows is told to gateways, and is on record."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from bench.players import START
from tests.records.engagement.test_folding import World
from tests.records.ready import ready
from tests.records.serving import records
from tests.records.test_ingest import SEGMENT
from tests.records.test_subjects import OLD, rows
from tests.records.test_subjects import violation as written
from understudy.guard.engagement.events import Event
from understudy.guard.engagement.state import State
from understudy.guard.ladder import Hold, Terms, dump_terms
from understudy.guard.pseudonyms import SubjectKind
from understudy.records.engagement import players
from understudy.records.ingest import Ingest
from understudy.records.schema import ENGAGEMENT, INTERVENTIONS, VIOLATIONS
from understudy.records.subjects import erase

SWITCH = Terms("a" * 16, "default/calm", 0, 2, 600.0, "SwitchModel")


def finding(number: int, minutes: float, *counting: tuple[str, Terms], **more: Any) -> dict[str, Any]:
    """What a gateway tells of a finding that rungs count."""
    ladder = [{"per": per, "terms": dump_terms(terms)} for per, terms in counting]
    when = datetime.fromtimestamp(START + minutes * 60, UTC).isoformat()
    return {**written(number), "time": when, "ladder": ladder, **more}


class Book(World):
    """A database that findings come to."""

    def found(self, *lines: dict[str, Any]) -> None:
        """Take them, and fold what came of them."""
        self.ingest.take(SEGMENT, self._lines, list(lines))
        self._lines += len(lines)
        self.now = max(self.now, *(datetime.fromisoformat(line["time"]).timestamp() for line in lines))
        while self.folding.step():
            pass

    def of(self, kind: SubjectKind, name: str) -> State | None:
        """What gateways are told of somebody."""
        digest = self.keys.for_states().pseudonyms(kind, "team-a", name)[0].digest
        with self.engine.begin() as connection:
            return {one.who: one.state for one in players.changes(connection, 0, 100)}.get(digest)


@pytest.fixture
def book(url: str) -> Iterator[Book]:
    engine = ready(url)
    yield Book(engine)
    engine.dispose()


def test_findings_are_stored_once_and_counted_for_whom_each_rung_says(book: Book) -> None:
    pause = Terms("b" * 16, "default/calm", 1, 2, 600.0, "CoolDown")
    both = (("session", SWITCH), ("player", pause))
    book.found(finding(1, 0, *both), finding(2, 1, *both))
    session, player = book.of("session", "evening"), book.of("player", "anna")
    assert session is not None
    assert player is not None
    assert session.holds == (Hold(SWITCH.rung, START + 60, START + 660),)
    assert player.holds == (Hold(pause.rung, START + 60, START + 960),)
    assert len(rows(book.engine, VIOLATIONS)) == 2
    assert [row["event"] for row in rows(book.engine, ENGAGEMENT)] == ["finding"] * 4
    # The books know of lines.
    totals = book.ingest.totals()
    assert (totals.stored, totals.rejected, totals.erased) == (2, 0, 0)
    # And a line that comes again, though under another number, changes nothing.
    book.found(finding(2, 1, *both))
    assert len(rows(book.engine, ENGAGEMENT)) == 4
    assert book.of("session", "evening") == session


def test_where_nobody_knows_the_player_it_counts_for_the_session_and_else_for_nobody(book: Book) -> None:
    book.found(*(finding(n, n, ("player", SWITCH), player=None) for n in (1, 2)))
    session = book.of("session", "evening")
    assert session is not None
    assert len(session.holds) == 1
    book.found(*(finding(n, n, ("session", SWITCH), session=None) for n in (3, 4)))
    assert book.of("player", "anna") is None


def test_what_is_done_is_on_record_once_with_how_long_it_went_on(book: Book) -> None:
    book.found(*(finding(n, n, ("session", SWITCH)) for n in (1, 2, 3)))
    (row,) = rows(book.engine, INTERVENTIONS)
    assert (row["rule"], row["guardrail"], row["rung"]) == ("SwitchModel", "default/calm", 0)
    assert (row["at_ms"], row["until_ms"]) == ((START + 120) * 1000, (START + 720) * 1000)
    book.begin()
    book.found(finding(4, 4, ("session", SWITCH)))
    (again,) = rows(book.engine, INTERVENTIONS)
    assert again == {**row, "until_ms": (START + 840) * 1000}
    assert 'interventions_total{kind="SwitchModel"} 1.0' not in book.metrics.render(0, 0).decode()
    # Let off, it ended then; and it may begin once more.
    off = {"kind": "engagement", "event": "ladder_lifted", "source": "asserted", "tenant": "team-a"}
    when = datetime.fromtimestamp(START + 300, UTC).isoformat()
    book.found({**off, "session": "evening", "eventId": "off", "time": when})
    assert rows(book.engine, INTERVENTIONS)[0]["until_ms"] == (START + 300) * 1000
    state = book.of("session", "evening")
    assert state is not None
    assert (state.holds, state.lifted) == ((), START + 300)


def test_of_who_was_erased_nothing_counts_and_nothing_is_told(book: Book) -> None:
    book.found(*(finding(n, n, ("player", SWITCH)) for n in (1, 2)))
    erase(book.engine, OLD, "player", "team-a", "anna", int(book.now) + 1)
    book.found(finding(3, 2, ("player", SWITCH)))
    assert book.of("player", "anna") is None
    assert rows(book.engine, INTERVENTIONS) == []
    assert len(rows(book.engine, VIOLATIONS)) == 3
    assert book.ingest.totals().stored == 3


def test_without_secrets_findings_are_kept_and_nobody_is_counted_for(engine: Engine) -> None:
    assert Ingest(engine, lambda: START).take(SEGMENT, 0, [finding(1, 0, ("player", SWITCH))]).stored == {
        "violation": 1
    }
    assert rows(engine, ENGAGEMENT) == []


@pytest.mark.parametrize(
    "change",
    [{"terms": {}}, {"per": "revision"}, {"terms": {**dump_terms(SWITCH), "count": 0}}, {"terms": {"action": 1}}],
)
def test_a_finding_with_terms_that_are_none_is_counted_as_unreadable(engine: Engine, change: dict[str, Any]) -> None:
    line = finding(1, 0)
    line["ladder"] = [{"per": "player", "terms": dump_terms(SWITCH), **change}]
    taken = Ingest(engine, lambda: START, OLD).take(SEGMENT, 0, [line])
    assert (taken.rejected, taken.stored) == (1, {})


def test_another_policy_takes_away_nothing_that_a_ladder_asked_for(book: Book) -> None:
    book.found(*(finding(n, n, ("player", SWITCH)) for n in (1, 2)))
    for number, policy in enumerate(({"profile": "legal"}, {"profile": "therapeutic"})):
        turn = Event(f"t{number}", "turn", START + 180 + number, name="user")
        book.tell(turn, policy=policy)
        state = book.of("player", "anna")
        assert state is not None
        assert state.holds == (Hold(SWITCH.rung, START + 120, START + 720),)


def test_what_a_rule_asks_for_is_on_record_with_the_rules_place(book: Book) -> None:
    asked = Terms("c" * 16, "default/calm", 3, 1, 3600.0, "CoolDown", rule=True)
    book.found(finding(1, 0, ("player", asked)))
    (row,) = rows(book.engine, INTERVENTIONS)
    assert (row["rule"], row["guardrail"], row["rung"], row["rule_number"]) == ("CoolDown", "default/calm", None, 3)


@pytest.mark.slow
async def test_what_was_done_can_be_read(tmp_path: Path) -> None:
    async with records(tmp_path, lambda: START + 600, keys=OLD) as r:
        lines = [finding(n, n, ("session", SWITCH)) for n in (1, 2)]
        asked = Terms("c" * 16, "default/calm", 3, 1, 3600.0, "Remind", rule=True)
        lines.append(finding(3, 3, ("session", asked), session="morning"))
        assert (await r.ask("POST", f"/v1/ingest/{SEGMENT}", {"first": 0, "records": lines}))[0] == 200
        found: dict[str, Any] = {"items": []}
        while not found["items"]:
            found = (await r.ask("GET", "/v1/interventions?rule=SwitchModel&guardrail=default/calm"))[1]
        (item,) = found["items"]
        assert len(item.pop("once")) == len(item.pop("subject")) == 32
        assert item.pop("cursor").startswith(f"{int(START + 120) * 1000}.")
        assert item == {
            "time": stamp(120), "until": stamp(720), "rule": "SwitchModel", "level": 0, "guardrail": "default/calm",
            "rung": 0, "ruleNumber": None,
        }  # fmt: skip
        found = {"items": []}
        while not found["items"]:
            found = (await r.ask("GET", "/v1/interventions?rule=Remind"))[1]
        assert [(one["rung"], one["ruleNumber"]) for one in found["items"]] == [(None, 3)]
        assert (await r.ask("GET", "/v1/interventions?rule=CoolDown"))[1]["items"] == []
        other = {"kind": "session", "tenant": "team-a", "identifier": "morning"}
        (done,) = (await r.ask("POST", "/v1/engagement/show", other))[1]["interventions"]
        assert (done["guardrail"], done["ruleNumber"], "rung" in done) == ("default/calm", 3, False)
        whom = {"kind": "session", "tenant": "team-a", "identifier": "evening"}
        (done,) = (await r.ask("POST", "/v1/engagement/show", whom))[1]["interventions"]
        assert (done["guardrail"], done["rung"], done["rule"]) == ("default/calm", 0, "SwitchModel")


def stamp(seconds: float) -> str:
    return datetime.fromtimestamp(START + seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
