"""Heads of our own, each in a process beside the gateway: numbers are crunched where no request waits for it.

`python -m understudy.gateway.heads` is such a process. It gets the head in its first line and a text in every further
one; it says a line when it is ready, and a line of scores for each text. It ends with the pipe.
"""

import asyncio
import contextlib
import sys
from collections import deque
from dataclasses import dataclass, field
from typing import Final, cast

import orjson

from understudy.gateway.outside import AskError
from understudy.guard.linear import read_head
from understudy.guard.served.codec import MAX_ANSWER, Question

_START_SECONDS: Final = 20.0
_RESTART_SECONDS: Final = 1.0
# Whoever owes so many answers does not work any more.
_MAX_OWED: Final = 512


@dataclass(slots=True)
class _Child:
    """A process that has its head, and who waits for its next lines."""

    process: asyncio.subprocess.Process
    questions: asyncio.StreamWriter
    waiting: deque["asyncio.Future[bytes]"] = field(default_factory=deque)

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()


class HeadProcess:
    """The process of one head. Made when first asked; made anew, though not at once, when it has ended."""

    def __init__(self, head: str) -> None:
        self._head = head
        self._starting: asyncio.Task[_Child] | None = None
        self._reading: asyncio.Task[None] | None = None
        self._again = 0.0
        self._closed = False

    async def ask(self, question: Question, seconds: float) -> bytes:
        """A line of scores for a text, which may take so long from when there is a process.

        Raises AskError and TimeoutError.
        """
        child = await self._child()
        if len(child.waiting) >= _MAX_OWED:
            child.kill()
            raise AskError("its process does not keep up")
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        # Answers come in the order of questions: whoever waits no longer keeps its place.
        child.waiting.append(answer)
        child.questions.write(orjson.dumps(question.body["text"], option=orjson.OPT_APPEND_NEWLINE))
        try:
            async with asyncio.timeout(seconds):
                return await answer
        finally:
            _forgive(answer)

    def close(self) -> None:
        """End the process."""
        self._closed = True
        if self._starting is not None:
            self._starting.add_done_callback(_end)

    async def _child(self) -> _Child:
        if self._starting is None:
            loop = asyncio.get_running_loop()
            if self._closed or loop.time() < self._again:
                raise AskError("its process has ended")
            self._again = loop.time() + _RESTART_SECONDS
            self._starting = loop.create_task(self._start())
        # Whoever waits no longer must not end it for the others.
        return await asyncio.shield(self._starting)

    async def _start(self) -> _Child:
        try:
            async with asyncio.timeout(_START_SECONDS):
                process = await asyncio.create_subprocess_exec(
                    sys.executable,
                    "-m",
                    __name__,
                    stdin=asyncio.subprocess.PIPE,
                    stdout=asyncio.subprocess.PIPE,
                    limit=2 * MAX_ANSWER,
                )
                child = _Child(process, cast("asyncio.StreamWriter", process.stdin))
                answers = cast("asyncio.StreamReader", process.stdout)
                child.questions.write(orjson.dumps(self._head, option=orjson.OPT_APPEND_NEWLINE))
                self._reading = asyncio.get_running_loop().create_task(self._read(child, answers))
                ready: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
                child.waiting.append(ready)
                try:
                    await ready
                except TimeoutError:
                    child.kill()
                    raise
                finally:
                    _forgive(ready)
        except (OSError, AskError) as error:
            self._starting = None
            raise AskError("its process cannot be started") from error
        return child

    async def _read(self, child: _Child, answers: asyncio.StreamReader) -> None:
        # ValueError: a line that is too long, after which nothing can be believed.
        with contextlib.suppress(ValueError, OSError):
            while (line := await answers.readline()) and child.waiting:
                answer = child.waiting.popleft()
                if not answer.done():
                    answer.set_result(line)
        self._starting = None
        child.kill()
        await child.process.wait()
        child.questions.close()
        with contextlib.suppress(OSError):
            await child.questions.wait_closed()
        while child.waiting:
            answer = child.waiting.popleft()
            if not answer.done():
                answer.set_exception(AskError("its process has ended"))


def _forgive(answer: "asyncio.Future[bytes]") -> None:
    """Whoever was to hear of a failure may have gone at the same moment: then nobody need."""
    if answer.done() and not answer.cancelled():
        answer.exception()


def _end(starting: asyncio.Task[_Child]) -> None:
    if not starting.cancelled() and starting.exception() is None:
        starting.result().kill()


def main() -> None:
    """Be such a process."""
    lines = iter(sys.stdin.buffer.readline, b"")
    head = read_head(orjson.loads(next(lines)))
    _say("ready")
    for line in lines:
        _say(head.scores(orjson.loads(line)))


def _say(answer: object) -> None:
    sys.stdout.buffer.write(orjson.dumps(answer, option=orjson.OPT_APPEND_NEWLINE))
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
