"""Run the simulated services of one GX device: `python3 -m gx.services --bus ... --site ...`.

Prints `ready` when every name is owned, and ends at SIGTERM, SIGINT or the verb `stop`.
"""

from __future__ import annotations

import argparse
import csv
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TextIO

import dbus
from dbus.mainloop.glib import DBusGMainLoop
from gi.repository import GLib

from gx.control import ControlSocket
from gx.plant import Truth
from gx.simulation import After, Simulation
from gx.sitefile import SiteError, read_site_file
from gx.verbs import Verbs

SYSTEM_BUS = "unix:path=/run/dbus/system_bus_socket"
POLL_MS = 50
COLUMNS = (
    "t_s",
    "output_w",
    "export_w",
    "load_w",
    "cap_w",
    "setting_w",
    "override_w",
    "flash_writes",
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until stopped; 2 for a wrong site file, 1 where the bus or a name is not to be had."""
    options = _parser().parse_args(arguments)
    DBusGMainLoop(set_as_default=True)
    loop = GLib.MainLoop()
    for number in (signal.SIGTERM, signal.SIGINT):
        GLib.unix_signal_add(GLib.PRIORITY_HIGH, number, loop.quit)
    start_s = time.monotonic()
    after = _timer(options.speed)
    with ExitStack() as stack:
        try:
            site = read_site_file(options.site)
            site = site._replace(replay=[*site.replay, *({"file": f} for f in options.replay)])
            simulation = Simulation(
                site,
                _address(options.bus),
                lambda: (time.monotonic() - start_s) * options.speed,
                after,
                options.settings,
            )
            stack.callback(simulation.stop)
            simulation.start()
        except (SiteError, ValueError, OSError) as error:
            print(f"{options.site}: {error}", file=sys.stderr)
            return 2
        except dbus.exceptions.DBusException as error:
            print(error.get_dbus_message(), file=sys.stderr)
            return 1
        verbs = Verbs(simulation, lambda: after(0.0, loop.quit))
        if options.control:
            stack.callback(ControlSocket(options.control, verbs.answer).close)
        record = _recorder(stack, simulation, options.record)
        GLib.timeout_add(POLL_MS, _advance(simulation, record))
        print("ready", flush=True)
        loop.run()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="gx.services", description=__doc__.splitlines()[0])
    parser.add_argument("--bus", default="system", help="a D-Bus address, or `system`")
    parser.add_argument("--site", type=Path, required=True, help="the site file, JSON")
    parser.add_argument("--control", type=Path, help="unix socket to be asked on")
    parser.add_argument("--record", type=Path, help="CSV file of what really happens")
    parser.add_argument("--settings", type=Path, help="JSON file that keeps the stored settings")
    parser.add_argument("--speed", type=float, default=1.0, help="site seconds per second")
    parser.add_argument("--replay", type=Path, action="append", default=[], help="a recording")
    return parser


def _address(bus: str) -> str:
    return os.environ.get("DBUS_SYSTEM_BUS_ADDRESS", SYSTEM_BUS) if bus == "system" else bus


def _timer(speed: float) -> After:
    def after(seconds: float, action: Callable[[], None]) -> None:
        def once() -> bool:
            action()
            return False

        GLib.timeout_add(round(seconds / speed * 1000), once)

    return after


def _advance(simulation: Simulation, record: Callable[[Truth], None]) -> Callable[[], bool]:
    def advance() -> bool:
        try:
            for truth in simulation.advance():
                record(truth)
        except BaseException:
            # GLib would only print it and go on with a site that stands still.
            sys.excepthook(*sys.exc_info())
            os._exit(70)
        return True

    return advance


def _recorder(
    stack: ExitStack, simulation: Simulation, file: Path | None
) -> Callable[[Truth], None]:
    if file is None:
        return lambda truth: None
    out: TextIO = stack.enter_context(file.open("w", buffering=1, newline=""))
    rows = csv.writer(out)
    rows.writerow(COLUMNS)
    offset_s = simulation.plant.t_s - simulation.now()

    def record(truth: Truth) -> None:
        summary = simulation.summary()
        powers = (round(w, 1) for w in (truth.output_w, truth.export_w, truth.load_w))
        rows.writerow([round(truth.t_s - offset_s, 2), *powers, *summary.values()])

    return record


if __name__ == "__main__":
    sys.exit(main())
