"""docs/metrics.md says what is exposed, and nothing else is: read off running processes, not off their source."""

import re
from pathlib import Path

import pytest

from tests.telemetry.exposed import families

PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"
ROW = re.compile(r"^\| `(\w+)` \| (\w+) \| ([\w, ]*) ?\| (.+) \|$", re.MULTILINE)
# Names of objects, and words of our own: what grows with the cluster, and what does not.
OBJECTS = {"category", "deployment", "detector", "guardrail", "hash", "revision"}
WORDS = {
    "action", "check", "condition", "direction", "half", "kind", "level", "metric", "outcome", "phase", "policy",
    "reason", "resource", "result", "state", "status", "type", "why",
}  # fmt: skip


def told(section: str) -> dict[str, tuple[str, frozenset[str]]]:
    """Type and labels of each metric of one section of the page."""
    (text,) = re.findall(rf"^## {section}\n(.*?)(?:\n## |\Z)", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    rows = ROW.findall(text)
    assert len(rows) == text.count("| `understudy_"), "a row of the page cannot be read"
    return {name: (kind, frozenset(filter(None, labels.strip().split(", ")))) for name, kind, labels, _ in rows}


def compare(section: str, text: str) -> None:
    shown = {name: (family.kind, family.labels) for name, family in families(text).items()}
    assert shown == told(section)
    assert all(labels <= OBJECTS | WORDS for _, labels in shown.values())


@pytest.mark.slow
def test_the_page_tells_what_a_gateway_shows(of_gateway: str) -> None:
    compare("Gateway", of_gateway)
    assert "process_resident_memory_bytes " in of_gateway


def test_the_page_tells_what_an_operator_shows(of_operator: str) -> None:
    compare("Operator", of_operator)
    assert "process_resident_memory_bytes " in of_operator


def test_the_page_tells_what_records_show(of_records: str) -> None:
    compare("Records", of_records)


@pytest.mark.parametrize("section", ["Gateway", "Operator", "Records"])
def test_names_are_ours_and_units_are_base_units(section: str) -> None:
    for name, (kind, _) in told(section).items():
        assert name.startswith("understudy_")
        assert name.endswith("_total") == (kind == "counter")
        assert not re.search(r"_(ms|milliseconds|minutes|percent|kib|mib|mb)(_|$)", name)
        assert kind != "histogram" or name.endswith(("_seconds", "_characters"))
