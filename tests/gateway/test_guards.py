"""How Guardrails come to a gateway: fetched, compiled elsewhere, kept on the disk, told of."""

import asyncio
import base64
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from tests.gateway.clients import chat, client
from tests.gateway.engines import answers_well, engine
from tests.gateway.fakeapi import fake_api
from tests.gateway.gateways import gateway, until
from tests.gateway.guardrails import InProcess, guard, guarded, load, loader, policy_spec
from tests.gateway.worlds import table, world_of
from understudy.domain.table import Guard
from understudy.gateway import databases, guards, process
from understudy.gateway.databases import Databases
from understudy.gateway.guards import Guards, Loader, _asking
from understudy.gateway.kubeapi import ApiServer
from understudy.gateway.objects import shards_of
from understudy.gateway.snapshot import dump
from understudy.gateway.world import World
from understudy.guard.engines import UnusableError
from understudy.guard.hyperscan_engine import hyperscan_engine
from understudy.guard.needles import Needle, Pattern, PatternError, prepare
from understudy.guard.shards import pack

KEY = "default/story"


def needles(*words: str) -> list[Needle]:
    return [prepare(Pattern("d", word, "c", 6, literal=word), 2048) for word in words]


def told(world: World) -> dict[str, str]:
    return world.guards.told(world.wanted())


def guarding(world: World) -> Any:
    return world.compile().deployments[KEY].guarding


async def test_patterns_are_compiled_in_another_process_once_and_loaded_from_the_disk(tmp_path: Path) -> None:
    folder = tmp_path / "guards"
    await Databases(folder).compile([needles("darn", "heck"), needles("other")])
    assert len(list(folder.glob("*.hs"))) == 2
    matcher = Databases(folder).engine(needles("darn", "heck")).open()
    assert [number for number, _ in matcher.scan("what the " + needles("heck")[0].shape)] == [1]
    matcher.close()
    before = {path: path.stat().st_ino for path in folder.glob("*.hs")}
    await Databases(folder).compile([needles("darn", "heck")])
    assert {path: path.stat().st_ino for path in folder.glob("*.hs")} == before


async def test_what_hyperscan_does_not_take_is_said_by_name(tmp_path: Path) -> None:
    broken = [Needle(Pattern("d", "bad", "c", 6), "plain", "(", 1, False, False)]
    with pytest.raises(PatternError, match="'bad': hyperscan does not take it"):
        await Databases(tmp_path).compile([broken])


async def test_a_compiler_that_dies_is_no_verdict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(UnusableError, match="ended with 1"):
        await Databases(tmp_path).compile([needles("darn")])


async def test_patterns_that_take_too_long_are_said_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(databases, "_SECONDS", 0.0)
    with pytest.raises(PatternError, match="write fewer"):
        await Databases(tmp_path).compile([needles("darn")])


def test_a_damaged_file_is_never_loaded_and_goes(tmp_path: Path) -> None:
    [needle] = needles("darn")
    Databases(tmp_path).make([(("darn", needle.expression),)])
    [path] = tmp_path.glob("*.hs")
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(OSError, match="damaged"):
        Databases(tmp_path).engine([needle])
    assert not path.exists()


def test_of_files_that_nobody_asks_for_a_few_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(databases, "KEPT", 1)
    kept = Databases(tmp_path)
    kept.make([(("a", "a"),), (("b", "b"),), (("a", "a"),)])
    assert len(list(tmp_path.glob("*.hs"))) == 2
    kept._tidy()
    assert len(list(tmp_path.glob("*.hs"))) == 1


async def test_a_gateway_tells_of_each_policy_whether_it_holds() -> None:
    said, shards = guard(policy_spec(), "calm")
    world = world_of({**guarded(1), "tables": [table(guards=[said])], "shards": shards})
    assert told(world) == {said["policy"]: "not loaded yet"}
    assert world.routes.deployments[KEY].unguarded == "calm: not loaded yet"
    changed: list[str] = []
    loads = Loader(world.guards, InProcess(Path()), world.wanted, changed.extend)
    await loads.load()
    assert (told(world), changed) == ({said["policy"]: "loaded"}, [KEY])
    world.guarded(changed)
    assert guarding(world).policies == {"calm": said["policy"]}
    await loads.load()
    assert changed == [KEY]


