"""A forecast for eyes."""

from collections.abc import Mapping

from understudy.cli.plugin.forecast import Change, Forecast
from understudy.cli.plugin.screen import Cell, Screen, Style

_MARGIN = 11
_LONGEST = 60  # columns of a value before it ends in dots
_STYLES: Mapping[str, Style] = {"refused": "bad", "waits": "bad", "unchanged": "dim"}


def shown(seen: Forecast, screen: Screen) -> list[str]:
    """One screen about one deployment."""
    lines = screen.sentence(seen.sentence, f"{seen.namespace}/{seen.name}: ", style=_STYLES.get(seen.outcome, "good"))
    body: list[str] = []
    for number, change in enumerate(seen.changes):
        body += screen.sentence(_change(change), "" if number else "changes", _MARGIN)
    for label, text in (("strategy", seen.strategy), ("pods", seen.capacity)):
        body += screen.sentence(text, label, _MARGIN) if text else []
    if seen.writes:
        rows = [(Cell(f"{w.verb} {w.kind} {w.name}"), Cell(w.why, "dim")) for w in seen.writes]
        first, *rest = screen.columns([("", ""), *rows], " " * _MARGIN)[1:]
        body += [screen.paint("first".ljust(_MARGIN), "dim") + first.lstrip(), *rest]
    if seen.then and seen.outcome != "unchanged":
        body += screen.sentence(seen.then, "then", _MARGIN)
    for note in seen.notes:
        body += screen.sentence(note, "note", _MARGIN, "warn")
    return [*lines, "", *body] if body else lines


def _change(change: Change) -> str:
    before, after = _short(change.before), _short(change.after)
    if not before:
        return f"{change.path}: {after} (new)"
    return f"{change.path}: {before} → {after}" if after else f"{change.path}: {before} (removed)"


def _short(value: str) -> str:
    text = " ".join(value.split())
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
