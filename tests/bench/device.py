"""A GX device without a bus or a wall clock: the agent's `Service` sees the plant through it.

It answers as the services of Venus OS do, and holds what matters of hub4control: the lowest of
setting and override is in force, an override lapses 150 s after its last write.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from export_limiter import victron
from gx.plant import ESS, EXTERNAL, KEEP_CHARGED, PASSTHROUGH, Plant

PREFIX = victron.NAMESPACE + "."
VEBUS = PREFIX + "vebus.ttyS4"
HUB4 = PREFIX + "hub4"
SETTINGS = PREFIX + "settings"
SYSTEM = PREFIX + "system"
GRID = PREFIX + "grid.cgwacs_ttyUSB0_di30_mb1"

OVERRIDE_S = 150.0
HUB4_S = 0.5
NO_ANSWER = "org.freedesktop.DBus.Error.NoReply"

Values = dict[str, Any]


class Device:
    """The services of one device over a plant; `fault` attributes are changed at any time.

    `gone`, `frozen` and `invalid` hold service names; `answers` what SetValue on the override
    answers: None for success, a code, "timeout", or "ignored".
    """

    def __init__(self, plant: Plant) -> None:
        self.plant = plant
        self.gone: set[str] = set()
        self.frozen: set[str] = set()
        self.invalid: set[str] = set()
        self.answers: int | str | None = None
        self.stored_writes = 0
        self.override_writes = 0
        self.services: dict[str, Values] = _services(plant)
        self._listener: Any = None
        self._owned: set[str] = set()
        self._override_at_s = self._next_hub4_s = 0.0
        self._late: list[tuple[float, Callable[[], None]]] = []
        self._publish_plant()

    def attach(self, service: Any) -> None:
        """Let an agent see what there is; None takes the agent away, as a kill does."""
        self._listener = service
        self._owned = set()
        self._late = []
        if service:
            self._tell_owners()

    def advance(self, dt_s: float) -> None:
        """One step of the plant, and what the device makes of it."""
        self.plant.step(dt_s)
        self._tell_owners()
        self._publish_plant()
        if self.plant.t_s >= self._next_hub4_s:
            self._next_hub4_s = self.plant.t_s + HUB4_S
            self._run_hub4()
        due = [call for at_s, call in self._late if at_s <= self.plant.t_s]
        self._late = [late for late in self._late if late[0] > self.plant.t_s]
        for call in due:
            call()

    def publish(self, name: str, values: Mapping[str, Any]) -> None:
        """New values of a service, with a signal for those that changed."""
        known = self.services[name]
        changed = {path: v for path, v in values.items() if known.get(path) != v}
        known.update(changed)
        if changed and self._listener and name in self._owned:
            self._listener.learned(name, changed)

    def rename(self, name: str, new_name: str) -> None:
        """Let a service come under another name."""
        self.services[new_name] = self.services.pop(name)

    def reboot(self) -> None:
        """Forget what is only in RAM."""
        self.publish(HUB4, {victron.OVERRIDE_MAX_DISCHARGE: None})

    # What the agent calls

    def read(
        self,
        wanted: Sequence[tuple[str, str]],
        timeout_s: float,
        done: Callable[[dict[tuple[str, str], Any]], None],
    ) -> None:
        """Answer what is there, at once."""
        done({key: self.services[key[0]].get(key[1]) for key in wanted if key[0] in self._owned})

    def write(
        self,
        name: str,
        path: str,
        value: Any,
        timeout_s: float,
        done: Callable[[str | None], None],
    ) -> None:
        """Take a value, or not, as `answers` says."""
        if name not in self._owned:
            done("org.freedesktop.DBus.Error.ServiceUnknown")
            return
        answer = self.answers if name == HUB4 else None
        if answer == "timeout":
            self._late.append((self.plant.t_s + timeout_s, lambda: done(NO_ANSWER)))
            return
        if answer == "ignored":
            present = self.services[name].get(path)
            done(None if present == value else f"reads back as {present}")
            return
        if answer is not None:
            done(f"SetValue returned {answer}")
            return
        if name == HUB4:
            self.override_writes += 1
            self._override_at_s = self.plant.t_s
        elif name == SETTINGS and self.services[name].get(path) != value:
            self.stored_writes += 1
        self.publish(name, {path: None if name == HUB4 and value < 0 else value})
        done(None)

    def rescan(self) -> None:
        """Nothing is absent here."""

    # What the device does

    def _tell_owners(self) -> None:
        if not self._listener:
            return
        present = set(self.services) - self.gone
        for name in sorted(self._owned - present):
            self._owned.discard(name)
            self._listener.vanished(name)
        for name in sorted(present - self._owned):
            self._owned.add(name)
            self._listener.appeared(name)
            self._listener.learned(name, dict(self.services[name]))

    def _publish_plant(self) -> None:
        plant = self.plant
        readings = {"vebus": _vebus_values(plant), "grid": _grid_values(plant)}
        for name in list(self.services):
            kind = name[len(PREFIX) :].split(".")[0]
            if kind not in readings or name in self.frozen:
                continue
            values = readings[kind]
            if name in self.invalid:
                values = {path: None for path in values if path.endswith(("/P", "/Power"))}
            self.publish(name, values)

    def _run_hub4(self) -> None:
        plant, hub4, settings = self.plant, self.services[HUB4], self.services[SETTINGS]
        override = hub4[victron.OVERRIDE_MAX_DISCHARGE]
        if override is not None and plant.t_s - self._override_at_s > OVERRIDE_S:
            self.publish(HUB4, {victron.OVERRIDE_MAX_DISCHARGE: None})
            override = None
        if plant.control != PASSTHROUGH:
            plant.control = _control(settings)
        limits = [override, settings[victron.SETTING_MAX_DISCHARGE]]
        known = [w for w in limits if w is not None and w >= 0]
        plant.cap_w = min(known, default=None)
        in_force = plant.control == ESS and plant.grid_on
        self.publish(HUB4, {victron.APPLIED_MAX_DISCHARGE: plant.cap_w if in_force else None})


def _control(settings: Values) -> str:
    if settings[victron.SETTING_HUB4_MODE] == victron.HUB4_MODE_EXTERNAL:
        return EXTERNAL
    kept = settings[victron.SETTING_BATTERYLIFE_STATE] == victron.BATTERYLIFE_KEEP_CHARGED
    return KEEP_CHARGED if kept else ESS


def _services(plant: Plant) -> dict[str, Values]:
    assert plant.main is not None
    return {
        VEBUS: {
            victron.CONNECTED: 1,
            victron.DEVICE_INSTANCE: 276,
            victron.PRODUCT_NAME: "MultiPlus-II",
            victron.PHASE_COUNT: len(plant.phases),
            victron.NOMINAL_POWER: plant.main.nominal_w,
            victron.ASSISTANT_ID: victron.ESS_ASSISTANT,
            victron.STATE: 3,
        },
        HUB4: {victron.OVERRIDE_MAX_DISCHARGE: None, victron.APPLIED_MAX_DISCHARGE: None},
        SETTINGS: {
            victron.SETTING_MAX_DISCHARGE: victron.NO_LIMIT_W,
            victron.SETTING_HUB4_MODE: 1,
            victron.SETTING_BATTERYLIFE_STATE: 10,
        },
        SYSTEM: {victron.MAIN_VEBUS: VEBUS, victron.AC_SOURCE: 1, victron.DYNAMIC_ESS: 0},
        GRID: {victron.CONNECTED: 1, victron.DEVICE_INSTANCE: 30},
    }


def _vebus_values(plant: Plant) -> Values:
    reading = plant.vebus.get("ttyS4")
    if reading is None:
        return {}
    values: Values = {
        victron.OUT_POWER: round(sum(reading.out_w.values())),
        victron.IN_POWER: round(sum(reading.in_w.values())) if plant.grid_on else None,
        victron.ACTIVE_INPUT: 0 if plant.grid_on else victron.NO_ACTIVE_INPUT,
    }
    for phase in plant.phases:
        values[victron.of_phase(victron.OUT_POWER, phase)] = round(reading.out_w[phase])
        values[victron.of_phase(victron.IN_POWER, phase)] = (
            round(reading.in_w[phase]) if plant.grid_on else None
        )
    return values


def _grid_values(plant: Plant) -> Values:
    values: Values = {victron.GRID_POWER: round(sum(plant.meter.phases_w.values()), 1)}
    for phase, power_w in plant.meter.phases_w.items():
        values[victron.of_phase(victron.GRID_POWER, phase)] = round(power_w, 1)
    return values
