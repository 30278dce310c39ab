"""Players at the gateway: what is told of them reaches the records, and where they stand comes back and holds."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest

from local.ports import free_port
from tests.gateway.clients import CHAT, Answer, chat, client, request
from tests.gateway.engines import Script, answers_well, engine
from tests.gateway.gateways import Gateway, gateway, until
from tests.gateway.guardrails import guarded, load, policy_spec
from tests.gateway.policy.test_players import SECRET, token
from tests.gateway.processes import process
from tests.gateway.worlds import KEY, STABLE, access_key, endpoints, snapshot, table
from tests.records.serving import Records, records
from tests.records.serving import process as records_process
from tests.records.test_subjects import OLD
from understudy.gateway import players as players_module
from understudy.gateway.kubeapi import ApiServer
from understudy.gateway.outbox import Outbox
from understudy.gateway.players import Players
from understudy.gateway.policy.players import MOST_POSTS, MOST_SIGNS, Who
from understudy.gateway.ship import Shipper
from understudy.guard.engagement.clock import Clock
from understudy.guard.engagement.crisis import Crisis
from understudy.guard.engagement.events import Event
from understudy.guard.engagement.state import CALM, Reminder, State, dump

OTHER = "us-another-key-of-the-same-tenant-0123456789ABC"
ANNA = Who("games", "anna", "")
EVENTS = "/v1/engagement/events"


def keys() -> list[dict[str, Any]]:
    """One key of the game's server, and one of its players' devices."""
    return [
        access_key(tenant="games", assertsPlayers="true"),
        access_key(OTHER, source="understudy-system/app", tenant="games", playerSecret=SECRET),
    ]


async def ask(
    port: int, body: Any, *, headers: tuple[str, ...] = (), key: str = KEY, path: str = CHAT, method: str = "POST"
) -> Answer:
    """One request with header lines of its own."""
    fields = dict(line.replace("-", "_", line.count("-", 0, line.index(":"))).split(": ", 1) for line in headers)
    given = b"" if body is None else body
    async with client(port) as one:
        await one.send(request(given, path, method, authorization=f"Bearer {key}", **fields))
        return await one.answer()


@dataclass
class Table:
    """A gateway whose players are known to records."""

    g: Gateway
    r: Records
    players: Players
    engine: Any

    async def says(self, *headers: str, key: str = KEY, **more: Any) -> Answer:
        """Somebody says something."""
        return await ask(self.g.port, chat(**more), headers=headers, key=key)

    async def tell(self, *events: dict[str, Any]) -> Answer:
        """An application tells of events of anna."""
        body = {"player": "anna", "events": [{"at": now(), **event} for event in events]}
        return await ask(self.g.port, body, path=EVENTS)

    async def stored(self, number: int) -> None:
        """Wait until the records have so many events."""

        async def enough() -> bool:
            answer = await self.r.ask("GET", "/v1/ingest")
            return bool(answer[1]["stored"] >= number)

        await until(enough)


def now() -> str:
    return datetime.now(UTC).isoformat()


@asynccontextmanager
async def bringing(folder: Path, base: str, file: Path | None = None) -> AsyncIterator[Players]:
    """What a gateway has of players, beside these records; what it tells is brought to them."""
    outbox = Outbox(folder / "outbox", 1 << 20)
    shipper = Shipper(outbox, ApiServer(base))
    players = Players(ApiServer(base), outbox, file, hurry=shipper.hurry)
    running = [asyncio.ensure_future(shipper.run()), asyncio.ensure_future(players.run())]
    try:
        yield players
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        outbox.close()


@asynccontextmanager
async def playing(folder: Path) -> AsyncIterator[Table]:
    """Records, a gateway, and an engine behind it."""
    async with engine() as e, records(folder, time.time, keys=OLD) as r:
        world = snapshot([table()], [endpoints(STABLE, [e.port])], keys())
        async with bringing(folder, r.base, folder / "players.json") as players, gateway(world, players=players) as g:
            await until(lambda: players.away < 60)
            yield Table(g, r, players, e)


@pytest.mark.slow
async def test_turns_of_a_player_are_told_by_the_gateway(tmp_path: Path) -> None:
    async with playing(tmp_path) as t:
        assert (await t.says("x-player-id: anna")).status == 200
        assert (await t.says(f"x-player-token: {fresh().decode()}", key=OTHER, stream=True)).status == 200
        # Of nobody's turns nothing is told, nor of what is no turn.
        assert (await t.says("x-player-id: anna", key=OTHER)).status == 200
        assert (await t.says()).status == 200
        await t.stored(4)
        answer = await shown(t)
        assert answer.json["level"] == 0
        assert answer.json["state"]["lastTurn"] == pytest.approx(time.time(), abs=600)
        assert t.players.gauges()["understudy_players_events_total"][1]["turn"] == 4


def fresh() -> bytes:
    return token(exp=time.time() + 3600)


async def shown(t: Table, name: str = "anna", key: str = KEY, *headers: str) -> Answer:
    return await ask(t.g.port, None, headers=headers, key=key, path=f"/v1/engagement/{name}", method="GET")


@pytest.mark.slow
async def test_what_an_application_tells_counts_once_and_leads_to_a_level(tmp_path: Path) -> None:
    async with playing(tmp_path) as t:
        events = [
            {"event_id": "c1", "kind": "cue", "name": "prefers_bot"},
            {"event_id": "c2", "kind": "cue", "name": "fear_of_addiction"},
            {"event_id": "l1", "kind": "limit_raised"},
            {"event_id": "l2", "kind": "limit_raised"},
        ]
        for _ in range(2):
            answer = await t.tell(*events)
            assert (answer.status, answer.json) == (202, {"accepted": 4})
        await until(lambda: t.players.state_of(ANNA).level == 2)
        answer = await shown(t)
        assert (answer.json["player"], answer.json["signs"], answer.json["crisis"]) == ("anna", ["E7", "E9"], False)
        assert answer.json["figures"]["limit_easing"] == 2


@pytest.mark.slow
async def test_a_player_is_shown_to_his_own_tenant_and_by_a_token_himself_alone(tmp_path: Path) -> None:
    async with playing(tmp_path) as t:
        await t.tell({"event_id": "c1", "kind": "exit_intent"})
        await t.stored(1)
        await until(lambda: t.players.gauges()["understudy_players_known"][1][""] == 1)
        himself = (OTHER, f"x-player-token: {fresh().decode()}")
        assert (await shown(t, "anna", *himself)).status == 200
        for headers in ((), himself[1:]):
            answer = await shown(t, "berta", OTHER, *headers)
            assert (answer.status, answer.code) == (403, "not_your_player")
        answer = await shown(t, "berta")
        assert (answer.status, answer.code) == (404, "unknown_player")


@pytest.mark.parametrize(
    ("key", "headers", "event", "more", "status", "sentence"),
    [
        (KEY, (), {"kind": "turn"}, {}, 400, "events[0].kind: turn is told by gateways alone"),
        (KEY, (), {"kind": "mood", "mood": 3}, {}, 400, "events[0].mood: write a whole number"),
        (KEY, (), {"kind": "exit_intent"}, {"player": "a b"}, 400, "player: want 1 to 128 letters"),
        (KEY, (), {"kind": "exit_intent"}, {"player": None}, 400, "player: nobody is named"),
        (KEY, (), {"kind": "exit_intent"}, {"luck": 1}, 400, "luck: no such field"),
        (OTHER, (), {"kind": "exit_intent"}, {}, 400, "player: send x-player-token"),
        (OTHER, ("token",), {"kind": "goal_done"}, {"player": None}, 400, "goal_done may lower protection"),
        (OTHER, ("x-player-token: bad",), {"kind": "exit_intent"}, {"player": None}, 401, "want a JSON Web Token"),
        (KEY, ("x-player-id: a/b",), {"kind": "exit_intent"}, {}, 400, "x-player-id: want"),
    ],
)
async def test_what_may_not_be_told_is_refused(
    tmp_path: Path, key: str, headers: tuple[str, ...], event: dict[str, Any], more: Any, status: int, sentence: str
) -> None:
    players, outbox = alone(tmp_path)
    async with gateway(snapshot(keys=keys()), players=players) as g:
        given = tuple(f"x-player-token: {fresh().decode()}" if one == "token" else one for one in headers)
        body = {"player": "anna", **more, "events": [{"event_id": "e", "at": now(), **event}]}
        answer = await ask(g.port, body, headers=given, key=key, path=EVENTS)
        assert answer.status == status
        assert sentence in answer.json["error"]["message"]
    assert outbox.next() is None
    outbox.close()


async def test_a_break_holds_and_ends_in_a_crisis(tmp_path: Path) -> None:
    async with playing(tmp_path) as t:
        await until(lambda: t.players._origin != "")
        state = State(break_until=time.time() + 600.0)
        t.players.hear({"type": "STATE", "change": 1, "who": called("anna"), "state": dump(state)})
        answer = await t.says("x-player-id: anna")
        assert (answer.status, answer.code, answer.fields["x-should-retry"]) == (429, "cool_down", "false")
        assert 590 <= int(answer.fields["retry-after"]) <= 600
        assert t.engine.asked == []
        assert (await t.says("x-player-id: berta")).status == 200
        # From the moment in which the gateway hears of danger it lets her through, whoever else knows of it.
        assert (await t.tell({"event_id": "s", "kind": "crisis_sign"})).status == 202
        assert (await t.says("x-player-id: anna")).status == 200
        assert (await shown_when_known(t)).json["crisis"] is True


async def shown_when_known(t: Table) -> Answer:
    async def known() -> bool:
        return (await shown(t)).status == 200

    await until(known)
    return await shown(t)


def called(player: str) -> str:
    return OLD.for_states().pseudonyms("player", "games", player)[0].digest


async def test_without_records_nobody_plays(tmp_path: Path) -> None:
    async with engine() as e, gateway(snapshot([table()], [endpoints(STABLE, [e.port])], keys())) as g:
        answer = await ask(g.port, {"events": []}, path=EVENTS)
        assert (answer.status, answer.code) == (404, "no_engagement")
        assert (await ask(g.port, chat(), headers=("x-player-id: anna",))).status == 200


@pytest.mark.slow
async def test_records_that_call_nobody_by_a_name_are_told_of_nobody(tmp_path: Path) -> None:
    async with records(tmp_path, time.time) as r, engine() as e:
        outbox = Outbox(tmp_path / "outbox", 1 << 20)
        players = Players(ApiServer(r.base), outbox)
        running = asyncio.ensure_future(players.run())
        await until(lambda: players.off)
        async with gateway(snapshot([table()], [endpoints(STABLE, [e.port])], keys()), players=players) as g:
            answer = await ask(g.port, None, path="/v1/engagement/anna", method="GET")
            assert (answer.status, answer.code) == (404, "no_engagement")
            assert (await ask(g.port, chat(), headers=("x-player-id: anna",))).status == 200
        assert outbox.next() is None
        players.hear(hello(secret()))
        assert not players.off
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        outbox.close()


REFERRED = "call your local emergency number"


@asynccontextmanager
async def endangered(folder: Path, ports: list[int], **limits: Any) -> AsyncIterator[Gateway]:
    """A gateway whose records are away, and which knows that anna may be in danger."""
    players, outbox = alone(folder)
    players.tell(ANNA, Event("s", "crisis_sign", time.time()))
    key = access_key(tenant="games", assertsPlayers="true", **limits)
    world = snapshot([table(queue={"max": 0})], [endpoints(STABLE, ports)] if ports else [], [key])
    async with gateway(world, players=players) as g:
        yield g
    outbox.close()


async def says(g: Gateway, name: str = "anna", path: str = CHAT, **more: Any) -> Answer:
    body = chat(**more) if path == CHAT else {"model": "storyteller", "input": "hi", **more}
    return await ask(g.port, body, headers=(f"x-player-id: {name}",), path=path)


async def test_in_a_crisis_the_limits_of_a_key_are_not_held_against_the_player(tmp_path: Path) -> None:
    async with engine() as e, endangered(tmp_path, [e.port], requestsPerMinute=1, crisisRequests="2") as g:
        assert (await says(g, "berta")).status == 200
        assert (await says(g, "berta")).code == "rate_limit_exceeded"
        for _ in range(2):
            assert (await says(g)).text.startswith("once")
        # That a crisis is told of is no way to free use: past the allowance the referral is the answer.
        for _ in range(2):
            answer = await says(g)
            assert answer.status == 200
            assert REFERRED in answer.text
        assert len(e.asked) == 3
        assert (await says(g, "berta")).status == 429
        assert g.plane.players is not None
        assert g.plane.players.gauges()["understudy_crisis_referrals_total"][1][""] == 2


async def test_in_a_crisis_a_budget_that_nobody_can_tell_is_not_held_against_the_player(tmp_path: Path) -> None:
    async with engine() as e, endangered(tmp_path, [e.port], budgetTokens="100", crisisRequests="1") as g:
        assert (await says(g)).text.startswith("once")
        assert REFERRED in (await says(g)).text
        assert (await says(g, "berta")).code == "budget_unavailable"


@pytest.mark.parametrize("stream", [False, True])
async def test_in_a_crisis_nobody_gets_an_error_when_every_model_is_away(tmp_path: Path, stream: bool) -> None:
    async with endangered(tmp_path, []) as g:
        assert (await says(g, "berta", stream=stream)).status == 503
        answer = await says(g, stream=stream)
        assert answer.status == 200
        assert REFERRED in answer.text
        assert answer.done is stream or not stream
        answer = await says(g, path="/v1/responses", stream=stream)
        assert answer.status == 200
        assert REFERRED.encode() in answer.body


async def test_a_session_may_be_in_a_crisis_where_no_player_is_known(tmp_path: Path) -> None:
    async with endangered(tmp_path, []) as g:
        assert g.plane.players is not None
        g.plane.players.tell(Who("games", "", "evening"), Event("t", "crisis_sign", time.time()))
        assert (await ask(g.port, chat(), headers=("x-session-id: morning",))).status == 503
        assert REFERRED in (await ask(g.port, chat(), headers=("x-session-id: evening",))).text


def alone(folder: Path, wall: Any = time.time, most: int = 1 << 20) -> tuple[Players, Outbox]:
    """What a gateway knows whose records are away."""
    outbox = Outbox(folder / "outbox", most)
    return Players(ApiServer(f"http://127.0.0.1:{free_port()}"), outbox, folder / "players.json", wall=wall), outbox


def hello(*keys: str, origin: str = "o", anew: bool = True) -> dict[str, Any]:
    return {"type": "HELLO", "origin": origin, "anew": anew, "keys": {str(n): key for n, key in enumerate(keys, 1)}}


def secret() -> str:
    return OLD.for_states().secrets[0][1].hex()


async def test_with_the_records_away_the_last_state_holds_to_its_end_and_a_crisis_at_once(tmp_path: Path) -> None:
    moment = [1000.0]
    players, outbox = alone(tmp_path, lambda: moment[0])
    players.hear(hello(secret()))
    state = State(level=2, level_until=5000.0, suppress_hooks=True, break_until=2000.0)
    players.hear({"type": "STATE", "change": 7, "who": called("anna"), "state": dump(state)})
    assert players.state_of(ANNA).cool_down_until == 2000.0
    players.save()
    outbox.close()
    again, outbox = alone(tmp_path, lambda: moment[0])
    assert again.state_of(ANNA).cool_down_until == 2000.0
    again.tell(ANNA, Event("s", "crisis_sign", 1000.0, "client"))
    assert again.state_of(ANNA).crisis
    assert again.state_of(ANNA).cool_down_until is None
    outbox.close()
    # Killed in this moment, it knows of it: and so do the records, once they are there.
    third, outbox = alone(tmp_path, lambda: moment[0])
    assert third.state_of(ANNA).crisis
    segment = outbox.next()
    assert segment is not None
    assert segment.lane == "kept"
    assert orjson.loads(segment.path.read_bytes())["event"] == "crisis_sign"
    third.tell(ANNA, Event("c", "crisis_cleared", 1001.0, "asserted"))
    assert not third.state_of(ANNA).crisis
    moment[0] = 5001.0
    assert third.state_of(ANNA) == CALM
    outbox.close()


async def test_a_crisis_is_over_when_the_records_say_so(tmp_path: Path) -> None:
    players, outbox = alone(tmp_path, lambda: 1000.0)
    players.hear(hello(secret()))
    players.tell(Who("games", "anna", "evening"), Event("s", "crisis_sign", 900.0))
    assert players.state_of(ANNA).crisis
    assert players.state_of(Who("games", "", "evening")).crisis
    assert not players.state_of(Who("other", "anna", "")).crisis
    cleared = dump(State(crisis=Crisis(900.0, 950.0)))
    players.hear({"type": "STATE", "change": 1, "who": called("anna"), "state": cleared})
    assert not players.state_of(ANNA).crisis
    outbox.close()


async def test_of_another_database_all_is_heard_anew_and_of_who_was_erased_nothing(tmp_path: Path) -> None:
    players, outbox = alone(tmp_path, lambda: 1000.0)
    players.hear(hello(secret()))
    level = dump(State(level=1, level_until=2000.0))
    players.hear({"type": "STATE", "change": 3, "who": called("anna"), "state": level})
    players.hear({"type": "STATE", "change": 4, "who": called("berta"), "state": level})
    players.hear({"type": "STATE", "change": 5, "who": called("anna"), "state": None})
    players.hear({"type": "ALIVE", "change": 5})
    assert (players.state_of(ANNA), players.state_of(Who("games", "berta", "")).level) == (CALM, 1)
    players.hear(hello(secret(), origin="another"))
    assert players.state_of(Who("games", "berta", "")) == CALM
    # By the older of two secrets somebody is found who was not seen since there is the newer one.
    players.hear({"type": "STATE", "change": 1, "who": called("anna"), "state": level})
    players.hear(hello(secret(), "00" * 32, anew=False))
    assert players.state_of(ANNA).level == 1
    outbox.close()


async def test_what_was_not_asked_for_longest_is_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(players_module, "MOST", 2)
    players, outbox = alone(tmp_path, lambda: 1000.0)
    players.hear(hello(secret()))
    for number, name in enumerate(("anna", "berta", "anna", "carla"), 1):
        if number == 3:
            assert players.state_of(ANNA).level == 1
            continue
        level = dump(State(level=1, level_until=2000.0))
        players.hear({"type": "STATE", "change": number, "who": called(name), "state": level})
    assert [players.state_of(Who("games", name, "")).level for name in ("anna", "berta", "carla")] == [1, 0, 1]
    outbox.close()


@pytest.mark.parametrize("content", [b"no json", b"[]", b"{}", b'{"form": 1}', b'{"form": 0}'])
async def test_a_file_that_is_none_is_passed_over(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "players.json").write_bytes(content)
    (tmp_path / "players.crises.json").write_bytes(content)
    players, outbox = alone(tmp_path)
    assert players.state_of(ANNA) == CALM
    outbox.close()


async def test_a_disk_that_fails_ends_nobody(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    players, outbox = alone(tmp_path)
    (tmp_path / "players.crises.json").mkdir()
    assert players.tell(ANNA, Event("s", "crisis_sign", time.time()))
    assert players.state_of(ANNA).crisis
    assert "cannot be kept" in caplog.text
    outbox.close()


async def test_without_room_it_is_said(tmp_path: Path) -> None:
    players, outbox = alone(tmp_path, most=64)
    assert not players.tell(ANNA, Event("e", "exit_intent", 1.0))
    assert players.gauges()["understudy_players_events_total"][1]["dropped"] == 1
    async with gateway(snapshot([table()], [], keys()), players=players) as g:
        body = {"player": "anna", "events": [{"event_id": "e", "kind": "exit_intent", "at": now()}]}
        answer = await ask(g.port, body, path=EVENTS)
        assert (answer.status, answer.code) == (503, "busy")
        answer = await ask(g.port, None, path="/v1/engagement/anna", method="GET")
        assert (answer.status, answer.code) == (503, "records_unavailable")
    outbox.close()


async def test_nobody_can_fill_the_room_that_is_kept_for_signs_of_danger(tmp_path: Path) -> None:
    players, outbox = alone(tmp_path, lambda: 1000.0)
    for number in range(MOST_SIGNS + 5):
        assert players.tell(Who("games", "", f"s{number}"), Event("s", "crisis_sign", 1000.0, "client"))
    counted = {lane: sum(segment.lines for segment in outbox._segments[lane]) for lane in ("kept", "common")}
    assert counted == {"kept": MOST_SIGNS, "common": 5}
    # All of them hold all the same.
    assert players.state_of(Who("games", "", f"s{MOST_SIGNS + 4}")).crisis
    outbox.close()


async def test_the_workers_of_a_gateway_learn_from_each_other_who_may_be_in_danger(tmp_path: Path) -> None:
    workers = []
    for number in range(2):
        outbox = Outbox(tmp_path / str(number), 1 << 20)
        server = ApiServer(f"http://127.0.0.1:{free_port()}")
        workers.append((Players(server, outbox, tmp_path / f"players-{number}.json", wall=lambda: 1000.0), outbox))
    (one, _), (other, _) = workers
    one.tell(ANNA, Event("s", "crisis_sign", 900.0))
    assert not other.state_of(ANNA).crisis
    other.look_around()
    assert other.state_of(ANNA).crisis
    # Whoever hears that it is over tells the others; what is not news changes nothing.
    other.tell(ANNA, Event("c", "crisis_cleared", 950.0, "asserted"))
    for worker, _ in workers:
        worker.look_around()
        assert not worker.state_of(ANNA).crisis
    assert (tmp_path / "players.secret").stat().st_mode & 0o077 == 0
    for _, outbox in workers:
        outbox.close()


@pytest.mark.parametrize("content", [b"short", None])
async def test_a_secret_that_cannot_be_used_is_made_up(tmp_path: Path, content: bytes | None) -> None:
    secret_file = tmp_path / "players.secret"
    secret_file.mkdir() if content is None else secret_file.write_bytes(content)
    players, outbox = alone(tmp_path)
    players.tell(ANNA, Event("s", "crisis_sign", time.time()))
    assert players.state_of(ANNA).crisis
    outbox.close()


async def test_of_crises_without_end_the_oldest_are_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(players_module, "MOST", 3)
    monkeypatch.setattr(players_module, "_AT_ONCE", 2)
    players, outbox = alone(tmp_path, lambda: 1000.0)
    for number in range(5):
        players.tell(Who("games", "", f"s{number}"), Event("s", "crisis_sign", 1000.0, "client"))
    assert [players.state_of(Who("games", "", f"s{number}")).crisis for number in range(5)] == [
        False,
        False,
        *[True] * 3,
    ]
    kept = orjson.loads((tmp_path / "players.crises.json").read_bytes())["crises"]
    assert len(kept) == 2
    players.save()
    Players(ApiServer(""), outbox).look_around()
    assert len(orjson.loads((tmp_path / "players.crises.json").read_bytes())["crises"]) == 3
    outbox.close()


async def test_a_key_that_tells_of_events_without_end_is_slowed_down(tmp_path: Path) -> None:
    players, outbox = alone(tmp_path, lambda: 1000.0)
    event = {"event_id": "e", "kind": "exit_intent", "at": "1970-01-01T00:16:40Z"}
    async with gateway(snapshot(keys=keys()), players=players) as g, client(g.port) as one:
        answers = [await one.ask({"player": "anna", "events": [event]}, path=EVENTS) for _ in range(MOST_POSTS + 1)]
    assert {answer.status for answer in answers[:-1]} == {202}
    assert (answers[-1].status, answers[-1].code, answers[-1].fields["retry-after"]) == (429, "too_many_events", "1")
    outbox.close()


async def test_who_listens_goes_on_when_the_records_come_back(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    players, outbox = alone(tmp_path)
    running = asyncio.ensure_future(players.run())
    await until(lambda: "do not tell where players stand" in caplog.text)
    async with records(tmp_path, time.time, keys=OLD) as r:
        players._server = ApiServer(r.base)
        await until(lambda: players.away < 60)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert (tmp_path / "players.json").exists()
    outbox.close()


POLICY = {
    "profile": "therapeutic",
    "actions": {"L1": ["Remind"], "L2": ["SuppressHooks", "SwitchModel"], "L3": ["CoolDown"]},
    "switchTo": "calm",
}


@asynccontextmanager
async def ruled(
    folder: Path, state: State, *spec: dict[str, Any], script: Script | None = None, **more: Any
) -> AsyncIterator[tuple[Gateway, Any]]:
    """A gateway under a Guardrail with this policy, where anna stands so; another engine answers as `calm`."""
    async with engine(script) as e, engine(answers_well("be", " calm")) as other:
        players, outbox = alone(folder)
        players.hear(hello(secret()))
        players.hear({"type": "STATE", "change": 1, "who": called("anna"), "state": dump(state)})
        world = guarded(e.port, policy_spec(**{"engagement": POLICY, **(spec[0] if spec else {})}))
        world["keys"] = [access_key(tenant="games", assertsPlayers="true", **more)]
        world["tables"].append(table(name="calm", names=("calm",), uid="uid-2"))
        world["endpoints"].append(endpoints(STABLE, [other.port], name="calm"))
        async with gateway(world, players=players) as g:
            await load(g)
            yield g, outbox
        outbox.close()


def told(outbox: Outbox) -> list[tuple[str, str]]:
    """Kinds and names of the events that wait for the records."""
    lines = [line for segment in outbox._segments["common"] for line in segment.path.read_bytes().splitlines()]
    return [(line["event"], line["name"]) for line in map(orjson.loads, lines)]


def hours() -> State:
    """Somebody who has talked for hours, and a minute ago."""
    return State(clock=Clock(time.time() - 4 * 3600, time.time() - 60))


NOTED = "you are talking with an AI"


@pytest.mark.parametrize("stream", [False, True])
async def test_the_notice_that_is_due_stands_at_the_end_of_the_answer_and_is_told(tmp_path: Path, stream: bool) -> None:
    async with ruled(tmp_path, hours()) as (g, outbox):
        answer = await says(g, stream=stream)
        assert answer.text.startswith("once upon a time\n\n[A reminder: ")
        assert NOTED in answer.text
        assert answer.done is stream or not stream
        assert sorted(told(outbox)) == [("notice_shown", ""), ("turn", "assistant"), ("turn", "user")]
        # It is not shown again before the records have heard of it.
        assert (await says(g, stream=stream)).text == "once upon a time"


async def test_the_records_hear_by_which_policy_a_player_is_judged(tmp_path: Path) -> None:
    async with ruled(tmp_path, State()) as (g, outbox):
        await says(g)
        (segment,) = outbox._segments["common"]
        first, second = map(orjson.loads, segment.path.read_bytes().splitlines())
        assert (first["policy"], second["policy"]) == (POLICY, None)
    async with ruled(tmp_path / "monitor", State(), {"mode": "monitor"}) as (g, outbox):
        await says(g)
        (segment,) = outbox._segments["common"]
        # One that only counts has nothing done.
        line = orjson.loads(segment.path.read_bytes().splitlines()[0])
        assert line["policy"] == {**POLICY, "actions": {}}


async def test_without_a_guardrail_there_is_no_notice(tmp_path: Path) -> None:
    async with ruled(tmp_path, hours(), {"engagement": None}) as (g, _):
        assert (await says(g)).text == "once upon a time"


async def test_an_answer_that_something_parses_has_no_notice(tmp_path: Path) -> None:
    async with ruled(tmp_path, hours()) as (g, outbox):
        answer = await says(g, response_format={"type": "json_object"})
        assert answer.text == "once upon a time"
        assert ("notice_shown", "") not in told(outbox)


async def test_a_reminder_is_shown_once(tmp_path: Path) -> None:
    state = State(level=1, level_until=time.time() + 900, reminder=Reminder("r" * 32, time.time() + 900))
    async with ruled(tmp_path, state) as (g, outbox):
        assert "an hour without a break" in (await says(g, stream=True)).text
        assert (await says(g, stream=True)).text == "once upon a time"
        assert told(outbox).count(("break_shown", "")) == 1


async def test_at_a_level_another_model_answers_and_the_application_hears_of_hooks(tmp_path: Path) -> None:
    state = State(level=2, level_until=time.time() + 900, suppress_hooks=True, switch_model=True)
    async with ruled(tmp_path, state) as (g, _):
        answer = await says(g)
        assert (answer.text, answer.json["model"]) == ("be calm", "storyteller")
        assert answer.fields["x-understudy-fallback"] == "calm"
        assert answer.fields["x-understudy-suppress-hooks"] == "true"
        other = await says(g, "berta")
        assert other.text == "once upon a time"
        assert "x-understudy-suppress-hooks" not in other.fields
    # A name that the key may not use is passed over.
    async with ruled(tmp_path / "other", state, names="storyteller") as (g, _):
        assert (await says(g)).text == "once upon a time"


@pytest.mark.parametrize(
    ("mode", "role", "severity", "begins"),
    [
        ("enforce", "user", "medium", True),
        ("enforce", "user", "low", False),
        ("enforce", "assistant", "high", False),
        ("monitor", "user", "high", False),
    ],
)
async def test_what_somebody_says_of_harming_themselves_begins_a_crisis(
    tmp_path: Path, mode: str, role: str, severity: str, begins: bool
) -> None:
    words = {
        "name": "words",
        "type": "patterns",
        "patterns": [{"name": "end", "literal": "end it", "category": "self_harm", "severity": severity}],
    }
    rules = [{"category": "self_harm", "actions": {"low": ["Log"]}}]
    async with ruled(tmp_path, State(), {"mode": mode, "detectors": [words], "rules": rules}) as (g, outbox):
        body = {"model": "storyteller", "messages": [{"role": role, "content": "I want to end it"}]}
        # It is sent again with each turn, and is a sign once.
        for _ in range(2):
            answer = await ask(g.port, body, headers=("x-player-id: anna",))
            assert answer.text == "once upon a time"
        assert g.plane.players is not None
        assert g.plane.players.state_of(ANNA).crisis is begins
        assert sum(segment.lines for segment in outbox._segments["kept"]) == begins


async def test_the_referral_is_the_guardrails_in_the_language_of_the_player(tmp_path: Path) -> None:
    state = State(crisis=Crisis(signed=time.time()))
    async with ruled(tmp_path, state, requestsPerMinute=1, crisisRequests="0") as (g, _):
        await says(g)
        assert (await says(g)).text == "You are not alone.\n988"
        headers = ("x-player-id: anna", "accept-language: de-AT, en;q=0.5")
        assert (await ask(g.port, chat(), headers=headers)).text == "Du bist nicht allein."


@asynccontextmanager
async def one_of_several(folder: Path, base: str, world: dict[str, Any]) -> AsyncIterator[Gateway]:
    """A gateway that tells these records, and hears of them."""
    async with bringing(folder, base) as players, gateway(world, players=players) as g:
        await load(g)
        yield g


@pytest.mark.slow
async def test_a_break_that_an_event_at_one_gateway_begins_holds_at_all(tmp_path: Path) -> None:
    strict = {"profile": "therapeutic", "thresholds": {"limitEasing": 1}, "actions": {"L1": ["CoolDown"]}}
    async with engine() as e, records(tmp_path, time.time, keys=OLD) as r:
        world = {**guarded(e.port, policy_spec(engagement=strict)), "keys": keys()}
        async with (
            one_of_several(tmp_path / "1", r.base, world) as one,
            one_of_several(tmp_path / "2", r.base, world) as other,
        ):
            for g in (one, other):
                assert (await says(g)).status == 200
            event = {"event_id": "l", "kind": "limit_raised", "at": now()}
            assert (await ask(one.port, {"player": "anna", "events": [event]}, path=EVENTS)).status == 202
            for g in (one, other):

                async def refused(g: Gateway = g) -> bool:
                    return (await says(g)).status == 429

                await until(refused)
                assert (await says(g, "berta")).status == 200
            assert (await shown_by(one)).json["interventions"][0]["rule"] == "CoolDown"


async def shown_by(g: Gateway) -> Answer:
    return await ask(g.port, None, path="/v1/engagement/anna", method="GET")


@pytest.mark.slow
async def test_as_processes_with_two_workers_a_player_is_known_to_all(tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "1").write_bytes(b"1" * 32)
    async with engine() as e, records_process(tmp_path, "--auth=none", f"--subject-keys={tmp_path}/keys") as r:
        world = tmp_path / "world.json"
        world.write_bytes(orjson.dumps(snapshot([table()], [endpoints(STABLE, [e.port])], keys())))
        flags = (f"--snapshot={world}", f"--records={r.base}", f"--records-dir={tmp_path}/outbox", "--workers=2")
        async with process(*flags) as gateway:
            assert (await ask(gateway.port, chat(), headers=("x-player-id: anna",))).status == 200
            body = {"player": "anna", "events": [{"event_id": "s", "kind": "crisis_sign", "at": now()}]}
            assert (await ask(gateway.port, body, path=EVENTS)).status == 202

            async def shown() -> bool:
                answer = await ask(gateway.port, None, path="/v1/engagement/anna", method="GET")
                return answer.status == 200 and answer.json["crisis"]

            async def counted() -> bool:
                return 'understudy_players_events_total{kind="sign"} 1' in (await gateway.get("/metrics"))[1]

            for _ in range(8):
                await until(shown)
            # What one worker counts the other hears of a little later.
            await until(counted)
            gateway.child.terminate()
            _, said = await gateway.child.communicate()
            assert b"Traceback" not in said
