"""The D-Bus names and enumerations that Victron defines: the only file that spells one.

Sources: the Venus wiki's "dbus" page, recordings of real devices, and Victron's open services
(systemcalc, localsettings, gui-v2). Signs: AC power into the loads and battery charging are
positive, the AC input is positive when power is drawn from it, a grid meter on import.
"""

from __future__ import annotations

NAMESPACE = "com.victronenergy"
BUS_ITEM = "com.victronenergy.BusItem"
# Not Victron's: what the bus itself says of a peer that does not answer.
NO_ANSWER = ("org.freedesktop.DBus.Error.NoReply", "org.freedesktop.DBus.Error.Timeout")
OWN_SERVICE = "com.victronenergy.exportlimiter"

VEBUS = "com.victronenergy.vebus"
HUB4 = "com.victronenergy.hub4"
SETTINGS = "com.victronenergy.settings"
SYSTEM = "com.victronenergy.system"
GRID = "com.victronenergy.grid"
PVINVERTER = "com.victronenergy.pvinverter"
# A Multi RS: no VE.Bus, no hub4control. Each unit has a service, and all of them one together.
MULTI_RS = "com.victronenergy.multi"
RS_SYSTEM = "com.victronenergy.acsystem"
PLATFORM = "com.victronenergy.platform"

PHASES = ("L1", "L2", "L3")

DEVICE_INSTANCE = "/DeviceInstance"
PRODUCT_NAME = "/ProductName"

# vebus: one VE.Bus system, possibly several units and phases.
CONNECTED = "/Connected"  # 1 while a unit answers; the service outlives its units
OUT_POWER = "/Ac/Out/P"  # loads on the AC output, passed-through power included
IN_POWER = "/Ac/ActiveIn/P"
ACTIVE_INPUT = "/Ac/ActiveIn/ActiveInput"  # 0 or 1, 240 when none is active
PHASE_COUNT = "/Ac/NumberOfPhases"
NOMINAL_POWER = "/Ac/Out/NominalInverterPower"  # VA taken as W; absent before mk2-dbus 3.x
STATE = "/State"
ASSISTANT_ID = "/Hub4/AssistantId"
IN_CURRENT = "/Ac/ActiveIn/I"  # of each phase only
IN_CURRENT_LIMIT = "/Ac/ActiveIn/CurrentLimit"

NO_ACTIVE_INPUT = 240
STATE_ASSISTING = 10
ESS_ASSISTANT = 5

# hub4: hub4control, the closed ESS loop.
OVERRIDE_MAX_DISCHARGE = "/Overrides/MaxDischargePower"  # W, RAM, -1 or [] for none
APPLIED_MAX_DISCHARGE = "/MaxDischargePower"  # W in force after every limit; read only

# settings: localsettings, stored on flash.
SETTING_MAX_DISCHARGE = "/Settings/CGwacs/MaxDischargePower"  # W, double, -1 for none
SETTING_HUB4_MODE = "/Settings/CGwacs/Hub4Mode"
SETTING_BATTERYLIFE_STATE = "/Settings/CGwacs/BatteryLife/State"
SETTING_MAX_FEED_IN = "/Settings/CGwacs/MaxFeedInPower"
SETTING_EXPORT_LIMIT_A = "/Settings/CGwacs/AcExportLimit"
# "Grid metering": 0 (the default) external meter, without which ESS passes through or, since
# 2026, may go by its own measurement (GridMeterRequired 0); 1 inverter/charger (gui-v2).
SETTING_WITHOUT_METER = "/Settings/CGwacs/RunWithoutGridMeter"

HUB4_MODES_ENFORCING = (1, 2)  # 3 is external control: hub4control writes no set-points
HUB4_MODE_EXTERNAL = 3
BATTERYLIFE_KEEP_CHARGED = 9
NO_LIMIT_W = -1.0  # Victron's sentinel for "no limit"

# system: systemcalc's aggregates.
MAIN_VEBUS = "/VebusService"
AC_SOURCE = "/Ac/ActiveIn/Source"  # 0 none, 1 grid, 2 genset, 3 shore, 240 island
DYNAMIC_ESS = "/DynamicEss/Active"
SCHEDULED_CHARGE = "/Control/ScheduledCharge"
LOAD_SHEDDING = "/LoadShedding/Active"
# Writers of the override, each every 5 s while it holds control (systemcalc delegates).
OVERRIDE_WRITERS = {
    DYNAMIC_ESS: "Dynamic ESS",
    SCHEDULED_CHARGE: "scheduled charging",
    LOAD_SHEDDING: "load shedding",
}
AC_SOURCE_GENSET = 2

GRID_POWER = "/Ac/Power"

# platform: a write of "TYPE<TAB>device<TAB>text" shows a notification in the GUI.
NOTIFICATION_INJECT = "/Notifications/Inject"
NOTIFICATION_WARNING, NOTIFICATION_ALARM, NOTIFICATION_INFO = 0, 1, 2

# What the first versions of this program wrote; on no vebus service known today.
LEGACY_TOTAL_LIMITS = ("/Ac/PowerLimit", "/Ac/Out/PowerLimit", "/Settings/PowerLimit")
LEGACY_PHASE_LIMITS = ("/Ac/Out/{phase}/PowerLimit", "/Ac/{phase}/PowerLimit")
LEGACY_MAX_POWER = ("/Settings/MaxPower",)


def of_phase(path: str, phase: str) -> str:
    """The path of one phase's part: ``/Ac/Out/L1/P`` of ``/Ac/Out/P``."""
    start, _, end = path.rpartition("/")
    return "%s/%s/%s" % (start, phase, end)


LEGACY_PATHS: tuple[str, ...] = (
    *LEGACY_TOTAL_LIMITS,
    *(path.format(phase=phase) for path in LEGACY_PHASE_LIMITS for phase in PHASES),
    *LEGACY_MAX_POWER,
)

# The paths the agent reads of each service class; everything else on the bus is left alone.
WATCHED: dict[str, tuple[str, ...]] = {
    VEBUS: (
        CONNECTED,
        DEVICE_INSTANCE,
        PRODUCT_NAME,
        OUT_POWER,
        IN_POWER,
        ACTIVE_INPUT,
        PHASE_COUNT,
        NOMINAL_POWER,
        STATE,
        ASSISTANT_ID,
        IN_CURRENT_LIMIT,
        *(of_phase(path, p) for path in (IN_CURRENT, OUT_POWER, IN_POWER) for p in PHASES),
        *LEGACY_PATHS,
    ),
    HUB4: (OVERRIDE_MAX_DISCHARGE, APPLIED_MAX_DISCHARGE),
    SETTINGS: (
        SETTING_MAX_DISCHARGE,
        SETTING_HUB4_MODE,
        SETTING_BATTERYLIFE_STATE,
        SETTING_MAX_FEED_IN,
        SETTING_EXPORT_LIMIT_A,
        SETTING_WITHOUT_METER,
    ),
    SYSTEM: (MAIN_VEBUS, AC_SOURCE, DYNAMIC_ESS, SCHEDULED_CHARGE, LOAD_SHEDDING),
    GRID: (CONNECTED, DEVICE_INSTANCE, GRID_POWER, *(of_phase(GRID_POWER, p) for p in PHASES)),
    PVINVERTER: (CONNECTED,),
    MULTI_RS: (PRODUCT_NAME,),
    RS_SYSTEM: (PRODUCT_NAME,),
}


def service_class(name: str) -> str:
    """The first three parts of a bus name: ``com.victronenergy.vebus`` of ``….vebus.ttyS4``."""
    return ".".join(name.split(".")[:3])
