"""The simulated `com.victronenergy.vebus.<name>`: one VE.Bus system on D-Bus.

The paths and their types are those of recordings and dumps of real systems. Missing phases have
their paths without a value; an inactive AC input is not measured.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from gx.inverter import MAINS_V, PHASES, Inverter, PhasePower
from gx.item import Item, Value
from gx.plant import VebusReading

ESS_ASSISTANT = 5
NO_INPUT = 240
BULK, PASSTHRU, INVERTING, ASSISTING = 3, 8, 9, 10
BATTERY_V = 52.0


class VebusSpec(NamedTuple):
    """What D-Bus shows of an inverter beside its power.

    `old` is a program of before 2016: PropertiesChanged, no nominal power, no units. `limit_paths`
    are paths that the first versions of the limiter wrote, with their first value (None is the
    nominal power); they act on the inverter where `limits_act`.
    """

    instance: int = 276
    product: str = "MultiPlus-II 48/15000/200-100"
    firmware: int = 1362
    connection: str = "VE.Bus"
    old: bool = False
    limit_paths: Mapping[str, float | None] = {}
    limits_act: bool = True
    input_current_limit_a: float = 100.0
    power_assist: bool = False


def vebus_items(spec: VebusSpec, inverter: Inverter) -> dict[str, Item]:
    """Make all items of a VE.Bus system."""
    items = {
        "/Mgmt/ProcessName": Item("/opt/victronenergy/mk2-dbus/mk2-dbus", "s"),
        "/Mgmt/ProcessVersion": Item("2.50" if spec.old else "3.84", "s"),
        "/Mgmt/Connection": Item(spec.connection, "s"),
        "/DeviceInstance": Item(spec.instance, "q"),
        "/ProductId": Item(0x2625, "u"),
        "/ProductName": Item(spec.product, "s"),
        "/FirmwareVersion": Item(spec.firmware, "u"),
        "/Connected": Item(1, "u" if spec.old else "y"),
        "/Interfaces/Mk2/Connection": Item(f"/dev/{inverter.spec.name}", "s"),
        "/Mode": Item(3, "u", writable=True),
        "/ModeIsAdjustable": Item(1, "u"),
        "/State": Item(BULK, "u"),
        "/VebusError": Item(0, "u"),
        "/Ac/NumberOfPhases": Item(len(inverter.phases), "u"),
        "/Ac/NumberOfAcInputs": Item(1, "i"),
        "/Ac/PowerMeasurementType": Item(4, "u"),
        "/Ac/ActiveIn/ActiveInput": Item(0, "u"),
        "/Ac/ActiveIn/CurrentLimit": Item(spec.input_current_limit_a, "d"),
        "/Ac/In/1/CurrentLimitIsAdjustable": Item(1, "u"),
        "/Ac/State/AcIn1Available": Item(1, "i"),
        "/Dc/0/Voltage": Item(BATTERY_V, "d"),
        "/Dc/0/Current": Item(None, "d"),
        "/Dc/0/Power": Item(None, "i"),
        "/Soc": Item(70.0, "d", writable=True),
    }
    for side in ("/Ac/Out", "/Ac/ActiveIn"):
        items[f"{side}/P"] = Item(None, "i")
        for phase in PHASES:
            items[f"{side}/{phase}/P"] = Item(None, "i")
            items[f"{side}/{phase}/I"] = Item(None, "d")
            items[f"{side}/{phase}/V"] = Item(None, "d")
    for alarm in ("Overload", "HighTemperature", "LowBattery", "Ripple", "GridLost"):
        items[f"/Alarms/{alarm}"] = Item(0, "u")
    if inverter.spec.ess:
        items.update(_ess_items(inverter))
    if not spec.old:
        items.update(_unit_items(inverter))
    items["/Ac/In/1/CurrentLimit"] = _current_limit_item(spec, inverter)
    for path, first in spec.limit_paths.items():
        items[path] = _limit_item(path, first, spec.limits_act, inverter)
    return items


def vebus_values(reading: VebusReading, inverter: Inverter, grid_on: bool) -> dict[str, Value]:
    """Return what a VE.Bus system publishes of one reading."""
    output_w = sum(reading.out_w.values()) - sum(reading.in_w.values())
    state = BULK if inverter.spec.ess else PASSTHRU
    if reading.assisting:
        state = ASSISTING
    values: dict[str, Value] = {
        "/State": state if grid_on else INVERTING,
        "/Ac/ActiveIn/ActiveInput": 0 if grid_on else NO_INPUT,
        "/Ac/State/AcIn1Available": int(grid_on),
        "/Alarms/GridLost": 0 if grid_on else 2,
        "/Dc/0/Power": round(-output_w),
        "/Dc/0/Current": round(-output_w / BATTERY_V, 1),
    }
    values.update(_side("/Ac/Out", reading.out_w))
    values.update(_side("/Ac/ActiveIn", reading.in_w if grid_on else {}))
    units = inverter.spec.units
    for unit in range(units):
        phase = inverter.phases[unit % len(inverter.phases)]
        on_phase = len(range(unit % len(inverter.phases), units, len(inverter.phases)))
        charging_w = (reading.in_w[phase] - reading.out_w[phase]) / on_phase
        values[f"/Devices/{unit}/Ac/Inverter/P"] = round(charging_w)
    return values


def _side(side: str, power_w: PhasePower) -> dict[str, Value]:
    values: dict[str, Value] = {f"{side}/P": round(sum(power_w.values())) if power_w else None}
    for phase in PHASES:
        known = phase in power_w
        values[f"{side}/{phase}/P"] = round(power_w[phase]) if known else None
        values[f"{side}/{phase}/I"] = round(power_w[phase] / MAINS_V, 2) if known else None
        values[f"{side}/{phase}/V"] = MAINS_V if known else None
    return values


def _ess_items(inverter: Inverter) -> dict[str, Item]:
    items = {
        "/Hub4/AssistantId": Item(ESS_ASSISTANT, "q"),
        "/Hub4/DisableFeedIn": Item(0, "i", writable=True),
        "/Hub4/DisableCharge": Item(0, "i", writable=True),
        "/Hub4/DoNotFeedInOvervoltage": Item(1, "i", writable=True),
    }
    for phase in inverter.phases:
        items[f"/Hub4/{phase}/AcPowerSetpoint"] = Item(0, "i", writable=True)
        items[f"/Hub4/{phase}/MaxFeedInPower"] = Item(32766, "i", writable=True)
    return items


def _unit_items(inverter: Inverter) -> dict[str, Item]:
    items = {"/Ac/Out/NominalInverterPower": Item(round(inverter.nominal_w), "i")}
    for phase in inverter.phases:
        each_w = round(inverter.nominal_w / len(inverter.phases))
        items[f"/Ac/Out/{phase}/NominalInverterPower"] = Item(each_w, "i")
    for unit in range(inverter.spec.units):
        items[f"/Devices/{unit}/Ac/Inverter/P"] = Item(None, "n")
    return items


def _current_limit_item(spec: VebusSpec, inverter: Inverter) -> Item:
    def limit(value: Value) -> bool:
        if not isinstance(value, float) or value < 0:
            return False
        inverter.input_limit_a = value if spec.power_assist else None
        return True

    limit(float(spec.input_current_limit_a))
    return Item(float(spec.input_current_limit_a), "d", on_write=limit)


def _limit_item(path: str, first: float | None, acts: bool, inverter: Inverter) -> Item:
    phase = next((each for each in PHASES if f"/{each}/" in path), None)
    share_w = inverter.nominal_w / (len(inverter.phases) if phase else 1)

    def limit(value: Value) -> None:
        power_w = float(value) if isinstance(value, (int, float)) and value >= 0 else None
        if not acts:
            return
        if phase is None:
            inverter.limit_w = power_w
        elif power_w is None:
            inverter.phase_limit_w.pop(phase, None)
        else:
            inverter.phase_limit_w[phase] = power_w

    if first is not None:
        limit(float(first))
    return Item(share_w if first is None else float(first), "d", on_write=_after(limit))


def _after(action: Callable[[Value], None]) -> Callable[[Value], bool]:
    def accept(value: Value) -> bool:
        action(value)
        return True

    return accept
