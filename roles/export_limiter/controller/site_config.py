"""Build a site's config.json from its inventory variables, by one code path.

Whatever ansible-core and whether a value came from YAML, a template or ``-e``: each variable is
coerced by the role's argument spec, written as canonical JSON and judged by the very agent that
will read it. So the same inventory always gives the same release id.
"""

from __future__ import annotations

import difflib
import json
import math
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Callable, Collection, Mapping, NamedTuple

import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.module_utils.common.validation import check_type_bool

PREFIX = "export_limiter_"
SPEC = Path(__file__).resolve().parent.parent / "meta" / "argument_specs.yml"
LIMITS = ("max_multiplus_output_w", "max_grid_export_w")
# The variables that the controller uses; all others are keys of config.json.
FLEET = [
    "commit",
    "sha256",
    "repository",
    "allowed_signers",
    "portal_id",
    "min_free_kb",
    "max_load",
    "health_s",
    "allowed_reasons",
    "canaries",
    "waves",
    "max_failures",
    "max_offline",
    "lost_link_s",
    "report",
    "reports",
    "prometheus",
    "allow_older",
    "higher_limit",
    "release_limit",
    "release_s",
    "remove",
]
# What a text must look like, or each text of a list.
SHAPES = {
    "commit": r"[0-9a-f]{40}|worktree",
    "sha256": r"[0-9a-f]{64}",
    "allowed_reasons": r"\s*\S.*",
    "waves": r"[1-9][0-9]*|([1-9][0-9]?|100)%",
}
# Where options for ssh may stand; the first that says something is what ssh takes.
SSH_OPTIONS = ("ssh_args", "ssh_common_args", "ssh_extra_args")
ANY_HOST_KEY = re.compile(r"StrictHostKeyChecking[\s='\"]+(?!yes\b)[\w-]+", re.IGNORECASE)
CHECK_TIMEOUT_S = 120


class Site(NamedTuple):
    """What the inventory says of one site: its configuration as text, the rest, every fault."""

    config: str
    settings: dict[str, Any]
    faults: list[str]


def options() -> dict[str, dict[str, Any]]:
    """The role's variables by full name, as its argument spec types them."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # four times as fast
    spec = yaml.load(SPEC.read_text(), Loader=loader)
    return spec["argument_specs"]["main"]["options"]


def render(variables: Mapping[str, Any], hosts: Collection[str] = ()) -> Site:
    """Read a site's variables; each fault names the variable and what is allowed.

    What is empty is as if it were not given. With ``hosts`` a canary must be one of them.
    """
    known = options()
    faults = [_unknown(name, known) for name in sorted(set(variables) - set(known))]
    values = {}
    for name, spec in known.items():
        value, fault = _coerced(name, _given(name, variables, spec), spec)
        fault = fault or _outside(name, value, spec)
        if name == PREFIX + "canaries" and hosts and not fault:
            strangers = [host for host in value or [] if host not in hosts]
            fault = f"{strangers[0]!r} is no host of gx" if strangers else ""
        if fault:
            faults.append(f"{name}: {fault}; allowed: {_allowed(spec)}")
            value = spec.get("default")
        if value is not None:
            values[name[len(PREFIX) :]] = value

    if not any(f"{PREFIX}{limit}" in fault for fault in faults for limit in LIMITS):
        if not any(limit in values for limit in LIMITS):
            given = " or ".join(f"{PREFIX}{limit}" for limit in LIMITS)
            faults.append(f"{given}: one of the two is required, a site without a limit is refused")
        # The agent has a default for this one; a site without an output limit must say so.
        values.setdefault("max_multiplus_output_w", None)
    config = {key: value for key, value in values.items() if key not in FLEET}
    settings = {key: value for key, value in values.items() if key in FLEET}
    return Site(json.dumps(config, indent=2, sort_keys=True) + "\n", settings, faults)


def check(agent: Mapping[str, str], configs: Mapping[str, str]) -> list[str]:
    """Have an agent, by its files, judge the configuration of each host; one line per fault."""
    files = {f"{number}.json": host for number, host in enumerate(configs)}
    texts = {file: configs[host] for file, host in files.items()}
    with tempfile.TemporaryDirectory() as directory:
        for path, text in {**agent, **texts}.items():
            target = Path(directory, path)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(text.encode())
        done = subprocess.run(
            [sys.executable, "-E", "-s", "-B", "-m", "export_limiter", "check-config", *files],
            cwd=directory,
            capture_output=True,
            text=True,
            timeout=CHECK_TIMEOUT_S,
        )
    if not done.returncode:
        return []
    lines = done.stderr.strip().splitlines()
    faults = [
        f"{host}: {PREFIX}{line[len(file) + 2 :]}"
        for line in lines
        for file, host in files.items()
        if line.startswith(file + ": ")
    ]
    return faults or [f"the agent's check-config failed: {lines[-1] if lines else 'no reason'}"]


def unchecked(option: Callable[[str], Any]) -> list[str]:
    """Where an option of the connection has ssh accept another host key than the known one."""
    said = {name: ANY_HOST_KEY.search(option(name) or "") for name in SSH_OPTIONS}
    allowed = "StrictHostKeyChecking=yes, or nothing of it"
    return [
        f"ansible_{name}: {found[0]}; allowed: {allowed}" for name, found in said.items() if found
    ]


def _unknown(name: str, known: Mapping[str, Any]) -> str:
    bare = [each[len(PREFIX) :] for each in known]
    nearest = difflib.get_close_matches(name[len(PREFIX) :], bare, n=1)
    hint = f"; did you mean {PREFIX}{nearest[0]}?" if nearest else ""
    return f"{name}: unknown variable{hint}"


def _given(name: str, variables: Mapping[str, Any], spec: Mapping[str, Any]) -> Any:
    """The value, or the default where there is none; a default that is a template is Ansible's."""
    value, default = variables.get(name), spec.get("default")
    ours = name not in variables or "{{" not in str(default)
    return default if value is None and ours else value


