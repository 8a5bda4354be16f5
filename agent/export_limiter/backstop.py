"""The stored backstop: the output limit as the user's own setting, on flash, written once a run.

So the limit survives a reboot, the override's expiry and our death, and is seen in the GUI.
"""

from __future__ import annotations

import logging
import math
from typing import Optional

from export_limiter import methods, victron
from export_limiter.config import Config, armed_w, floor_w
from export_limiter.effect import Effect
from export_limiter.files import FoundValues
from export_limiter.inverters import Site
from export_limiter.writes import Writer

log = logging.getLogger(__name__)

RETRY_S = 600.0  # for one that is refused
TELLING_W = 3.0
TAKEN = (
    "the stored limit was raised or cleared: it is missing after a reboot until the agent is up; "
    "each start of the agent stores it again"
)
SPENT = (
    "the limit is not stored, all stored writes of a day are used: it is missing after a reboot "
    "until the agent is up"
)


class Backstop:
    """Arms the setting with the output limit; without one it puts back what was found there.

    What is above the limit after that is a user's, until the agent starts anew.
    """

    def __init__(self, config: Config, site: Site, found: FoundValues, writer: Writer) -> None:
        limit_w = armed_w(config) if config.stored_backstop else None
        # No cap comes below the floor, though a share may lie there.
        self._limit_w = None if limit_w is None else max(floor_w(config), limit_w)
        self._dry_run = config.dry_run
        self._site = site
        self._found = found
        self._writer = writer
        self.again()

    def again(self) -> None:
        """The setting has served as the control point meanwhile."""
        self._due_at = -math.inf
        self._armed = self._spent = False

    def standing_w(self) -> Optional[float]:
        """The limit of ours that acts by the setting while the override is written, W."""
        point = methods.ess_setting_point(self._site)
        if point is None or not self._beside_override():
            return None
        present_w = point.standing_w(self._site)
        return present_w if self._found.is_ours(str(point), present_w) else None

    @property
    def warning(self) -> Optional[str]:
        """That what was stored does not stand any more, a user's doing and right, or can't be."""
        if self._spent and self._beside_override():
            return SPENT
        point = methods.ess_setting_point(self._site)
        if point is None or self._limit_w is None or not self._armed:
            return None
        present_w = point.standing_w(self._site)
        return TAKEN if present_w is None or present_w > self._limit_w else None

    def telling_w(self, cap_w: float, effect: Effect) -> float:
        """A cap that tells whether the override acts: just below what the setting limits to."""
        standing_w = self.standing_w()
        if standing_w is None or effect.proven or effect.shown:
            return cap_w
        return max(1.0, min(cap_w, standing_w - TELLING_W))

    def arm(self, cap_w: Optional[float], effect: Effect, now: float) -> None:
        """Write the setting once, where the override's cap has come down to it.

        It is raised, or put back, only where the override is proven to act, and to last.
        """
        point = methods.ess_setting_point(self._site)
        if self._armed or now < self._due_at or self._writer.busy or point is None:
            return
        if self._dry_run or not self._beside_override() or not effect.confirmed or cap_w is None:
            return
        if self._limit_w is not None and cap_w > self._limit_w:
            return
        present_w = point.standing_w(self._site)
        ours = self._found.is_ours(str(point), present_w)
        found_w = methods.limit_of(self._found.found(str(point))) if ours else present_w
        known_w = [w for w in (self._limit_w, found_w) if w is not None]
        wanted_w = min(known_w, default=victron.NO_LIMIT_W)
        stands = present_w == methods.limit_of(wanted_w)
        higher = present_w is not None and not 0 <= wanted_w <= present_w
        writes_left = self._writer.writes_left(now)
        self._spent = writes_left <= 0 and not stands and not higher
        if stands:
            self._armed = ours  # a lower limit of the user's may go at any time
            return
        # Nor is it raised with the last write of the day: that is kept for a decrease.
        if writes_left <= 0 or (higher and (writes_left == 1 or not effect.lasts(now))):
            return
        self._due_at = now + RETRY_S
        self._writer.write(point, wanted_w, self._stored)

    def _beside_override(self) -> bool:
        return self._writer.point is not None and self._writer.point.override

    def _stored(self, value_w: float) -> None:
        self._armed = True
        log.info("stored %s", "no limit" if value_w < 0 else "backstop %.0f W" % value_w)
