"""Write what is known of a fleet: a page for people, JSON and CSV for programs, and metrics."""

from __future__ import annotations

import datetime
import functools
import json
import os
from pathlib import Path
from typing import Any, Mapping, Sequence

from . import fleet, page, prometheus, series, sheet

PAGE_BYTES = 4_900_000  # opens on a phone, goes through mail
LATEST = "latest"
CONTACTS = "contacts.json"


def write(
    directory: str,
    hosts: Sequence[Mapping[str, Any]],
    made_at: float,
    playbook: str,
    metrics: str = "",
) -> Path | None:
    """Write a new directory below ``directory``, and the metrics; the page's path.

    ``hosts`` have the fields of fleet.Host. Where a directory is empty nothing is written there.
    """
    known = [fleet.Host(**host) for host in hosts]
    contacts = _contacts(directory)
    build = functools.partial(fleet.build, known, made_at, playbook, contacts)
    data, html = _fitting(build) if directory else (build(), "")
    if metrics:
        _write_metrics(Path(metrics), data)
    if not directory:
        return None
    at = datetime.datetime.fromtimestamp(made_at, datetime.timezone.utc)
    place = Path(directory) / at.strftime("%Y-%m-%dT%H%M%SZ")
    place.mkdir(parents=True, exist_ok=True)
    _replace(place / "index.html", html)
    _replace(place / "data.json", json.dumps(data, separators=(",", ":")) + "\n")
    _replace(place / "data.csv", sheet.render(data))
    contacts.update({each["name"]: each["last_contact"] for each in data["sites"]})
    _replace(place.with_name(CONTACTS), json.dumps(contacts, indent=1, sort_keys=True) + "\n")
    link = place.with_name(LATEST + ".new")
    link.unlink(missing_ok=True)
    link.symlink_to(place.name)
    os.replace(link, place.with_name(LATEST))
    return place / "index.html"


def _fitting(build: Any) -> tuple[dict[str, Any], str]:
    """The data and its page, with as few minutes to a point of its plots as fit."""
    steps = series.STEPS_MIN
    least = 1.0
    for step in steps:
        if step < least and step != steps[-1]:
            continue
        data = build(step)
        html = page.render(data)
        least = step * len(html.encode()) / PAGE_BYTES
        if least <= step:
            break
    return data, html


def _write_metrics(directory: Path, data: Mapping[str, Any]) -> None:
    for site in data["sites"]:
        text = prometheus.render(site, fleet.STATES, fleet.VERDICTS)
        _replace(directory / prometheus.file_name(site["name"]), text)


def _contacts(directory: str) -> dict[str, Any]:
    """When each site was last reached; a report of a part of the fleet forgets none."""
    try:
        return dict(json.loads((Path(directory) / CONTACTS).read_text()))
    except (OSError, ValueError):
        return {}


def _replace(path: Path, text: str) -> None:
    """In one step: who reads meanwhile sees the old or the new."""
    beside = path.with_name(f".{path.name}.new")
    beside.write_text(text)
    beside.replace(path)
