"""The simulated `com.victronenergy.hub4`: a stand-in for hub4control, which is closed source.

It takes the lowest of the stored setting, the override in RAM and what the BMS allows, publishes
it as `/MaxDischargePower` and lets the plant's ESS loop keep to it, in Hub4Mode 1 and 2, with the
grid present and the battery not kept charged. The override is forgotten some time after its last
write, an equal one included. All power is in W, all times are seconds.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from gx import plant as plant_model
from gx.item import Item, Value
from gx.localsettings import BATTERY_LIFE_STATE, MAX_DISCHARGE, MODE, SETPOINT
from gx.plant import Plant
from gx.vebus import ESS_ASSISTANT, NO_INPUT
from gx.velib import Service

OVERRIDE = "/Overrides/MaxDischargePower"
APPLIED = "/MaxDischargePower"
KEEP_CHARGED_STATE = 9
SILENCE_S = 60.0  # the inverter passes through when nobody commands it for this long
WRITERS_PERIOD_S = 5.0  # systemcalc's, for whatever it writes to the override


class Override(Item):
    """An override: a negative value reads back as none, as was seen on a real device."""

    def coerce(self, value: Value) -> Value:
        """Convert to a number or to None."""
        value = super().coerce(value)
        return None if value is not None and value < 0 else value


class Hub4:
    """The ESS control of one site; the public attributes are its firmware's quirks.

    `find_main` returns the service of the main VE.Bus system while it is on the bus.
    """

    def __init__(
        self,
        plant: Plant,
        settings: Service,
        system: Service,
        find_main: Callable[[], Service | None],
        now: Callable[[], float],
    ) -> None:
        self.override_expires_s: float | None = 150.0
        self.override_ignored = False
        self.clear_override: bool = False  # every 5 s, as systemcalc did before v3.60
        self.hold_override_w: float | None = None  # rewritten every 5 s, as Dynamic ESS does
        self.held_by = "/DynamicEss/Active"
        self.bms_limit_w: float | None = None
        self.readback = "in_force"  # or "always", or "never"

        self._plant = plant
        self._settings = settings
        self._system = system
        self._find_main = find_main
        self._now = now
        self._override_at_s = self._commanded_at_s = 0.0
        self._next_writer_s = 0.0
        self._held = False
        self.items = {
            "/Mgmt/ProcessName": Item("/opt/victronenergy/hub4control/hub4control", "s"),
            "/Mgmt/ProcessVersion": Item("3.84", "s"),
            "/Mgmt/Connection": Item("", "s"),
            "/DeviceInstance": Item(0, "i"),
            "/ProductName": Item("Hub-4 control", "s"),
            "/Connected": Item(1, "i"),
            OVERRIDE: Override(None, "d", on_write=self._take_override, forced=True),
            "/Overrides/Setpoint": Item(None, "d", writable=True),
            "/Overrides/ForceCharge": Item(0, "i", writable=True),
            "/Overrides/FeedInExcess": Item(0, "i", writable=True),
            APPLIED: Item(None, "d"),
            "/MaxChargePower": Item(None, "d"),
        }
        self.service: Service | None = None

    def configure(self, **quirks: object) -> None:
        """Change quirks by name; raises ValueError for an unknown one."""
        for name, value in quirks.items():
            if name.startswith("_") or not hasattr(self, name) or callable(getattr(self, name)):
                raise ValueError(f"hub4 has no quirk {name}")
            setattr(self, name, value)
        if self.readback == "never" and self.service:
            self.service.items.pop(APPLIED, None)

    def restart(self) -> None:
        """Forget what is only in RAM."""
        self.items[OVERRIDE].value = None

    def tick(self) -> None:
        """Run once; nothing is commanded while the service or the inverter is off the bus."""
        now_s = self._now()
        main = self._find_main()
        if self.service and not self.service.wanted:
            main = None
        if main is None or main.value("/Connected") != 1:
            if now_s - self._commanded_at_s > SILENCE_S:
                self._plant.control = plant_model.PASSTHROUGH
            return
        self._commanded_at_s = now_s
        self._run_other_writers(now_s)
        self._expire(now_s)
        self._plant.control = self._control(main)
        setpoint_w = self._settings.value(SETPOINT)
        if isinstance(setpoint_w, float):
            self._plant.grid_setpoint_w = setpoint_w
        cap_w = self.cap_w()
        islanded = main.value("/Ac/ActiveIn/ActiveInput") == NO_INPUT
        in_force = self._plant.control == plant_model.ESS and not islanded
        self._plant.cap_w = cap_w
        if self.service:
            shown = cap_w if in_force or self.readback == "always" else None
            self.service.publish({APPLIED: shown})

    def cap_w(self) -> float | None:
        """Return the lowest limit there is, None without any."""
        limits = [self._settings.value(MAX_DISCHARGE), self.bms_limit_w]
        if not self.override_ignored:
            limits.append(self.items[OVERRIDE].value)
        known = [float(w) for w in limits if isinstance(w, (int, float)) and w >= 0]
        return min(known, default=None)

    def _control(self, main: Service) -> str:
        if main.value("/Hub4/AssistantId") != ESS_ASSISTANT:
            return plant_model.PASSTHROUGH
        mode = self._settings.value(MODE)
        if mode == 3:
            return plant_model.EXTERNAL
        if mode not in (1, 2):
            return plant_model.PASSTHROUGH
        if self._settings.value(BATTERY_LIFE_STATE) == KEEP_CHARGED_STATE:
            return plant_model.KEEP_CHARGED
        return plant_model.ESS

    def _take_override(self, value: Value) -> bool:
        self._override_at_s = self._now()
        return value is None or math.isfinite(float(value))

    def _expire(self, now_s: float) -> None:
        override = self.items[OVERRIDE].value
        age_s = now_s - self._override_at_s
        expires_s = self.override_expires_s
        if override is not None and expires_s is not None and age_s >= expires_s:
            self._set_override(None)

    def _run_other_writers(self, now_s: float) -> None:
        if now_s < self._next_writer_s:
            return
        self._next_writer_s = now_s + WRITERS_PERIOD_S
        if self.clear_override:
            self._set_override(None)
        if self.hold_override_w is not None:
            self._override_at_s = now_s
            self._set_override(float(self.hold_override_w))
            self._system.publish({self.held_by: 1})
        elif self._held:
            self._set_override(None)
            self._system.publish({self.held_by: 0})
        self._held = self.hold_override_w is not None

    def _set_override(self, value: float | None) -> None:
        if self.service:
            self.service.force({OVERRIDE: value})
