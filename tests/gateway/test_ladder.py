"""The ladder of a session and of a player at the gateway: what follows from several findings, and for whom."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.gateway.clients import Answer, chat
from tests.gateway.engines import answers_well, engine
from tests.gateway.gateways import Gateway, gateway, until
from tests.gateway.guardrails import guard, load, policy_spec
from tests.gateway.processes import process
from tests.gateway.test_players import ANNA, EVENTS, alone, ask, bringing, now
from tests.gateway.worlds import STABLE, access_key, endpoints, snapshot, table
from tests.records.serving import Records, records
from tests.records.serving import process as records_process
from tests.records.test_subjects import OLD
from understudy.gateway.outbox import Outbox
from understudy.gateway.policy.players import Who
from understudy.gateway.requestlog import RequestLog
from understudy.guard.engagement.events import Event
from understudy.guard.ladder import Rung
from understudy.records.lines import LINE

SWITCH = {"per": "session", "count": 3, "within": "10m", "action": "SwitchModel", "to": "calm"}
PAUSE = {"per": "player", "count": 3, "within": "10m", "action": "CoolDown"}


def world(ports: dict[str, list[int]], guards: dict[str, list[tuple[str, Any]]], **more: Any) -> dict[str, Any]:
    """Deployments by served name with engines at these ports, under Guardrails; `more` are fields of their tables."""
    made = {name: [guard(spec, called) for called, spec in guards.get(name, [])] for name in ports}
    tables = [
        table(
            name=f"{name}-dep", names=(name,), uid=name, guards=[said for said, _ in made[name]], **more.get(name, {})
        )
        for name in ports
    ]
    slices = [endpoints(STABLE, where, name=f"{name}-dep") for name, where in ports.items() if where]
    keys = more.get("keys") or [access_key(tenant="games", assertsPlayers="true")]
    shards = {shard["name"]: shard for found in made.values() for _, several in found for shard in several}
    return {**snapshot(tables, slices, keys), "shards": list(shards.values())}


def ladder(*rungs: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A Guardrail that says so and lets everything through."""
    return policy_spec("Log", ladder=list(rungs), **more)


@dataclass
class Stage:
    """A gateway whose records are away, and the engines behind it by served name."""

    g: Gateway
    outbox: Outbox
    engines: dict[str, Any]

    async def says(self, text: str = "hi", *, model: str = "storyteller", who: str = "session", **more: Any) -> Answer:
        """Somebody says something, by default in the session `evening`."""
        names = {"session": ("x-session-id: evening",), "anna": ("x-player-id: anna",), "nobody": ()}
        headers = names.get(who) or (f"x-session-id: {who}",) * (who != "nobody")
        return await ask(self.g.port, chat(text, **{"model": model, **more}), headers=headers)

    async def sins(self, times: int = 3, **more: Any) -> None:
        """Somebody says what should not be said, each time something else."""
        for number in range(times):
            await self.says(f"darn {number} {time.monotonic_ns()}", **more)

    def events(self) -> list[dict[str, Any]]:
        """What happened, for the records."""
        found = [line for segment in self.outbox._segments["common"] for line in segment.path.read_bytes().splitlines()]
        return [line for line in map(orjson.loads, found) if line["kind"] == "engagement"]

    def lines(self) -> list[dict[str, Any]]:
        """Findings for the records."""
        found = [line for segment in self.outbox._segments["kept"] for line in segment.path.read_bytes().splitlines()]
        return [line for line in map(orjson.loads, found) if line["kind"] == "violation"]


@asynccontextmanager
async def stage(folder: Path, *guards: Any, **more: Any) -> AsyncIterator[Stage]:
    """`storyteller` under these Guardrails, and `calm`, which says so, under those of `calm_guards`."""
    async with engine() as story, engine(answers_well("be", " calm")) as calm:
        players, outbox = alone(folder)
        ports = {"storyteller": [story.port], "calm": [calm.port], **more.pop("ports", {})}
        under = {"storyteller": [(f"g{n}", spec) for n, spec in enumerate(guards)], **more.pop("under", {})}
        async with gateway(world(ports, under, **more), players=players) as g:
            g.plane.log = RequestLog(None, 0.0, outbox=outbox)
            await load(g)
            yield Stage(g, outbox, {"storyteller": story, "calm": calm})
        outbox.close()


