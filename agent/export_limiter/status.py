"""The status that people, playbooks and other programs read: one flat, stable object."""

from __future__ import annotations

import math
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence

from export_limiter import victron
from export_limiter.config import Config
from export_limiter.inverters import Site
from export_limiter.judgement import Judgement
from export_limiter.limiter import FAILSAFE, Limiter
from export_limiter.limits import Measurement
from export_limiter.measuring import signalled_phase_w
from export_limiter.methods import (
    ControlPoint,
    Methods,
    Verdict,
    applied_w,
    limit_of,
    override_holder,
)
from export_limiter.writes import Writer

TELL_S = 5.0
TOLD_AT_ONCE = """
    state reason enforceable method control_point cap_w written_w binding
    given_up last_refusal stored_writes_at
""".split()
HUNTING = "the cap was hunting: set meter_delay_s to the meter's delay"


class Identity(NamedTuple):
    """Which program this is; ``commit`` is known inside a release only."""

    version: str
    commit: Optional[str]
    pid: int
    started_at: float


class Telling:
    """Which statuses are published: at once what people and our next run wait for, else few.

    A file and a signal each second would be most of what the agent costs its device.
    """

    def __init__(self) -> None:
        self._told: Dict[str, Any] = {}
        self._told_at = -math.inf

    def due(self, status: Dict[str, Any], now: float) -> bool:
        """Whether to publish this one; ``now`` is monotonic, s."""
        same = all(status[name] == self._told.get(name) for name in TOLD_AT_ONCE)
        if same and now - self._told_at < TELL_S:
            return False
        self._told, self._told_at = status, now
        return True


def build(
    identity: Identity,
    config: Config,
    judgement: Judgement,
    measurement: Measurement,
    site: Site,
    methods: Methods,
    limiter: Limiter,
    writer: Writer,
    notes: Sequence[Optional[str]],
    ticks: int,
    wall_clock_s: float,
    now: float,
    state_since: float,
) -> Dict[str, Any]:
    """The content of ``status.json``: powers in W, wall-clock times in s since 1970.

    ``now`` and ``state_since`` are monotonic; ``notes`` are warnings of whoever has one.
    """
    verdict = methods.chosen
    point = verdict.point if verdict and verdict.usable else None
    refused_at = writer.last_refused_at
    output_limited = config.max_multiplus_output_w is not None
    hunting = HUNTING if limiter.hunting else None
    noted = [note for note in (hunting, *notes, _unable(judgement, verdict)) if note]
    return {
        **identity._asdict(),
        "updated_at": wall_clock_s,
        "state": judgement.state,
        "state_since": wall_clock_s - (now - state_since),
        "reason": judgement.reason,
        "enforceable": judgement.enforceable,
        "dry_run": config.dry_run,
        "method": verdict.method if point and verdict else None,
        "control_point": str(point) if point else None,
        "cap_w": judgement.cap_w,
        "written_w": writer.written_w,
        "binding": judgement.binding,
        "measured_w": measurement.output_w if output_limited else measurement.export_w,
        "inverter_output_w": measurement.output_w,
        "grid_export_w": measurement.export_w,
        "limits": {
            "max_multiplus_output_w": config.max_multiplus_output_w,
            "max_grid_export_w": config.max_grid_export_w,
        },
        "phases": _phases(site, measurement),
        "inverters": [inverter._asdict() for inverter in site.describe()],
        "others": others(site),
        "warnings": noted + warnings_of(config, site, point, measurement),
        "counters": {
            "ticks": ticks,
            "failsafe_entries": limiter.failsafe_entries,
            "writes": writer.writes,
            "stored_writes": writer.stored_writes,
            "refused_writes": writer.refused_writes,
        },
        "given_up": [{"method": m, "reason": why} for m, why in methods.given_up(now).items()],
        "last_refusal": writer.last_refusal or None,
        "last_refusal_at": None if refused_at is None else wall_clock_s - (now - refused_at),
        "stored_writes_at": list(writer.stored_at),
    }


def written_by(earlier: Mapping[str, Any]) -> Dict[str, float]:
    """What the run that told this status had in force, W by control point; an old one its cap."""
    point, written_w = earlier.get("control_point"), earlier.get("written_w", earlier.get("cap_w"))
    return {point: written_w} if point and written_w is not None else {}


