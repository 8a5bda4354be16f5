"""Times above a limit, and sums over a minute or a day of ticks; powers in W, times in s.

EREC G100 counts excursions one after the other: no averaging.
"""

from __future__ import annotations

from typing import Any, List, Mapping, NamedTuple, Optional, Tuple

# A minute is as bad as the worst state that was in it; these rise in badness.
QUIET_STATES = ("monitoring", "relaxing", "limiting")
STATES = (*QUIET_STATES, "stopping", "starting", "failsafe", "not_enforceable")
# EREC G100 tells apart below 15 s, 15 to 60 s and above 60 s.
SHORT_S, LONG_S = 15.0, 60.0

# What counts as above a limit: what a good power meter would show as above it.
TOLERANCE_W = 25.0
TOLERANCE_SHARE = 0.002

# What :meth:`Sums.columns` gives.
COLUMNS = (
    *("measured_s", "output_min_w", "output_mean_w", "output_max_w"),
    *("export_mean_w", "export_max_w", "above_s", "above_wh"),
)


class Reading(NamedTuple):
    """One tick, W; ``None`` where there is no usable measurement, or no such limit.

    ``over_output_w`` and ``over_export_w`` are measured minus limit.
    """

    state: str
    cap_w: Optional[float] = None
    output_w: Optional[float] = None
    export_w: Optional[float] = None
    over_output_w: Optional[float] = None
    over_export_w: Optional[float] = None


class Excursion(NamedTuple):
    """A time above a limit: which one, from when (monotonic), how long, the most above it."""

    limit: str
    start_s: float
    length_s: float
    highest_w: float


class Watch:
    """One limit; ``open`` is the excursion that has not ended yet."""

    def __init__(self, name: str, limit_w: Optional[float]) -> None:
        self.name = name
        self.limit_w = limit_w
        self.open: Optional[Excursion] = None

    def note(
        self, over_w: Optional[float], now: float, seconds: float
    ) -> Tuple[float, Optional[Excursion]]:
        """How far above the limit, W, and the excursion that ended.

        ``over_w`` is measured minus limit and stands for the ``seconds`` before ``now``; zero
        seconds say that nothing is known of what was before, which ends an excursion as well.
        """
        before = self.open
        tolerance_w = max(TOLERANCE_W, TOLERANCE_SHARE * (self.limit_w or 0.0))
        if over_w is None or over_w <= tolerance_w:
            self.open = None
            return 0.0, before
        if before is None or not seconds:
            self.open = Excursion(self.name, round(now - seconds, 1), round(seconds, 1), over_w)
            return over_w, before
        length_s = round(now - before.start_s, 1)
        self.open = before._replace(length_s=length_s, highest_w=max(before.highest_w, over_w))
        return over_w, None


class Sums:
    """A minute or a day; ``measured_s`` of it had usable measurements."""

    def __init__(self, values: Optional[Mapping[str, Any]] = None) -> None:
        self.measured_s = self.output_ws = self.export_ws = self.above_s = self.above_ws = 0.0
        self.output_min_w: Optional[float] = None
        self.output_max_w: Optional[float] = None
        self.export_max_w: Optional[float] = None
        self.states_s = [0.0] * len(STATES)
        self.ended = [0, 0, 0]
        self.longest_s = self.highest_w = 0.0
        if values is not None:
            vars(self).update({name: _like(values[name], own) for name, own in vars(self).items()})

    def add(self, reading: Reading, seconds: float, above_w: float) -> None:
        """A reading that stands for ``seconds``, and how far it is above a limit."""
        self.states_s[STATES.index(reading.state)] += seconds
        if reading.output_w is None:
            return
        self.measured_s += seconds
        self.output_ws += reading.output_w * seconds
        self.output_min_w = min(_known(self.output_min_w, reading.output_w))
        self.output_max_w = max(_known(self.output_max_w, reading.output_w))
        if reading.export_w is not None:
            self.export_ws += reading.export_w * seconds
            self.export_max_w = max(_known(self.export_max_w, reading.export_w))
        if above_w > 0:
            self.above_s += seconds
            self.above_ws += above_w * seconds

    def count(self, excursion: Excursion) -> None:
        """An excursion has ended."""
        length_s = excursion.length_s
        self.ended[0 if length_s < SHORT_S else 1 if length_s <= LONG_S else 2] += 1
        self.longest_s = max(self.longest_s, length_s)
        self.highest_w = max(self.highest_w, excursion.highest_w)

    def worst(self) -> str:
        """The worst state there was."""
        return STATES[max(i for i, seconds in enumerate(self.states_s) if i == 0 or seconds > 0)]

    def columns(self) -> List[Any]:
        """The values of :data:`COLUMNS`."""
        mean_w = export_w = None
        if self.measured_s:  # a first reading stands for no time
            mean_w = self.output_ws / self.measured_s
            export_w = None if self.export_max_w is None else self.export_ws / self.measured_s
        powers = (self.output_min_w, mean_w, self.output_max_w, export_w, self.export_max_w)
        above = (round(self.above_s), round(self.above_ws / 3600, 3))
        return [round(self.measured_s), *map(whole, powers), *above]


def whole(power_w: Optional[float]) -> Optional[int]:
    """Whole watts are what a meter gives."""
    return None if power_w is None else round(power_w)


def _like(value: Any, own: Any) -> Any:
    """A value that an earlier run left, which must be of our own's kind."""
    if not isinstance(own, list):
        return None if own is None and value is None else float(value)
    if len(value) != len(own):
        raise ValueError("%d values, not %d" % (len(value), len(own)))
    return [type(zero)(each) for each, zero in zip(value, own)]


def _known(*values: Optional[float]) -> List[float]:
    return [value for value in values if value is not None]
