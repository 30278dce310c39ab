"""`understudy gateway` as a process of its own."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from local.ports import free_ports

OPERATOR = str(Path(__file__).parents[2] / "operator")


@dataclass
class Process:
    """A gateway process and its two ports."""

    child: "asyncio.subprocess.Process"
    port: int
    admin: int

    async def get(self, path: str) -> tuple[int, str]:
        """Status and body of a path of the admin port."""
        async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{self.admin}{path}") as answer:
            return answer.status, await answer.text()


async def launch(*flags: str, **environ: str) -> "asyncio.subprocess.Process":
    """Start the command; nothing is waited for."""
    return await asyncio.create_subprocess_exec(
        sys.executable, "-W", "error", "-m", "understudy.cli.main", "gateway", *flags,
        env={**os.environ, "PYTHONPATH": OPERATOR, "KUBERNETES_SERVICE_HOST": "", **environ},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip


@asynccontextmanager
async def process(*flags: str) -> AsyncIterator[Process]:
    """A gateway process that answers on its admin port; killed at the end if it still runs."""
    port, admin = free_ports(2)
    where = (f"--port={port}", f"--admin-port={admin}", "--host=127.0.0.1", "--admin-host=127.0.0.1")
    child = await launch(*where, "--admin-auth=none", *flags)
    made = Process(child, port, admin)
    try:
        while child.returncode is None:
            try:
                await made.get("/healthz")
                break
            except aiohttp.ClientConnectionError:
                await asyncio.sleep(0.02)
        yield made
    finally:
        if child.returncode is None:
            child.kill()
            await child.communicate()
