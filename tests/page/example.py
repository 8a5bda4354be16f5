"""The ten sites of inventory.example as simulated GX devices, two of which fail.

A day can't be lived through, so each device is given one that never was before its agent starts,
which goes on from there. Everything else is real: the devices, the playbooks, the page.
"""

from __future__ import annotations

import json
import random
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from export_limiter.config import Config
from export_limiter.history import DAY_FIELDS, History
from fleet import held
from fleet.deployment import BASE, Controller
from gx.device import Device, DeviceSpec
from gx.fleet import Fleet
from gx.inventory import REPOSITORY
from gx.waiting import wait_until

from page import simulated
from page.simulated import Kind

SETTLE_S = 120.0
OF_SITE = {f"export_limiter_{name}" for name in (*Config._fields, "portal_id")}
# What every site is in says nothing, and connections are the fleet's own.
NO_GROUPS = ("_meta", "all", "gx", "ungrouped", "behind_gateway")


class Place(NamedTuple):
    """What stands at a site: its load at the end and its PV, how its day was, the state at last."""

    load_w: float
    day: Kind
    ends: str
    version: str = "v3.67"
    profile: str = "py312-v360"
    pv_w: float = 0.0


PLACES = {
    "tallinn-harbour": Place(36_000, simulated.HELD, "limiting"),
    "tartu-dairy": Place(19_000, simulated.EXCEEDED, "limiting"),
    "parnu-hotel": Place(27_500, simulated.HELD, "limiting"),
    "saaremaa-farm": Place(3_100, simulated.WELL, "failsafe", pv_w=5_400),
    "turku-marina": Place(33_000, simulated.WELL, "monitoring", "v3.70~14", "py312-v370"),
    "oulu-sawmill": Place(44_000, simulated.WELL, "not_enforceable"),
    "inari-lodge": Place(3_700, simulated.WELL, "monitoring", "v3.55", "py38-normal"),
    "riga-depot": Place(21_000, simulated.WELL, "monitoring"),
    "liepaja-yard": Place(7_300, simulated.WELL, "monitoring", "v2.94", "py38-normal"),
    "cesis-workshop": Place(9_600, simulated.HELD, "limiting"),
}
NO_ESS, NO_METER = "oulu-sawmill", "saaremaa-farm"
EXCEEDED = "tartu-dairy"
WATCHED = "riga-depot"


class Reports(NamedTuple):
    """The pages that deploy.yml and status.yml have written, and what each site delivered then.

    That is the output before the look and the one after it: an inverter that nobody commands passes
    through after a minute.
    """

    deploy: Path
    status: Path
    devices: dict[str, Device]
    outputs_w: dict[str, tuple[float, float]]


def play(fleet: Fleet, controller: Controller) -> Reports:
    """Give each device a day, deploy to all, raise the loads, let two fail, and look at all."""
    known = _inventory()
    (fleet.workdir / "inventory").mkdir(exist_ok=True)
    (fleet.workdir / "inventory/groups.yml").write_text(json.dumps(_groups(known)))
    specs = [_spec(name, known["_meta"]["hostvars"][name]) for name in PLACES]
    devices = {device.spec.name: device for device in fleet.add_all(specs)}
    for device in devices.values():
        give_a_day(device)

    played = controller.play("deploy", devices.values(), export_limiter_waves=["100%"])
    assert played.code == 0, played.text
    deployed = _latest(controller)
    for name, device in devices.items():
        device.ask("load", w=PLACES[name].load_w)
    devices[NO_ESS].ask("set", service="vebus.ttyS4", path="/Hub4/AssistantId", value=None)
    devices[NO_METER].ask("fault", name="drop", service="grid")
    for name, device in devices.items():
        wait_until(lambda one=device: _settled(one), f"{name} to settle", SETTLE_S)
    before_w = _outputs_w(devices)
    played = controller.play("status", devices.values())
    assert played.code == 0, played.text
    after_w = _outputs_w(devices)
    outputs_w = {name: (before_w[name], after_w[name]) for name in devices}
    return Reports(deployed, _latest(controller), devices, outputs_w)


