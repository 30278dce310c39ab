"""Bar charts as SVG, in a few lines: no plotting library is worth a dependency for this."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

_ROW, _LABEL, _WIDTH = 26, 230, 720


@dataclass(frozen=True)
class Bar:
    """One bar, its whisker from `low` to `high`; `ours` in colour."""

    label: str
    value: float
    low: float
    high: float
    ours: bool


def bars(title: str, unit: str, rows: Sequence[Bar]) -> str:
    """A chart, smallest first. A bar far beyond the others is cut, and says its value like every other."""
    rows = sorted(rows, key=lambda row: row.value)
    values = [row.value for row in rows]
    middle = values[len(values) // 2] if values else 1.0
    scale = max([v for v in values if v <= 6 * middle] or [1.0])
    room = _WIDTH - _LABEL - 90
    height = 40 + _ROW * len(rows)
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" font-size="13">',
        '<g font-family="sans-serif"><rect width="100%" height="100%" fill="white"/>',
        f'<text x="10" y="20" font-weight="bold">{escape(title)}</text>',
    ]
    for number, row in enumerate(rows):
        y = 34 + number * _ROW
        cut = row.value > scale
        width = room if cut else max(1.0, room * row.value / scale)
        colour = "#b5451b" if row.ours else "#8fa3b0"
        out.append(f'<text x="{_LABEL - 8}" y="{y + 14}" text-anchor="end">{escape(row.label)}</text>')
        out.append(f'<rect x="{_LABEL}" y="{y}" width="{width:.1f}" height="{_ROW - 8}" fill="{colour}"/>')
        if not cut and row.high > row.low:
            a, b = (_LABEL + min(1.05, v / scale) * room for v in (row.low, row.high))
            out.append(f'<path d="M{a:.1f} {y + 9}H{b:.1f}" stroke="black"/>')
            width = max(width, b - _LABEL)
        note = " (cut)" if cut else ""
        text = f"{row.value:,.1f}" if row.value < 100 else f"{row.value:,.0f}"
        out.append(f'<text x="{_LABEL + width + 6:.1f}" y="{y + 14}">{text} {escape(unit)}{note}</text>')
    return "\n".join([*out, "</g></svg>", ""])
