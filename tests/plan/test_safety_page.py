"""docs/rollout-safety.md names a test for each promise, and each of them exists."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "rollout-safety.md").read_text()
NAMED = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE)


def test_every_test_that_the_page_names_exists() -> None:
    missing = [f"{path}::{test}" for path, test in NAMED if f"def {test}(" not in (ROOT / path).read_text()]
    assert missing == []


def test_every_promise_has_a_row_with_a_test() -> None:
    rows = [line for line in PAGE.splitlines() if re.match(r"\| I\d+ \|", line)]
    assert [row.split(" | ")[0] for row in rows] == [f"| I{number}" for number in range(1, 18)]
    assert all(re.search(r"`tests/[\w/]+\.py::\w+` \|$", row) for row in rows)


def test_every_bad_day_has_a_row_with_a_test() -> None:
    rows = [row for row in PAGE.partition("## Bad days")[2].splitlines() if row.startswith("| ")][1:]
    assert len(rows) >= 20
    assert all(re.search(r"`tests/[\w/]+\.py::\w+` \|$", row) for row in rows)
