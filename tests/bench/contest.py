"""Who takes part: every law of the benchmark by name, under our step or apart."""

from __future__ import annotations

import math
from collections.abc import Callable

from bench.laws import INTERVAL_S, Bound, Case, Constant, Law, Ours, Unlimited
from bench.peers import (
    FirstVersion,
    HoymilesZeroExport,
    Integral,
    OpenDtuOnBattery,
    OpenEms,
    Stepped,
    VictronStock,
)

OURS, BOUND, CONSTANT, NONE = "this limiter", "the bound", "constant cap", "no limiter"
STOCK = "Victron-stock-like 2.5 s"
FREE_BOUND = "the bound, step-free"

Make = Callable[[Case], Law]

# Under the same step of 1000 W each time they act: at their own cycle, and at our 1 s where that
# differs, since which of the two is the fairer restatement is a matter of taste.
STEPPED: dict[str, Make] = {
    STOCK: lambda case: Stepped(VictronStock(case)),
    "Victron-stock-like 1 s": lambda case: Stepped(VictronStock(case, INTERVAL_S)),
    "OpenEMS-like": lambda case: Stepped(OpenEms(case)),
    "Hoymiles-zero-export-like 20 s": lambda case: Stepped(HoymilesZeroExport(case)),
    "Hoymiles-zero-export-like 1 s": lambda case: Stepped(HoymilesZeroExport(case, INTERVAL_S)),
    "OpenDTU-OnBattery-like": lambda case: Stepped(OpenDtuOnBattery(case)),
    "first version 5 s": lambda case: Stepped(FirstVersion(case)),
    "first version 1 s": lambda case: Stepped(FirstVersion(case, INTERVAL_S)),
    "plain integral": lambda case: Stepped(Integral(case)),
}

# As they are, with no bound on a step: they do what an operator's step limit forbids.
STEP_FREE: dict[str, Make] = {
    STOCK + ", step-free": VictronStock,
    "OpenEMS-like, step-free": OpenEms,
    "Hoymiles-zero-export-like, step-free": HoymilesZeroExport,
    "OpenDTU-OnBattery-like, step-free": OpenDtuOnBattery,
    FREE_BOUND: lambda case: Bound(case, step_w=math.inf),
}

REFERENCE: dict[str, Make] = {
    OURS: Ours,
    BOUND: Bound,
    CONSTANT: lambda case: Constant(),
    NONE: lambda case: Unlimited(),
}

EVERYONE: dict[str, Make] = {**REFERENCE, **STEPPED, **STEP_FREE}
