"""All detectors that judge windows, of all policies that a worker has loaded: asked, bounded, tried, and counted.

Whatever goes wrong with a detector has a status of its own, and none of them is `ok`. Each detector is asked about so
many windows at once; some more wait, within their time; whoever comes after that hears at once that it was too much.
"""

import asyncio
import logging
import ssl
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Final, Protocol

from understudy.domain.state import DetectorState
from understudy.gateway.heads import HeadProcess
from understudy.gateway.outside import AskError, Outside
from understudy.gateway.wire.inside import Inside
from understudy.guard.actions import Where
from understudy.guard.findings import Finding, Status
from understudy.guard.policy import Policy
from understudy.guard.served.addresses import may_be_asked
from understudy.guard.served.codec import Question, UnreadableError
from understudy.guard.served.judge import Judge
from understudy.guard.windows import Window

if TYPE_CHECKING:
    from understudy.gateway.wire.plane import Plane

LOG: Final = logging.getLogger(__name__)
AT_ONCE: Final = 64
"""Windows that one detector is asked about at once."""
WAITING: Final = 256
"""Windows that wait for that, beyond which they fail."""
COPIES: Final = 8
"""Windows of copies that it is asked about besides: where no client waits behind them."""
CANARY_SECONDS: Final = 30.0
_SPREAD: Final = 0.2
NOT_TRIED: Final = "not tried yet"
# Characters of what is wrong with a detector that are passed on.
_LONGEST_WHY: Final = 256

Verdict = tuple[tuple[Finding, ...], Status]


class Server(Protocol):
    """Whoever serves a detector."""

    async def ask(self, question: Question, seconds: float) -> bytes:
        """Raises AskError and OSError, TimeoutError among them."""
        ...

    def close(self) -> None:
        """It is not asked any more."""
        ...


class Seat:
    """One detector of one policy. `name` is namespace/guardrail/detector; `at_once` and `waiting` bound its windows.

    `health` is why it cannot be relied on, empty if nothing is known against it, and `since` when it became so or ended
    to be so, in seconds since 1970.
    """

    __slots__ = (
        "_copies",
        "_failures",
        "_free",
        "_judge",
        "_room",
        "_server",
        "counts",
        "health",
        "name",
        "seconds",
        "since",
    )

    def __init__(self, name: str, judge: Judge, server: Server, at_once: int = AT_ONCE, waiting: int = WAITING) -> None:
        self.name = name
        self._judge = judge
        self._server = server
        self._free = asyncio.Semaphore(at_once)
        self._copies = asyncio.Semaphore(COPIES)
        self._room = at_once + waiting
        self._failures = 0
        self.health = NOT_TRIED
        self.since = 0.0
        self.counts: Counter[str] = Counter()
        self.seconds = 0.0

    async def judge(self, window: Window, where: Where, before: str) -> Verdict:
        """What the detector says to a window; with any status but ok it has said nothing."""
        if self._room == 0:
            self.counts["overflow"] += 1
            return (), "error"
        self._room -= 1
        try:
            return await self._counted(window, where, before, self._free)
        finally:
            self._room += 1

    async def judge_copy(self, window: Window, where: Where, before: str) -> Verdict | None:
        """What it says to a window of an answer that nobody hears; None if there is no room, for which it does not
        wait.
        """
        if self._copies.locked():
            self.counts["left_out"] += 1
            return None
        return await self._counted(window, where, before, self._copies)

    async def _counted(self, window: Window, where: Where, before: str, free: asyncio.Semaphore) -> Verdict:
        loop = asyncio.get_running_loop()
        began = loop.time()
        found, status, why = await self._ask(window, where, before, free)
        self.counts[status] += 1
        self.seconds += loop.time() - began
        if why:
            LOG.debug("detector %s: %s: %s", self.name, status, why)
        return found, status

    async def try_it(self) -> None:
        """Ask about the canary's texts, and see whether it tells them from each other.

        One that has been well is unwell only by the second failure in a row: a busy moment is no illness.
        """
        why = await self._wrong()
        self._failures = self._failures + 1 if why else 0
        self.counts["canary_failed" if why else "canary_ok"] += 1
        if not why or self._failures > 1 or self.health:
            if why != self.health:
                LOG.log(logging.WARNING if why else logging.INFO, "detector %s: %s", self.name, why or "well")
            if self.health == NOT_TRIED or bool(why) != bool(self.health):
                self.since = time.time()
            self.health = why

    def close(self) -> None:
        """It is not asked any more."""
        self._server.close()

    async def _wrong(self) -> str:
        for text, must in ((self._judge.found, True), (self._judge.clear, False)):
            found, status, why = await self._ask(Window(0, len(text), text), "input", "", self._free)
            if status != "ok":
                return f"no answer to the canary: {why}"
            if bool(found) is not must:
                return (
                    "it finds nothing in the text of the canary in which it must"
                    if must
                    else f"it finds {found[0].category} in the text of the canary in which there is nothing"
                )
        return ""

    async def _ask(
        self, window: Window, where: Where, before: str, free: asyncio.Semaphore
    ) -> tuple[tuple[Finding, ...], Status, str]:
        """Findings, status, and what was wrong. Nothing that an answer can be gets past as another's mistake."""
        loop = asyncio.get_running_loop()
        until = loop.time() + self._judge.timeout
        try:
            async with asyncio.timeout_at(until):
                await free.acquire()
            try:
                questions = self._judge.codec.questions(window, where, before)
                left = until - loop.time()
                # Not a group of tasks: one of whose tasks fails as it is cancelled forgets that it was.
                said = await asyncio.gather(
                    *(self._server.ask(question, left) for question in questions), return_exceptions=True
                )
            finally:
                free.release()
            answers = [each for each in said if isinstance(each, bytes)]
            failures = [each for each in said if isinstance(each, BaseException)]
            if failures:
                return self._failed(failures[0])
            return self._judge.codec.read(answers, window, where), "ok", ""
        except TimeoutError:
            return (), "timeout", "others were before it for too long"
        except UnreadableError as error:
            return (), "unparseable", str(error)
        except Exception:
            LOG.exception("detector %s could not be asked", self.name)
            return (), "error", "a mistake of the gateway's"

    def _failed(self, first: BaseException) -> tuple[tuple[Finding, ...], Status, str]:
        if isinstance(first, TimeoutError):
            return (), "timeout", f"nothing within {self._judge.timeout:g} s"
        if not isinstance(first, AskError | OSError):
            LOG.error("detector %s could not be asked", self.name, exc_info=first)
        return (), "error", str(first) or type(first).__name__


