"""Times above a limit, one after the other, as EREC G100 counts them: no averaging."""

from __future__ import annotations

from typing import NamedTuple, Optional, Tuple

# What counts as above a limit: what a good power meter would show as above it.
TOLERANCE_W = 25.0
TOLERANCE_SHARE = 0.002


class Excursion(NamedTuple):
    """A time above a limit: which one, from when (monotonic), how long, the most above it."""

    limit: str
    start_s: float
    length_s: float
    highest_w: float


class Watch:
    """One limit; ``open`` is the excursion that has not ended yet."""

    def __init__(self, name: str, limit_w: Optional[float]) -> None:
        self.name = name
        self.limit_w = limit_w
        self.open: Optional[Excursion] = None

    def note(
        self, over_w: Optional[float], now: float, seconds: float
    ) -> Tuple[float, Optional[Excursion]]:
        """How far above the limit, W, and the excursion that ended.

        ``over_w`` is measured minus limit and stands for the ``seconds`` before ``now``; zero
        seconds say that nothing is known of what was before, which ends an excursion as well.
        """
        before = self.open
        tolerance_w = max(TOLERANCE_W, TOLERANCE_SHARE * (self.limit_w or 0.0))
        if over_w is None or over_w <= tolerance_w:
            self.open = None
            return 0.0, before
        if before is None or not seconds:
            self.open = Excursion(self.name, round(now - seconds, 1), round(seconds, 1), over_w)
            return over_w, before
        length_s = round(now - before.start_s, 1)
        self.open = before._replace(length_s=length_s, highest_w=max(before.highest_w, over_w))
        return over_w, None
