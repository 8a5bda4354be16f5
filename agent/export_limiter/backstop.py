"""The stored backstop: the output limit as the user's own setting, on flash, written once.

So the limit survives a reboot, the override's expiry and our death, and is seen in the GUI.
"""

from __future__ import annotations

import logging
import math
from typing import Optional

from export_limiter import methods, victron
from export_limiter.files import FoundValues
from export_limiter.inverters import Site
from export_limiter.writes import Writer

log = logging.getLogger(__name__)

RETRY_S = 600.0  # for one that is refused


class Backstop:
    """Arms the setting with ``limit_w``; without one it puts back what was found there."""

    def __init__(
        self, limit_w: Optional[float], site: Site, found: FoundValues, writer: Writer
    ) -> None:
        self._limit_w = limit_w
        self._site = site
        self._found = found
        self._writer = writer
        self._due_at = -math.inf

    def again(self) -> None:
        """The setting has served as the control point meanwhile."""
        self._due_at = -math.inf

    def arm(self, cap_w: Optional[float], now: float) -> None:
        """Write the setting where that is due and the override's cap has come down to it."""
        point = methods.ess_setting_point(self._site)
        if now < self._due_at or self._writer.busy or point is None:
            return
        if cap_w is None or (self._limit_w is not None and cap_w > self._limit_w):
            return
        self._due_at = now + RETRY_S
        present_w = methods.standing_w(self._site, point)
        ours = self._found.is_ours(str(point), present_w)
        found_w = methods.limit_of(self._found.found(str(point))) if ours else present_w
        wanted_w = self._wanted_w(found_w)
        removed_by_user = not ours and self._found.held(str(point)) == wanted_w
        user_lower = not ours and present_w is not None and present_w <= wanted_w
        not_our_business = not ours and self._limit_w is None
        if present_w == wanted_w or removed_by_user or user_lower or not_our_business:
            self._due_at = math.inf
        elif self._writer.writes_left(now) > 0:
            self._writer.write(point, wanted_w, self._armed)

    def _wanted_w(self, found_w: Optional[float]) -> float:
        known = [w for w in (self._limit_w, found_w) if w is not None]
        return min(known, default=victron.NO_LIMIT_W)

    def _armed(self, value_w: float) -> None:
        self._due_at = math.inf
        log.info("stored %s", "no limit" if value_w < 0 else "backstop %.0f W" % value_w)
