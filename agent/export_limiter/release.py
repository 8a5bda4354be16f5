"""Hand control back: walk the cap up while it holds output down, then put back what was found.

The stored setting goes first, while the volatile override still holds the cap: so the walk
itself writes nothing to flash. Only values that are still ours are touched.
"""

from __future__ import annotations

import logging
from typing import Any, Callable, Mapping, Optional

from export_limiter import methods, victron
from export_limiter.config import Config
from export_limiter.files import FoundValues
from export_limiter.inverters import Site
from export_limiter.measuring import Measuring, Readings
from export_limiter.methods import ControlPoint
from export_limiter.status import written_by
from export_limiter.writes import TIMEOUT_S, write_each

log = logging.getLogger(__name__)

SAME_W = 1.0
BINDING_SHARE = 0.92  # below this part of the cap, output is held down by something else
WALK_S = 200.0  # the whole way up at most, however small the steps are
FOLLOW_S = 8.0  # so long the output may take to follow a cap that has risen


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
        self._finished = finished
        self._last_w = written_by(earlier)
        self._waited_s = 0.0
        self._busy = self._lent = False

    def tick(self) -> None:
        """One step, once per control interval."""
        if not self._busy:
            self._busy = True
            wanted = self._measuring.polled_paths(per_phase=False, now=0.0)
            self._bus.read(wanted, TIMEOUT_S, self._polled)

    def give_up(self, reason: str) -> None:
        """End here; what is ours by now is noted, so that another release can go on from it."""
        for text in self._last_w.keys() & self._found.points().keys():
            self._found.has_written(text, stored=True)
        self._finished(reason)

    def _polled(self, readings: Readings) -> None:
        noted = [_point(text) for text in self._found.points()]
        if any(p.stored and not self._is_known(p.service, p.paths[0]) for p in noted):
            self._busy = False  # what can't be read may be ours still: wait for it
            return
        setting = methods.ess_setting_point(self._site)
        override = methods.ess_override_point(self._site)
        points = (setting, *(p for p in noted if not p.stored), override)
        point = next((p for p in points if p is not None and self._is_ours(p)), None)
        if point is None:
            for text in self._found.points():  # somebody else has changed what is left
                self._found.forget(text)
            self._finished(None)
        elif point == setting:
            self._restore_setting(setting, override)
        else:
            self._walk(point, readings)

    def _is_known(self, settings: str, path: str) -> bool:
        """Whether the settings were read: then a path that is not there is gone for good."""
        return any(self._site.knows(settings, p) for p in (path, victron.SETTING_HUB4_MODE))

    def _is_ours(self, point: ControlPoint) -> bool:
        standing_w = point.standing_w(self._site)
        last_w = self._last_w.get(str(point))
        if standing_w is not None and last_w is not None and abs(standing_w - last_w) <= SAME_W:
            return True
        return self._found.is_ours(str(point), standing_w)

    def _restore_setting(self, setting: ControlPoint, override: Optional[ControlPoint]) -> None:
        if override is None or self._lent or override.standing_w(self._site) is not None:
            self._put_back(setting)
            return
        # Nothing in RAM yet: let the override carry the cap before the setting goes. Once:
        # where it is refused, or does not stay, the setting goes without it.
        self._lent = True
        standing_w = setting.standing_w(self._site)
        assert standing_w is not None
        self._write(override, standing_w, lend=True)

    def _walk(self, point: ControlPoint, readings: Readings) -> None:
        """Raise the cap while output is at it, and let go where output has stayed below."""
        standing_w = point.standing_w(self._site)
        assert standing_w is not None
        measurement = self._measuring.measure(readings, None, 0.0)
        output_w = measurement.controlled_w
        ceiling_w = measurement.nominal_w if point.override else self._found.found(str(point))
        interval_s = self._config.control_interval_s
        at_cap = output_w is not None and output_w >= BINDING_SHARE * standing_w
        self._waited_s = 0.0 if at_cap else self._waited_s + interval_s
        arrived = ceiling_w is not None and standing_w >= ceiling_w
        if arrived or self._waited_s > FOLLOW_S:
            self._put_back(point)
        elif at_cap:
            least_w = (ceiling_w or 0.0) * interval_s / WALK_S
            step_w = max(self._config.max_power_increase_per_step_w, least_w)
            raised_w = float(round(standing_w + step_w))
            self._write(point, raised_w if ceiling_w is None else min(ceiling_w, raised_w))
        else:
            self._busy = False

    def _put_back(self, point: ControlPoint) -> None:
        found_w = None if point.override else self._found.found(str(point))
        log.info("%s: back to %s", point, "no limit" if found_w is None else "%.0f W" % found_w)
        self._write(point, victron.NO_LIMIT_W if found_w is None else found_w, forget=True)

    def _write(
        self, point: ControlPoint, value: float, forget: bool = False, lend: bool = False
    ) -> None:
        def written(error: Optional[str]) -> None:
            self._busy = False
            if error is not None:
                if not lend:
                    self._finished("%s refused %.0f W: %s" % (point, value, error))
            elif forget:
                self._last_w.pop(str(point), None)
                self._found.forget(str(point))
            else:
                self._last_w[str(point)] = value

        self._found.will_write(str(point), point.standing_w(self._site), value, False)
        write_each(self._bus, point, value, written)


def _point(text: str) -> ControlPoint:
    """A control point from its text in the state file."""
    service, _, paths = text.partition("/")
    return ControlPoint(service, tuple(("/" + paths).split(",")))
