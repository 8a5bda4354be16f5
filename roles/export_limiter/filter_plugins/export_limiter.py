"""The roll-out's decisions as functions: preflight, plan, gate and reports.

Each takes names of hosts and ``hostvars``. What a host replied to the probe stands in its
``__export_limiter_probe``, what it replied to being changed in ``__export_limiter_apply``.
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any, Iterable, Mapping

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from controller import fleet, pin, site_config  # noqa: E402 - a plugin finds its role by path only

UNCONFIRMED = ("rolled back", "failed", "pending")  # where it was tried
PIN = ("repository", "commit", "sha256", "allowed_signers", "unpinned")
STATUS = "state reason enforceable method binding cap_w measured_w limits version".split()
DISABLED = "rc.local.disabled: a user or Victron's support disabled it; no agent after a reboot"
SETTLED_S = 20  # a status of another process is no drift while the agent just starts
QUICK = 2  # ends in a row, each after seconds: a crash loop, until it has run for LOOP_S
LOOP_S = 60


class FilterModule:
    """Found by Ansible in the role's filter_plugins/."""

    def filters(self) -> dict[str, Any]:
        """Name the filters."""
        public = (preflight, refusal, failed, report, status, check, table)
        return {f"export_limiter_{function.__name__}": function for function in public}


def preflight(
    hosts: Iterable[str], hostvars: Mapping[str, Any], verb: str = "apply"
) -> dict[str, Any]:
    """What is to be known before anything is sent for a verb; ``discover`` judges no site.

    ``faults`` forbid touching any device. ``releases`` are packed, by commit, ``unpinned`` is the
    sha256 of an edited tree that somebody must name. The plan is the ``order`` and its ``waves``.
    """
    known = probed(hosts, hostvars)
    releases, faults = {}, [] if verb == "discover" else _faults(known, verb)
    if verb in ("apply", "discover") and not faults:
        asked = {h: p for h, p in known.items() if verb == "apply" or not _not_reached(p)}
        releases, faults = _built(asked, verb)
    edited = [sha256 for sha256, unpinned in _grouped(known, "sha256", "unpinned") if unpinned]
    return {
        "faults": faults,
        "releases": releases,
        "unpinned": edited[0] if edited and verb == "apply" else "",
        **_plan({} if faults else known, verb),
    }


def _plan(probes: Mapping[str, Any], verb: str) -> dict[str, Any]:
    """Who is to be changed, in which order and in waves of which size."""
    reached = {host: probe for host, probe in probes.items() if not _not_reached(probe)}
    todo = [host for host, probe in reached.items() if _outstanding(probe, verb)[0]]
    settings = next(iter(reached.values()))["site"]["settings"] if reached else {}
    order = sorted(todo, key=lambda host: host not in settings.get("canaries", []))
    return {"order": order, "waves": wave_sizes(settings.get("waves", []), len(order))}


def _outstanding(probe: Mapping[str, Any], verb: str) -> tuple[bool, str]:
    """Whether a verb has something to do on a device, and why or why not."""
    if verb == "apply":
        found = drifts(probe)
        return bool(found), "; ".join(found)
    current = probe["current"] or "nothing"
    if verb == "rollback":
        on_it = current.partition("-")[0] == probe["site"]["settings"]["commit"]
        return on_it, f"{'' if on_it else 'not on it: '}{current} runs"
    return probe["installed"], f"{current} runs"


def wave_sizes(waves: Iterable[Any], count: int) -> list[int]:
    """Numbers and percentages as numbers of devices, at least one each."""
    sizes = []
    for wave in map(str, waves):
        share = math.ceil(count * float(wave[:-1]) / 100) if wave.endswith("%") else int(wave)
        sizes.append(max(1, share))
    return sizes or [max(1, count)]


def refusal(hosts: Iterable[str], faults: list[str]) -> list[dict[str, str]]:
    """Every device as not tried, with the faults that begin with its name, else with the first."""
    named = [fault.partition(": ") for fault in faults]
    own = {h: [told for names, _, told in named if h in names.split(", ")] for h in hosts}
    others = [faults[0], f"and {len(faults) - 1} more"][: len(faults)]
    reasons = {host: "refused: " + "; ".join(told or others) for host, told in own.items()}
    return [{"host": h, "state": "not tried", "reason": told} for h, told in reasons.items()]


def failed(hosts: Iterable[str], hostvars: Mapping[str, Any], over: bool = False) -> list[str]:
    """The devices that were tried so far and did not end confirmed.

    One that has nothing to go back to stops no other: it counts only when all is ``over``.
    """
    replies = {str(host): _applied(hostvars, host) or {} for host in hosts}
    states = (*UNCONFIRMED, "not tried") if over else UNCONFIRMED
    return [h for h, r in replies.items() if r.get("state") in states and r.get("sent", True)]