def _coerced(name: str, value: Any, spec: Mapping[str, Any]) -> tuple[Any, str]:
    """The value in its type and no fault, or none and the fault."""
    kind = spec["type"]
    if value is None:
        required = spec.get("required") or "default" in spec
        return None, "is required" if required else ""
    if isinstance(value, bool) and kind in ("int", "float", "str"):
        return None, f"{value!r} is not of type {kind}"
    result = ArgumentSpecValidator({name: dict(spec)}).validate({name: value})
    if result.error_messages:
        choices = "choices" in spec and "must be one of" in result.error_messages[0]
        reason = "is not one of the choices" if choices else f"is not of type {kind}"
        return None, f"{str(value)[:40]!r} {reason}"
    value = result.validated_parameters[name]
    if kind == "float":
        if not math.isfinite(value):
            return None, f"{value} is not a finite number"
        return (int(value) if value == int(value) else float(value)), ""
    if name == PREFIX + "per_phase" and value != "strict":
        try:
            return check_type_bool(value), ""
        except TypeError:
            return None, f"{str(value)[:40]!r} is not one of the choices"
    if name == PREFIX + "methods" and value == ["auto"]:
        return "auto", ""
    return [str(item) for item in value] if kind == "list" else _plain(value), ""


def _outside(name: str, value: Any, spec: Mapping[str, Any]) -> str:
    """Ranges and shapes of our own variables; those of the site are the agent's to judge."""
    bare = name[len(PREFIX) :]
    if value is None or bare not in FLEET:
        return ""
    if bare in SHAPES:
        texts = value if isinstance(value, list) else [value]
        odd = [text for text in texts if not re.fullmatch(SHAPES[bare], text)]
        if odd:
            return f"{odd[0][:40]!r} is not one"
        return "" if texts or not spec["default"] else "is empty"
    bounds = re.match(r"([0-9.]+) (?:to ([0-9.]+)|or more)", _allowed(spec))
    if not bounds:
        return ""
    low, high = float(bounds[1]), float(bounds[2] or "inf")
    return "" if low <= value <= high else f"{value} is outside"


def _plain(value: Any) -> Any:
    """Without the tags that ansible-core 2.19 adds to what it has read."""
    for kind in (bool, int, str):
        if isinstance(value, kind):
            return kind(value)
    return value


def _allowed(spec: Mapping[str, Any]) -> str:
    return spec["description"][-1].removeprefix("Allowed: ").rstrip(".")
