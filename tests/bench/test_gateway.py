"""The gateway's benchmark: its parts do what the page says of them."""

from pathlib import Path
from typing import Any

import pytest

from bench.gateway import guard as guards
from bench.gateway import ours, upstream
from bench.gateway.flips import flips
from bench.gateway.page import write_page
from bench.gateway.peers import PEERS
from bench.gateway.plot import Bar, bars
from bench.gateway.scenarios import BenchError, Scenario, measure

WHOLE = Scenario("small", "requests", connections=4, prompt=1024)
STREAMS = Scenario("streams-600", "streams", connections=5, prompt=1024, tokens=4)
# Seconds in which a machine does enough: an idle one, a busy one, and one that does much else.
LENGTHS = (0.5, 5.0, 60.0)


def measured(name: str, scenario: Scenario) -> dict[str, Any]:
    """A measurement that is long enough for each connection to have been answered more than once, and by everybody."""
    for seconds in LENGTHS:
        try:
            found = measure(PEERS[name], scenario, seconds=seconds, warmup=0.1)
        except BenchError:
            # Nobody was answered yet, or not by the candidate.
            if seconds == LENGTHS[-1]:
                raise
            continue
        if found["requests"] > scenario.connections:
            break
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", ["understudy", "floor", "aiohttp"])
def test_whole_answers_are_counted_and_paid_for(name: str) -> None:
    found = measured(name, WHOLE)

    assert found["errors"] == found["lost"] == 0
    assert found["requests"] > 0
    assert found["cpu"]["tested"] > 0
    assert found["memory_mb"] > 5


@pytest.mark.slow
def test_everything_of_ours_is_at_work_while_it_is_measured() -> None:
    found = measured("understudy", WHOLE)

    assert set(found["features"]) == set(ours.FEATURES)
    assert min(found["features"].values()) > 0


@pytest.mark.slow
def test_a_feature_that_was_to_be_on_and_is_not_ends_the_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PEERS["understudy"].__dict__, "command", ours.bare)

    with pytest.raises(BenchError, match="was not on: answers counted against the limits of their key"):
        measure(PEERS["understudy"], WHOLE, seconds=0.2, warmup=0.1)


@pytest.mark.slow
def test_what_a_guard_costs_is_measured_beside_the_same_without_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(guards, "SCENARIOS", (WHOLE,))
    monkeypatch.setattr(guards, "STREAMS", 2)
    for seconds in LENGTHS:
        try:
            found = guards.under_guard(1, seconds, 0.1, say=lambda _: None)
        except BenchError:
            # Nobody was answered yet, or not by the candidate.
            if seconds == LENGTHS[-1]:
                raise
            continue
        break
    assert [row["peer"] for row in found["results"]] == ["understudy", "understudy-guard"]
    assert found["results"][1]["features"]["texts looked at by a guard"] > 0
    assert found["gate"]["pieces"] == 2 * guards.PIECES
    assert 0 <= found["gate"]["held_mean"] <= found["gate"]["held_most"]

    write_page({"guard": {**found, "commit": "abc", "date": "today"}}, tmp_path)

    page = (tmp_path / "gateway.md").read_text()
    assert "| `small`, per request | " in page.split("## Under a guard")[1]


def test_a_guards_words_are_made_up_beside_what_engines_say() -> None:
    assert ours.SPOKEN.encode() in upstream._ANSWER
    (said,), shards = ours.guard()
    assert said["shards"] == [shard["name"] for shard in shards]


def guarded(peer: str, cpu: float, **more: Any) -> dict[str, Any]:
    return row(peer, cpu, scenario="streams-200", chunks=1000, transit={"p50": 0.1, "p99": cpu * 100}, **more)


def test_the_page_sets_a_guard_against_the_same_repetition_without_it(tmp_path: Path) -> None:
    rows = [guarded("understudy", 0.03), guarded("understudy-guard", 0.045, repetition=1)]
    rows += [guarded("understudy", 0.02, repetition=1), guarded("understudy-guard", 0.03, latency={"p50": 4, "p99": 5})]
    gate = {"p99_ms": 0.05, "held_mean": 1.04, "held_p99": 5}
    made = {"commit": "abc", "date": "today", "repetitions": 2, "seconds": 2.0, "results": rows, "gate": gate}

    write_page({"guard": made}, tmp_path)

    page = (tmp_path / "gateway.md").read_text()
    assert "| `streams-200`, per chunk | 1.62 (1.00 to 2.25) | 25.0 | 37.5 |" in page
    assert "| `streams-200` | 1.50 / 1.50 | 0.00 / 1.25 |" in page
    assert "| the gate's CPU for a chunk of 200 streams, p99, ms | ≤ 1 | 0.050 | yes |" in page
    assert "| characters held back on benign text, mean | ≤ 1 | 1.040 | **no** |" in page


