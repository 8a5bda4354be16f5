"""The roll-out's decisions as functions: preflight, plan, gate and reports.

Each takes names of hosts and ``hostvars``. What a host replied to the probe stands in its
``__export_limiter_probe``, what it replied to being changed in ``__export_limiter_apply``.
"""

from __future__ import annotations

import hashlib
import math
import sys
import tempfile
from pathlib import Path
from typing import Any, Iterable, Mapping

from ansible.errors import AnsibleFilterError

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from controller import pin, site_config  # noqa: E402 - a plugin finds its role by path only

UNCONFIRMED = ("rolled back", "failed", "pending")  # where it was tried
PIN = ("repository", "commit", "sha256", "allowed_signers", "unpinned")
STATUS = ("enforceable", "method", "binding", "cap_w", "measured_w", "limits", "version")
DISABLED = "rc.local.disabled: a user or Victron's support disabled it; no agent after a reboot"
SETTLED_S = 20  # a status of another process is no drift while the agent just starts


class FilterModule:
    """Found by Ansible in the role's filter_plugins/."""

    def filters(self) -> dict[str, Any]:
        """Name the filters."""
        public = (preflight, failed, report, status, check, table)
        return {f"export_limiter_{function.__name__}": function for function in public}


def preflight(
    hosts: Iterable[str], hostvars: Mapping[str, Any], verb: str = "apply"
) -> dict[str, Any]:
    """What is to be known before anything is sent for a verb; only ``apply`` judges the devices.

    ``faults`` forbid touching any device. ``releases`` are packed, by commit, ``unpinned`` is the
    sha256 of an edited tree that somebody must name. The plan is the ``order`` and its ``waves``.
    """
    probes = _probes(hosts, hostvars)
    faults = _faults(probes) if verb == "apply" else []
    releases = {}
    if verb != "rollback" and not faults:
        releases, faults = _built(probes)
    if verb == "apply":
        for commit, release in releases.items():
            mine = {h: p for h, p in probes.items() if p["site"]["settings"]["commit"] == commit}
            faults += _refused(mine, release)
    edited = [sha256 for sha256, unpinned in _grouped(probes, "sha256", "unpinned") if unpinned]
    return {
        "faults": faults,
        "releases": {commit: pin.pack(release) for commit, release in releases.items()},
        "unpinned": edited[0] if edited and verb == "apply" else "",
        **_plan({} if faults else probes, verb),
    }


def _plan(probes: Mapping[str, Any], verb: str) -> dict[str, Any]:
    """Who is to be changed, in which order and in waves of which size."""
    reached = {host: probe for host, probe in probes.items() if not _not_reached(probe)}
    todo = [h for h, p in reached.items() if (drifts(p) if verb == "apply" else p["installed"])]
    settings = next(iter(probes.values()))["site"]["settings"] if probes else {}
    canaries = [host for host in todo if host in settings.get("canaries", [])]
    order = canaries + [host for host in todo if host not in canaries]
    return {"order": order, "waves": wave_sizes(settings.get("waves", []), len(order))}


def wave_sizes(waves: Iterable[Any], count: int) -> list[int]:
    """Numbers and percentages as numbers of devices, at least one each."""
    sizes = []
    for wave in map(str, waves):
        share = math.ceil(count * float(wave[:-1]) / 100) if wave.endswith("%") else int(wave)
        sizes.append(max(1, share))
    return sizes or [max(1, count)]


def failed(hosts: Iterable[str], hostvars: Mapping[str, Any]) -> list[str]:
    """The devices that were tried so far and did not end confirmed."""
    tried = {str(host): _applied(hostvars, host) for host in hosts}
    return [host for host, reply in tried.items() if reply and reply["state"] in UNCONFIRMED]


