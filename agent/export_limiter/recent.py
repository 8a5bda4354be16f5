"""Readings of the last seconds, and conditions that must hold for some."""

from __future__ import annotations

from collections import deque
from typing import Deque, List, Optional, Tuple

KEEP_S = 20.0  # how long readings are kept; meters are up to 8 s late, windows up to 5 s wide
EDGE_S = 0.1  # ticks come a few milliseconds early or late: a reading 1.003 s old is 1 s old


class Recent:
    """The readings of the last seconds, each with its time (monotonic, s)."""

    def __init__(self) -> None:
        self._readings: Deque[Tuple[float, float]] = deque()

    def add(self, now: float, value: float, keep_s: float = KEEP_S) -> None:
        """Remember a reading and forget what is older than ``keep_s``."""
        self._readings.append((now, value))
        while self._readings[0][0] < now - keep_s - EDGE_S:
            self._readings.popleft()

    def aged(self, now: float, youngest_s: float, oldest_s: float) -> List[float]:
        """Readings whose age lies in the range; the nearest one where none does."""
        low, high = youngest_s - EDGE_S, oldest_s + EDGE_S
        inside = [value for taken, value in self._readings if low <= now - taken <= high]
        if inside or not self._readings:
            return inside
        middle = (youngest_s + oldest_s) / 2
        return [min(self._readings, key=lambda r: abs(now - r[0] - middle))[1]]

    def span_s(self, now: float) -> float:
        """How far back the readings go."""
        return now - self._readings[0][0] if self._readings else 0.0

    def highest(self, now: float, seconds: float) -> Optional[float]:
        """The highest reading of the last ``seconds``; ``None`` when there was none."""
        fresh = [v for taken, v in self._readings if now - taken <= seconds + EDGE_S]
        return max(fresh) if fresh else None


class Hold:
    """True once a condition has held for some time without a break."""

    def __init__(self) -> None:
        self._since: Optional[float] = None

    def holds(self, condition: bool, now: float, seconds: float) -> bool:
        """Whether ``condition`` has now been true for ``seconds``."""
        if not condition:
            self._since = None
            return False
        if self._since is None:
            self._since = now
        return now - self._since >= seconds - EDGE_S