@pytest.mark.slow
def test_tables_change_under_load_and_each_change_is_timed() -> None:
    found = flips(3)

    assert (found["flips"], found["failed"]) == (3, 0)
    assert found["requests"] > 3
    for which in ("wall_ms", "seen_ms"):
        assert 0 < found[which]["p50"] <= found[which]["p99"] <= found[which]["longest"]
    assert 0 < found["cpu_ms"]["longest"] <= found["wall_ms"]["longest"] + 1


@pytest.mark.slow
@pytest.mark.parametrize("name", ["understudy", "floor", "aiohttp"])
def test_each_chunk_of_a_stream_is_timed(name: str) -> None:
    found = measured(name, STREAMS)

    assert found["errors"] == found["lost"] == 0
    # Of a stream that was under way when the measuring began only the rest has been timed.
    assert found["chunks"] >= (found["requests"] - STREAMS.connections) * STREAMS.tokens > 0
    assert 0 < found["transit"]["p50"] < 1000


def test_a_peer_that_does_not_start_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PEERS["floor"].__dict__, "command", lambda _: ["sh", "-c", "echo no such flag; exit 3"])

    with pytest.raises(BenchError, match="no such flag"):
        measure(PEERS["floor"], WHOLE, seconds=0.1, warmup=0.0)


def row(peer: str, cpu: float, **more: Any) -> dict[str, Any]:
    return {
        "peer": peer, "scenario": "small", "repetition": 0, "idle_before": 1.0, "seconds": 1.0, "requests": 1000,
        "chunks": 0, "errors": 0, "connections": 32, "cold_start": 0.2, "memory_mb": 21.0, "transit": {},
        "latency": {"p50": 1.0, "p99": 2.0}, "cpu": {"tested": cpu, "load": 0.1, "engines": 0.1}, **more,
    }  # fmt: skip


def test_the_page_sets_ours_against_the_peers_of_the_same_repetition(tmp_path: Path) -> None:
    rows = [row("direct", 0.0), row("understudy", 0.03), row("vllm-router", 0.04), {**row("envoy", 1), "failed": "no"}]

    write_page({"results": rows, "versions": {}}, tmp_path)

    page = (tmp_path / "gateway.md").read_text()
    assert "| `small`, per request | 0.75 (0.75 to 0.75) |" in page
    assert "| CPU per small request, to vllm-router | ≤ 1 | 0.75 | yes |" in page
    assert "| CPU per chunk at 600 streams, to Envoy | ≤ 1 | · | · |" in page
    assert "Envoy, native filters |" not in page
    assert (tmp_path / "gateway-small.svg").read_text().count("<rect") == 3


def test_the_page_tells_what_was_on_by_the_gateways_own_count(tmp_path: Path) -> None:
    rows = [row("direct", 0.0), row("understudy", 0.03, features={"lines": 1200}, repetition=1)]

    write_page({"results": [*rows, row("understudy", 0.03, features={"lines": 34})]}, tmp_path)

    assert "over the 2 measurements of it: 1,234 lines." in (tmp_path / "gateway.md").read_text()


@pytest.mark.parametrize(("longest", "met"), [(49.9, "yes"), (50.1, "**no**")])
def test_the_page_holds_changes_of_tables_to_their_bound(tmp_path: Path, longest: float, met: str) -> None:
    took = {"p50": 1.0, "p99": 2.0, "longest": longest}
    flips = {"flips": 1000, "failed": 0, "requests": 9, "seconds": 20.0, "deployments": 500, "commit": "abc"}

    write_page({"flips": {**flips, "wall_ms": took, "cpu_ms": took, "seen_ms": took}}, tmp_path)

    page = (tmp_path / "gateway.md").read_text()
    assert "| tables that change under load: failed requests | ≤ 0 | 0.00 | yes |" in page
    assert f"| longest of these changes in the event loop, ms | ≤ 50 | {longest} | {met} |" in page


def test_a_metric_is_found_by_its_whole_name() -> None:
    text = '# HELP a b\na_total{kind="x"} 3.0\na_total{kind="xy"} 4.0\n'

    assert ours.metric(text, 'a_total{kind="x"}') == 3.0
    assert ours.metric(text, "a_total") == 0.0


def test_the_page_says_when_the_machine_was_busy(tmp_path: Path) -> None:
    rows = [row("direct", 0.0), row("understudy", 0.03, idle_before=0.4)]

    write_page({"results": rows}, tmp_path)

    assert "was not idle** before 1 of 2 measurements" in (tmp_path / "gateway.md").read_text()


def test_a_bar_far_beyond_the_others_is_cut_and_says_its_value() -> None:
    chart = bars(
        "cost",
        "µs",
        [Bar("a", 10, 9, 11, ours=True), Bar("b", 20, 20, 20, ours=False), Bar("c", 5000, 0, 0, ours=False)],
    )

    assert "5,000 µs (cut)" in chart
    assert chart.index(">a<") < chart.index(">b<") < chart.index(">c<")
