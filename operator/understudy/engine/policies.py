"""Compiles the policies of Guardrails beside the event loop, and remembers what each came to.

A long list of patterns takes seconds, and deployments must not wait for it: one policy is compiled at a time, in a
thread, and whoever asked is woken when it is done.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from understudy.domain.key import Key
from understudy.guard.policy import PolicyError, compile_policy, policy_hash
from understudy.guard.shards import ShardError, pack
from understudy.plan.guardrail import Verdict

log = logging.getLogger(__name__)

# Where it is compiled: out of the event loop's way.
aside = asyncio.to_thread
# Most are done within this time, in seconds: then nothing need be said of the wait.
PATIENCE: Final = 2.0


@dataclass(frozen=True, slots=True)
class _Job:
    policy: str
    task: asyncio.Task[Verdict]


class Policies:
    """The latest verdict on each Guardrail that was asked about and not forgotten."""

    def __init__(self, wake: Callable[[Key], None]) -> None:
        """`wake` is called when a verdict has come that was not waited for."""
        self._wake = wake
        self._jobs: dict[Key, _Job] = {}
        self._one = asyncio.Lock()

    async def verdict(self, key: Key, spec: Mapping[str, Any], sources: Mapping[str, str]) -> Verdict | None:
        """What the policy comes to; None while that is being found out."""
        policy, job = policy_hash(spec, sources), self._jobs.get(key)
        if job is None or job.policy != policy:
            job = _Job(policy, asyncio.create_task(self._compile(key.name, spec, sources)))
            self._jobs[key] = job
        done, _ = await asyncio.wait({job.task}, timeout=PATIENCE)
        if done:
            return job.task.result()
        job.task.add_done_callback(lambda _done: self._wake(key))
        return None

    def forget(self, key: Key) -> None:
        """Nobody needs to know any more."""
        self._jobs.pop(key, None)

    async def _compile(self, name: str, spec: Mapping[str, Any], sources: Mapping[str, str]) -> Verdict:
        async with self._one:
            return await aside(compiled, name, spec, sources)


def compiled(name: str, spec: Mapping[str, Any], sources: Mapping[str, str]) -> Verdict:
    """What the policy of a Guardrail comes to."""
    try:
        policy = compile_policy(name, spec, sources)
        return Verdict(guarantees=policy.guarantees(), parts=pack(name, spec, sources))
    except PolicyError as error:
        return Verdict(problems=error.problems)
    except ShardError as error:
        return Verdict(problems=(str(error),))
    except Exception as error:
        log.exception("Guardrail %s: the policy cannot be compiled", name)
        return Verdict(problems=(f"a defect of Understudy, please report it: {type(error).__name__}: {error}",))
