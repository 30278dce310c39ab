"""The verbs: a request to the operator by annotation, and what it answered.

Exactly what the operator takes is offered. `promote` and `promote-full` name the candidate that was seen, so that
they never apply to one that came meanwhile; a nonce makes each request a new one.
"""

import argparse
import secrets
from dataclasses import dataclass
from typing import Final

from understudy.cli.plugin import flags
from understudy.cli.plugin.documents import document, rendered
from understudy.cli.plugin.failure import PluginError
from understudy.cli.plugin.session import Session
from understudy.domain.names import ANNOTATION_REQUEST
from understudy.kube.client import Object
from understudy.kube.errors import ApiError, Retry

VERBS: Final = {
    "pause": "take no further step until resume; faults still turn back",
    "resume": "go on with the steps",
    "promote": "take the next step now, without further samples and soak",
    "promote-full": "take all steps without further samples and soak",
    "abort": "go back to what served before, at once",
    "retry": "let the failed revision that the spec asks for start again",
}
_NAMES_CANDIDATE: Final = frozenset({"promote", "promote-full"})
_PAUSE: Final = 0.25  # seconds between two looks at the status
EPILOG = f"""\
  kubectl understudy pause storyteller
  kubectl understudy promote storyteller         names the candidate that is there now, and no later one
  kubectl understudy abort storyteller --timeout 0s     ask, and do not wait for the answer

The request is written as the annotation {ANNOTATION_REQUEST}; the operator answers in the status. What does not
apply is refused with the reason, and the exit status is 1. Without this plugin:

  kubectl annotate mdep storyteller {ANNOTATION_REQUEST}=abort --overwrite
"""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the operator made of a request: `applied` None until it has looked at it, `message` why it did not."""

    namespace: str
    name: str
    request: str
    applied: bool | None
    message: str
    phase: str
    plan: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of every verb."""
    parser.add_argument("name", type=flags.name, help="the ModelDeployment")
    parser.add_argument(
        "--timeout",
        type=flags.duration,
        default=15.0,
        metavar="TIME",
        help="wait so long for the answer (default: 15s)",
    )


async def run(session: Session, args: argparse.Namespace) -> int:
    """Ask, and say what came of it."""
    before = await session.reader.deployment(args.name)
    value = wording(args.command, before, secrets.token_hex(4), getattr(args, "number", None))
    await session.reader.request(before, value)
    answer = await _answer(session, args.name, value, args.timeout)
    if args.output:
        session.out.write(rendered(document(answer), args.output))
        return 0 if answer.applied or not args.timeout else 1
    if answer.applied is False:
        raise PluginError(f"{args.name}: {args.command} was not applied: {answer.message}")
    if answer.applied is None and args.timeout:
        raise PluginError(
            f"{args.name}: the operator has not answered within {args.timeout:g} s; the request stands, and is taken "
            "when it is back: kubectl understudy status shows it then"
        )
    done = "done" if answer.applied else "asked for"
    session.show(
        [f"{args.name}: {args.command} {done}", *([f"{answer.phase}: {answer.plan}"] if answer.applied else [])]
    )
    return 0


def wording(verb: str, deployment: Object, nonce: str, number: int | None = None) -> str:
    """The annotation's value; PluginError when it must name a candidate and there is none."""
    if number is not None:
        return f"{verb}={number};{nonce}"
    if verb not in _NAMES_CANDIDATE:
        return f"{verb};{nonce}"
    status = deployment.get("status") or {}
    candidate = status.get("candidate", "")
    if not candidate:
        phase = status.get("phase") or "not looked at yet"
        raise PluginError(f"{deployment['metadata']['name']}: there is no candidate to promote (phase: {phase})")
    return f"{verb}@{candidate};{nonce}"


def answered(deployment: Object, value: str) -> Answer:
    """What the object says about the request; PluginError if another one took its place."""
    meta, status = deployment["metadata"], deployment.get("status") or {}
    handled = status.get("lastHandledRequest", "")
    there = (meta.get("annotations") or {}).get(ANNOTATION_REQUEST, "")
    if value not in (handled, there):
        raise PluginError(
            f"{meta['name']}: another request, {there or 'none'}, took its place before an answer was seen"
        )
    outcome = (status.get("rollout") or {}).get("request") or {}
    return Answer(
        namespace=meta["namespace"],
        name=meta["name"],
        request=value,
        applied=bool(outcome.get("applied", False)) if handled == value else None,
        message=str(outcome.get("message", "")) if handled == value else "",
        phase=status.get("phase", ""),
        plan=status.get("plan", ""),
    )


async def _answer(session: Session, name: str, value: str, patience: float) -> Answer:
    """The operator's answer, or what there is after `patience` seconds."""
    deadline = session.now() + patience
    while True:
        try:
            answer = answered(await session.reader.deployment(name), value)
        except ApiError as error:
            # The request is written: a moment without the server loses only the sight of the answer.
            if not isinstance(error.failure, Retry) or session.now() >= deadline:
                raise
        else:
            if answer.applied is not None or session.now() >= deadline:
                return answer
        await session.sleep(_PAUSE)
