"""Brings a cap to its control point, keeps it there, and counts what that costs."""

from __future__ import annotations

import logging
import math
from collections import deque
from typing import Any, Callable, Deque, Optional, Sequence, Tuple

from export_limiter import methods, victron
from export_limiter.config import Config
from export_limiter.files import FoundValues
from export_limiter.inverters import Site
from export_limiter.limits import Actuator
from export_limiter.methods import ControlPoint

log = logging.getLogger(__name__)

REFRESH_S = 30.0  # an override lapses some minutes after its last write
TIMEOUT_S = 1.0
REFUSALS = 5  # in a row, before a method is given up
DAY_S = 86400.0
SAME_W = 0.5
SILENCE = 0.2  # of a refusal: a peer that does not answer may only be held up


class Writer:
    """One write at a time, each confirmed by its return code and by reading back."""

    def __init__(
        self,
        config: Config,
        bus: Any,
        site: Site,
        found: FoundValues,
        clock: Callable[[], float],
        stored_at: Sequence[float] = (),
    ) -> None:
        self._config = config
        self._bus = bus
        self._site = site
        self._found = found
        self._clock = clock
        self.point: Optional[ControlPoint] = None
        self.writes = self.stored_writes = self.refused_writes = 0  # since start
        self.refusals = 0.0
        self.last_refusal = ""
        self.last_refused_at: Optional[float] = None
        self.busy = False
        # What we have put there, whether or not it still stands; a dry run only thinks so.
        self._value_w: Optional[float] = None
        self.written_w: Optional[float] = None  # no dry run changes this one
        # Of a write that was never answered: it may be carried out when the peer wakes up.
        self._unanswered_w: Optional[float] = None
        self._written_at = -math.inf
        self.stale = False
        # Of an earlier run; its clock starts anew at each boot.
        self.stored_at: Deque[float] = deque(sorted(t for t in stored_at if t <= clock()))

    def use(self, point: ControlPoint, earlier_w: Optional[float]) -> Optional[float]:
        """Turn to another control point; the cap in force there, if it is ours.

        ``earlier_w`` is what an earlier run of ours last wrote to a volatile point.
        """
        self.point = point
        self.refusals = 0.0
        self._written_at = -math.inf
        self.stale = False
        present_w = self.present_w()
        ours = self._found.is_ours(str(point), present_w)
        if not point.stored and earlier_w is not None and present_w is not None:
            ours = abs(present_w - earlier_w) <= SAME_W
        self.written_w = self._value_w = present_w if ours else None
        self._unanswered_w = None
        return self.written_w

    def present_w(self) -> Optional[float]:
        """The limit that stands at the control point now, the sum of its paths, W."""
        return None if self.point is None else self.point.standing_w(self._site)

    def shown_w(self) -> Optional[float]:
        """The limit that the device says it applies, W."""
        ess = self.point is not None and (self.point.override or self.point.stored)
        return methods.applied_w(self._site) if ess else self.present_w()

    def actuator(self, acting: bool, now: float) -> Actuator:
        """What the law must know of the control point; ``acting``: a cap there is obeyed now."""
        if self.point is None:
            return Actuator(acting=acting)
        each = len(self.point.paths) > 1
        return Actuator(self.point.stored, each, self.writes_left(now), acting)

    def beside_user_w(self, cap_w: float) -> Tuple[float, bool]:
        """The cap that somebody else's limit leaves us, and whether his stands there alone.

        A tighter limit is never raised: neither one that stands there now, nor the one that we
        found and wrote over with a lower cap. What was found in the override was for a while only.
        """
        point, present_w = self.point, self.present_w()
        if point is None or self.busy:
            return cap_w, False
        ours = self._is_ours(present_w)
        if present_w is not None and present_w <= cap_w and not ours:
            return present_w, True
        written_over = ours and not point.override
        found_w = methods.limit_of(self._found.found(str(point))) if written_over else None
        return cap_w if found_w is None else min(cap_w, found_w), False

    def _is_ours(self, present_w: Optional[float]) -> bool:
        assert self.point is not None
        if self.point.stored:
            return self._found.is_ours(str(self.point), present_w)
        if present_w is None:
            return False
        ours_w = [w for w in (self.written_w, self._unanswered_w) if w is not None]
        return any(abs(present_w - w) <= len(self.point.paths) for w in ours_w)

    def notice_change(self) -> bool:
        """Whether the cap that we put there was taken away, or raised: then it is written anew.

        A lower one is respected. Each change is told once: not while it is still to be put right.
        """
        if self.written_w is None or self.point is None or self._config.dry_run:
            return False
        if self.busy or self.stale:
            return False
        present_w = self.present_w()
        raised = present_w is not None and present_w > self.written_w + len(self.point.paths)
        self.stale = present_w is None or (raised and not self._is_ours(present_w))
        return self.stale

    def left(self, service: str) -> None:
        """The service is gone, and with it the cap; nobody has changed it."""
        if self.point and self.point.service == service and not self.point.stored:
            self.written_w = self._value_w = None

    def writes_left(self, now: float) -> int:
        """Stored writes that today's budget still allows."""
        while self.stored_at and now - self.stored_at[0] >= DAY_S:
            self.stored_at.popleft()
        return self._config.stored_writes_per_day - len(self.stored_at)

    def spent(self, now: float) -> bool:
        """Whether nothing more can be written to a stored point today."""
        stored = self.point is not None and self.point.stored
        return stored and not self.busy and self.writes_left(now) <= 0

    def put(self, cap_w: float, now: float, done: Callable[[float], None]) -> None:
        """Have ``cap_w`` in force; ``done(cap_w)`` once it is. Nothing to do is nothing written."""
        point = self.point
        cap_w = float(round(cap_w))
        if point is None or self.busy or not self._site.knows(point.service, point.paths[0]):
            return  # nobody is there to take it
        due = self.stale or (not point.stored and now - self._written_at >= REFRESH_S)
        if self._value_w is not None and abs(cap_w - self._value_w) <= SAME_W and not due:
            return

        def accepted(written_w: float) -> None:
            if point == self.point:  # else an answer of the point before
                done(written_w)

        if self._config.dry_run:
            self._value_w, self._written_at = cap_w, now
            done(cap_w)
        elif not point.stored or self.writes_left(now) > 0:
            self.write(point, cap_w, accepted)

    def write(self, point: ControlPoint, cap_w: float, done: Callable[[float], None]) -> None:
        """Write to any point, on record; ``cap_w`` may be Victron's "no limit"."""
        self._found.will_write(str(point), point.standing_w(self._site), cap_w, point.stored)
        self.busy = True

        def written(error: Optional[str]) -> None:
            self.busy = False
            if error is None:
                self._accepted(point, cap_w)
                done(cap_w)
            else:
                self._refused(point, cap_w, error)

        write_each(self._bus, point, cap_w, written)

    def _accepted(self, point: ControlPoint, cap_w: float) -> None:
        # What was read back is the newest there is, whenever its signal comes.
        self._site.learned(point.service, dict.fromkeys(point.paths, part(point, cap_w)))
        self._found.has_written(str(point), point.stored)
        now = self._clock()
        self.writes += 1
        if point.stored:
            self.stored_writes += 1
            self.stored_at.append(now)
        if point == self.point:
            self.written_w = self._value_w = cap_w
            self._unanswered_w, self._written_at = None, now
            self.refusals, self.stale = 0.0, False

    def _refused(self, point: ControlPoint, cap_w: float, error: str) -> None:
        self.refused_writes += 1
        text = "%s refused %.0f W: %s" % (point, cap_w, error)
        if not self.refusals:
            log.warning("%s", text)
        self.last_refusal, self.last_refused_at = text, self._clock()
        if point == self.point:
            silent = error in victron.NO_ANSWER
            self.refusals += SILENCE if silent else 1.0
            if silent:
                self._unanswered_w, self.stale = cap_w, True


def write_each(
    bus: Any, point: ControlPoint, value_w: float, done: Callable[[Optional[str]], None]
) -> None:
    """Write its part to each path; ``done`` gets why one was refused, or ``None``."""
    remaining = list(point.paths)

    def next_path(error: Optional[str] = None) -> None:
        if error is not None or not remaining:
            done(error)
        else:
            path = remaining.pop(0)
            bus.write(point.service, path, part(point, value_w), TIMEOUT_S, next_path)

    next_path()


def part(point: ControlPoint, value_w: float) -> float:
    """What each path of a control point gets of a cap; "no limit" is not divided."""
    return value_w if value_w < 0 else value_w / len(point.paths)
