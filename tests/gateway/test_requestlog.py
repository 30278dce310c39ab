"""The request log: one line for each request that a deployment was asked, whatever became of it."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest

from local.ports import free_port
from tests.gateway.clients import ask, chat, client, request
from tests.gateway.engines import Asked, answers_status, answers_well, completion, engine, hangs
from tests.gateway.gateways import Gateway, gateway, until
from tests.gateway.test_follow import HASH
from tests.gateway.worlds import CANARY, KEY, STABLE, access_key, endpoints, shadowed_table, snapshot, table
from understudy.domain.table import Logging
from understudy.gateway.outbox import Outbox
from understudy.gateway.policy.head import Head
from understudy.gateway.requestlog import RequestLog
from understudy.gateway.spool import Spool

Line = dict[str, Any]


class Logged:
    """A gateway, and what is in its log."""

    def __init__(self, g: Gateway, path: Path, log: RequestLog) -> None:
        self.gateway = g
        self.port = g.port
        self.log = log
        self._path = path

    async def lines(self, number: int) -> list[Line]:
        """All lines, once there are `number` of them."""
        spool = self.log.spool
        assert spool is not None
        await until(lambda: spool.written == number)
        return [orjson.loads(line) for line in self._path.read_bytes().splitlines()]

    async def line(self) -> Line:
        """The only one."""
        (found,) = await self.lines(1)
        return found


@asynccontextmanager
async def logging(document: Mapping[str, Any], folder: Path, percent: float = 100.0) -> AsyncIterator[Logged]:
    spool = Spool(folder / "requests.jsonl", 1024 * 1024, rotates=True)
    outbox = Outbox(folder / "outbox", 1024 * 1024)
    log = RequestLog(spool, percent, outbox=outbox)
    async with gateway(document) as g:
        g.plane.log = log
        writing = asyncio.ensure_future(spool.run())
        try:
            yield Logged(g, folder / "requests.jsonl", log)
        finally:
            writing.cancel()
            await asyncio.gather(writing, return_exceptions=True)
            outbox.close()


def one(*ports: int, **more: Any) -> dict[str, Any]:
    return snapshot([table(**more)], [endpoints(STABLE, ports)])


@pytest.mark.parametrize("stream", [True, False])
async def test_an_answer_is_told_with_its_times_and_tokens(tmp_path: Path, stream: bool) -> None:
    async with engine() as e, logging(one(e.port), tmp_path) as g:
        answer = await ask(g.port, chat(stream=stream))
        line = await g.line()
    told = {
        field: line[field] for field in ("status", "code", "attempts", "retries", "stream", "finishReason", "track")
    }
    assert told == {
        "status": 200, "code": None, "attempts": 1, "retries": 0, "stream": stream, "finishReason": "stop",
        "track": "stable",
    }  # fmt: skip
    assert line["requestId"] == answer.fields["x-request-id"]
    assert (line["deployment"], line["servedName"], line["revision"]) == ("default/story", "storyteller", STABLE)
    assert (line["operation"], line["key"]) == ("/v1/chat/completions", HASH[:8])
    assert line["tokensIn"] > 0 < line["tokensOut"]
    assert 0 <= line["seconds"] < 60
    assert (line["firstTokenSeconds"] is not None) == stream
    assert line["firstTokenSeconds"] is None or line["firstTokenSeconds"] <= line["seconds"]


async def test_a_retry_is_told_with_who_answered_in_the_end(tmp_path: Path) -> None:
    async with engine() as stable, engine(answers_status(500)) as canary:
        slices = [endpoints(STABLE, [stable.port]), endpoints(CANARY, [canary.port])]
        async with logging(snapshot([table({STABLE: 0, CANARY: 100})], slices), tmp_path) as g:
            await ask(g.port, x_session_id="somebody")
            line = await g.line()
    assert (line["attempts"], line["retries"], line["revision"], line["track"]) == (2, 1, STABLE, "stable")
    assert (line["conversation"], line["sampled"], line["status"]) == ("header", True, 200)
    assert "somebody" not in str(line)


async def test_a_kept_connection_that_was_dead_is_no_attempt(tmp_path: Path) -> None:
    async def once(asked: Asked) -> None:
        if asked.connection == 1 and len(e.asked) == 2:
            asked.reset()
        else:
            await answers_well()(asked)

    async with engine(once) as e, logging(one(e.port), tmp_path) as g:
        for _ in range(2):
            await ask(g.port)
        assert len(e.asked) == 3
        assert [line["attempts"] for line in await g.lines(2)] == [1, 1]


async def test_what_the_gateway_refuses_after_that_is_told_with_its_code(tmp_path: Path) -> None:
    async with logging(one(free_port(), queue={"max": 0}), tmp_path) as g:
        await ask(g.port)
        line = await g.line()
    assert (line["status"], line["code"], line["finishReason"]) == (503, "no_capacity", None)


async def test_an_engines_refusal_is_told_without_its_words(tmp_path: Path) -> None:
    async with engine(answers_status(422)) as e, logging(one(e.port), tmp_path) as g:
        await ask(g.port)
        line = await g.line()
    assert (line["status"], line["code"], line["revision"]) == (422, "engine_refused", STABLE)


async def test_a_stream_that_breaks_off_has_the_code_and_what_had_come(tmp_path: Path) -> None:
    async def breaks(asked: Asked) -> None:
        await asked.begin_stream()
        await asked.say("one")
        asked.reset()

    async with engine(breaks) as e, logging(one(e.port), tmp_path) as g:
        await ask(g.port, chat(stream=True))
        line = await g.line()
    assert (line["status"], line["code"], line["finishReason"]) == (200, "engine_lost", None)
    assert line["tokensOut"] == 1
    assert line["firstTokenSeconds"] is not None


async def test_a_client_that_goes_away_is_told(tmp_path: Path) -> None:
    async with engine(hangs) as e, logging(one(e.port), tmp_path) as g:
        async with client(g.port) as c:
            await c.send(request())
            await e.request()
        line = await g.line()
    assert (line["status"], line["code"], line["attempts"]) == (499, "client_gone", 1)


async def test_another_name_that_takes_the_request_is_told(tmp_path: Path) -> None:
    tables = [
        table(queue={"max": 0}, fallback=["spare"]),
        table(name="other", names=("spare",)),
    ]
    async with engine() as e:
        document = snapshot(tables, [endpoints(STABLE, [e.port], name="other")])
        async with logging(document, tmp_path) as g:
            await ask(g.port)
            line = await g.line()
    assert (line["servedName"], line["fallback"], line["deployment"]) == ("storyteller", "spare", "default/other")


async def test_what_no_deployment_was_asked_is_not_in_the_log(tmp_path: Path) -> None:
    async with engine() as e, logging(one(e.port), tmp_path) as g:
        for refused in (
            await ask(g.port, authorization="Bearer nobody"),
            await ask(g.port, chat(model="unknown")),
            await ask(g.port, chat(unknown_field=1)),
        ):
            assert refused.status >= 400
        assert (await ask(g.port)).status == 200
        assert (await g.line())["status"] == 200


async def test_a_share_is_kept_and_every_failure(tmp_path: Path) -> None:
    async with engine() as e, logging(one(e.port), tmp_path, percent=50.0) as g:
        # Two are drawn for the endpoint, the third for the log.
        lots = iter([0.0, 0.0, 0.49, 0.0, 0.0, 0.51, 0.0, 0.0, 0.99])
        g.gateway.plane.random = lambda: next(lots, 0.5)
        for _ in range(3):
            await ask(g.port)
        e.script = answers_status(500)
        assert (await ask(g.port)).status == 502
        lines = await g.lines(2)
    assert sorted(line["status"] for line in lines) == [200, 502]
    assert g.log.gauges()["understudy_request_log_lines_total"][1] == {"written": 2, "dropped": 0, "left_out": 2}


async def test_an_engine_that_makes_up_a_finish_is_not_quoted(tmp_path: Path) -> None:
    async def odd(asked: Asked) -> None:
        answer = completion(asked.model, "hello")
        answer["choices"][0]["finish_reason"] = "planted"
        await asked.answer(200, answer)

    async with engine(odd) as e, logging(one(e.port), tmp_path) as g:
        await ask(g.port)
        assert (await g.line())["finishReason"] == "other"


async def test_without_a_log_nothing_is_remembered(tmp_path: Path) -> None:
    async with engine(answers_well()) as e, gateway(snapshot([table()], [endpoints(STABLE, [e.port])])) as g:
        await ask(g.port)
        assert g.plane.log is None
        assert "understudy_request_log_lines_total" not in g.plane.gauges()
        assert access_key()["hash"] == HASH


KEPT = {"text": "released", "maxBytes": 1000, "ttlSeconds": 3600}


@pytest.mark.parametrize("stream", [True, False])
async def test_texts_are_told_where_the_deployment_has_them_kept(tmp_path: Path, stream: bool) -> None:
    async with engine() as e, logging(one(e.port, logging=KEPT), tmp_path) as g:
        await ask(g.port, chat("a planted prompt", stream=stream, user="somebody"))
        text = (await g.line())["text"]
        (told,) = (tmp_path / "outbox").glob("*-c*")
        assert "once upon a time" not in told.read_text()
    assert (text["kind"], text["ttlSeconds"], text["answer"]) == ("released", 3600, "once upon a time")
    request = orjson.loads(text["request"])
    assert request["messages"] == [{"role": "user", "content": "a planted prompt"}]
    assert not {"model", "user", "cache_salt"}.intersection(request)


@pytest.mark.parametrize("kept", [{}, {"text": "none"}, {"text": "released", "sample": 0}])
async def test_no_text_is_told_where_it_does_not(tmp_path: Path, kept: dict[str, Any]) -> None:
    async with engine() as e, logging(one(e.port, logging=kept), tmp_path) as g:
        await ask(g.port, chat("a planted prompt"))
        line = await g.line()
    assert line["text"] is None
    assert "planted" not in str(line)


async def test_nobody_listens_for_a_log_that_has_no_file() -> None:
    async with gateway(one(free_port(), logging=KEPT)) as g:
        for log in (RequestLog(None, 100.0), None):
            g.plane.log = log
            story = g.plane.story(b"R1", "storyteller", "/v1/completions", HASH, stream=False)
            g.plane.listen(story, Logging("released"), {}, Head(b"POST", b"/", 1, {}))
            assert story.texts is None


async def test_a_share_of_the_texts_is_told(tmp_path: Path) -> None:
    async with engine() as e, logging(one(e.port, logging={**KEPT, "sample": 0.5}), tmp_path) as g:
        g.gateway.plane.random = iter([0.9, *[0.0] * 3, 0.1, *[0.0] * 9]).__next__
        for _ in range(2):
            await ask(g.port)
        assert [line["text"] is None for line in await g.lines(2)] == [True, False]


async def test_of_a_stream_that_broke_off_what_the_client_got_is_told(tmp_path: Path) -> None:
    async def script(asked: Asked) -> None:
        await asked.begin_stream()
        await asked.say("once")
        await asked.say(" upon")
        await asyncio.sleep(0.02)
        asked.reset()

    async with engine(script) as e, logging(one(e.port, logging=KEPT), tmp_path) as g:
        answer = await ask(g.port, chat(stream=True))
        line = await g.line()
    assert (line["code"], line["text"]["answer"]) == ("engine_lost", answer.text)


async def test_of_a_request_that_was_refused_only_the_question_is_told(tmp_path: Path) -> None:
    async with engine(answers_status(422)) as e, logging(one(e.port, logging=KEPT), tmp_path) as g:
        await ask(g.port, chat("a planted prompt"))
        text = (await g.line())["text"]
    assert "planted" in text["request"]
    assert text["answer"] == ""


async def test_the_answer_of_who_was_asked_in_the_end_is_told(tmp_path: Path) -> None:
    async with engine() as stable, engine(answers_status(500)) as canary:
        slices = [endpoints(STABLE, [stable.port]), endpoints(CANARY, [canary.port])]
        async with logging(snapshot([table({STABLE: 0, CANARY: 100}, logging=KEPT)], slices), tmp_path) as g:
            await ask(g.port)
            assert (await g.line())["text"]["answer"] == "once upon a time"


@pytest.mark.parametrize("stream", [True, False])
async def test_half_of_a_pair_listens_for_the_log_as_well(tmp_path: Path, stream: bool) -> None:
    shadowed = shadowed_table()
    shadowed["spec"]["logging"] = {**KEPT, "maxBytes": 5000}
    words = [f"word{number} " for number in range(500)]
    async with engine(answers_well(*words)) as stable, engine() as shadow:
        slices = [endpoints(STABLE, [stable.port]), endpoints(CANARY, [shadow.port])]
        async with logging(snapshot([shadowed], slices), tmp_path) as g:
            answer = await ask(g.port, chat(stream=stream))
            line = await g.line()
            await shadow.request()
    assert line["text"]["answer"] == answer.text
    assert len(answer.text) > 2000


async def test_no_access_key_comes_into_a_text(tmp_path: Path) -> None:
    async with engine() as e, logging(one(e.port, logging=KEPT), tmp_path) as g:
        await ask(g.port, chat(f"is {KEY} a good key?"))
        line = await g.line()
    assert KEY not in str(line)
    assert "is (access key) a good key?" in line["text"]["request"]
