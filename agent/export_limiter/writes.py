"""Brings a cap to its control point, keeps it there, and counts what that costs."""

from __future__ import annotations

import logging
import math
from collections import deque
from typing import Callable, Deque, NamedTuple, Optional, Protocol, Tuple

from export_limiter import methods
from export_limiter.config import Config
from export_limiter.files import FoundValues
from export_limiter.inverters import Site
from export_limiter.methods import ControlPoint

log = logging.getLogger(__name__)

REFRESH_S = 30.0  # an override lapses some minutes after its last write
TIMEOUT_S = 1.0
REFUSALS = 5  # in a row, before a method is given up
DAY_S = 86400.0
BACKSTOP_RETRY_S = 600.0
SAME_W = 0.5


class Target(Protocol):
    """What the writer needs of the bus."""

    def write(
        self,
        name: str,
        path: str,
        value: float,
        timeout_s: float,
        done: Callable[[Optional[str]], None],
    ) -> None:
        """See :meth:`export_limiter.bus.Bus.write`."""


class Counters(NamedTuple):
    """Writes since start; ``stored`` ones went to flash."""

    writes: int = 0
    stored_writes: int = 0
    refused_writes: int = 0


class Writer:
    """One write at a time, each confirmed by its return code and by reading back."""

    def __init__(
        self,
        config: Config,
        bus: Target,
        site: Site,
        found: FoundValues,
        clock: Callable[[], float],
    ) -> None:
        self._config = config
        self._bus = bus
        self._site = site
        self._found = found
        self._clock = clock
        self.point: Optional[ControlPoint] = None
        self.counters = Counters()
        self.refusals = 0
        self.last_refusal = ""
        self.busy = False
        self._value_w: Optional[float] = None
        self._written_at = -math.inf
        self._stored_at: Deque[float] = deque()
        self._backstop_due_at = -math.inf

    def use(self, point: ControlPoint, earlier_cap_w: Optional[float]) -> Optional[float]:
        """Turn to another control point; the cap in force there, if it is ours.

        ``earlier_cap_w`` is what an earlier run of ours last had in force at a volatile point.
        """
        self.point = point
        self.refusals = 0
        self._written_at = -math.inf
        present_w = self.present_w()
        ours = self._found.is_ours(str(point), present_w)
        if not point.stored and earlier_cap_w is not None and present_w is not None:
            ours = abs(present_w - earlier_cap_w) <= SAME_W
        self._value_w = present_w if ours else None
        return self._value_w

    def present_w(self) -> Optional[float]:
        """The limit that stands at the control point now, the sum of its paths, W."""
        if self.point is None:
            return None
        return methods.standing_w(self._site, self.point)

    def beside_user_w(self, cap_w: float) -> Tuple[float, bool]:
        """The cap that a user's own stored limit leaves us, and whether his stands there alone.

        A tighter limit of somebody else is never raised: neither one that stands there now, nor
        the one that we found and wrote over with a lower cap.
        """
        point = self.point
        if point is None or not point.stored:
            return cap_w, False
        present_w = methods.standing_w(self._site, point)
        if not self._found.is_ours(str(point), present_w):
            alone = present_w is not None and present_w <= cap_w
            return (present_w, True) if alone and present_w is not None else (cap_w, False)
        found_w = methods.limit_of(self._found.found(str(point)))
        return (cap_w if found_w is None else min(cap_w, found_w)), False

    def changed_under_us(self) -> bool:
        """Whether the value at a volatile point is no longer the one we put there."""
        if self.point is None or self.point.stored or self.busy or self._value_w is None:
            return False
        present_w = self.present_w()
        return present_w is None or abs(present_w - self._value_w) > len(self.point.paths)

    def forget_refresh(self) -> None:
        """Write at the next tick even though the cap is unchanged."""
        self._written_at = -math.inf

    def writes_left(self, now: float) -> int:
        """Stored writes that today's budget still allows."""
        while self._stored_at and now - self._stored_at[0] >= DAY_S:
            self._stored_at.popleft()
        return self._config.stored_writes_per_day - len(self._stored_at)

    def put(self, cap_w: float, now: float, done: Callable[[float], None]) -> None:
        """Have ``cap_w`` in force; ``done(cap_w)`` once it is. Nothing to do is nothing written."""
        point = self.point
        cap_w = float(round(cap_w))
        if point is None or self.busy:
            return
        due = not point.stored and now - self._written_at >= REFRESH_S
        if self._value_w is not None and abs(cap_w - self._value_w) <= SAME_W and not due:
            return
        if self._config.dry_run:
            self._accepted(point, cap_w, now, done)
        elif not point.stored or self.writes_left(now) > 0:
            self._write(point, cap_w, done)

    def arm_backstop(self, limit_w: float, now: float) -> None:
        """Store the output limit once, so that it holds through reboot, expiry and our death."""
        point = methods.ess_setting_point(self._site)
        if now < self._backstop_due_at or self.busy or point is None or self._config.dry_run:
            return
        self._backstop_due_at = now + BACKSTOP_RETRY_S  # for one that is refused
        present_w = methods.standing_w(self._site, point)
        ours = self._found.is_ours(str(point), present_w)
        found_w = methods.limit_of(self._found.found(str(point))) if ours else present_w
        wanted_w = limit_w if found_w is None else min(limit_w, found_w)
        removed_by_user = not ours and self._found.written(str(point)) == wanted_w
        user_lower = present_w is not None and not ours and present_w <= limit_w
        if present_w == wanted_w or removed_by_user or user_lower:
            self._backstop_due_at = math.inf
        elif self.writes_left(now) > 0:
            self._write(point, wanted_w, self._backstop_armed)

    def _backstop_armed(self, cap_w: float) -> None:
        self._backstop_due_at = math.inf
        log.info("stored backstop %.0f W", cap_w)

    def _write(self, point: ControlPoint, cap_w: float, done: Callable[[float], None]) -> None:
        self._found.will_write(
            str(point), methods.standing_w(self._site, point), cap_w, point.stored
        )
        remaining = list(point.paths)
        self.busy = True

        def next_path(error: Optional[str] = None) -> None:
            if error is not None:
                self._refused(point, cap_w, error)
            elif remaining:
                path = remaining.pop(0)
                part_w = cap_w / len(point.paths)
                self._bus.write(point.service, path, part_w, TIMEOUT_S, next_path)
            else:
                self.busy = False
                self._accepted(point, cap_w, self._clock(), done)

        next_path()

    def _accepted(
        self, point: ControlPoint, cap_w: float, now: float, done: Callable[[float], None]
    ) -> None:
        if not self._config.dry_run:
            stored = 1 if point.stored else 0
            writes, stored_writes, refused = self.counters
            self.counters = Counters(writes + 1, stored_writes + stored, refused)
            if stored:
                self._stored_at.append(now)
        if point == self.point:
            self.refusals, self.last_refusal = 0, ""
            self._value_w, self._written_at = cap_w, now
        done(cap_w)

    def _refused(self, point: ControlPoint, cap_w: float, error: str) -> None:
        self.busy = False
        writes, stored_writes, refused = self.counters
        self.counters = Counters(writes, stored_writes, refused + 1)
        text = "%s refused %.0f W: %s" % (point, cap_w, error)
        if not self.last_refusal:
            log.warning("%s", text)
        self.last_refusal = text
        if point == self.point:
            self.refusals += 1
