"""Second looks at answers that have gone out: now and then, when there is time, and counted when anything was found.

A look costs more than the first one did. So a few answers at a time are listened to, whoever comes meanwhile is left
out, and what looking took is waited for many times over before the next one is looked at.
"""

import asyncio
import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Coroutine, Generator
from dataclasses import dataclass
from typing import Any, Final

from understudy.gateway.policy.guarding import Guarding
from understudy.gateway.policy.outgoing import Outgoing
from understudy.gateway.policy.verdicts import Facts
from understudy.guard.second import Leak, Leaks

LOG: Final = logging.getLogger(__name__)
MOST: Final = 32
"""Answers that are listened to or wait for their look."""
REST: Final = 49
"""For each second of the processor's time so many of doing nothing: two in a hundred go to this."""
LONGEST_REST: Final = 1.0


@dataclass(frozen=True, slots=True)
class _Ended:
    """An answer that waits for its look. `name` says in the log which one it was."""

    outgoing: Outgoing
    namespace: str
    name: str


class SecondLooks:
    """Those of one worker. `spawn` has something done beside the requests."""

    __slots__ = ("_listening", "_looking", "_queue", "_spawn", "kinds", "leaked")

    def __init__(self, spawn: Callable[[Coroutine[Any, Any, None]], None]) -> None:
        self._spawn = spawn
        self._listening = 0
        self._looking = False
        self._queue: deque[_Ended] = deque()
        self.leaked: Counter[str] = Counter()
        self.kinds: dict[str, float] = {"looked": 0, "left_out": 0, "failed": 0}

    def listen(self, guarding: Guarding, facts: Facts) -> Outgoing | None:
        """Where to say what goes out of an answer; None if nobody will look at it."""
        if guarding.second is None:
            return None
        if self._listening + len(self._queue) >= MOST:
            self.kinds["left_out"] += 1
            return None
        self._listening += 1
        referrals = (each.said() for said in guarding.referrals.values() for each in said.values())
        return Outgoing(guarding.second, facts, referrals)

    def over(self, outgoing: Outgoing, namespace: str, name: str, *, judged: bool) -> None:
        """No more of it goes out. Without having been `judged` it was let pass as it came, and that is known."""
        self._listening -= 1
        if not judged:
            return
        self._queue.append(_Ended(outgoing, namespace, name))
        if not self._looking:
            self._looking = True
            self._spawn(self._look())

    async def _look(self) -> None:
        """Look at all that wait, one by one."""
        while self._queue:
            ended = self._queue.popleft()
            try:
                for text in ended.outgoing.texts():
                    facts = ended.outgoing.facts
                    steps = ended.outgoing.second.look(text, fiction=facts.fiction, in_crisis=facts.in_crisis)
                    for leak in await self._go_through(steps):
                        self._tell(ended, leak)
                self.kinds["looked"] += 1
            except Exception:
                LOG.exception("answer %s could not be looked at again", ended.name)
                self.kinds["failed"] += 1
        self._looking = False

    async def _go_through(self, steps: Generator[None, None, Leaks]) -> Leaks:
        while True:
            began = time.thread_time()
            try:
                next(steps)
            except StopIteration as over:
                leaks: Leaks = over.value
                return leaks
            await asyncio.sleep(min(REST * (time.thread_time() - began), LONGEST_REST))

    def _tell(self, ended: _Ended, leak: Leak) -> None:
        self.leaked[f"{ended.namespace}/{leak.guardrail} {leak.category}"] += 1
        # Where, and nothing of what it is: the log is read by others than whom it was said to.
        LOG.error(
            "answer %s: %s of Guardrail %s/%s went out, at %d of its text",
            ended.name,
            leak.category,
            ended.namespace,
            leak.guardrail,
            leak.start,
        )

    def gauges(self) -> dict[str, tuple[str, dict[str, float]]]:
        """What metrics show of them, as `Plane.gauges`."""
        return {
            "understudy_guard_leaked_total": (
                "What rules forbid and a second look found in an answer that had gone out; 0 unless Guardrails fail",
                {kind: float(count) for kind, count in self.leaked.items()} or {"none none": 0},
            ),
            "understudy_guard_second_looks_total": (
                "Answers under Guardrails, by whether they were looked at again",
                dict(self.kinds),
            ),
        }
