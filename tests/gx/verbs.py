"""What the control socket can be asked to do: each verb is a method, its keys are the arguments."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from gx.faults import Faults
from gx.inverter import PhasePower
from gx.item import Value
from gx.plant import PlantSpec
from gx.simulation import Simulation
from gx.sitefile import SiteError, main_inverter, make, pv_of, spread

Answer = dict[str, Any]

WRITER = "other"  # the sender of writes made through the socket


class Verbs:
    """The verbs for one simulation; `stop` ends it."""

    def __init__(self, simulation: Simulation, stop: Callable[[], None]) -> None:
        self._simulation = simulation
        self._plant = simulation.plant
        self._faults = Faults(simulation)
        self._stop = stop

    def answer(self, request: Answer) -> Answer:
        """Do what `request["do"]` names; a request that can't be met is answered with an error."""
        keys = dict(request)
        name = keys.pop("do", None)
        verb = getattr(self, f"do_{name}", None)
        if verb is None:
            return {"ok": False, "error": f"no such verb: {name}"}
        try:
            return {"ok": True, **(verb(**keys) or {})}
        except (TypeError, ValueError, KeyError, AttributeError, SiteError) as error:
            return {"ok": False, "error": f"{name}: {error}"}

    def do_state(self) -> Answer:
        """Return the truth of the plant, what is applied, and all writes so far."""
        truth = self._plant.truth()
        return {
            "t": round(self._simulation.now(), 3),
            "output_w": truth.output_w,
            "output_phases_w": truth.output_phases_w,
            "grid_w": truth.grid_w,
            "export_w": truth.export_w,
            "load_w": truth.load_w,
            "control": self._plant.control,
            "grid_on": self._plant.grid_on,
            **self._simulation.summary(),
            "flash_rewrites": self._simulation.flash.rewrites,
            "writes": list(self._simulation.writes),
            "notifications": self._simulation.notifications,
            "recordings_ended": all(r.ended for _, r in self._simulation.recordings),
        }

    def do_calls(self) -> Answer:
        """Return how often each method was called, by service, since the start."""
        services = self._simulation.services
        calls = {key: dict(service.calls) for key, service in services.items()}
        return {"t": round(self._simulation.now(), 3), "calls": calls}

    def do_get(self, service: str, path: str) -> Answer:
        """Return what a path holds, `exists` false where there is none."""
        item = self._simulation.find(service).items.get(path)
        return {"value": item.value if item else None, "exists": item is not None}

    def do_set(self, service: str, path: str, value: Value) -> None:
        """Put a raw value on a path and keep it there; null is invalid, NaN and 1e9 are allowed."""
        found = self._simulation.find(service)
        if path not in found.items:
            raise KeyError(f"{found.name} has no {path}")
        found.pinned.add(path)
        found.force({path: value})

    def do_unset(self, service: str, path: str) -> None:
        """Let measured values back onto a path that was set."""
        self._simulation.find(service).pinned.discard(path)

    def do_make(self, path: str) -> None:
        """Make a setting that was not there, as hub4control does at its first start: silently."""
        self._simulation.find("settings").items[path] = self._simulation.flash.make(path)

    def do_write(self, service: str, path: str, value: Value) -> Answer:
        """Write as another program or a user would, and return SetValue's code."""
        return {"code": self._simulation.find(service).write(WRITER, path, value)}

    def do_load(
        self, w: float | PhasePower, phase: str | None = None, inverter: str | None = None
    ) -> None:
        """Set the load on an AC output: a total, one phase of it, or `w` by phase."""
        found = self._plant.inverters[inverter] if inverter else main_inverter(self._plant)
        if found is None:
            raise KeyError("no inverter to put a load on")
        spread({phase: w} if phase else w, found.load_w)

    def do_load_in(self, w: float | PhasePower) -> None:
        """Set the load on the AC input side."""
        spread(w, self._plant.load_in_w)

    def do_pv_dc(self, w: float) -> None:
        """Set what the DC-coupled PV could give."""
        self._plant.pv_dc_w = float(w)

    def do_pv_ac(self, w: float | PhasePower) -> None:
        """Set the AC-coupled PV, where the site file has placed it."""
        spread(w, pv_of(self._plant, self._simulation.site.pv_ac_position))

    def do_battery(
        self,
        discharge_w: float | None = math.inf,
        charge_w: float | None = math.inf,
        feed_in: bool | None = None,
    ) -> None:
        """Set what the battery can give and take, and whether excess DC PV is fed in."""
        self._plant.discharge_w = math.inf if discharge_w is None else float(discharge_w)
        self._plant.charge_w = math.inf if charge_w is None else float(charge_w)
        if feed_in is not None:
            self._plant.feed_in = feed_in

    def do_grid(self, on: bool) -> None:
        """Take the grid away or bring it back."""
        self._plant.grid_on = on

    def do_plant(self, **changes: Any) -> None:
        """Change constants of the plant: loop, split, lags, intervals, noise."""
        if {"inverters", "response", "seed"} & set(changes):
            raise KeyError("inverters, response and seed are fixed")
        self._plant.spec = make(PlantSpec, {**self._plant.spec._asdict(), **changes}, "plant")

    def do_own_output(self, inverter: str, w: float) -> None:
        """Set what an inverter without ESS delivers to its load."""
        self._plant.inverters[inverter].own_output_w = float(w)

    def do_hub4(self, **quirks: Any) -> None:
        """Change quirks of the ESS control."""
        self._simulation.hub4.configure(**quirks)

    def do_fault(self, name: str, **keys: Any) -> None:
        """Put a fault on a service, or `clear` those of one or all."""
        fault = None if name.startswith("_") else getattr(self._faults, name, None)
        if fault is None:
            raise KeyError(f"no such fault: {name}")
        fault(**keys)

    def do_stop(self) -> None:
        """End the simulation once this is answered."""
        self._stop()