@pytest.mark.parametrize("stream", [False, True])
async def test_after_three_findings_another_model_answers_and_says_so(tmp_path: Path, stream: bool) -> None:
    async with stage(tmp_path, ladder(SWITCH)) as s:
        await s.sins(2)
        assert (await s.says(stream=stream)).text == "once upon a time"
        await s.sins(1)
        answer = await s.says(stream=stream)
        assert answer.text == "be calm"
        assert answer.fields["x-understudy-fallback"] == "calm"
        assert (answer.events[0] if stream else answer.json)["model"] == "calm"
        assert len(s.engines["storyteller"].asked) == 4
        # Of others nothing was found.
        assert (await s.says(who="morning")).text == "once upon a time"
        assert (await s.says(who="nobody")).text == "once upon a time"
        shown = s.g.plane.players.gauges()["understudy_ladder_holds_total"][1]  # type: ignore[union-attr]
        assert (shown["SwitchModel"], shown["CoolDown"]) == (1, 0)


async def test_each_finding_tells_the_records_which_rungs_count_it(tmp_path: Path) -> None:
    other = {**SWITCH, "category": "rude", "severityAtLeast": 6, "per": "player"}
    async with stage(tmp_path, ladder(SWITCH, {**SWITCH, "category": "pii"}, other)) as s:
        await s.sins(1)
        await s.says("darn it", who="anna")
        first, second = s.lines()
        assert [(rung["per"], rung["terms"]["number"]) for rung in first["ladder"]] == [("session", 0), ("player", 2)]
        assert second["ladder"][1]["terms"]["guardrail"] == "default/g0"
        for line in (first, second):
            LINE.validate_python(line)


async def test_a_finding_in_answers_counts_as_one_in_what_is_asked(tmp_path: Path) -> None:
    async with stage(tmp_path, ladder(SWITCH)) as s:
        s.engines["storyteller"].script = answers_well("oh", " darn")
        for _ in range(3):
            assert (await s.says()).text == "oh darn"
        assert (await s.says()).text == "be calm"


async def test_what_is_sent_again_with_each_turn_counts_once(tmp_path: Path) -> None:
    async with stage(tmp_path, ladder(SWITCH)) as s:
        for _ in range(4):
            assert (await s.says("darn it")).text == "once upon a time"


async def test_protection_does_not_hang_on_what_the_key_may_use(tmp_path: Path) -> None:
    key = access_key(tenant="games", assertsPlayers="true", names="storyteller")
    async with stage(tmp_path, ladder(SWITCH), keys=[key]) as s:
        assert (await s.says(model="calm")).status == 404
        await s.sins()
        assert (await s.says()).text == "be calm"


async def test_what_the_safe_model_answers_costs_what_the_one_that_was_asked_for_does(tmp_path: Path) -> None:
    prices = {"currency": "USD", "inputPerMillion": "1", "outputPerMillion": "1", "perRequest": "0"}
    key = access_key(tenant="games", budgetMoney="10", budgetCurrency="USD", budgetPeriod="day")
    async with stage(tmp_path, ladder(SWITCH), keys=[key], storyteller={"pricing": prices}) as s:
        assert (await s.says(model="calm")).code == "not_priced"
        for _ in range(3):
            # Nobody can say what is left of the budget, and it is judged before.
            s.g.plane.players.found(Who("games", "", "evening"), rungs(s))  # type: ignore[union-attr]
        assert (await s.says()).code == "budget_unavailable"


def rungs(s: Stage) -> list[Rung]:
    """Those of `storyteller`."""
    guarding = s.g.world.routes.names["storyteller"].guarding
    assert guarding is not None
    return list(guarding.ladder.values())


