"""The roll-out's decisions as functions: preflight, plan, gate and report.

Each takes ``hostvars`` and names of hosts. What the probe and the apply of a host replied stands in
its ``__export_limiter_probe`` and ``__export_limiter_apply``.
"""

from __future__ import annotations

import hashlib
import importlib.util
import math
import tempfile
from pathlib import Path
from typing import Any, Iterable, Mapping

ROLE = Path(__file__).resolve().parent.parent
FAILED = ("rolled back", "failed")


class FilterModule:
    """Found by Ansible in the role's filter_plugins/."""

    def filters(self) -> dict[str, Any]:
        """Name the filters."""
        return {
            "export_limiter_preflight": preflight,
            "export_limiter_plan": plan,
            "export_limiter_gate": gate,
            "export_limiter_report": report,
            "export_limiter_status": status,
            "export_limiter_table": table,
        }


def preflight(hosts: Iterable[str], hostvars: Mapping[str, Any]) -> dict[str, Any]:
    """Every fault that forbids touching any device, and the releases by commit, packed."""
    hosts, faults, releases = list(hosts), [], {}
    probes = {host: hostvars[host]["__export_limiter_probe"] for host in hosts}
    for host, probe in probes.items():
        faults += [f"{host}: {fault}" for fault in probe["site"]["faults"] + device_faults(probe)]
    faults += _shared_portal_ids(probes)
    if not faults:
        for group in _by_pin(probes).values():
            packed, found = _judged({host: probes[host]["site"] for host in group})
            faults += found
            releases.update(packed)
    return {"faults": faults, "releases": releases}


def device_faults(probe: Mapping[str, Any]) -> list[str]:
    """Why this device must not be touched, as it was found; offline is no fault."""
    if probe.get("unreachable"):
        return [] if probe["msg"].startswith("offline") else [probe["msg"]]
    if probe.get("fault"):
        return [probe["fault"]]
    settings = probe["site"]["settings"]
    expected = settings.get("portal_id")
    faults = []
    if expected and probe["portal_id"] != expected:
        faults.append(
            f"export_limiter_portal_id: the device is {probe['portal_id']}, allowed: {expected}"
        )
    if probe["first_version"]:
        faults.append(
            "/data/dbus-limit of the first versions is there and two limiters fight; remove it:"
            " systemctl disable --now dbus-limit; rm -r /data/dbus-limit"
        )
    return faults


def converged(probe: Mapping[str, Any]) -> bool:
    """Whether the device has exactly what the inventory wants, confirmed, running and at boot."""
    if probe.get("unreachable") or probe.get("fault") or probe["site"]["faults"]:
        return False
    site = probe["site"]
    return (
        probe["current"] == release_id(site)
        and probe["sha256"] == site["settings"]["sha256"]
        and probe["confirmed"] == [probe["current"]]
        and not probe["undecided"]
        and probe["boot"] in ("ours", "disabled")
        and probe["pid"] is not None
    )


def release_id(site: Mapping[str, Any]) -> str:
    """The name of the release that the inventory wants: commit and configuration."""
    digest = hashlib.sha256(site["config"].encode()).hexdigest()
    return f"{site['settings']['commit']}-{digest[:12]}"


def plan(hosts: Iterable[str], hostvars: Mapping[str, Any]) -> dict[str, Any]:
    """Who is to be changed, in which order and in waves of which size."""
    hosts = list(hosts)
    probes = {host: hostvars[host]["__export_limiter_probe"] for host in hosts}
    todo = [h for h in hosts if not probes[h].get("unreachable") and not converged(probes[h])]
    settings = probes[hosts[0]]["site"]["settings"] if hosts else {}
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


def gate(hosts: Iterable[str], hostvars: Mapping[str, Any], max_failures: int) -> bool:
    """Whether to stop: too many of the devices tried so far did not end confirmed."""
    tried = [_applied(hostvars, host) for host in hosts]
    return sum(reply is not None and reply["state"] in FAILED for reply in tried) > max_failures


