"""Heads in processes of their own: asked in turn, ended with their pipe, and no answer when they have ended."""

import asyncio
import os
import signal

import orjson
import pytest

from tests.gateway.gateways import gateway, until
from tests.gateway.worlds import snapshot
from tests.guard.test_linear import HEAD
from understudy.gateway import heads
from understudy.gateway.heads import HeadProcess
from understudy.gateway.outside import AskError
from understudy.gateway.wire.panel import Panel
from understudy.guard.linear import write_head
from understudy.guard.policy import compile_policy
from understudy.guard.served.codec import Question
from understudy.guard.windows import Window

TEXT = write_head(HEAD, "")
LONG = 60.0


def question(text: str) -> Question:
    return Question("", {"text": text})


async def over(process: HeadProcess) -> None:
    """Close it, and wait until nothing is left of it: a loop that ends before says so in a warning."""
    process.close()
    if process._reading is not None:
        await process._reading


def pid(process: HeadProcess) -> int:
    assert process._starting is not None
    return process._starting.result().process.pid


async def gone(number: int) -> None:
    def is_gone() -> bool:
        try:
            os.kill(number, 0)
        except ProcessLookupError:
            return True
        return False

    await until(is_gone)


@pytest.mark.slow
async def test_a_head_answers_as_it_would_here_and_everybody_gets_their_own() -> None:
    process = HeadProcess(TEXT)
    texts = [f"you idiot number {number}, \u00fc\n" * (number % 3 + 1) for number in range(40)]
    answers = await asyncio.gather(*(process.ask(question(text), LONG) for text in texts))
    assert [orjson.loads(answer) for answer in answers] == [HEAD.scores(text) for text in texts]

    # Whoever waits no longer does not get another's answer, nor does anybody get theirs.
    number = pid(process)
    os.kill(number, signal.SIGSTOP)
    with pytest.raises(TimeoutError):
        await process.ask(question("you idiot"), 0.05)
    os.kill(number, signal.SIGCONT)
    assert orjson.loads(await process.ask(question("tea"), LONG)) == HEAD.scores("tea")

    # One that is killed fails everybody who waits, and is made anew.
    os.kill(number, signal.SIGSTOP)
    asked = [asyncio.ensure_future(process.ask(question("tea"), LONG)) for _ in range(3)]
    await asyncio.sleep(0)
    await until(lambda: len(process._starting.result().waiting) == 3 if process._starting else False)
    os.kill(number, signal.SIGKILL)
    for each in asked:
        with pytest.raises(AskError, match="has ended"):
            await each
    await until(lambda: process._starting is None)
    process._again = 0.0
    assert orjson.loads(await process.ask(question("tea"), LONG)) == HEAD.scores("tea")
    last = pid(process)
    assert last != number
    await over(process)
    await gone(last)
    with pytest.raises(AskError, match="has ended"):
        await process.ask(question("tea"), LONG)


@pytest.mark.slow
async def test_one_that_does_not_keep_up_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heads, "_MAX_OWED", 2)
    process = HeadProcess(TEXT)
    await process.ask(question("tea"), LONG)
    number = pid(process)
    os.kill(number, signal.SIGSTOP)
    waiting = [asyncio.ensure_future(process.ask(question("tea"), LONG)) for _ in range(2)]
    await until(lambda: len(process._starting.result().waiting) == 2 if process._starting else False)
    with pytest.raises(AskError, match="does not keep up"):
        await process.ask(question("tea"), LONG)
    for each in waiting:
        with pytest.raises(AskError):
            await each
    await over(process)
    await gone(number)


@pytest.mark.slow
async def test_a_head_that_cannot_be_read_is_a_failure_and_not_tried_again_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(heads, "_RESTART_SECONDS", 10_000.0)
    process = HeadProcess("no head")
    with pytest.raises(AskError, match="cannot be started"):
        await process.ask(question("tea"), LONG)
    with pytest.raises(AskError, match="has ended"):
        await process.ask(question("tea"), LONG)
    await over(process)


@pytest.mark.slow
async def test_a_panel_asks_a_head_and_tries_it() -> None:
    detector = {
        "name": "screen",
        "type": "linear",
        "configMapRef": {"name": "screen"},
        "canary": {"found": "You idiot!"},
    }
    rule = {"category": "harassment", "actions": {"medium": ["Block"]}}
    policy = compile_policy("g", {"detectors": [detector], "rules": [rule]}, {"screen": TEXT})
    async with gateway(snapshot()) as made:
        panel = Panel(made.plane, canary_seconds=10_000)
        panel.follow({"hash": ("default", policy)})
        (found,), status = await panel.judge("hash", "g/screen", Window(3, 13, "You idiot!"), "output")
        assert (status, found.category, found.start, found.end) == ("ok", "harassment", 3, 13)
        await until(lambda: panel.health() == {"default/g/screen hash": ""})
        (seat,) = panel._seats["hash"].values()
        panel.close()
        assert isinstance(seat._server, HeadProcess)
        await over(seat._server)
