"""`kubectl understudy keep` and `unkeep`: a record stays, or goes when its turn comes."""

import argparse

from understudy.cli.plugin import flags
from understudy.cli.plugin.documents import rendered
from understudy.cli.plugin.records import chosen
from understudy.cli.plugin.session import Session

EPILOG = """\
  kubectl understudy history storyteller         which there are
  kubectl understudy keep storyteller 3          what was promoted as number 3 can be rolled back to for good
  kubectl understudy unkeep storyteller 3        its record goes when spec.snapshots.keep newer ones are there

A is a revision or the beginning of one, a number of the history, or current (what the spec asks for), stable,
candidate, previous.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of both."""
    parser.add_argument("name", type=flags.name, help="the ModelDeployment")
    parser.add_argument("a", metavar="A", help="which record")


async def run(session: Session, args: argparse.Namespace) -> int:
    """Say so on the record."""
    deployment = await session.reader.deployment(args.name)
    snapshot = chosen(await session.reader.snapshots(args.name), deployment, args.a)
    keep = args.command == "keep"
    await session.reader.keep(snapshot, keep=keep)
    meta, revision = snapshot["metadata"], str(snapshot["spec"]["revision"])
    if args.output:
        facts = {"namespace": meta["namespace"], "name": meta["name"], "revision": revision, "kept": keep}
        session.out.write(rendered(facts, args.output))
    else:
        session.show([f"{args.name}: the record of {revision} {'is kept' if keep else 'goes when its turn comes'}"])
    return 0
