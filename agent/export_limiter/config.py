"""The configuration file: JSON text in, a :class:`Config` out, every fault named in one line."""

from __future__ import annotations

import json
import math
from typing import Any, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Set, Tuple, Union

METHOD_NAMES = ("ac_power_limit", "phase_power_limit", "max_power", "ess_override", "ess_setting")


class Config(NamedTuple):
    """One site's settings. Powers in W, times in s; ``None`` where a limit is not set."""

    max_multiplus_output_w: Optional[float] = 30000.0
    max_grid_export_w: Optional[float] = None
    phase_count: int = 3
    per_phase: Union[bool, str] = False
    min_output_limit_w: float = 1000.0
    max_power_change_per_step_w: float = 1000.0
    max_power_increase_per_step_w: float = 500.0
    gradual_adjustment: bool = True
    control_interval_s: float = 1.0
    meter_delay_s: float = 0.0
    measurement_skew_s: float = 1.0
    export_margin_w: float = 100.0
    relax_hold_s: float = 2.0
    data_hold_s: float = 3.0
    failsafe_limit_w: Optional[float] = None
    methods: Tuple[str, ...] = METHOD_NAMES
    stored_backstop: bool = True
    stored_writes_per_day: int = 24
    on_stop: str = "keep"
    dry_run: bool = False


class Range(NamedTuple):
    """A number's allowed range, both ends included; ``whole`` refuses fractions."""

    low: float
    high: float
    unit: str
    whole: bool = False
    nullable: bool = False


RANGES: Mapping[str, Range] = {
    "max_multiplus_output_w": Range(1, 1_000_000, "W", nullable=True),
    "max_grid_export_w": Range(0, 1_000_000, "W", nullable=True),
    "min_output_limit_w": Range(0, 1_000_000, "W"),
    "max_power_change_per_step_w": Range(1, 1_000_000, "W"),
    "max_power_increase_per_step_w": Range(1, 1_000_000, "W"),
    "control_interval_s": Range(0.2, 10, "s"),
    "meter_delay_s": Range(0, 8, "s"),
    "measurement_skew_s": Range(0, 5, "s"),
    "export_margin_w": Range(0, 10_000, "W"),
    "relax_hold_s": Range(0, 600, "s"),
    "data_hold_s": Range(1, 4, "s"),
    "failsafe_limit_w": Range(0, 1_000_000, "W", nullable=True),
    "stored_writes_per_day": Range(1, 1000, "writes", whole=True),
}
CHOICES: Mapping[str, Tuple[Any, ...]] = {
    "phase_count": (1, 3),
    "per_phase": (False, True, "strict"),
    "gradual_adjustment": (False, True),
    "stored_backstop": (False, True),
    "on_stop": ("keep", "release"),
    "dry_run": (False, True),
}
# The second of two is the most that the first may be.
ORDERED = (
    ("min_output_limit_w", "max_multiplus_output_w"),
    ("max_power_increase_per_step_w", "max_power_change_per_step_w"),
)


class ConfigError(ValueError):
    """The text is no usable configuration; ``faults`` holds one line each."""

    def __init__(self, faults: Tuple[str, ...]) -> None:
        super().__init__("; ".join(faults))
        self.faults = faults


def parse(text: str) -> Config:
    """Read a configuration; raise :class:`ConfigError` with every fault found, not the first."""
    given, twice = _load(text)
    faults = ["%s: given twice" % key for key in twice]
    bad = set(twice)
    values = {}
    for key, value in given.items():
        try:
            values[key] = _checked(key, value)
        except ValueError as fault:
            faults.append("%s: %s" % (key, fault))
            bad.add(key)

    config = Config(**values)
    if "max_power_increase_per_step_w" not in given:  # by default never above the decrease
        step_w = min(config.max_power_increase_per_step_w, config.max_power_change_per_step_w)
        config = config._replace(max_power_increase_per_step_w=step_w)
    faults.extend(fault for keys, fault in _faults_together(config) if not bad.intersection(keys))
    if faults:
        raise ConfigError(tuple(faults))
    return config


def summary(config: Config) -> str:
    """The limits, the methods and a dry run in one line, for the log."""
    limits_w = config.max_multiplus_output_w, config.max_grid_export_w
    shown = ["none" if limit_w is None else "%s W" % _plain(limit_w) for limit_w in limits_w]
    text = "output limit %s, export limit %s, methods " % tuple(shown) + ", ".join(config.methods)
    return text + (", dry run: nothing is written" if config.dry_run else "")


