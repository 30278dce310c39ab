"""Flags that every command has, with kubectl's names and meanings. They may stand before or after the command."""

import argparse
from typing import Final

from understudy.domain.duration import seconds

_DEFAULTS: Final = {"namespace": "", "context": "", "kubeconfig": "", "output": "", "all_namespaces": False}


def add_cluster_flags(parser: argparse.ArgumentParser) -> None:
    """-n, --context, --kubeconfig."""
    group = parser.add_argument_group("which cluster")
    unset = argparse.SUPPRESS
    group.add_argument("-n", "--namespace", metavar="NAME", default=unset, help="default: the context's")
    group.add_argument("--context", metavar="NAME", default=unset, help="of the kubeconfig; default: its current one")
    group.add_argument("--kubeconfig", metavar="FILE", default=unset, help="default: $KUBECONFIG, ~/.kube/config")


def add_everywhere(parser: argparse.ArgumentParser) -> None:
    """-A."""
    parser.add_argument(
        *("-A", "--all-namespaces"), action="store_true", default=argparse.SUPPRESS, help="in all namespaces"
    )


def add_output(parser: argparse.ArgumentParser) -> None:
    """-o."""
    choices = ("json", "yaml")
    parser.add_argument("-o", "--output", choices=choices, default=argparse.SUPPRESS, help="for machines")


def completed(args: argparse.Namespace) -> argparse.Namespace:
    """The flags with their defaults, wherever they stood."""
    for name, value in _DEFAULTS.items():
        if not hasattr(args, name):
            setattr(args, name, value)
    return args


def duration(text: str) -> float:
    """Seconds of a duration such as 90s, for `type=`."""
    try:
        return seconds(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
