"""Engines that end, or go wrong, at each byte of an answer: the client is told the truth, and the right one is charged.

Before the first event that says something another engine's answer takes the place of the broken one; after it there is
an error event and no end mark. No client may take half an answer for a whole one.
"""

import asyncio
import logging
import re
import socket
import struct
from collections.abc import Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import orjson
import pytest

from tests.gateway.clients import CHAT, Answer, Client, ask, chat, client
from tests.gateway.engines import Asked, answers_well, chunk, engine, sends, stream_bytes
from tests.gateway.gateways import Gateway, gateway
from tests.gateway.test_responses import RESPONSES, body, event, response
from tests.gateway.worlds import CANARY, STABLE, endpoints, snapshot, table
from understudy.gateway.policy.balance import acquitted
from understudy.gateway.policy.retry import RetryBudget

MODEL = f"story-{CANARY}"
JSON = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
SSE = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
WHOLE = orjson.dumps({"model": MODEL, "choices": [{"index": 0, "message": {"content": "one two"}}]})


@dataclass(frozen=True)
class Said:
    """An answer as bytes: from `begun` bytes on it has said something, from `over` bytes on nothing is missing."""

    path: str
    asking: dict[str, Any]
    raw: bytes
    begun: int
    over: int


def _whole(raw: bytes) -> Said:
    return Said(CHAT, chat(), raw, len(raw), len(raw))


def _streamed() -> Said:
    raw = stream_bytes(MODEL, "one", " two")
    begun = raw.index(b"\n\n", raw.index(b'"one"')) + 2
    return Said(CHAT, chat(stream=True), raw, begun, raw.index(b"[DONE]\n\n") + 8)


def _response() -> Said:
    said = (
        event("response.output_text.delta", 0, delta="one"),
        event("response.output_text.delta", 1, delta=" two"),
        event("response.completed", 2, response=response(MODEL, "one two")),
    )
    raw = SSE + b"".join(chunk(piece) for piece in said) + b"0\r\n\r\n"
    begun = raw.index(b"\n\n", raw.index(b'"one"')) + 2
    return Said(RESPONSES, body(stream=True), raw, begun, raw.rindex(b"\n\n") + 2)


ANSWERS = {
    "length": _whole(JSON + b"Content-Length: %d\r\n\r\n%b" % (len(WHOLE), WHOLE)),
    "chunks": _whole(
        JSON + b"Transfer-Encoding: chunked\r\n\r\n" + chunk(WHOLE[:60]) + chunk(WHOLE[60:]) + b"0\r\n\r\n"
    ),
    "stream": _streamed(),
    "response": _response(),
}


def close(asked: Asked) -> None:
    """As an engine that is told to end."""
    asked.writer.close()


def reset(asked: Asked) -> None:
    """As a machine that forgets the connection."""
    linger = struct.pack("ii", 1, 0)
    asked.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    asked.writer.transport.abort()


class Stage:
    """A gateway in a rollout, whose candidate does at each turn what the test says and whose stable answers well."""

    def __init__(self, g: Gateway, c: Client) -> None:
        self.g = g
        self.client = c
        self._turns = 0

    async def turn(self, said: Said) -> tuple[Answer, dict[str, int]]:
        """One request to the candidate, with a clean record: the answer, and what was counted for the candidate."""
        self._turns += 1
        (bad,) = (v for v in self.g.world.routes.deployments["default/story"].variants if v.revision == CANARY)
        acquitted(bad.endpoints[0])
        self.g.plane.budget = RetryBudget()
        before = self.g.state(CANARY)
        answer = await self.client.ask(said.asking, said.path, x_session_id=f"session-{self._turns}")
        after = self.g.state(CANARY)
        assert after.attempts == before.attempts + 1
        assert (after.open_requests, self.g.state(STABLE).open_requests) == (0, 0)
        assert self.g.state(STABLE).failed == 0
        return answer, {kind: n - before.errors[kind] for kind, n in after.errors.items() if n > before.errors[kind]}


