"""Questions to detectors of tier 1 while an answer goes on: asked at once, and heard in a later turn of the loop."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any, Final

from understudy.gateway.policy.verdicts import Passage, Question, Verdicts
from understudy.guard.findings import Finding, Status
from understudy.guard.windows import Window

if TYPE_CHECKING:
    from understudy.gateway.wire.panel import Panel
    from understudy.gateway.wire.watch import Watch

EARLY_SECONDS: Final = 0.4
Heard = Callable[[Question, str, Sequence[Finding], Status], None]


class Asking:
    """Those of one answer, under a request's `watch`. `heard` is told of every word, once."""

    __slots__ = ("_heard", "_looks", "_panel", "_tasks", "_verdicts", "_watch")

    def __init__(self, verdicts: Verdicts, watch: "Watch", panel: "Panel", heard: Heard) -> None:
        self._verdicts = verdicts
        self._watch = watch
        self._panel = panel
        self._heard = heard
        self._looks = False
        self._tasks: set[asyncio.Task[None]] = set()

    def look(self) -> None:
        """Ask what is to be asked by now."""
        if not self._looks:
            self._looks = True
            self._do(self._look_early())
        questions = self._verdicts.questions
        while questions:
            question = questions.pop(0)
            for detector in sorted(self._verdicts.asked):
                self._do(self._ask(question, detector))

    async def _look_early(self) -> None:
        """Ask about what is not complete for long: a sentence without an end must not hide what is in it."""
        known: dict[Passage, Window] = {}
        while True:
            await asyncio.sleep(EARLY_SECONDS)
            waiting = {question.passage: question for question in self._verdicts.waiting()}
            for passage, question in waiting.items():
                last = known.get(passage)
                if last is not None and question.window.grown(last):
                    self._verdicts.questions.append(question)
            known = {passage: question.window for passage, question in waiting.items()}
            self.look()

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def close(self) -> None:
        """Nobody hears the rest."""
        for task in tuple(self._tasks):
            task.cancel()

    async def _ask(self, question: Question, detector: str) -> None:
        policy = self._watch.policy_of(detector)
        said = await self._panel.judge(policy, detector, question.window, "output", self._watch.asked)
        self._heard(question, detector, *said)
