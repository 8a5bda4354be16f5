"""Part A: every law in every case, and the bars it is held to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from multiprocessing.pool import Pool
from typing import NamedTuple

from bench.contest import (
    BOUND,
    CONSTANT,
    EVERYONE,
    NONE,
    OURS,
    STOCK,
)
from bench.laws import Case
from bench.loop import run
from bench.metrics import Metrics, measure
from bench.profiles import BASE, EXPORT, OUTPUT, PRODUCTS, PROFILES, SETTINGS

# Around the base one thing is changed at a time, and these laws are enough to see by what.
SWEPT = {
    EXPORT: (OURS, BOUND, STOCK, "Victron-stock-like 1 s", NONE),
    OUTPUT: (OURS, BOUND, CONSTANT, NONE),
}
# The output limit doesn't look at the meter, so what differs by it alone is left out.
FOR_EXPORT_ONLY = ("P6/0", "P8/5-1", "P8/d4", "meter 0.25 s", "meter 2.5 s", "meter 5 s")


class Key(NamedTuple):
    """One run, by the keys of its parts."""

    product: str
    profile: str
    setting: str
    law: str


Results = Mapping[Key, Metrics]


def wanted() -> list[Key]:
    """Every run of the benchmark."""
    return [
        Key(product, profile, setting, law)
        for product in PRODUCTS
        for profile in profiles_of(product)
        for setting in settings_of(product, profile)
        for law in laws_of(product, setting)
    ]


def profiles_of(product: str) -> list[str]:
    """The profiles that say something about a product."""
    return [each for each in PROFILES if product == EXPORT or each not in FOR_EXPORT_ONLY]


def settings_of(product: str, profile: str) -> list[str]:
    """The settings that change something about a profile."""
    late = profile.startswith("P8") or product == OUTPUT
    return [each for each in SETTINGS if not (late and each.startswith("meter"))]


def laws_of(product: str, setting: str) -> list[str]:
    """Everyone in the base, some where it is varied; the bound knows of no phases."""
    if setting == BASE.key:
        return [law for law in EVERYONE if law != CONSTANT or product == OUTPUT]
    return [law for law in SWEPT[product] if law != BOUND or not SETTINGS[setting].per_phase]


def case_of(key: Key) -> Case:
    """The case that a run is made of."""
    return Case(PROFILES[key.profile], SETTINGS[key.setting], key.product)


def measure_one(key: Key) -> Metrics:
    """Run one law in one case."""
    case = case_of(key)
    return measure(run(case, EVERYONE[key.law](case)))


def measure_all(keys: Sequence[Key], pool: Pool) -> Results:
    """Run them all."""
    return dict(zip(keys, pool.map(measure_one, keys, chunksize=8), strict=True))
