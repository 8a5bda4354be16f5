"""The site file: what a simulated site consists of and where it starts.

All keys are optional; an unknown one is refused, so that a misspelt test does not pass by luck.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from gx.inverter import Inverter, InverterSpec, PhasePower, Response
from gx.plant import Plant, PlantSpec
from gx.vebus import VebusSpec


class SiteError(Exception):
    """The site file says something impossible; the message names the key."""


class SiteSpec(NamedTuple):
    """A site as its file gives it; powers in W, a load or PV as a total or by phase.

    `vebus` entries hold the keys of `InverterSpec` and `VebusSpec`, `load_w` and `own_output_w`;
    `plant` those of `PlantSpec` and `Response`; `hub4` the quirks of `Hub4`, or null for none;
    `battery` `discharge_w` and `charge_w`; `replay` `file`, `scale`, `speed`; `absent` the
    services, such as "hub4", that are not on the bus at first; `lacks`, by service, the paths that
    it does not have.
    """

    name: str = "site"
    portal_id: str = "c0619ab00001"
    vebus: list[dict[str, Any]] = [{}]
    ess: bool = True
    hub4: dict[str, Any] | None = {}
    hub4_mode: int = 1
    settings: dict[str, Any] = {}
    plant: dict[str, Any] = {}
    load_w: float | PhasePower = 0
    load_in_w: float | PhasePower = 0
    pv_dc_w: float = 0
    pv_ac_w: float | PhasePower = 0
    pv_ac_position: str = "input"
    pv_inverter: bool = False
    feed_in: bool = False
    battery: dict[str, float] = {}
    grid_on: bool = True
    grid_meter: bool = True
    multi_rs: bool = False
    replay: list[dict[str, Any]] = []
    absent: list[str] = []
    lacks: dict[str, list[str]] = {}


def read_site(text: str) -> SiteSpec:
    """Read a site file's text; raises SiteError."""
    return make(SiteSpec, json.loads(text), "site")


def read_site_file(file: Path) -> SiteSpec:
    """Read a site file; raises SiteError."""
    return read_site(file.read_text())


def make(kind: Any, given: Mapping[str, Any], what: str) -> Any:
    """Make a named tuple of the given keys; raises SiteError for an unknown one."""
    unknown = set(given) - set(kind._fields)
    if unknown:
        raise SiteError(f"{what}: no such key: {', '.join(sorted(unknown))}")
    return kind(**given)


def pick(kind: Any, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of the given keys that a named tuple has."""
    return {key: value for key, value in given.items() if key in kind._fields}


def make_plant(site: SiteSpec) -> tuple[Plant, dict[str, VebusSpec]]:
    """Make the plant and the D-Bus side of each of its inverters, by inverter name."""
    inverters, shown = [], {}
    for index, entry in enumerate(site.vebus):
        entry = {"ess": site.ess and index == 0, **entry}
        inverter = InverterSpec(**pick(InverterSpec, entry))
        vebus = VebusSpec(**pick(VebusSpec, entry))
        rest = set(entry) - {*InverterSpec._fields, *VebusSpec._fields, "load_w", "own_output_w"}
        if rest:
            raise SiteError(f"vebus {inverter.name}: no such key: {', '.join(sorted(rest))}")
        inverters.append(inverter)
        shown[inverter.name] = vebus
    response = Response(**pick(Response, site.plant))
    rest = {key: value for key, value in site.plant.items() if key not in Response._fields}
    given = {"inverters": tuple(inverters), "response": response, **rest}
    plant = Plant(make(PlantSpec, given, "plant"))
    _start(plant, site)
    return plant, shown


def spread(power_w: float | PhasePower, over: PhasePower) -> None:
    """Set the phases of `over` to equal shares of a total, or to what is given for each."""
    if not isinstance(power_w, dict):
        over.update(dict.fromkeys(over, power_w / len(over)))
        return
    unknown = set(power_w) - set(over)
    if unknown:
        raise SiteError(f"no such phase: {', '.join(sorted(unknown))}")
    over.update(power_w)


def main_inverter(plant: Plant) -> Inverter | None:
    """Return the inverter that a load without a name means: the one with ESS, else the first."""
    return plant.main or next(iter(plant.inverters.values()), None)


def pv_of(plant: Plant, position: str) -> PhasePower:
    """Return the AC-coupled PV by phase: on the AC `input` or the main inverter's AC `output`."""
    main = main_inverter(plant)
    return main.pv_w if main and position == "output" else plant.pv_in_w


def _start(plant: Plant, site: SiteSpec) -> None:
    main = main_inverter(plant)
    if main:
        spread(site.load_w, main.load_w)
    for entry, inverter in zip(site.vebus, plant.inverters.values()):  # noqa: B905 - Python 3.9
        if "load_w" in entry:
            spread(entry["load_w"], inverter.load_w)
        inverter.own_output_w = entry.get("own_output_w", 0.0)
    spread(site.load_in_w, plant.load_in_w)
    spread(site.pv_ac_w, pv_of(plant, site.pv_ac_position))
    plant.pv_dc_w = site.pv_dc_w
    plant.feed_in = site.feed_in
    plant.grid_on = site.grid_on
    plant.discharge_w = site.battery.get("discharge_w", math.inf)
    plant.charge_w = site.battery.get("charge_w", math.inf)
