"""The report: every figure of the benchmark, beside what is asked and what others reach."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from bench import parts_of_cost, parts_of_quality, plots
from bench.bars import Bar, quality_bars
from bench.cost import Costs
from bench.cost_bars import cost_bars
from bench.defaults import Results as Choices
from bench.document import Figure, Heading, Part, Row, Table, Text, markdown, page
from bench.loop import Run
from bench.metrics import Metrics
from bench.misses import reason_of
from bench.quality import Results
from bench.stories import Outcomes, fault_bars

TITLE = "venus-export-limiter, measured"


class Findings(NamedTuple):
    """All that was run; `costs` is None where it was left out."""

    results: Results
    outcomes: Outcomes
    choices: Choices
    traces: Mapping[str, Mapping[str, Run]]
    costs: Costs | None
    where: str


def write(found: Findings, folder: Path) -> list[Bar]:
    """Write report.md with its pictures, report.html and quality.csv; return the bars."""
    folder.mkdir(parents=True, exist_ok=True)
    bars = [*quality_bars(found.results), *fault_bars(found.outcomes)]
    if found.costs:
        bars += cost_bars(found.costs)
    parts = _parts(found, bars)
    (folder / "report.md").write_text(markdown(parts))
    (folder / "report.html").write_text(page(parts, TITLE))
    for part in parts:
        if isinstance(part, Figure):
            (folder / f"{part.name}.svg").write_text(part.svg)
    _write_csv(found.results, folder / "quality.csv")
    return bars


def _parts(found: Findings, bars: Sequence[Bar]) -> list[Part]:
    missed = [bar for bar in bars if not bar.met]
    summary = (
        f"{len(bars) - len(missed)} of {len(bars)} bars are met, {len(missed)} are missed. "
        f"Simulated inverters and buses, real agent. {found.where}"
    )
    return [
        Heading(1, TITLE),
        Text(summary),
        Heading(2, "Bars"),
        *([_missed_table(missed)] if missed else []),
        Figure("bars", plots.bars(bars), "Every bar with a figure; red ones are missed."),
        _bars_table(bars),
        *parts_of_quality.parts(found.results, found.outcomes, found.choices, found.traces),
        *(parts_of_cost.parts(found.costs) if found.costs else []),
    ]


def _missed_table(missed: Sequence[Bar]) -> Table:
    rows = [
        Row([bar.what, _said(bar.value, bar), _said(bar.limit, bar), reason_of(bar)])
        for bar in missed
    ]
    return Table(["missed", "figure", "bar", "reason"], rows, left=(0, 3))


def _bars_table(bars: Sequence[Bar]) -> Table:
    rows = [
        Row(
            [
                bar.what,
                _said(bar.value, bar),
                _said(bar.limit, bar),
                "met" if bar.met else "missed",
            ],
            "" if bar.met else "missed",
        )
        for bar in bars
    ]
    return Table(["all bars", "figure", "at most", ""], rows, left=(0, 3))


def _said(value: float, bar: Bar) -> str:
    return f"{value:.2f} {bar.unit}" if value != int(value) else f"{value:.0f} {bar.unit}"


def _write_csv(results: Results, file: Path) -> None:
    with file.open("w", newline="") as out:
        rows = csv.writer(out)
        rows.writerow(["product", "profile", "setting", "law", *Metrics._fields])
        for key, metrics in results.items():
            rows.writerow([*key, *metrics])
