"""`kubectl understudy diff`: what two revisions ask for differently, as a unified diff."""

import argparse
from typing import Any

from understudy.cli.plugin import flags, records_view
from understudy.cli.plugin.documents import rendered
from understudy.cli.plugin.records import chosen
from understudy.cli.plugin.session import Session
from understudy.kube.client import Object

EPILOG = """\
  kubectl understudy diff storyteller                        what serves, and what the spec asks for
  kubectl understudy diff storyteller stable candidate
  kubectl understudy diff storyteller 3 a90b1234             number 3 of the history, and a revision
  kubectl understudy diff storyteller 3 4 --recorded         fields as well that start no pod: probes, steps, names

A and B are a revision or the beginning of one, a number of the history, or current (what the spec asks for), stable,
candidate, previous. Compared is what was resolved: the Model's source and the content of ConfigMaps and Secrets (as
hashes) are in it. Exit status as of kubectl diff: 0 no difference, 1 a difference, 2 or more a failure.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of `diff`."""
    parser.add_argument("name", type=flags.name, help="the ModelDeployment")
    parser.add_argument("a", nargs="?", default="stable", metavar="A", help="default: stable")
    parser.add_argument("b", nargs="?", default="current", metavar="B", help="default: current")
    parser.add_argument("--recorded", action="store_true", help="with the fields that start no pod")


async def run(session: Session, args: argparse.Namespace) -> int:
    """Show it; 1 if there is any."""
    deployment = await session.reader.deployment(args.name)
    snapshots = await session.reader.snapshots(args.name)
    before, after = (chosen(snapshots, deployment, word) for word in (args.a, args.b))
    left, right = (_asked(snapshot, recorded=args.recorded) for snapshot in (before, after))
    if args.output:
        session.out.write(rendered({"a": left, "b": right}, args.output))
        return 0 if left == right else 1
    names = (_label(before, args.a), _label(after, args.b))
    lines = records_view.difference(left, right, names)
    if lines:
        session.show(records_view.painted(lines, session.screen))
    return 1 if lines else 0


def _asked(snapshot: Object, *, recorded: bool) -> dict[str, Any]:
    spec = snapshot["spec"]
    return {**spec["intent"], **({"recorded": spec.get("recorded") or {}} if recorded else {})}


def _label(snapshot: Object, word: str) -> str:
    revision = snapshot["spec"]["revision"]
    return revision if word == revision else f"{revision} ({word})"
