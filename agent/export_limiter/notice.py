"""Which notifications the device's own screen gets: few, and nothing that comes and goes."""

from __future__ import annotations

from collections import deque
from typing import Any, Deque, Mapping, NamedTuple, Optional

from export_limiter import victron
from export_limiter.judgement import NOT_ENFORCEABLE
from export_limiter.limiter import FAILSAFE, FLOOR_ABOVE_LIMIT
from export_limiter.tally import QUIET_STATES

DEVICE = "Export limiter"
HOLD_S = 10.0  # what is over sooner is nobody's business
BURST = 4  # notices within the window: what comes and goes is told no oftener
WINDOW_S = 3600.0
KEPT = "kept"


class Notice(NamedTuple):
    """A notification as Victron takes it: the kind is one of its numbers."""

    kind: int
    text: str

    @property
    def injected(self) -> str:
        """The string that is written."""
        return "%d\t%s\t%s" % (self.kind, DEVICE, self.text.replace("\t", " "))


class Notices:
    """What was told last, and since when something else has been true."""

    def __init__(self) -> None:
        self._told = self._condition = KEPT
        self._since = 0.0
        self._told_at: Deque[float] = deque(maxlen=BURST)

    def due(self, status: Mapping[str, Any], now: float) -> Optional[Notice]:
        """What to tell now, if anything."""
        condition = self._condition_of(status)
        if condition != self._condition:
            self._condition, self._since = condition, now
        if condition == self._told or now - self._since < HOLD_S:
            return None
        if len(self._told_at) == BURST and now - self._told_at[0] < WINDOW_S:
            return None
        before, self._told = self._told, condition
        self._told_at.append(now)
        if condition == FAILSAFE:
            return Notice(victron.NOTIFICATION_WARNING, "failsafe: %s" % status["reason"])
        if condition == NOT_ENFORCEABLE:
            text = "the limit can't be kept: %s" % status["reason"]
            return Notice(victron.NOTIFICATION_ALARM, text)
        over = "failsafe has ended" if before == FAILSAFE else "the limit can be kept again"
        return Notice(victron.NOTIFICATION_INFO, over)

    def _condition_of(self, status: Mapping[str, Any]) -> str:
        state, reason = str(status["state"]), str(status["reason"])
        if status["dry_run"]:
            return KEPT  # nothing is promised, and a notification would be a write
        if state in (FAILSAFE, NOT_ENFORCEABLE):
            return state
        if reason.startswith(FLOOR_ABOVE_LIMIT.partition("%")[0]):
            return NOT_ENFORCEABLE
        return KEPT if state in QUIET_STATES else self._condition
