"""`understudy gateway` as a process: files, signals, and what it says when it cannot start."""

import asyncio
import signal
from pathlib import Path
from typing import Any

import orjson
import pytest

from local.ports import free_port
from tests.gateway.clients import ask, chat, client, request
from tests.gateway.engines import Asked, answers_well, engine, holds_streams
from tests.gateway.fakeapi import SECRETS, SLICES, TABLES, fake_api, key_secret, slice_object, table_object
from tests.gateway.gateways import until
from tests.gateway.processes import Process, launch, process
from tests.gateway.test_follow import HASH
from tests.gateway.worlds import CANARY, KEY, MASTER, STABLE, endpoints, shadowed_table, snapshot, table
from understudy.domain.state import parse_state


def written(folder: Path, document: dict[str, Any]) -> str:
    path = folder / "snapshot.json"
    path.write_bytes(orjson.dumps(document))
    return f"--snapshot={path}"


async def readiness(p: Process, status: int) -> None:
    """Wait until `/readyz` says so."""

    async def says() -> bool:
        return (await p.get("/readyz"))[0] == status

    await until(says)


async def test_it_serves_from_a_file_alone(tmp_path: Path) -> None:
    async with engine() as e, process(written(tmp_path, snapshot([table()], [endpoints(STABLE, [e.port])]))) as p:
        assert await p.get("/healthz") == (200, '{"status":"ok"}')
        assert await p.get("/readyz") == (200, '{"ready":true}')
        assert (await ask(p.port)).text == "once upon a time"
        status, state = await p.get("/state")
        assert (status, orjson.loads(state)["deployments"]["default/story"]["revisions"][STABLE]["attempts"]) == (
            200,
            1,
        )


@pytest.mark.slow
async def test_sigterm_lets_streams_end_and_takes_requests_a_little_longer(tmp_path: Path) -> None:
    finish = asyncio.Event()

    async with engine(holds_streams(finish)) as e:
        flags = (written(tmp_path, snapshot([table()], [endpoints(STABLE, [e.port])])), "--grace=3s")
        async with process(*flags, "--shutdown-timeout=60s") as p, client(p.port) as streaming, client(p.port) as idle:
            await streaming.send(request(chat(stream=True)))
            await streaming.until(b"one")
            assert (await idle.ask()).status == 200
            p.child.send_signal(signal.SIGTERM)
            await readiness(p, 503)
            # Unready, but still serving whoever comes; and each answer says good-bye.
            late = await ask(p.port)
            assert (late.status, late.fields["connection"]) == (200, "close")
            kept = await idle.ask()
            assert (kept.status, kept.fields["connection"]) == (200, "close")
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", p.port)
                except ConnectionError:
                    break
                writer.transport.abort()
                await asyncio.sleep(0.02)
            assert p.child.returncode is None
            finish.set()
            answer = await streaming.answer()
            assert (answer.done, answer.complete) == (True, True)
            assert await streaming.ended()
            assert await asyncio.wait_for(p.child.wait(), 60) == 0


@pytest.mark.slow
async def test_the_shutdown_has_an_end(tmp_path: Path) -> None:
    async with engine(answers_well(*["x"] * 100_000, pace=0.05)) as e:
        flags = (written(tmp_path, snapshot([table()], [endpoints(STABLE, [e.port])])), "--grace=0s")
        async with process(*flags, "--shutdown-timeout=300ms") as p, client(p.port) as c:
            await c.send(request(chat(stream=True)))
            await c.until(b"x")
            p.child.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(p.child.wait(), 60) == 0
            assert not (await c.answer()).complete


async def test_an_idle_gateway_stops_at_once(tmp_path: Path) -> None:
    async with process(written(tmp_path, snapshot()), "--grace=0s") as p, client(p.port):
        p.child.send_signal(signal.SIGINT)
        assert await asyncio.wait_for(p.child.wait(), 60) == 0


@pytest.mark.slow
async def test_a_restarted_gateway_serves_what_it_knew_while_the_api_server_is_away(tmp_path: Path) -> None:
    async with engine() as e, fake_api() as api:
        api.put(TABLES, table_object(table()))
        api.put(SLICES, slice_object(endpoints(STABLE, [e.port])))
        api.put(SECRETS, key_secret("key", HASH))
        flags = (f"--api-server={api.url}", f"--state-dir={tmp_path}")
        async with process(*flags) as p:
            await readiness(p, 200)
            assert (await ask(p.port)).status == 200
            await until((tmp_path / "world.json").exists)
            p.child.kill()
            await p.child.wait()
        await api.stop()
        async with process(*flags) as p:
            assert (await p.get("/readyz"))[0] == 200
            assert (await ask(p.port)).status == 200


async def test_a_folder_that_nothing_can_be_written_to_is_named(tmp_path: Path) -> None:
    child = await launch(written(tmp_path, snapshot()), "--port=0", "--admin-port=0", f"--pairs-dir={tmp_path}/none")
    _, errors = await child.communicate()
    assert (child.returncode, f"'{tmp_path}/none/pairs.jsonl'" in errors.decode()) == (1, True)


