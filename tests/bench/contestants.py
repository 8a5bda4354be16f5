"""Other ways to hear of the same values, each a process: `python3 -m bench.contestants WAY ...`.

`listen` is the floor: it takes every signal and does nothing with it. `poll` reads besides, as
often as the agent does, with no thought either. `proxies` is the first version's way, `send` the
one of shell scripts, `calls` times single reads.
"""

from __future__ import annotations

import json
import resource
import signal
import subprocess
import sys
import time

import dbus
import dbus.bus
from dbus.mainloop.glib import DBusGMainLoop
from export_limiter import victron
from gi.repository import GLib

from bench.feeder import GRID, VEBUS

READS = ((VEBUS, victron.OUT_POWER), (VEBUS, victron.IN_POWER), (GRID, victron.GRID_POWER))
FOUR_READS = (*READS, (VEBUS, victron.STATE))
FOUR_EVERY_S = 2
TICK_S = 1
CALLS = 1000
TIMEOUT_S = 1.0


def listen(connection: dbus.bus.BusConnection) -> None:
    """Take in every value that is signalled."""
    known = {}

    def take(_connection: object, message: dbus.lowlevel.Message) -> int:
        if message.get_member() == "ItemsChanged":
            known.update(message.get_args_list()[0])
        return int(dbus.lowlevel.HANDLER_RESULT_NOT_YET_HANDLED)

    connection.add_message_filter(take)
    connection.add_match_string(f"type='signal',interface='{victron.BUS_ITEM}'")


def poll(connection: dbus.bus.BusConnection) -> None:
    """Listen, and read three values each second."""
    listen(connection)

    def read() -> bool:
        for service, path in READS:
            connection.call_async(
                service,
                path,
                victron.BUS_ITEM,
                "GetValue",
                "",
                (),
                reply_handler=float,
                error_handler=str,
                timeout=TIMEOUT_S,
            )
        return True

    GLib.timeout_add_seconds(TICK_S, read)


def proxies(connection: dbus.bus.BusConnection) -> None:
    """Read four values every two seconds, by a new proxy with introspection each."""

    def read() -> bool:
        for service, path in FOUR_READS:
            proxy = connection.get_object(service, path)
            dbus.Interface(proxy, victron.BUS_ITEM).GetValue()
        return True

    GLib.timeout_add_seconds(FOUR_EVERY_S, read)


def send(connection: dbus.bus.BusConnection) -> None:
    """Read four values every two seconds, by a `dbus-send` process each."""
    address = sys.argv[2]

    def read() -> bool:
        for service, path in FOUR_READS:
            command = ["dbus-send", f"--bus={address}", "--print-reply", f"--dest={service}"]
            command += [path, f"{victron.BUS_ITEM}.GetValue"]
            subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
        return True

    GLib.timeout_add_seconds(FOUR_EVERY_S, read)


def calls(address: str) -> None:
    """Print how long single reads take, s."""
    connection = dbus.bus.BusConnection(address)
    times_s = []
    for _ in range(CALLS):
        before_s = time.perf_counter()
        connection.call_blocking(VEBUS, victron.OUT_POWER, victron.BUS_ITEM, "GetValue", "", ())
        times_s.append(time.perf_counter() - before_s)
    print(json.dumps(times_s))


def main() -> None:
    """Run one way until SIGTERM, then print the CPU time of the processes it started, s."""
    way, address = sys.argv[1:3]
    if way == "calls":
        calls(address)
        return
    DBusGMainLoop(set_as_default=True)
    loop = GLib.MainLoop()
    GLib.unix_signal_add(GLib.PRIORITY_HIGH, signal.SIGTERM, loop.quit)
    connection = dbus.bus.BusConnection(address)  # held here: nothing else keeps it open
    {"listen": listen, "poll": poll, "proxies": proxies, "send": send}[way](connection)
    print("ready", flush=True)
    loop.run()
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(children.ru_utime + children.ru_stime)


if __name__ == "__main__":
    main()
