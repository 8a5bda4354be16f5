"""Bounds the log: what comes and goes each second must not wear the flash that the log is on."""

from __future__ import annotations

import logging
from collections import deque
from typing import Callable, Deque

WITHIN_S = 600.0
LINES = 30
WARNINGS = 60  # errors count as warnings

log = logging.getLogger(__name__)


class Quiet(logging.Filter):
    """Lets so many lines through in any ten minutes; says later how many it left out."""

    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__()
        self._clock = clock
        self._lines = Bound(logging.INFO, LINES)
        self._warnings = Bound(logging.WARNING, WARNINGS)

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the line is logged; one that is not is kept as the last."""
        bound = self._warnings if record.levelno >= logging.WARNING else self._lines
        return record.name == __name__ or bound.passes(record.getMessage(), self._clock())

    def catch_up(self, at_once: bool = False) -> None:
        """Tell what was left out, where lines are allowed again or ``at_once``."""
        for bound in (self._lines, self._warnings):
            bound.catch_up(self._clock(), at_once)


class Bound:
    """At most ``most`` lines in any :data:`WITHIN_S`."""

    def __init__(self, level: int, most: int) -> None:
        self._level = level
        self._times: Deque[float] = deque(maxlen=most)
        self._left_out = 0
        self._last = ""

    def passes(self, line: str, now: float) -> bool:
        """Whether this line may be logged; after one left out, none until that is told."""
        if self._full(now) or self._left_out:
            self._left_out += 1
            self._last = line
            return False
        self._times.append(now)
        return True

    def catch_up(self, now: float, at_once: bool) -> None:
        """Tell of the lines that were left out, if that may be told now."""
        if self._left_out and (at_once or not self._full(now)):
            log.log(self._level, "lines left out: %d, the last: %s", self._left_out, self._last)
            self._times.append(now)
            self._left_out = 0

    def _full(self, now: float) -> bool:
        return len(self._times) == self._times.maxlen and now - self._times[0] < WITHIN_S