def give_a_day(device: Device) -> None:
    """Leave on a device what an agent would have left that had run there for three weeks."""
    variables, place = device.spec.variables, PLACES[device.spec.name]
    output_w = variables.get("export_limiter_max_multiplus_output_w")
    export_w = variables.get("export_limiter_max_grid_export_w")
    chance, now = random.Random(device.spec.name), time.monotonic()
    end = int(now // 60)
    scale_w = output_w or place.pv_w
    rows = simulated.day(place.day, scale_w, chance, end)
    if export_w is not None:
        rows = [_exporting(row, output_w, export_w, chance) for row in rows]
    ring = json.loads(History(output_w, export_w).ring(now))
    ring |= {"minutes": rows, "excursions": simulated.excursions(place.day, end)}
    ring["events"] = _events(rows)
    days = simulated.days_before(place.day, scale_w, chance, time.time())
    _write(device.root / "run" / BASE / "history.json", ring)
    _write(device.data / BASE / "days.json", {"fields": DAY_FIELDS, "days": days})


def _spec(name: str, variables: Mapping[str, Any]) -> DeviceSpec:
    place = PLACES[name]
    own = {key: value for key, value in variables.items() if key in OF_SITE}
    phases = own.get("export_limiter_phase_count", 3)
    limit_w = own.get("export_limiter_max_multiplus_output_w", place.load_w + place.pv_w)
    inverter = {"name": "ttyS4", "phases": phases, "units": phases}
    inverter["nominal_w"] = round(1.25 * limit_w / phases, -2)
    site = {"name": name, "vebus": [inverter], "load_w": 0.9 * min(place.load_w, limit_w)}
    if place.pv_w:
        site |= {"pv_dc_w": place.pv_w, "feed_in": True, "battery": {"charge_w": 0}}
    portal_id = own.pop("export_limiter_portal_id")
    return DeviceSpec(
        name, portal_id, site, version=place.version, profile=place.profile, variables=own
    )


def _inventory() -> dict[str, Any]:
    """Return the example as Ansible reads it; what is in its vault stays there."""
    listing = [REPOSITORY / ".venv/bin/ansible-inventory", "-i", "inventory.example", "--list"]
    done = subprocess.run(listing, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def _groups(known: Mapping[str, Any]) -> dict[str, Any]:
    return {
        group: {"hosts": dict.fromkeys(about["hosts"])}
        for group, about in known.items()
        if group not in NO_GROUPS and "hosts" in about
    }


def _exporting(
    row: list[Any], output_w: float | None, export_w: float, chance: random.Random
) -> list[Any]:
    """Return the row of a site whose export is limited, and maybe its output too."""
    minute, measured_s, *powers = row[:5]
    mean_w = round(export_w - abs(chance.gauss(0, 0.2 * powers[1])) - 60)
    most_w = round(mean_w + chance.uniform(0, 50))
    cap_w = row[9] if output_w else powers[2] + 100
    limits = [output_w and round(output_w), round(export_w)]
    return [minute, measured_s, *powers, mean_w, most_w, *row[7:9], cap_w, row[10], *limits]


def _events(rows: list[list[Any]]) -> list[list[Any]]:
    """Make the events of a day, as seldom as the agent notes how the load goes."""
    reasons = {kind.state: kind.reason for kind in (simulated.WELL, simulated.HELD)}
    events, state = [], ""
    for minute, state_now in ((row[0], row[10]) for row in rows):
        if state_now != state and (not events or minute - events[-1][0] / 60 >= 30):
            events.append([minute * 60, f"{state_now}: {reasons[state_now]}"])
            state = state_now
    return events


def _outputs_w(devices: dict[str, Device]) -> dict[str, float]:
    return {name: device.ask("state")["output_w"] for name, device in devices.items()}


def _settled(device: Device) -> bool:
    """Say whether a site is where it goes, and its agent knows."""
    told, output_w = held.said(device), device.ask("state")["output_w"]
    if told.get("state") != PLACES[device.spec.name].ends or told["inverter_output_w"] is None:
        return False
    limit_w = told["limits"]["max_multiplus_output_w"]
    above = limit_w and not told["dry_run"] and output_w > 1.002 * limit_w
    return not above and abs(told["inverter_output_w"] - output_w) <= 5 + 0.002 * output_w


def _latest(controller: Controller) -> Path:
    return (controller.workdir / "reports/latest").resolve() / "index.html"


def _write(path: Path, content: object) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content))
