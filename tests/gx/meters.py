"""The simulated grid meter, PV inverter and Multi RS: power seen beside the VE.Bus systems."""

from __future__ import annotations

from gx.inverter import MAINS_V, PHASES, PhasePower
from gx.item import Item, Value

# Names without the common prefix.
GRID = "grid.cgwacs_ttyUSB0_di30_mb1"
PV = "pvinverter.pv_11_22_33_44"
MULTI = "multi.socketcan_can0_vi0_uc1"
ACSYSTEM = "acsystem.socketcan_can0_sys0"


def grid_items() -> dict[str, Item]:
    """Make the items of a three-phase grid meter."""
    return {
        **_about("/opt/victronenergy/dbus-modbus-client/dbus-modbus-client.py", "Grid meter", 30),
        "/ErrorCode": Item(0, "i"),
        "/DeviceType": Item(71, "i"),
        "/Ac/Power": Item(None, "d"),
        **_phase_items(),
    }


def pvinverter_items(position: str) -> dict[str, Item]:
    """Make the items of a PV inverter, on the AC `input` or `output`."""
    return {
        **_about("/opt/victronenergy/dbus-fronius/dbus-fronius", "PV inverter", 20),
        "/Position": Item(1 if position == "output" else 0, "i"),
        "/Ac/PowerLimit": Item(None, "d", writable=True),
        "/Ac/Power": Item(None, "d"),
        **_phase_items(),
    }


def power_values(phases_w: PhasePower) -> dict[str, Value]:
    """Return what a meter or a PV inverter publishes; phases without a value are left alone."""
    values: dict[str, Value] = {"/Ac/Power": round(sum(phases_w.values()), 1)}
    for phase, power_w in phases_w.items():
        values[f"/Ac/{phase}/Power"] = round(power_w, 1)
        values[f"/Ac/{phase}/Current"] = round(power_w / MAINS_V, 2)
        values[f"/Ac/{phase}/Voltage"] = MAINS_V
    return values


def multi_rs_items() -> dict[str, dict[str, Item]]:
    """Make the two services of a Multi RS, by name: it has no VE.Bus, so no hub4control."""
    power = {
        "/Ac/Out/L1/P": Item(1500, "i"),
        "/Ac/In/1/L1/P": Item(-200, "i"),
        "/Ac/ActiveIn/ActiveInput": Item(0, "i"),
        "/Ac/NumberOfPhases": Item(1, "i"),
        "/State": Item(252, "i"),
    }
    unit = {
        **_about("/opt/victronenergy/vecan-dbus/vecan-dbus", "Multi RS Solar 48/6000/100", 0),
        **power,
        "/Ess/AcPowerSetpoint": Item(None, "d", writable=True),
    }
    system = {
        **_about("/opt/victronenergy/dbus-acsystem/dbus_acsystem.py", "RS system", 0),
        **power,
        "/Ess/AcPowerSetpoint": Item(None, "d", writable=True),
        "/Ess/InverterPowerSetpoint": Item(None, "d", writable=True),
        "/Ess/UseInverterPowerSetpoint": Item(0, "i", writable=True),
    }
    return {MULTI: unit, ACSYSTEM: system}


def _about(process: str, product: str, instance: int) -> dict[str, Item]:
    return {
        "/Mgmt/ProcessName": Item(process, "s"),
        "/Mgmt/ProcessVersion": Item("1.60", "s"),
        "/Mgmt/Connection": Item("simulated", "s"),
        "/DeviceInstance": Item(instance, "i"),
        "/ProductId": Item(0xB002, "i"),
        "/ProductName": Item(product, "s"),
        "/FirmwareVersion": Item(2, "i"),
        "/Connected": Item(1, "i"),
    }


def _phase_items() -> dict[str, Item]:
    kinds = ("Power", "Current", "Voltage")
    return {f"/Ac/{phase}/{kind}": Item(None, "d") for phase in PHASES for kind in kinds}
