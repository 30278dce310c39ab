"""`kubectl understudy status`: where every rollout is, live with --watch."""

import argparse

from understudy.cli.plugin import flags, status_view
from understudy.cli.plugin.cluster import of
from understudy.cli.plugin.documents import document, rendered
from understudy.cli.plugin.overview import Overview, overview
from understudy.cli.plugin.session import Session
from understudy.kube.errors import ApiError, Retry
from understudy.kube.resources import MODEL_DEPLOYMENT

# Cursor home, and clear from there: unlike clearing each time, nothing flickers.
_HOME, _CLEAR_LINE, _CLEAR_REST = "\x1b[H", "\x1b[K", "\x1b[J"
_CLEAR = "\x1b[2J" + _HOME
_INTERVAL = 1.0  # seconds between two looks of a watch
EPILOG = """\
  kubectl understudy status                     all in the namespace, one line each
  kubectl understudy status -A                  in all namespaces
  kubectl understudy status storyteller         one screen: shares, evidence, verdict, what comes next
  kubectl understudy status storyteller -w      the same, kept up to date until Ctrl-C
  kubectl understudy status storyteller -o json | jq .plan

CONVERSATIONS is what every gateway serves by; "told" is what was written and some gateway does not serve by yet.
REQUESTS and FAILED count what was tried since the present share is in force. Conditions are shown when they are not
as they should be.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of `status`."""
    parser.add_argument("name", nargs="?", type=flags.name, help="a ModelDeployment; all of the namespace without")
    parser.add_argument("-w", "--watch", action="store_true", help="keep it up to date until Ctrl-C")


async def run(session: Session, args: argparse.Namespace) -> int:
    """Show it, once or until interrupted."""
    last = ""
    while True:
        try:
            text = await _text(session, args)
        except ApiError as error:
            # A server that is away for a moment does not end a watch that has begun.
            if not (args.watch and last and isinstance(error.failure, Retry)):
                raise
            text = f"{last}\n(no news: {error.message})\n"
        if not args.watch:
            session.out.write(text)
            return 0
        if session.screen.width:
            session.out.write((_HOME if last else _CLEAR) + text.replace("\n", _CLEAR_LINE + "\n") + _CLEAR_REST)
        elif text != last:
            session.out.write(text + "\n")
        session.out.flush()
        last = text
        await session.sleep(_INTERVAL)


async def _text(session: Session, args: argparse.Namespace) -> str:
    if args.name:
        seen = overview(await session.reader.deployment(args.name), await session.reader.children(args.name))
        if args.output:
            return rendered(document(seen), args.output)
        return "\n".join(status_view.one(seen, session.screen, session.now())) + "\n"
    found = await _all(session)
    if args.output:
        return rendered({"items": [document(seen) for seen in found]}, args.output)
    if not found:
        return f"there is no ModelDeployment in {session.where}\n"
    everywhere = not session.namespace
    return "\n".join(status_view.many(found, session.screen, session.now(), everywhere=everywhere)) + "\n"


async def _all(session: Session) -> list[Overview]:
    children = await session.reader.children()
    return [overview(obj, of(children, obj)) for obj in await session.reader.listed(MODEL_DEPLOYMENT)]