async def test_who_asks_for_the_safe_model_gets_it_and_its_own_guardrails_judge(tmp_path: Path) -> None:
    under = {"calm": [("g0", ladder(SWITCH)), ("strict", policy_spec("Block"))]}
    async with stage(tmp_path, ladder(SWITCH), under=under) as s:
        await s.sins()
        for model in ("storyteller", "calm"):
            answer = await s.says("hi", model=model)
            assert (answer.text, answer.json["model"]) == ("be calm", "calm")
        assert "x-understudy-fallback" not in answer.fields
        assert (await s.says("darn")).code == "content_filter"


@pytest.mark.parametrize("there", [False, True])
async def test_where_nobody_serves_the_safe_model_the_failure_policy_says_what_becomes_of_it(
    tmp_path: Path, there: bool
) -> None:
    # A name of another namespace is none of this one.
    elsewhere = {"far": {"namespace": "other"}} if there else {}
    ports = {"far": [1]} if there else {}
    rung = {**SWITCH, "to": "far"}
    async with stage(tmp_path, ladder(rung), ports=ports, **elsewhere) as s:
        await s.sins()
        asked = len(s.engines["storyteller"].asked)
        answer = await s.says()
        assert (answer.status, answer.code) == (503, "guardrail_unavailable")
        assert len(s.engines["storyteller"].asked) == asked
    async with stage(tmp_path / "open", ladder(rung, failurePolicy="Open"), ports=ports, **elsewhere) as s:
        await s.sins()
        answer = await s.says()
        assert (answer.text, answer.fields["x-understudy-not-switched"]) == ("once upon a time", "far")


async def test_in_a_crisis_nobody_is_told_that_the_safe_model_is_away(tmp_path: Path) -> None:
    async with stage(tmp_path, ladder({**SWITCH, "per": "player", "to": "gone"})) as s:
        await s.sins(who="anna")
        assert (await s.says(who="anna")).status == 503
        assert s.g.plane.players is not None
        s.g.plane.players.tell(ANNA, Event("s", "crisis_sign", time.time()))
        answer = await s.says(who="anna")
        assert (answer.status, answer.text) == (200, "You are not alone.\n988")


async def test_a_safe_model_that_does_not_take_the_request_is_as_good_as_none(tmp_path: Path) -> None:
    more: dict[str, Any] = {"storyteller": {"extraFields": ["luck"]}}
    async with stage(tmp_path, ladder(SWITCH), **more) as s:
        await s.sins()
        assert (await s.says(luck=1)).code == "guardrail_unavailable"
        assert (await s.says()).text == "be calm"


async def test_rungs_that_send_somebody_round_in_a_circle_serve_nobody(tmp_path: Path) -> None:
    back = {**SWITCH, "to": "storyteller"}
    async with stage(tmp_path, ladder(SWITCH), under={"calm": [("h", ladder(back))]}) as s:
        await s.sins()
        await s.sins(model="calm")
        assert (await s.says()).code == "guardrail_unavailable"
        assert (await s.says(model="calm")).code == "guardrail_unavailable"


async def test_on_the_way_to_a_safe_model_somebody_may_have_a_break(tmp_path: Path) -> None:
    pause = {**PAUSE, "per": "session"}
    async with stage(tmp_path, ladder(SWITCH), under={"calm": [("h", ladder(pause))]}) as s:
        await s.sins()
        await s.sins()
        assert (await s.says()).code == "cool_down"


async def test_what_a_rung_keeps_from_a_model_no_fallback_leads_to(tmp_path: Path) -> None:
    away: dict[str, Any] = {"calm": {"fallback": ["storyteller"], "queue": {"max": 0}}}
    async with stage(tmp_path, ladder(SWITCH), ports={"calm": []}, **away) as s:
        assert (await s.says(model="calm")).text == "once upon a time"
        await s.sins()
        # Neither from the safe one back, nor from one that was asked for by its own name.
        assert (await s.says()).code == "no_capacity"
        assert (await s.says(model="calm")).code == "no_capacity"
        assert (await s.says(model="calm", who="morning")).text == "once upon a time"


