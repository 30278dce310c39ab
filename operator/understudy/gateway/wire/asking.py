"""Questions to detectors of tier 1 while an answer goes on: asked at once, and heard in a later turn of the loop."""

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from understudy.gateway.policy.verdicts import Question, Verdicts
from understudy.guard.findings import Finding, Status

if TYPE_CHECKING:
    from understudy.gateway.wire.panel import Panel
    from understudy.gateway.wire.watch import Watch

Heard = Callable[[Question, str, Sequence[Finding], Status], None]


class Asking:
    """Those of one answer, under a request's `watch`. `heard` is told of every word, once."""

    __slots__ = ("_heard", "_panel", "_tasks", "_verdicts", "_watch")

    def __init__(self, verdicts: Verdicts, watch: "Watch", panel: "Panel", heard: Heard) -> None:
        self._verdicts = verdicts
        self._watch = watch
        self._panel = panel
        self._heard = heard
        self._tasks: set[asyncio.Task[None]] = set()

    def look(self) -> None:
        """Ask what is to be asked by now."""
        questions = self._verdicts.questions
        while questions:
            question = questions.pop(0)
            for detector in sorted(self._verdicts.asked):
                task = asyncio.get_running_loop().create_task(self._ask(question, detector))
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
