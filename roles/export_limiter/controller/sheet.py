"""A fleet as a table for a spreadsheet: one line a site."""

from __future__ import annotations

import csv
import datetime
import io
import re
from typing import Any, Mapping

# The column, and where data.json has it for each site.
COLUMNS = {
    "site": "name",
    "groups": "groups",
    "portal_id": "portal_id",
    "verdict": "verdict",
    "state": "state",
    "state_since": "state_since",
    "reason": "reason",
    "output_w": "output_w",
    "output_limit_w": "limits.output_w",
    "export_w": "export_w",
    "export_limit_w": "limits.export_w",
    "cap_w": "cap_w",
    "binding": "binding",
    "enforceable": "enforceable",
    "method": "method",
    "commit": "release.commit",
    "version": "release.version",
    "in_place_since": "release.since",
    "firmware": "firmware",
    "machine": "machine",
    "last_contact": "last_contact",
    "day_measured_s": "compliance.day.measured_s",
    "day_above_s": "compliance.day.above_s",
    "day_above_wh": "compliance.day.above_wh",
    "day_excursions_below_15_s": "compliance.day.below_15_s",
    "day_excursions_15_to_60_s": "compliance.day.from_15_to_60_s",
    "day_excursions_above_60_s": "compliance.day.above_60_s",
    "day_longest_s": "compliance.day.longest_s",
    "day_highest_w": "compliance.day.highest_w",
    "day_output_p95_w": "compliance.day.output_p95_w",
    "day_output_max_w": "compliance.day.output_max_w",
    "month_above_s": "compliance.month.above_s",
    "month_above_wh": "compliance.month.above_wh",
    "month_excursions_above_60_s": "compliance.month.above_60_s",
    "rollout": "rollout.state",
    "drift": "drift",
}
TIMES = ("state_since", "in_place_since", "last_contact")
# A spreadsheet takes a text that begins so for a formula, and also what stands behind the end of a
# cell, which in many countries is a semicolon.
FORMULA = re.compile(r"(^|[;,\t\r\n])(\s*)(?=[=+\-@＝＋－＠])|^(?=[\t\r\n])")


def render(data: Mapping[str, Any]) -> str:
    """The table as CSV, with a line of names."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
    writer.writerow(COLUMNS)
    for site in data["sites"]:
        writer.writerow([_cell(name, _at(site, path)) for name, path in COLUMNS.items()])
    return text.getvalue()


def _at(site: Any, path: str) -> Any:
    for key in path.split("."):
        site = site.get(key) if site else None
    return site


def _cell(name: str, value: Any) -> Any:
    if value is None:
        return ""
    if name in TIMES:
        at = datetime.datetime.fromtimestamp(value, datetime.timezone.utc)
        return at.strftime("%Y-%m-%dT%H:%M:%SZ")
    if isinstance(value, list):
        value = "; ".join(map(str, value))
    if isinstance(value, str):
        return FORMULA.sub(lambda found: found[0] + "'", value)
    return str(value).lower() if isinstance(value, bool) else value