async def test_a_break_holds_for_deployments_with_the_rung_and_not_in_a_crisis(tmp_path: Path) -> None:
    async with stage(tmp_path, ladder(PAUSE, engagement={"coolDown": {"initial": "5m"}})) as s:
        await s.sins(who="anna")
        answer = await s.says(who="anna")
        assert (answer.status, answer.code) == (429, "cool_down")
        assert 200 < int(answer.fields["retry-after"]) <= 300
        assert (await s.says(who="anna", model="calm")).text == "be calm"
        assert (await s.says()).text == "once upon a time"
        assert s.g.plane.players is not None
        s.g.plane.players.tell(ANNA, Event("s", "crisis_sign", time.time()))
        assert (await s.says(who="anna")).text == "once upon a time"


async def test_of_two_guardrails_the_stricter_holds_alone(tmp_path: Path) -> None:
    async with stage(tmp_path, ladder({**PAUSE, "per": "session"}), ladder({**SWITCH, "count": 4})) as s:
        await s.sins(3)
        assert (await s.says()).code == "cool_down"
    async with stage(tmp_path / "both", ladder({**PAUSE, "per": "session"}), ladder(SWITCH)) as s:
        await s.sins(3)
        assert (await s.says()).text == "be calm"


async def test_an_application_hears_of_hooks_and_a_session_is_reminded_once(tmp_path: Path) -> None:
    hooks = {**PAUSE, "per": "session", "action": "SuppressHooks"}
    async with stage(tmp_path, ladder(hooks)) as s:
        assert "x-understudy-suppress-hooks" not in (await s.says()).fields
        await s.sins()
        assert (await s.says()).fields["x-understudy-suppress-hooks"] == "true"
    remind = {**hooks, "action": "Remind"}
    async with stage(tmp_path / "remind", ladder(remind)) as s:
        await s.sins(2)
        assert (await s.says("darn again")).text.startswith("once upon a time\n\n[This has come to")
        assert (await s.says()).text == "once upon a time"
        (event,) = (line for line in s.events() if line["event"] == "break_shown")
        assert (event["session"], event["player"]) == ("evening", None)


def asking(severity: str, *actions: str, **more: Any) -> dict[str, Any]:
    """A Guardrail whose rule asks for these from the first finding on."""
    return policy_spec("Log", rules=[{"category": "rude", "actions": {severity: list(actions)}}], **more)


@pytest.mark.parametrize("who", ["anna", "evening"])
async def test_a_rule_may_ask_for_a_break_at_once(tmp_path: Path, who: str) -> None:
    spec = asking("low", "Block", "CoolDown", engagement={"coolDown": {"initial": "5m"}})
    async with stage(tmp_path, spec) as s:
        assert (await s.says("darn", who=who)).code == "content_filter"
        answer = await s.says(who=who)
        assert (answer.status, answer.code) == (429, "cool_down")
        assert 200 < int(answer.fields["retry-after"]) <= 300
        assert (await s.says(who="nobody")).text == "once upon a time"
        (line,) = s.lines()
        LINE.validate_python(line)
        assert [(rung["per"], rung["terms"]["number"], rung["terms"]["rule"]) for rung in line["ladder"]] == [
            ("player", 0, True)
        ]
        assert s.g.plane.players is not None
        s.g.plane.players.tell(ANNA, Event("s", "crisis_sign", time.time()))
        assert (await s.says(who="anna")).text == "once upon a time"


async def test_a_rule_may_ask_for_a_reminder_and_have_hooks_left_out(tmp_path: Path) -> None:
    async with stage(tmp_path, asking("low", "Log", "SuppressHooks")) as s:
        await s.sins(1)
        assert (await s.says()).fields["x-understudy-suppress-hooks"] == "true"
    async with stage(tmp_path / "remind", asking("low", "Remind")) as s:
        assert (await s.says("darn")).text.startswith("once upon a time\n\n[This has come to")
        assert (await s.says()).text == "once upon a time"


