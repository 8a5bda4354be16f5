"""Draws what the sites did: load, output, cap and limit over time, one panel a site."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot
from matplotlib.axes import Axes

from demo.records import Record

LOAD, OUTPUT, CAP, LIMIT = "#8c8c8c", "#1f6fb4", "#e08a00", "#c0392b"


def draw(records: list[Record], path: Path) -> None:
    """Write the picture to `path`, whole or not at all."""
    figure, panels = pyplot.subplots(
        len(records), 1, figsize=(10, 3.6 * len(records)), sharex=True, squeeze=False
    )
    for record, panel in zip(records, panels[:, 0], strict=True):
        _draw_site(record, panel)
    panels[-1, 0].set_xlabel("time, s")
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}")
    figure.savefig(beside, dpi=110, format="png")
    pyplot.close(figure)
    beside.replace(path)


def _draw_site(record: Record, panel: Axes) -> None:
    site, rows = record.site, record.rows
    times_s = [row.t_s for row in rows]
    caps_kw = [float("nan") if row.cap_w is None else row.cap_w / 1000 for row in rows]
    loads_kw = [row.load_w / 1000 for row in rows]
    outputs_kw = [row.output_w / 1000 for row in rows]

    panel.fill_between(times_s, outputs_kw, color=OUTPUT, alpha=0.12, linewidth=0)
    from_grid = [load > output for load, output in zip(loads_kw, outputs_kw, strict=True)]
    panel.fill_between(
        times_s,
        outputs_kw,
        loads_kw,
        where=from_grid,
        color=LOAD,
        alpha=0.15,
        linewidth=0,
        label="taken from the grid",
    )
    panel.plot(times_s, loads_kw, color=LOAD, linestyle="--", label="load", linewidth=2)
    panel.axhline(site.limit_w / 1000, color=LIMIT, linewidth=1.5, label="limit")
    panel.plot(times_s, outputs_kw, color=OUTPUT, linewidth=2.5, label="inverter output")
    panel.step(
        times_s, caps_kw, where="post", color=CAP, linewidth=2, dashes=(3, 3), label="cap in force"
    )
    panel.set_title(f"{site.name}: limit {site.limit_w / 1000:g} kW", loc="left", fontweight="bold")
    panel.set_ylabel("power, kW")
    panel.set_ylim(0, 1.1 * max([*loads_kw, site.limit_w / 1000]))
    panel.set_xlim(0, times_s[-1])
    panel.grid(alpha=0.3)
    panel.spines[["top", "right"]].set_visible(False)
    panel.legend(loc="lower right", ncols=5, frameon=False, fontsize="small")
