"""Alerts and dashboard: rules that Prometheus takes and that fire when they should, of metrics that there are."""

import json
import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from tests.telemetry.exposed import families
from understudy.api.v1alpha1.deploymentstatus import Phase
from understudy.gateway.policy.balance import BREAKERS
from understudy.gateway.policy.segments import LANES
from understudy.gateway.wire.budgets import OUTCOMES
from understudy.telemetry.deployments import CONDITIONS

ROOT = Path(__file__).parents[2]
FILES = ROOT / "charts" / "understudy" / "files"
CASES = Path(__file__).parent / "alerts.test.yaml"
# What becomes of batches of records.
OUTBOX = ("sent", "late", "failed")
# What scraping adds, and what every process shows.
OF_TARGETS = {"namespace", "pod", "job"}
OF_PROCESSES = {"process_cpu_seconds_total", "process_resident_memory_bytes"}
SELECTOR = re.compile(r"\b((?:understudy|process)_\w+)(?:\{([^}]*)\})?")
MATCHER = re.compile(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"')
GROUPED = re.compile(r"\b(?:by|on|without)\s*\(([^)]*)\)")
IN_TEXT = re.compile(r"\$labels\.(\w+)|\{\{(\w+)\}\}")


@dataclass(frozen=True)
class Query:
    """One expression, where it stands, and the texts that show labels of its result."""

    where: str
    expr: str
    texts: str = ""


def rules() -> list[dict[str, Any]]:
    document = yaml.safe_load((FILES / "alerts.yaml").read_text())
    return [rule for group in document["groups"] for rule in group["rules"]]


def dashboard() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FILES / "dashboard.json").read_text())
    return found


def queries() -> Iterator[Query]:
    for rule in rules():
        yield Query(rule["alert"], rule["expr"], " ".join(rule["annotations"].values()))
    board = dashboard()
    for panel in board["panels"]:
        for target in panel.get("targets", ()):
            yield Query(panel["title"], target["expr"], target["legendFormat"])
    for note in board["annotations"]["list"]:
        yield Query(note["name"], note["expr"], note["titleFormat"])
    for variable in board["templating"]["list"]:
        if variable["type"] == "query":
            yield Query(variable["name"], variable["definition"])


