"""Text for a technician at the device: what is measured, what limits, who else limits."""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Sequence

from export_limiter import victron
from export_limiter.inverters import Site
from export_limiter.judgement import STOPPING
from export_limiter.limiter import NO_METER
from export_limiter.measuring import signalled_phase_w
from export_limiter.methods import Verdict
from export_limiter.status import others

STALE_S = 15.0  # a running agent tells its status each 5 s
NEAR_SHARE = 0.9  # of an input's current limit
SINCE_START = (
    "%(ticks)d ticks, %(writes)d writes (%(stored_writes)d stored, %(refused_writes)d refused), "
    "failsafe %(failsafe_entries)d times"
)
OTHERS = {
    "applied_w": "in force %.0f W",
    "setting_w": "GUI setting %.0f W",
    "override_w": "override %.0f W",
    "override_holder": "override held by %s",
    "max_feed_in_w": "grid feed-in limit %.0f W",
    "export_limit_a": "grid export limit %g A per phase",
}
OWN = ("applied_w", "setting_w", "override_w")  # of others, where our own cap stands as well


def running(status: Dict[str, Any], age_s: float, alive: bool = True) -> bool:
    """Whether an agent stands behind its status: its process lives, and told it ``age_s`` ago."""
    return alive and abs(age_s) <= STALE_S and status["state"] != STOPPING


def status_screen(status: Dict[str, Any], age_s: float, alive: bool = True) -> str:
    """The agent's status on one screen, as its last words where it does not run."""
    lines = _status_lines(status, age_s)
    if not running(status, age_s, alive):
        dead = "the agent is NOT running (last heard %s ago)" % _duration(age_s)
        lines = [dead, "its last words:", *("  " + line for line in lines)]
    return "\n".join(lines)


def _status_lines(status: Dict[str, Any], age_s: float) -> List[str]:
    limits, phases = status["limits"], status["phases"]
    since_s = age_s + status["updated_at"] - status["state_since"]
    told = _duration(since_s), age_s, status["version"]
    output = _w(status["inverter_output_w"]), _w(limits["max_multiplus_output_w"])
    export = _w(status["grid_export_w"]), _w(limits["max_grid_export_w"])
    others_alone = {**status["others"], **dict.fromkeys(_own(status["others"], status))}
    rows = [
        ("for", "%s, as of %.0f s ago, version %s" % told),
        ("inverter output", "%s   limit %s" % output),
        ("grid export", "%s   limit %s" % export),
        ("cap", _w(status["cap_w"]) + (", binding" if status["binding"] else "")),
        ("enforceable", "yes" if status["enforceable"] else "no"),
        ("method", "%s at %s" % (status["method"] or "none", status["control_point"] or "-")),
        *((phase["phase"], _phase(phase)) for phase in phases if len(phases) > 1),
        *((inverter["service"], _inverter(inverter)) for inverter in status["inverters"]),
        *(("others", text) for text in _others(others_alone, ())),
        *(("warning", text) for text in status["warnings"]),
        *(("given up", "%(method)s: %(reason)s" % each) for each in status["given_up"]),
    ]
    if status["last_refusal"]:
        ago = _duration(age_s + status["updated_at"] - status["last_refusal_at"])
        rows.append(("refused", "%s, %s ago" % (status["last_refusal"], ago)))
    rows.append(("since start", SINCE_START % status["counters"]))
    return ["%(state)s: %(reason)s" % status, *("  %-16s %s" % row for row in rows)]


