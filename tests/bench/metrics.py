"""What a run is judged by, from `START_S` to `END_S`: energies in Wh, powers in W, times in s."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from bench.loop import DT_S, Run, Sample
from bench.profiles import START_S

ABOVE_W = 20.0  # less is within what a meter can tell
TAIL_S = 120.0  # the end of a run: what still swings there swings for ever
JOULES_PER_WH = 3600.0
BINS_S = (5.0, 15.0, 60.0)


class Metrics(NamedTuple):
    """One run in figures; `excursions` counts those below 5, 15 and 60 s, and longer ones.

    `first_reduction_s` is how long it took the limited power to come down from the peak of the
    first excursion, `comply_s` from its start to the end of the last one, `swing_w` the distance
    between the highest and the lowest limited power in the last two minutes. `settings_writes`
    are those to flash; the law at a control point in RAM makes none.
    """

    exceed_wh: float
    overcurtail_wh: float
    above_s: float
    excursions: tuple[int, int, int, int]
    longest_s: float
    first_reduction_s: float | None
    comply_s: float | None
    peak_w: float
    largest_fall_w: float
    largest_rise_w: float
    writes: int
    travel_w: float
    settings_writes: int
    swing_w: float


def measure(run: Run) -> Metrics:
    """The figures of a run."""
    samples = [each for each in run.samples if each.t_s >= START_S - 1e-6]
    writes = [each for each in run.writes if each.t_s >= START_S - 1e-6]
    above = [_excess_w(each) for each in samples if _excess_w(each) > ABOVE_W]
    excursions = _excursions(samples)
    lengths = [len(each) * DT_S for each in excursions]
    tail = [each.limited_w for each in samples if each.t_s >= samples[-1].t_s - TAIL_S]
    short = sum((each.allowed_w - each.output_w for each in samples if _short(each)), 0.0)
    return Metrics(
        exceed_wh=sum(above) * DT_S / JOULES_PER_WH,
        overcurtail_wh=short * DT_S / JOULES_PER_WH,
        above_s=len(above) * DT_S,
        excursions=_bins(lengths),
        longest_s=max(lengths, default=0.0),
        first_reduction_s=_first_reduction_s(excursions[0]) if excursions else None,
        comply_s=excursions[-1][-1].t_s + DT_S - excursions[0][0].t_s if excursions else None,
        peak_w=max(above, default=0.0),
        largest_fall_w=max([0.0, *(each.before_w - each.after_w for each in writes)]),
        largest_rise_w=max([0.0, *(each.after_w - each.before_w for each in writes)]),
        writes=len(writes),
        travel_w=sum(abs(each.after_w - each.before_w) for each in writes),
        settings_writes=0,
        swing_w=max(tail) - min(tail),
    )


def _excess_w(sample: Sample) -> float:
    return sample.limited_w - sample.limit_w


def _short(sample: Sample) -> bool:
    return sample.allowed_w > sample.output_w


def _excursions(samples: Sequence[Sample]) -> list[list[Sample]]:
    """Each unbroken time above the limit."""
    found: list[list[Sample]] = []
    before = False
    for sample in samples:
        is_above = _excess_w(sample) > ABOVE_W
        if is_above and not before:
            found.append([])
        if is_above:
            found[-1].append(sample)
        before = is_above
    return found


def _bins(lengths: Sequence[float]) -> tuple[int, int, int, int]:
    counts = [0, 0, 0, 0]
    for length in lengths:
        counts[sum(length >= edge - 1e-6 for edge in BINS_S)] += 1
    return counts[0], counts[1], counts[2], counts[3]


def _first_reduction_s(excursion: Sequence[Sample]) -> float:
    """Until the power has fallen from its highest so far by more than a meter's doubt."""
    peak_w = 0.0
    for sample in excursion:
        peak_w = max(peak_w, _excess_w(sample))
        if _excess_w(sample) < peak_w - ABOVE_W:
            return sample.t_s - excursion[0].t_s
    return len(excursion) * DT_S
