"""The fault profiles: what the whole agent does when its surroundings fail, on a stepped clock."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable
from typing import Any, NamedTuple

from export_limiter.config import Config
from export_limiter.files import FoundValues
from export_limiter.service import Service
from export_limiter.status import Identity
from gx.inverter import InverterSpec
from gx.plant import PASSTHROUGH, Plant, PlantSpec

from bench.device import Device
from bench.loop import DT_S
from bench.metrics import ABOVE_W, JOULES_PER_WH
from bench.profiles import EXPORT

FAULT_S = 60.0
LOAD_S = 62.0  # the site is disturbed soon after: what nobody sees now still counts
END_S = 240.0
LIMIT_W = 6000.0
NOMINAL_W = 12000.0
TICKS = 10  # steps of the plant per tick of the agent


class Fault(NamedTuple):
    """One story: what fails at `FAULT_S`, and what mends it `mended_s` later, if anything does.

    `reduce_within_s` is by when an export limit must have come down; an output limit never has to,
    its cap stands. `enforceable` is what the agent must say while the fault lasts.
    """

    key: str
    title: str
    fail: Callable[[Site], None]
    mended_s: float = math.inf
    mend: Callable[[Site], None] | None = None
    reduce_within_s: float | None = None
    enforceable: bool | None = None


class Outcome(NamedTuple):
    """What came of a story, from the fault on; `None` where it did not happen.

    `first_reduction_s` is when the cap in force first came below the output of that moment,
    `raised_w` the most that it rose while the fault lasted: infinite where it opened. The verdict
    `enforceable` with its state and reason is the one at the end of the fault.
    """

    first_reduction_s: float | None
    raised_w: float
    exceed_wh: float
    overcurtail_wh: float
    noticed_s: float | None
    enforceable: bool
    state: str
    reason: str
    override_writes: int
    stored_writes: int


class Site:
    """A plant, its device and the agent on it, stepped together."""

    def __init__(self, product: str, **config: Any) -> None:
        export = product == EXPORT
        given = {
            "max_multiplus_output_w": None if export else LIMIT_W,
            "max_grid_export_w": LIMIT_W if export else None,
            "phase_count": 1,
        }
        self.product = product
        self.config = Config(**{**given, **config})
        inverter = InverterSpec(phases=1, units=3, nominal_w=NOMINAL_W / 3)
        self.plant = Plant(PlantSpec(inverters=(inverter,), loop_s=None, vebus_lag_s=1.0))
        self.plant.charge_w = 0.0 if export else math.inf
        self.plant.feed_in = export
        self.set_inputs(0.0)
        self.plant.settle()
        self.device = Device(self.plant)
        self.status: dict[str, Any] = {}
        self._start_s = self.plant.t_s
        self._folder = tempfile.TemporaryDirectory()
        self._service: Service | None = None
        self.meddle: Callable[[], None] | None = None  # called each 5 s
        self.start()

    @property
    def t_s(self) -> float:
        """Since the start."""
        return self.plant.t_s - self._start_s

    def start(self) -> None:
        """Start the agent: the first time, or again with the status it left."""
        self._service = Service(
            self.config,
            Identity("bench", None, 1, 0.0),
            self.device,
            FoundValues(self._folder.name),
            self.status_told,
            lambda: self.plant.t_s,
            lambda: self.plant.t_s,
            dict(self.status),
        )
        self.device.attach(self._service)

    def kill(self) -> None:
        """End the agent as SIGKILL does."""
        self._service = None
        self.device.attach(None)

    def status_told(self, status: dict[str, Any]) -> None:
        """Take the agent's status."""
        self.status = status

    def set_inputs(self, t_s: float) -> None:
        """PV that moves a little and, late, a load that goes or comes by 5 kW."""
        plant, moved = self.plant, t_s >= LOAD_S
        wave_w = 300.0 * math.sin(t_s / 4)
        if self.product == EXPORT:
            plant.pv_dc_w = 11000.0 + wave_w
            plant.load_in_w["L1"] = 1000.0 if moved else 6000.0
        else:
            assert plant.main is not None
            plant.main.load_w["L1"] = (11000.0 if moved else 5500.0) + wave_w

    def step(self, i: int) -> None:
        """One step of the plant, with a tick of the agent where one is due."""
        self.set_inputs(i * DT_S)
        self.device.advance(DT_S)
        if self.meddle and i % (5 * TICKS) == 0:
            self.meddle()
        if self._service and i % TICKS == 0:
            self._service.tick()

    def limited_w(self) -> float:
        """The limited power, W."""
        truth = self.plant.truth()
        return truth.export_w if self.product == EXPORT else truth.output_w

    def room_w(self) -> float:
        """What the inverter could deliver within the limit, W."""
        plant = self.plant
        if self.product == EXPORT:
            return min(plant.pv_dc_w, LIMIT_W + plant.load_in_w["L1"])
        assert plant.main is not None
        return min(plant.main.load_w["L1"], LIMIT_W)


class _Judge:
    """Watches a site from the fault on."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._lowest_w = self._cap_w()
        self._counted = (site.device.override_writes, site.device.stored_writes)
        self._reduced_s: float | None = None
        self._noticed_s: float | None = None
        self._raised_w = self._exceed = self._short = 0.0
        self._verdict = site.status

    def watch(self, after_s: float, lasts: bool) -> None:
        """Take in one step, so long after the fault, which lasts or is mended."""
        site, cap_w, output_w = self._site, self._cap_w(), self._site.plant.truth().output_w
        if lasts:
            self._raised_w = max(self._raised_w, cap_w - self._lowest_w)
            self._lowest_w = min(self._lowest_w, cap_w)
            self._verdict = site.status
        if self._reduced_s is None and cap_w < output_w - ABOVE_W:
            self._reduced_s = after_s
        if self._noticed_s is None and site.status["state"] in ("failsafe", "not_enforceable"):
            self._noticed_s = after_s
        excess_w = site.limited_w() - LIMIT_W
        self._exceed += excess_w * DT_S if excess_w > ABOVE_W else 0.0
        self._short += max(0.0, site.room_w() - output_w) * DT_S

    def outcome(self) -> Outcome:
        """What came of it."""
        device, verdict = self._site.device, self._verdict
        return Outcome(
            self._reduced_s,
            self._raised_w,
            self._exceed / JOULES_PER_WH,
            self._short / JOULES_PER_WH,
            self._noticed_s,
            verdict["enforceable"],
            verdict["state"],
            verdict["reason"],
            device.override_writes - self._counted[0],
            device.stored_writes - self._counted[1],
        )

    def _cap_w(self) -> float:
        """The cap in force; where nobody discharges, nothing can exceed it."""
        plant = self._site.plant
        if plant.control == PASSTHROUGH:
            return 0.0
        return math.inf if plant.cap_w is None else plant.cap_w


def play(fault: Fault, product: str) -> Outcome:
    """Play one story for one product."""
    site = Site(product)
    failed = round(FAULT_S / DT_S)
    for i in range(failed):
        site.step(i)
    judge = _Judge(site)
    fault.fail(site)
    for i in range(failed, round(END_S / DT_S)):
        after_s = i * DT_S - FAULT_S
        if fault.mend and abs(after_s - fault.mended_s) < DT_S / 2:
            fault.mend(site)
        site.step(i)
        judge.watch(after_s, lasts=after_s < fault.mended_s)
    return judge.outcome()
