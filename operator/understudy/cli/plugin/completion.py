"""Completion of words: for kubectl, which runs `kubectl_complete-understudy`, and for `kubectl-understudy` itself.

kubectl hands over the words so far, the unfinished one last, and reads one proposal a line, then a colon and a number:
4 says that file names do not fit, 0 that they do. Nothing here may fail or take long: a cluster that does not answer
means no proposals.
"""

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from understudy.cli.plugin.records import ROLES
from understudy.domain.names import LABEL_DEPLOYMENT
from understudy.kube.resources import MODEL_DEPLOYMENT, MODEL_SNAPSHOT, NAMESPACE

EPILOG = """\
  source <(kubectl-understudy completion bash)      in ~/.bashrc
  source <(kubectl-understudy completion zsh)       in ~/.zshrc, after compinit

kubectl completes `kubectl understudy …` by itself (from 1.26 on) when kubectl_complete-understudy is on the PATH, as
it is beside kubectl-understudy.
"""
_PATIENCE: Final = 3.0  # seconds
_SCRIPTS: Final = {
    "bash": """\
_kubectl_understudy() {
  local line
  COMPREPLY=()
  while IFS= read -r line; do
    case $line in
      :0) compopt -o default ;;
      :*) ;;
      *) COMPREPLY+=("${line%%$'\\t'*}") ;;
    esac
  done < <(kubectl_complete-understudy "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
}
complete -F _kubectl_understudy kubectl-understudy
""",
    "zsh": """\
_kubectl_understudy() {
  local line
  local -a found
  for line in ${(f)"$(kubectl_complete-understudy "${(@)words[2,CURRENT]}" 2>/dev/null)"}; do
    case $line in
      :0) _files ;;
      :*) ;;
      *) found+=("${line%%$'\\t'*}") ;;
    esac
  done
  compadd -a found
}
compdef _kubectl_understudy kubectl-understudy
""",
}

Source = Literal["deployments", "revisions", "namespaces", "contexts"]


@dataclass(frozen=True, slots=True)
class Proposal:
    """What fits at the cursor: `words` with what each means, and what the cluster or the kubeconfig knows."""

    words: tuple[tuple[str, str], ...] = ()
    sources: tuple[Source, ...] = ()
    files: bool = False
    flags: dict[str, str] = field(default_factory=dict)
    deployment: str = ""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of `completion`."""
    parser.add_argument("shell", choices=sorted(_SCRIPTS), help="whose script is printed")


def text(args: argparse.Namespace) -> str:
    """What is printed."""
    return script(args.shell)


def script(shell: str) -> str:
    """What a shell must read to complete `kubectl-understudy`."""
    return _SCRIPTS[shell]


def main(argv: Sequence[str] | None = None) -> int:
    """Print proposals for the last of the words; always 0."""
    words = list(sys.argv[1:] if argv is None else argv)
    proposal = propose(words)
    begun = words[-1] if words else ""
    known = dict(proposal.words)
    known.update(dict.fromkeys(asyncio.run(_looked_up(proposal)) if proposal.sources else (), ""))
    for word in sorted(known):
        if word.startswith(begun):
            print(f"{word}\t{known[word]}" if known[word] else word)
    print(":0" if proposal.files else ":4")
    return 0


def propose(words: Sequence[str]) -> Proposal:
    """What fits where the last word stands."""
    from understudy.cli.plugin.main import COMMANDS, build_parsers  # which import this module

    *before, begun = words or [""]
    parser, commands = build_parsers()
    chosen, flags, positionals, pending = parser, dict[str, str](), list[str](), None
    for word in before:
        if pending is not None:
            flags[pending.dest], pending = word, None
        elif word.startswith("-"):
            name, equals, value = word.partition("=")
            action = _flag(chosen, name)
            if equals and action is not None:
                flags[action.dest] = value
            elif action is not None and action.nargs != 0:
                pending = action
        elif chosen is parser:
            chosen = commands.get(word, parser)
        else:
            positionals.append(word)
    if pending is not None:
        return _value(pending, flags)
    if begun.startswith("-"):
        return Proposal(
            tuple((f, a.help or "") for a in _actions(chosen) for f in a.option_strings if f.startswith("--"))
        )
    if chosen is parser:
        return Proposal(tuple((command.name, command.summary) for command in COMMANDS))
    return _positional(chosen, positionals, flags)


def _value(action: argparse.Action, flags: dict[str, str]) -> Proposal:
    match action.dest:
        case "namespace" | "system_namespace":
            return Proposal(sources=("namespaces",), flags=flags)
        case "context":
            return Proposal(sources=("contexts",), flags=flags)
        case "kubeconfig" | "filename":
            return Proposal(files=True)
        case _:
            return Proposal(tuple((str(choice), "") for choice in action.choices or ()))


def _positional(parser: argparse.ArgumentParser, before: list[str], flags: dict[str, str]) -> Proposal:
    expected = [action for action in _actions(parser) if not action.option_strings]
    if len(before) >= len(expected):
        return Proposal()
    action = expected[len(before)]
    if action.dest == "name":
        return Proposal(sources=("deployments",), flags=flags)
    if action.dest in ("a", "b"):
        return Proposal(tuple((role, "") for role in ROLES), ("revisions",), flags=flags, deployment=before[0])
    return Proposal(tuple((str(choice), "") for choice in action.choices or ()))


def _actions(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    return parser._actions  # noqa: SLF001 - argparse says nowhere else what a parser takes


def _flag(parser: argparse.ArgumentParser, name: str) -> argparse.Action | None:
    return next((action for action in _actions(parser) if name in action.option_strings), None)


async def _looked_up(proposal: Proposal) -> list[str]:
    """What the cluster knows; nothing if it does not say so soon."""
    from understudy.cli.plugin.cluster import Reader
    from understudy.kube.aio import NoClusterError
    from understudy.kube.errors import ApiError
    from understudy.kube.kubeconfig import connect_as_user, read_kubeconfig

    flags, source = proposal.flags, proposal.sources[0]
    try:
        if source == "contexts":
            return list(read_kubeconfig(flags.get("kubeconfig", ""), os.environ).contexts)
        async with asyncio.timeout(_PATIENCE):
            access = await connect_as_user(flags.get("kubeconfig", ""), flags.get("context", ""))
            try:
                reader = Reader(access.client, flags.get("namespace") or access.namespace)
                if source == "namespaces":
                    return [obj["metadata"]["name"] for obj in await reader.listed(NAMESPACE, namespace="")]
                if source == "deployments":
                    return [obj["metadata"]["name"] for obj in await reader.listed(MODEL_DEPLOYMENT)]
                selector = f"{LABEL_DEPLOYMENT}={proposal.deployment}"
                return [obj["spec"]["revision"] for obj in await reader.listed(MODEL_SNAPSHOT, selector)]
            finally:
                await access.client.close()
    except (NoClusterError, ApiError, TimeoutError):
        return []


if __name__ == "__main__":
    sys.exit(main())