def discover_report(
    site: Site, verdicts: List[Verdict], status: Optional[Dict[str, Any]] = None
) -> Dict[str, Any]:
    """What is here and what each method could do; ``status`` is that of an agent that runs here."""
    other = others(site)
    return {
        "inverters": [
            {**inverter._asdict(), "output_w": _output_w(site, inverter.service)}
            for inverter in site.describe()
        ],
        "meters": site.names(victron.GRID),
        "meter_lost": site.meter_lost(),
        "multi_rs": site.multi_rs(),
        "pv_inverters": site.names(victron.PVINVERTER),
        "would_use": next((v.method for v in verdicts if v.enforceable), None),
        "methods": [
            {
                "method": v.method,
                "enforceable": v.enforceable,
                "control_point": str(v.point) if v.point else None,
                "reason": v.reason,
            }
            for v in verdicts
        ],
        "others": other,
        "own": [] if status is None else _own(other, status),
    }


def discover_screen(report: Dict[str, Any]) -> str:
    """The report for people."""
    lines = ["inverters:"]
    lines += ["  %s  %s" % (i["service"], _inverter(i)) for i in report["inverters"]] or ["  none"]
    lines += ["  %s  a Multi RS can't be limited" % name for name in report["multi_rs"]]
    without = NO_METER if report["meter_lost"] else "none, the AC input is used"
    lines += ["grid meter: %s" % (", ".join(report["meters"]) or without)]
    lines += ["methods:"]
    for method in report["methods"]:
        able = "can act at %(control_point)s" if method["enforceable"] else "no: %(reason)s"
        lines.append("  %-18s %s" % (method["method"], able % method))
    lines += ["would use: %s" % (report["would_use"] or "nothing, the limit can't be kept")]
    lines += ["others: %s" % text for text in _others(report["others"], report["own"])]
    return "\n".join(lines)


def _inverter(inverter: Dict[str, Any]) -> str:
    if not inverter["connected"]:
        return "no unit connected"
    phases = inverter["phase_count"]
    return "%s, %s%s, nominal %s%s%s" % (
        inverter["product"] or "unknown product",
        "phases unknown" if phases is None else "%d phase%s" % (phases, "s" * (phases != 1)),
        ", delivers %s" % _w(inverter["output_w"]) if "output_w" in inverter else "",
        _w(inverter["nominal_w"]),
        "" if inverter["main"] else ", not controlled by ESS",
        _input(inverter["input_a"], inverter["input_limit_a"]),
    )


def _phase(phase: Dict[str, Any]) -> str:
    export_w = phase["grid_export_w"]
    export = "" if export_w is None else "   export %s" % _w(export_w)
    return _w(phase["inverter_output_w"]) + export


def _input(current_a: Optional[float], limit_a: Optional[float]) -> str:
    """An input at its limit makes the inverter assist, whatever the cap says."""
    if current_a is None or not limit_a or current_a < NEAR_SHARE * limit_a:
        return ""
    return ", AC input at %.1f A of its %g A limit" % (current_a, limit_a)


def _output_w(site: Site, name: str) -> Optional[float]:
    """What an inverter delivers, by the newest signals: for people."""
    phases_w = [signalled_phase_w(site, name, phase) for phase in site.phases(name)]
    known_w = [phase_w for phase_w in phases_w if phase_w is not None]
    return sum(known_w) if known_w and len(known_w) == len(phases_w) else None


def _own(other: Dict[str, Any], status: Dict[str, Any]) -> List[str]:
    """Which of ``other`` are only the cap and the backstop of the agent whose status this is."""
    if status["dry_run"]:
        return []
    own_w = [status.get("written_w"), status["limits"]["max_multiplus_output_w"]]
    return [key for key in OWN if other[key] is not None and other[key] in own_w]


def _others(other: Dict[str, Any], own: Sequence[str]) -> List[str]:
    """What else limits."""
    shown = {key: text % other[key] for key, text in OTHERS.items() if other[key] is not None}
    return [text + (", our own cap" if key in own else "") for key, text in shown.items()]


def _duration(seconds: float) -> str:
    for unit, size_s in (("d", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * size_s:
            return "%.0f %s" % (seconds / size_s, unit)
    return "%.0f s" % seconds


def _w(power_w: Optional[float]) -> str:
    return "---" if power_w is None else "%d W" % round(power_w)  # never -0 W
