"""Events of gateways become where players stand: each once, whatever comes between, and nothing of who was erased."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, update

from bench.players import DAY, START, Laws, player
from tests.records.ready import ready
from tests.records.test_ingest import SEGMENT
from tests.records.test_subjects import BOTH, OLD, rows
from understudy.guard.engagement.events import CUES, Event
from understudy.guard.engagement.policy import policy_of
from understudy.guard.engagement.standing import stand
from understudy.guard.engagement.state import State, told
from understudy.records.engagement import players
from understudy.records.engagement.folding import Folding
from understudy.records.ingest import Ingest
from understudy.records.policy.subjects import Keys
from understudy.records.schema import ENGAGEMENT, INTERVENTIONS, PLAYERS, PROGRESS
from understudy.records.subjects import erase, forget
from understudy.telemetry.records import RecordsMetrics

STRICT = {"profile": "therapeutic", "actions": {"L1": ["Remind"], "L2": ["SuppressHooks", "Notify"]}}
LAX = {"profile": "therapeutic", "thresholds": {"limitEasing": 9, "verbalCues": 4}}


class World:
    """A database with its records, at a time that the test sets."""

    def __init__(self, engine: Engine, keys: Keys = OLD) -> None:
        self.engine = engine
        self.keys = keys
        self.now = START
        self.log: list[Event] = []
        self._lines = 0
        self.begin()

    def begin(self) -> None:
        """As when the process starts."""
        self.metrics = RecordsMetrics()
        self.ingest = Ingest(self.engine, lambda: self.now, self.keys)
        self.folding = Folding(self.engine, self.keys, lambda: self.now, self.metrics)

    def tell(self, *events: Event, policy: Any = STRICT, fold: bool = True, whom: str = "anna") -> None:
        """A gateway tells of events."""
        lines = [{**line(event, whom), "policy": policy} for event in events]
        self.ingest.take(SEGMENT, self._lines, lines)
        self._lines += len(lines)
        self.now = max([self.now, *(event.at for event in events)])
        while fold and self.folding.step():
            pass

    def state(self, whom: str = "anna") -> State:
        """What gateways are told of somebody."""
        digest = self.keys.for_states().pseudonyms("player", "team-a", whom)[0].digest
        with self.engine.begin() as connection:
            found = {one.who: one.state for one in players.changes(connection, 0, 100)}
        state = found[digest]
        assert state is not None
        return state

    def row(self) -> dict[str, Any]:
        """The row of the only player."""
        (row,) = rows(self.engine, PLAYERS)
        return row

    def expected(self, log: list[Event], policy: Any = STRICT) -> State:
        """What they are to be told."""
        read = policy_of(policy)
        return told(stand(log, read), read, self.row()["subject"], self.now)


def line(event: Event, whom: str = "anna") -> dict[str, Any]:
    """An event as gateways write it."""
    return {
        "kind": "engagement", "time": datetime.fromtimestamp(event.at, UTC).isoformat(), "tenant": "team-a",
        "player": whom, "eventId": event.id, "event": event.kind, "source": event.source, "zone": event.zone,
        "name": event.name, "mood": event.mood, "revision": event.revision, "marks": event.marks,
    }  # fmt: skip


def played(days: int, seed: str) -> list[Event]:
    """What a simulated player did; gateways tell of milliseconds."""
    return [replace(event, at=float(round(event.at))) for event in player("compulsive", Laws(), days, seed).log]


def turn(number: int, minutes: float) -> Event:
    return Event(f"t{number}", "turn", START + minutes * 60, name="user")


def cues(minutes: float, first: int = 0) -> list[Event]:
    """Two cues and two limits: L2."""
    at = START + minutes * 60
    limits = [Event(f"l{first + n}", "limit_raised", at + n) for n in range(2)]
    return [*limits, *(Event(f"c{first + n}", "cue", at + n, name=CUES[n]) for n in range(2))]


@pytest.fixture
def world(url: str) -> Iterator[World]:
    engine = ready(url)
    yield World(engine)
    engine.dispose()


@pytest.mark.slow
def test_gateways_are_told_what_the_whole_log_leads_to(world: World) -> None:
    log = played(6, "1")
    for first in range(0, len(log), 40):
        world.tell(*log[first : first + 40])
    assert world.state() == world.expected(log)
    assert world.folding.step() == 0


@pytest.mark.slow
def test_after_a_start_it_goes_on_from_what_was_kept(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("understudy.records.engagement.folding._UNSAVED", 20)
    log = played(5, "2")
    for first in range(0, len(log), 30):
        world.tell(*log[first : first + 30])
        world.begin()
    assert world.state() == world.expected(log)
    row = world.row()
    assert row["fold"] == players.FOLD
    assert row["horizon"] > START


@pytest.mark.parametrize("spoilt", [{"fold": players.FOLD - 1}, {"settled": "{}}"}])
def test_what_was_kept_and_cannot_be_used_is_folded_anew(
    world: World, monkeypatch: pytest.MonkeyPatch, spoilt: dict[str, Any]
) -> None:
    monkeypatch.setattr("understudy.records.engagement.folding._UNSAVED", 10)
    log = played(3, "2")
    world.tell(*log[:-1])
    with world.engine.begin() as connection:
        connection.execute(update(PLAYERS).values(spoilt))
    world.begin()
    world.tell(log[-1])
    assert world.state() == world.expected(log)


def test_an_event_that_comes_again_days_later_counts_once(world: World) -> None:
    first, second = cues(0)[:2], turn(1, 3 * 24 * 60)
    world.tell(first[0], second)
    # Its time is not believed any more; by its id it is known all the same.
    again = Event(first[0].id, "limit_raised", START + 2 * DAY)
    world.tell(again)
    assert world.state().level == 0
    assert len(rows(world.engine, ENGAGEMENT)) == 2


def test_under_another_policy_the_log_leads_elsewhere(world: World) -> None:
    log = [*cues(0), turn(1, 10)]
    world.tell(*log)
    assert world.state().level == 2
    more = turn(2, 15)
    world.tell(more, policy=LAX)
    assert world.state() == world.expected([*log, more], LAX)
    assert world.state().level == 0
    # Nobody says anything of it: then it stays.
    world.tell(turn(3, 20), policy=None)
    assert world.state().level == 0
    world.begin()
    world.tell(turn(4, 25), policy=None)
    assert world.state().level == 0


def test_who_has_no_policy_is_judged_by_the_clock_of_the_law_alone(world: World) -> None:
    world.tell(*cues(0), turn(1, 10), policy=None)
    state = world.state()
    assert (state.level, state.suppress_hooks, state.clock.since) == (2, False, START + 600)


def test_an_event_that_comes_days_late_is_put_in_its_place(world: World) -> None:
    late, log = cues(0)[2], [*cues(0)[:2], cues(0)[3], turn(1, 10), turn(2, 4 * 24 * 60)]
    world.tell(*log)
    assert world.state().level == 1
    world.tell(late)
    assert world.state() == world.expected([*log, late])
    assert world.state().level == 2


def test_what_is_done_is_done_once_whoever_starts_anew(world: World) -> None:
    world.tell(*cues(0))
    assert [row["rule"] for row in rows(world.engine, INTERVENTIONS)] == ["Notify"]
    world.begin()
    world.tell(*cues(5, first=4))
    assert [row["rule"] for row in rows(world.engine, INTERVENTIONS)] == ["Notify"]
    assert 'understudy_engagement_interventions_total{kind="Notify"}' not in world.metrics.render(0, 0).decode()


def test_a_reminder_waits_until_a_gateway_has_shown_it(world: World) -> None:
    world.tell(*cues(0), *(turn(number, 5 * number) for number in range(13)))
    reminder = world.state().reminder
    assert reminder is not None
    world.tell(Event(reminder.key, "break_shown", world.now + 1))
    assert world.state().reminder is None
    world.tell(*(turn(number, 5 * number) for number in range(13, 26)))
    later = world.state().reminder
    assert later is not None
    assert later.key != reminder.key


def test_a_level_that_went_down_by_itself_is_told(world: World) -> None:
    world.tell(*cues(0), turn(1, 10))
    assert world.folding.look() == 0
    world.now += 8 * DAY
    assert world.folding.look() == 1
    # The cues were signs for seven days, then it was held for seven more.
    assert world.state().level == 2
    world.now += 7 * DAY
    assert world.folding.look() == 1
    assert world.state().level == 1
    assert 'players{level="L2"} 1.0' in world.metrics.render(0, 0).decode()
    world.now += 60 * DAY
    assert [world.folding.look() for _ in range(2)] == [1, 0]
    assert world.state().level == 0


def test_of_who_was_erased_nothing_is_left_and_gateways_are_told(world: World) -> None:
    world.tell(*cues(0))
    world.tell(*cues(0, first=4), whom="berta")
    with world.engine.begin() as connection:
        told_of = players.changes(connection, 0, 10)
    anna = erase(world.engine, OLD, "player", "team-a", "anna", int(world.now))
    assert (len(anna.subjects), anna.engagement) == (1, 4)
    with world.engine.begin() as connection:
        (gone,) = players.changes(connection, told_of[-1].number, 10)
    assert (gone.who, gone.state) == (told_of[0].who, None)
    assert world.folding.show("player", "team-a", "anna") is None
    assert len(rows(world.engine, INTERVENTIONS)) == 1
    # What happens afterwards is told of somebody new, though the numbers of the last events were free again.
    world.now += DAY
    later = [Event(f"n{n}", "limit_raised", world.now + n) for n in range(2)]
    world.tell(*later)
    assert world.state().level == 1
    world.now += DAY
    with world.engine.begin() as connection:
        players.sweep(connection, world.now, world.now)
    assert len(rows(world.engine, PLAYERS)) == 2


def test_who_is_erased_while_events_are_folded_is_not_written_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.tell(*cues(0)[:1])
    world.tell(*cues(0)[1:], fold=False)
    before = players.write

    def write(*args: Any, **options: Any) -> bool:
        connection, known = args[:2]
        # As another process does it, just before.
        connection.exec_driver_sql("DELETE FROM subjects")
        players.forget(connection, [known.subject], world.now)
        return before(*args, **options)

    monkeypatch.setattr(players, "write", write)
    assert world.folding.step() == 3
    assert (world.row()["state"], rows(world.engine, INTERVENTIONS)) == ("", [])


def test_events_are_kept_as_long_as_the_policy_says_if_that_is_less(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(players, "_BATCH", 1)
    world.tell(turn(1, 0), turn(2, 5), policy={**STRICT, "ttl": "7d"})
    world.tell(turn(3, 0), policy=STRICT, whom="berta")
    assert players.forget_sooner(world.engine, START + 7 * DAY) == 0
    assert players.forget_sooner(world.engine, START + 7 * DAY + 60) == 1
    assert players.forget_sooner(world.engine, START + 8 * DAY) == 1
    assert [row["event_id"] for row in rows(world.engine, ENGAGEMENT)] == ["t3"]
    # What they led to stays: it is no longer a record of what somebody did when.
    assert world.state().clock.last_turn == START + 300


def test_players_who_were_not_seen_for_long_are_forgotten(world: World) -> None:
    world.tell(turn(1, 0))
    forget(world.engine, int(world.now) + DAY_SECONDS, int(world.now))
    with world.engine.begin() as connection:
        players.sweep(connection, world.now, world.now)
    assert rows(world.engine, PLAYERS) == []


DAY_SECONDS = 86_400


def test_gateways_find_them_by_the_newer_secret(world: World) -> None:
    world.tell(*cues(0))
    old = world.row()
    world.keys = BOTH
    world.begin()
    world.tell(turn(1, 5))
    new = world.row()
    assert (old["key_version"], new["key_version"]) == (1, 2)
    assert old["who"] != new["who"]
    assert new["change"] > old["change"]
    assert world.state().level == 2


def test_one_is_shown_with_what_his_level_comes_from(world: World) -> None:
    world.tell(*cues(0))
    shown = world.folding.show("player", "team-a", "anna")
    assert shown is not None
    assert (shown.assessment.level, sorted(shown.assessment.signs)) == (2, ["E7", "E9"])
    assert [one.rule for one in shown.done] == ["Notify"]
    world.begin()
    assert world.folding.show("player", "team-a", "anna") == shown
    assert world.folding.show("player", "team-b", "anna") is None


def test_few_players_are_remembered_and_all_are_known(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("understudy.records.engagement.folding._REMEMBERED", 2)
    for number in range(4):
        world.tell(*cues(0, first=4 * number)[:2], whom=f"p{number}")
    for number in range(4):
        world.tell(*cues(0, first=4 * number)[2:], whom=f"p{number}")
    assert {world.state(f"p{number}").level for number in range(4)} == {2}


def test_numbers_of_changes_only_grow(world: World) -> None:
    world.tell(*cues(0))
    first = world.row()["change"]
    world.tell(turn(1, 5))
    assert world.row()["change"] > first
    (progress,) = rows(world.engine, PROGRESS)
    assert progress["change"] == world.row()["change"]
    assert len(progress["origin"]) == 32


def test_the_same_log_is_folded_to_the_same_as_by_the_version_before(world: World) -> None:
    """If not, give players.FOLD the next number: what versions before have folded is then folded anew."""
    log = played(4, "golden")
    standing = stand(log, policy_of(STRICT))
    kept = json.dumps(players._STANDING.dump_python(standing, mode="json"), sort_keys=True)
    golden = Path(__file__).with_name("fold-2.json")
    assert golden.name == f"fold-{players.FOLD}.json"
    assert json.loads(kept) == json.loads(golden.read_text())
