"""What the law learns while it runs: how well a cap is obeyed, and whether the cap swings."""

from __future__ import annotations

import math
from collections import deque
from typing import Deque, Optional

from export_limiter.recent import Recent

# A MultiPlus delivers 0.95 to 1.03 of its cap: from 5 % below it the cap is taken to bind.
BINDING_SHARE = 0.95
BINDING_SLACK_W = 50.0

BIAS_LIMIT = 0.08
BIAS_GAIN_PER_S = 0.2
SETTLED_SHARE = 0.02
SETTLED_S = 5.0
STEADY_SHARE = 0.01
STEADY_W = 50.0
STEADY_S = 3.0
UNBOUND_S = 30.0  # a cap that has not bound for so long tells nothing of what it held before

TURN_W = 300.0  # what a swing is at least; a noisy meter moves a cap by less
REVERSALS = 3
REVERSALS_WITHIN_S = 120.0  # with ESS's own loop a swing takes half a minute
HUNTING_SKEW_S = 5.0
SAME_SITE_W = 100.0
SAME_SITE_SHARE = 0.25


class GainEstimate:
    """``factor``: what to multiply a wanted output by to get the cap that yields it.

    An output just below a cap may be all there is. A cap is known to hold the output once it had
    to be lowered for the limit's sake (:meth:`hold`), or where the output is above it.
    """

    def __init__(self) -> None:
        self.factor = 1.0
        self.held = False
        self._caps = Recent()
        self._outputs = Recent()
        self._learned_at: Optional[float] = None
        self._bound_at = -math.inf

    def hold(self) -> None:
        """The cap was lowered because more was measured than allowed."""
        self.held = True

    def learn(self, binding_cap_w: Optional[float], output_w: float, now: float) -> None:
        """Follow, slowly, the gap between a settled cap that holds and the delivered output."""
        since, self._learned_at = self._learned_at, now
        if binding_cap_w is None:
            self.held = self.held and now - self._bound_at <= UNBOUND_S
            self._caps, self._outputs = Recent(), Recent()
            return
        self._bound_at = now
        self._caps.add(now, binding_cap_w)
        self._outputs.add(now, output_w)
        wanted_w = binding_cap_w / self.factor
        # Against the lower of the two: an estimate that went too far must find its way back.
        least_w = BINDING_SHARE * min(binding_cap_w, wanted_w) - BINDING_SLACK_W
        holds = self.held or output_w > binding_cap_w
        # A cap lowered for the gain's sake shows by itself whether that was needed.
        settled = (holds or self.factor < 1.0) and self._settled(binding_cap_w, output_w, now)
        if since is None or not settled or output_w < least_w:
            return
        gain = min(1.0, BIAS_GAIN_PER_S * (now - since))
        bias = self.factor - 1.0 + gain * (wanted_w - output_w) / wanted_w
        self.factor = 1.0 + max(-BIAS_LIMIT, min(BIAS_LIMIT if holds else 0.0, bias))

    def _settled(self, cap_w: float, output_w: float, now: float) -> bool:
        """Cap and output have both come to rest: readings may be seconds behind the cap."""
        if self._caps.span_s(now) < SETTLED_S:
            return False
        caps_w = self._caps.aged(now, 0.0, SETTLED_S)
        outputs_w = self._outputs.aged(now, 0.0, STEADY_S)
        still = max(caps_w) - min(caps_w) <= SETTLED_SHARE * cap_w
        return still and max(outputs_w) - min(outputs_w) <= max(STEADY_W, STEADY_SHARE * output_w)


class Hunting:
    """Whether the cap swings by itself: the ages of the figures differ by more than thought.

    Three reversals in two minutes tell it, while the rest of the site may have stayed as it was.
    A cap that follows a hob or a cloud up and down does not hunt.
    """

    def __init__(self) -> None:
        self.found = False
        self._direction = 0
        self._reversals: Deque[float] = deque(maxlen=REVERSALS)
        self._extreme_w: Optional[float] = None
        self._turned_w = self._swing_w = 0.0
        self._lowest_w, self._highest_w = -math.inf, math.inf

    def noted(self, lowest_w: float, highest_w: float) -> None:
        """Where the right cap lies now if the figures' ages differ by :data:`HUNTING_SKEW_S`.

        Where that contradicts what was so before, by more than some share of the swing, the site
        has changed: what the cap did until then was an answer to it.
        """
        low, high = max(lowest_w, self._lowest_w), min(highest_w, self._highest_w)
        if low - high > max(SAME_SITE_W, SAME_SITE_SHARE * self._swing_w):
            self._reversals.clear()
            low, high = lowest_w, highest_w
        if low <= high:
            self._lowest_w, self._highest_w = low, high

    def moved(self, cap_w: float, now: float) -> None:
        """A cap that binds was moved to ``cap_w``; it turns where it has come back some way."""
        if self._extreme_w is None or self._direction * (cap_w - self._extreme_w) > 0:
            self._extreme_w = cap_w
        way_w = cap_w - self._extreme_w
        if abs(way_w) < TURN_W:
            return
        if self._direction:
            self._reversals.append(now)
            self._swing_w = abs(self._extreme_w - self._turned_w)
        self._direction = 1 if way_w > 0 else -1
        self._turned_w, self._extreme_w = self._extreme_w, cap_w
        full = len(self._reversals) == REVERSALS
        self.found = self.found or (full and now - self._reversals[0] <= REVERSALS_WITHIN_S)
