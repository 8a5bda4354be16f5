"""The configuration file: JSON text in, a :class:`Config` out, every fault named in one line."""

from __future__ import annotations

import json
from typing import Any, List, Mapping, NamedTuple, Optional, Set, Tuple, Union

METHOD_NAMES = (
    "ac_power_limit",
    "phase_power_limit",
    "max_power",
    "ess_override",
    "ess_setting",
)


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
        fault, clean = _check(key, value)
        if fault:
            faults.append("%s: %s" % (key, fault))
            bad.add(key)
        else:
            values[key] = clean

    config = _with_default_increase(Config(**values), given)
    faults.extend(fault for keys, fault in _check_together(config) if not bad.intersection(keys))
    if faults:
        raise ConfigError(tuple(faults))
    return config


def summary(config: Config) -> str:
    """The limits, the methods and a dry run in one line, for the log."""
    limits_w = config.max_multiplus_output_w, config.max_grid_export_w
    shown = ["none" if limit_w is None else "%s W" % _plain(limit_w) for limit_w in limits_w]
    text = "output limit %s, export limit %s, methods " % tuple(shown) + ", ".join(config.methods)
    return text + (", dry run: nothing is written" if config.dry_run else "")


def failsafe_limit_w(config: Config, pv_inverter: bool) -> float:
    """The cap to walk to when an export limit has lost its measurement, W.

    With every load switched off the inverter alone feeds in what it delivers, so the export
    limit itself is safe; not where an AC-coupled PV inverter adds to it, hence the floor.
    """
    floor = floor_w(config)
    if config.failsafe_limit_w is not None:
        return max(floor, config.failsafe_limit_w)
    if pv_inverter or config.max_grid_export_w is None:
        return floor
    return max(floor, config.max_grid_export_w)


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


def _check(key: str, value: Any) -> Tuple[str, Any]:
    """A fault ('' when there is none) and the clean value of one key."""
    if key in RANGES:
        return _check_number(RANGES[key], value)
    if key in CHOICES:
        for choice in CHOICES[key]:
            # 1 == True in Python; a configuration keeps them apart.
            if value == choice and isinstance(value, bool) == isinstance(choice, bool):
                return "", choice
        allowed = ", ".join(json.dumps(choice) for choice in CHOICES[key])
        return "%s is not allowed; one of %s" % (_shown(value), allowed), None
    if key == "methods":
        return _check_methods(value)
    return "unknown key; the keys are %s" % ", ".join(Config._fields), None


def _check_number(allowed: Range, value: Any) -> Tuple[str, Any]:
    text = "%s to %s %s" % (_plain(allowed.low), _plain(allowed.high), allowed.unit)
    text = "a whole number from %s" % text if allowed.whole else "a number from %s" % text
    if allowed.nullable:
        text += ", or null for none"
        if value is None:
            return "", None
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    good = number and allowed.low <= value <= allowed.high  # NaN never is
    if not good or (allowed.whole and value % 1):
        return "%s is not allowed; %s" % (_shown(value), text), None
    return "", int(value) if allowed.whole else float(value)


def _check_methods(value: Any) -> Tuple[str, Any]:
    if value == "auto":
        return "", METHOD_NAMES
    allowed = '"auto", or a list of one or more of %s, each once' % ", ".join(METHOD_NAMES)
    good = (
        isinstance(value, list)
        and value
        and all(isinstance(name, str) and name in METHOD_NAMES for name in value)
        and len(set(value)) == len(value)
    )
    if not good:
        return "%s is not allowed; %s" % (_shown(value), allowed), None
    return "", tuple(value)


def _with_default_increase(config: Config, given: Mapping[str, Any]) -> Config:
    """Without a value of its own the increase is never larger than the decrease."""
    if "max_power_increase_per_step_w" in given:
        return config
    step = min(config.max_power_increase_per_step_w, config.max_power_change_per_step_w)
    return config._replace(max_power_increase_per_step_w=step)


def _check_together(config: Config) -> List[Tuple[Tuple[str, ...], str]]:
    """Faults of keys that are each allowed but not beside each other, with these keys."""
    found: List[Tuple[Tuple[str, ...], str]] = []
    output, floor = config.max_multiplus_output_w, config.min_output_limit_w
    down, up = config.max_power_change_per_step_w, config.max_power_increase_per_step_w
    if output is None and config.max_grid_export_w is None:
        keys = "max_multiplus_output_w", "max_grid_export_w"
        found.append((keys, "%s: null leaves no limit at all; give it or %s a number" % keys))
    if output is not None and floor > output:
        keys = "min_output_limit_w", "max_multiplus_output_w"
        found.append((keys, "%s: %g is above %s; 0 to %g W" % (keys[0], floor, keys[1], output)))
    if up > down:
        keys = "max_power_increase_per_step_w", "max_power_change_per_step_w"
        found.append((keys, "%s: %g is above %s; 1 to %g W" % (keys[0], up, keys[1], down)))
    return found


def _plain(number: float) -> str:
    """Never 1e+06: an operator reads these."""
    return "%d" % number if number == int(number) else "%g" % number


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else text[:37] + "..."
