"""What the law learns while it runs: how well a cap is obeyed, and whether the cap swings."""

from __future__ import annotations

from collections import deque
from typing import Deque, Optional

from export_limiter.limits import Recent

# A MultiPlus delivers 0.95 to 1.03 of its cap: from 5 % below it the cap is taken to bind.
BINDING_SHARE = 0.95
BINDING_SLACK_W = 50.0

BIAS_LIMIT = 0.08
BIAS_GAIN_PER_S = 0.2
SETTLED_SHARE = 0.02
SETTLED_S = 5.0

REVERSAL_W = 25.0
REVERSALS = 3
REVERSALS_WITHIN_S = 120.0  # with ESS's own loop a swing takes half a minute


class GainEstimate:
    """``factor``: what to multiply a wanted output by to get the cap that yields it."""

    def __init__(self) -> None:
        self.factor = 1.0
        self._caps = Recent()
        self._learned_at: Optional[float] = None

    def learn(self, binding_cap_w: Optional[float], output_w: float, now: float) -> None:
        """Follow, slowly, the gap between a settled cap that binds and the delivered output."""
        since, self._learned_at = self._learned_at, now
        if binding_cap_w is None:
            self._caps = Recent()
            return
        self._caps.add(now, binding_cap_w)
        caps_w = self._caps.aged(now, 0.0, SETTLED_S)
        settled = self._caps.span_s(now) >= SETTLED_S
        settled = settled and max(caps_w) - min(caps_w) <= SETTLED_SHARE * binding_cap_w
        wanted_w = binding_cap_w / self.factor
        # Against the lower of the two: an estimate that went too far must find its way back.
        least_w = BINDING_SHARE * min(binding_cap_w, wanted_w) - BINDING_SLACK_W
        if since is None or not settled or output_w < least_w:
            return
        gain = min(1.0, BIAS_GAIN_PER_S * (now - since))
        bias = self.factor - 1.0 + gain * (wanted_w - output_w) / wanted_w
        self.factor = 1.0 + max(-BIAS_LIMIT, min(BIAS_LIMIT, bias))


class Hunting:
    """Three reversals in two minutes: the ages of the figures differ by more than thought."""

    def __init__(self) -> None:
        self.found = False
        self._direction = 0
        self._reversals: Deque[float] = deque(maxlen=REVERSALS)

    def moved(self, move_w: float, now: float) -> None:
        """A cap that binds was moved."""
        if abs(move_w) < REVERSAL_W:
            return
        direction = 1 if move_w > 0 else -1
        if self._direction and direction != self._direction:
            self._reversals.append(now)
        self._direction = direction
        full = len(self._reversals) == REVERSALS
        self.found = self.found or (full and now - self._reversals[0] <= REVERSALS_WITHIN_S)
