"""A history of the agent that is told a reading each second, and both of its files."""

from __future__ import annotations

import json
from typing import Any

from export_limiter.history import DAY_FIELDS, MINUTE_FIELDS, History
from export_limiter.tally import Reading

LIMIT_W = 5000.0
NOON = 1_795_348_800.0  # 2026-11-22 12:00 UTC
BOOT = 1000 * 60.0  # monotonic, at the start of a minute


def reading(output_w: float | None = 3000.0, state: str = "monitoring", **fields: Any) -> Reading:
    """Make the reading of a site with an output limit."""
    over_w = None if output_w is None else output_w - LIMIT_W
    return Reading(state, LIMIT_W, output_w, over_output_w=over_w, **fields)


class Told:
    """A history that is told a reading each second, and both of its files."""

    def __init__(self, history: History | None = None, now: float = BOOT, wall: float = NOON):
        self.history = history or History(LIMIT_W, None)
        self.now, self.wall = now, wall
        self.day_writes: list[float] = []

    def run(self, seconds: float, *readings: Reading, step: float = 1.0) -> Told:
        """Tell the readings in turn for so long."""
        for i in range(round(seconds / step)):
            self.now, self.wall = self.now + step, self.wall + step
            if self.history.note(readings[i % len(readings)], self.now, self.wall)[1]:
                self.day_writes.append(self.now)
        return self

    @property
    def ring(self) -> dict[str, Any]:
        """Return the file of the last 24 hours."""
        return json.loads(self.history.ring(self.now))

    @property
    def minutes(self) -> list[dict[str, Any]]:
        """Return its minutes by field."""
        return [dict(zip(MINUTE_FIELDS, row, strict=True)) for row in self.ring["minutes"]]

    @property
    def days(self) -> list[dict[str, Any]]:
        """Return the lines on flash by field."""
        rows = json.loads(self.history.days())["days"]
        return [dict(zip(DAY_FIELDS, row, strict=True)) for row in rows]

    @property
    def excursions(self) -> list[tuple[float, float]]:
        """Return length and height of each."""
        return [(each[2], each[3]) for each in self.ring["excursions"]]


def restarted(told: Told, after_s: float = 3.0) -> Told:
    """Return the same device with a new process of the agent."""
    history = History(LIMIT_W, None)
    now = told.now + after_s
    history.resume(told.ring, json.loads(told.history.days()), now)
    return Told(history, now, told.wall + after_s)
