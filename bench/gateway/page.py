"""The page and its charts, from results."""

from collections.abc import Callable
from pathlib import Path
from statistics import median
from string import Template
from typing import Any

from bench.gateway.peers import PEERS
from bench.gateway.plot import Bar, bars
from bench.gateway.scenarios import SCENARIOS, Scenario

HERE = Path(__file__).parent
OURS, BARE, WORKERS, GUARDED = "understudy", "understudy-bare", "understudy-workers", "understudy-guard"
_NONE = "·"
# Below this part of an idle machine before a measurement, wall-clock figures say little.
IDLE = 0.9
# A stream's end takes a moment, so that not quite all connections have one at all times.
IN_TIME = 0.93

Found = dict[str, Any]


class Results:
    """Measurements by peer and scenario."""

    def __init__(self, found: Found) -> None:
        self._rows: list[Found] = [r for r in found.get("results", []) if "failed" not in r]
        self.peers = [name for name in PEERS if any(r["peer"] == name for r in self._rows)]
        self.scenarios = [s for s in SCENARIOS if any(r["scenario"] == s.name for r in self._rows)]

    def of(self, peer: str, scenario: str) -> list[Found]:
        """All repetitions."""
        return [r for r in self._rows if r["peer"] == peer and r["scenario"] == scenario]

    def values(self, peer: str, scenario: str, value: Callable[[Found], float | None]) -> list[float]:
        """One value of each repetition that has it."""
        return [v for v in map(value, self.of(peer, scenario)) if v is not None]

    def middle(self, peer: str, scenario: str, value: Callable[[Found], float | None]) -> float | None:
        """The median over repetitions."""
        found = self.values(peer, scenario, value)
        return median(found) if found else None

    def added(self, peer: str, scenario: str, kind: str, quantile: str) -> float | None:
        """Milliseconds at a quantile, less the same without a gateway."""
        through = self.middle(peer, scenario, lambda r: r[kind].get(quantile))
        direct = self.middle("direct", scenario, lambda r: r[kind].get(quantile))
        return None if through is None or direct is None else through - direct

    def all(self) -> list[Found]:
        """Every measurement."""
        return self._rows


def cost(row: Found) -> float | None:
    """CPU time per request or chunk in µs."""
    units = row["chunks"] or row["requests"]
    return float(row["cpu"]["tested"] / units * 1e6) if units else None


def write_page(found: Found, folder: Path) -> None:
    """Write gateway.md and the charts."""
    results = Results(found)
    made = found.get("made", {})
    prose = Template((HERE / "page.md").read_text())
    text = prose.substitute(
        made=_made(found),
        warning=_warning(results),
        repetitions=made.get("repetitions", 0),
        ratios=_ratios(results),
        bounds=_bounds(results, found.get("flips")),
        costs=_costs(results),
        latencies=_latencies(results),
        memory=_memory(results),
        features=_features(results),
        workers=_workers(results),
        guard=_guard(found.get("guard")),
        flips=_flips(found.get("flips")),
        drift=_drift(found.get("drift")),
        does=_does(results, found.get("versions", {})),
        sharing=_sharing(results),
        litellm=PEERS["litellm"].streams,
        limits=(HERE / "limits.md").read_text().strip(),
    )
    (folder / "gateway.md").write_text(text)
    for name, title, unit in (
        ("small", "CPU time per request, 1 KiB prompt, whole answer", "µs"),
        ("streams-600", "CPU time per chunk, 600 streams of 50 tokens a second", "µs"),
    ):
        costs = {peer: results.values(peer, name, cost) for peer in results.peers}
        rows = [
            Bar(PEERS[peer].title, median(values), min(values), max(values), peer == OURS)
            for peer, values in costs.items()
            if values
        ]
        (folder / f"gateway-{name}.svg").write_text(bars(title, unit, rows))


