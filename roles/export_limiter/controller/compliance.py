"""Whether a site kept its limit: excursions as EREC G100 tells them apart, sums and percentiles."""

from __future__ import annotations

import bisect
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
MINUTES = ("measured_s", "above_s", "above_wh", "output_mean_w", "output_max_w")
SUMS = ("measured_s", "above_s", "above_wh", *BINS)
HIGHEST = ("longest_s", "highest_w", "output_max_w")


def summary(history: Mapping[str, Any], now: float) -> dict[str, Any]:
    """The last 24 hours and the last 30 days of a site, from its decoded history."""
    return {"day": day(history, now), "month": month(history, now)}


def day(history: Mapping[str, Any], now: float) -> dict[str, Any]:
    """The last 24 hours."""
    minutes = _since(history["minutes"], now - DAY_S)
    recent = [each for each in history["excursions"] if each["at"] > now - DAY_S]
    means_w = [power_w for power_w in minutes["output_mean_w"] if power_w is not None]
    found = _recent(minutes, recent)
    return {
        **found,
        "unmeasured_s": max(0, DAY_S - found["measured_s"]),
        **percentiles(means_w),
        "lockouts": lockouts(recent),
    }


def month(history: Mapping[str, Any], now: float) -> dict[str, Any]:
    """The lines of the last 30 days, and the minutes since the last of them."""
    first = date_of(now - MONTH_DAYS * DAY_S)
    days = [each for each in history["days"] if first < each["date"] <= date_of(now)]
    end = max((end_of(each["date"]) for each in days), default=0)
    recent = [each for each in history["excursions"] if each["at"] >= end]
    lines = [*days, _recent(_since(history["minutes"], end - 1), recent)]
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


def end_of(date: str) -> float:
    """When a UTC date ends."""
    begins = datetime.datetime.fromisoformat(date).replace(tzinfo=datetime.timezone.utc)
    return begins.timestamp() + DAY_S


def _kind(length_s: float) -> str:
    return BINS[0 if length_s < SHORT_S else 1 if length_s <= LONG_S else 2]


def _since(minutes: Mapping[str, Sequence[Any]], since: float) -> dict[str, Sequence[Any]]:
    """The columns of the minutes that began after a time; empty ones where there is none."""
    first = bisect.bisect_right(minutes.get("at", []), since)
    return {name: minutes.get(name, [])[first:] for name in MINUTES}


def _recent(
    minutes: Mapping[str, Sequence[Any]], excursions: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """The figures that a line of a day has too."""
    return {
        "measured_s": sum(minutes["measured_s"]),
        "above_s": sum(minutes["above_s"]),
        "above_wh": round(sum(minutes["above_wh"]), 3),
        **bins(each["length_s"] for each in excursions),
        "longest_s": max((each["length_s"] for each in excursions), default=0),
        "highest_w": max((each["above_w"] for each in excursions), default=0),
        "output_max_w": _highest(minutes["output_max_w"]),
    }


def _highest(values: Iterable[float | None]) -> float | None:
    return max((value for value in values if value is not None), default=None)