def run(promtool: Path, *args: str | Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([promtool, *args], capture_output=True, text=True, check=False)


def told_apart(expr: str) -> set[str]:
    """Labels that are left in the result: those that the outermost aggregations group by."""
    return {label.strip() for group in GROUPED.findall(expr) for label in group.split(",")}


@pytest.fixture(scope="module")
def known(of_gateway: str, of_operator: str, of_records: str) -> Mapping[str, frozenset[str]]:
    """Labels by name of samples, of all processes together; one name may be of several."""
    found: dict[str, frozenset[str]] = {}
    for family in (family for text in (of_gateway, of_operator, of_records) for family in families(text).values()):
        found.update({name: found.get(name, frozenset()) | family.labels for name in family.samples})
    return found


@pytest.mark.slow
def test_every_query_asks_for_what_is_exposed(known: Mapping[str, frozenset[str]]) -> None:
    for query in queries():
        of_query = set(OF_TARGETS) | {"le"}
        for name, matchers in SELECTOR.findall(query.expr):
            assert name in known or name in OF_PROCESSES, f"{query.where}: nobody shows {name}"
            labels = known.get(name, frozenset()) | OF_TARGETS
            asked = {label for label, _, _ in MATCHER.findall(matchers)}
            assert asked <= labels, f"{query.where}: {name} has no label {asked - labels}"
            of_query |= labels
        assert told_apart(query.expr) <= of_query, f"{query.where}: {told_apart(query.expr) - of_query}"
        shown = {label for pair in IN_TEXT.findall(query.texts) for label in pair if label}
        assert shown <= told_apart(query.expr), f"{query.where}: {shown - told_apart(query.expr)} is aggregated away"


def test_every_word_that_is_asked_for_is_one_of_ours() -> None:
    codes = set(re.findall(r"`([a-z_]+)`", (ROOT / "docs" / "gateway.md").read_text()))
    words = {
        "phase": set(get_args(Phase)),
        "condition": set(CONDITIONS),
        "state": set(BREAKERS),
        "result": {"crash"},
        "half": {"shadow", "stable", "both"},
        "status": {"5.."},
        "kind": codes | {"dropped", *OUTCOMES, *OUTBOX, *LANES},
        "outcome": {"written", "dropped"},
    }
    for query in queries():
        for _, matchers in SELECTOR.findall(query.expr):
            for label, _, value in MATCHER.findall(matchers):
                if label not in ("deployment", "job"):
                    assert set(value.split("|")) <= words[label], f"{query.where}: {label} is never {value}"


def test_prometheus_takes_the_rules(promtool: Path) -> None:
    done = run(promtool, "check", "rules", FILES / "alerts.yaml")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"SUCCESS: {len(rules())} rules found" in done.stdout


@pytest.mark.slow
def test_alerts_fire_when_they_should_and_only_then(promtool: Path) -> None:
    done = run(promtool, "test", "rules", CASES)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_rule_that_is_wrong_fails_its_case(promtool: Path, tmp_path: Path) -> None:
    (tmp_path / "alerts.yaml").write_text(
        (FILES / "alerts.yaml").read_text().replace("!= 1 or absent", "> 1 or absent")
    )
    cases = yaml.safe_load(CASES.read_text())
    only = [case for case in cases["tests"] if "leads" in case["name"]]
    (tmp_path / "cases.yaml").write_text(yaml.safe_dump({**cases, "rule_files": ["alerts.yaml"], "tests": only}))
    done = run(promtool, "test", "rules", tmp_path / "cases.yaml")
    assert done.returncode != 0
    assert "UnderstudyNoLeader" in done.stdout + done.stderr


@pytest.mark.slow
def test_each_alert_has_a_case_in_which_it_fires_and_one_in_which_it_does_not() -> None:
    fires: set[str] = set()
    quiet: set[str] = set()
    for case in yaml.safe_load(CASES.read_text())["tests"]:
        for check in case.get("alert_rule_test", ()):
            (fires if check["exp_alerts"] else quiet).add(check["alertname"])
        for check in case.get("promql_expr_test", ()):
            names = {rule["alert"] for rule in rules() if re.search(_named(check["expr"]), rule["alert"])}
            if not check["exp_samples"]:
                quiet |= names
            for sample in check["exp_samples"]:
                fires |= set(re.findall(r'alertname="(\w+)"', sample["labels"]))
    names = {rule["alert"] for rule in rules()}
    assert (names - fires, names - quiet) == (set(), set())


def _named(expr: str) -> str:
    (pattern,) = re.findall(r'alertname=~?"([^"]+)"', expr)
    return f"^(?:{pattern})$"


def test_each_alert_has_a_page_for_whoever_it_wakes() -> None:
    page = (ROOT / "docs" / "alerts.md").read_text()
    told = re.findall(r"^### (\w+)\n(.*?)(?=^##|\Z)", page, re.MULTILINE | re.DOTALL)
    assert [name for name, _ in told] == [rule["alert"] for rule in rules()]
    for name, text in told:
        assert "\nLook: " in text, name
        assert "\nDo: " in text, name


def test_each_alert_says_how_grave_it_is_and_where_to_read() -> None:
    for rule in rules():
        assert rule["labels"]["severity"] in ("critical", "warning", "info")
        assert set(rule["annotations"]) == {"summary", "description", "runbook"}
        assert rule["annotations"]["runbook"] == f"docs/alerts.md#{rule['alert'].lower()}"


def test_the_dashboard_is_one_that_grafana_can_take() -> None:
    board = dashboard()
    ids = [panel["id"] for panel in board["panels"]]
    assert len(set(ids)) == len(ids)
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        place = panel["gridPos"]
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"])
                 for y in range(place["y"], place["y"] + place["h"])}  # fmt: skip
        assert place["x"] + place["w"] <= 24
        assert not cells & taken, f"{panel['title']} lies over another panel"
        taken |= cells
        if panel["type"] != "row":
            assert panel["description"].endswith(".")
            assert panel["datasource"]["uid"] == "${datasource}"


def test_every_query_of_the_dashboard_is_one_that_prometheus_understands(promtool: Path, tmp_path: Path) -> None:
    exprs = [query.expr for query in queries() if not query.expr.startswith("label_values")]
    recorded = [
        {"record": f"q{number}", "expr": expr.replace("$__rate_interval", "5m").replace("$deployment", ".*")}
        for number, expr in enumerate(exprs)
    ]
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": [{"name": "all", "rules": recorded}]}))
    done = run(promtool, "check", "rules", tmp_path / "rules.yaml")
    assert done.returncode == 0, done.stdout + done.stderr
