"""The simulated `com.victronenergy.settings`, with the semantics of Victron's localsettings.

SetValue answers 0 or -1, never 1 or 2; out of range is rejected, not clamped; "500" and True are
taken as numbers, and NaN passes the range check and is stored, as in the real one. A change is
stored on flash 2 s later, all changes until then in one rewrite.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

from gx.item import Item, Value, wire

STORED, REJECTED = 0, -1
WRITE_BACK_S = 2.0

_CGWACS = "/Settings/CGwacs"
MODE = f"{_CGWACS}/Hub4Mode"
MAX_DISCHARGE = f"{_CGWACS}/MaxDischargePower"
BATTERY_LIFE_STATE = f"{_CGWACS}/BatteryLife/State"
WITHOUT_METER = f"{_CGWACS}/RunWithoutGridMeter"
SETPOINT = f"{_CGWACS}/AcPowerSetPoint"

# path: type, default, minimum, maximum; as hub4control and systemcalc create them.
SETTINGS: dict[str, tuple[str, Value, float | None, float | None]] = {
    MODE: ("i", 1, None, None),
    MAX_DISCHARGE: ("d", -1.0, -1, 1e6),
    BATTERY_LIFE_STATE: ("i", 10, None, None),
    SETPOINT: ("d", 50.0, -1e6, 1e6),
    WITHOUT_METER: ("i", 0, 0, 1),
    f"{_CGWACS}/MaxFeedInPower": ("d", -1.0, -1, 1e6),
    f"{_CGWACS}/MaxChargePower": ("d", -1.0, -1, 1e6),
    f"{_CGWACS}/MaxDischargePercentage": ("d", 100.0, 0, 100),
    f"{_CGWACS}/AcExportLimit": ("d", -1.0, -1, 5000),
    f"{_CGWACS}/AcInputLimit": ("d", -1.0, -1, 5000),
    f"{_CGWACS}/OvervoltageFeedIn": ("i", 0, 0, 1),
    f"{_CGWACS}/PreventFeedback": ("i", 0, 0, 1),
    f"{_CGWACS}/BatteryLife/MinimumSocLimit": ("d", 10.0, 0, 100),
    "/Settings/DynamicEss/Mode": ("i", 0, 0, 4),
    "/Settings/SystemSetup/AcInput1": ("i", 1, 0, 3),
    "/Settings/System/TimeZone": ("s", "Europe/Tallinn", None, None),
}


class Setting(Item):
    """One stored value; `on_change` is called after each accepted change."""

    def __init__(
        self,
        kind: str,
        default: Value,
        minimum: float | None,
        maximum: float | None,
        on_change: Callable[[], None],
    ) -> None:
        super().__init__(default, kind, writable=True)
        self._default = default
        self._minimum = minimum
        self._maximum = maximum
        self._on_change = on_change

    def write(self, value: Value) -> int:
        """Do what SetValue does and return what it answers."""
        try:
            value = self.coerce(value)
        except (TypeError, ValueError, OverflowError):
            return REJECTED
        too_low = self._minimum is not None and value is not None and value < self._minimum
        too_high = self._maximum is not None and value is not None and value > self._maximum
        if value is None or too_low or too_high:
            return REJECTED
        if value != self.value:
            self.value = value
            self._on_change()
        return STORED

    def attributes(self) -> dict[str, object]:
        """Return what signals and GetItems say of this setting."""
        extra = {key: self.extra(f"Get{key}") for key in ("Min", "Max", "Default")}
        return {**super().attributes(), **extra}

    def extra(self, member: str) -> object:
        """Answer GetMin, GetMax (int 0 where there is none) and GetDefault."""
        if member == "GetDefault":
            return wire(self._default, self.kind)
        bound = {"GetMin": self._minimum, "GetMax": self._maximum}[member]
        return wire(0, "i") if bound is None else wire(bound, self.kind)


class Flash:
    """What survives a reboot: the changed settings, in a JSON file where one is given.

    `after` runs a function after so many seconds.
    """

    def __init__(self, after: Callable[[float, Callable[[], None]], None], file: Path | None):
        self.changes = 0
        self.rewrites = 0
        self.items: dict[str, Setting] = {}
        self._after = after
        self._file = file
        self._dirty = False

    def load(self, given: Mapping[str, Value]) -> None:
        """Make all settings: given values over the defaults, stored ones over both.

        A given None leaves the path out, as where the program that makes it never ran.
        """
        for path, (_, default, _, _) in SETTINGS.items():
            if given.get(path, default) is not None:
                self.items[path] = self.make(path)
                self.items[path].value = self.items[path].coerce(given.get(path, default))
        stored = json.loads(self._file.read_text()) if self._file and self._file.exists() else {}
        for path, value in stored.items():
            if path in self.items:
                self.items[path].value = value

    def make(self, path: str) -> Setting:
        """Make a setting with its default value."""
        kind, default, minimum, maximum = SETTINGS[path]
        return Setting(kind, default, minimum, maximum, self._changed)

    def _changed(self) -> None:
        self.changes += 1
        if not self._dirty:
            self._dirty = True
            self._after(WRITE_BACK_S, self._write_back)

    def _write_back(self) -> None:
        self._dirty = False
        self.rewrites += 1
        if self._file:
            beside = self._file.with_suffix(".new")
            beside.write_text(json.dumps({path: s.value for path, s in self.items.items()}))
            beside.replace(self._file)
