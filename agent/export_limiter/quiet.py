"""Bounds the log: what comes and goes each second must not wear the flash that the log is on."""

from __future__ import annotations

import logging
from collections import deque
from typing import Callable, Deque

WITHIN_S = 600.0
LINES = 60


class Quiet(logging.Filter):
    """Lets so many lines through in any ten minutes; the next one says how many it left out."""

    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__()
        self._clock = clock
        self._times: Deque[float] = deque(maxlen=LINES)
        self._left_out = 0

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the line is logged."""
        now = self._clock()
        full = len(self._times) == LINES and now - self._times[0] < WITHIN_S
        if full and record.levelno < logging.ERROR:  # an error is the last line of a process
            self._left_out += 1
            return False
        self._times.append(now)
        if self._left_out:
            text = "%s (lines left out before this one: %d)"
            record.msg, record.args = text, (record.getMessage(), self._left_out)
            self._left_out = 0
        return True

    def start_over(self) -> None:
        """Let the next lines through, whatever was logged so far: the last ones tell the end."""
        self._times.clear()
