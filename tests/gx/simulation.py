"""The simulated site: plant, services and ESS control, advanced together in real time.

Readings are published when the plant takes them, about once a second, as real devices do; the
plant itself moves in steps of 0.1 s.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

import dbus

from gx import meters, system
from gx.hub4 import OVERRIDE, Hub4
from gx.item import Item, Value
from gx.localsettings import MAX_DISCHARGE, MODE, WITHOUT_METER, Flash
from gx.plant import ESS, Truth
from gx.replay import Recording
from gx.sitefile import SiteError, SiteSpec, make_plant, pv_of
from gx.vebus import vebus_items, vebus_values
from gx.velib import Service

PREFIX = "com.victronenergy."
STEP_S = 0.1
ESS_PERIOD_S = 0.5
RECONNECT_S = 0.5
SETTLE_S = 60.0
WRITES_KEPT = 50_000

After = Callable[[float, Callable[[], None]], None]


class Simulation:
    """One site on one bus; `now` gives the seconds since the start, `after` runs things later.

    `services` are found by the name they had first, without the common prefix: "vebus.ttyS4".
    """

    def __init__(
        self,
        site: SiteSpec,
        address: str,
        now: Callable[[], float],
        after: After,
        settings_file: Path | None = None,
    ) -> None:
        self.site = site
        self.address = address
        self.now = now
        self.after = after
        self.plant, self._vebus_specs = make_plant(site)
        self.services: dict[str, Service] = {}
        self.writes: deque[dict[str, Value]] = deque(maxlen=WRITES_KEPT)
        self.notifications: list[str] = []
        self.recordings = [(self._add_recording(each), each) for each in _recordings(site)]
        self.flash = Flash(after, settings_file)
        given = {MODE: site.hub4_mode, WITHOUT_METER: 0 if site.grid_meter else 1}
        self.flash.load({**given, **site.settings})
        self._add_services()
        self.hub4 = self._make_hub4()
        self._take_paths_away()
        self._start_s = self._next_ess_s = self._next_connect_s = 0.0
        self._published: tuple[object, object] = (None, None)

    def start(self) -> None:
        """Let the plant settle and own every name; raises DBusException when one is taken."""
        self.hub4.tick()
        self.plant.settle(SETTLE_S)
        self._start_s = self.plant.t_s - self.now()
        self._publish()
        for service in self.services.values():
            if service.wanted:
                service.connect(self.address)

    def advance(self) -> Iterator[Truth]:
        """Step the plant up to now, publish what is due, and return the truth of each step."""
        while self.plant.t_s + STEP_S - self._start_s <= self.now():
            self.plant.step(STEP_S)
            yield self.plant.truth()
        if self.now() >= self._next_ess_s:
            self._next_ess_s = self.now() + ESS_PERIOD_S
            self.hub4.tick()
        if self.now() >= self._next_connect_s:
            self._next_connect_s = self.now() + RECONNECT_S
            self._reconnect()
        for service, recording in self.recordings:
            service.publish(recording.due(self.now()))
        self._publish()

    def stop(self) -> None:
        """Leave the bus."""
        for service in self.services.values():
            service.disconnect()

    def find(self, name: str) -> Service:
        """Return a service by its first name, its present one or its class; raises KeyError."""
        short = full_name(name)[len(PREFIX) :]
        if short in self.services:
            return self.services[short]
        present = [s for s in self.services.values() if s.name == PREFIX + short]
        of_class = [s for key, s in self.services.items() if key.split(".")[0] == short]
        found = present or of_class
        if len(found) != 1:
            raise KeyError(f"no such service: {name}; there are {', '.join(sorted(self.services))}")
        return found[0]

    def vebus(self) -> list[Service]:
        """Return the VE.Bus systems on the bus, the main one first.

        systemcalc's order: those not on a USB adapter, then the lowest instance, and only those
        with a unit connected (delegates/multi.py).
        """
        alive = [
            service
            for key, service in self.services.items()
            if key.startswith("vebus.") and service.wanted and service.value("/Connected") == 1
        ]
        return sorted(alive, key=_main_first)

    def summary(self) -> dict[str, Value]:
        """Return setting, override, cap in force and flash writes; None where there is none."""
        in_force = self.plant.control == ESS and self.plant.grid_on
        setting = self.flash.items.get(MAX_DISCHARGE)
        return {
            "cap_w": self.plant.cap_w if in_force else None,
            "setting_w": setting.value if setting else None,
            "override_w": self.hub4.items[OVERRIDE].value,
            "flash_writes": self.flash.changes,
        }

    def _add(self, name: str, items: dict[str, Item], batched: bool = True) -> Service:
        service = Service(PREFIX + name, items, batched, self._written)
        service.wanted = name not in self.site.absent
        self.services[name] = service
        return service

    def _add_services(self) -> None:
        site = self.site
        for name, inverter in self.plant.inverters.items():
            spec = self._vebus_specs[name]
            self._add(f"vebus.{name}", vebus_items(spec, inverter), batched=not spec.old)
        self._add("settings", dict(self.flash.items), batched=False)
        self._add("system", system.system_items(site.portal_id))
        self._add("platform", system.platform_items(self.notifications.append), batched=False)
        if site.grid_meter:
            self._add(meters.GRID, meters.grid_items())
        if site.pv_inverter or site.pv_ac_w:
            self._add(meters.PV, meters.pvinverter_items(site.pv_ac_position))
        if site.multi_rs:
            for name, items in meters.multi_rs_items().items():
                self._add(name, items)

    def _make_hub4(self) -> Hub4:
        settings, device = self.services["settings"], self.services["system"]
        hub4 = Hub4(self.plant, settings, device, self._main, self.now)
        if self.site.hub4 is not None:
            hub4.service = self._add("hub4", hub4.items)
            hub4.service.on_restart = hub4.restart
            hub4.configure(**self.site.hub4)
        unknown = set(self.site.absent) - set(self.services)
        if unknown:
            raise SiteError(f"absent: no such service: {', '.join(sorted(unknown))}")
        return hub4

    def _take_paths_away(self) -> None:
        for name, paths in self.site.lacks.items():
            for path in paths:
                try:
                    del self.services[name].items[path]
                except KeyError:
                    raise SiteError(f"lacks: no {path} at {name}") from None

    def _add_recording(self, recording: Recording) -> Service:
        return self._add(recording.name[len(PREFIX) :], recording.items)

    def _main(self) -> Service | None:
        return next(iter(self.vebus()), None)

    def _reconnect(self) -> None:
        for service in self.services.values():
            if service.wanted and not service.connected:
                try:
                    service.connect(self.address)
                except dbus.exceptions.DBusException:
                    return  # the bus is away: tried again at the next call

    def _publish(self) -> None:
        plant = self.plant
        seen = (plant.vebus, plant.meter)
        if self._published[0] is not plant.vebus:
            for name, reading in plant.vebus.items():
                inverter = plant.inverters[name]
                values = vebus_values(reading, inverter, plant.grid_on)
                self.services[f"vebus.{name}"].publish(values)
        if self._published[1] is not plant.meter:
            self._publish_meters()
        self._published = seen

    def _publish_meters(self) -> None:
        plant = self.plant
        grid = self.services.get(meters.GRID)
        if grid and self.site.grid_meter:  # else it is a recording
            grid.publish(meters.power_values(plant.meter.phases_w))
        pv = self.services.get(meters.PV)
        if pv:
            pv.publish(meters.power_values(pv_of(plant, self.site.pv_ac_position)))
        vebus = self.vebus()
        main_service = vebus[0] if vebus else None
        self.services["system"].publish(system.system_values(plant, vebus, main_service))

    def _written(
        self, sender: str, service: str, path: str, value: Value, code: int | None
    ) -> None:
        self.writes.append(
            {
                "t": round(self.now(), 3),
                "sender": sender,
                "service": service,
                "path": path,
                "value": value,
                "code": code,
            }
        )


def full_name(name: str) -> str:
    """Return a service's name with the common prefix, given with or without it."""
    return name if name.startswith(PREFIX) else PREFIX + name


def _recordings(site: SiteSpec) -> list[Recording]:
    return [
        Recording(Path(each["file"]), each.get("scale", 1.0), each.get("speed", 1.0))
        for each in site.replay
    ]


def _main_first(service: Service) -> tuple[bool, float]:
    connection = str(service.value("/Interfaces/Mk2/Connection") or "")
    instance = service.value("/DeviceInstance")
    return connection.startswith("/dev/ttyUSB"), float(instance or 0)
