"""Questions to detectors of tier 1 while an answer goes on: asked at once, and heard in a later turn of the loop."""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any, Final

from understudy.gateway.policy.verdicts import Passage, Question, Verdicts
from understudy.guard.findings import Finding, Status
from understudy.guard.windows import Window

if TYPE_CHECKING:
    from understudy.gateway.wire.panel import Panel
    from understudy.gateway.wire.watch import Watch

EARLY_SECONDS: Final = 0.4
# Windows of one answer about which each detector is asked at once: the others' turn comes between.
AT_ONCE: Final = 16
# The same of a copy's answer, for which there is little room.
OF_A_COPY: Final = 2
Heard = Callable[[Question, str, Sequence[Finding], Status], None]
Crowded = Callable[[], None]


class Asking:
    """Those of one answer, under a request's `watch`. `heard` is told of every word, once.

    `crowded` is that of a copy's answer: there was no room to ask about it. Who asks for a client waits for room.
    """

    __slots__ = ("_asked", "_crowded", "_early", "_heard", "_line", "_panel", "_tasks", "_verdicts", "_watch")

    def __init__(
        self, verdicts: Verdicts, watch: "Watch", panel: "Panel", heard: Heard, crowded: Crowded | None = None
    ) -> None:
        self._verdicts = verdicts
        self._watch = watch
        self._panel = panel
        self._heard = heard
        self._crowded = crowded
        # What looks for windows that are not complete for long.
        self._early: asyncio.Task[None] | None = None
        # Who is to be asked about what, and how many words are waited for.
        self._line: deque[tuple[Question, str]] = deque()
        self._asked = 0
        self._tasks: set[asyncio.Task[None]] = set()

    def look(self) -> None:
        """Ask what is to be asked by now."""
        if self._early is None:
            self._early = self._do(self._look_early())
        detectors, questions = sorted(self._verdicts.asked), self._verdicts.questions
        self._line += [(question, detector) for question in questions for detector in detectors]
        questions.clear()
        self._go_on()

    @property
    def waits(self) -> bool:
        """Whether there is somebody who has yet to speak."""
        return bool(self._line or self._asked)

    def _go_on(self) -> None:
        most = (AT_ONCE if self._crowded is None else OF_A_COPY) * len(self._verdicts.asked)
        while self._line and self._asked < most:
            self._asked += 1
            self._do(self._ask(*self._line.popleft()))

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

    def _do(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def outlive(self, then: Callable[[], None]) -> None:
        """The answer has gone out before all have spoken, for whom nobody waited: hear them to the end, and go on."""
        if self._early is not None:
            self._early.cancel()

        def note(question: Question, detector: str, findings: Sequence[Finding], status: Status) -> None:
            self._verdicts.take(question.passage, question.heard(detector, findings, status))
            if not self.waits:
                then()

        self._heard = note

    def close(self) -> None:
        """Nobody hears the rest."""
        for task in tuple(self._tasks):
            task.cancel()

    async def _ask(self, question: Question, detector: str) -> None:
        policy = self._watch.policy_of(detector)
        judge = self._panel.judge if self._crowded is None else self._panel.judge_copy
        said = await judge(policy, detector, question.window, "output", self._watch.asked)
        self._asked -= 1
        if said is None:
            if self._crowded is not None:
                self._crowded()
            return
        self._go_on()
        self._heard(question, detector, *said)
