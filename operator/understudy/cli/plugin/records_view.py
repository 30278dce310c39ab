"""Records as columns, and the difference between two of them."""

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from understudy.cli.plugin.records import Record
from understudy.cli.plugin.screen import Cell, Screen, Style, age
from understudy.domain.duration import instant

_STYLES: Mapping[str, Style] = {"stable": "good", "candidate": "warn", "failed": "bad"}
_DIFF: Mapping[str, Style] = {"+": "good", "-": "bad", "@": "dim"}


def history(found: Sequence[Record], screen: Screen, now: float) -> list[str]:
    """One line for each promotion, and for each revision that never was promoted."""
    return _table(found, ("NUMBER", "REVISION", "PROMOTED", "STATE", "MODEL", "REASON"), screen, now)


def snapshots(found: Sequence[Record], screen: Screen, now: float, *, everywhere: bool) -> list[str]:
    """One line for each record."""
    heads = ("DEPLOYMENT", "REVISION", "NUMBER", "STATE", "MODEL", "KEPT", "AGE", "REASON")
    return _table(found, (*(["NAMESPACE"] if everywhere else []), *heads), screen, now)


def difference(before: Mapping[str, Any], after: Mapping[str, Any], names: tuple[str, str]) -> list[str]:
    """A unified diff of two documents as YAML; empty if they say the same."""
    left, right = (yaml.safe_dump(doc, allow_unicode=True).splitlines() for doc in (before, after))
    return list(difflib.unified_diff(left, right, *names, lineterm=""))


def painted(lines: Sequence[str], screen: Screen) -> list[str]:
    """A diff in colours."""
    return [screen.paint(line, "bold" if line[:3] in ("+++", "---") else _DIFF.get(line[:1], "")) for line in lines]


def _table(found: Sequence[Record], heads: Sequence[str], screen: Screen, now: float) -> list[str]:
    rows: list[list[str | Cell]] = [[Cell(head, "dim") for head in heads]]
    rows += [[_cell(record, head, now) for head in heads] for record in found]
    return screen.columns(rows)


def _cell(record: Record, head: str, now: float) -> str | Cell:
    match head:
        case "STATE":
            return Cell(record.state, _STYLES.get(record.state, ""))
        case "NUMBER":
            return str(record.number or "-")
        case "PROMOTED" | "AGE":
            at = record.at if head == "PROMOTED" else record.created
            return age(now - instant(at)) if at else "-"
        case "KEPT":
            return "kept" if record.kept else ""
        case _:
            return str(getattr(record, head.lower()))
