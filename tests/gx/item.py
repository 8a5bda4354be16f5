"""Values and items of a simulated service, as velib and its clients see them on the wire."""

from __future__ import annotations

import math
from collections.abc import Callable

import dbus

Value = float | int | str | list | None

_WIRE = {
    "d": dbus.Double,
    "i": dbus.Int32,
    "u": dbus.UInt32,
    "n": dbus.Int16,
    "q": dbus.UInt16,
    "y": dbus.Byte,
    "s": dbus.String,
}
_PYTHON = {"d": float, "s": str}  # everything else is int

# What SetValue of velib answers (vedbus.py, VeDbusItemExport.SetValue).
OK, NOT_ACCEPTED, REFUSED = 0, 1, 2


def wire(value: Value, kind: str = "d") -> object:
    """Wrap a value as the variant that velib sends; None is an empty array of int32."""
    if value is None:
        return dbus.Array([], signature="i", variant_level=1)
    if isinstance(value, list):
        return dbus.Array(value, signature="y", variant_level=1)
    if isinstance(value, float) and not math.isfinite(value):
        kind = "d"
    return _WIRE[kind](value, variant_level=1)


def unwire(value: object) -> Value:
    """Turn a received D-Bus value into a plain one; an empty array is None."""
    if isinstance(value, dbus.Array):
        return [unwire(each) for each in value] or None
    if isinstance(value, str):
        return str(value)
    return float(value) if isinstance(value, float) else int(value)


class Item:
    """One value under a path; `on_write` may refuse a new value by returning False.

    `forced` calls it for an equal value too, which plain velib does not.
    """

    def __init__(
        self,
        value: Value = None,
        kind: str = "d",
        writable: bool = False,
        on_write: Callable[[Value], bool | None] | None = None,
        forced: bool = False,
    ) -> None:
        self.value = value
        self.kind = kind
        self.writable = writable or on_write is not None
        self._on_write = on_write
        self._forced = forced

    def write(self, value: Value) -> int:
        """Do what SetValue does and return what it answers."""
        if not self.writable:
            return NOT_ACCEPTED
        try:
            value = self.coerce(value)
        except (TypeError, ValueError, OverflowError):
            return NOT_ACCEPTED
        if value == self.value and not self._forced:
            return OK
        if self._on_write and self._on_write(value) is False:
            return REFUSED
        self.value = value
        return OK

    def coerce(self, value: Value) -> Value:
        """Convert to the item's own type; None stays None."""
        return None if value is None else _PYTHON.get(self.kind, int)(value)

    def attributes(self) -> dict[str, object]:
        """Return what signals and GetItems say of this item."""
        return {"Value": wire(self.value, self.kind), "Text": self.text()}

    def text(self) -> str:
        """Return what GetText answers."""
        if self.value is None:
            return "---"
        return f"{self.value:g}" if isinstance(self.value, float) else str(self.value)

    def extra(self, member: str) -> object:
        """Answer a method that only some items have; raises KeyError for any other."""
        raise KeyError(member)
