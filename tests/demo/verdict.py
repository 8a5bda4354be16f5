"""Judges from the record of a site whether its limit was held as the design says.

Every rule can fail: a load that never passed the limit, or a gap in the record, is no success.
"""

from itertools import pairwise
from typing import NamedTuple

from demo.records import Record, Row, Write

# Above the limit is what a power meter would show as above it. The cap is written in whole watts
# and confirmed to one watt, and an inverter's output stands some watts beside the command
# (4.7 W measured on a MultiPlus-II); 0.2 % is the resolution of a good power meter.
TOLERANCE_W = 25.0
TOLERANCE_SHARE = 0.002

# The ESS loop halves its error every 2.4 s, so an inverter needs some 12 s to follow the load up
# to the cap; before that the cap holds nothing, and the agent must not say that it does.
SETTLED_AFTER_S = 15.0

# A load above the limit for less than this shows nothing.
SHORTEST_EXCESS_S = 20.0

# The demo looks several times a second; in a longer gap an excess could hide.
LONGEST_GAP_S = 1.5

# What is allowed must also be delivered: a cap far below the limit holds it, and is useless.
LEAST_DELIVERED_SHARE = 0.9

# The stored backstop is one write; more would wear the flash.
MOST_STORED_WRITES = 1

CAP_PATH = "/Overrides/MaxDischargePower"


class Figures(NamedTuple):
    """The summary of one site; `largest_step_w` is None if the cap was written at most once."""

    highest_output_w: float
    highest_load_w: float
    above_limit_s: float
    above_limit_wh: float
    largest_step_w: float | None
    writes: int
    stored_writes: int


class Verdict(NamedTuple):
    """The figures, and in words every rule that was broken; none means the limit was held."""

    figures: Figures
    faults: list[str]

    @property
    def held(self) -> bool:
        """Whether no rule was broken."""
        return not self.faults


def judge(record: Record) -> Verdict:
    """Judge one site."""
    faults = [
        fault
        for rule in (_seen, _excess_was_real, _armed_in_time, _held, _stepped, _said_so, _useful)
        for fault in rule(record)
    ]
    if record.stored_writes > MOST_STORED_WRITES:
        faults.append(f"{record.stored_writes} stored writes, at most {MOST_STORED_WRITES} allowed")
    return Verdict(_figures(record), faults)


def tolerance_w(limit_w: float) -> float:
    """What counts as at the limit, W above it."""
    return max(TOLERANCE_W, TOLERANCE_SHARE * limit_w)


def _figures(record: Record) -> Figures:
    rows, limit_w = record.rows, record.site.limit_w
    above = [
        (later.t_s - row.t_s, row.output_w - limit_w)
        for row, later in pairwise(rows)
        if row.output_w > limit_w + tolerance_w(limit_w)
    ]
    steps = _cap_steps_w(record.writes)
    return Figures(
        highest_output_w=max((row.output_w for row in rows), default=0.0),
        highest_load_w=max((row.load_w for row in rows), default=0.0),
        above_limit_s=sum(seconds for seconds, _ in above),
        above_limit_wh=sum(seconds * excess_w for seconds, excess_w in above) / 3600,
        largest_step_w=max((abs(step_w) for step_w in steps), default=None),
        writes=len(record.writes),
        stored_writes=record.stored_writes,
    )


def _seen(record: Record) -> list[str]:
    if len(record.rows) < 2:
        return ["nothing was recorded"]
    gap_s = max(later.t_s - row.t_s for row, later in pairwise(record.rows))
    return [f"{gap_s:.1f} s were not recorded"] if gap_s > LONGEST_GAP_S else []


def _excess_was_real(record: Record) -> list[str]:
    excess = _rows_in_excess(record)
    lasted_s = excess[-1].t_s - excess[0].t_s if excess else 0.0
    if lasted_s >= SHORTEST_EXCESS_S:
        return []
    return [f"the load was above the limit for {lasted_s:.0f} s only, which shows nothing"]


def _armed_in_time(record: Record) -> list[str]:
    open_row = next((row for row in _rows_in_excess(record) if not _armed(record, row)), None)
    if open_row is None:
        return []
    return [f"no cap was in force at {open_row.t_s:.1f} s, with the load above the limit"]


def _held(record: Record) -> list[str]:
    limit_w = record.site.limit_w
    allowed_w = limit_w + tolerance_w(limit_w)
    armed_at_s = next((row.t_s for row in record.rows if _armed(record, row)), None)
    if armed_at_s is None:
        return ["no cap at the limit was ever in force"]
    worst = max((row for row in record.rows if row.t_s >= armed_at_s), key=lambda row: row.output_w)
    if worst.output_w <= allowed_w:
        return []
    return [
        f"{worst.output_w:.0f} W at {worst.t_s:.1f} s, above the limit of {limit_w:.0f} W "
        f"by more than {tolerance_w(limit_w):.0f} W"
    ]


def _stepped(record: Record) -> list[str]:
    allowed_w = record.site.max_step_w
    largest_w = max((abs(step_w) for step_w in _cap_steps_w(record.writes)), default=0.0)
    if largest_w <= allowed_w + 1:  # the cap is written in whole watts
        return []
    return [f"the cap changed by {largest_w:.0f} W in one step, at most {allowed_w:.0f} W allowed"]


def _said_so(record: Record) -> list[str]:
    settled = _settled(_rows_in_excess(record))
    wrong = next((row for row in settled if row.state != "limiting"), None)
    if wrong is None:
        return []
    return [f"state {wrong.state} ({wrong.reason}) at {wrong.t_s:.1f} s, not limiting"]


def _useful(record: Record) -> list[str]:
    """The output while the load wants more than the limit, once all has settled."""
    least_w = LEAST_DELIVERED_SHARE * record.site.limit_w
    lowest = min(_settled(_rows_in_excess(record)), key=lambda row: row.output_w, default=None)
    if lowest is None or lowest.output_w >= least_w:
        return []
    return [
        f"only {lowest.output_w:.0f} W at {lowest.t_s:.1f} s, "
        f"though {record.site.limit_w:.0f} W were allowed and wanted"
    ]


def _rows_in_excess(record: Record) -> list[Row]:
    """The first unbroken stretch of rows with a load above the limit."""
    wanted_w = record.site.limit_w + tolerance_w(record.site.limit_w)
    excess: list[Row] = []
    for row in record.rows:
        if row.load_w > wanted_w:
            excess.append(row)
        elif excess:
            break
    return excess


def _settled(excess: list[Row]) -> list[Row]:
    return [row for row in excess if row.t_s > excess[0].t_s + SETTLED_AFTER_S]


def _armed(record: Record, row: Row) -> bool:
    return row.cap_w is not None and row.cap_w <= record.site.limit_w + 1


def _cap_steps_w(writes: list[Write]) -> list[float]:
    caps_w = [
        write.value
        for write in writes
        if write.path == CAP_PATH and write.value is not None and write.value >= 0
    ]
    return [later_w - cap_w for cap_w, later_w in pairwise(caps_w)]
