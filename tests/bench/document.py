"""A report as a list of parts, written as Markdown or as one page of HTML."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import NamedTuple

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1c2126; background: #fff; margin: 0; }
main { max-width: 1360px; margin: 0 auto; padding: 24px 20px 60px; }
h1 { font-size: 26px; margin: 0 0 8px; } h2 { font-size: 21px; margin: 44px 0 8px; }
h3 { font-size: 16px; margin: 28px 0 6px; } p { max-width: 78ch; }
.wide { overflow-x: auto; } figure { margin: 18px 0; } svg { width: 100%; height: auto; }
figcaption { color: #56616b; font-size: 14px; max-width: 90ch; }
table { border-collapse: collapse; margin: 10px 0 16px; font-size: 13.5px; }
td { font-variant-numeric: tabular-nums; }
th, td { padding: 4px 8px; border-bottom: 1px solid #dde2e6; text-align: right; }
td { white-space: nowrap; } td.left { white-space: normal; } td:first-child { min-width: 11em; }
th { border-bottom: 2px solid #b8c0c7; vertical-align: bottom; font-weight: 600; }
th:first-child, td:first-child, .left { text-align: left; }
tr.ours td { background: #e8f1fb; font-weight: 600; } tr.missed td { background: #fdecea; }
"""


class Heading(NamedTuple):
    """A heading; level 1 is the page's."""

    level: int
    text: str


class Text(NamedTuple):
    """A paragraph."""

    text: str


class Row(NamedTuple):
    """A row of a table; `mark` is "ours", "missed" or nothing."""

    cells: Sequence[str]
    mark: str = ""


class Table(NamedTuple):
    """A table; the first column names the row, columns in `left` hold words."""

    header: Sequence[str]
    rows: Sequence[Row]
    left: Sequence[int] = (0,)


class Figure(NamedTuple):
    """A picture: its file name without ending, the SVG, and what it shows."""

    name: str
    svg: str
    caption: str


Part = Heading | Text | Table | Figure


def markdown(parts: Sequence[Part]) -> str:
    """The parts as Markdown; figures are files beside it."""
    return "\n\n".join(_markdown(part) for part in parts) + "\n"


def page(parts: Sequence[Part], title: str) -> str:
    """The parts as one page that needs no other file."""
    body = "\n".join(_html(part) for part in parts)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n"
        f"<body><main>\n{body}\n</main></body>\n</html>\n"
    )


def _markdown(part: Part) -> str:
    if isinstance(part, Heading):
        return f"{'#' * part.level} {part.text}"
    if isinstance(part, Text):
        return part.text
    if isinstance(part, Figure):
        return f"![{part.caption}]({part.name}.svg)\n\n{part.caption}"
    rule = ["---" if column in part.left else "---:" for column in range(len(part.header))]
    lines = [part.header, rule, *(_marked(row) for row in part.rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _marked(row: Row) -> Sequence[str]:
    return [f"**{cell}**" if cell else "" for cell in row.cells] if row.mark else row.cells


def _html(part: Part) -> str:
    if isinstance(part, Heading):
        return f"<h{part.level}>{html.escape(part.text)}</h{part.level}>"
    if isinstance(part, Text):
        return f"<p>{html.escape(part.text)}</p>"
    if isinstance(part, Figure):
        caption = html.escape(part.caption)
        return f"<figure>{part.svg}<figcaption>{caption}</figcaption></figure>"
    head = _cells("th", part.header, part.left)
    rows = "\n".join(
        f'<tr class="{row.mark}">{_cells("td", row.cells, part.left)}</tr>' for row in part.rows
    )
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
    return f'<div class="wide">{table}</div>'


def _cells(tag: str, cells: Sequence[str], left: Sequence[int]) -> str:
    found = []
    for column, cell in enumerate(cells):
        side = ' class="left"' if column in left else ""
        found.append(f"<{tag}{side}>{html.escape(cell)}</{tag}>")
    return "".join(found)
