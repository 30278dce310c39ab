"""`understudy gateway --workers`: several processes, one port, one `/state`."""

import asyncio
import os
import re
import signal
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import orjson
import pytest

from tests.gateway.certificates import certify
from tests.gateway.clients import Client, ask, chat, client, request
from tests.gateway.engines import answers_well, engine, holds_streams
from tests.gateway.fakeapi import SECRETS, SLICES, TABLES, FakeApi, fake_api, key_secret, slice_object, table_object
from tests.gateway.gateways import DEPLOYMENT, until
from tests.gateway.guardrails import guard, policy_spec
from tests.gateway.processes import Process, launch, process
from tests.gateway.test_follow import HASH
from tests.gateway.test_process import readiness, written
from tests.gateway.worlds import CANARY, STABLE, endpoints, snapshot, table
from understudy.cli.main import main
from understudy.domain.state import DeploymentState, GatewayState, Guarded, parse_state


def workers_of(p: Process) -> dict[int, int]:
    """Process ids of the living workers, by place."""
    children = Path(f"/proc/{p.child.pid}/task/{p.child.pid}/children").read_text().split()
    found = {}
    for child in map(int, children):
        try:
            place = re.search(rb"--worker=(\d+)/", Path(f"/proc/{child}/cmdline").read_bytes())
        except (FileNotFoundError, ProcessLookupError):
            continue  # It has ended since it was listed.
        if place is not None:
            found[int(place[1])] = child
    return found


async def whole_state(p: Process) -> GatewayState:
    status, body = await p.get("/state")
    assert status == 200
    return parse_state(orjson.loads(body))


async def state(p: Process) -> DeploymentState:
    return (await whole_state(p)).deployments[DEPLOYMENT]


async def metric(p: Process, name: str) -> float:
    lines = (await p.get("/metrics"))[1].splitlines()
    return next(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(f"{name} "))


@asynccontextmanager
async def two(*flags: str) -> AsyncIterator[Process]:
    """A gateway of two workers that take requests. Who was stopped goes on at the end, or it could not end."""
    async with process("--workers=2", "--grace=0s", *flags) as p:
        await readiness(p, 200)
        try:
            yield p
        finally:
            if p.child.returncode is None:
                for pid in workers_of(p).values():
                    os.kill(pid, signal.SIGCONT)


@asynccontextmanager
async def followed(api: FakeApi, ports: dict[str, int], *flags: str) -> AsyncIterator[Process]:
    """Two workers that follow `api`, in which each revision has one engine."""
    for revision, port in ports.items():
        api.put(SLICES, slice_object(endpoints(revision, [port])))
    api.put(SECRETS, key_secret("key", HASH))
    async with two(f"--api-server={api.url}", *flags) as p:
        yield p


async def replaced(p: Process, place: int, before: int) -> None:
    """Wait until another process takes requests in the place of `before`."""
    await until(lambda: workers_of(p).get(place, before) != before)

    async def serves() -> bool:
        return (await state(p)).table_uid != ""

    await until(serves)


class Load:
    """Clients that ask again and again; one that loses its connection connects again, and `lost` counts that."""

    def __init__(self, port: int, clients: int) -> None:
        self.answered = 0
        self.lost = 0
        self._over = asyncio.Event()
        self._port = port
        self._tasks = [asyncio.ensure_future(self._ask_on(number)) for number in range(clients)]

    async def _ask_on(self, number: int) -> None:
        while not self._over.is_set():
            async with client(self._port) as c:
                try:
                    await self._ask_by(c, number)
                except (ConnectionError, RuntimeError):
                    # The latter is uvloop's, of a connection that ended between two requests.
                    self.lost += 1

    async def _ask_by(self, c: Client, number: int) -> None:
        answer = None
        while not self._over.is_set():
            before, answer = answer, await c.ask(chat(stream=number % 2 == 0), x_session_id=str(number))
            if answer is before or not answer.complete:  # the connection ended before, or within, an answer
                raise ConnectionResetError
            assert answer.status == 200
            self.answered += 1

    async def stop(self) -> None:
        self._over.set()
        await asyncio.gather(*self._tasks)


