"""What one limit asks of the cap: how low it must come, and how far it may rise.

Output is positive out of the inverter, export positive into the grid; all powers in W.
"""

from __future__ import annotations

import math
from typing import List, NamedTuple, Optional, Sequence

from export_limiter.config import Config, armed_w
from export_limiter.learning import HUNTING_SKEW_S, Hunting
from export_limiter.recent import Hold, Recent

# Per phase: land this far below the share, and relax only from further below, so that a phase
# with its usual ripple neither crosses the share nor makes the cap swing.
SHARE_AIM = 0.99
SHARE_RELAX = 0.96

# So long, and in such grains, what an inverter delivers that we do not control is left to it.
OTHER_S, OTHER_STORED_S = 30.0, 600.0
OTHER_GRAIN_W, OTHER_STORED_GRAIN_W = 100.0, 500.0

# Where an export limit is exceeded the cap aims lower by the excess, at most by so many margins:
# a load that keeps falling is always a few seconds ahead of what is seen of it.
AHEAD_MARGINS = 2.0


class Bounds(NamedTuple):
    """The cap must come down to ``tighten_w``; it may rise to ``relax_w``.

    Infinity and minus infinity stand for "no need" and "not now": plain numbers compare.
    """

    tighten_w: float = math.inf
    relax_w: float = -math.inf

    def corrected(self, gain: float) -> Bounds:
        """The bounds of an output as those of the cap that yields it: it rises only to relax."""
        return Bounds(self.tighten_w * min(1.0, gain), self.relax_w * gain)


NO_CHANGE = Bounds()


class OutputLimit:
    """The inverter's own output: the cap that meets it is the limit itself, armed beforehand.

    With ``per_phase`` strict that is one phase's share, where the control point knows only the
    total.
    """

    def __init__(self, limit_w: float, config: Config) -> None:
        self._limit_w = float(math.floor(limit_w))  # as a cap is written
        self._share_w = armed_w(config) or limit_w
        self._other = Recent()

    def bounds(self, other_w: Optional[float], stored: bool, per_phase: bool, now: float) -> Bounds:
        """Bounds beside what inverters deliver that we do not control, ``None`` if not known.

        It is left to them for some time after they deliver less: each move of the cap is a write.
        Where it is not known the cap still comes down to the limit, and never rises.
        """
        limit_w = self._limit_w if per_phase else self._share_w
        if other_w is None:
            return Bounds(tighten_w=limit_w)
        keep_s = OTHER_STORED_S if stored else OTHER_S
        self._other.add(now, max(0.0, other_w), keep_s)
        highest_w = max(self._other.aged(now, 0.0, keep_s))
        grain_w = OTHER_STORED_GRAIN_W if stored else OTHER_GRAIN_W
        cap_w = limit_w - grain_w * math.ceil(round(highest_w) / grain_w)
        return Bounds(cap_w, cap_w)


class ExportLimit:
    """The site's feed-in: the cap follows what the rest of the site does."""

    def __init__(self, limit_w: float, config: Config) -> None:
        self._limit_w = limit_w
        self._margin_w = config.export_margin_w
        self._delay_s = config.meter_delay_s
        self._hold_s = config.relax_hold_s
        self._skew_s = config.measurement_skew_s
        self.hunting = Hunting()
        self._low = Hold()
        self._lowest_w, self._highest_w = -math.inf, math.inf
        self._tightest = Recent()

    def unseen(self) -> None:
        """No usable figure this time: what must last some seconds begins anew."""
        self._low = Hold()

    def bounds(self, export_w: float, outputs: Recent, binding_from_w: float, now: float) -> Bounds:
        """Bounds for a fresh ``export_w``; a cap at or below ``binding_from_w`` binds.

        ``other = export - output`` needs figures of the same age, which are known to
        a second or so only: tighten to the highest cap that is possible, relax to the lowest that
        any reading of the last ``relax_hold_s`` allows, so that no single one opens the cap.
        """
        room_w = self._limit_w - self._margin_w - export_w
        late = self._window(outputs, HUNTING_SKEW_S, now)
        self.hunting.noted(room_w + min(late), room_w + max(late))
        window = late if self.hunting.found else self._window(outputs, self._skew_s, now)
        lowest_w, highest_w = room_w + min(window), room_w + max(window)
        self._narrow(lowest_w, highest_w)

        may_relax = self._low.holds(
            export_w < self._limit_w - 2 * self._margin_w, now, self._hold_s
        )
        self._tightest.add(now, lowest_w, self._hold_s)
        held_w = min(self._tightest.aged(now, 0.0, self._hold_s))
        relax_w = held_w if may_relax else -math.inf
        excess_w = export_w - self._limit_w
        if excess_w > 0:
            ahead_w = min(excess_w, AHEAD_MARGINS * self._margin_w)
            return Bounds(self._highest_w - ahead_w, relax_w)
        # Below the limit only a cap that binds nothing follows the site down.
        return Bounds(max(self._highest_w, binding_from_w), relax_w)

    def _window(self, outputs: Recent, skew_s: float, now: float) -> List[float]:
        """The outputs that may be as old as the export figure is."""
        return outputs.aged(now, max(0.0, self._delay_s - skew_s), self._delay_s + skew_s)

    def _narrow(self, lowest_w: float, highest_w: float) -> None:
        """Keep what earlier figures tell of the right cap until new ones contradict them.

        While the output moves, a second of doubt about ages is a step's doubt about the cap; what
        was known before it moved still holds as long as the rest of the site stays as it was. Only
        for the way down: a cap is never raised on what figures said some time ago.
        """
        low, high = max(lowest_w, self._lowest_w), min(highest_w, self._highest_w)
        agree = low <= high
        self._lowest_w, self._highest_w = (low, high) if agree else (lowest_w, highest_w)


class PhaseShare:
    """Each phase's share of a limit, where the control point knows only the total.

    An additive law swings by hundreds of watts there; scaling the total by the worst phase's
    ratio converges however the inverter splits its power.
    """

    def __init__(self, limit_w: float, config: Config) -> None:
        self.share_w = limit_w / config.phase_count
        self._hold_s = config.relax_hold_s
        self._low = Hold()

    def bounds(self, outputs_w: Sequence[float], others_w: Sequence[float], now: float) -> Bounds:
        """Bounds from each phase's output and from what the rest of the site adds on it.

        No outputs, none known: nothing to go by, and what must last some seconds begins anew.
        """
        if not outputs_w:
            self._low = Hold()
            return NO_CHANGE
        total_w = sum(outputs_w)
        ratios = [
            max(0.0, self.share_w - other_w) / output_w
            for output_w, other_w in zip(outputs_w, others_w)
            if output_w > 0
        ]
        worst = min(ratios, default=math.inf)
        if worst == math.inf or total_w <= 0:
            return Bounds(relax_w=math.inf)
        # With all output on one phase, and nothing else on it, one share is what it may carry.
        least_w = max(0.0, self.share_w - max(others_w))
        cap_w = max(least_w, total_w * worst * SHARE_AIM)
        may_relax = self._low.holds(worst * SHARE_RELAX > 1, now, self._hold_s)
        return Bounds(cap_w if worst < 1 else math.inf, cap_w if may_relax else -math.inf)