def report(
    hosts: Iterable[str], hostvars: Mapping[str, Any], verb: str = "apply"
) -> list[dict[str, Any]]:
    """Every device in exactly one state, with a reason in words."""
    rows = []
    for host, probe in probed(hosts, hostvars).items():
        reply = _applied(hostvars, host)
        if reply is not None:
            state, reason = reply["state"], reply["msg"]
        elif _not_reached(probe):
            state, reason = "pending", _not_reached(probe)
        else:
            outstanding, reason = _outstanding(probe, verb)
            state = "not tried" if outstanding else "converged"
        told = "; ".join(filter(None, [str(reason), *notes(probe)]))
        rows.append({"host": host, "state": state, "reason": told})
    return rows


def status(hosts: Iterable[str], hostvars: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What each device says of itself."""
    rows = []
    for host, probe in probed(hosts, hostvars).items():
        told = probe.get("status") or {}
        past = json.loads(probe.get("history") or "null")
        away = _not_reached(probe)
        stopped = away or fleet.not_running({**probe, "history": past}, told)
        if stopped:  # whatever it said before is no claim of limiting
            state = "not running" if probe.get("current") else "not installed"
            told = {"state": "not reached" if away else state, "reason": stopped}
        row = {"host": host, "release": probe.get("current")}
        rows.append({**row, **{key: told.get(key) for key in STATUS}})
    return rows


def check(hosts: Iterable[str], hostvars: Mapping[str, Any]) -> dict[str, Any]:
    """Where each device differs from the inventory, and how many do."""
    rows = []
    for host, probe in probed(hosts, hostvars).items():
        told = _not_reached(probe)
        found = [] if told else [*own_faults(probe), *drifts(probe)]
        state = "not reached" if told else "drift" if found else "as wanted"
        reason = told or "; ".join(found + notes(probe))
        rows.append({"host": host, "state": state, "reason": reason})
    states = [row["state"] for row in rows]
    counts = {state: states.count(state) for state in ("as wanted", "drift", "not reached")}
    return {"counts": counts, "devices": rows}


def table(rows: list[dict[str, Any]], columns: list[str]) -> str:
    """Rows as aligned lines for people, headed by the names of the columns."""
    lines = [columns] + [[_cell(row.get(column)) for column in columns] for row in rows]
    widths = [max(map(len, cells)) for cells in zip(*lines)]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)


def drifts(probe: Mapping[str, Any]) -> list[str]:
    """In what a device differs from exactly what the inventory wants, confirmed and running."""
    settings = probe["site"]["settings"]
    if not probe["current"]:
        return ["nothing is installed"]
    other = probe["current"] != release_id(probe["site"])
    forged = not other and not probe["drift"] and probe["sha256"] != settings.get("sha256")
    uptime_s, quick = probe["uptime_s"] or 0, probe["quick"]
    stranger = uptime_s > SETTLED_S and (probe["status"] or {}).get("pid") != probe["pid"]
    found = {
        f"release: {probe['current']} runs": other,
        **dict.fromkeys(_other_values(probe) if other and not probe["drift"] else (), True),
        f"code: {probe['drift']}": probe["drift"],
        f"code: its sha256 is {probe['sha256']}": forged,
        "release: never confirmed": probe["last_confirmed"] != probe["current"],
        "release: its activation was left undecided": probe["undecided"] and not probe["busy"],
        f"boot line: {probe['boot']}": probe["boot"] not in ("ours", "disabled"),
        "service: down": probe["pid"] is None,
        "service: no status of the process that runs": stranger,
        f"service: it ended quickly {quick} times in a row": quick >= QUICK and uptime_s < LOOP_S,
        f"foreign files: {', '.join(probe['foreign'])}": probe["foreign"],
    }
    return [drift for drift, there in found.items() if there]


def _other_values(probe: Mapping[str, Any]) -> list[str]:
    """What a whole configuration says otherwise than the inventory."""
    found, wanted = (json.loads(text) for text in (probe["config"], probe["site"]["config"]))
    return [
        f"config: {key} is {json.dumps(found.get(key))}, wanted is {json.dumps(wanted.get(key))}"
        for key in sorted({*found, *wanted})
        if found.get(key) != wanted.get(key)
    ]


def notes(probe: Mapping[str, Any]) -> list[str]:
    """What is no drift, since it is never undone, but must be known."""
    return [DISABLED] if probe.get("boot") == "disabled" else []


def release_id(site: Mapping[str, Any]) -> str:
    """The name of the release that the inventory wants: commit and configuration."""
    return f"{site['settings'].get('commit')}-{fleet.digest(site['config'])}"


def probed(hosts: Iterable[str], hostvars: Mapping[str, Any]) -> dict[str, Any]:
    """What each device replied; of some Ansible itself could not even read the variables."""
    unread = {"unreachable": True, "site": {"config": "{}", "settings": {}, "faults": []}}
    found = {str(host): hostvars[host]["__export_limiter_probe"] for host in hosts}
    return {h: probe if "site" in probe else {**probe, **unread} for h, probe in found.items()}


def _not_reached(probe: Mapping[str, Any]) -> str:
    """Why there is nothing known of a device, or nothing."""
    return str(probe["msg"]) if probe.get("unreachable") else ""


def _applied(hostvars: Mapping[str, Any], host: str) -> dict[str, Any] | None:
    """The verdict of a device that was tried; without a link it goes on alone."""
    reply = hostvars[host].get("__export_limiter_apply", {"skipped": True})
    if reply.get("skipped") or reply.get("state"):
        return None if reply.get("skipped") else reply
    told = str(reply.get("msg", "")).splitlines() or ["nothing was said"]
    if reply.get("unreachable") or reply.get("timedout"):
        sent = reply.get("sent", True)
        words = "undecided, the device goes on alone, run it again" if sent else "nothing was sent"
        return {"state": "pending", "sent": sent, "msg": f"{words}: {told[0]}"}
    return {"state": "failed", "msg": told[0]}


def _faults(probes: Mapping[str, Any], verb: str) -> list[str]:
    """Every fault of the inventory and of a device."""
    faults = [f"{h}: {fault}" for h, p in probes.items() for fault in own_faults(p, verb)]
    return faults + _shared_portal_ids(probes) + _too_many_offline(probes)


def own_faults(probe: Mapping[str, Any], verb: str = "apply") -> list[str]:
    """Faults of one site: of its variables, then of the device; offline is none.

    What is only in the way of a new release forbids no other verb.
    """
    faults = list(probe["site"]["faults"])
    told, expected = _not_reached(probe), probe["site"]["settings"].get("portal_id")
    if told:
        return faults + ([] if told.startswith("offline") or verb != "apply" else [told])
    if expected and probe["portal_id"] != expected:
        found = probe["portal_id"] or "unknown"
        faults.append(f"export_limiter_portal_id: this device is {found}, allowed: {expected}")
    if probe["first_version"] and verb == "apply":
        faults.append(
            "/data/dbus-limit: a limiter of the first versions is installed, and two would fight;"
            " remove it: systemctl disable --now dbus-limit; rm -r /data/dbus-limit"
        )
    return faults


def _shared_portal_ids(probes: Mapping[str, Any]) -> list[str]:
    told = "is given to each of them, allowed: one site each"
    return [
        f"{', '.join(hosts)}: export_limiter_portal_id: {shared} {told}"
        for (shared,), hosts in _grouped(probes, "portal_id").items()
        if shared and len(hosts) > 1
    ]


def _grouped(probes: Mapping[str, Any], *names: str) -> dict[tuple[Any, ...], list[str]]:
    """The hosts by what these settings are."""
    groups: dict[tuple[Any, ...], list[str]] = {}
    for host, probe in probes.items():
        settings = probe["site"]["settings"]
        groups.setdefault(tuple(settings.get(name, "") for name in names), []).append(host)
    return groups


def _too_many_offline(probes: Mapping[str, Any]) -> list[str]:
    offline = [host for host, probe in probes.items() if probe.get("unreachable")]
    allowed = [probe["site"]["settings"].get("max_offline", math.inf) for probe in probes.values()]
    if len(offline) <= min(allowed, default=math.inf):
        return []
    told = f"{len(offline)} are offline, allowed: {min(allowed)}"
    return [f"{', '.join(offline)}: export_limiter_max_offline: {told}"]


def _built(probes: Mapping[str, Any], verb: str) -> tuple[dict[str, str], list[str]]:
    """The releases by commit, verified and packed, and every fault; a fleet may have several."""
    releases, faults = {}, []
    for (repository, commit, sha256, signers, edited), hosts in _grouped(probes, *PIN).items():
        try:
            release = pin.worktree(repository) if edited else pin.build(repository, commit, signers)
            pin.verify(release, sha256)
        except pin.PinError as error:
            faults.append(f"{', '.join(hosts)}: {error}")
            continue
        releases[commit] = pin.pack(release)
        if verb == "apply":
            faults += _refused({host: probes[host] for host in hosts}, release)
    return releases, faults


def _refused(probes: Mapping[str, Any], release: Any) -> list[str]:
    """What speaks against a release: configurations that its agent refuses, a later version."""
    configs = {host: probe["site"]["config"] for host, probe in probes.items()}
    faults = site_config.check(release.files, configs)
    here = release.files.get("VERSION", "").strip()
    for host, probe in probes.items():
        there = probe.get("version") or ""
        if _number(here) < _number(there) and not probe["site"]["settings"]["allow_older"]:
            told = f"commit {release.commit} is version {here}, the device has {there}"
            allowed = "the same or later, or export_limiter_allow_older"
            faults.append(f"{host}: {told}; allowed: {allowed}")
    return faults


def _number(version: str) -> list[int]:
    return [int(part) for part in version.split(".") if part.isdigit()]


def _cell(value: Any) -> str:
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.0f}" if isinstance(value, float) else str(value)