class Panel:
    """The detectors of a worker. `allowed` says which addresses may be asked; `at_once` and `waiting` are of each."""

    def __init__(
        self,
        plane: "Plane",
        *,
        allowed: Callable[[str], bool] = may_be_asked,
        at_once: int = AT_ONCE,
        waiting: int = WAITING,
        canary_seconds: float = CANARY_SECONDS,
    ) -> None:
        self._plane = plane
        self._allowed = allowed
        self._bounds = at_once, waiting
        self._canary_seconds = canary_seconds
        self._seats: dict[str, dict[str, Seat]] = {}
        self._gone: Counter[str] = Counter()
        self._gone_seconds: dict[str, float] = {}
        self._canaries: dict[Seat, asyncio.Task[None]] = {}

    def follow(self, policies: Mapping[str, tuple[str, Policy]]) -> None:
        """Have the detectors of exactly these policies, by hash: (namespace, policy)."""
        for policy_hash in [each for each in self._seats if each not in policies]:
            for seat in self._seats.pop(policy_hash).values():
                self._leave(seat)
        for policy_hash, (namespace, policy) in policies.items():
            if policy_hash not in self._seats:
                seats = [self._seat(namespace, judge) for judge in policy.judges]
                self._seats[policy_hash] = {judge.name: seat for judge, seat in zip(policy.judges, seats, strict=True)}
                for seat in seats:
                    self._canaries[seat] = asyncio.get_running_loop().create_task(self._try_forever(seat))

    async def judge(self, policy_hash: str, detector: str, window: Window, where: Where, before: str = "") -> Verdict:
        """What a detector (guardrail/detector) says to a window: findings and a status, for `Gate.heard`.

        `before`: what the user said before the answer that the window is of. Never raises but for being cancelled.
        """
        seat = self._seats.get(policy_hash, {}).get(detector)
        if seat is None:
            # The policy was let go meanwhile: nobody can be asked for it.
            return (), "error"
        return await seat.judge(window, where, before)

    async def judge_copy(
        self, policy_hash: str, detector: str, window: Window, where: Where, before: str = ""
    ) -> Verdict | None:
        """The same for a copy's answer, which takes no place of a client's; None if there is no room for it."""
        seat = self._seats.get(policy_hash, {}).get(detector)
        return ((), "error") if seat is None else await seat.judge_copy(window, where, before)

    def health(self) -> dict[str, str]:
        """By namespace/guardrail/detector and the policy's hash, why it cannot be relied on; empty if nothing is known.

        Gateways have two policies of one Guardrail while it is being edited, and each may ask somebody else.
        """
        return {
            f"{seat.name} {key.rpartition('/')[2]}": seat.health
            for key, seats in self._seats.items()
            for seat in seats.values()
        }

    def told(self, policies: Collection[str]) -> dict[str, DetectorState]:
        """What `/state` says of the detectors of these policies; of those that have been tried.

        What is wrong with one was seen when its canary was tried: it speaks of no text of anybody's.
        """
        return {
            f"{policy}/{name.partition('/')[2]}": DetectorState(_short(seat.health), seat.since)
            for policy in policies
            for name, seat in self._seats.get(policy, {}).items()
            if seat.health != NOT_TRIED
        }

    def close(self) -> None:
        """Ask nobody any more."""
        self.follow({})

    def gauges(self) -> dict[str, tuple[str, dict[str, float]]]:
        """What metrics show of the detectors, as `Plane.gauges`."""
        seats = [seat for seats in self._seats.values() for seat in seats.values()]
        counted = sum((_named(seat) for seat in seats), Counter(self._gone))
        windows = {name: float(count) for name, count in counted.items()}
        seconds = dict(self._gone_seconds)
        for seat in seats:
            seconds[seat.name] = seconds.get(seat.name, 0.0) + seat.seconds
        return {
            "understudy_detector_windows_total": (
                "Windows that detectors were asked about, by detector and what became of them",
                windows or {"none none": 0},
            ),
            "understudy_detector_seconds_total": (
                "Time that detectors took to answer, waiting included",
                seconds or {"none": 0},
            ),
            "understudy_detector_healthy": (
                "Whether a detector tells its canary's texts from each other",
                {name: float(not why) for name, why in self.health().items()} or {"none none": 1},
            ),
        }

    def _seat(self, namespace: str, judge: Judge) -> Seat:
        server: Server
        if judge.head:
            server = HeadProcess(judge.head)
        elif judge.model:
            server = Inside(self._plane, f"{namespace}/{judge.model}")
        else:
            try:
                server = Outside(judge.url, judge.authority, allowed=self._allowed)
            except ssl.SSLError:
                server = _Nobody("its caRef holds no certificate: want PEM")
        return Seat(f"{namespace}/{judge.name}", judge, server, *self._bounds)

    def _leave(self, seat: Seat) -> None:
        self._canaries.pop(seat).cancel()
        seat.close()
        self._gone.update(_named(seat))
        self._gone_seconds[seat.name] = self._gone_seconds.get(seat.name, 0.0) + seat.seconds

    async def _try_forever(self, seat: Seat) -> None:
        while True:
            await seat.try_it()
            # Detectors of many workers that began at the same moment are not tried at the same moment.
            await asyncio.sleep(self._canary_seconds * (1 + _SPREAD * (self._plane.random() - 0.5)))


class _Nobody:
    """Stands for a server that cannot be spoken to, and says why."""

    def __init__(self, why: str) -> None:
        self._why = why

    async def ask(self, question: Question, seconds: float) -> bytes:
        """Raises AskError."""
        del question, seconds
        raise AskError(self._why)

    def close(self) -> None:
        """Nothing to end."""


def _short(why: str) -> str:
    """What is wrong, on one line of bounded length: a server may have had a say in it."""
    return "".join(char if char.isprintable() else " " for char in why[:_LONGEST_WHY])


def _named(seat: Seat) -> Counter[str]:
    return Counter({f"{seat.name} {what}": count for what, count in seat.counts.items()})
