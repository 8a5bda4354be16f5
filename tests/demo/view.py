"""Shows the demo in a terminal: steps with a progress bar, the sites live, the summary at the end.

Where the output is no terminal the same is printed as plain lines.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group
from rich.live import Live
from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table
from rich.text import Text

from demo.records import Row, Site
from demo.verdict import Verdict

PLAIN_LINE_EVERY_S = 2.0
BAR_CELLS = 30
WIDTH_FOR_ALL = 120  # cells; a narrower terminal shows neither bar nor limit


class View:
    """Everything the demo prints goes through here."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False)

    def say(self, text: str) -> None:
        """Print one line as it is."""
        self.console.print(text, markup=False, soft_wrap=True)

    def echo(self, line: str) -> None:
        """Print a line of another program, with its own colours."""
        self.console.print(Text.from_ansi(line), soft_wrap=True)

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """Show that something takes its time, and at the end how long it took."""
        begun = time.monotonic()
        if self.console.is_terminal:
            with _progress(self.console) as progress:
                progress.add_task(title, total=None)
                yield
        else:
            self.say(f"{title} ...")
            yield
        self.say(f"{title}: {time.monotonic() - begun:.1f} s")

    @contextmanager
    def live(self, sites: list[Site], duration_s: float) -> Iterator["LiveSites"]:
        """Show the sites while they run."""
        if not self.console.is_terminal:
            yield PlainSites(self)
            return
        progress = _progress(self.console)
        task = progress.add_task("Raising the loads", total=duration_s)
        with Live(console=self.console, refresh_per_second=8) as live:
            yield DrawnSites(live, progress, task)

    def summary(self, sites: list[Site], verdicts: list[Verdict]) -> None:
        """Print the figures of each site."""
        table = Table(box=SIMPLE_HEAD)
        table.add_column("what the sites did")
        for site in sites:
            table.add_column(site.name, justify="right")
        for title, cells in _summary_rows(sites, verdicts):
            table.add_row(title, *cells)
        self.console.print(table)


class PlainSites:
    """The sites as lines, one for each site every two seconds."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._next_s = 0.0

    def show(self, newest: list[tuple[Site, Row]]) -> None:
        """Print the newest row of each site, if it is time for a line."""
        t_s = newest[0][1].t_s
        if t_s < self._next_s:
            return
        self._next_s = t_s + PLAIN_LINE_EVERY_S
        for site, row in newest:
            self._view.say(
                f"{row.t_s:5.1f} s  {site.name:<10} load {kw(row.load_w):>8}  "
                f"output {kw(row.output_w):>8}  cap {kw(row.cap_w):>8}  "
                f"limit {kw(site.limit_w):>8}  {row.state}: {row.reason}"
            )


class DrawnSites:
    """The sites as a table that is drawn anew, over a progress bar."""

    def __init__(self, live: Live, progress: Progress, task: TaskID) -> None:
        self._console = live.console
        self._live = live
        self._progress = progress
        self._task = task

    def show(self, newest: list[tuple[Site, Row]]) -> None:
        """Draw the newest row of each site."""
        wide = self._console.width >= WIDTH_FOR_ALL
        table = Table(box=SIMPLE_HEAD)
        table.add_column("time", justify="right")
        table.add_column("site")
        if wide:
            table.add_column("output, load, limit", min_width=BAR_CELLS)
        for title in ("load", "output", "cap", "limit") if wide else ("load", "output", "cap"):
            table.add_column(title, justify="right", min_width=8)
        table.add_column("state", min_width=10)
        table.add_column("reason", overflow="fold")
        for site, row in newest:
            table.add_row(
                f"{row.t_s:.0f} s",
                site.name,
                *([_bar(site, row)] if wide else []),
                *(kw(power_w) for power_w in (row.load_w, row.output_w, row.cap_w)),
                *([kw(site.limit_w)] if wide else []),
                Text(row.state, style="bold yellow" if row.state == "limiting" else "green"),
                row.reason,
            )
        self._progress.update(self._task, completed=newest[0][1].t_s)
        self._live.update(Group(table, self._progress))


LiveSites = PlainSites | DrawnSites


def kw(power_w: float | None) -> str:
    """Write a power as a person reads it."""
    return "none" if power_w is None else f"{power_w / 1000:.2f} kW"


def _bar(site: Site, row: Row) -> Text:
    """Output solid, the rest of the load light, a mark at the limit."""
    scale_w = site.load_to_w * 1.05
    output, load, limit = (
        min(BAR_CELLS - 1, max(0, round(BAR_CELLS * power_w / scale_w)))
        for power_w in (row.output_w, row.load_w, site.limit_w)
    )
    text = Text()
    for cell in range(BAR_CELLS):
        if cell == limit:
            text.append("|", style="bold red")
        elif cell < output:
            text.append("█", style="blue")
        else:
            text.append("░" if cell < load else " ", style="dim")
    return text


def _progress(console: Console) -> Progress:
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=40),
        TimeElapsedColumn(),
        console=console,
        transient=True,
    )


def _summary_rows(sites: list[Site], verdicts: list[Verdict]) -> list[tuple[str, list[str]]]:
    figures = [verdict.figures for verdict in verdicts]
    steps = [
        "none" if figure.largest_step_w is None else f"{figure.largest_step_w:.0f} W"
        for figure in figures
    ]
    return [
        ("limit", [kw(site.limit_w) for site in sites]),
        ("highest load", [kw(figure.highest_load_w) for figure in figures]),
        ("highest output", [kw(figure.highest_output_w) for figure in figures]),
        ("above the limit", [f"{figure.above_limit_s:.1f} s" for figure in figures]),
        ("energy above the limit", [f"{figure.above_limit_wh:.2f} Wh" for figure in figures]),
        ("largest change of the cap in one step", steps),
        ("writes", [str(figure.writes) for figure in figures]),
        ("of these stored on flash", [str(figure.stored_writes) for figure in figures]),
        ("held", ["yes" if verdict.held else "NO" for verdict in verdicts]),
    ]
