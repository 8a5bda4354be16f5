"""The simulated `com.victronenergy.system` and `.platform`: what belongs to the device itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gx.inverter import PHASES
from gx.item import Item, Value
from gx.plant import Plant
from gx.velib import Service

GRID, ISLAND = 1, 240
EXTERNAL_CONTROL, INVERTING = 252, 9
LAST_NOTIFICATION_TYPE = 2


def system_items(portal_id: str) -> dict[str, Item]:
    """Make the items of systemcalc that a limiter may look at."""
    items = {
        "/Mgmt/ProcessName": Item("/opt/victronenergy/dbus-systemcalc-py/dbus_systemcalc.py", "s"),
        "/Mgmt/ProcessVersion": Item("2.256", "s"),
        "/Mgmt/Connection": Item("data from other dbus processes", "s"),
        "/DeviceInstance": Item(0, "i"),
        "/ProductName": Item(None, "s"),
        "/Connected": Item(None, "i"),
        "/Serial": Item(portal_id, "s"),
        "/SystemType": Item("ESS", "s"),
        "/Hub": Item(4, "i"),
        "/VebusService": Item(None, "s"),
        "/VebusInstance": Item(None, "i"),
        "/Devices/NumberOfVebusDevices": Item(0, "i"),
        "/DynamicEss/Active": Item(0, "i"),
        "/Control/ScheduledCharge": Item(0, "i"),
        "/Control/Dvcc": Item(1, "i"),
        "/LoadShedding/Active": Item(0, "i"),
        "/SystemState/State": Item(EXTERNAL_CONTROL, "i"),
        "/SystemState/UserDischargeLimited": Item(0, "i"),
        "/Ac/ActiveIn/Source": Item(GRID, "i"),
        "/Ac/Grid/NumberOfPhases": Item(None, "i"),
        "/Ac/ConsumptionOnOutput/NumberOfPhases": Item(None, "i"),
        "/Dc/Battery/Power": Item(None, "d"),
        "/Dc/Battery/Soc": Item(70.0, "d"),
        "/Dc/Pv/Power": Item(None, "d"),
    }
    for phase in PHASES:
        items[f"/Ac/Grid/{phase}/Power"] = Item(None, "d")
        items[f"/Ac/ConsumptionOnOutput/{phase}/Power"] = Item(None, "d")
    return items


def system_values(plant: Plant, vebus: Sequence[Service], main: Service | None) -> dict[str, Value]:
    """Return what systemcalc makes of the meter and of the VE.Bus systems on the bus."""
    truth = plant.truth()
    values: dict[str, Value] = {
        "/VebusService": main.name if main else None,
        "/VebusInstance": main.value("/DeviceInstance") if main else None,
        "/Devices/NumberOfVebusDevices": len(vebus),
        "/SystemState/State": EXTERNAL_CONTROL if plant.grid_on else INVERTING,
        "/Ac/ActiveIn/Source": GRID if plant.grid_on else ISLAND,
        "/Ac/Grid/NumberOfPhases": len(plant.phases),
        "/Ac/ConsumptionOnOutput/NumberOfPhases": len(plant.phases),
        "/Dc/Battery/Power": float(round(truth.pv_dc_used_w - truth.output_w)),
        "/Dc/Pv/Power": float(round(truth.pv_dc_used_w)),
    }
    for phase in plant.phases:
        values[f"/Ac/Grid/{phase}/Power"] = float(round(plant.meter.phases_w[phase]))
        on_output = [reading.out_w.get(phase, 0.0) for reading in plant.vebus.values()]
        values[f"/Ac/ConsumptionOnOutput/{phase}/Power"] = float(round(max(0.0, sum(on_output))))
    return values


def platform_items(notify: Callable[[str], None]) -> dict[str, Item]:
    """Make the items of venus-platform; `notify` is told of every injected notification."""
    return {
        "/Mgmt/ProcessName": Item("/opt/victronenergy/venus-platform/venus-platform", "s"),
        "/Notifications/Inject": Notification(notify),
        "/Notifications/Alarm": Item(0, "i"),
    }


class Notification(Item):
    """Takes "TYPE<TAB>device<TAB>text": TYPE 0 is a warning, 1 an alarm, 2 a notification.

    Refused with -1 without three fields, -2 where TYPE is no number and -3 where it is another, as
    VeQItemInjectNotification in venus-platform's notifications.hpp does (v3.70 on).
    """

    def __init__(self, notify: Callable[[str], None]) -> None:
        super().__init__("", "s", writable=True)
        self._notify = notify

    def write(self, value: Value) -> int:
        """Do what SetValue does and return what it answers."""
        fields = str(value).split("\t")
        if len(fields) != 3:
            return -1
        if not fields[0].isdigit():
            return -2
        if int(fields[0]) > LAST_NOTIFICATION_TYPE:
            return -3
        self._notify(value)
        return 0
