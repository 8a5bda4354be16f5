"""The straight line: signal -> what is known; tick -> measurement -> decision -> write.

Handed a bus, a clock and a place for its status; it starts no loop and speaks no D-Bus.
"""

from __future__ import annotations

import logging
from typing import Any, Callable, Dict, Mapping

from export_limiter import status
from export_limiter.backstop import Backstop
from export_limiter.config import Config, floor_w
from export_limiter.files import FoundValues
from export_limiter.inverters import Site
from export_limiter.judgement import (
    NOT_ENFORCEABLE,
    STOPPING,
    Judgement,
    Sayings,
    held_lower_by,
    judge,
)
from export_limiter.limiter import FAILSAFE, LIMITING, MONITORING, STARTING, Decision, Limiter
from export_limiter.limits import Measurement
from export_limiter.measuring import Measuring, Readings
from export_limiter.methods import Methods, Verdict
from export_limiter.status import Identity
from export_limiter.trust import Trust
from export_limiter.writes import Writer

log = logging.getLogger(__name__)

RESCAN_S = 60.0
# A peer that never answers must not stretch the tick: calls end well within it.
CALL_SHARE = 0.7
LONGEST_CALL_S = 1.0

Clock = Callable[[], float]


class Service:
    """One tick after the other; signals in between."""

    def __init__(
        self,
        config: Config,
        identity: Identity,
        bus: Any,
        found: FoundValues,
        publish: Callable[[Dict[str, Any]], None],
        clock: Clock,
        wall_clock: Clock,
        earlier: Mapping[str, Any],
    ) -> None:
        self._config = config
        self._identity = identity
        self._bus = bus
        self._found = found
        self._publish = publish
        self._clock = clock
        self._wall_clock = wall_clock
        self._earlier_w = status.written_by(earlier)
        self.site = Site()
        self._measuring = Measuring(self.site, config.max_grid_export_w is not None)
        self._methods = Methods(config.methods, floor_w(config))
        self._limiter = Limiter(config)
        self._measurement = Measurement(None, None)
        self._polling = self._stopped = False
        self._ticks = 0
        self._rescanned_at = self._started_at = self._state_since = clock()
        self._sayings = Sayings()
        self._judgement = Judgement(STARTING, "", False, None, False)
        stored_at = earlier.get("stored_writes_at", ())
        self.writer = Writer(config, bus, self.site, found, clock, stored_at)
        self._backstop = Backstop(config, self.site, found, self.writer)
        self._trust = Trust(self._methods, self.writer, self._backstop)

    # Told by the bus

    def appeared(self, name: str) -> None:
        """A service has come; what failed with an earlier one of its kind is forgiven."""
        log.info("found %s", name)
        self.site.appeared(name)
        self._methods.forgive(name)

    def vanished(self, name: str) -> None:
        """A service is gone."""
        log.info("lost %s", name)
        self.site.vanished(name)
        self.writer.left(name)

    def learned(self, name: str, values: Mapping[str, Any]) -> None:
        """New values of a service."""
        self.site.learned(name, values)

    # The tick

    def tick(self) -> None:
        """Read the few values that safety rests on; the decision follows with the answers."""
        if self._stopped:
            return
        now = self._clock()
        if now - self._rescanned_at >= RESCAN_S:
            self._rescanned_at = now
            self._bus.rescan()
            self._found.save_again()
        if self._polling:
            return  # a poll always ends before the next tick, unless the loop was held up
        wanted = self._measuring.polled_paths(bool(self._config.per_phase), now)
        timeout_s = min(LONGEST_CALL_S, CALL_SHARE * self._config.control_interval_s)
        self._polling = True
        self._bus.read(wanted, timeout_s, self._polled)

    def stop(self) -> None:
        """Say that we go; the cap stays, an upgrade must not open the limit."""
        self._stopped = True
        self._tell(Judgement(STOPPING, "asked to stop", False, self._limiter.cap_w, False))

    def _polled(self, readings: Readings) -> None:
        self._polling = False
        if self._stopped:
            return
        self._ticks += 1
        now = self._clock()
        binding_w = self._limiter.cap_w if self._judgement.binding else None
        self._measurement = self._measuring.measure(readings, binding_w, now)
        before = self._methods.chosen
        verdict = self._methods.choose(self.site, now)
        self._turn_to(verdict, resumed=before is not None and not before.usable)
        self._trust.notice_other_writers(verdict, now)

        dry_run, effect = self._config.dry_run, self._trust.effect
        # A cap that was changed, and is not put right yet, is not what the output obeys.
        in_force = effect.confirmed and not dry_run and not self.writer.stale
        actuator = self.writer.actuator(verdict.enforceable and in_force, now)
        decision = self._limiter.decide(self._measurement, now, actuator)
        if verdict.usable:
            decision = self._put(decision, now)
        if not dry_run:
            self._trust.watch(verdict, self._limiter.cap_w, self._measurement, now)
        busy, waited_s = self.writer.busy, now - self._started_at
        held_lower = "" if busy else held_lower_by(self.site, self._found, effect, now)
        cap_w = self._limiter.cap_w
        self._tell(judge(decision, verdict, cap_w, effect.confirmed, held_lower, waited_s, dry_run))

    def _turn_to(self, verdict: Verdict, resumed: bool) -> None:
        """Start over at a control point, from our own cap if one stands there."""
        same = verdict.point == self.writer.point and not resumed
        if verdict.point is None or same or not verdict.usable:
            return
        log.info("limiting by %s at %s", verdict.method, verdict.point)
        if self.writer.point is not None and self.writer.point.stored:
            self._backstop.again()
        # What an earlier run had in force is of use once: it ages from now on.
        earlier_w = self._earlier_w.pop(str(verdict.point), None)
        present_w = self.writer.use(verdict.point, earlier_w)
        if present_w is None and resumed and self._measurement.controlled_w is None:
            present_w = self._limiter.cap_w  # with no figure to start from, the best that we know
        self._limiter.adopt(present_w)
        self._trust.start_over()

    def _put(self, decision: Decision, now: float) -> Decision:
        """Have the cap in force, as far as others leave it to us; what comes of it."""
        point = self.writer.point
        if decision.cap_w is None or point is None:
            return decision
        cap_w, others_alone = self.writer.beside_user_w(decision.cap_w)
        if others_alone:
            if not point.stored:  # from there a stored one would take minutes to rise again
                self._limiter.adopt(cap_w)
            if decision.state == FAILSAFE:
                return decision
            state = LIMITING if decision.binding else MONITORING
            reason = "somebody else's lower limit of %.0f W stands at %s" % (cap_w, point)
            return decision._replace(state=state, reason=reason)
        self.writer.put(self._backstop.telling_w(cap_w, self._trust.effect), now, self._wrote)
        self._backstop.arm(self._limiter.cap_w, self._trust.effect, now)
        lower = self._limiter.cap_w is None or cap_w < self._limiter.cap_w
        if self.writer.spent(now) and (lower or self.writer.stale):
            reason = "all %d stored writes of a day are used" % self._config.stored_writes_per_day
            return decision._replace(state=NOT_ENFORCEABLE, reason=reason)
        return decision

    def _wrote(self, cap_w: float) -> None:
        self._limiter.wrote(cap_w, self._clock())
        if self._judgement.state != STARTING:
            log.debug("cap %.0f W", cap_w)
            # At once: by its status a killed agent knows its own cap again.
            self._tell(self._judgement._replace(cap_w=cap_w))

    # The verdict on ourselves

    def _tell(self, judgement: Judgement) -> None:
        now = self._clock()
        if judgement.state != self._judgement.state:
            self._state_since = now
        self._judgement = judgement
        line = self._sayings.line(judgement)
        if line:
            log.info("%s", line)
        self._publish(
            status.build(
                self._identity,
                self._config,
                judgement,
                self._measurement,
                self.site,
                self._methods,
                self._limiter,
                self.writer,
                (self._found.warning, self._backstop.warning),
                self._ticks,
                self._wall_clock(),
                now,
                self._state_since,
            )
        )
