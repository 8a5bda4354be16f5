"""Numbers as people read them; templates/page/formats.js does the same in the browser."""

from __future__ import annotations

import datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

NOTHING = "–"


def power(value_w: float | None) -> str:
    """Kilowatts."""
    return NOTHING if value_w is None else f"{_fixed(value_w / 1000, 2)} kW"


def energy(value_wh: float | None) -> str:
    """Watt-hours, or kilowatt-hours from a thousand on."""
    if value_wh is None:
        return NOTHING
    return f"{_fixed(value_wh, 1)} Wh" if value_wh < 1000 else f"{_fixed(value_wh / 1000, 2)} kWh"


def duration(value_s: float | None) -> str:
    """Seconds, minutes from two on, hours from two on."""
    if value_s is None:
        return NOTHING
    if abs(value_s) < 120:
        return f"{_fixed(value_s, 0)} s"
    if abs(value_s) < 7200:
        return f"{_fixed(value_s / 60, 0)} min"
    return f"{_fixed(value_s / 3600, 1)} h"


def moment(value_s: float | None) -> str:
    """A time in UTC; the browser shows it in the reader's own zone."""
    if value_s is None:
        return NOTHING
    at = datetime.datetime.fromtimestamp(value_s, datetime.timezone.utc)
    return at.strftime("%Y-%m-%d %H:%M UTC")


def plain(value: Any) -> str:
    """A count, a word, or yes and no."""
    if value is None or value == "":
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


KINDS = {f.__name__: f for f in (power, energy, duration, moment, plain)}


def _fixed(value: float, digits: int) -> str:
    """Rounded as JavaScript's toFixed does, which differs from Python's in a tie."""
    return str(Decimal(value).quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP))
