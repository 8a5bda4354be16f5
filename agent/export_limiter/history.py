"""What happened here: the minutes, excursions and events of the last day, and a line a day before.

Times are monotonic (s since boot, the same for every process until the next boot), so a step of
the wall clock moves nothing and counts nothing twice. The wall clock only names the days.
"""

from __future__ import annotations

import json
import math
from collections import deque
from datetime import date
from typing import Any, Deque, List, Mapping, Optional, Sequence, Tuple

from export_limiter.tally import COLUMNS, STATES, Excursion, Reading, Sums, Watch, whole

DAY_S = 86400.0
MINUTE_S = 60.0
MINUTES = 1440
EXCURSIONS = 200
EVENTS = 300
EVENT_LENGTH = 160
DAYS = 90
LONGEST_GAP_S = 15.0  # a reading stands for the time since the one before, but not for longer
QUIET_EVENT_S = 600.0  # between two events that only say how the load goes
DAY_APART_S = 23 * 3600.0  # between two writes to flash, whatever the wall clock does
FIRST_DATE = "2024-01-01"  # without a clock of its own a device starts in 1970

MINUTE_FIELDS = ("minute", *COLUMNS, "cap_w", "state", "output_limit_w", "export_limit_w")
DAY_FIELDS = (
    *("date", *COLUMNS),
    *("below_15_s", "from_15_to_60_s", "above_60_s", "longest_s", "highest_w"),
    *(state + "_s" for state in STATES),
)


class Kept:
    """The newest entries, each with its time and as JSON already: they are written every minute."""

    def __init__(self, most: int) -> None:
        self._entries: Deque[Tuple[float, str]] = deque(maxlen=most)

    def add(self, at_s: float, entry: Sequence[Any]) -> None:
        """Keep one more, and drop the oldest where there are too many."""
        self._entries.append((at_s, _json(entry)))

    def since(self, oldest_s: float) -> str:
        """The list of those that are younger."""
        return "[%s]" % ",\n".join(text for at_s, text in self._entries if at_s > oldest_s)


