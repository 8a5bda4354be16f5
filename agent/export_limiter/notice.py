"""Which notifications the device's own screen gets: few, and nothing that comes and goes."""

from __future__ import annotations

from collections import deque
from typing import Any, Deque, Mapping, Optional

from export_limiter import victron
from export_limiter.judgement import NOT_ENFORCEABLE
from export_limiter.limiter import FAILSAFE, FLOOR_ABOVE_LIMIT
from export_limiter.tally import QUIET_STATES

DEVICE = "Export limiter"
HOLD_S = 10.0  # what is over sooner is nobody's business
BURST = 4  # notices within the window: what comes and goes is told no oftener
WINDOW_S = 3600.0
KEPT = "kept"


class Notices:
    """What was told last, and since when something else has been true."""

    def __init__(self) -> None:
        self._told = self._condition = KEPT
        self._since = 0.0
        self._told_at: Deque[float] = deque(maxlen=BURST)

    def due(self, status: Mapping[str, Any], now: float) -> Optional[str]:
        """What to tell now, as Victron takes it, if anything."""
        condition = self._condition_of(status)
        if condition != self._condition:
            self._condition, self._since = condition, now
        if condition == self._told or now - self._since < HOLD_S:
            return None
        if len(self._told_at) == BURST and now - self._told_at[0] < WINDOW_S:
            return None
        reason, before, self._told = status["reason"], self._told, condition
        self._told_at.append(now)
        if condition == FAILSAFE:
            kind, text = victron.NOTIFICATION_WARNING, "failsafe: %s" % reason
        elif condition == NOT_ENFORCEABLE:
            kind, text = victron.NOTIFICATION_ALARM, "the limit can't be kept: %s" % reason
        else:
            kind = victron.NOTIFICATION_INFO
            text = "failsafe has ended" if before == FAILSAFE else "the limit can be kept again"
        return "%d\t%s\t%s" % (kind, DEVICE, text.replace("\t", " "))

    def _condition_of(self, status: Mapping[str, Any]) -> str:
        state, reason = str(status["state"]), str(status["reason"])
        if status["dry_run"]:
            return KEPT  # nothing is promised, and a notification would be a write
        if state in (FAILSAFE, NOT_ENFORCEABLE):
            return state
        if reason.startswith(FLOOR_ABOVE_LIMIT.partition("%")[0]):
            return NOT_ENFORCEABLE
        return KEPT if state in QUIET_STATES else self._condition
