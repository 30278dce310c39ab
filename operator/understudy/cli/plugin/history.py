"""`kubectl understudy history`: what served, and since when; what was tried, and why it did not stay."""

import argparse

from understudy.cli.plugin import flags, records_view
from understudy.cli.plugin.documents import document, rendered
from understudy.cli.plugin.failure import PluginError
from understudy.cli.plugin.records import promotions, state_of
from understudy.cli.plugin.session import Session
from understudy.kube.resources import MODEL_DEPLOYMENT

EPILOG = """\
  kubectl understudy history storyteller
  kubectl understudy diff storyteller 3 4        what changed between two of the numbers

NUMBER counts the promotions of the deployment; a revision that came back has several. Revisions that were never
promoted stand at the end. `spec.snapshots.keep` says how many records are kept.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of `history`."""
    parser.add_argument(
        "name", type=flags.name, help="the ModelDeployment; one that was deleted has records for seven days"
    )


async def run(session: Session, args: argparse.Namespace) -> int:
    """Show it."""
    deployment = await session.reader.found(MODEL_DEPLOYMENT, args.name)
    snapshots = await session.reader.snapshots(args.name)
    if deployment is None and not snapshots:
        await session.reader.deployment(args.name)
    found = promotions(snapshots, state_of(deployment))
    if args.output:
        session.out.write(rendered({"items": [document(record) for record in found]}, args.output))
        return 0
    if not found:
        raise PluginError(f"{args.name} has no record yet: its first revision has not been prepared")
    session.show(records_view.history(found, session.screen, session.now()))
    return 0
