"""The gateway beside its peers, in one run on one machine: docs/benchmarks/gateway.md.

    python -m bench.gateway [--quick] [--peers understudy,envoy,…] [-o json]
    python -m bench.gateway --flips 1000
    python -m bench.gateway --drift 1000000
    python -m bench.gateway --guard [--quick]
    python -m bench.gateway --page-only

Repetitions are interleaved: each goes through all scenarios and, in each, through all peers. Results are kept beside
the page, in gateway.json; `--flips`, `--drift`, `--guard` and `--page-only` write the page anew from them, and need no
peers. The first run of the others installs them.
"""

import argparse
import os
import platform
import re
import sys
import time
from pathlib import Path
from typing import Any

import orjson

from bench.gateway.drift import drift
from bench.gateway.flips import flips
from bench.gateway.guard import under_guard
from bench.gateway.page import write_page
from bench.gateway.peers import PEERS, commit, install, version
from bench.gateway.place import ROOT
from bench.gateway.processes import OTHERS, idle
from bench.gateway.scenarios import SCENARIOS, BenchError, measure

DIRECT = "direct"


def compare(names: list[str], scenarios: list[str], repeat: int, seconds: float, warmup: float) -> dict[str, Any]:
    """All measurements, and what they were made with."""
    results: list[dict[str, Any]] = []
    for repetition in range(repeat):
        for scenario in SCENARIOS:
            if scenario.name not in scenarios:
                continue
            for name in [DIRECT, *(name for name in names if PEERS[name].takes(scenario.name))]:
                before = idle()
                try:
                    found = measure(PEERS.get(name), scenario, seconds, warmup)
                except BenchError as error:
                    _say(f"{name} {scenario.name}: {error}")
                    found = {"failed": str(error)}
                found |= {"peer": name, "scenario": scenario.name, "repetition": repetition, "idle_before": before}
                results.append(found)
                _say(_line(found))
    return {
        "made": {**_machine(), "seconds": seconds, "warmup": warmup, "repetitions": repeat},
        "versions": {name: version(PEERS[name]) for name in names},
        "results": results,
    }


def _line(found: dict[str, Any]) -> str:
    name = f"{found['repetition']} {found['scenario']:<12} {found['peer']:<12}"
    if "failed" in found:
        return f"{name} failed"
    units = found["chunks"] or found["requests"]
    return (
        f"{name} {found['cpu']['tested'] / units * 1e6:8.1f} us  {units / found['seconds']:8.0f}/s  "
        f"p99 {found['latency'].get('p99', 0):8.2f} ms  {found['memory_mb']:5.0f} MB  idle {found['idle_before']:.0%}"
    )


def _machine() -> dict[str, Any]:
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    return {
        "cpu": model[1] if model is not None else platform.machine(),
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "commit": commit(),
        "date": time.strftime("%Y-%m-%d"),
    }


def _leave_a_core() -> None:
    """This process leaves the core of what is measured alone; its children say themselves where they run."""
    os.sched_setaffinity(0, {int(OTHERS)})


def _said(found: dict[str, Any]) -> None:
    _say(_line(found))


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(
        prog="bench.gateway", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="one repetition of two seconds: minutes, and rough")
    parser.add_argument("--peers", default=",".join(PEERS), help=f"default: {','.join(PEERS)}")
    parser.add_argument("--scenarios", default=",".join(s.name for s in SCENARIOS))
    parser.add_argument("--repeat", type=int, default=5, help="repetitions (default 5)")
    parser.add_argument("--seconds", type=float, default=6.0, help="measured in each (default 6)")
    parser.add_argument("--warmup", type=float, default=2.0, help="before that (default 2)")
    parser.add_argument("--flips", type=int, metavar="COUNT", help="our gateway alone: tables that change under load")
    parser.add_argument("--drift", type=int, metavar="REQUESTS", help="our gateway alone: does its memory grow?")
    parser.add_argument("--guard", action="store_true", help="our gateway alone: with and without a guard, in turns")
    parser.add_argument("--page-only", action="store_true", help="write the page from the results that there are")
    parser.add_argument("--out", type=Path, default=ROOT / "docs/benchmarks", help="folder of gateway.md")
    parser.add_argument("-o", dest="output", choices=("page", "json"), default="page", help="json: to stdout, no page")
    given = parser.parse_args()
    names = given.peers.split(",")
    if unknown := [name for name in names if name not in PEERS]:
        parser.error(f"--peers: {unknown[0]} is none of {', '.join(PEERS)}")
    if (os.cpu_count() or 1) < 2:
        parser.error("two cores are needed: one for what is measured, one for engines and load")
    file = given.out / "gateway.json"
    found: dict[str, Any] = orjson.loads(file.read_bytes()) if file.exists() else {}
    if given.flips:
        _leave_a_core()
        found["flips"] = {**flips(given.flips), **_machine()}
    elif given.drift:
        _leave_a_core()
        found["drift"] = {**drift(given.drift), **_machine()}
    elif given.guard:
        _leave_a_core()
        lengths = (1, 2.0, 1.0) if given.quick else (given.repeat, given.seconds, given.warmup)
        found["guard"] = {**under_guard(*lengths, say=_said), **_machine()}
    elif not given.page_only:
        for name in names:
            install(PEERS[name])
        _leave_a_core()
        quick = {"repeat": 1, "seconds": 2.0, "warmup": 1.0}
        full = {"repeat": given.repeat, "seconds": given.seconds, "warmup": given.warmup}
        found |= compare(names, given.scenarios.split(","), **(quick if given.quick else full))
    if given.output == "json":
        print(orjson.dumps(found, option=orjson.OPT_INDENT_2).decode())
        return 0
    given.out.mkdir(parents=True, exist_ok=True)
    file.write_bytes(orjson.dumps(found, option=orjson.OPT_INDENT_2) + b"\n")
    write_page(found, given.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
