"""Read the history that a device hands over with the probe.

The device's times are seconds since its boot; they become times of the controller's clock by their
age at the moment the reply came, so a device with a wrong clock is labelled rightly all the same.
"""

from __future__ import annotations

from typing import Any, Iterable, Mapping

MINUTE_S = 60
NOTHING: dict[str, Any] = {
    "clock_off_s": None,
    "minutes": {},
    "days": [],
    "excursions": [],
    "events": [],
}


def read(reply: Any, received_at: float) -> dict[str, Any] | None:
    """Minutes by column, days, excursions and events; times in s since 1970.

    ``minutes`` holds a list for each field, ``at`` (when a minute began) among them, or nothing. A
    device that was not asked gives ``None``, one whose history makes no sense :data:`NOTHING`.
    """
    try:
        return None if reply is None else _read(reply, received_at)
    except (AttributeError, KeyError, TypeError, ValueError):
        return dict(NOTHING)


def _read(reply: Mapping[str, Any], received_at: float) -> dict[str, Any]:
    boot_at = received_at - float(reply["monotonic_s"])

    def at(seconds: float) -> int:
        return round(boot_at + seconds)

    minutes = _columns(reply, "minutes")
    if minutes:
        minutes = {"at": [at(MINUTE_S * m) for m in minutes.pop("minute")], **minutes}
    days = _columns(reply, "days")
    excursions = [*reply.get("excursions", []), *reply.get("open", [])]
    return {
        "clock_off_s": round(float(reply["clock_s"]) - received_at),
        "minutes": minutes,
        "days": [dict(zip(days, row)) for row in zip(*days.values())],
        "excursions": [
            {"limit": limit, "at": at(start_s), "length_s": length_s, "above_w": above_w}
            for limit, start_s, length_s, above_w in excursions
        ],
        "events": [{"at": at(at_s), "text": str(text)} for at_s, text in reply.get("events", [])],
    }


def sums(column: Iterable[Any]) -> list[Any]:
    """A column of differences as the numbers that it was made of."""
    told: list[Any] = []
    total: float = 0
    for value in column:
        if value is None or isinstance(value, str):
            told.append(value)
        else:
            total += value
            total = total if isinstance(total, int) else round(total, 3)
            told.append(total)
    return told


def _columns(reply: Mapping[str, Any], rows: str) -> dict[str, list[Any]]:
    columns = map(sums, reply.get(rows, []))
    return dict(zip(reply.get(rows + "_fields", []), columns))
