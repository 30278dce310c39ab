"""One screen about one deployment, and one table of many."""

from collections.abc import Iterable, Sequence
from typing import Any

from understudy.cli.plugin.overview import Overview, Part, Progress
from understudy.cli.plugin.screen import Cell, Screen, Style, age, ago, plural
from understudy.domain.duration import instant, words

_MARGIN = 11
_CALM = ("Stable", "Watching")


def one(seen: Overview, screen: Screen, now: float) -> list[str]:
    """The screen; `now` is Unix seconds."""
    lines = [_headline(seen, screen)]
    for note in _notes(seen):
        lines += screen.sentence(note, style="warn")
    lines.append("")
    lines += screen.sentence(seen.plan or seen.message or "the operator has not looked at it yet", "plan", _MARGIN)
    if seen.verdict:
        lines += screen.sentence(_verdict(seen), "verdict", _MARGIN, _verdict_style(seen))
    if seen.served_names:
        lines += screen.sentence(", ".join(seen.served_names), "serves as", _MARGIN)
    if seen.url:
        lines += screen.sentence(seen.url, "url", _MARGIN)
    if seen.request:
        lines += screen.sentence(answer(seen), "request", _MARGIN, "" if seen.request_applied else "warn")
    if seen.parts:
        lines += ["", *_revisions(seen, screen)]
    trouble = [(pod.name, pod.why) for part in seen.parts for pod in part.trouble]
    if trouble:
        head = (Cell("POD", "dim"), Cell("NOT READY BECAUSE", "dim"))
        lines += ["", *screen.columns([head, *trouble])]
    if seen.concerns:
        lines += ["", *_conditions(seen.concerns, screen)]
    if seen.failed:
        lines += ["", *_failed(seen, screen, now)]
    return lines


def many(found: Sequence[Overview], screen: Screen, now: float, *, everywhere: bool) -> list[str]:
    """A table, sorted by namespace and name."""
    names = ("NAMESPACE", "NAME", "READY", "PHASE", "STABLE", "CANDIDATE", "WEIGHT", "PODS", "AGE", "PLAN")
    rows: list[Sequence[str | Cell]] = [tuple(Cell(name, "dim") for name in names)]
    for seen in sorted(found, key=lambda o: (o.namespace, o.name)):
        roles = {part.role: part.revision for part in seen.parts}
        rows.append(
            (
                seen.namespace if everywhere else "",
                Cell(seen.name, "bold"),
                Cell(seen.ready, "good" if seen.ready == "True" else "warn"),
                Cell(f"{seen.phase}{' (paused)' if seen.paused else ''}" or "-", _phase_style(seen)),
                roles.get("stable", ""),
                roles.get("candidate", ""),
                f"{screen.bar(seen.weight, 10)} {seen.weight:3} %" if "candidate" in roles else "",
                seen.pods,
                age(now - instant(seen.created)) if seen.created else "",
                seen.plan,
            )
        )
    notes = dict.fromkeys(note for seen in found for note in seen.notes)
    return [*screen.columns(rows), *(line for note in notes for line in screen.sentence(note, style="warn"))]


def answer(seen: Overview) -> str:
    """What came of the last request, as a sentence."""
    return f"{seen.request}: {'done' if seen.request_applied else seen.request_message or 'not applied'}"


def _headline(seen: Overview, screen: Screen) -> str:
    name = screen.paint(f"{seen.namespace}/{seen.name}", "bold")
    phase = seen.phase or "not looked at yet"
    step = f", step {seen.step} of {seen.steps}" if seen.step and seen.steps else ""
    paused = screen.paint(", paused", "warn") if seen.paused else ""
    ready = f"Ready={seen.ready}" + (f" ({seen.reason})" if seen.reason else "")
    return f"{name}   {screen.paint(phase + step, _phase_style(seen))}{paused}   {ready}"


def _notes(seen: Overview) -> Iterable[str]:
    if seen.phase and not seen.current:
        yield "the operator has not looked at the latest edit yet"
    yield from seen.notes


def _verdict(seen: Overview) -> str:
    return f"{seen.verdict}: {seen.verdict_reason}" if seen.verdict_reason else seen.verdict


def _verdict_style(seen: Overview) -> Style:
    styles: dict[str, Style] = {"Pass": "good", "Fail": "bad"}
    return styles.get(seen.verdict, "")


def _phase_style(seen: Overview) -> Style:
    if any(c["type"] == "Stalled" for c in seen.concerns) or seen.phase in ("RolledBack", "Reverting", "Restoring"):
        return "bad"
    return "good" if seen.phase in _CALM else "warn"


def _revisions(seen: Overview, screen: Screen) -> list[str]:
    names = ("REVISION", "ROLE", "CONVERSATIONS", "PODS", "MODEL", "REQUESTS", "FAILED")
    rows: list[Sequence[str | Cell]] = [tuple(Cell(name, "dim") for name in names)]
    for part in seen.parts:
        pods = Cell("?")
        if part.ready is not None and part.wanted is not None:
            pods = Cell(f"{part.ready}/{part.wanted}", "warn" if part.ready < part.wanted else "")
        rows.append(
            (
                Cell(part.revision, "bold"),
                part.role,
                _share(part, screen),
                pods,
                part.model,
                _number(part.attempts),
                Cell(_number(part.failed), "bad" if part.failed else ""),
            )
        )
    lines = screen.columns(rows)
    if seen.progress is not None:
        lines.append(screen.paint(_progress(seen.progress), "dim"))
    return lines


def _progress(p: Progress) -> str:
    if p.of_pairs:
        return f"copies: {p.samples} pairs of answers compared ({p.samples_wanted} needed); nobody sees the candidate's"
    return (
        f"at this weight: {p.samples} samples ({p.samples_wanted} needed), {words(p.observed_seconds)} "
        f"under observation ({words(p.observed_seconds_wanted)} needed)"
    )


def _share(part: Part, screen: Screen) -> str:
    text = f"{screen.bar(part.weight)} {part.weight:3} %"
    return text if part.weight == part.written else f"{text} (told {part.written} %)"


def _number(count: int | None) -> str:
    return "" if count is None else str(count)


def _conditions(conditions: Sequence[Any], screen: Screen) -> list[str]:
    lines = []
    for c in conditions:
        style: Style = "bad" if c["type"] in ("Stalled", "Available") else "warn"
        lines.append(screen.paint(f"{c['type']}={c['status']} ({c['reason']})", style))
        if c.get("message"):
            lines += screen.sentence(c["message"], "", 2)
    return lines


def _failed(seen: Overview, screen: Screen, now: float) -> list[str]:
    lines = [
        screen.paint(f"{plural(len(seen.failed), 'revision')} failed and will not start again without `retry`", "dim")
    ]
    for entry in reversed(seen.failed):
        head = f"{entry.revision}   {entry.reason}, {ago(now - instant(entry.at))}"
        lines.append(screen.paint(head, "bad" if entry.revision == seen.target else ""))
        lines += screen.sentence(entry.message, "", 2)
    return lines
