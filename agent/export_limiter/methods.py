"""The limiting methods: where a cap can be written, and whether it would act now.

Nothing here is guessed: each method is judged by what is on the bus at this moment, and a
method that was written and not confirmed is left for a while.
"""

from __future__ import annotations

import math
from typing import Dict, List, NamedTuple, Optional, Sequence, Tuple

from export_limiter import victron
from export_limiter.inverters import Site, sane

RETRY_S = 600.0  # an unconfirmed method gets another chance, each time twice as late
LONGEST_RETRY_S = 86400.0
PLAUSIBLE_NOMINAL_FACTOR = 2.0


class ControlPoint(NamedTuple):
    """Where a cap is written: one path, or one per phase, each with its part of the cap."""

    service: str
    paths: Tuple[str, ...]

    def __str__(self) -> str:
        return self.service + ",".join(self.paths)

    @property
    def stored(self) -> bool:
        """Whether each write goes to flash."""
        return victron.service_class(self.service) == victron.SETTINGS

    @property
    def override(self) -> bool:
        """Whether it is the one in hub4control's RAM."""
        return self.paths == (victron.OVERRIDE_MAX_DISCHARGE,)

    def standing_w(self, site: Site) -> Optional[float]:
        """The limit that stands there now, summed over its paths, W."""
        parts = [limit_of(site.value(self.service, path)) for path in self.paths]
        valid = [part for part in parts if part is not None]
        return sum(valid) if len(valid) == len(parts) else None


class Verdict(NamedTuple):
    """What a method can do now.

    ``refreshable``: keep our cap there although it can't act yet. Not ``readable``: the bus does
    not say what is needed for a verdict.
    """

    method: str
    reason: str = ""
    point: Optional[ControlPoint] = None
    enforceable: bool = False
    refreshable: bool = False
    readable: bool = True

    @property
    def usable(self) -> bool:
        """Whether a cap may be written: it acts now, or will once the obstacle is gone."""
        return self.enforceable or self.refreshable


class Methods:
    """The configured methods in order, and which of them have failed."""

    def __init__(self, names: Sequence[str], floor_w: float) -> None:
        self._names = names
        self._floor_w = floor_w
        self._failed: Dict[str, Tuple[float, str]] = {}  # until when, and why
        self._failures: Dict[str, int] = {}
        self.chosen: Optional[Verdict] = None

    def verdicts(self, site: Site, now: float) -> List[Verdict]:
        """Every configured method, in order."""
        failed = self.given_up(now)
        return [
            Verdict(name, failed[name]) if name in failed else self._verdict(name, site)
            for name in self._names
        ]

    def choose(self, site: Site, now: float) -> Verdict:
        """The first that can act; else one whose cap is worth keeping; else the last refusal.

        What was chosen before stands while what it rested on can't be read: an inverter that loses
        its name for a second takes no cap away.
        """
        verdicts, last = self.verdicts(site, now), self.chosen
        acting = [verdict for verdict in verdicts if verdict.enforceable]
        kept = [verdict for verdict in verdicts if verdict.refreshable]
        stands = last and last.enforceable and last.method not in self.given_up(now)
        if not acting and last and stands and not all(verdict.readable for verdict in verdicts):
            return last
        self.chosen = chosen = [*acting, *kept, verdicts[-1]][0]
        return chosen

    def fail(self, method: str, reason: str, now: float, until_restart: bool = False) -> None:
        """Pass over a method: it was written, and the cap did not hold."""
        self._failures[method] = self._failures.get(method, 0) + 1
        wait_s = min(LONGEST_RETRY_S, RETRY_S * 2.0 ** (self._failures[method] - 1))
        self._failed[method] = (math.inf if until_restart else now + wait_s, reason)

    def given_up(self, now: float) -> Dict[str, str]:
        """The methods that are passed over now, each with its reason."""
        return {m: reason for m, (until, reason) in self._failed.items() if now < until}

    def forgive(self, service: str) -> None:
        """What failed was a service before the one that has come: judge the new one afresh."""
        if victron.service_class(service) in (victron.VEBUS, victron.HUB4, victron.SETTINGS):
            self._failed = {m: f for m, f in self._failed.items() if f[0] == math.inf}
            self._failures = {}

    def _verdict(self, method: str, site: Site) -> Verdict:
        if method in ("ess_override", "ess_setting"):
            return _ess_verdict(method, site)
        return _legacy_verdict(method, site, self._floor_w)


def ess_setting_point(site: Site) -> Optional[ControlPoint]:
    """The stored setting; absent where hub4control never ran."""
    return _first_with(site, victron.SETTINGS, victron.SETTING_MAX_DISCHARGE)


def ess_override_point(site: Site) -> Optional[ControlPoint]:
    """The RAM override of hub4control."""
    return _first_with(site, victron.HUB4, victron.OVERRIDE_MAX_DISCHARGE)


