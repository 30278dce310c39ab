"""Replays the probe sets of Guardrails to candidates, and to stable where that decides, as plans say.

```
 Plan.replay ─► set_replay ─► a task: texts and policies are read ─► prompts ─► answers ─► jury ─► Observed.replay
                                                     what could not be judged is tried again, later and later ◄─┘
```
Answers and prompts are kept nowhere: a report holds names of prompts and what was found.
"""

import asyncio
import base64
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import aiohttp

from understudy.domain.key import Key
from understudy.domain.table import Guard
from understudy.engine.asking import Detectors
from understudy.engine.contents import ConfigMapContents
from understudy.engine.jury import Jury
from understudy.engine.prober import Engine
from understudy.guard.policy import Policy
from understudy.guard.probeset import ProbePrompt, ProbeSetError, probe_set_hash, read_probe_set
from understudy.guard.shards import OtherPolicyError, ShardError, policy_of
from understudy.kube.errors import ApiError
from understudy.plan.actions import Probe
from understudy.plan.replay import ProbeSet, Replay, ReplayReport, SetReport, Spoken, compares
from understudy.telemetry.operator import OperatorMetrics

log = logging.getLogger(__name__)

# Where policies are compiled: out of the event loop's way.
aside = asyncio.to_thread

ANSWER_SECONDS: Final = 120.0
CANDIDATE_AT_ONCE: Final = 8
"""Prompts that a candidate answers at once: nobody else asks it anything."""
STABLE_AT_ONCE: Final = 2
"""Stable serves people meanwhile."""
PAUSES: Final = (1.0, 2.0, 4.0, 8.0, 15.0)
"""Seconds before what could not be judged is tried again; after all of them it is settled that it cannot be for now."""
CALM: Final = 30.0
"""Seconds between two tries after that."""
# Stands for all prompts of a set, of which none could be asked.
_ALL: Final = "all of them"
_DEFECT: Final = "a defect of Understudy, please report it; the operator's log says more"
_FAILURES = (OSError, TimeoutError, ValueError, KeyError, TypeError, IndexError, AttributeError, aiohttp.ClientError)


class _UnreadyError(Exception):
    """What is to be asked, or by what it is to be judged, cannot be had now; the message says why."""


@dataclass(slots=True)
class _Run:
    """One replay: which pods are asked now, and by Guardrail and side what is known of each prompt."""

    replay: Replay
    pods: Mapping[str, Probe]
    said: dict[str, tuple[dict[str, Spoken], dict[str, Spoken]]]
    tries: int = 0
    task: asyncio.Task[None] | None = None
    news: asyncio.Event = field(default_factory=asyncio.Event)

    def report(self) -> ReplayReport:
        settled = self.tries > len(PAUSES)
        sets = {name: SetReport(dict(own), dict(other), settled) for name, (own, other) in self.said.items()}
        return ReplayReport(self.replay.matter, sets)

    def go_on(self, replay: Replay, pods: Mapping[str, Probe]) -> None:
        """The same matter with the pods of now."""
        self.replay, self.pods = replay, pods
        self.news.set()

    async def others_there(self) -> None:
        """Wait until other pods may be asked."""
        self.news.clear()
        await self.news.wait()

    def is_over(self) -> bool:
        """Everything that decides has been judged."""
        return not any(spoken.unknown for sides in self.said.values() for side in sides for spoken in side.values())

    def askable(self, uids: Sequence[str]) -> list[Probe]:
        return [self.pods[uid] for uid in uids if uid in self.pods]


