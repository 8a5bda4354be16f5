"""Values as they travel on Venus OS' D-Bus: "no value" is an empty array of integers."""

from __future__ import annotations

import math
from typing import Any, Dict

import dbus

SIGNATURES = {"ItemsChanged": "a{sa{sv}}", "PropertiesChanged": "a{sv}"}


def wrap(value: Any) -> Any:
    """A variant of a number, a text or ``None``."""
    if value is None:
        return dbus.Array([], signature="i", variant_level=1)
    if isinstance(value, str):
        return dbus.String(value, variant_level=1)
    if isinstance(value, float):
        return dbus.Double(value, variant_level=1)
    return dbus.Int32(value, variant_level=1)


def unwrap(value: Any) -> Any:
    """A plain Python value; ``None`` for an empty array, NaN and what is no single value."""
    if isinstance(value, dbus.Boolean):
        return bool(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, int):
        return int(value)
    if isinstance(value, str):
        return str(value)
    return None


def changes_in(message: Any) -> Dict[str, Any]:
    """Values by path that a signal carries: many in the newer one, one in the older.

    A signal that is not of the shape that its name promises carries none.
    """
    member = message.get_member()
    if member not in SIGNATURES or message.get_signature() != SIGNATURES[member]:
        return {}
    content = message.get_args_list()[0]
    if member == "PropertiesChanged":
        content = {message.get_path(): content}
    return {str(p): unwrap(item["Value"]) for p, item in content.items() if "Value" in item}


def text_of(value: Any) -> str:
    """What GetText says, as velib does: "---" for no value."""
    if value is None:
        return "---"
    return "%.0f" % value if isinstance(value, float) else str(value)