async def _good(asked: Asked) -> None:
    if asked.path == RESPONSES:
        await asked.begin_stream()
        await asked.send(chunk(event("response.output_text.delta", 0, delta="stable")))
        await asked.send(chunk(event("response.completed", 1, response=response(asked.model, "stable"))) + b"0\r\n\r\n")
    else:
        await answers_well("stable")(asked)


def ending(answer: Answer) -> str:
    """How an answer ended: `end`, or the code of its error. There is one end, of one kind, and nothing after it."""
    if answer.fields["content-type"] == "application/json":
        assert answer.json.get("model", "storyteller") == "storyteller"
        return "end"
    *_, last, nothing = answer.body.split(b"\n\n")
    ends = answer.body.count(b"data: [DONE]") + answer.body.count(b"event: response.completed")
    error = re.search(rb"^data: (.*)$", last, re.MULTILINE)
    assert (bytes(nothing), ends) == (b"", 0 if b'"error"' in last else 1)
    assert error is not None
    return str(orjson.loads(error[1])["error"]["code"]) if not ends else "end"


def heard(answer: Answer) -> tuple[str, str]:
    """What an answer said, and how it ended."""
    said = re.findall(r'"(?:content|delta)":"([^"]*)"', answer.body.decode())
    return "".join(said), ending(answer)


@asynccontextmanager
async def _staged(script: Callable[[Asked], Any], **limits: Any) -> Any:
    async with engine(script) as bad, engine(_good) as good:
        slices = [endpoints(STABLE, [good.port]), endpoints(CANARY, [bad.port])]
        async with gateway(snapshot([table({STABLE: 0, CANARY: 100})], slices), **limits) as g, client(g.port) as c:
            yield Stage(g, c)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ANSWERS)
@pytest.mark.parametrize("die", [close, reset])
async def test_an_engine_that_dies_at_any_byte_of_its_answer(kind: str, die: Callable[[Asked], None]) -> None:
    said = ANSWERS[kind]
    cut = 0

    async def script(asked: Asked) -> None:
        await asked.send(said.raw[:cut])
        die(asked)

    async with _staged(script) as stage:
        for cut in range(len(said.raw) + 1):
            answer, charged = await stage.turn(said)
            assert (answer.status, answer.complete) == (200, True)
            text, end = heard(answer)
            revision = answer.fields["x-understudy-revision"]
            if cut >= said.over:
                assert (text, end, revision, charged) == ("one two", "end", CANARY, {})
            elif cut >= said.begun:
                assert "one two".startswith(text)
                assert (end, revision, charged) == ("engine_lost", CANARY, {"truncated": 1})
            else:
                # Before the first byte it may as well be that there is nobody.
                assert (text, end, revision) == ("stable", "end", STABLE)
                assert charged == ({"truncated": 1} if cut else {"connect": 1})