@pytest.mark.slow
async def test_workers_serve_one_port_and_are_told_of_as_one_gateway(tmp_path: Path) -> None:
    async with engine() as e, two(written(tmp_path, snapshot([table()], [endpoints(STABLE, [e.port])]))) as p:
        begun = await whole_state(p)
        # Whoever does not answer leaves what comes to the other one: each has a share in what is counted.
        for pid in workers_of(p).values():
            os.kill(pid, signal.SIGSTOP)
            for _ in range(5):
                assert (await ask(p.port)).status == 200
            os.kill(pid, signal.SIGCONT)
        now = await whole_state(p)
        assert (now.start_id, now.uptime > begun.uptime) == (begun.start_id, True)
        story = now.deployments[DEPLOYMENT]
        assert (story.table_uid, story.table_generation, story.epoch) == ("uid-1", 1, 1)
        told = story.revisions[STABLE]
        assert (told.attempts, told.tokens_in, told.open_requests, told.usable_endpoints) == (10, 70, 0, 1)
        lines = (await p.get("/metrics"))[1].splitlines()
        assert f'understudy_attempts_total{{deployment="{DEPLOYMENT}",revision="{STABLE}"}} 10.0' in lines
        await until(lambda: _is(p, "understudy_answered_total", 10.0))
        assert "understudy_workers 2.0" in lines
        # Two workers with nothing to do: it does not move.
        assert parse_state(orjson.loads((await p.get("/state?rollouts=active"))[1])).deployments == {}


async def _is(p: Process, name: str, value: float) -> bool:
    return await metric(p, name) == value


@pytest.mark.slow
async def test_a_conversation_over_many_connections_gives_the_samples_of_one(tmp_path: Path) -> None:
    document = snapshot([table(salt=CANARY)], [endpoints(STABLE, [9])])
    async with engine() as e:
        document["endpoints"] = [endpoints(STABLE, [e.port])]
        async with two(written(tmp_path, document)) as p:
            for pid in (*workers_of(p).values(), *workers_of(p).values()):
                os.kill(pid, signal.SIGSTOP)
                assert (await ask(p.port, x_session_id="one")).status == 200
                os.kill(pid, signal.SIGCONT)
            told = (await state(p)).revisions[STABLE]
            # Two, if ten seconds were over in between.
            assert (told.attempts, told.sample.attempts in (1, 2)) == (4, True)


@pytest.mark.slow
async def test_killed_workers_take_nothing_with_them_that_was_counted_and_nobody_elses_connection(
    tmp_path: Path,
) -> None:
    kills = 3
    async with (
        engine(answers_well("a", "b", pace=0.001)) as e,
        two(written(tmp_path, snapshot([table()], [endpoints(STABLE, [e.port])]))) as p,
    ):
        load = Load(p.port, 8)
        last = 0
        for _ in range(kills):
            seen = load.answered
            await until(lambda seen=seen: load.answered >= seen + 100)  # type: ignore[misc]
            # The one that most clients are connected to: which one that is, is chance.
            mine, place, pid = max((_connections(p.port, pid), place, pid) for place, pid in workers_of(p).items())
            assert mine
            lost = load.lost
            os.kill(pid, signal.SIGKILL)
            while workers_of(p).get(place, pid) == pid:
                now = (await state(p)).revisions[STABLE].attempts
                assert now >= last
                last = now
            await replaced(p, place, pid)
            assert load.lost - lost <= mine
        await load.stop()
        assert load.lost

        async def quiet() -> bool:
            return (await state(p)).revisions[STABLE].open_requests == 0

        await until(quiet)
        told = (await state(p)).revisions[STABLE]
        # What a client got was counted, and nothing that the engine was not asked. (One that was cut may be either.)
        assert load.answered <= told.attempts <= len(e.asked)
        assert len(e.asked) - load.answered <= load.lost
        assert told.failed == 0
        assert await metric(p, 'understudy_worker_deaths_total{kind="killed"}') == kills