def report(hosts: Iterable[str], hostvars: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every device in exactly one state, with a reason in words."""
    rows = []
    for host in hosts:
        probe, reply = hostvars[host]["__export_limiter_probe"], _applied(hostvars, host)
        if reply is not None:
            state, told = reply["state"], reply["msg"]
        elif probe.get("unreachable"):
            state, told = "pending", probe["msg"]
        elif converged(probe):
            state, told = "converged", ""
        else:
            state, told = "not tried", probe.get("msg", "")
        rows.append({"host": str(host), "state": state, "reason": str(told)})
    return rows


def status(hosts: Iterable[str], hostvars: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What each device says of itself."""
    rows = []
    for host in hosts:
        probe = hostvars[host]["__export_limiter_probe"]
        told = probe.get("status") or {}
        state = told.get("state") if probe.get("pid") else "stopped"
        if not probe.get("installed"):
            state = "not installed"
        fault = probe.get("msg") or probe.get("fault")
        row = {
            "host": str(host),
            "state": "not reached" if fault else state,
            "reason": fault or told.get("reason"),
            "release": probe.get("current"),
        }
        keys = ("enforceable", "method", "binding", "cap_w", "measured_w", "limits", "version")
        rows.append({**row, **{key: told.get(key) for key in keys}})
    return rows


def table(rows: list[dict[str, Any]], columns: list[str]) -> list[str]:
    """Rows as aligned lines for people, headed by the names of the columns."""
    lines = [columns] + [[_cell(row.get(column)) for column in columns] for row in rows]
    widths = [max(map(len, cells)) for cells in zip(*lines)]
    return ["  ".join(map(str.ljust, line, widths)).rstrip() for line in lines]


def _cell(value: Any) -> str:
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.0f}" if isinstance(value, float) else str(value)


def _applied(hostvars: Mapping[str, Any], host: str) -> dict[str, Any] | None:
    """The verdict of a device that was tried; one that gave none failed."""
    reply = hostvars[host].get("__export_limiter_apply")
    if reply is None:
        return None
    if reply.get("state"):
        return reply
    told = str(reply.get("msg", "no verdict")).splitlines()
    return {"state": "failed", "msg": f"no verdict, the device decides by itself: {told[0]}"}


def _shared_portal_ids(probes: Mapping[str, Any]) -> list[str]:
    by_id: dict[str, list[str]] = {}
    for host, probe in probes.items():
        by_id.setdefault(probe["site"]["settings"].get("portal_id", ""), []).append(host)
    return [
        f"{', '.join(hosts)}: export_limiter_portal_id: {portal_id} is given to all of them,"
        " allowed: one site each"
        for portal_id, hosts in by_id.items()
        if portal_id and len(hosts) > 1
    ]


def _by_pin(probes: Mapping[str, Any]) -> dict[tuple[str, ...], list[str]]:
    """Hosts by where their release comes from: a part of a fleet may stay on another commit."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for host, probe in probes.items():
        settings = probe["site"]["settings"]
        key = tuple(settings[k] for k in ("repository", "commit", "sha256", "allowed_signers"))
        groups.setdefault(key, []).append(host)
    return groups


def _judged(sites: Mapping[str, Any]) -> tuple[dict[str, str], list[str]]:
    """The one release of these sites, and what its own agent says of their configurations."""
    pin, site_config = load("pin"), load("site_config")
    settings = next(iter(sites.values()))["settings"]
    try:
        release = pin.build(
            settings["repository"], settings["commit"], settings["allowed_signers"] or None
        )
        pin.verify(release, settings["sha256"])
    except pin.PinError as error:
        return {}, [f"{', '.join(sites)}: {error}"]
    with tempfile.TemporaryDirectory() as directory:
        pin.write_tree(release, Path(directory))
        found = site_config.check(Path(directory), {h: s["config"] for h, s in sites.items()})
    return {release.commit: pin.pack(release)}, found


def load(name: str) -> Any:
    """A module of the role's controller/ directory: a plugin can't import by name."""
    spec = importlib.util.spec_from_file_location(
        f"export_limiter_{name}", ROLE / "controller" / f"{name}.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