def report(hosts: Iterable[str], hostvars: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every device in exactly one state, with a reason in words."""
    rows = []
    for host, probe in _probes(hosts, hostvars).items():
        reply = _applied(hostvars, host)
        if reply is not None:
            state, reason = reply["state"], reply["msg"]
        elif _not_reached(probe):
            state, reason = "pending", _not_reached(probe)
        else:
            found = drifts(probe)
            state, reason = "not tried" if found else "converged", "; ".join(found)
        told = [str(reason)] if reason else []
        rows.append({"host": host, "state": state, "reason": "; ".join(told + notes(probe))})
    return rows


def status(hosts: Iterable[str], hostvars: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What each device says of itself."""
    rows = []
    for host, probe in _probes(hosts, hostvars).items():
        told = probe.get("status") or {}
        state, reason = told.get("state"), told.get("reason")
        if _not_reached(probe):
            state, reason = "not reached", _not_reached(probe)
        elif not probe["current"]:
            state = "not installed"
        elif probe["pid"] is None:
            state = "stopped"
        row = {"host": host, "state": state, "reason": reason, "release": probe.get("current")}
        rows.append({**row, **{key: told.get(key) for key in STATUS}})
    return rows


def check(hosts: Iterable[str], hostvars: Mapping[str, Any]) -> dict[str, Any]:
    """Where each device differs from the inventory, and how many do."""
    rows = []
    for host, probe in _probes(hosts, hostvars).items():
        told = _not_reached(probe)
        found = [] if told else [*probe["site"]["faults"], *drifts(probe)]
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
    stranger = (probe["uptime_s"] or 0) > SETTLED_S and (
        (probe["status"] or {}).get("pid") != probe["pid"]
    )
    found = {
        f"release: {probe['current']} runs": other,
        f"code: {probe['drift']}": probe["drift"],
        f"code: its sha256 is {probe['sha256']}": forged,
        "release: never confirmed": probe["last_confirmed"] != probe["current"],
        "release: its activation was left undecided": probe["undecided"] and not probe["busy"],
        f"boot line: {probe['boot']}": probe["boot"] not in ("ours", "disabled"),
        "service: down": probe["pid"] is None,
        "service: no status of the process that runs": stranger,
        f"foreign files: {', '.join(probe['foreign'])}": probe["foreign"],
    }
    return [drift for drift, there in found.items() if there]


def notes(probe: Mapping[str, Any]) -> list[str]:
    """What is no drift, since it is never undone, but must be known."""
    return [DISABLED] if probe.get("boot") == "disabled" else []


def release_id(site: Mapping[str, Any]) -> str:
    """The name of the release that the inventory wants: commit and configuration."""
    digest = hashlib.sha256(site["config"].encode()).hexdigest()
    return f"{site['settings'].get('commit')}-{digest[:12]}"


def _probes(hosts: Iterable[str], hostvars: Mapping[str, Any]) -> dict[str, Any]:
    probes = {str(host): hostvars[host]["__export_limiter_probe"] for host in hosts}
    unread = [f"{host}: {probe['msg']}" for host, probe in probes.items() if "site" not in probe]
    if unread:  # Ansible itself stopped there, as without a vault's password
        raise AnsibleFilterError("; ".join(unread))
    return probes


def _not_reached(probe: Mapping[str, Any]) -> str:
    """Why there is nothing known of a device, or nothing."""
    return str(probe["msg"] if probe.get("unreachable") else probe.get("fault", ""))


def _applied(hostvars: Mapping[str, Any], host: str) -> dict[str, Any] | None:
    """The verdict of a device that was tried; without a link it decides by itself."""
    reply = hostvars[host].get("__export_limiter_apply")
    if reply is None or reply.get("state"):
        return reply
    told = str(reply.get("msg", "")).splitlines() or ["nothing was said"]
    if reply.get("unreachable") or reply.get("timedout"):
        return {"state": "pending", "msg": f"undecided, the device decides by itself: {told[0]}"}
    return {"state": "failed", "msg": told[0]}


def _faults(probes: Mapping[str, Any]) -> list[str]:
    """Every fault of the inventory and of a device."""
    faults = [f"{host}: {fault}" for host, probe in probes.items() for fault in _own_faults(probe)]
    return faults + _shared_portal_ids(probes) + _too_many_offline(probes)


def _own_faults(probe: Mapping[str, Any]) -> list[str]:
    """Faults of one site: of its variables, then of the device; offline is none."""
    faults = list(probe["site"]["faults"])
    told, expected = _not_reached(probe), probe["site"]["settings"].get("portal_id")
    if told:
        return faults + ([] if told.startswith("offline") else [told])
    if expected and probe["portal_id"] != expected:
        found = probe["portal_id"] or "unknown"
        faults.append(f"export_limiter_portal_id: this device is {found}, allowed: {expected}")
    if probe["first_version"]:
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


def _built(probes: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The releases by commit, verified, and the faults of their pins; a fleet may have several."""
    releases, faults = {}, []
    for (repository, commit, sha256, signers, edited), hosts in _grouped(probes, *PIN).items():
        try:
            release = pin.worktree(repository) if edited else pin.build(repository, commit, signers)
            pin.verify(release, sha256)
            releases[commit] = release
        except pin.PinError as error:
            faults.append(f"{', '.join(hosts)}: {error}")
    return releases, faults


def _refused(probes: Mapping[str, Any], release: Any) -> list[str]:
    """What speaks against a release: configurations that its agent refuses, a later version."""
    with tempfile.TemporaryDirectory() as directory:
        pin.write_tree(release, Path(directory))
        configs = {host: probe["site"]["config"] for host, probe in probes.items()}
        faults = site_config.check(Path(directory), configs)
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