async def test_texts_of_pairs_are_on_the_disk_when_the_gateway_has_left_and_open_copies_hold_nothing_up(
    tmp_path: Path,
) -> None:
    async def hangs_at_first(asked: Asked) -> None:
        if len(shadow.asked) == 1:
            await asked.closed.wait()
        else:
            await answers_well("twice")(asked)

    async with engine() as stable, engine(hangs_at_first) as shadow:
        slices = [endpoints(STABLE, [stable.port]), endpoints(CANARY, [shadow.port])]
        file = written(tmp_path, snapshot([shadowed_table(text=True)], slices))
        async with process(file, f"--pairs-dir={tmp_path}", "--pairs-size=1Mi", "--grace=0s") as p:
            for number in (1, 2):
                assert (await ask(p.port, x_session_id=f"s{number}")).text == "once upon a time"
                await shadow.request(number)

            async def compared() -> bool:
                state = parse_state(orjson.loads((await p.get("/state"))[1]))
                return state.deployments["default/story"].revisions[CANARY].pairs.count == 1

            await until(compared)
            p.child.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(p.child.wait(), 60) == 0
            await asyncio.wait_for(shadow.asked[0].closed.wait(), 30)
    (line,) = (tmp_path / "pairs.jsonl").read_bytes().splitlines()
    assert orjson.loads(line)["shadow"]["text"] == "twice"


async def test_a_new_gateway_is_not_ready_before_it_knows_anything(tmp_path: Path) -> None:
    async with fake_api() as api:
        api.fail[SLICES] = 500
        kept = tmp_path / "world.json"
        kept.write_text("{")
        async with process(f"--api-server={api.url}", f"--state-dir={tmp_path}") as p:
            assert (await p.get("/readyz"))[0] == 503
            del api.fail[SLICES]
            await readiness(p, 200)


@pytest.mark.parametrize(
    ("flags", "status", "said"),
    [
        ((), 2, "not in a cluster; give --snapshot FILE or --api-server URL"),
        (
            ("--api-server=http://127.0.0.1:9", "--records=http://127.0.0.1:9"),
            2,
            "--records: say with --records-dir DIR where records wait",
        ),
        (("--snapshot=/no/such/file",), 1, "/no/such/file"),
        (("--grace=soon",), 2, "'soon' is not a duration"),
        (("--pairs-size=lots",), 2, "'lots' is not a quantity"),
        (("--pairs-size=0.5",), 2, "0.5: want a whole number of bytes, such as 64Mi"),
    ],
)
async def test_what_cannot_start_says_why(flags: tuple[str, ...], status: int, said: str) -> None:
    child = await launch(*flags)
    _, errors = await child.communicate()
    assert (child.returncode, said in errors.decode()) == (status, True)


@pytest.mark.parametrize("content", ["{", "[]", '{"version":2}', '{"version":1,"tables":[{}]}'])
async def test_a_file_that_is_no_snapshot_is_named(tmp_path: Path, content: str) -> None:
    path = tmp_path / "bad.json"
    path.write_text(content)
    child = await launch(f"--snapshot={path}", f"--port={free_port()}")
    _, errors = await child.communicate()
    assert child.returncode == 2
    assert str(path) in errors.decode()


async def test_no_secret_of_anybody_reaches_an_output(tmp_path: Path) -> None:
    secrets = ("hunter2-prompt", "hunter2-session", "hunter2-player", KEY, "us-hunter2", MASTER.hex())

    async def script(asked: Asked) -> None:
        # What an engine says of a prompt must not be said again where operators look.
        await asked.answer(500, {"error": {"message": f"cannot answer {asked.body['messages']}"}})

    async with engine(script) as e:
        document = snapshot([table()], [endpoints(STABLE, [e.port])])
        async with process(written(tmp_path, document), "--grace=0s", "--log-level=debug") as p:
            body = chat("hunter2-prompt", user="hunter2-player")
            assert (await ask(p.port, body, x_session_id="hunter2-session")).status == 502
            assert (await ask(p.port, body, authorization="Bearer us-hunter2")).status == 401
            seen = [(await p.get(path))[1] for path in ("/state", "/metrics", "/healthz", "/readyz")]
            p.child.send_signal(signal.SIGTERM)
            seen += [said.decode() for said in await p.child.communicate()]
    assert "draining" in seen[-1]
    assert not [secret for secret in secrets for text in seen if secret in text]


@pytest.mark.slow
async def test_a_taken_port_is_named(tmp_path: Path) -> None:
    async with process(written(tmp_path, snapshot())) as p:
        child = await launch(written(tmp_path, snapshot()), f"--admin-port={p.admin}", "--port=0")
        _, errors = await child.communicate()
        assert child.returncode == 1
        assert str(p.admin) in errors.decode()
