"""Whether a written cap is taken over by the device and obeyed by the inverter."""

from __future__ import annotations

from collections import deque
from typing import Deque, Optional

from export_limiter.recent import Hold, Recent

CONFIRM_W = 1.0
CONFIRM_S = 10.0
OBEY_SHARE = 0.02
OBEY_W = 150.0
OBEY_S = 20.0
LAG_S = 5.0  # ramp, ESS loop and reading together: so much later output follows a cap
FALLING_W = 50.0
CHANGES = 2
CHANGES_WITHIN_S = 60.0


class Effect:
    """Follows one control point from the first write on."""

    def __init__(self) -> None:
        self.confirmed = self.proven = self.shown = False
        self._proven = Hold()
        self._caps = Recent()
        self._outputs = Recent()
        self._unconfirmed = Hold()
        self._disobeyed = Hold()
        self._changes: Deque[float] = deque(maxlen=CHANGES)

    def fault(
        self,
        cap_w: float,
        shown_w: Optional[float],
        elsewhere_w: Optional[float],
        output_w: float,
        assisting: bool,
        now: float,
    ) -> str:
        """What the device does to the cap in force, instead of keeping to it; '' if it keeps to it.

        ``shown_w`` is the limit that it says it applies, ``elsewhere_w`` one of ours that acts at
        another point: seeing that one tells nothing of this.
        """
        self._caps.add(now, cap_w)
        self._see(shown_w, elsewhere_w, now)
        if self._unconfirmed.holds(not self.shown, now, CONFIRM_S):
            applied = "no limit" if shown_w is None else "%.0f W" % shown_w
            return "does not take the cap over: it applies %s" % applied
        # PowerAssist rightly delivers more than any cap, so it does not count.
        if self._disobeyed.holds(self._stays_above(output_w, now) and not assisting, now, OBEY_S):
            return "takes the cap over, but the output stays above it"
        return ""

    def _see(self, shown_w: Optional[float], elsewhere_w: Optional[float], now: float) -> None:
        """Note whether the device shows the cap, or a lower one.

        A cap on its way down is ahead of what the device shows: the highest of that time counts.
        ``proven`` is more than ``confirmed``: what is applied is no other's lower limit, but our
        cap. ``shown`` is of this moment.
        """
        self.shown = False
        if shown_w is None:
            return
        caps_w = self._caps.aged(now, 0.0, CONFIRM_S)
        if elsewhere_w is None or self.proven or abs(shown_w - elsewhere_w) > CONFIRM_W:
            self.shown = shown_w <= max(caps_w) + CONFIRM_W
        self.confirmed |= self.shown
        self.proven |= self.shown and any(abs(shown_w - w) <= CONFIRM_W for w in caps_w)

    def lasts(self, now: float) -> bool:
        """Whether it is proven for so long that nobody can be clearing it all the time."""
        return self._proven.holds(self.proven, now, CHANGES_WITHIN_S)

    def held_lower(self, applied_w: float, now: float) -> bool:
        """Whether the device applies less than any cap of ours of the last seconds."""
        caps_w = self._caps.aged(now, 0.0, LAG_S)
        return bool(caps_w) and applied_w < min(caps_w) - CONFIRM_W

    def _stays_above(self, output_w: float, now: float) -> bool:
        """Note an output; whether it is above the cap and does not fall."""
        earlier = self._outputs.aged(now, LAG_S, LAG_S)
        falling = bool(earlier) and output_w < max(earlier) - FALLING_W
        self._outputs.add(now, output_w)
        cap_w = max(self._caps.aged(now, 0.0, LAG_S))
        return not falling and output_w > cap_w + max(OBEY_W, OBEY_SHARE * cap_w)

    def pause(self) -> None:
        """Nothing can be judged now: what was noticed so far counts no more."""
        self._unconfirmed, self._disobeyed = Hold(), Hold()

    def changed_by_another(self, now: float) -> bool:
        """Count a change that was not ours; true when it is one too many."""
        self._changes.append(now)
        return len(self._changes) == CHANGES and now - self._changes[0] <= CHANGES_WITHIN_S
