"""What the Guardrails of a deployment find in a whole answer, with every detector that they have.

Unlike a gateway's gates it lets nothing out and ends nothing: all of the answer is judged, whatever is found in it
first. A detector that fails has said nothing, and that is said.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence

from understudy.engine.asking import AskError
from understudy.guard.findings import Finding
from understudy.guard.merge import merge
from understudy.guard.policy import Policy
from understudy.guard.portable_engine import PortableEngine
from understudy.guard.served.codec import Question, UnreadableError
from understudy.guard.served.judge import Judge
from understudy.guard.windows import Window, Windows
from understudy.plan.replay import Spoken

# Where texts are looked through: out of the event loop's way.
aside = asyncio.to_thread

Ask = Callable[[Judge, Question], Awaitable[bytes]]


class Jury:
    """The policies of one deployment; built in a thread, for it compiles expressions."""

    def __init__(self, policies: Sequence[Policy], ask: Ask) -> None:
        # Not hyperscan: texts are few and whole, and a crash would be the whole operator's.
        self._plan = merge(policies, "output", PortableEngine)
        self._judges = {judge.name: judge for policy in policies for judge in policy.judges}
        self._ask = ask

    async def judge(self, texts: Iterable[str], before: str) -> Spoken:
        """The gravest finding in what one answer says in all its channels; `before` is what the user has said."""
        findings: list[Finding] = []
        failures: list[str] = []
        for text in texts:
            found, why = await self._text(text, before)
            findings += found
            failures += why
        counted = [(self._plan.severity(each), each.category) for each in findings if self._counts(each)]
        # Of those that are as grave, always the same one is told of.
        severity, category = min(counted, key=lambda each: (-each[0], each[1]), default=(0, ""))
        return Spoken(category, severity, failures[0] if failures else "")

    async def _text(self, text: str, before: str) -> tuple[list[Finding], list[str]]:
        findings, why = await aside(self._at_once, text)
        failures = [f"the patterns: {why}"] if why else []
        windows = Windows()
        for window in [*windows.feed(text), *windows.finish()]:
            names = sorted(self._plan.asked)
            words = await asyncio.gather(*(self._window(self._judges[name], window, before) for name in names))
            for name, (found, why) in zip(names, words, strict=True):
                findings += found
                failures += [f"detector {name}: {why}"] if why else []
        return findings, failures

    def _at_once(self, text: str) -> tuple[list[Finding], str]:
        """What tier 0 finds, and how it failed."""
        scan = self._plan.detector.open()
        steps = [scan.feed(text), scan.finish()]
        failed = next((step.status for step in steps if step.status != "ok"), "")
        return [finding for step in steps for finding in step.findings], failed

    async def _window(self, judge: Judge, window: Window, before: str) -> tuple[Sequence[Finding], str]:
        """What a detector says to a window, or why it has said nothing."""
        questions = judge.codec.questions(window, "output", before)
        try:
            answers = await asyncio.gather(*(self._ask(judge, question) for question in questions))
            return judge.codec.read(answers, window, "output"), ""
        except TimeoutError:
            return (), f"nothing within {judge.timeout:g} s"
        except UnreadableError as error:
            return (), str(error)
        except (AskError, OSError, ValueError) as error:
            # What an engine or server says may quote the text.
            return (), str(error).partition(":")[0] or type(error).__name__

    def _counts(self, finding: Finding) -> bool:
        """A rule has a word for it."""
        return bool(self._plan.decide(finding))
