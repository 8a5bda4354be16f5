"""The report's pictures, as SVG to be put into the page."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

import matplotlib as mpl
import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from bench.bars import Bar
from bench.contest import BOUND, FREE_BOUND, NONE, OURS, STEP_FREE, STEPPED, STOCK
from bench.cost import AGENT_NAME, LISTENER, POLLER, PROXIES, SEND, Costs
from bench.loop import Run
from bench.profiles import BASE, END_S, EXPORT, PROFILES, START_S
from bench.quality import Key, Results

BLUE, RED, GREEN, GREY = "#1f6fd1", "#d1432f", "#2f8a4e", "#7d8891"
ORANGE, PURPLE, TEAL, BROWN, PINK = "#e08a00", "#8756b8", "#17959b", "#8a5a3c", "#d667a4"
FAMILY = {
    "Victron-stock-like": ORANGE,
    "OpenEMS-like": PURPLE,
    "Hoymiles-zero-export-like": TEAL,
    "OpenDTU-OnBattery-like": BROWN,
    "first version": RED,
    "plain integral": PINK,
}
TRADE = ("P1", "P2", "P3", "P4", "P5", "P6/0", "P7", "P8")
SWINGING = ("P4", "P5")  # nobody is near zero there: linear axes
TICKS = (0, 1, 10, 100)
SYMLOG = {"linthresh": 1.0, "linscale": 0.6}

mpl.use("svg")
mpl.rcParams.update(
    {
        "font.family": "DejaVu Sans",
        "font.size": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "grid.color": "#e6eaed",
        "axes.edgecolor": "#8c969e",
        "axes.titlesize": 9.5,
        "axes.titlelocation": "left",
        "svg.hashsalt": "bench",
    }
)


def trade(results: Results) -> str:
    """Exceed against over-curtailed energy of every law, a panel for each profile."""
    figure, panels = plt.subplots(2, 4, figsize=(11.5, 6.6), layout="constrained")
    for axes, profile in zip(panels.flat, TRADE, strict=True):
        for law in (*STEP_FREE, *STEPPED, BOUND, OURS):
            metrics = results[Key(EXPORT, profile, BASE.key, law)]
            axes.plot(metrics.overcurtail_wh, metrics.exceed_wh, **_marker(law))
        axes.set_title(f"{profile}: {PROFILES[profile].title}", wrap=True)
        if profile in SWINGING:
            axes.set_xlim(0)
            axes.set_ylim(0)
            continue
        axes.set_xscale("symlog", **SYMLOG)
        axes.set_yscale("symlog", **SYMLOG)
        axes.set_xlim(-0.15, 300)
        axes.set_ylim(-0.15, 300)
        axes.set_xticks(TICKS, map(str, TICKS))
        axes.set_yticks(TICKS, map(str, TICKS))
        axes.minorticks_off()
    for axes in panels[1]:
        axes.set_xlabel("over-curtailed, Wh")
    for axes in panels[:, 0]:
        axes.set_ylabel("exceed, Wh")
    handles = [axes_line(**_marker(law), label=law) for law in (OURS, BOUND, FREE_BOUND)]
    for family, colour in FAMILY.items():
        handles.append(axes_line(marker="o", color=colour, linestyle="none", label=family))
    handles.append(
        axes_line(marker="o", mfc="none", color=GREY, linestyle="none", label="step-free")
    )
    figure.legend(handles=handles, loc="outside lower center", ncols=5, frameon=False)
    return _svg(figure)


def axes_line(**style: object) -> mpl.lines.Line2D:
    """A line for a legend."""
    return mpl.lines.Line2D([], [], **style)


def _marker(law: str) -> dict[str, object]:
    if law == OURS:
        return {"marker": "*", "ms": 15, "color": BLUE, "zorder": 5, "linestyle": "none"}
    if law in (BOUND, FREE_BOUND):
        fill = "black" if law == BOUND else "none"
        return {"marker": "D", "ms": 6, "color": "black", "mfc": fill, "linestyle": "none"}
    colour = next(colour for family, colour in FAMILY.items() if law.startswith(family))
    fill = "none" if law in STEP_FREE else colour
    return {"marker": "o", "ms": 6, "color": colour, "mfc": fill, "linestyle": "none"}


def traces(runs: Mapping[str, Mapping[str, Run]]) -> str:
    """The limited power over time: a panel for each profile, a line for each law."""
    styles = {
        NONE: {"color": GREY, "lw": 1, "ls": ":"},
        STOCK: {"color": ORANGE, "lw": 1.2},
        BOUND: {"color": "black", "lw": 1.2},
        OURS: {"color": BLUE, "lw": 1.6},
    }
    figure, panels = plt.subplots(3, 2, figsize=(11.5, 8.6), layout="constrained")
    for axes, (profile, by_law) in zip(panels.flat, runs.items(), strict=True):
        for law, style in styles.items():
            samples = by_law[law].samples
            times = [each.t_s - START_S for each in samples]
            axes.plot(times, [each.limited_w / 1000 for each in samples], label=law, **style)
        limits = [each.limit_w / 1000 for each in samples]
        axes.plot(times, limits, color=RED, lw=1, ls="--", label="limit")
        axes.set_title(f"{profile}: {PROFILES[profile].title}")
        axes.set_ylabel("export, kW")
        if profile == "P7":
            axes.set_ylim(5.4, 6.6)
        axes.set_xlim(-10, END_S - START_S if profile in ("P4", "P7") else 80)
    panels[-1, 0].set_xlabel("s after the event")
    panels[-1, 1].set_xlabel("s after the event")
    panels[0, 0].legend(frameon=False, loc="upper right")
    return _svg(figure)


def bars(found: Sequence[Bar]) -> str:
    """Each figure as a share of its bar."""
    shown = [bar for bar in found if bar.limit > 0][::-1]
    figure, axes = plt.subplots(figsize=(11.5, 0.21 * len(shown) + 0.9), layout="constrained")
    shares = [min(3.0, bar.value / bar.limit) for bar in shown]
    colours = [GREEN if bar.met else RED for bar in shown]
    axes.hlines(range(len(shown)), 0, shares, color=colours, lw=1.2)
    axes.scatter(shares, range(len(shown)), color=colours, s=18, zorder=3)
    axes.axvline(1.0, color="black", lw=1)
    axes.set_yticks(range(len(shown)), [_shortened(bar.what) for bar in shown], fontsize=7.5)
    axes.set_xlim(0, 3.05)
    axes.set_ylim(-0.8, len(shown) - 0.2)
    axes.set_xlabel("share of the bar (1 is the bar; beyond 3 is drawn at 3)")
    axes.grid(axis="y", visible=False)
    return _svg(figure)


def cost(costs: Costs) -> str:
    """CPU by load, and the latency to the written cap."""
    colours = {AGENT_NAME: BLUE, LISTENER: GREY, POLLER: "black", PROXIES: RED, SEND: ORANGE}
    figure, (left, right) = plt.subplots(1, 2, figsize=(11.5, 3.8), layout="constrained")
    width = 0.16
    for place, (name, colour) in enumerate(colours.items()):
        spots = [i + (place - 2) * width for i in range(len(costs.cpu))]
        heights = [1000 * by_name[name] for by_name in costs.cpu.values()]
        left.bar(spots, heights, width * 0.9, color=colour, label=name)
    left.set_xticks(range(len(costs.cpu)), [str(load) for load in costs.cpu])
    left.set_ylabel("CPU, ms per s")
    left.set_xlabel("updates")
    left.set_title("CPU time")
    left.grid(axis="x", visible=False)
    left.set_axisbelow(True)
    left.set_ylim(0, 1.4 * left.get_ylim()[1])
    left.legend(frameon=False, fontsize=8, ncols=2, loc="upper left")
    for pace, latencies in costs.latencies.items():
        ordered = sorted(latencies)
        shares = [(i + 1) / len(ordered) for i in range(len(ordered))]
        right.step(ordered, shares, where="post", label=str(pace))
    right.set_xlabel("s from a changed value to the written cap")
    right.set_ylabel("share of all changes")
    right.set_title("Latency")
    right.legend(frameon=False, fontsize=8)
    return _svg(figure)


def _shortened(text: str) -> str:
    return text if len(text) <= 88 else text[:86] + "…"


def _svg(figure: Figure) -> str:
    out = io.StringIO()
    figure.savefig(out, format="svg", metadata={"Date": None})
    plt.close(figure)
    text = out.getvalue()
    return text[text.index("<svg") :]
