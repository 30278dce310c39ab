"""The load's own bookkeeping, against a simulated engine: what it calls failed, truncated and flipped."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.load.__main__ import line, main
from tests.load.traffic import Record, Traffic, flips, shares
from tests.sim.engines import process

MODEL = "sim"


@asynccontextmanager
async def stub(*handlers: "web.Response | None") -> AsyncIterator[str]:
    """An endpoint that answers with the given responses in turn, then with the last one again."""
    left = list(handlers)

    async def answer(_: web.Request) -> web.Response:
        response = left.pop(0) if len(left) > 1 else left[0]
        assert response is not None
        return web.Response(body=response.body, status=response.status, headers=response.headers)

    app = web.Application()
    app.router.add_post("/v1/chat/completions", answer)
    server = TestServer(app)
    await server.start_server()
    yield str(server.make_url("")).rstrip("/")
    await server.close()


async def burst(url: str, count: int) -> list[Record]:
    """The records of one burst, one request after the other; its waiting is done outside of this loop, which serves."""

    def run() -> list[Record]:
        with Traffic(url, "key", MODEL, streams=0) as traffic:
            return traffic.burst(count, 1)

    return await asyncio.to_thread(run)


def event(text: str, end: str = "data: [DONE]\n\n", **headers: str) -> web.Response:
    return web.Response(text=f"data: {text}\n\n{end}", headers=headers)


async def test_counts_conversations_that_end_well() -> None:
    async with process("--first-token=0", "--inter-token=0", "--tokens=5") as (url, _):

        def run() -> Traffic:
            with Traffic(url, "key", MODEL, streams=2, tokens=3, long_streams=1, long_tokens=5) as traffic:
                records = traffic.burst(30)
            assert len(records) == 30
            return traffic

        traffic = await asyncio.to_thread(run)
    assert traffic.failed() == []
    assert traffic.truncated() == []
    assert {record.pod for record in traffic.records} == {"pod-2"}
    assert {record.events for record in traffic.records if record.session.startswith("long")} == {7}
    assert "0 failed, 0 truncated, 0 flipped" in traffic.report()


async def test_tells_a_cut_answer_from_one_that_never_began() -> None:
    broken = event('{"error": {"message": "x"}}', end="")
    async with stub(
        event("{}", end=""), event("{}", end='data: {"error": {}}\n\n'), broken, web.Response(status=503)
    ) as url:
        first, second, third, fourth = await burst(url, 4)
    assert [r.truncated for r in (first, second)] == [True, True]
    assert [r.failed for r in (third, fourth)] == [True, True]
    assert first.error == "the stream ended without [DONE]"
    assert fourth.error.startswith("503")


async def test_a_refused_connection_is_a_failure() -> None:
    (record,) = await burst("http://127.0.0.1:9", 1)
    assert record.failed
    assert record.status == 0


def seen(*revisions: str) -> list[Record]:
    return [Record("s", float(at), revision=revision) for at, revision in enumerate(revisions)]


@pytest.mark.parametrize(
    ("revisions", "flipped"),
    [
        (("a", "a", "b", "b"), False),
        (("a", "b", "a"), True),
        (("b", "", "b"), False),
        (("a", "b", "c"), False),
    ],
)
def test_a_conversation_flips_when_it_comes_back(revisions: tuple[str, ...], flipped: bool) -> None:
    assert bool(flips(seen(*revisions))) is flipped


def test_shares_count_conversations_not_requests() -> None:
    records = [*seen("a", "a", "b"), Record("t", 0.0, revision="b")]
    assert shares(records) == {"a": 1, "b": 2}


def test_a_line_says_who_answers_and_what_went_wrong() -> None:
    records = [
        Record("s", 0.0, first=0.1, revision="aa", track="stable", done=True),
        Record("s", 0.0, first=0.1, revision="aa", track="stable", done=True),
        Record("t", 0.0, first=0.1, revision="bb", track="canary", done=True),
        Record("u", 0.0, error="503"),
    ]
    assert line(records) == "    3 answers  aa (stable) 67 %  bb (canary) 33 %  1 went wrong"
    assert line([]) == "    0 answers  nobody"


@pytest.mark.slow
async def test_the_command_ends_by_itself_and_says_how_it_went(capfd: pytest.CaptureFixture[str]) -> None:
    async with process("--first-token=0.01", "--inter-token=0") as (url, _):
        arguments = [MODEL, "--url", url, "--key", "k", "--seconds", "0.1", "--streams", "1"]
        assert await asyncio.to_thread(main, arguments) == 0
        assert await asyncio.to_thread(main, ["other", *arguments[1:]]) == 1
    output = capfd.readouterr().out
    assert "0 failed, 0 truncated" in output
    assert "does not exist" in output