def _made(found: Found) -> str:
    made = found.get("made")
    if made is None:
        return "Nothing was compared yet."
    return (
        f"Commit {made['commit']}, {made['date']}; {made['cores']} cores of an {made['cpu']}, Linux {made['kernel']}, "
        f"Python {made['python']}; {made['repetitions']} repetitions, {made['seconds']:g} s each."
    )


def _warning(results: Results) -> str:
    rows = results.all()
    busy = [r for r in rows if r["idle_before"] < IDLE]
    if not busy:
        return "The machine was idle before every measurement."
    idle = median(r["idle_before"] for r in rows)
    return (
        f"**The machine was not idle** before {len(busy)} of {len(rows)} measurements (median: {idle:.0%} idle). CPU "
        "time is inflated for everybody by shared caches; wall-clock figures of this run mean little."
    )


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|---|" + "--:|" * (len(head) - 1)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def _number(value: float | None) -> str:
    if value is None:
        return _NONE
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def _ratio(results: Results, scenario: str, peer: str) -> str:
    ours = {r["repetition"]: cost(r) for r in results.of(OURS, scenario)}
    theirs = {r["repetition"]: cost(r) for r in results.of(peer, scenario)}
    found = [a / b for n, a in ours.items() if a is not None and (b := theirs.get(n))]
    if not found:
        return _NONE
    return f"{median(found):.2f} ({min(found):.2f} to {max(found):.2f})"


def _ratios(results: Results) -> str:
    others = [peer for peer in results.peers if peer != OURS]
    rows = [
        [
            f"`{scenario.name}`, per {'chunk' if scenario.kind == 'streams' else 'request'}",
            *(_ratio(results, scenario.name, peer) for peer in others),
        ]
        for scenario in results.scenarios
    ]
    return _table(["CPU time", *(PEERS[peer].title for peer in others)], rows)


def _bounds(results: Results, flips: Found | None) -> str:
    """The figures that the gateway is held to, with what came out."""
    flips = flips or {}
    checks = (
        ("CPU per small request, to vllm-router", 1.0, _mid_ratio(results, "small", "vllm-router")),
        ("CPU per 64 KiB request, to vllm-router", 1.2, _mid_ratio(results, "large", "vllm-router")),
        ("CPU per chunk at 100 streams, to Envoy", 1.0, _mid_ratio(results, "streams-100", "envoy")),
        ("CPU per chunk at 600 streams, to Envoy", 1.0, _mid_ratio(results, "streams-600", "envoy")),
        ("600 streams: added time to first token, p99, ms", 10.0, results.added(OURS, "streams-600", "latency", "p99")),
        ("600 streams: memory, MB", 60.0, results.middle(OURS, "streams-600", lambda r: r["memory_mb"])),
        ("cold start, s", 0.5, results.middle(OURS, "small", lambda r: r["cold_start"])),
        ("tables that change under load: failed requests", 0, flips.get("failed")),
        ("longest of these changes in the event loop, ms", 50, flips.get("wall_ms", {}).get("longest")),
        ("longest until a client sees one, ms", 50, flips.get("seen_ms", {}).get("longest")),
    )
    rows = [
        [name, f"≤ {bound:g}", _number(value), _NONE if value is None else "yes" if value <= bound else "**no**"]
        for name, bound, value in checks
    ]
    return _table(["What the gateway is held to", "bound", "measured", "met"], rows)


def _mid_ratio(results: Results, scenario: str, peer: str) -> float | None:
    found = _ratio(results, scenario, peer)
    return None if found == _NONE else float(found.split(" ")[0])


def _costs(results: Results) -> str:
    rows = [
        [
            PEERS[peer].title,
            *(_number(results.middle(peer, s.name, cost)) + _behind(results, peer, s) for s in results.scenarios),
        ]
        for peer in results.peers
    ]
    return _table(["µs of CPU", *(f"`{s.name}`" for s in results.scenarios)], rows)


