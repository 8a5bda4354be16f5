"""Whether the chosen method is to be trusted: given up where its cap is not taken over or kept."""

from __future__ import annotations

import logging

from export_limiter.backstop import Backstop
from export_limiter.effect import Effect
from export_limiter.limits import Measurement
from export_limiter.methods import Methods, Verdict
from export_limiter.writes import REFUSALS, Writer

log = logging.getLogger(__name__)


class Trust:
    """Watches each cap from its write to the output; a method that fails is passed over."""

    def __init__(self, methods: Methods, writer: Writer, backstop: Backstop) -> None:
        self._methods = methods
        self._writer = writer
        self._backstop = backstop
        self.effect = Effect()

    def start_over(self) -> None:
        """Another control point, or one that could not act for a while."""
        self.effect = Effect()

    def notice_other_writers(self, verdict: Verdict, now: float) -> None:
        """Have a cap that was taken away or raised put right; not for ever."""
        if not verdict.enforceable or not self._writer.notice_change():
            return
        point = self._writer.point
        # A stored setting is the user's as well, who may move it twice: put right, in the budget.
        if point is not None and not point.stored and self.effect.changed_by_another(now):
            reason = "another program keeps changing %s" % str(point)
            self._give_up(verdict.method, reason, now, until_restart=True)

    def watch(
        self, verdict: Verdict, cap_w: float | None, measurement: Measurement, now: float
    ) -> None:
        """A cap that is refused, not taken over or not obeyed sends us to the next method."""
        output_w = measurement.controlled_w
        if not verdict.enforceable or output_w is None or self._writer.spent(now):
            self.effect.pause()
            return
        if self._writer.refusals >= REFUSALS:
            self._give_up(verdict.method, self._writer.last_refusal, now)
            return
        if cap_w is None or "output" in measurement.frozen:
            return
        limits_w = self._writer.shown_w(), self._backstop.standing_w()
        fault = self.effect.fault(cap_w, *limits_w, output_w, measurement.assisting, now)
        if fault:
            self._give_up(verdict.method, "%s %s" % (verdict.point, fault), now)

    def _give_up(self, method: str, reason: str, now: float, until_restart: bool = False) -> None:
        log.warning("giving up %s: %s", method, reason)
        self._writer.refusals = 0.0
        self._methods.fail(method, reason, now, until_restart)
