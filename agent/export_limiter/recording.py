"""Feeds the history from the status of every tick, and keeps it in its two files."""

from __future__ import annotations

import logging
from typing import Any, Mapping, Optional

from export_limiter.config import Config
from export_limiter.files import read_json, write_text
from export_limiter.history import History
from export_limiter.judgement import STOPPING
from export_limiter.limiter import FAILSAFE
from export_limiter.tally import QUIET_STATES, Reading

log = logging.getLogger(__name__)


class Recording:
    """The ring of the last 24 hours in RAM, written each minute, and the days on flash."""

    def __init__(self, config: Config, runtime_dir: str, state_dir: str, now: float) -> None:
        self._limits_w = {
            "inverter_output_w": config.max_multiplus_output_w,
            "grid_export_w": config.max_grid_export_w,
        }
        self._shares = config.phase_count if config.per_phase else None
        self._ring_path = runtime_dir + "/history.json"
        self._days_path = state_dir + "/days.json"
        self._history = History(*self._limits_w.values())
        ring, days = read_json(self._ring_path), read_json(self._days_path)
        self._history.resume(ring or {}, days or {}, now)
        self._before: Mapping[str, Any] = {}

    def note(self, status: Mapping[str, Any], now: float, wall_s: float) -> None:
        """The status of one tick."""
        powers = [status[name] for name in ("inverter_output_w", "grid_export_w", "cap_w")]
        shown = ["---" if power_w is None else "%.0f" % power_w for power_w in powers]
        log.debug("output %s W, export %s W, cap %s W: %s", *shown, status["state"])
        turned = self._events(status, now)
        minute_ended, day_ended = self._history.note(self._reading(status), now, wall_s)
        # Who looks must not wait a minute for what has just happened.
        if minute_ended or turned or status["state"] == STOPPING:
            self._write(self._ring_path, self._history.ring(now), durable=False)
        if day_ended:
            self._write(self._days_path, self._history.days(), durable=True)

    def _events(self, status: Mapping[str, Any], now: float) -> bool:
        """Note what has changed; whether a state has, and not only with the load."""
        before, self._before = self._before, status
        if not before:
            commit = (status["commit"] or "no commit")[:12]
            self._history.event("started: version %s, %s" % (status["version"], commit), now)
        states = {status["state"], before.get("state")}
        quiet = states <= set(QUIET_STATES)
        if len(states) == 2:
            self._history.event("%(state)s: %(reason)s" % status, now, quiet)
        if status["method"] and status["method"] != before.get("method"):
            self._history.event("limiting by %(method)s at %(control_point)s" % status, now)
        if status["last_refusal"] and status["last_refusal"] != before.get("last_refusal"):
            self._history.event("write refused: %(last_refusal)s" % status, now)
        return len(states) == 2 and not quiet

    def _reading(self, status: Mapping[str, Any]) -> Reading:
        state, cap_w, output_w = status["state"], status["cap_w"], status["inverter_output_w"]
        export_limited = self._limits_w["grid_export_w"] is not None
        export_w = status["grid_export_w"] if export_limited else None
        lost = output_w is None or (export_limited and export_w is None)
        if state == FAILSAFE or lost:
            return Reading(state, cap_w)
        over_w = (self._over_w(status, name) for name in self._limits_w)
        return Reading(state, cap_w, output_w, export_w, *over_w)

    def _over_w(self, status: Mapping[str, Any], name: str) -> Optional[float]:
        """The total above its limit, or a phase above its share where that is worse."""
        limit_w = self._limits_w[name]
        if limit_w is None:
            return None
        over_w = [status[name] - limit_w]
        if self._shares:
            phases_w = [phase.get(name) for phase in status["phases"]]
            over_w += [w - limit_w / self._shares for w in phases_w if w is not None]
        return float(max(over_w))

    def _write(self, path: str, text: str, durable: bool) -> None:
        try:
            write_text(path, text, durable)
        except OSError as error:
            log.debug("%s not written: %s", path, error)
