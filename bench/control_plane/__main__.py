"""How the operator does with thousands of ModelDeployments on a real API server: docs/benchmarks/operator.md.

    python -m bench.control_plane [--deployments 1000 5000] [--idle 330] [-o json] [--out FILE] [--check]

Starts etcd and kube-apiserver on loopback, without nodes, and plays kubelets, controllers, engines and gateways
itself. The programs are those of $KUBEBUILDER_ASSETS, or are built from their Go modules as the local cluster's are.
Takes about ten minutes for a thousand deployments on two cores and half an hour for five thousand; with --brief and an
idle hour of 60 s, five and twenty. Needs openssl.
"""

import argparse
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import uvloop

from bench.control_plane.fleet import WORKERS, Figures, Fleet, Lengths
from bench.control_plane.servers import EndedError
from local import golang, programs, versions
from local.component_images import only_binary
from local.steps import step

ROOT = Path(__file__).resolve().parents[2]
NEWLINE = "\n"


@dataclass(frozen=True, slots=True)
class Bound:
    """A figure to reach: `name` is at most `limit`, for so many deployments or fewer."""

    what: str
    name: str
    limit: float
    unit: str
    form: str = ".2f"


BOUNDS = (
    Bound("first sync, compared with a bare client", "sync.ratio", 1.2, "times"),
    Bound("restart: synced", "restart.synced", 10.0, "s", ".1f"),
    Bound("restart: writes", "restart.writes", 0, "", ".0f"),
    Bound("restart: memory", "restarted.rss_peak", 250.0, "MiB", ".0f"),
    Bound("p99 from an edit to its action", "edit.p99", 1.0, "s", ".3f"),
    Bound("p99 from a hand to its correction", "hand.p99", 1.0, "s", ".3f"),
    Bound("p99 from a new spec to the status that says so", "rollout.p99", 1.0, "s", ".3f"),
)
ROWS = (
    ("a bare client writes the children (32 at a time)", "bare.children", "s", ".1f"),
    ("… writes", "bare.children.writes", "", ".0f"),
    ("the operator writes the children", "sync.children", "s", ".1f"),
    ("… writes", "sync.children.writes", "", ".0f"),
    ("… of them refused", "sync.children.refused", "", ".0f"),
    ("… from its start to its first write", "sync.start", "s", ".1f"),
    ("… processor time of the operator", "sync.children.operator_cpu", "s", ".1f"),
    ("… processor time of API server and etcd", "sync.children.server_cpu", "s", ".1f"),
    ("… the same for the bare client", "bare.children.server_cpu", "s", ".1f"),
    ("pods come: a bare client writes the rest", "bare.serving", "s", ".1f"),
    ("… writes", "bare.serving.writes", "", ".0f"),
    ("pods come: until all serve and nothing is written any more", "sync.serving", "s", ".1f"),
    ("… writes", "sync.serving.writes", "", ".0f"),
    ("… of them refused", "sync.serving.refused", "", ".0f"),
    ("memory after the first sync", "sync.rss", "MiB", ".0f"),
    ("idle: calls per hour", "idle.calls_per_hour", "", ".0f"),
    ("idle: writes seen", "idle.writes", "", ".0f"),
    ("idle: processor", "idle.cpu_percent", "% of a core", ".1f"),
    ("idle: probes (two requests a round)", "idle.probes_per_second", "/s", ".0f"),
    ("idle: questions to gateways", "idle.gateway_questions_per_second", "/s", ".1f"),
    ("idle: memory", "idle.rss", "MiB", ".0f"),
    ("replicas edited: p50 to the write", "edit.p50", "s", ".3f"),
    ("… p99", "edit.p99", "s", ".3f"),
    ("… writes per change", "edit.writes_each", "", ".1f"),
    ("pool scaled by hand: p50 to the correction", "hand.p50", "s", ".3f"),
    ("… p99", "hand.p99", "s", ".3f"),
    ("… writes per change", "hand.writes_each", "", ".1f"),
    ("new revision: p50 to the status", "rollout.p50", "s", ".3f"),
    ("… p99", "rollout.p99", "s", ".3f"),
    ("… writes per rollout, to the end", "rollout.writes_each", "", ".1f"),
    ("restart: asked to stop, until ended", "restart.stop", "s", ".1f"),
    ("restart: from the start until all were looked at", "restart.synced", "s", ".1f"),
    ("restart: processor time", "restart.cpu", "s", ".1f"),
    ("restart: writes, half a minute included", "restart.writes", "", ".0f"),
    ("restart: memory when synced", "restart.rss", "MiB", ".0f"),
    ("restart: memory at most", "restarted.rss_peak", "MiB", ".0f"),
)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--deployments", type=int, nargs="+", default=[1000, 5000], help="sizes, one after the other")
    parser.add_argument("--idle", type=float, default=330.0, help="seconds that stand for an idle hour (default 330)")
    parser.add_argument("--edits", type=int, default=200, help="changes of each kind (default 200)")
    parser.add_argument("--rollouts", type=int, default=50, help="whole rollouts (default 50)")
    parser.add_argument("--brief", action="store_true", help="leave out what the bare client writes once pods come")
    parser.add_argument("-o", "--output", choices=("table", "json"), default="table", help="what is printed at the end")
    parser.add_argument("--out", type=Path, help="a page to write, as docs/benchmarks/operator.md is")
    parser.add_argument("--check", action="store_true", help="end with 1 when a figure is missed")
    parser.add_argument("--keep", type=Path, help="folder for logs and data, kept (default: a temporary one)")
    given = parser.parse_args(arguments)
    lengths = Lengths(given.idle, given.edits, given.rollouts, rest=not given.brief)
    # SIGTERM is Ctrl-C to us: etcd and the API server must not stay behind.
    signal.signal(signal.SIGTERM, lambda *_: os.kill(os.getpid(), signal.SIGINT))
    folder = given.keep or Path(tempfile.mkdtemp(prefix="understudy-bench-"))
    try:
        found = uvloop.run(_measure(given.deployments, assets(), folder, lengths))
    except KeyboardInterrupt:
        return 130
    except EndedError as error:
        print(f"bench.control_plane: {error}", file=sys.stderr)
        return 2
    if not given.keep:
        shutil.rmtree(folder, ignore_errors=True)
    if given.out:
        given.out.write_text(page(found, lengths))
    print(json.dumps([asdict(figures) for figures in found], indent=2) if given.output == "json" else table(found))
    missed = list(broken(found))
    for sentence in missed:
        print(f"missed: {sentence}", file=sys.stderr)
    return 1 if missed and given.check else 0


