"""A bus without D-Bus, for the parts of the agent that are handed one: it answers at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

Values = dict[str, Any]

VEBUS = "com.victronenergy.vebus.ttyS4"
HUB4 = "com.victronenergy.hub4"
SETTINGS = "com.victronenergy.settings"
SYSTEM = "com.victronenergy.system"
METER = "com.victronenergy.grid.one"
OVERRIDE = "/Overrides/MaxDischargePower"
APPLIED = "/MaxDischargePower"
SETTING = "/Settings/CGwacs/MaxDischargePower"
MODE = "/Settings/CGwacs/Hub4Mode"
STATE = "/Settings/CGwacs/BatteryLife/State"


def ess_site() -> dict[str, Values]:
    """Return the services of a one-phase site with ESS: 6 kW of load, carried by the inverter."""
    return {
        VEBUS: {
            "/Connected": 1,
            "/DeviceInstance": 276,
            "/ProductName": "MultiPlus-II 48/8000",
            "/Ac/NumberOfPhases": 1,
            "/Ac/Out/P": 6000,
            "/Ac/Out/L1/P": 6000,
            "/Ac/ActiveIn/P": 50,
            "/Ac/ActiveIn/L1/P": 50,
            "/Ac/ActiveIn/ActiveInput": 0,
            "/Ac/Out/NominalInverterPower": 8000,
            "/Hub4/AssistantId": 5,
            "/State": 3,
        },
        HUB4: {OVERRIDE: None, APPLIED: None},
        SETTINGS: {SETTING: -1.0, MODE: 1, STATE: 10},
        SYSTEM: {"/VebusService": VEBUS, "/DynamicEss/Active": 0},
        METER: {"/Connected": 1, "/Ac/Power": 50.0, "/Ac/L1/Power": 50.0},
    }


class FakeBus:
    """Services and their values; what is written is kept, shown as applied, and told.

    `refuse` may return an error for a write; `hold` keeps polls unanswered until `release`.
    """

    def __init__(self, services: Mapping[str, Values], listener: Any) -> None:
        self.services = {name: dict(values) for name, values in services.items()}
        self.written: list[tuple[str, float]] = []
        self.rescans = 0
        self.refuse: Callable[[str, float], str | None] = lambda path, value: None
        self.hold = False
        self._held: list[Callable[[], None]] = []
        self.listener = listener

    def announce(self) -> None:
        """Let every service appear."""
        for name, values in self.services.items():
            self.listener.appeared(name)
            self.listener.learned(name, dict(values))

    def tell(self, name: str, **values: Any) -> None:
        """Change values, given as path=value, and signal them."""
        self.services[name].update(values)
        self.listener.learned(name, dict(values))

    def drop(self, name: str) -> None:
        """Let a service vanish."""
        del self.services[name]
        self.listener.vanished(name)

    def come(self, name: str, values: Values) -> None:
        """Let a service appear with these values."""
        self.services[name] = dict(values)
        self.listener.appeared(name)
        self.listener.learned(name, dict(values))

    def release(self) -> None:
        """Answer the polls that were held."""
        held, self._held = self._held, []
        for answer in held:
            answer()

    def read(
        self,
        wanted: Sequence[tuple[str, str]],
        timeout_s: float,
        done: Callable[[dict[tuple[str, str], Any]], None],
    ) -> None:
        """Read paths together; those that are not there do not answer."""

        def answer() -> None:
            known = {(n, p): self.services.get(n, {}).get(p, self) for n, p in wanted}
            done({key: value for key, value in known.items() if value is not self})

        if self.hold:
            self._held.append(answer)
        else:
            answer()

    def write(
        self,
        name: str,
        path: str,
        value: Any,
        timeout_s: float,
        done: Callable[[str | None], None],
    ) -> None:
        """Write as the real bus does, which reads back."""
        self.written.append((path, value))
        error = self.refuse(path, value) if name in self.services else "ServiceUnknown"
        if error is None:
            self.tell(name, **{path: value})
            self._apply()
        done(error)

    def rescan(self) -> None:
        """Count."""
        self.rescans += 1

    def _apply(self) -> None:
        if HUB4 not in self.services or SETTINGS not in self.services:
            return
        limits = [self.services[HUB4].get(OVERRIDE), self.services[SETTINGS].get(SETTING)]
        known = [w for w in limits if isinstance(w, (int, float)) and w >= 0]
        self.tell(HUB4, **{APPLIED: min(known, default=None)})
