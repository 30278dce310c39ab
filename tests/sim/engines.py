"""A simulated engine on a loopback port, in this process or in one of its own."""

import asyncio
import os
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp.test_utils import TestServer

from local.ports import free_port
from understudy.sim.answers import Served
from understudy.sim.behaviour import Behaviour, changed
from understudy.sim.server import Identity, Simulator

KEY = "k" * 16
QUICK = {"firstToken": 0, "interToken": 0}
OPERATOR = str(Path(__file__).parents[2] / "operator")
LAUNCH = (
    "import argparse; from understudy.cli import sim; p = argparse.ArgumentParser(); "
    "sim.add_arguments(p); raise SystemExit(sim.run(p.parse_args()))"
)


@asynccontextmanager
async def engine(key: str = "", **knobs: Any) -> AsyncIterator[tuple[str, Simulator]]:
    """Base URL and simulator; `simulator.die` ends nothing but is counted in `crashes`."""
    identity = Identity(Served("story-0a1b2c3d", "/models/tiny-a", 128), pod="pod-1", api_key=key)
    simulator = Simulator(identity, changed(Behaviour(), {**QUICK, **knobs}), die=lambda: None)
    server = TestServer(simulator.application())
    await server.start_server()
    try:
        yield str(server.make_url("")).rstrip("/"), simulator
    finally:
        await simulator.drain(0)
        await server.close()


@asynccontextmanager
async def process(
    *flags: str, tls: ssl.SSLContext | None = None, **environ: str
) -> AsyncIterator[tuple[str, "asyncio.subprocess.Process"]]:
    """Base URL and process of `understudy sim`, serving; killed at the end if it still runs.

    `tls` is how to ask whether one that speaks TLS serves.
    """
    port = free_port()
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", LAUNCH, "--host=127.0.0.1", f"--port={port}", *flags,
        env={**os.environ, "PYTHONPATH": OPERATOR, "POD_NAME": "pod-2", **environ},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    base = f"{'http' if tls is None else 'https'}://127.0.0.1:{port}"
    try:
        async with aiohttp.ClientSession() as session:
            while child.returncode is None:
                try:
                    async with session.get(f"{base}/health", ssl=tls or True):
                        break
                except aiohttp.ClientConnectionError:
                    await asyncio.sleep(0.02)
        yield base, child
    finally:
        if child.returncode is None:
            child.kill()
        await child.communicate()


__all__ = ["KEY", "LAUNCH", "OPERATOR", "engine", "process"]
