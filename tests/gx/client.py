"""A D-Bus client for tests: one JSON object per line in, one per line out.

`call` calls a method, `names` lists the names on the bus, `signals` returns the signals of
`com.victronenergy.BusItem` received since the last time. Values come back plain, with their D-Bus
type beside them.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import dbus
import dbus.bus
from dbus.mainloop.glib import DBusGMainLoop
from gi.repository import GLib

BUS_ITEM = "com.victronenergy.BusItem"

_KINDS = {
    dbus.Double: "d",
    dbus.Int32: "i",
    dbus.UInt32: "u",
    dbus.Int16: "n",
    dbus.UInt16: "q",
    dbus.Byte: "y",
    dbus.String: "s",
    dbus.Boolean: "b",
}
_MAKE = {kind: make for make, kind in _KINDS.items()}
_MAKE["ai"] = lambda value, variant_level: dbus.Array(value, "i", variant_level)


class Client:
    """Answers requests on one connection."""

    def __init__(self, address: str) -> None:
        self._connection = dbus.bus.BusConnection(address)
        self._signals: list[dict[str, Any]] = []
        self._connection.add_signal_receiver(
            self._received,
            dbus_interface=BUS_ITEM,
            sender_keyword="sender",
            path_keyword="path",
            member_keyword="member",
        )

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Do what `request["do"]` names."""
        keys = dict(request)
        return getattr(self, f"do_{keys.pop('do')}")(**keys)

    def do_call(
        self,
        service: str,
        path: str,
        member: str,
        args: list[tuple[str, Any]] = (),
        interface: str = BUS_ITEM,
        timeout_s: float = 5.0,
    ) -> dict[str, Any]:
        """Call a method with variants, each given as (type, value)."""
        values = [_MAKE[kind](value, variant_level=1) for kind, value in args]
        try:
            result = self._connection.call_blocking(
                service, path, interface, member, "v" * len(values), values, timeout_s
            )
        except dbus.exceptions.DBusException as error:
            return {"error": error.get_dbus_name()}
        return {"value": _plain(result), "type": _kind(result)}

    def do_names(self) -> dict[str, Any]:
        """Return the well-known names on the bus, and the unique name behind each."""
        names = [str(n) for n in self._connection.list_names() if not n.startswith(":")]
        owned = [name for name in names if name != "org.freedesktop.DBus"]
        return {"names": {n: str(self._connection.get_name_owner(n)) for n in owned}}

    def do_signals(self) -> dict[str, Any]:
        """Return the signals received since the last time."""
        found, self._signals = self._signals, []
        return {"signals": found}

    def _received(self, *args: Any, **about: Any) -> None:
        self._signals.append({**about, "args": [_plain(each) for each in args]})


def _kind(value: Any) -> str:
    if isinstance(value, dbus.Array):
        return f"a{value.signature}"
    if isinstance(value, dbus.Dictionary):
        return f"a{{{value.signature}}}"
    return _KINDS.get(type(value), "")


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if isinstance(value, str):
        return str(value)
    return float(value) if isinstance(value, float) else int(value)


def main() -> None:
    """Serve standard input until it ends."""
    DBusGMainLoop(set_as_default=True)
    client = Client(sys.argv[1])
    loop = GLib.MainLoop()

    def read(_fd: int, _condition: int) -> bool:
        line = sys.stdin.readline()
        if line:
            print(json.dumps(client.answer(json.loads(line))), flush=True)
        else:
            loop.quit()
        return bool(line)

    GLib.io_add_watch(sys.stdin.fileno(), GLib.PRIORITY_LOW, GLib.IO_IN | GLib.IO_HUP, read)
    print("ready", flush=True)
    loop.run()


if __name__ == "__main__":
    main()
