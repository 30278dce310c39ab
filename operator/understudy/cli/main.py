"""`understudy SUBCOMMAND`: picks the process to be. Each subcommand's module is imported only when it is asked for."""

import argparse
import importlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version


@dataclass(frozen=True, slots=True)
class Subcommand:
    """A module of this package with `add_arguments(parser)` and `run(args) -> int`."""

    name: str
    summary: str
    details: str


SUBCOMMANDS = (
    Subcommand(
        "operator",
        "reconcile ModelDeployments (one leads, the others stand by)",
        "Needs a cluster with the CRDs. In a pod it uses its service account; elsewhere give --kubeconfig.",
    ),
    Subcommand(
        "gateway",
        "serve the OpenAI API and split conversations between revisions",
        "Needs routing tables, which the operator writes; goes on with its last copy without an API server.",
    ),
    Subcommand(
        "records",
        "keep the books: what of budgets is spent, for all gateways together, and records of requests",
        "One process writes one database; gateways ask it with --ledger, and bring records with --records.",
    ),
    Subcommand(
        "sim",
        "pretend to be an engine: delays, failures and wrong answers on demand",
        "Speaks the same paths as vLLM, so that a rollout can be rehearsed without hardware.",
    ),
    Subcommand(
        "keys",
        "create access keys for the gateway",
        "A key is printed once, when it is created; the cluster keeps only its SHA-256.",
    ),
)

_EPILOG = """\
first steps:
  kubectl apply -f manifests/quickstart/         a Model and a ModelDeployment
  kubectl get mdep                               phase, revisions, weight
  understudy keys create --names '*'             a key for the gateway
  kubectl annotate mdep NAME understudy.dev/request=abort --overwrite
                                                 take a rollout back at once
`understudy SUBCOMMAND --help` explains each one.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the subcommand that `argv` (default: the process's arguments) names; its exit status."""
    words = list(sys.argv[1:] if argv is None else argv)
    parser = _parser(words[0] if words else "")
    args = parser.parse_args(words)
    if args.subcommand is None:
        parser.print_help()
        return 2
    module = importlib.import_module(f"understudy.cli.{args.subcommand}")
    status: int = module.run(args)
    return status


def _parser(chosen: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="understudy",
        description="Rehearses, rolls out and takes back language-model deployments on Kubernetes.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"understudy {version('understudy')}")
    subparsers = parser.add_subparsers(dest="subcommand", metavar="SUBCOMMAND")
    for subcommand in SUBCOMMANDS:
        sub = subparsers.add_parser(
            subcommand.name,
            help=subcommand.summary,
            description=f"{subcommand.summary[0].upper()}{subcommand.summary[1:]}. {subcommand.details}",
            formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        )
        if subcommand.name == chosen:  # the others' modules stay unimported
            importlib.import_module(f"understudy.cli.{chosen}").add_arguments(sub)
    return parser


if __name__ == "__main__":
    sys.exit(main())
