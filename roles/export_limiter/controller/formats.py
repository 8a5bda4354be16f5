"""Numbers as people read them; templates/page/formats.js does the same in the browser."""

from __future__ import annotations

import datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

NOTHING = "–"
ESS_MODES = {1: "total of the phases", 2: "each phase by itself", 3: "external control"}


def power(value_w: float | None) -> str:
    """Kilowatts."""
    return NOTHING if value_w is None else f"{_fixed(value_w / 1000, 2)} kW"


def exchange(value_w: float | None) -> str:
    """Kilowatts fed into the grid, where positive, or drawn from it."""
    if not value_w:
        return power(value_w)
    return f"{power(abs(value_w))} {'fed in' if value_w > 0 else 'drawn'}"


def current(value_a: float | None) -> str:
    """Amperes."""
    return NOTHING if value_a is None else f"{_fixed(value_a, 1)} A"


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


def mode(value: float | None) -> str:
    """Hub4Mode, which is how ESS looks at the phases."""
    if value is None:
        return NOTHING
    known = ESS_MODES.get(int(value))
    return f"{int(value)}: {known}" if known else str(int(value))


def plain(value: Any) -> str:
    """A count, a word, or yes and no."""
    if value is None or value == "":
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


KINDS = {f.__name__: f for f in (power, exchange, current, energy, duration, moment, mode, plain)}


def _fixed(value: float, digits: int) -> str:
    """Rounded as JavaScript's toFixed does, which differs from Python's in a tie."""
    return str(Decimal(value).quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP))