@pytest.mark.slow
@pytest.mark.parametrize("kind", ANSWERS)
async def test_an_engine_that_gets_any_one_byte_wrong(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    """A wrong letter in a text nobody can know; everything else is an answer, or an error, and never both."""
    said = ANSWERS[kind]
    raw = b""

    async def script(asked: Asked) -> None:
        await asked.send(raw)
        close(asked)

    async with _staged(script) as stage:
        for at in range(len(said.raw)):
            raw = said.raw[:at] + (b"\x00", b"\n", b"\xff", b"9", b'"')[at % 5] + said.raw[at + 1 :]
            answer, charged = await stage.turn(said)
            assert (answer.status, answer.complete) == (200, True)
            end = ending(answer)
            if answer.fields["x-understudy-revision"] == CANARY and end == "end":
                assert charged == {}
            else:
                assert sum(charged.values()) == 1
    assert [r for r in caplog.records if r.levelno >= logging.WARNING] == []


async def test_an_answer_that_ends_with_its_connection_is_not_believed() -> None:
    # Half of it would look the same.
    async with _staged(sends(JSON + b"\r\n" + WHOLE)) as stage:
        answer, charged = await stage.turn(ANSWERS["length"])
        assert (answer.text, charged) == ("stable", {"truncated": 1})


def _done() -> bytes:
    return ANSWERS["stream"].raw[: ANSWERS["stream"].over]


@pytest.mark.parametrize("after", [b"\r\nzz\r\n", b"\r\n" + chunk(b"data: " + b"x" * 5_000_000)])
@pytest.mark.parametrize("pause", [0.0, 0.02])
async def test_nonsense_after_the_end_mark_spoils_nothing(after: bytes, pause: float) -> None:
    async def script(asked: Asked) -> None:
        await asked.send(_done())
        await asyncio.sleep(pause)
        await asked.send(after)
        await asked.closed.wait()

    async with _staged(script) as stage:
        answer, charged = await stage.turn(ANSWERS["stream"])
        assert (*heard(answer), charged) == ("one two", "end", {})


async def test_an_engine_that_falls_silent_after_the_end_mark_has_answered() -> None:
    silent = sends(stream_bytes(f"story-{STABLE}", "one").removesuffix(b"\r\n0\r\n\r\n"), then_close=False)
    async with engine(silent) as e:
        document = snapshot([table(timeouts={"betweenTokensSeconds": 0.05})], [endpoints(STABLE, [e.port])])
        async with gateway(document) as g:
            answer = await ask(g.port, chat(stream=True))
            assert (*heard(answer), answer.complete) == ("one", "end", True)
            assert g.state(STABLE).failed == 0


@pytest.mark.parametrize(
    ("begin", "more"),
    [
        (JSON + b"X: ", b"y" * 65_536),
        (JSON, b"X: y\r\n" * 10_000),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 3_000),
        (JSON + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nX: ", b"y" * 65_536),
        (JSON + b"Transfer-Encoding: chunked\r\n\r\n2;", b"y" * 65_536),
    ],
    ids=["field", "fields", "continue", "trailer", "extension"],
)
async def test_an_endless_head_is_not_read_to_its_end(begin: bytes, more: bytes) -> None:
    sent = 0

    async def script(asked: Asked) -> None:
        nonlocal sent
        await asked.send(begin)
        while not asked.closed.is_set():
            await asked.send(more)
            sent += len(more)

    async with _staged(script) as stage:
        answer, charged = await stage.turn(ANSWERS["length"])
        assert (answer.text, charged) == ("stable", {"malformed": 1})
        # What the kernel takes on both sides, and a few reads.
        assert sent < 32_000_000


@pytest.mark.parametrize("kind", ["stream", "response"])
async def test_a_stream_that_never_says_anything_is_not_held_without_bound(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("understudy.gateway.wire.relay.MAX_HELD", 100_000)
    nothing = {
        "stream": chunk(b"data: " + orjson.dumps({"model": MODEL, "choices": [{"index": 0, "delta": {}}]}) + b"\n\n"),
        "response": chunk(event("response.in_progress", 0, response=response(MODEL))),
    }[kind]

    async def script(asked: Asked) -> None:
        await asked.begin_stream()
        while not asked.closed.is_set():
            await asked.send(nothing * 100)

    async with _staged(script) as stage:
        answer, charged = await stage.turn(ANSWERS[kind])
        assert (*heard(answer), charged) == ("stable", "end", {"malformed": 1})


async def test_many_events_before_the_first_word_are_no_failure() -> None:
    """A response tells of itself, prompt included, before it says a word."""

    async def script(asked: Asked) -> None:
        await asked.begin_stream()
        for kind in ("created", "in_progress"):
            told = response(MODEL, instructions="x" * 3_000_000)
            await asked.send(chunk(event(f"response.{kind}", 0, response=told)))
        await asked.send(ANSWERS["response"].raw.removeprefix(SSE))

    async with _staged(script) as stage:
        answer, charged = await stage.turn(ANSWERS["response"])
        assert (*heard(answer), charged) == ("one two", "end", {})
