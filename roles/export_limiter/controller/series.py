"""The minutes of a site as a plot takes them: one day on an even grid, as coarse as it must be."""

from __future__ import annotations

from bisect import bisect_left
from typing import Any, Mapping, Sequence

DAY_S = 86400
MINUTE_S = 60
STEPS_MIN = (1, 2, 3, 5, 10, 15)  # each divides a day

LOWEST, MEANS, HIGHEST = "output_min_w", ("output_mean_w", "export_mean_w"), "output_max_w"
POWERS = (LOWEST, *MEANS, HIGHEST, "export_max_w")
# What seldom changes is told as runs: [[index, value], ...], a value holds until the next.
RUNS = ("cap_w", "state", "output_limit_w", "export_limit_w")


def series(
    minutes: Mapping[str, Sequence[Any]], states: Sequence[str], now: float, step_min: int
) -> dict[str, Any] | None:
    """The last 24 hours; ``None`` where nothing was recorded. ``states`` rise in badness.

    Powers are lists with ``None`` where nothing was measured; see :data:`RUNS` for the rest.
    """
    if not minutes:
        return None
    start = round(now) - DAY_S + (minutes["at"][-1] - round(now)) % MINUTE_S
    step_s = MINUTE_S * step_min
    points = DAY_S // step_s
    cells = [(at - start) // step_s for at in minutes["at"]]
    inside = slice(bisect_left(cells, 0), bisect_left(cells, points))
    cells, columns = cells[inside], {name: minutes[name][inside] for name in minutes}
    told: dict[str, Any] = {"from": start, "step_s": step_s, "points": points}
    for name in POWERS:
        column = _powers(name, columns, cells, points)
        if any(value is not None for value in column):
            told[name] = column
    worse = {state: i for i, state in enumerate(states)}
    for name in RUNS:
        spread: list[Any] = [None] * points
        for cell, value in zip(cells, columns[name]):
            if name != "state" or worse.get(value, 0) >= worse.get(spread[cell], -1):
                spread[cell] = value
        told[name] = _runs(spread)
    return told


def packed(told: Mapping[str, Any]) -> dict[str, Any]:
    """The same in fewer bytes once compressed.

    A mean is told as the difference to the one before, least and most as that from the mean.
    """
    small = dict(told)
    for quantity in ("output", "export"):
        means = told.get(f"{quantity}_mean_w")
        for name in (f"{quantity}_min_w", f"{quantity}_max_w"):
            if name in told:
                small[name] = [
                    None if value is None else value - mean
                    for value, mean in zip(told[name], means)
                ]
        if means:
            small[f"{quantity}_mean_w"] = _differences(means)
    return small


def _powers(
    name: str, columns: Mapping[str, Sequence[Any]], cells: Sequence[int], points: int
) -> list[int | None]:
    """Least of the least, most of the most, and the mean by the time that was measured."""
    values: list[Any] = [None] * points
    weights = [0] * points
    for cell, value, measured_s in zip(cells, columns[name], columns["measured_s"]):
        if value is None or not measured_s:
            continue
        before = values[cell]
        if name in MEANS:
            values[cell] = (before or 0) + value * measured_s
            weights[cell] += measured_s
        elif before is None:
            values[cell] = value
        else:
            values[cell] = min(before, value) if name == LOWEST else max(before, value)
    if name in MEANS:
        return [round(v / w) if w else None for v, w in zip(values, weights)]
    return values


def _runs(column: Sequence[Any]) -> list[list[Any]]:
    return [[i, value] for i, value in enumerate(column) if i == 0 or value != column[i - 1]]


def _differences(column: Sequence[int | None]) -> list[int | None]:
    told, before = [], 0
    for value in column:
        told.append(None if value is None else value - before)
        before = before if value is None else value
    return told
