"""What the bus last said about the site: its services, their values, its inverters. Powers in W."""

from __future__ import annotations

import math
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from export_limiter import victron

ABSURD_W = 2_000_000.0  # twice the highest limit that can be configured
AT_CURRENT_LIMIT_A = 0.5


class Inverter(NamedTuple):
    """One VE.Bus system as people know it."""

    service: str
    product: Optional[str]
    connected: bool
    main: bool
    phase_count: Optional[int]
    nominal_w: Optional[float]
    input_a: Optional[float]
    input_limit_a: Optional[float]


class Site:
    """Every service we care about, with the last value of each path we read."""

    def __init__(self) -> None:
        self._services: Dict[str, Dict[str, Any]] = {}
        self._names: Dict[str, List[str]] = {}  # by class; asked for some fifty times a tick
        self._meter: Optional[str] = None
        self._external_meter = False
        self._ess_main: Optional[str] = None

    # Told by the bus

    def appeared(self, name: str) -> None:
        """A service has come, or come back with a new owner: nothing of it is known yet."""
        self._services[name] = {}
        self._names = {}

    def vanished(self, name: str) -> None:
        """A service is gone, and its values with it."""
        self._services.pop(name, None)
        self._names = {}

    def learned(self, name: str, values: Mapping[str, Any]) -> None:
        """Values from a signal or a scan; ``None`` is Victron's ``[]``, no value."""
        if name in self._services:
            self._services[name].update(values)
            if victron.DEVICE_INSTANCE in values:
                self._names = {}

    # Asked by the rest

    def names(self, service_class: str) -> List[str]:
        """Every service of a class, in a stable order."""
        if service_class not in self._names:
            mine = [n for n in self._services if victron.service_class(n) == service_class]
            mine.sort(key=lambda n: (sane(self.value(n, victron.DEVICE_INSTANCE)) or 0, n))
            self._names[service_class] = mine
        return self._names[service_class]

    def knows(self, name: str, path: str) -> bool:
        """Whether the service has the path, with a value or without."""
        return path in self._services.get(name, {})

    def value(self, name: str, path: str) -> Any:
        """The last value; ``None`` when there is none or the service is gone."""
        return self._services.get(name, {}).get(path)

    def single(self, service_class: str, path: str) -> Any:
        """A value of a class that has one service on the bus, such as ``system``."""
        names = self.names(service_class)
        return self.value(names[0], path) if names else None

    def power(self, name: str, path: str) -> Optional[float]:
        """A value in W; ``None`` where it is no sane number."""
        return sane(self.value(name, path))

    def inverters(self) -> List[str]:
        """Services with a unit attached. The service stays when the unit goes: /Connected is 0."""
        return [n for n in self.names(victron.VEBUS) if self.connected(n)]

    def multi_rs(self) -> List[str]:
        """Services of a Multi RS, which can't be limited: no hub4control steers it."""
        return self.names(victron.MULTI_RS) + self.names(victron.RS_SYSTEM)

    def main_inverter(self) -> Optional[str]:
        """The one that hub4control steers: systemcalc's choice, else the first.

        Once it was one with ESS, none without takes its place while no ESS is there.
        """
        candidates = self.inverters()
        with_ess = [
            n for n in candidates if self.value(n, victron.ASSISTANT_ID) == victron.ESS_ASSISTANT
        ]
        if self._ess_main and not with_ess:
            return self._ess_main if self._ess_main in candidates else None
        known = (self.single(victron.SYSTEM, victron.MAIN_VEBUS), self._ess_main)
        main = next((n for n in (*known, *candidates) if n in candidates), None)
        if main in with_ess:
            self._ess_main = main
        return main

    def describe(self) -> List[Inverter]:
        """Every inverter, for people."""
        main = self.main_inverter()
        return [
            Inverter(
                name,
                self.value(name, victron.PRODUCT_NAME),
                self.connected(name),
                name == main,
                self._phase_count(name),
                self.power(name, victron.NOMINAL_POWER),
                self._input_a(name),
                sane(self.value(name, victron.IN_CURRENT_LIMIT)),
            )
            for name in self.names(victron.VEBUS)
        ]

    def phases(self, name: str) -> Tuple[str, ...]:
        """The phases a VE.Bus system has: by its count, else by the values that are valid."""
        count = self._phase_count(name)
        if count is not None:
            return victron.PHASES[:count]
        outputs_w = self._by_phase(name, victron.OUT_POWER)
        return tuple(p for p, output_w in zip(victron.PHASES, outputs_w) if output_w is not None)

    def _phase_count(self, name: str) -> Optional[int]:
        count = self.value(name, victron.PHASE_COUNT)
        return count if isinstance(count, int) and 1 <= count <= len(victron.PHASES) else None

    def on_grid(self, name: str) -> Optional[bool]:
        """Whether the grid is on the AC input; ``None`` while that can't be read."""
        active = self.value(name, victron.ACTIVE_INPUT)
        if active is None:
            return None
        if active == victron.NO_ACTIVE_INPUT:
            return False
        return bool(self.single(victron.SYSTEM, victron.AC_SOURCE) != victron.AC_SOURCE_GENSET)

    def assisting(self, name: str) -> bool:
        """PowerAssist: the inverter must add to an AC input that is at its current limit."""
        if self.value(name, victron.STATE) == victron.STATE_ASSISTING:
            return True
        limit_a = sane(self.value(name, victron.IN_CURRENT_LIMIT))
        current_a = self._input_a(name)
        if not limit_a or (self.power(name, victron.IN_POWER) or 0.0) <= 0:
            return False
        return current_a is not None and current_a >= limit_a - AT_CURRENT_LIMIT_A

    def _input_a(self, name: str) -> Optional[float]:
        """The current of the AC input's busiest phase, A."""
        currents_a = self._by_phase(name, victron.IN_CURRENT)
        return max((a for a in currents_a if a is not None), default=None)

    def _by_phase(self, name: str, path: str) -> List[Optional[float]]:
        return [sane(self.value(name, victron.of_phase(path, p))) for p in victron.PHASES]

    def meter(self) -> Optional[str]:
        """The grid meter. Once seen, its loss is lost data, never another way of measuring."""
        meters = self.names(victron.GRID)
        if meters:
            self._meter = next(filter(self.connected, meters), meters[0])
        return self._meter

    def meter_lost(self) -> bool:
        """Whether a grid meter belongs here, as it was seen or as ESS is set, and is away."""
        meter = self.meter()
        without = self.single(victron.SETTINGS, victron.SETTING_WITHOUT_METER)
        if without is not None:
            self._external_meter = without == 0
        return self._external_meter if meter is None else not self.connected(meter)

    def connected(self, name: str) -> bool:
        """Whether a unit answers behind a service; a service without the path is taken to."""
        return not self.knows(name, victron.CONNECTED) or bool(
            self.value(name, victron.CONNECTED) == 1
        )


def sane(value: Any) -> Optional[float]:
    """A finite number of a plausible size; ``None`` for ``[]``, NaN, text or 1e9."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    number = float(value)
    return number if math.isfinite(number) and abs(number) <= ABSURD_W else None


def all_known(powers_w: Sequence[Optional[float]]) -> Tuple[float, ...]:
    """The powers where every one is known; else none."""
    known_w = tuple(w for w in powers_w if w is not None)
    return known_w if len(known_w) == len(powers_w) else ()