class History:
    """Told every tick; what it returns as text is what it can go on from."""

    def __init__(self, output_limit_w: Optional[float], export_limit_w: Optional[float]) -> None:
        self._watches = (Watch("output", output_limit_w), Watch("export", export_limit_w))
        self._minutes, self._excursions, self._events = map(Kept, (MINUTES, EXCURSIONS, EVENTS))
        self._days: Deque[List[Any]] = deque(maxlen=DAYS)
        self._sums, self._day = Sums(), Sums()
        self._minute: Optional[int] = None
        self._cap_w: Optional[float] = None
        self._date = ""
        self._told_at = self._quiet_at = self._day_at = -math.inf

    def note(self, reading: Reading, now: float, wall_s: float) -> Tuple[bool, bool]:
        """One tick; whether a minute has ended, and whether a line for a day was added."""
        minute = int(now // MINUTE_S)
        minute_ended = self._minute is not None and minute != self._minute
        day_ended = minute_ended and self._end_minute(now, wall_s)
        self._minute, self._cap_w = minute, reading.cap_w
        gap_s, self._told_at = now - self._told_at, now
        seconds = gap_s if 0 < gap_s <= LONGEST_GAP_S else 0.0
        above_w = 0.0
        for watch, over_w in zip(self._watches, (reading.over_output_w, reading.over_export_w)):
            over_limit_w, ended = watch.note(over_w, now, seconds)
            above_w = max(above_w, over_limit_w)
            if ended:
                self._excursions.add(ended.start_s, ended)
                self._day.count(ended)
        for sums in (self._sums, self._day):
            sums.add(reading, seconds, above_w)
        return minute_ended, day_ended

    def event(self, text: str, now: float, quiet: bool = False) -> None:
        """Something to read later; quiet events, which a changing load makes, are kept rare."""
        if quiet and now - self._quiet_at < QUIET_EVENT_S:
            return
        self._quiet_at = now if quiet else self._quiet_at
        self._events.add(now, [int(now), text[:EVENT_LENGTH]])

    def ring(self, now: float) -> str:
        """The last 24 hours, as JSON."""
        oldest_s = now - DAY_S
        head = {
            "monotonic_s": now,
            "fields": MINUTE_FIELDS,
            "open": [watch.open for watch in self._watches if watch.open],
            "day": [self._date, None if math.isinf(self._day_at) else self._day_at],
            "sums": [self._minute, vars(self._sums), vars(self._day)],
        }
        kept = (self._excursions, self._events, self._minutes)
        lists = tuple(each.since(oldest_s) for each in kept)
        return _json(head)[:-1] + ',\n"excursions":%s,\n"events":%s,\n"minutes":%s}\n' % lists

    def days(self) -> str:
        """The days before, as JSON; for the flash."""
        rows = ",\n".join(map(_json, self._days))
        return '{"fields":%s,"days":[\n%s\n]}\n' % (_json(DAY_FIELDS), rows)

    def resume(self, ring: Mapping[str, Any], days: Mapping[str, Any], now: float) -> None:
        """Go on from what an earlier run left; what can't be read is left out."""
        try:
            self._days.extend(_columns(days.get("days", ()), days.get("fields", ()), DAY_FIELDS))
            if ring and ring["monotonic_s"] <= now:  # else another boot's
                self._resume(ring, now)
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
            self.event("an earlier history could not be read", now)

    def _resume(self, ring: Mapping[str, Any], now: float) -> None:
        for event in ring["events"]:
            self._events.add(float(event[0]), event)
        for excursion in ring["excursions"]:
            self._excursions.add(float(excursion[1]), _excursion(excursion))
        for row in _columns(ring["minutes"], ring["fields"], MINUTE_FIELDS):
            self._minutes.add(row[0] * MINUTE_S, row)
        for watch in self._watches:
            watch.open = next((_excursion(e) for e in ring["open"] if e[0] == watch.name), None)
        minute, sums, day = ring["sums"]
        self._sums, self._day = Sums(sums), Sums(day)
        self._minute = None if minute is None else int(minute)
        self._date = str(ring["day"][0])
        self._day_at = -math.inf if ring["day"][1] is None else float(ring["day"][1])
        self._told_at = float(ring["monotonic_s"])

    def _end_minute(self, now: float, wall_s: float) -> bool:
        """Close the open minute; whether a line for a day was added."""
        limits = (whole(watch.limit_w) for watch in self._watches)
        sums, self._sums = self._sums, Sums()
        minute = self._minute or 0
        row = [minute, *sums.columns(), whole(self._cap_w), sums.worst(), *limits]
        self._minutes.add(minute * MINUTE_S, row)
        return self._end_day(now, _date(wall_s))

    def _end_day(self, now: float, today: str) -> bool:
        """A day ends when the wall clock goes on to another date, and long after the last did."""
        label, self._date = self._date or today, today
        known = label in [row[0] for row in self._days]
        if today <= label or label < FIRST_DATE or known or now - self._day_at < DAY_APART_S:
            return False
        day, self._day, self._day_at = self._day, Sums(), now
        bins = (*day.ended, day.longest_s, whole(day.highest_w))
        self._days.append([label, *day.columns(), *bins, *map(round, day.states_s)])
        return True


def _excursion(row: Sequence[Any]) -> Excursion:
    return Excursion(str(row[0]), *map(float, row[1:]))


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


def _date(wall_s: float) -> str:
    """The UTC date of a clock that may be anywhere."""
    ordinal = date(1970, 1, 1).toordinal() + int(wall_s // DAY_S)
    return date.fromordinal(max(1, min(ordinal, date.max.toordinal()))).isoformat()


def _columns(rows: Any, fields: Sequence[str], wanted: Sequence[str]) -> List[List[Any]]:
    """Rows of another version, in our columns."""
    tables = (dict(zip(fields, row)) for row in rows)
    return [[row.get(name) for name in wanted] for row in tables]
