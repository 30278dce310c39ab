"""`kubectl understudy snapshots`: the records of revisions in a namespace."""

import argparse

from understudy.cli.plugin import flags, records_view
from understudy.cli.plugin.documents import document, rendered
from understudy.cli.plugin.records import Record, latest, state_of
from understudy.cli.plugin.session import Session
from understudy.domain.names import ANNOTATION_KEEP, LABEL_DEPLOYMENT
from understudy.kube.client import Object
from understudy.kube.resources import MODEL_DEPLOYMENT

EPILOG = f"""\
  kubectl understudy snapshots                   of every deployment in the namespace
  kubectl understudy snapshots storyteller
  kubectl understudy keep storyteller 6f1c9a02   beyond spec.snapshots.keep

KEPT are those with the annotation {ANNOTATION_KEEP}, whatever its value but "false".
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of `snapshots`."""
    parser.add_argument("name", nargs="?", type=flags.name, help="a ModelDeployment; all of the namespace without")


async def run(session: Session, args: argparse.Namespace) -> int:
    """Show them, deployment by deployment."""
    deployments = await session.reader.listed(MODEL_DEPLOYMENT)
    owners = {(d["metadata"]["namespace"], d["metadata"]["name"]): d for d in deployments}
    grouped: dict[tuple[str, str], list[Object]] = {}
    found: list[Record] = []
    for snapshot in await session.reader.snapshots(args.name or ""):
        meta = snapshot["metadata"]
        owner = (meta["namespace"], (meta.get("labels") or {}).get(LABEL_DEPLOYMENT, ""))
        grouped.setdefault(owner, []).append(snapshot)
    for owner in sorted(grouped):
        found += latest(grouped[owner], state_of(owners.get(owner)))
    if args.output:
        session.out.write(rendered({"items": [document(record) for record in found]}, args.output))
        return 0
    if found:
        everywhere = not session.namespace
        session.show(records_view.snapshots(found, session.screen, session.now(), everywhere=everywhere))
    else:
        session.show([f"there is no record in {session.where}"])
    return 0