@dataclass(slots=True)
class Replayer:
    """At most one replay for each deployment. `wake` is called when there is news of one."""

    engine: Engine
    detectors: Detectors
    contents: ConfigMapContents
    metrics: OperatorMetrics
    wake: Callable[[Key], None]
    _runs: dict[Key, _Run] = field(default_factory=dict)

    def set_replay(self, key: Key, replay: Replay | None, probes: Sequence[Probe]) -> None:
        """Replay exactly this for the deployment from now on; what is about the same goes on with today's pods."""
        known = self._runs.get(key)
        pods = {probe.pod_uid: probe for probe in probes}
        if known is not None and replay is not None and known.replay.matter == replay.matter:
            known.go_on(replay, pods)
            return
        if known is not None and known.task is not None:
            known.task.cancel()
        self._runs.pop(key, None)
        if replay is not None:
            run = _Run(replay, pods, {probe_set.guardrail: ({}, {}) for probe_set in replay.sets})
            run.task = asyncio.create_task(self._go(key, run))
            self._runs[key] = run

    def observed(self, key: Key) -> ReplayReport | None:
        """What the replay of the deployment has come to so far."""
        run = self._runs.get(key)
        return run.report() if run is not None else None

    async def stop(self) -> None:
        """Ask nothing any more."""
        tasks = [run.task for run in self._runs.values() if run.task is not None]
        self._runs.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _go(self, key: Key, run: _Run) -> None:
        while True:
            why = await self._round(key, run)
            for own, _ in run.said.values():
                own.pop(_ALL, None)
                own.update({_ALL: Spoken(unknown=why)} if why else {})
            run.tries += 1
            self.wake(key)
            if run.is_over():
                return
            await asyncio.sleep(PAUSES[run.tries - 1] if run.tries <= len(PAUSES) else CALM)

    async def _round(self, key: Key, run: _Run) -> str:
        """Ask what has not been judged; why that cannot be done at all, "" if it was."""
        try:
            jury, prompts = await self._prepared(key.namespace, run.replay)
        except _UnreadyError as error:
            return str(error)
        except Exception:
            log.exception("%s: probe sets cannot be replayed", key)
            return _DEFECT
        await self._ask_all(key, run, jury, prompts)
        return ""

    async def _ask_all(self, key: Key, run: _Run, jury: Jury, prompts: Mapping[str, Sequence[ProbePrompt]]) -> None:
        """Whatever has not been judged, once more."""
        for probe_set in run.replay.sets:
            own, other = run.said[probe_set.guardrail]
            asked = prompts[probe_set.guardrail]
            await self._ask_side(run, lambda: run.replay.subjects, CANDIDATE_AT_ONCE, jury, probe_set, asked, own)
            if compares(probe_set, SetReport(own)):
                self.wake(key)
                await self._ask_side(run, lambda: run.replay.others, STABLE_AT_ONCE, jury, probe_set, asked, other)

    async def _ask_side(
        self,
        run: _Run,
        side: Callable[[], Sequence[str]],
        at_once: int,
        jury: Jury,
        probe_set: ProbeSet,
        prompts: Sequence[ProbePrompt],
        known: dict[str, Spoken],
    ) -> None:
        left = [prompt for prompt in prompts if prompt.id not in known or known[prompt.id].unknown]
        waiting = iter(enumerate(left))

        async def asker() -> None:
            for number, prompt in waiting:
                while not (pods := run.askable(side())):
                    await run.others_there()
                # Nothing may fail in here: a group that ends by a failure forgets that it was cancelled.
                known[prompt.id] = await self._asked(pods[number % len(pods)], jury, probe_set, prompt)

        async with asyncio.TaskGroup() as group:
            for _ in range(min(at_once, len(left))):
                group.create_task(asker())

    async def _asked(self, pod: Probe, jury: Jury, probe_set: ProbeSet, prompt: ProbePrompt) -> Spoken:
        try:
            return await self._ask(pod, jury, probe_set, prompt)
        except Exception:
            log.exception("an answer of %s to prompt %s cannot be judged", pod.model_id, prompt.id)
            return Spoken(unknown=_DEFECT)

    async def _ask(self, pod: Probe, jury: Jury, probe_set: ProbeSet, prompt: ProbePrompt) -> Spoken:
        body = {
            "model": pod.model_id,
            "messages": [dict(message) for message in prompt.messages],
            "max_tokens": prompt.max_tokens,
            "temperature": 0,
        }
        try:
            answer = await self.engine.post(pod, "/v1/chat/completions", body, ANSWER_SECONDS)
            texts = _texts(answer["choices"][0]["message"])
        except TimeoutError:
            spoken = Spoken(unknown=f"no answer within {ANSWER_SECONDS:g} s")
        except _FAILURES as error:
            # What an engine says may quote the prompt.
            spoken = Spoken(unknown=str(error).partition(":")[0][:200] or type(error).__name__)
        else:
            before = next((m["content"] for m in reversed(prompt.messages) if m["role"] == "user"), "")
            spoken = await jury.judge(texts, before)
            if spoken.severity >= probe_set.severity:
                # Whatever the detectors that failed would have said: it is bad.
                spoken = Spoken(spoken.category, spoken.severity)
        outcome = "unknown" if spoken.unknown else "bad" if spoken.severity >= probe_set.severity else "ok"
        self.metrics.probes.labels("probe set", outcome).inc()
        return spoken

    async def _prepared(self, namespace: str, replay: Replay) -> tuple[Jury, Mapping[str, Sequence[ProbePrompt]]]:
        """Who judges, and the prompts by Guardrail. Raises _UnreadyError."""
        try:
            policies = [await self._policy(namespace, guard) for guard in replay.guards]
            prompts = {each.guardrail: await self._prompts(namespace, each) for each in replay.sets}
            ask = self.detectors.ask
            acting = [policy for policy in policies if policy.enforced]
            jury = await aside(Jury, acting, lambda judge, question: ask(namespace, judge, question))
        except ApiError as error:
            raise _UnreadyError(f"a ConfigMap cannot be read: {error}") from error
        return jury, prompts

    async def _policy(self, namespace: str, guard: Guard) -> Policy:
        """The policy that the table names, from its parts, as gateways have it."""
        found = await self.contents.read(namespace, {("ConfigMap", name) for name in guard.shards})
        try:
            parts = [base64.b64decode(found[name]["binaryData"]["policy"]) for name in guard.shards]
            policy, _ = await aside(policy_of, parts, guard.name, guard.policy)
        except OtherPolicyError as error:
            raise _UnreadyError(f"the parts of the policy of Guardrail {guard.name} are those of another") from error
        except (KeyError, ValueError, ShardError) as error:
            raise _UnreadyError(f"the policy of Guardrail {guard.name} cannot be loaded") from error
        return policy

    async def _prompts(self, namespace: str, probe_set: ProbeSet) -> Sequence[ProbePrompt]:
        name = probe_set.config_map
        found = await self.contents.read(namespace, {("ConfigMap", name)})
        text = ((found.get(name) or {}).get("data") or {}).get(probe_set.key)
        if text is None or probe_set_hash(text) != probe_set.hash:
            raise _UnreadyError(f"ConfigMap {name} has just changed")
        try:
            return read_probe_set(text)
        except ProbeSetError as error:
            raise _UnreadyError(f"ConfigMap {name}, {error}") from error


def _texts(message: Mapping[str, Any]) -> list[str]:
    """All that a reader of an answer could see. Raises ValueError for what is no text."""
    said = [message.get(field) for field in ("reasoning", "reasoning_content", "content", "refusal")]
    if any(text is not None and not isinstance(text, str) for text in said):
        raise ValueError("the answer has something else than text")
    return [text for text in said if text]