def armed_w(config: Config) -> Optional[float]:
    """The cap that keeps the output limit by itself, W; with ``per_phase`` strict it is one share.

    In whole watts, as a cap is written, and not above the limit.
    """
    if config.max_multiplus_output_w is None:
        return None
    share = config.phase_count if config.per_phase == "strict" else 1
    return max(1.0, float(math.floor(config.max_multiplus_output_w / share)))


def failsafe_limit_w(config: Config, pv_inverter: bool) -> float:
    """The cap to walk to when an export limit has lost its measurement, W.

    With every load switched off the inverter alone feeds in what it delivers, so the export
    limit itself is safe; not where an AC-coupled PV inverter adds to it, hence the floor.
    """
    wanted_w = config.failsafe_limit_w
    if wanted_w is None and not pv_inverter:
        wanted_w = config.max_grid_export_w
    return max(floor_w(config), wanted_w or 0.0)


def floor_w(config: Config) -> float:
    """The lowest cap ever written, W. Zero would read as "inverter off": Victron uses 1."""
    return max(1.0, config.min_output_limit_w)


def _load(text: str) -> Tuple[Mapping[str, Any], List[str]]:
    """The keys with their values, and which of them are given twice."""
    twice: Set[str] = set()

    def noted(pairs: Any) -> Mapping[str, Any]:
        names = [name for name, _ in pairs]
        twice.update(name for name in names if names.count(name) > 1)
        return dict(pairs)

    try:
        given = json.loads(text, object_pairs_hook=noted)
    except (ValueError, RecursionError) as error:
        raise ConfigError(("not JSON: %s" % error,)) from None
    if not isinstance(given, dict):
        raise ConfigError(("not a JSON object of keys and values",))
    return given, sorted(twice)


def _checked(key: str, value: Any) -> Any:
    """The clean value of one key; raises :class:`ValueError` with what is allowed instead."""
    if key in RANGES:
        return _number(RANGES[key], value)
    if key in CHOICES:
        return _choice(CHOICES[key], value)
    if key == "methods":
        return _methods(value)
    raise ValueError("unknown key; the keys are %s" % ", ".join(Config._fields))


def _number(allowed: Range, value: Any) -> Any:
    if value is None and allowed.nullable:
        return None
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    good = number and allowed.low <= value <= allowed.high  # NaN never is
    if good and not (allowed.whole and value % 1):
        return int(value) if allowed.whole else float(value)
    kind = "a whole number" if allowed.whole else "a number"
    none = ", or null for none" if allowed.nullable else ""
    raise _refused(value, "%s from %s%s" % (kind, _span(allowed), none))


def _choice(choices: Sequence[Any], value: Any) -> Any:
    for choice in choices:
        # 1 == True in Python; a configuration keeps them apart.
        if value == choice and isinstance(value, bool) == isinstance(choice, bool):
            return choice
    raise _refused(value, "one of %s" % ", ".join(map(json.dumps, choices)))


def _methods(value: Any) -> Tuple[str, ...]:
    if value == "auto":
        return METHOD_NAMES
    names = value if isinstance(value, list) else []
    good = [name for name in names if name in METHOD_NAMES and names.count(name) == 1]
    if not good or good != names:
        allowed = '"auto", or a list of one or more of %s, each once' % ", ".join(METHOD_NAMES)
        raise _refused(value, allowed)
    return tuple(good)


def _refused(value: Any, allowed: str) -> ValueError:
    text = json.dumps(value)
    shown = text if len(text) <= 40 else text[:37] + "..."
    return ValueError("%s is not allowed; %s" % (shown, allowed))


def _faults_together(config: Config) -> Iterator[Tuple[Tuple[str, str], str]]:
    """Faults of keys that are each allowed but not beside each other, with these keys."""
    if config.max_multiplus_output_w is None and config.max_grid_export_w is None:
        keys = "max_multiplus_output_w", "max_grid_export_w"
        yield keys, "%s: null leaves no limit at all; give it or %s a number" % keys
    for lower, upper in ORDERED:
        value, most = getattr(config, lower), getattr(config, upper)
        if most is not None and value > most:
            allowed = _span(RANGES[lower]._replace(high=most))
            yield (lower, upper), "%s: %s is above %s; %s" % (lower, _plain(value), upper, allowed)


def _span(allowed: Range) -> str:
    return "%s to %s %s" % (_plain(allowed.low), _plain(allowed.high), allowed.unit)


def _plain(number: float) -> str:
    """Never 1e+06: an operator reads these."""
    return "%d" % number if number == int(number) else "%g" % number