def _connections(port: int, pid: int) -> int:
    """How many connections to `port` a process holds."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    served = {row[9] for row in rows if row[1].endswith(f":{port:04X}") and row[3] == "01"}
    links = []
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            links.append(str(entry.readlink()))
        except FileNotFoundError:
            continue
    return sum(f"socket:[{inode}]" in links for inode in served)


@pytest.mark.slow
async def test_whoever_has_connected_when_a_worker_dies_is_served_by_another(tmp_path: Path) -> None:
    async with engine() as e, two(written(tmp_path, snapshot([table()], [endpoints(STABLE, [e.port])]))) as p:
        pids = workers_of(p)
        for pid in pids.values():
            os.kill(pid, signal.SIGSTOP)
        waiting = [asyncio.ensure_future(ask(p.port)) for _ in range(50)]
        await asyncio.sleep(0.2)
        os.kill(pids[0], signal.SIGKILL)
        os.kill(pids[1], signal.SIGCONT)
        assert [answer.status for answer in await asyncio.gather(*waiting)] == [200] * 50


@pytest.mark.slow
async def test_a_table_is_served_by_only_when_every_worker_serves_by_it() -> None:
    async with engine() as stable, engine() as candidate, fake_api() as api:
        api.put(TABLES, table_object(table({STABLE: 100, CANARY: 0})))
        async with followed(api, {STABLE: stable.port, CANARY: candidate.port}) as p:
            assert (await state(p)).table_generation == 1
            pids = workers_of(p)
            os.kill(pids[1], signal.SIGSTOP)
            api.put(TABLES, table_object(table({STABLE: 0, CANARY: 100})))

            async def one_has_it() -> bool:
                return (await ask(p.port)).fields["x-understudy-revision"] == CANARY

            await until(one_has_it)
            told = await state(p)
            assert (told.table_uid, told.table_generation) == ("", 1)
            os.kill(pids[1], signal.SIGCONT)

            async def both_have_it() -> bool:
                return (await state(p)).table_generation == 2

            await until(both_have_it)
            assert (await state(p)).table_uid != ""
            # So it is with a worker that has only just begun; this one cannot know of tables before it may.
            api.fail[TABLES] = 500
            os.kill(pids[0], signal.SIGKILL)

            async def unsure() -> bool:
                return (await state(p)).table_uid == ""

            await until(unsure)
            del api.fail[TABLES]
            await replaced(p, 0, pids[0])
            assert (await state(p)).table_generation == 2


@pytest.mark.slow
async def test_flips_under_load_hold_for_every_request_once_state_has_told_of_them() -> None:
    async with (
        engine(answers_well("a", "b")) as stable,
        engine(answers_well("c", "d")) as candidate,
        fake_api() as api,
    ):
        api.put(TABLES, table_object(table({STABLE: 100, CANARY: 0})))
        async with followed(api, {STABLE: stable.port, CANARY: candidate.port}) as p:
            load = Load(p.port, 4)
            for flip in range(50):
                weights = {STABLE: 0, CANARY: 100} if flip % 2 == 0 else {STABLE: 100, CANARY: 0}
                api.put(TABLES, table_object(table(weights)))

                async def served(generation: int = flip + 2) -> bool:
                    return (await state(p)).table_generation == generation

                await until(served)
                assert (await state(p)).table_uid != ""
                answers = await asyncio.gather(*(ask(p.port) for _ in range(6)))
                wanted = CANARY if flip % 2 == 0 else STABLE
                assert {answer.fields["x-understudy-revision"] for answer in answers} == {wanted}
            await load.stop()
            assert load.lost == 0
            end = await state(p)
            assert load.answered > 50
            assert sum(r.attempts for r in end.revisions.values()) == load.answered + 50 * 6
            assert sum(r.failed for r in end.revisions.values()) == 0


@pytest.mark.slow
async def test_a_worker_that_stands_still_is_killed_and_started_again(tmp_path: Path) -> None:
    document = snapshot([table()], [endpoints(STABLE, [9])])
    async with engine() as e:
        document["endpoints"] = [endpoints(STABLE, [e.port])]
        async with two(written(tmp_path, document), "--hung-after=4s") as p:
            pid = workers_of(p)[0]
            os.kill(pid, signal.SIGSTOP)
            while workers_of(p).get(0) == pid:
                assert (await ask(p.port)).status == 200
            await replaced(p, 0, pid)
            assert await metric(p, 'understudy_worker_deaths_total{kind="hung"}') == 1
            assert (await p.get("/readyz"))[0] == 200


@pytest.mark.slow
async def test_sigterm_lets_the_streams_of_all_workers_end(tmp_path: Path) -> None:
    finish = asyncio.Event()

    async with (
        engine(holds_streams(finish)) as e,
        two(written(tmp_path, snapshot([table()], [endpoints(STABLE, [e.port])])), "--shutdown-timeout=60s") as p,
    ):
        streams: list[Client] = []
        pids = workers_of(p)
        for pid in pids.values():
            os.kill(pid, signal.SIGSTOP)
            async with asyncio.timeout(120):
                reader, writer = await asyncio.open_connection("127.0.0.1", p.port)
                streams.append(Client(reader, writer))
                await streams[-1].send(request(chat(stream=True)))
                await streams[-1].until(b"one")
            os.kill(pid, signal.SIGCONT)
        assert (await state(p)).revisions[STABLE].open_requests == 2
        p.child.send_signal(signal.SIGTERM)
        await readiness(p, 503)
        await until(lambda: _refused(p.port))
        assert (await state(p)).revisions[STABLE].open_requests == 2
        finish.set()
        for stream in streams:
            answer = await stream.answer()
            assert (answer.done, answer.complete) == (True, True)
            stream.writer.transport.abort()
        assert await asyncio.wait_for(p.child.wait(), 60) == 0


async def _refused(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except ConnectionError:
        return True
    writer.transport.abort()
    return False


@pytest.mark.slow
async def test_a_worker_starts_again_from_what_another_has_kept_while_the_api_server_is_away(tmp_path: Path) -> None:
    async with engine() as e, fake_api() as api:
        api.put(TABLES, table_object(table()))
        async with followed(api, {STABLE: e.port}, f"--state-dir={tmp_path}") as p:
            await until((tmp_path / "world.json").exists)
            await api.stop()
            for place, pid in workers_of(p).items():
                os.kill(pid, signal.SIGKILL)
                await replaced(p, place, pid)
            assert (await ask(p.port)).status == 200
            assert (await p.get("/readyz"))[0] == 200


@pytest.mark.slow
async def test_every_worker_takes_a_renewed_certificate(tmp_path: Path) -> None:
    trust = certify(tmp_path, "first")
    async with (
        engine() as e,
        two(
            written(tmp_path, snapshot([table()], [endpoints(STABLE, [e.port])])), f"--tls-dir={tmp_path}",
        ) as p,
    ):  # fmt: skip
        async with client(p.port, trust) as c:
            assert (await c.ask()).status == 200
        second = certify(tmp_path, "second")

        async def all_have_it() -> bool:
            return await metric(p, 'understudy_tls_pairs_taken_total{kind="clients"}') == 4

        await until(all_have_it)
        for pid in workers_of(p).values():
            os.kill(pid, signal.SIGSTOP)
            async with client(p.port, second) as c:
                assert (await c.ask()).status == 200
            with pytest.raises(ssl.SSLCertVerificationError):
                async with client(p.port, trust):
                    pass
            os.kill(pid, signal.SIGCONT)


@pytest.mark.slow
async def test_workers_end_with_their_parent_and_leave_the_port(tmp_path: Path) -> None:
    async with two(written(tmp_path, snapshot())) as p:
        pids = workers_of(p)
        p.child.kill()
        await p.child.wait()
        await until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids.values()))
        assert await _refused(p.port)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("flags", "status", "said"),
    [
        (("--pairs-dir=/no/such/folder",), 1, "/no/such/folder/pairs.jsonl"),
        (("--snapshot={bad}",), 2, "bad.json: not JSON"),
    ],
)
async def test_workers_that_cannot_start_end_the_gateway_with_a_sentence(
    tmp_path: Path, flags: tuple[str, ...], status: int, said: str
) -> None:
    bad = tmp_path / "bad.json"
    bad.write_text("{")
    given = [flag.format(bad=bad) for flag in flags]
    child = await launch(
        written(tmp_path, snapshot()), "--workers=2", "--port=0", "--admin-port=0", "--host=127.0.0.1", *given
    )
    _, errors = await asyncio.wait_for(child.communicate(), 60)
    text = errors.decode()
    assert child.returncode == status
    assert said in text
    assert re.search(rf"understudy gateway: worker \d could not start \(exit status {status}\)", text)


@pytest.mark.slow
async def test_a_taken_port_is_named_by_the_parent(tmp_path: Path) -> None:
    async with process(written(tmp_path, snapshot())) as p:
        child = await launch(written(tmp_path, snapshot()), f"--admin-port={p.admin}", "--port=0", "--workers=2")
        _, errors = await child.communicate()
        assert (child.returncode, str(p.admin) in errors.decode()) == (1, True)


@pytest.mark.parametrize("number", ["0", "65", "two", "-1"])
def test_a_number_of_workers_that_cannot_be_says_what_can(number: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["gateway", f"--workers={number}"])
    assert ended.value.code == 2
    assert f"{number}: want a whole number from 1 to 64" in capsys.readouterr().err


@pytest.mark.slow
async def test_workers_enforce_guardrails_count_together_and_need_no_api_server_to_go_on(tmp_path: Path) -> None:
    said, shards = guard(policy_spec(), "calm")
    body = chat(stream=True)
    async with engine(answers_well("so darn", " it")) as e:
        async with fake_api() as api:
            api.put(TABLES, table_object(table(guards=[said])))
            for shard in shards:
                path = f"/api/v1/namespaces/default/configmaps/{shard['name']}"
                api.single[path] = {"binaryData": {"policy": shard["data"]}}
            async with followed(api, {STABLE: e.port}, f"--state-dir={tmp_path}") as p:
                assert (await whole_state(p)).guards == {said["policy"]: "loaded"}
                for pid in (*workers_of(p).values(), *workers_of(p).values()):
                    os.kill(pid, signal.SIGSTOP)
                    assert (await ask(p.port, body)).text == "so "
                    os.kill(pid, signal.SIGCONT)
                counted = Guarded(turns=4, found={"calm/rude/6": 4}, acted=4)
                assert (await state(p)).revisions[STABLE].guard == counted
                before = workers_of(p)[0]
                os.kill(before, signal.SIGKILL)
                await replaced(p, 0, before)
                assert (await state(p)).revisions[STABLE].guard == counted
                kept = tmp_path / "world.json"
                await until(lambda: kept.exists() and b'"shards":[{' in kept.read_bytes())
        # Nobody is there to be asked any more; the file and the compiled patterns are.
        async with two(f"--api-server={api.url}", f"--state-dir={tmp_path}") as p:
            assert (await ask(p.port, body)).text == "so "