async def _measure(
    counts: Sequence[int], assets_found: tuple[Path, Path], folder: Path, lengths: Lengths
) -> list[Figures]:
    found = []
    for count in counts:
        figures = await Fleet(count, assets_found, folder, lengths).measure()
        figures.values["sync.ratio"] = figures.values["sync.children"] / figures.values["bare.children"]
        found.append(figures)
    return found


def assets() -> tuple[Path, Path]:
    """etcd and kube-apiserver."""
    if folder := os.environ.get("KUBEBUILDER_ASSETS"):
        return Path(folder) / "etcd", Path(folder) / "kube-apiserver"
    for program in (programs.ETCD, programs.KUBERNETES):
        if not program.built.is_dir():
            with step(f"build {program.name} from its Go module") as current:
                golang.build(program, current)
    return only_binary(programs.ETCD.built), programs.KUBERNETES.built / "kube-apiserver"


def broken(found: Sequence[Figures]) -> Iterator[str]:
    """Figures that are missed, as sentences."""
    for figures in found:
        for bound in BOUNDS:
            value = figures.values[bound.name]
            if value > bound.limit:
                shown = f"{value:{bound.form}} {bound.unit}".strip()
                yield f"{bound.what}: {shown}, limit {bound.limit:g} ({figures.deployments})"
        for name in ("edit", "hand", "rollout"):
            if missed := figures.values.get(f"{name}.missed"):
                yield f"{missed:.0f} changes of kind {name} were not acted upon ({figures.deployments})"