async def test_a_rule_asks_at_its_severity_alone_and_not_in_monitor_mode(tmp_path: Path) -> None:
    milder = policy_spec("Log", rules=[{"category": "rude", "actions": {"low": ["CoolDown"], "high": ["Log"]}}])
    async with stage(tmp_path, milder, asking("low", "CoolDown", mode="monitor")) as s:
        await s.sins(1)
        (line, _) = s.lines()
        assert line["severity"] == 6
        assert (await s.says()).text == "once upon a time"


async def test_a_guardrail_that_only_counts_has_nothing_done(tmp_path: Path) -> None:
    async with stage(tmp_path, ladder(SWITCH, mode="monitor")) as s:
        await s.sins()
        assert (await s.says()).text == "once upon a time"
        assert {line["ladder"][0]["terms"]["action"] for line in s.lines()} == {"Notify"}


async def test_where_nobody_names_a_session_the_conversation_is_one(tmp_path: Path) -> None:
    def turns(*texts: str) -> list[dict[str, str]]:
        said = [{"role": "user", "content": "a dragon"}, {"role": "assistant", "content": "flies"}]
        return [*said, *({"role": "user", "content": text} for text in texts)]

    async with stage(tmp_path, ladder(SWITCH)) as s:
        for number in range(3):
            await s.says(who="nobody", messages=turns(*(f"darn {n}" for n in range(number + 1))))
        assert (await s.says(who="nobody", messages=turns("and then"))).text == "be calm"
        assert (await s.says(who="nobody")).text == "once upon a time"
        for line in s.lines():
            LINE.validate_python(line)


async def test_what_is_no_talk_counts_for_nobody(tmp_path: Path) -> None:
    async with stage(tmp_path, ladder({**SWITCH, "count": 1})) as s:
        body = {"model": "storyteller", "input": "darn"}
        await ask(s.g.port, body, headers=("x-session-id: evening",), path="/v1/embeddings")
        (line,) = s.lines()
        assert "ladder" not in line
        assert (await s.says()).text == "once upon a time"


async def test_a_rung_that_was_edited_holds_no_more(tmp_path: Path) -> None:
    async with stage(tmp_path, ladder(SWITCH)) as s:
        await s.sins()
        assert (await s.says()).text == "be calm"
        ports = {"storyteller": [s.engines["storyteller"].port], "calm": [s.engines["calm"].port]}
        other = ladder({**SWITCH, "within": "11m"})
        s.g.change(world(ports, {"storyteller": [("g0", other)]}, storyteller={"generation": 2}))
        await load(s.g)
        assert (await s.says()).text == "once upon a time"


# With the records.


@asynccontextmanager
async def one_of_several(folder: Path, base: str, made: dict[str, Any]) -> AsyncIterator[Stage]:
    """A gateway that tells these records what it finds, and hears from them."""
    async with bringing(folder, base, folder / "players.json") as players, gateway(made, players=players) as g:
        g.plane.log = RequestLog(None, 0.0, outbox=players._outbox)
        await load(g)
        yield Stage(g, players._outbox, {})


async def switched(s: Stage) -> bool:
    return (await s.says()).text == "be calm"


