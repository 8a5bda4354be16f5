"""Which measurements are fresh, which are lost, and when lost ones may be trusted again."""

from __future__ import annotations

import math
from typing import Dict, List, Optional

from export_limiter.config import Config
from export_limiter.limits import Measurement

START_S = 30.0  # so long a quantity that was never seen may still come
FRESH_TO_LEAVE_FAILSAFE = 3


class Freshness:
    """Judges each tick's measurement; the public attributes tell the result."""

    def __init__(self, config: Config) -> None:
        self.fresh = False
        self.lost: List[str] = []
        self.started = self.complete = False
        self.failsafe = False
        self.failsafe_entries = 0
        export = config.max_grid_export_w is not None
        self._needed = ("output", "export") if export else ("output",)
        self._hold_s = config.data_hold_s
        # An output limit needs the output of those that we do not control as well.
        self._every_inverter = config.max_multiplus_output_w is not None
        self._first_at = math.inf
        self._seen_at: Dict[str, float] = {}
        self._fresh_in_a_row = 0

    def note(self, measurement: Measurement, now: float) -> None:
        """Take in one tick's measurement; a frozen figure is as good as none, at once."""
        values = {"output": self._output_w(measurement), "export": measurement.export_w}
        self._first_at = min(self._first_at, now)
        frozen = set(measurement.frozen)
        if self._every_inverter and "others" in frozen:
            frozen.add("output")
        missing = [q for q in self._needed if values[q] is None or q in frozen]
        self._seen_at.update({q: now for q in self._needed if q not in missing})
        self.fresh = not missing
        waited = now - self._first_at > START_S
        everything = len(self._seen_at) == len(self._needed)
        self.complete = everything or ("output" in self._seen_at and waited)
        # An output limit waits for no meter: its cap stands before anything else is known.
        self.started = self.complete or (self._every_inverter and "output" in self._seen_at)
        self.lost = [q for q in missing if q in frozen or self._is_lost(q, now, waited)]

        self._fresh_in_a_row = self._fresh_in_a_row + 1 if self.fresh else 0
        if self.lost and self.started and not self.failsafe:
            self.failsafe = True
            self.failsafe_entries += 1
        elif self._fresh_in_a_row >= FRESH_TO_LEAVE_FAILSAFE:
            self.failsafe = False

    def _is_lost(self, quantity: str, now: float, waited: bool) -> bool:
        if quantity not in self._seen_at:
            return waited
        return now - self._seen_at[quantity] > self._hold_s

    def _output_w(self, measurement: Measurement) -> Optional[float]:
        """What is needed of the output; one that is gone is told of, and is no reason to wait."""
        known = measurement.output_w is not None or measurement.inverter_gone
        return measurement.controlled_w if known or not self._every_inverter else None