def _behind(results: Results, peer: str, scenario: Scenario) -> str:
    """A mark on streams that did not get all their chunks in time: then several go in one, and look cheap."""
    due = results.middle(peer, scenario.name, lambda r: r["connections"] / scenario.interval)
    rate = results.middle(peer, scenario.name, lambda r: r["chunks"] / r["seconds"])
    return "*" if scenario.kind == "streams" and due and rate is not None and rate < IN_TIME * due else ""


def _latencies(results: Results) -> str:
    head, rows = ["added ms, p50 / p99"], []
    for scenario in results.scenarios:
        head.append(f"`{scenario.name}`" + (" first token" if scenario.kind == "streams" else ""))
        if scenario.kind == "streams":
            head.append(f"`{scenario.name}` chunk")
    for peer in results.peers:
        row = [PEERS[peer].title]
        for scenario in results.scenarios:
            for kind in ("latency", "transit")[: 2 if scenario.kind == "streams" else 1]:
                pair = [results.added(peer, scenario.name, kind, q) for q in ("p50", "p99")]
                row.append(" / ".join(_number(value) for value in pair))
        rows.append(row)
    return _table(head, rows)


def _memory(results: Results) -> str:
    rows = []
    for peer in results.peers:
        memory = [results.middle(peer, s.name, lambda r: r["memory_mb"]) for s in results.scenarios]
        starts = [v for s in results.scenarios for v in results.values(peer, s.name, lambda r: r["cold_start"])]
        rate = results.middle(peer, "small", lambda r: r["requests"] / r["seconds"])
        rows.append([PEERS[peer].title, _number(median(starts)), _number(rate), *(_number(m) for m in memory)])
    head = ["", "cold start, s", "`small`, requests/s", *(f"`{s.name}`, MB" for s in results.scenarios)]
    return _table(head, rows)


def _features(results: Results) -> str:
    rows = [r["features"] for r in results.all() if r["peer"] == OURS and r.get("features")]
    if not rows:
        return "Nothing was compared yet."
    done = ", ".join(f"{sum(row[feature] for row in rows):,.0f} {feature}" for feature in rows[0])
    return f"By its own metrics, over the {len(rows)} measurements of it: {done}."


def _workers(results: Results) -> str:
    rows = []
    for name in (OURS, WORKERS):
        rate = results.middle(name, "small", lambda r: r["requests"] / r["seconds"])
        late = results.added(name, "streams-600", "transit", "p99")
        memory = results.middle(name, "streams-600", lambda r: r["memory_mb"])
        paid = [results.middle(name, scenario, cost) for scenario in ("small", "streams-600")]
        rows.append([PEERS[name].title, *map(_number, (rate, *paid, late, memory))])
    head = ["", "`small`, requests/s", "µs per request", "µs per chunk", "chunk, added ms p99", "MB"]
    return _table(head, rows)


def _guard(found: Found | None) -> str:
    if found is None:
        return "Not measured: `python -m bench.gateway --guard`."
    rows = found["results"]
    names = dict.fromkeys(row["scenario"] for row in rows)
    idle = sum(row["idle_before"] >= IDLE for row in rows)
    return "\n\n".join(
        [
            (
                f"Commit {found['commit']}, {found['date']}: {found['repetitions']} repetitions, {found['seconds']:g} "
                f"s each; the machine was idle before {idle} of {len(rows)} measurements."
            ),
            _table(
                ["CPU time", "under the guard to without it", "without, µs", "under it, µs"],
                [_guard_cost(rows, name) for name in names],
            ),
            _table(
                ["added by the guard, ms, p50 / p99", "until the first token, or the whole answer", "a chunk"],
                [[f"`{name}`", *(_guard_late(rows, name, kind) for kind in ("latency", "transit"))] for name in names],
            ),
            _guard_bounds(found["gate"]),
        ]
    )


def _of(rows: list[Found], scenario: str, peer: str) -> list[Found]:
    return sorted((r for r in rows if (r["scenario"], r["peer"]) == (scenario, peer)), key=lambda r: r["repetition"])


