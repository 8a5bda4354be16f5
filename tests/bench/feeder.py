"""A site on a bus that changes as fast as it is told to: `python3 -m bench.feeder --bus ...`.

It measures what the agent's answers cost in time: the clock is the one all processes share. One
JSON object per line in, one per line out: `jump` lowers the load, `report` tells what was written.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from typing import Any

from dbus.mainloop.glib import DBusGMainLoop
from export_limiter import victron
from gi.repository import GLib
from gx.item import Item, Value
from gx.velib import Service

VEBUS = victron.NAMESPACE + ".vebus.ttyS4"
GRID = victron.NAMESPACE + ".grid.cgwacs_ttyUSB0_di30_mb1"
OVERRIDE, APPLIED = victron.OVERRIDE_MAX_DISCHARGE, victron.APPLIED_MAX_DISCHARGE
OUTPUT_W = 16000.0
LIMIT_W = 6000.0
# Less load by more than the cap was aimed below the limit: each jump asks for one write.
JUMP_W = 400.0
WOBBLE_W = 3.0  # so that every update changes something


class Feeder:
    """The services, and what is written to them."""

    def __init__(self, address: str, extra_paths: int) -> None:
        self._output_w = OUTPUT_W
        self._load_w = OUTPUT_W - LIMIT_W + 50.0
        self._updates = 0
        self._jumped_s: float | None = None
        self._latencies_s: list[float] = []
        self._writes_s: list[float] = []
        self._extra = [f"/Extra/{i}" for i in range(extra_paths)]
        self._hub4 = Service(victron.HUB4, _hub4_items(), on_written=self._written)
        self._vebus = Service(VEBUS, {**_vebus_items(), **{p: Item(0.0) for p in self._extra}})
        self._grid = Service(GRID, _grid_items())
        self._services = [
            self._hub4,
            self._vebus,
            self._grid,
            Service(victron.SETTINGS, _settings_items(), batched=False),
            Service(victron.SYSTEM, _system_items()),
        ]
        self.update()
        for service in self._services:
            service.connect(address)

    def update(self) -> bool:
        """Publish slightly other values."""
        self._updates += 1
        wobble_w = WOBBLE_W if self._updates % 2 else -WOBBLE_W
        output_w = round(self._output_w + wobble_w)
        import_w = round(self._load_w - output_w, 1)
        values: dict[str, Value] = {victron.OUT_POWER: 0, victron.IN_POWER: -output_w}
        values.update((path, float(self._updates)) for path in self._extra)
        self._vebus.publish(values)
        self._grid.publish({victron.GRID_POWER: import_w})
        return True

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Do what `request["do"]` names."""
        if request["do"] == "jump":
            self._load_w -= JUMP_W
            self._jumped_s = time.monotonic()
            self.update()
            return {}
        calls = {service.name: dict(service.calls) for service in self._services}
        return {
            "latencies_s": self._latencies_s,
            "writes_s": self._writes_s,
            "calls": calls,
            "updates": self._updates,
        }

    def _written(
        self, sender: str, service: str, path: str, value: Value, code: int | None
    ) -> None:
        now_s = time.monotonic()
        self._writes_s.append(now_s)
        if self._jumped_s is not None:
            self._latencies_s.append(now_s - self._jumped_s)
            self._jumped_s = None
        assert isinstance(value, float)
        self._output_w = min(self._output_w, value)
        GLib.idle_add(self._apply, value)

    def _apply(self, cap_w: float) -> bool:
        """Obey the cap, once SetValue is answered."""
        self._hub4.publish({APPLIED: cap_w})
        self.update()
        return False


def _hub4_items() -> dict[str, Item]:
    return {OVERRIDE: Item(None, "d", writable=True), APPLIED: Item(None, "d")}


def _vebus_items() -> dict[str, Item]:
    return {
        victron.CONNECTED: Item(1, "i"),
        victron.DEVICE_INSTANCE: Item(276, "i"),
        victron.PRODUCT_NAME: Item("MultiPlus-II", "s"),
        "/FirmwareVersion": Item(1362, "i"),
        victron.OUT_POWER: Item(None, "i"),
        victron.IN_POWER: Item(None, "i"),
        victron.ACTIVE_INPUT: Item(0, "i"),
        victron.PHASE_COUNT: Item(1, "i"),
        victron.NOMINAL_POWER: Item(17000, "i"),
        victron.STATE: Item(3, "i"),
        victron.ASSISTANT_ID: Item(victron.ESS_ASSISTANT, "i"),
    }


def _grid_items() -> dict[str, Item]:
    return {
        victron.CONNECTED: Item(1, "i"),
        victron.DEVICE_INSTANCE: Item(30, "i"),
        victron.GRID_POWER: Item(None, "d"),
    }


def _settings_items() -> dict[str, Item]:
    return {
        victron.SETTING_MAX_DISCHARGE: Item(victron.NO_LIMIT_W, "d", writable=True),
        victron.SETTING_HUB4_MODE: Item(1, "i", writable=True),
        victron.SETTING_BATTERYLIFE_STATE: Item(10, "i", writable=True),
    }


def _system_items() -> dict[str, Item]:
    return {
        victron.MAIN_VEBUS: Item(VEBUS, "s"),
        victron.AC_SOURCE: Item(1, "i"),
        victron.DYNAMIC_ESS: Item(0, "i"),
    }


def main() -> None:
    """Feed until standard input ends."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bus", required=True, help="a D-Bus address")
    parser.add_argument("--rate", type=float, default=1.0, help="updates per second")
    parser.add_argument("--paths", type=int, default=0, help="more paths that change each time")
    options = parser.parse_args()
    DBusGMainLoop(set_as_default=True)
    feeder = Feeder(options.bus, options.paths)
    loop = GLib.MainLoop()

    def read(_fd: int, _condition: int) -> bool:
        line = sys.stdin.readline()
        if line:
            print(json.dumps(feeder.answer(json.loads(line))), flush=True)
        else:
            loop.quit()
        return bool(line)

    GLib.io_add_watch(sys.stdin.fileno(), GLib.PRIORITY_DEFAULT, GLib.IO_IN | GLib.IO_HUP, read)
    GLib.timeout_add(round(1000 / options.rate), feeder.update)
    print("ready", flush=True)
    loop.run()


if __name__ == "__main__":
    main()
