"""`kubectl understudy COMMAND`: the plugin's command line, which kubectl finds as `kubectl-understudy` on the PATH."""

import argparse
import asyncio
import importlib
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Final

from understudy.cli.plugin import flags
from understudy.cli.plugin.failure import PluginError, sentence
from understudy.cli.plugin.request import VERBS
from understudy.cli.plugin.session import Session, clock, pause, stdout
from understudy.kube.errors import ApiError

_INTERRUPTED: Final = 130


@dataclass(frozen=True, slots=True)
class Command:
    """A module of this package with `add_arguments(parser)`, `EPILOG` and `run(session, args)`.

    `failed` is the exit status after a failure. One without a cluster has `text(args)` instead of `run`.
    """

    name: str
    module: str
    summary: str
    everywhere: bool = False
    cluster: bool = True
    failed: int = 1


COMMANDS: Final = (
    Command("status", "status", "show where rollouts are, live with --watch", everywhere=True),
    Command("plan", "plan", "say what applying a file would do, or why it would be refused"),
    Command("history", "history", "show what served and what was tried, by number"),
    Command("diff", "diff", "show what two revisions ask for differently", failed=2),
    Command("snapshots", "snapshots", "list the records of revisions", everywhere=True),
    Command("keep", "keep", "keep the record of a revision, so that it can be rolled back to"),
    Command("unkeep", "keep", "let the record of a revision go when its turn comes"),
    *(Command(verb, "request", summary) for verb, summary in VERBS.items()),
    Command("rollback", "rollback", "let what was promoted under a number serve again"),
    Command("violations", "violations", "show what guardrails found", cluster=False),
    Command("engagement", "engagement", "show where a player stands", cluster=False),
    Command("completion", "completion", "print a script that completes words in your shell", cluster=False),
)

_EPILOG = """\
  kubectl understudy status storyteller -w       watch a rollout
  kubectl understudy plan -f storyteller.yaml    what applying this file would do
  kubectl understudy abort storyteller           back to what served before

`kubectl understudy COMMAND --help` explains each one. Exit status: 0, 1 for what did not work or was not taken, 2 for
a command line that makes no sense.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command that `argv` (default: the process's arguments) names; its exit status."""
    words = list(sys.argv[1:] if argv is None else argv)
    parser, _ = build_parsers()
    args = flags.completed(parser.parse_args(words))
    if args.command is None:
        parser.print_help()
        return 2
    command = next(c for c in COMMANDS if c.name == args.command)
    try:
        status = asyncio.run(_run(command, args)) if command.cluster else _print(module_of(command).text(args))
        stdout().flush()
        return status
    except PluginError as error:
        print(f"kubectl understudy: {error}", file=sys.stderr)
        return command.failed
    except KeyboardInterrupt:
        return 0 if getattr(args, "watch", False) else _INTERRUPTED
    except BrokenPipeError:
        # Whoever read the output has seen enough; Python must not complain about it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def build_parsers() -> tuple[argparse.ArgumentParser, dict[str, argparse.ArgumentParser]]:
    """The whole command line, and each command's part of it; completion asks them what there is."""
    parser = argparse.ArgumentParser(
        prog="kubectl understudy",
        description="See, forecast and steer rollouts of language models on Kubernetes.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"kubectl-understudy {version('understudy')}")
    flags.add_cluster_flags(parser)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    parts = {}
    for command in COMMANDS:
        module = module_of(command)
        sub = commands.add_parser(
            command.name,
            help=command.summary,
            description=f"{command.summary[0].upper()}{command.summary[1:]}.",
            epilog=module.EPILOG,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        module.add_arguments(sub)
        if command.cluster:
            flags.add_cluster_flags(sub)
            flags.add_output(sub)
        if command.everywhere:
            flags.add_everywhere(sub)
        parts[command.name] = sub
    return parser, parts


def module_of(command: Command) -> Any:
    """The module that carries a command out."""
    return importlib.import_module(f"understudy.cli.plugin.{command.module}")


def _print(text: str) -> int:
    stdout().write(text)
    return 0


async def _run(command: Command, args: argparse.Namespace) -> int:
    # Imported late: it costs a third of a second that neither --help nor the completion of a word needs.
    from understudy.kube.aio import NoClusterError
    from understudy.kube.kubeconfig import connect_as_user

    try:
        access = await connect_as_user(args.kubeconfig, args.context)
    except NoClusterError as error:
        raise PluginError(str(error)) from error
    namespace = "" if args.all_namespaces else args.namespace or access.namespace
    session = Session(access.client, namespace, stdout(), clock, pause)
    try:
        status: int = await module_of(command).run(session, args)
    except ApiError as error:
        raise PluginError(sentence(error, access.server, access.context)) from error
    finally:
        await access.client.close()
    return status


if __name__ == "__main__":
    sys.exit(main())