def _guard_cost(rows: list[Found], scenario: str) -> list[str]:
    without, under = ([cost(r) or 0.0 for r in _of(rows, scenario, peer)] for peer in (OURS, GUARDED))
    ratios = [b / a for a, b in zip(without, under, strict=True)]
    per = "chunk" if any(r["chunks"] for r in rows if r["scenario"] == scenario) else "request"
    said = f"{median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
    return [f"`{scenario}`, per {per}", said, _number(median(without)), _number(median(under))]


def _guard_late(rows: list[Found], scenario: str, kind: str) -> str:
    """By what the guard makes it later, at two quantiles."""
    pairs = zip(_of(rows, scenario, OURS), _of(rows, scenario, GUARDED), strict=True)
    found = [[b[kind][q] - a[kind][q] for q in ("p50", "p99")] for a, b in pairs if a[kind] and b[kind]]
    return " / ".join(_number(median(each)) for each in zip(*found, strict=True)) or _NONE


def _guard_bounds(gate: Found) -> str:
    checks = (
        ("the gate's CPU for a chunk of 200 streams, p99, ms", 1, gate["p99_ms"]),
        ("characters held back on benign text, mean", 1, gate["held_mean"]),
        ("characters held back on benign text, p99", 8, gate["held_p99"]),
    )
    return _table(
        ["What the guard is held to", "bound", "measured", "met"],
        [[name, f"≤ {bound}", f"{value:.3f}", "yes" if value <= bound else "**no**"] for name, bound, value in checks],
    )


def _flips(found: Found | None) -> str:
    if found is None:
        return "Not measured: `python -m bench.gateway --flips 1000`."
    rows = [
        [name, *(_number(found[which][quantile]) for quantile in ("p50", "p99", "longest"))]
        for name, which in (
            ("its event loop was kept, by the wall clock", "wall_ms"),
            ("of this the gateway's own CPU time", "cpu_ms"),
            ("from the API server's word to the first answer by it", "seen_ms"),
        )
    ]
    return (
        f"{found['flips']:,} changes of one of {found['deployments']} deployments in {found['seconds']:.0f} s (commit "
        f"{found['commit']}), under {found['requests']:,} requests, of which {found['failed']:,.0f} failed. How long "
        "one took, in ms:\n\n"
    ) + _table(["", "median", "99 %", "longest"], rows)


def _drift(found: Found | None) -> str:
    if found is None:
        return "Not measured: `python -m bench.gateway --drift 1000000`."
    return (
        f"{found['requests']:,} requests in {found['seconds']:.0f} s (commit {found['commit']}), {found['errors']} "
        f"failed, {found['retries']:,.0f} retries and {found['failovers']:,.0f} conversations pinned to stable, while "
        "weights changed ten times a second, each second a new candidate came, and access keys were made and revoked: "
        f"{found['mb_first']:.1f} MB after the first fifth, {found['mb_last']:.1f} MB at the end, "
        f"{found['mb_per_million']:+.2f} MB per million requests by linear regression in between (bound: 1)."
    )


def _does(results: Results, versions: dict[str, str]) -> str:
    rows = []
    for name in results.peers:
        peer = PEERS[name]
        rows.append([f"{peer.title} {versions.get(name, '')}".strip(), peer.does, peer.lacks or _NONE])
    return _table(["", "was on", "does not do"], rows).replace("--:|", "---|")


def _sharing(results: Results) -> str:
    whole = [r for r in results.all() if r["peer"] == "direct" and r["scenario"] == "small"]
    if not whole:
        return "nothing was compared."
    rate = median(r["requests"] / r["seconds"] for r in whole)
    ours = [r for r in results.all() if r["peer"] == OURS]
    share = max(((r["cpu"]["load"] + r["cpu"]["engines"]) / r["seconds"] for r in ours), default=0.0)
    return (
        f"alone they come to {rate:,.0f} requests a second. Beside our gateway they used at most {share:.0%} of their "
        "core, so that they were not what was measured. (Beside nginx and HAProxy they are: those rows are floors in "
        "CPU time, not in requests a second.)"
    )