def others(site: Site) -> Dict[str, Any]:
    """What else limits this site: Victron's own settings, and who holds the override, W and A."""
    single = site.single
    return {
        "applied_w": applied_w(site),
        "setting_w": limit_of(single(victron.SETTINGS, victron.SETTING_MAX_DISCHARGE)),
        "override_w": limit_of(single(victron.HUB4, victron.OVERRIDE_MAX_DISCHARGE)),
        "override_holder": override_holder(site),
        "hub4_mode": single(victron.SETTINGS, victron.SETTING_HUB4_MODE),
        "max_feed_in_w": limit_of(single(victron.SETTINGS, victron.SETTING_MAX_FEED_IN)),
        "export_limit_a": limit_of(single(victron.SETTINGS, victron.SETTING_EXPORT_LIMIT_A)),
    }


def warnings_of(
    config: Config, site: Site, point: Optional[ControlPoint], measurement: Measurement
) -> List[str]:
    """What an installer should look at, though the agent goes on."""
    found = _of_phases(config, point, measurement)
    if measurement.inverter_gone:
        found.append(
            "an inverter is gone: what it delivers is not known, so the cap keeps the room that it "
            "had until the inverter is back or the agent starts anew"
        )
    if config.max_grid_export_w is not None and point is not None and point.stored:
        found.append(
            "the export limit is a fixed cap, failsafe_limit_w: a setting on flash can't follow "
            "the grid meter"
        )
    main = site.main_inverter()
    if main is None:
        return found
    nominal_w = site.power(main, victron.NOMINAL_POWER)
    limit_w = config.max_multiplus_output_w
    if limit_w is not None and nominal_w and limit_w > nominal_w:
        found.append(
            "max_multiplus_output_w %.0f W is above the %.0f W installed" % (limit_w, nominal_w)
        )
    phases = len(site.phases(main))
    shared = config.phase_count != 3 or config.per_phase  # two phases have no count of their own
    if phases and phases != config.phase_count and (phases != 2 or shared):
        found.append("phase_count is %d, the inverter has %d" % (config.phase_count, phases))
    if len(site.inverters()) > 1:
        found.append("more than one VE.Bus system: only %s can be limited" % main)
    return found


def _unable(judgement: Judgement, verdict: Optional[Verdict]) -> Optional[str]:
    """What failsafe alone does not say: that nothing would be limited with measurements either."""
    if verdict is None or verdict.enforceable or judgement.state != FAILSAFE:
        return None
    return "the output can't be limited either: %s" % verdict.reason


def _of_phases(
    config: Config, point: Optional[ControlPoint], measurement: Measurement
) -> List[str]:
    followed = config.per_phase is True or config.max_grid_export_w is not None
    if not config.per_phase or not followed or point is None or len(point.paths) > 1:
        return []
    found = [
        "per_phase at a control point for the total: a load step may exceed a phase's share "
        'until the cap has followed; "strict" holds the total output to one share'
    ]
    output_known = measurement.controlled_w is None or measurement.phase_outputs_w
    export_known = measurement.export_w is None or measurement.phase_exports_w
    if not output_known or (config.max_grid_export_w is not None and not export_known):
        found.append(
            "per_phase: the power of each phase is not known, so no share is kept and the cap "
            "never rises"
        )
    return found


def _phases(site: Site, measurement: Measurement) -> List[Dict[str, Any]]:
    """Each phase: polled where the phases are limited, else its output as last signalled."""
    main = site.main_inverter()
    if main is None:
        return []
    names = site.phases(main)
    outputs_w: Sequence[Optional[float]] = measurement.phase_outputs_w
    if len(outputs_w) != len(names):
        outputs_w = [signalled_phase_w(site, main, phase) for phase in names]
    exports_w: Sequence[Optional[float]] = measurement.phase_exports_w
    if len(exports_w) != len(names):
        exports_w = [None] * len(names)
    return [
        {"phase": phase, "inverter_output_w": output_w, "grid_export_w": export_w}
        for phase, output_w, export_w in zip(names, outputs_w, exports_w)
    ]
