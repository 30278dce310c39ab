"""Flags that every command has, with kubectl's names and meanings. They may stand before or after the command."""

import argparse
import re
from typing import Final

from understudy.domain.duration import seconds

_DEFAULTS: Final = {"namespace": "", "context": "", "kubeconfig": "", "output": "", "all_namespaces": False}
_LABEL: Final = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
NAMES: Final = "write lower case letters, digits and dashes, such as storyteller"


def add_cluster_flags(parser: argparse.ArgumentParser) -> None:
    """-n, --context, --kubeconfig."""
    group = parser.add_argument_group("which cluster")
    unset = argparse.SUPPRESS
    group.add_argument(
        "-n", "--namespace", type=namespace, metavar="NAME", default=unset, help="default: the context's"
    )
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


def is_name(word: str) -> bool:
    """Whether an object can be called so: the word becomes part of a path."""
    return len(word) <= 253 and re.fullmatch(rf"{_LABEL}(\.{_LABEL})*", word) is not None


def is_namespace(word: str) -> bool:
    """Whether a namespace can be called so."""
    return re.fullmatch(_LABEL, word) is not None


def name(text: str) -> str:
    """The name of an object, for `type=`."""
    if not is_name(text):
        raise argparse.ArgumentTypeError(f"nothing can be called {text!r}: {NAMES}")
    return text


def namespace(text: str) -> str:
    """The name of a namespace, for `type=`."""
    if not is_namespace(text):
        raise argparse.ArgumentTypeError(f"no namespace can be called {text!r}: {NAMES}")
    return text


def duration(text: str) -> float:
    """Seconds of a duration such as 90s, for `type=`."""
    try:
        return seconds(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
