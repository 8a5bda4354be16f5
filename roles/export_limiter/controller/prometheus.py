"""A site as Prometheus metrics, for the textfile collector of the controller's node_exporter.

Names, base units and help follow Prometheus' conventions: watts, seconds and joules, `_total` for
counters, `_info` and one series for each state. What is not known has no sample.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any, Iterable, Iterator, Mapping, NamedTuple

PREFIX = "export_limiter_"
JOULES_IN_WH = 3600

Labels = Mapping[str, str]


class Metric(NamedTuple):
    """One metric with its samples."""

    name: str
    kind: str
    text: str
    samples: Iterable[tuple[Labels, float | None]]


def file_name(site: str) -> str:
    """A file for each site; whatever a site is called, it stays in its directory."""
    safe = re.sub(r"[^A-Za-z0-9_.-]", "_", site)
    if safe != site:
        safe += "-" + hashlib.sha256(site.encode()).hexdigest()[:8]
    return f"{PREFIX}{safe}.prom"


def render(site: Mapping[str, Any], states: Iterable[str], verdicts: Iterable[str]) -> str:
    """The file of one site, from its part of data.json."""
    lines = []
    for metric in _metrics(site, states, verdicts):
        samples = [(labels, value) for labels, value in metric.samples if value is not None]
        if not samples:
            continue
        lines.append(f"# HELP {PREFIX}{metric.name} {metric.text}")
        lines.append(f"# TYPE {PREFIX}{metric.name} {metric.kind}")
        for labels, value in samples:
            named = _labels({"site": site["name"], **labels})
            lines.append(f"{PREFIX}{metric.name}{{{named}}} {_number(value)}")
    return "\n".join(lines) + "\n"


def _metrics(
    site: Mapping[str, Any], states: Iterable[str], verdicts: Iterable[str]
) -> Iterator[Metric]:
    release, limits = site["release"], site["limits"]
    about = {
        "version": release["version"] or "",
        "commit": release["commit"] or "",
        "firmware": site["firmware"] or "",
        "method": site["method"] or "",
    }
    reached = 1 if site["reached"] else 0
    yield _gauge("up", "Whether the device answered.", reached)
    yield Metric("info", "gauge", "What runs on the device.", [(about, 1 if reached else None)])
    yield _one_of("state", "The state of the agent.", states, site["state"])
    yield _one_of("verdict", "Whether the site keeps its limit.", verdicts, site["verdict"])
    since = site["state_since"]
    yield _gauge("state_since_timestamp_seconds", "Since when the agent is in its state.", since)
    yield _gauge("enforceable", "Whether a cap would act now.", site["enforceable"])
    yield _gauge("binding", "Whether the cap holds the output down now.", site["binding"])
    yield _gauge("output_watts", "Power that the inverters deliver.", site["output_w"])
    yield _gauge("export_watts", "Power fed into the grid.", site["export_w"])
    yield _gauge("cap_watts", "Cap in force.", site["cap_w"])
    yield _gauge("output_limit_watts", "Limit of the output.", limits["output_w"])
    yield _gauge("export_limit_watts", "Limit of the export.", limits["export_w"])
    yield _gauge("drifted", "Whether the device differs from the inventory.", _drifted(site))
    yield _gauge(
        "last_contact_timestamp_seconds", "When the device last answered.", site["last_contact"]
    )
    yield _gauge("start_time_seconds", "When the agent was started.", site["started_at"])
    for name, text in (
        ("ticks", "Passes of the control loop."),
        ("writes", "Writes of a cap."),
        ("stored_writes", "Writes that went to flash."),
        ("refused_writes", "Writes that were refused."),
        ("failsafe_entries", "How often measurements were lost."),
    ):
        count = site["counters"].get(name)
        yield Metric(f"{name}_total", "counter", text, [({}, count)])
    if site["compliance"]:
        yield from _day(site["compliance"]["day"])


def _day(day: Mapping[str, Any]) -> Iterator[Metric]:
    """The last 24 hours: gauges, since they move with the window."""
    span = "in the last 24 hours."
    yield _gauge("day_measured_seconds", f"Time with usable measurements {span}", day["measured_s"])
    yield _gauge("day_above_limit_seconds", f"Time above the limit {span}", day["above_s"])
    above_j = day["above_wh"] * JOULES_IN_WH
    yield _gauge("day_above_limit_joules", f"Energy above the limit {span}", above_j)
    yield _gauge("day_longest_excursion_seconds", f"Longest excursion {span}", day["longest_s"])
    yield Metric(
        "day_excursions",
        "gauge",
        f"Excursions {span}",
        [
            ({"length": "below 15 s"}, day["below_15_s"]),
            ({"length": "15 to 60 s"}, day["from_15_to_60_s"]),
            ({"length": "above 60 s"}, day["above_60_s"]),
        ],
    )


def _drifted(site: Mapping[str, Any]) -> bool | None:
    return bool(site["drift"]) if site["reached"] else None


def _gauge(name: str, text: str, value: float | None) -> Metric:
    return Metric(name, "gauge", text, [({}, value)])


def _one_of(name: str, text: str, names: Iterable[str], actual: str | None) -> Metric:
    return Metric(name, "gauge", text, [({name: each}, each == actual) for each in names])


def _labels(labels: Labels) -> str:
    return ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items())


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _number(value: float) -> str:
    return repr(float(value)) if isinstance(value, float) else str(int(value))
