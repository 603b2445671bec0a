"""The chart: one panel per measure, one bar per contender, drawn as SVG without any library."""

from __future__ import annotations

from typing import Any
from xml.sax.saxutils import escape

Row = dict[str, Any]
_COLOURS = {"engage_pipelines": "#1f6f8b", "bare script": "#b0b7bf", "dlt, tuned": "#e0913a", "drt": "#c2543f"}
_OTHER = "#8a6fb0"
_WIDTH, _LEFT, _BAR, _GAP, _HEAD = 760, 220, 18, 6, 34
_SPACE = _WIDTH - _LEFT - 110


def chart(measures: dict[str, Any]) -> str:
    """Speeds of pulling and delivering, as one SVG."""
    panels = [*_panels("Pull and load, orders/s", measures.get("pull", {}).get("rows", []), "rows"),
              *_panels("Deliver, rows/s", measures.get("deliver", {}).get("rows", []), "batch")]  # fmt: skip
    drawn, top = [], 10
    for title, rows in panels:
        text, height = _panel(title, rows, top)
        drawn.append(text)
        top += height
    style = "<style>text{font:13px sans-serif;fill:#222}.t{font-weight:bold}</style>"
    frame = f'<rect width="{_WIDTH}" height="{top}" fill="#fff"/>'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {top}" width="{_WIDTH}" height="{top}">'
        f"{style}{frame}{''.join(drawn)}</svg>\n"
    )


def _panels(title: str, rows: list[Row], by: str) -> list[tuple[str, list[Row]]]:
    groups: dict[str, list[Row]] = {}
    for row in rows:
        if "seconds" not in row:
            continue
        what = f"{row[by]:,} {'orders' if by == 'rows' else 'rows a call'}"
        limit = f", limit {row['rate']}/s" if "rate" in row else ""
        groups.setdefault(f"{title}: {what}, {row['latency_ms']:.0f} ms{limit}", []).append(row)
    return list(groups.items())


def _panel(title: str, rows: list[Row], top: int) -> tuple[str, int]:
    most = max(row["rows_per_second"] for row in rows)
    parts = [f'<text class="t" x="10" y="{top + 18}">{escape(title)}</text>']
    for number, row in enumerate(rows):
        y = top + _HEAD + number * (_BAR + _GAP)
        width = max(1.0, row["rows_per_second"] / most * _SPACE)
        colour = _COLOURS.get(row["contender"], _OTHER)
        parts.append(
            f'<text x="{_LEFT - 8}" y="{y + 14}" text-anchor="end">{escape(row["contender"])}</text>'
            f'<rect x="{_LEFT}" y="{y}" width="{width:.1f}" height="{_BAR}" fill="{colour}"/>'
            f'<text x="{_LEFT + width + 6:.1f}" y="{y + 14}">{row["rows_per_second"]:,.0f}</text>'
        )
    return "".join(parts), _HEAD + len(rows) * (_BAR + _GAP) + 12