def table(found: Sequence[Figures]) -> str:
    """Everything, a column for each size."""
    head = ["", *(f"{figures.deployments} deployments" for figures in found)]
    rows = [[what, *(_shown(f.values, name, unit, form) for f in found)] for what, name, unit, form in ROWS]
    return "\n".join([_row(head), "|---|" + "--:|" * len(found), *map(_row, rows)])


def bounds(found: Sequence[Figures]) -> str:
    """The figures to reach, and whether they are."""
    head = ["", "at most", *(f"{figures.deployments} deployments" for figures in found)]
    rows = [
        [b.what, f"{b.limit:g} {b.unit}".strip(), *(_shown(f.values, b.name, b.unit, b.form) for f in found)]
        for b in BOUNDS
    ]
    return "\n".join([_row(head), "|---|--:|" + "--:|" * len(found), *map(_row, rows)])


def page(found: Sequence[Figures], lengths: Lengths) -> str:
    """The page with all tables and what they were made with."""
    missed = list(broken(found))
    verdict = "All figures are reached." if not missed else f"Missed: {'; '.join(missed)}."
    each = found[-1].writes_each
    calls = found[-1].idle_calls
    resync = ", a resync included" if lengths.idle > 300 else ""
    half = "" if lengths.rest else " The writes after the pods came, which no bound is about, it was spared."
    return f"""# The operator over thousands of deployments
Written by `make bench-operator`; `python -m bench.control_plane --help` says how to repeat it. Commit {_commit()};
Kubernetes {versions.KUBERNETES}, etcd without waiting for the disk; {_machine()}.
{verdict}

{bounds(found)}

## Everything that was measured
{table(found)}

## What is measured, and how
A real kube-apiserver with its own etcd on loopback, no nodes: the bench plays the Deployment controller, kubelets,
engines and two gateways, and is quick about it. Each deployment has 200 letters of its own, one pod, the usual probes
(every 10 s), and traffic that both gateways count all the time. The operator is `understudy operator` as a process of
its own, in through flow control like any service account. All times are read from the API server's audit log: one
clock, and nothing of the bench's own delays in it.

- *First sync*: all deployments are there when the operator starts; over when each has its record, key, Service, pool,
  table and a status. The bare client writes the same, word for word, to an API server of its own: what a rehearsal
  with one deployment has left in the audit log ({each["children"]} writes before the pods, {each["serving"]} after),
  {WORKERS} deployments at a time like the operator, each write after the answer to the one before. It decides nothing
  and watches nothing.{half}
- *Edit*: `replicas` of a ModelDeployment, to the operator's write of the pool. *By hand*: somebody scales the pool, to
  the write that corrects it. *New revision*: the engine's arguments, to the status that names the candidate. From the
  API server's answer to the change until the operator's request arrives, ten changes a second.
- *Restart*: SIGTERM, a new process; synced when it has looked at every deployment once and the queue is empty.
- *Idle*: {lengths.idle:.0f} s without a change{resync}, extrapolated to an hour.

## Calls of an idle hour, {found[-1].deployments} deployments
{NEWLINE.join(f"- {what}: {count:.0f}" for what, count in sorted(calls.items(), key=lambda item: -item[1]))}

## Caveats
Bench, API server, etcd and operator share the machine's cores, so absolute times say little about a cluster whose
control plane has machines of its own; the ratio compares two clients in the same place. No admission webhook, no
garbage collector, no other controllers.
"""


def _shown(values: dict[str, float], name: str, unit: str, form: str) -> str:
    return f"{values[name]:{form}} {unit}".strip() if name in values else "-"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _commit() -> str:
    said = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True)
    return said.stdout.strip()


def _machine() -> str:
    cpus = Path("/proc/cpuinfo")
    lines = cpus.read_text().splitlines() if cpus.exists() else []
    name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "an unknown CPU")
    return f"{os.cpu_count()} cores of an {name}, Python {platform.python_version()}"


if __name__ == "__main__":
    sys.exit(main())
