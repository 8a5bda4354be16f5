"""Whether a site kept its limit: excursions as EREC G100 tells them apart, sums and percentiles."""

from __future__ import annotations

import datetime
import statistics
from typing import Any, Iterable, Mapping, Sequence

STATEMENT = (
    "This is evidence from the site's own measurements, not a certification: nothing here was"
    " measured by a calibrated meter, and no type approval follows from it. Above the limit counts"
    " what a power meter would show as above it: more than 25 W, or 0.2 % of the limit where that"
    " is more. Time without usable measurements is not counted, and is named as such."
)
DAY_S = 86400
MONTH_DAYS = 30
SHORT_S, LONG_S = 15, 60  # EREC G100: below 15 s, 15 to 60 s, above 60 s
# What would lock a G100 scheme out: one above 60 s, two of 15 s within 10 min, four in 24 h.
PAIR_WITHIN_S = 600
MOST_A_DAY = 3

BINS = ("below_15_s", "from_15_to_60_s", "above_60_s")
SUMS = ("measured_s", "above_s", "above_wh", *BINS)
HIGHEST = ("longest_s", "highest_w", "output_max_w")


def summary(history: Mapping[str, Any], now: float) -> dict[str, Any]:
    """The last 24 hours and the last 30 days of a site, from its decoded history."""
    return {"day": day(history, now), "month": month(history, now)}


def day(history: Mapping[str, Any], now: float) -> dict[str, Any]:
    """The last 24 hours."""
    minutes = _rows(history["minutes"], now - DAY_S)
    recent = [each for each in history["excursions"] if each["at"] > now - DAY_S]
    means_w = [row["output_mean_w"] for row in minutes if row["output_mean_w"] is not None]
    return {
        **_sums(minutes),
        **bins(each["length_s"] for each in recent),
        "unmeasured_s": max(0, DAY_S - sum(row["measured_s"] for row in minutes)),
        "longest_s": max((each["length_s"] for each in recent), default=0),
        "highest_w": max((each["above_w"] for each in recent), default=0),
        **percentiles(means_w),
        "output_max_w": _highest(row["output_max_w"] for row in minutes),
        "lockouts": lockouts(recent),
    }


def month(history: Mapping[str, Any], now: float) -> dict[str, Any]:
    """The lines of the last 30 days, and the minutes since the last of them."""
    first = date_of(now - MONTH_DAYS * DAY_S)
    days = [each for each in history["days"] if first < each["date"] <= date_of(now)]
    last = max((each["date"] for each in days), default="")
    minutes = [row for row in _rows(history["minutes"], 0) if date_of(row["at"]) > last]
    recent = [each for each in history["excursions"] if date_of(each["at"]) > last]
    today = {
        **_sums(minutes),
        **bins(each["length_s"] for each in recent),
        "longest_s": max((each["length_s"] for each in recent), default=0),
        "highest_w": max((each["above_w"] for each in recent), default=0),
        "output_max_w": _highest(row["output_max_w"] for row in minutes),
    }
    lines = [*days, today]
    return {
        "days": len(days),
        **{name: round(sum(line[name] or 0 for line in lines), 3) for name in SUMS},
        **{name: _highest(line[name] for line in lines) for name in HIGHEST},
    }


def bins(lengths_s: Iterable[float]) -> dict[str, int]:
    """How many excursions of each kind."""
    kinds = [_kind(length_s) for length_s in lengths_s]
    return {name: kinds.count(name) for name in BINS}


def percentiles(powers_w: Sequence[float]) -> dict[str, float | None]:
    """Half, nearly all and all but one in a hundred of the minutes had no more, W."""
    names = {"output_p50_w": 50, "output_p95_w": 95, "output_p99_w": 99}
    if len(powers_w) < 2:
        return dict.fromkeys(names)
    cuts = statistics.quantiles(powers_w, n=100, method="inclusive")
    return {name: round(cuts[percent - 1]) for name, percent in names.items()}


def lockouts(excursions: Sequence[Mapping[str, Any]]) -> list[str]:
    """For what a scheme that follows EREC G100 would have switched the site off, in words."""
    counted = sorted((e for e in excursions if e["length_s"] >= SHORT_S), key=lambda e: e["at"])
    found = []
    if any(each["length_s"] > LONG_S for each in counted):
        found.append("an excursion above 60 s")
    if any(b["at"] - a["at"] <= PAIR_WITHIN_S for a, b in zip(counted, counted[1:])):
        found.append("two excursions of 15 s or more within 10 min")
    if len(counted) > MOST_A_DAY:
        found.append("more than three excursions of 15 s or more in 24 h")
    return found


def date_of(at: float) -> str:
    """The UTC date of a time."""
    return datetime.datetime.fromtimestamp(at, datetime.timezone.utc).strftime("%Y-%m-%d")


def _kind(length_s: float) -> str:
    return BINS[0 if length_s < SHORT_S else 1 if length_s <= LONG_S else 2]


def _rows(minutes: Mapping[str, Sequence[Any]], since: float) -> list[dict[str, Any]]:
    rows = [dict(zip(minutes, row)) for row in zip(*minutes.values())]
    return [row for row in rows if row["at"] > since]


def _sums(minutes: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    rows = list(minutes)
    names = ("measured_s", "above_s", "above_wh")
    return {name: round(sum(row[name] for row in rows), 3) for name in names}


def _highest(values: Iterable[float | None]) -> float | None:
    return max((value for value in values if value is not None), default=None)
