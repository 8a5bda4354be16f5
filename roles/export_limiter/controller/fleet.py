"""What is known of a fleet and of each site in it: the content of data.json.

data.schema.json beside this file says what each field means.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any, Iterable, Mapping, NamedTuple, Sequence

from . import compliance, history, series

SCHEMA = 1
STALE_S = 60  # a running agent renews its status every few seconds
# Of these every site is a member.
PLAIN_GROUPS = ("all", "ungrouped", "gx")
LIMITING = ("limiting", "relaxing")
# As the agent counts them: a minute is as bad as the worst state in it.
STATES = (
    *("monitoring", "relaxing", "limiting", "stopping", "starting"),
    *("failsafe", "not_enforceable"),
)
# Each site has the first of these that applies, but for the last, which is that of all others.
VERDICTS = (
    *("not_reached", "not_running", "dry_run", "failsafe", "not_enforceable", "exceeded"),
    "kept",
)
# How a roll-out ends for a site.
ENDS = ("confirmed", "converged", "rolled back", "failed", "pending", "not tried")


class Host(NamedTuple):
    """What the play knows of a site; ``notes`` are what is no drift but must be known.

    ``applied`` is what the device replied to a roll-out, if it was tried.
    """

    name: str
    groups: list[str]
    probe: Mapping[str, Any]
    drift: list[str]
    notes: Sequence[str] = ()
    rollout: Mapping[str, Any] | None = None
    applied: Mapping[str, Any] | None = None


def build(
    hosts: Iterable[Host],
    made_at: float,
    playbook: str,
    contacts: Mapping[str, float],
    step_min: int = 1,
) -> dict[str, Any]:
    """The whole of data.json; ``contacts`` says when a site was last reached before."""
    sites = [_site(host, made_at, contacts.get(host.name), step_min) for host in hosts]
    return {
        "schema": SCHEMA,
        "made_at": round(made_at),
        "playbook": playbook,
        "totals": totals(sites),
        "sites": sites,
    }


def totals(sites: list[dict[str, Any]]) -> dict[str, Any]:
    """Counts over the fleet; those of the verdicts add up to all sites, and so do the releases."""
    counts = [each["verdict"] for each in sites]
    return {
        "sites": len(sites),
        "verdicts": {verdict: counts.count(verdict) for verdict in VERDICTS},
        "limiting": sum(map(holds_down, sites)),
        "drifted": sum(bool(each["drift"]) for each in sites),
        "above_wh_day": _above_wh(sites, "day"),
        "above_wh_month": _above_wh(sites, "month"),
        "releases": _releases(sites),
        "rollout": _ended(sites),
    }


def holds_down(site: Mapping[str, Any]) -> bool:
    """Whether the output is held down now; a dry run holds nothing."""
    running = site["verdict"] not in ("not_reached", "not_running", "dry_run")
    return running and site["state"] in LIMITING


def _above_wh(sites: list[dict[str, Any]], span: str) -> float:
    known = [each["compliance"][span]["above_wh"] for each in sites if each["compliance"]]
    return round(sum(known), 3)


def _ended(sites: list[dict[str, Any]]) -> dict[str, int] | None:
    """How many sites ended a roll-out in which state; they add up to all sites."""
    states = [each["rollout"]["state"] for each in sites if each["rollout"]]
    return {state: states.count(state) for state in ENDS} if states else None


def _releases(sites: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """How many sites run which release, the most first; ``commit`` is null where none is known."""
    found: dict[Any, list[dict[str, Any]]] = {}
    for release in (each["release"] for each in sites):
        found.setdefault((release["commit"], release["version"]), []).append(release)
    rows = []
    for (commit, version), releases in found.items():
        since = [each["since"] for each in releases if each["since"] is not None]
        first, last = min(since, default=None), max(since, default=None)
        about = {"commit": commit, "version": version, "sites": len(releases)}
        rows.append({**about, "first_since": first, "last_since": last})
    return sorted(rows, key=lambda row: -row["sites"])


def _site(host: Host, made_at: float, last_contact: float | None, step_min: int) -> dict[str, Any]:
    probe = _as_applied(host.probe, host.applied or {})
    reached = not probe.get("unreachable")
    received_at = probe.get("received_at", made_at)
    kept = history.read(probe.get("history"), received_at) if reached else None
    summary = compliance.summary(kept, received_at) if kept else None
    status = (probe.get("status") or {}) if reached else {}
    verdict, reason = _verdict(probe, status, summary)
    limits = status.get("limits") or json.loads(probe["site"]["config"])
    return {
        "name": host.name,
        "groups": sorted(set(host.groups) - set(PLAIN_GROUPS)),
        "reached": reached,
        "last_contact": round(probe.get("changed_at", received_at)) if reached else last_contact,
        "verdict": verdict,
        "state": status.get("state"),
        "state_since": _here(status.get("state_since"), kept),
        "reason": reason,
        "limits": {
            "output_w": limits.get("max_multiplus_output_w"),
            "export_w": limits.get("max_grid_export_w"),
        },
        **_measured(status),
        "started_at": _here(status.get("started_at"), kept),
        "warnings": [*host.notes, *status.get("warnings", [])],
        **_device(probe, status, kept),
        "drift": list(host.drift) if reached else [],
        "rollout": dict(host.rollout) if host.rollout else None,
        "config": json.loads(probe.get("config") or "null") if reached else None,
        "compliance": summary,
        "history": _history(kept, received_at, step_min) if kept else None,
    }


def _as_applied(probe: Mapping[str, Any], applied: Mapping[str, Any]) -> Mapping[str, Any]:
    """The probe as it would be after the roll-out, whose verdict carries a status.

    Of the configuration only its hash is told, in the id.
    """
    status, ident = applied.get("status"), applied.get("id")
    if not status or not ident:
        return probe
    configs = (probe["site"]["config"], probe.get("config"))
    known = {
        "current": ident,
        "pid": status.get("pid"),
        "status": status,
        "version": status.get("version"),
        "config": next((each for each in configs if each and ident.endswith(digest(each))), None),
        "since": probe.get("since") if ident == probe.get("current") else None,
        "changed_at": applied.get("received_at", probe.get("received_at")),
    }
    return {**probe, **known}


def _verdict(
    probe: Mapping[str, Any], status: Mapping[str, Any], summary: Mapping[str, Any] | None
) -> tuple[str, str]:
    """The verdict, and why in words."""
    if probe.get("unreachable"):
        return "not_reached", str(probe["msg"])
    state, reason = status.get("state"), str(status.get("reason") or "")
    fault = not_running(probe, status)
    if fault or state in ("starting", "stopping"):
        return "not_running", fault or reason
    if status.get("dry_run"):
        return "dry_run", reason
    if state == "failsafe":
        return "failsafe", reason
    if state == "not_enforceable" or not status.get("enforceable"):
        return "not_enforceable", reason
    day = summary["day"] if summary else {}
    if day.get("from_15_to_60_s") or day.get("above_60_s"):
        return "exceeded", reason
    return "kept", reason


def not_running(probe: Mapping[str, Any], status: Mapping[str, Any]) -> str:
    """Why a status says nothing of what runs now, or nothing."""
    if not probe.get("current"):
        return "nothing is installed"
    if probe.get("pid") is None:
        return "the service is down"
    if status.get("pid") != probe["pid"]:
        return "there is no status of the process that runs"
    clock = (probe.get("history") or {}).get("clock_s")
    if clock is not None and clock - status.get("updated_at", clock) > STALE_S:
        return "its status has not been renewed for a minute"
    return ""


def _measured(status: Mapping[str, Any]) -> dict[str, Any]:
    """What the agent measures and does now."""
    names = ("enforceable", "dry_run", "binding", "method", "control_point", "cap_w")
    return {
        **{name: status.get(name) for name in names},
        "output_w": status.get("inverter_output_w"),
        "export_w": status.get("grid_export_w"),
        "phases": [
            {
                "phase": each.get("phase"),
                "output_w": each.get("inverter_output_w"),
                "export_w": each.get("grid_export_w"),
            }
            for each in status.get("phases", [])
        ],
        "inverters": status.get("inverters", []),
        "others": status.get("others", {}),
        "counters": status.get("counters", {}),
        "last_refusal": status.get("last_refusal"),
    }


def _device(
    probe: Mapping[str, Any], status: Mapping[str, Any], kept: Mapping[str, Any] | None
) -> dict[str, Any]:
    """What the device is and what was deployed to it."""
    current = probe.get("current")
    return {
        "portal_id": probe.get("portal_id") or probe["site"]["settings"].get("portal_id") or None,
        "release": {
            "id": current,
            "commit": current.partition("-")[0] if current else None,
            "version": status.get("version") or probe.get("version") or None,
            "since": _here(probe.get("since"), kept) or _whole(probe.get("changed_at")),
        },
        "firmware": probe.get("firmware"),
        "machine": probe.get("machine"),
        "python": probe.get("python"),
        "clock_off_s": (kept or {}).get("clock_off_s"),
    }


def _here(at: float | None, kept: Mapping[str, Any] | None) -> int | None:
    """A time of the device's clock by the controller's."""
    return None if at is None else round(at - ((kept or {}).get("clock_off_s") or 0))


def _whole(at: float | None) -> int | None:
    return None if at is None else round(at)


def digest(config: str) -> str:
    """What stands for a configuration in the id of a release."""
    return hashlib.sha256(config.encode()).hexdigest()[:12]


def _history(kept: Mapping[str, Any], received_at: float, step_min: int) -> dict[str, Any]:
    return {
        "series": series.series(kept["minutes"], STATES, received_at, step_min),
        "excursions": sorted(kept["excursions"], key=lambda each: each["at"]),
        "events": kept["events"],
        "days": {name: [day[name] for day in kept["days"]] for name in (kept["days"] or [{}])[0]},
    }
