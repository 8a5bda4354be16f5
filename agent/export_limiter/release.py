"""Hand control back: walk the cap up while it holds output down, then put back what was found.

The stored setting goes first, while the volatile override still holds the cap: so the walk
itself writes nothing to flash. Only values that are still ours are touched.
"""

from __future__ import annotations

import logging
from typing import Any, Callable, List, Mapping, Optional

from export_limiter import methods, victron
from export_limiter.config import Config
from export_limiter.files import FoundValues
from export_limiter.inverters import Site
from export_limiter.measuring import Measuring, Readings
from export_limiter.methods import ControlPoint

log = logging.getLogger(__name__)

TIMEOUT_S = 1.0
BINDING_SHARE = 0.92  # below this part of the cap, output is held down by something else


class Release:
    """Steps towards a device without us; ``finished`` gets the reason it failed, or ``None``."""

    def __init__(
        self,
        config: Config,
        site: Site,
        bus: Any,
        found: FoundValues,
        earlier: Mapping[str, Any],
        finished: Callable[[Optional[str]], None],
    ) -> None:
        self._config = config
        self._site = site
        self._measuring = Measuring(site)
        self._bus = bus
        self._found = found
        self._earlier = earlier
        self._finished = finished
        self._walking_w: Optional[float] = None
        self._busy = False

    def tick(self) -> None:
        """One step, once per control interval."""
        if not self._busy:
            self._busy = True
            self._bus.read(self._measuring.polled_paths(per_phase=False), TIMEOUT_S, self._polled)

    def _polled(self, readings: Readings) -> None:
        override = methods.ess_override_point(self._site)
        setting = methods.ess_setting_point(self._site)
        if setting is not None and self._is_ours(setting):
            self._restore_setting(setting, override)
        elif override is not None and self._holds_override(override):
            self._walk(override, readings)
        else:
            self._restore_rest()

    def _is_ours(self, point: ControlPoint) -> bool:
        return self._found.is_ours(str(point), self._standing_w(point))

    def _holds_override(self, override: ControlPoint) -> bool:
        standing_w = self._standing_w(override)
        if standing_w is None:
            return False
        if self._walking_w is not None:
            return abs(standing_w - self._walking_w) <= 1.0
        before_w = self._earlier.get("cap_w")
        same = self._earlier.get("control_point") == str(override)
        return same and before_w is not None and abs(standing_w - before_w) <= 1.0

    def _restore_setting(self, setting: ControlPoint, override: Optional[ControlPoint]) -> None:
        standing_w = self._standing_w(setting)
        held = override is None or self._standing_w(override) is not None
        if not held and override is not None and standing_w is not None:
            # Nothing in RAM yet: let the override carry the cap before the setting goes.
            self._walking_w = standing_w
            self._write(override, standing_w)
            return
        found = self._found.found(str(setting))
        log.info("%s: back to %s", setting, "no limit" if found is None else "%.0f W" % found)
        self._write(setting, _value(found), forget=True)

    def _walk(self, override: ControlPoint, readings: Readings) -> None:
        standing_w = self._standing_w(override)
        assert standing_w is not None
        main = self._site.main_inverter()
        output_w = self._measuring.measure(readings, None, 0.0).controlled_w
        nominal_w = self._site.power(main, victron.NOMINAL_POWER) if main else None
        binding = output_w is None or output_w >= BINDING_SHARE * standing_w
        if binding and nominal_w is not None and standing_w < nominal_w:
            step_w = self._config.max_power_increase_per_step_w
            self._walking_w = min(nominal_w, float(round(standing_w + step_w)))
            self._write(override, self._walking_w)
        else:
            log.info("%s: no limit", override)
            self._walking_w = victron.NO_LIMIT_W
            self._write(override, victron.NO_LIMIT_W, forget=True)

    def _restore_rest(self) -> None:
        """Points of other methods, and entries whose value somebody else has changed since."""
        for text, entry in self._found.points().items():
            service, _, paths = text.partition("/")
            names = tuple(("/" + paths).split(","))
            point = ControlPoint("", service, names, False)
            if self._is_ours(point) and entry["found"] is not None:
                self._write(point, entry["found"], forget=True)
                return
            self._found.forget(text)
        self._finished(None)

    def _write(self, point: ControlPoint, value: float, forget: bool = False) -> None:
        remaining: List[str] = list(point.paths)

        def next_path(error: Optional[str] = None) -> None:
            if error is not None:
                self._finished("%s refused %.0f W: %s" % (point, value, error))
            elif remaining:
                part = value if value < 0 else value / len(point.paths)
                self._bus.write(point.service, remaining.pop(0), part, TIMEOUT_S, next_path)
            else:
                if forget:
                    self._found.forget(str(point))
                self._busy = False

        next_path()

    def _standing_w(self, point: ControlPoint) -> Optional[float]:
        return methods.standing_w(self._site, point)


def _value(found: Optional[float]) -> float:
    return victron.NO_LIMIT_W if found is None else found