def _first_with(site: Site, service_class: str, path: str) -> Optional[ControlPoint]:
    names = (name for name in site.names(service_class) if site.knows(name, path))
    return next((ControlPoint(name, (path,)) for name in names), None)


def applied_w(site: Site) -> Optional[float]:
    """What hub4control says it applies after every limit; ``None`` for none."""
    return limit_of(site.single(victron.HUB4, victron.APPLIED_MAX_DISCHARGE))


def limit_of(value: object) -> Optional[float]:
    """A limit in W; ``None`` for Victron's -1 and for no value."""
    number = sane(value)
    return None if number is None or number < 0 else number


def _ess_verdict(method: str, site: Site) -> Verdict:
    override = method == "ess_override"
    point = ess_override_point(site) if override else ess_setting_point(site)
    obstacle = _ess_obstacle(method, site)
    if obstacle is None and point is None:
        missing = "hub4 has no overrides" if override else "ESS never ran here: no such setting"
        return Verdict(method, missing)
    holder = override_holder(site) if override else None
    if holder and (obstacle is None or obstacle.refreshable):
        return Verdict(method, "%s holds the override" % holder, point)
    if obstacle is None:
        return Verdict(method, "", point, enforceable=True)
    keep = obstacle.refreshable and override and point is not None
    return obstacle._replace(point=point, refreshable=keep)


def override_holder(site: Site) -> Optional[str]:
    """Who else is writing the override now, by its common name."""
    for path, who in victron.OVERRIDE_WRITERS.items():
        if site.single(victron.SYSTEM, path):
            return who
    return None


def _ess_obstacle(method: str, site: Site) -> Optional[Verdict]:
    """Why ESS applies no limit now, and whether a cap written now is of use later."""
    main = site.main_inverter()
    if main is None:
        rs = " (a Multi RS is here: it can't be limited)" if site.multi_rs() else ""
        return Verdict(method, "no inverter on the bus" + rs, readable=False)
    if site.value(main, victron.ASSISTANT_ID) != victron.ESS_ASSISTANT:
        return Verdict(method, "the ESS assistant is not installed in %s" % main)
    if not site.names(victron.HUB4):
        return Verdict(method, "ESS is not running: no hub4 service")
    mode = site.single(victron.SETTINGS, victron.SETTING_HUB4_MODE)
    if mode is None:
        never = any(
            not site.knows(n, victron.SETTING_HUB4_MODE) for n in site.names(victron.SETTINGS)
        )
        why = "ESS never ran here, it has no settings" if never else "the ESS mode can't be read"
        return Verdict(method, why, readable=False)
    if mode == victron.HUB4_MODE_EXTERNAL:
        return Verdict(method, "ESS is under external control (Hub4Mode 3)")
    if mode not in victron.HUB4_MODES_ENFORCING:
        return Verdict(method, "ESS is in Hub4Mode %s, not 1 or 2" % mode)
    state = site.single(victron.SETTINGS, victron.SETTING_BATTERYLIFE_STATE)
    if state == victron.BATTERYLIFE_KEEP_CHARGED:
        return Verdict(
            method, "ESS keeps the batteries charged: it applies no limit", refreshable=True
        )
    grid = site.on_grid(main)
    if grid is None:
        return Verdict(method, "the AC input can't be read", refreshable=True, readable=False)
    if grid:
        return None
    genset = site.single(victron.SYSTEM, victron.AC_SOURCE) == victron.AC_SOURCE_GENSET
    there = "a generator" if genset else "no grid"
    return Verdict(method, "%s on the AC input: the load decides" % there, refreshable=True)


def _legacy_verdict(method: str, site: Site, floor_w: float) -> Verdict:
    main = site.main_inverter()
    if main is None:
        return Verdict(method, "no inverter on the bus")
    every = _legacy_paths(method, site.phases(main))
    paths = next((p for p in every if p and all(site.knows(main, path) for path in p)), None)
    if paths is None:
        return Verdict(method, "%s has no such path" % main)

    nominal_w = site.power(main, victron.NOMINAL_POWER) or math.inf
    values = [site.power(main, path) for path in paths]
    highest_w = PLAUSIBLE_NOMINAL_FACTOR * nominal_w
    low_w = floor_w / len(paths)
    if not all(v is not None and low_w <= v <= highest_w for v in values):
        return Verdict(method, "%s%s holds no plausible limit" % (main, paths[0]))
    return Verdict(method, "", ControlPoint(main, paths), enforceable=True)


def _legacy_paths(method: str, phases: Tuple[str, ...]) -> List[Tuple[str, ...]]:
    if method == "phase_power_limit":
        return [tuple(p.format(phase=x) for x in phases) for p in victron.LEGACY_PHASE_LIMITS]
    single = victron.LEGACY_TOTAL_LIMITS if method == "ac_power_limit" else victron.LEGACY_MAX_POWER
    return [(path,) for path in single]