async def test_a_deployment_goes_on_under_what_it_had_until_the_new_policy_is_loaded() -> None:
    world = world_of(guarded(1, ("calm", policy_spec())))
    loads = Loader(world.guards, InProcess(Path()), world.wanted, world.guarded)
    await loads.load()
    before = guarding(world)
    new, shards = guard(policy_spec("Redact"), "calm")
    world.set_table("default", "story", "uid-1", 2, table(guards=[new])["spec"])
    assert guarding(world) is before
    assert told(world) == {new["policy"]: "not loaded yet"}
    with pytest.raises(FileNotFoundError, match="not in the snapshot"):
        await loads.load()
    assert guarding(world) is before
    for shard in shards:
        world.guards.shards[(shard["namespace"], shard["name"])] = base64.b64decode(shard["data"])
    await loads.load()
    assert guarding(world).policies == {"calm": new["policy"]}
    assert told(world) == {new["policy"]: "loaded"}
    assert [shard["name"] for shard in dump(world)["shards"]] == [shard["name"] for shard in shards]
    world.set_table("default", "story", "uid-1", 3, table()["spec"])
    await loads.load()
    assert (guarding(world), told(world), dump(world)["shards"]) == (None, {}, [])


async def test_parts_are_fetched_once_and_tried_again_while_they_cannot_be_had() -> None:
    said, shards = guard(policy_spec(), "calm")
    world = world_of({**guarded(1), "tables": [table(guards=[said])]})
    asked: list[tuple[str, str]] = []

    async def fetch(namespace: str, name: str) -> bytes:
        asked.append((namespace, name))
        if len(asked) < 2:
            raise OSError("away")
        return base64.b64decode(shards[0]["data"])

    done = asyncio.Event()

    def changed(keys: Any) -> None:
        world.guarded(keys)
        done.set()

    loads = Loader(world.guards, InProcess(Path()), world.wanted, changed, fetch)
    running = asyncio.ensure_future(loads.run())
    await asyncio.wait_for(done.wait(), 60)
    assert asked == [("default", said["shards"][0])] * 2
    done.clear()
    world.set_table("default", "story", "uid-1", 2, table(guards=[{**said, "revokeBefore": "0" * 64}])["spec"])
    loads.look()
    await asyncio.wait_for(done.wait(), 60)
    assert len(asked) == 2
    running.cancel()


async def test_two_deployments_under_the_same_guardrails_share_what_was_compiled() -> None:
    said, shards = guard(policy_spec(), "calm")
    tables = [table(guards=[said]), table(name="tale", names=("tale",), guards=[said])]
    world = world_of({**guarded(1), "tables": tables, "shards": shards})
    await Loader(world.guards, InProcess(Path()), world.wanted, world.guarded).load()
    entries = world.compile().deployments
    assert entries[KEY].guarding is entries["default/tale"].guarding