@pytest.mark.slow
async def test_findings_at_several_gateways_count_together_and_hold_at_all_until_somebody_is_let_off(
    tmp_path: Path,
) -> None:
    async with engine() as e, engine(answers_well("be", " calm")) as calm, records(tmp_path, time.time, keys=OLD) as r:
        made = world({"storyteller": [e.port], "calm": [calm.port]}, {"storyteller": [("g0", ladder(SWITCH))]})
        async with (
            one_of_several(tmp_path / "1", r.base, made) as one,
            one_of_several(tmp_path / "2", r.base, made) as other,
        ):
            await one.sins(2)
            await until(lambda: known(r, 2))
            assert not await switched(one)
            await other.sins(1)
            for each in (one, other):
                await until(partial(switched, each))
            assert await lifts(one, "ladder_lifted") == 202
            for each in (one, other):

                async def free(each: Stage = each) -> bool:
                    return not await switched(each)

                await until(free)
            # What led to it counts no more.
            await one.sins(2)
            await until(lambda: known(r, 6))
            assert not await switched(other)
            await one.sins(1)
            await until(lambda: switched(other))
            # Its own count would hold too, so that its answers do not tell whether it has heard of it yet.
            await until(lambda: told_to_hold(one))
        # Who starts anew knows of it from the disk, before the records have said a word.
        players, outbox = alone(tmp_path / "1")
        async with gateway(made, players=players) as g:
            await load(g)
            assert await switched(Stage(g, outbox, {}))
        outbox.close()


async def lifts(s: Stage, kind: str) -> int:
    body = {"session": "evening", "events": [{"event_id": "l", "kind": kind, "at": now()}]}
    return (await ask(s.g.port, body, path=EVENTS)).status


def told_to_hold(s: Stage) -> bool:
    """Whether the records have told this gateway that somebody whom nobody has let off is to be held."""
    states = s.g.plane.players._states.values()  # type: ignore[union-attr]
    return any(hold.since > state.lifted for state in states for hold in state.holds)


async def known(r: Records, number: int) -> bool:
    """Whether the records have so many lines."""
    answer = await r.ask("GET", "/v1/ingest")
    return bool(answer[1]["stored"] >= number)


@pytest.mark.slow
async def test_with_the_records_away_the_gateway_acts_alone_and_all_do_when_they_are_back(tmp_path: Path) -> None:
    async with engine() as e, engine(answers_well("be", " calm")) as calm:
        made = world({"storyteller": [e.port], "calm": [calm.port]}, {"storyteller": [("g0", ladder(SWITCH))]})
        players, outbox = alone(tmp_path / "1")
        async with gateway(made, players=players) as g:
            g.plane.log = RequestLog(None, 0.0, outbox=outbox)
            await load(g)
            s = Stage(g, outbox, {})
            await s.sins()
            assert await switched(s)
        outbox.close()
        async with (
            records(tmp_path, time.time, keys=OLD) as r,
            one_of_several(tmp_path / "1", r.base, made),
            one_of_several(tmp_path / "2", r.base, made) as other,
        ):
            await until(lambda: switched(other))


@pytest.mark.slow
async def test_as_processes_what_one_gateway_finds_holds_at_another(tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "1").write_bytes(b"1" * 32)
    async with engine() as e, records_process(tmp_path, "--auth=none", f"--subject-keys={tmp_path}/keys") as r:
        rung = {**PAUSE, "count": 1}
        made = world({"storyteller": [e.port]}, {"storyteller": [("g0", ladder(rung))]})
        (tmp_path / "world.json").write_bytes(orjson.dumps(made))

        def flags(number: int) -> tuple[str, ...]:
            here = (f"--records-dir={tmp_path}/outbox-{number}", f"--state-dir={tmp_path}/state-{number}")
            return (f"--snapshot={tmp_path}/world.json", f"--records={r.base}", *here)

        async def answers(port: int, status: int) -> bool:
            return (await ask(port, chat(), headers=("x-player-id: anna",))).status == status

        async with process(*flags(1)) as one, process(*flags(2)) as other:
            for each in (one, other):
                await until(partial(answers, each.port, 200))
            await ask(one.port, chat("darn"), headers=("x-player-id: anna",))
            assert await answers(one.port, 429)
            await until(lambda: answers(other.port, 429))
            one.child.kill()
            await one.child.communicate()
        # Its disk, and the records, know of it.
        async with process(*flags(1)) as again:
            await until(lambda: answers(again.port, 429))
