"""`understudy sim` as a process: flags, environment, signals, crashes, and many streams at once."""

import argparse
import asyncio
import signal
import sys
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from local.ports import free_port
from tests.gateway.certificates import certify
from tests.sim.engines import KEY, LAUNCH, OPERATOR, process
from understudy.cli import sim

BODY: dict[str, Any] = {"model": "sim", "messages": [{"role": "user", "content": "hi"}], "stream": True}


def arguments(*flags: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    sim.add_arguments(parser)
    return parser.parse_args(flags)


async def stream(session: aiohttp.ClientSession, base: str, **more: Any) -> str:
    async with session.post(f"{base}/v1/chat/completions", json={**BODY, **more}) as answer:
        return (await answer.read()).decode()


async def test_flags_win_over_environment() -> None:
    flags = ("--text=from a flag", "--first-token=0", "--model-id=m", "--root=/r", "--max-model-len=99")
    started = process(*flags, SIM_TEXT="from the environment", SIM_TOKENS="3")
    async with started as (base, _), aiohttp.ClientSession() as session:
        async with session.get(f"{base}/admin/behaviour") as answer:
            knobs = await answer.json()
            assert answer.headers["x-sim-pod"] == "pod-2"
        async with session.get(f"{base}/v1/models") as answer:
            card = (await answer.json())["data"][0]
    assert (knobs["text"], knobs["tokens"]) == ("from a flag", 3)
    assert (card["id"], card["root"], card["max_model_len"]) == ("m", "/r", 99)


@pytest.mark.slow
async def test_sustains_two_hundred_streams() -> None:
    unbounded = aiohttp.TCPConnector(limit=0)
    async with (
        process("--first-token=0.1", "--inter-token=0.01", "--tokens=20") as (base, _),
        aiohttp.ClientSession(connector=unbounded) as session,
    ):
        answers = await asyncio.gather(*(stream(session, base) for _ in range(200)))
    assert all(text.endswith("data: [DONE]\n\n") for text in answers)


@pytest.mark.slow
async def test_sigterm_lets_streams_end_and_takes_nothing_new() -> None:
    flags = ("--tokens=10", "--first-token=0", "--inter-token=0.1", "--jitter=0", "--shutdown-timeout=60")
    async with process(*flags) as (base, child), aiohttp.ClientSession() as session:
        async with session.post(f"{base}/v1/chat/completions", json=BODY) as answer:
            await answer.content.readany()
            child.send_signal(signal.SIGTERM)
            text = (await answer.read()).decode()
        assert text.endswith("data: [DONE]\n\n")
        assert await asyncio.wait_for(child.wait(), 60) == 0
        with pytest.raises(aiohttp.ClientConnectionError):
            await session.get(f"{base}/health")


async def test_sigterm_without_a_timeout_cuts_streams() -> None:
    async with process("--tokens=1000", "--inter-token=1") as (base, child), aiohttp.ClientSession() as session:
        async with session.post(f"{base}/v1/chat/completions", json=BODY) as answer:
            await answer.content.readany()
            child.send_signal(signal.SIGTERM)
            with pytest.raises(aiohttp.ClientPayloadError):
                await answer.read()
        assert await asyncio.wait_for(child.wait(), 60) == 0


async def test_a_crash_exits_non_zero_and_resets_streams() -> None:
    flags = ("--crash=2", "--tokens=1000", "--inter-token=1")
    async with process(*flags) as (base, child), aiohttp.ClientSession() as session:
        async with session.post(f"{base}/v1/chat/completions", json=BODY) as answer:
            await answer.content.readany()
            with pytest.raises(aiohttp.ClientError):
                await stream(session, base)
            with pytest.raises(aiohttp.ClientError):
                await answer.read()
        assert await asyncio.wait_for(child.wait(), 60) == 3


async def turned(port: int, knobs: str, key: str, *flags: str) -> tuple[int | None, str]:
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", LAUNCH, f"--port={port}", "--set", knobs, *flags,
        env={"PYTHONPATH": OPERATOR, "VLLM_API_KEY": key},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    output, _ = await child.communicate()
    return child.returncode, output.decode()


@pytest.mark.slow
async def test_the_command_turns_the_knobs_of_a_running_engine() -> None:
    async with process(VLLM_API_KEY=KEY) as (base, _):
        port = int(base.rsplit(":", 1)[1])
        assert (await turned(port, '{"text": "new words"}', KEY))[1].count("new words") == 1
        status, said = await turned(port, '{"speed": 1}', KEY)
        assert status == 2
        assert said.startswith("understudy sim: speed: no such knob; there are startDelay, firstToken,")
        assert (await turned(port, "{}", "wrong"))[0] == 2
    assert (await turned(free_port(), "{}", ""))[0] == 1


@pytest.mark.slow
async def test_the_command_turns_the_knobs_of_an_engine_with_tls_by_its_own_files(tmp_path: Path) -> None:
    trust = certify(tmp_path, "engine")
    trust.load_cert_chain(tmp_path / "tls.crt", tmp_path / "tls.key")
    shown = (f"--ssl-certfile={tmp_path}/tls.crt", f"--ssl-keyfile={tmp_path}/tls.key")
    asks = (f"--ssl-ca-certs={tmp_path}/tls.crt", "--ssl-cert-reqs=2")
    trust.check_hostname = False
    async with process(*shown, *asks, tls=trust, VLLM_API_KEY=KEY) as (base, _):
        port = int(base.rsplit(":", 1)[1])
        assert (await turned(port, '{"text": "new words"}', KEY, *shown))[1].count("new words") == 1
        assert (await turned(port, "{}", KEY))[0] == 1


def test_tls_without_its_files_is_an_error_at_the_start(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert sim.run(arguments(f"--ssl-certfile={tmp_path}/tls.crt")) == 2
    assert capsys.readouterr().err.startswith(
        f"understudy sim: {tmp_path}/tls.crt, {tmp_path}/tls.crt, no authorities:"
    )


def test_a_crash_at_start_serves_nothing() -> None:
    assert sim.run(arguments("--crash=now")) == 3


def test_a_bad_knob_is_named(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIM_JITTER", "9")
    assert sim.run(arguments()) == 2
    assert capsys.readouterr().err == "understudy sim: jitter: want a number from 0 to 1, got 9\n"