@pytest.mark.parametrize(("fail_open", "unguarded"), [(False, True), (True, False)])
async def test_a_policy_that_no_engine_takes_is_refused_and_says_why(
    fail_open: bool, unguarded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Refusing(InProcess):
        async def compile(self, several: Any) -> None:
            raise PatternError("odd")

    def refuses(needles: Any) -> Any:
        raise PatternError("too odd")

    monkeypatch.setattr("understudy.gateway.guards.PortableEngine", refuses)
    said, shards = guard(policy_spec(), "calm", failOpen=fail_open)
    async with gateway({**guarded(1), "tables": [table(guards=[said])], "shards": shards}) as g:
        await loader(g, Refusing(Path())).load()
        assert told(g.world) == {said["policy"]: "too odd"}
        assert bool(g.world.compile().deployments[KEY].unguarded) is unguarded


def dies(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    return "the process in which hyperscan compiles patterns ended with 1"


def lacks(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setitem(sys.modules, "understudy.guard.hyperscan_engine", None)
    return "hyperscan cannot be loaded here (import of understudy.guard.hyperscan_engine halted; None in sys.modules)"


def takes_too_long(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(databases, "_SECONDS", 0.0)
    return "they take more than 0 s to compile: write fewer, or simpler ones"


@pytest.mark.parametrize("trouble", [dies, lacks, takes_too_long])
async def test_where_hyperscan_cannot_be_had_the_portable_engine_looks_and_that_is_told(
    trouble: Callable[[pytest.MonkeyPatch], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    why = f"{trouble(monkeypatch)}; the portable engine finds the same, and takes longer"
    async with (
        engine(answers_well("well, da", "rn it")) as server,
        gateway(guarded(server.port, ("calm", policy_spec("Redact")))) as g,
        client(g.port) as c,
    ):
        await load(g, Databases(tmp_path))
        [policy] = told(g.world)
        assert told(g.world) == {policy: "loaded"}
        [(name, state)] = g.world.guards.portable().items()
        assert (name, state.why) == (f"default/calm/{policy}/", why)
        assert abs(time.time() - state.since) < 3600
        assert g.plane.gauges()["understudy_guard_portable_deployments"][1] == {"": 1}
        assert (await c.ask(chat(stream=True))).text == "well, [rude] it"


async def test_where_hyperscan_looks_nothing_is_told_of_engines() -> None:
    async with gateway(guarded(1, ("calm", policy_spec()))) as g:
        await load(g)
        assert g.world.guards.portable() == {}
        assert g.plane.gauges()["understudy_guard_portable_deployments"][1] == {"": 0}


async def test_what_is_put_in_place_of_a_wrong_part_is_taken_before_the_table_changes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(guards, "_FIRST_PATIENCE", 0.001)
    said, shards = guard(policy_spec(), "calm")
    world = world_of({**guarded(1), "tables": [table(guards=[said])]})
    right, parts = base64.b64decode(shards[0]["data"]), [b"junk"] * 3
    loaded, changes = asyncio.Event(), []

    async def fetch(namespace: str, name: str) -> bytes:
        if not parts:
            return right
        if len(parts) == 1:
            parts.clear()
            raise OSError("it is just being made again")
        return parts.pop()

    def changed(keys: Iterable[str]) -> None:
        world.guarded(keys)
        changes.append(told(world)[said["policy"]])
        if changes[-1] == "loaded":
            loaded.set()

    loads = Loader(world.guards, InProcess(Path()), world.wanted, changed, fetch)
    running = asyncio.ensure_future(loads.run())
    await asyncio.wait_for(loaded.wait(), 30)
    assert guarding(world).policies == {"calm": said["policy"]}
    # Of what is as wrong as before nobody is told again.
    assert [change[:6] for change in changes] == ["part 0", "loaded"]
    assert loads._again == set()
    running.cancel()


async def test_between_looks_at_what_was_refused_there_is_ever_more_time_but_a_minute_at_most(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waits: list[float | None] = []

    def at_once(seconds: float | None) -> asyncio.Timeout:
        waits.append(seconds)
        return timeout(0)

    timeout = asyncio.timeout
    monkeypatch.setattr(asyncio, "timeout", at_once)
    said, _ = guard(policy_spec(), "calm")
    world = world_of({**guarded(1), "tables": [table(guards=[said])]})
    enough = asyncio.Event()

    async def fetch(namespace: str, name: str) -> bytes:
        if len(waits) == 9:
            enough.set()
        return b"junk"

    loads = Loader(world.guards, InProcess(Path()), world.wanted, world.guarded, fetch)
    running = asyncio.ensure_future(loads.run())
    await enough.wait()
    running.cancel()
    assert waits[:9] == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0]


async def test_what_a_snapshot_has_wrong_is_not_looked_for_again() -> None:
    said, _ = guard(policy_spec(), "calm")
    world = world_of({**guarded(1), "tables": [table(guards=[said])]})
    world.guards.shards[("default", said["shards"][0])] = b"junk"
    loads = Loader(world.guards, InProcess(Path()), world.wanted, world.guarded)
    running = asyncio.ensure_future(loads.run())
    await asyncio.wait_for(loads.settle(), 60)
    assert world.guards.shards[("default", said["shards"][0])] == b"junk"
    running.cancel()


async def test_policies_that_come_together_are_set_aside_together(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []

    class Collector:
        def __getattr__(self, name: str) -> Callable[[], None]:
            return lambda: calls.append(name)

    monkeypatch.setattr(process, "gc", Collector())
    monkeypatch.setattr(process, "_TOGETHER_SECONDS", 0.0)
    station = process.Station(process.Settings())
    for _ in range(2):
        station._guarded(())
        station._guarded(())
        await until(lambda: station._setting_aside is None)
    assert calls == ["unfreeze", "collect", "freeze"] * 2


@pytest.mark.parametrize("data", [b"junk", b""])
async def test_parts_that_are_none_are_refused(data: bytes) -> None:
    said, _ = guard(policy_spec(), "calm")
    world = world_of({**guarded(1), "tables": [table(guards=[said])]})
    world.guards.shards[("default", said["shards"][0])] = data
    await Loader(world.guards, InProcess(Path()), world.wanted, world.guarded).load()
    assert told(world)[said["policy"]].startswith("part 0")
    assert world.compile().deployments[KEY].unguarded.startswith("calm: part 0")


async def test_a_spec_that_is_none_is_refused() -> None:
    spec: dict[str, Any] = policy_spec()
    said, _ = guard(spec, "calm")
    world = world_of({**guarded(1), "tables": [table(guards=[said])]})
    [part] = pack("calm", {"rules": [{"nothing": 1}]}, {})
    world.guards.shards[("default", said["shards"][0])] = part
    await Loader(world.guards, InProcess(Path()), world.wanted, world.guarded).load()
    assert "not that of a Guardrail" in told(world)[said["policy"]]


async def test_detectors_are_followed_of_policies_that_hold_and_for_a_while_of_those_that_held(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    judge = {"name": "fms", "type": "fms", "url": "http://fms:8000", "canary": {"found": "oh darn"}}
    spec = policy_spec()
    said, shards = guard({**spec, "detectors": [*spec["detectors"], judge]}, "calm")
    world = world_of({**guarded(1), "tables": [table(guards=[said])], "shards": shards})
    followed: list[Any] = []
    loads = Loader(world.guards, InProcess(Path()), world.wanted, world.guarded, follow=followed.append)
    await loads.load()
    key = f"default/calm/{said['policy']}"
    namespace, policy = followed[-1][key]
    assert (namespace, [each.name for each in policy.judges]) == ("default", ["calm/fms"])
    world.set_table("default", "story", "uid-1", 2, table()["spec"])
    await loads.load()
    assert list(followed[-1]) == [key]
    monkeypatch.setattr("understudy.gateway.guards.PINNED", -1.0)
    await loads.load()
    assert followed[-1] == {}


def test_streams_are_revoked_that_began_under_a_policy_as_old_as_the_one_named_or_of_unknown_age() -> None:
    guards = Guards(loaded={("default", "calm"): ["a", "b", "c", "d"]})
    now = Guard("calm", "d", ("s",), revoke_before="b")
    assert [guards.revokes("default", now, policy) for policy in "abcdx"] == [True, True, False, False, True]
    assert guards.revokes("default", Guard("calm", "d", ("s",), revoke_before="x"), "c")
    assert not guards.revokes("default", Guard("calm", "d", ("s",)), "a")


async def test_a_gateway_that_starts_without_an_api_server_enforces_what_it_knew(tmp_path: Path) -> None:
    async with gateway(guarded(1, ("calm", policy_spec()))) as g:
        await load(g)
        document = dump(g.world)
    again = world_of(document)
    await Loader(again.guards, InProcess(tmp_path), again.wanted, again.guarded).load()
    assert guarding(again).policies["calm"] == document["tables"][0]["spec"]["guards"][0]["policy"]


def test_the_stand_in_for_an_engine_judges_nothing() -> None:
    asked: list[Any] = []
    engine = _asking(asked)(needles("a"))
    with pytest.raises(NotImplementedError):
        engine.open()
    assert hyperscan_engine(needles("a")) is not None


async def test_whoever_waits_for_guardrails_waits_until_they_are_loaded_or_cannot_be_for_now() -> None:
    world = world_of(guarded(1, ("calm", policy_spec())))
    loads = Loader(world.guards, InProcess(Path()), world.wanted, world.guarded)
    running = asyncio.ensure_future(loads.run())
    await asyncio.wait_for(loads.settle(), 60)
    assert set(told(world).values()) == {"loaded"}
    world.set_table("default", "story", "uid-1", 2, table(guards=[guard(policy_spec("Redact"), "calm")[0]])["spec"])
    await asyncio.wait_for(loads.settle(), 60)
    [why] = told(world).values()
    assert why.startswith("not loaded yet: ConfigMap default/understudy-guard-")
    running.cancel()


async def test_parts_are_read_by_their_names_alone() -> None:
    async with fake_api() as api:
        fetch = shards_of(ApiServer(api.url))
        path = "/api/v1/namespaces/team/configmaps/part-0"
        with pytest.raises(OSError, match="ConfigMap team/part-0: 404"):
            await fetch("team", "part-0")
        for unreadable in ({}, {"binaryData": {"policy": "!"}}):
            api.single[path] = {"metadata": {"name": "part-0"}, **unreadable}
            with pytest.raises(OSError, match=r"has no binaryData\.policy"):
                await fetch("team", "part-0")
        api.single[path] = {"binaryData": {"policy": base64.b64encode(b"part").decode()}}
        assert await fetch("team", "part-0") == b"part"
