"""Render data.json as one self-contained page: no network, no server, no other file.

The plots are uPlot's: 50 kB that draws a day of minutes in a millisecond and zooms. Pictures made
here for 500 sites would not fit into 5 MB, and could not be zoomed. It stands beside the templates
with its licence, since a controller may have no other registry than Python's.
"""

from __future__ import annotations

import base64
import datetime
import hashlib
import json
import re
import zlib
from pathlib import Path
from typing import Any, Mapping, Sequence

import jinja2

from . import compliance, fleet, formats, series

HERE = Path(__file__).resolve().parent
TEMPLATES = HERE.parent / "templates"
SCRIPTS = ("formats.js", "table.js", "plots.js", "site.js")

VERDICT_WORDS = {
    "kept": "Limit kept",
    "exceeded": "Limit exceeded",
    "not_enforceable": "Can't limit",
    "failsafe": "Failsafe",
    "not_running": "Not running",
    "not_reached": "Not reached",
    "dry_run": "Dry run",
}
WORST_FIRST = (*list(VERDICT_WORDS)[1:], "kept")
STATE_WORDS = {
    "monitoring": "Below the limit",
    "relaxing": "Lets the output rise",
    "limiting": "Holds the output down",
    "starting": "Starting",
    "stopping": "Stopping",
    "failsafe": "Measurements are lost",
    "not_enforceable": "Can't limit",
}
# A column, what it sorts by, if at all, and what it says at length.
HEADS = (
    ("Site", "text", "The site and its groups"),
    ("State", "number", "Whether the limit is kept, and what the agent does; the worst first"),
    ("Now", "number", "Output now, or export where only that is limited"),
    ("Limit", "number", "The limit of the same quantity"),
    ("Cap", "number", "What the agent allows the inverters now"),
    ("Last 24 h", None, "Output with its limit (dashed) and cap; red: above the limit"),
    ("Above 24 h", "number", "Energy above the limit in the last 24 hours"),
    ("Above 30 d", "number", "Energy above the limit in the last 30 days"),
    ("Method", "text", "How the limit is put in force"),
    ("Release", "text", "Commit and version of the agent"),
    ("Firmware", "text", "Version of Venus OS"),
    ("Last contact", "number", "When the device answered last"),
)
# Which playbook made the report, and what it calls its end.
MADE = {
    "status": ("by status.yml", ""),
    "deploy": ("after a roll-out", "Roll-out"),
    "rollback": ("after a rollback", "Rollback"),
}


def render(data: Mapping[str, Any]) -> str:
    """The page as text."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES / "page"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["at"] = at
    environment.filters["flags"] = flags
    environment.filters["iso"] = _iso
    environment.filters["moment"] = formats.moment
    environment.filters["searched"] = _searched
    environment.filters["unbroken"] = lambda head: re.sub(r"(\d) (\w)", "\\1\u00a0\\2", head)
    environment.filters["said"] = said
    environment.filters["shown"] = lambda value, kind: formats.KINDS[kind](value)
    script = "\n".join([_licensed(), *(_text(f"page/{name}") for name in SCRIPTS)])
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return environment.get_template("page.html.j2").render(
        data=data,
        made=MADE[data["playbook"]],
        rows=worst_first(data["sites"]),
        verdicts=list(VERDICT_WORDS),
        badness={verdict: -i for i, verdict in enumerate(WORST_FIRST)},
        groups=sorted({group for site in data["sites"] for group in site["groups"]}),
        heads=HEADS,
        limited=limited,
        words={
            "verdicts": VERDICT_WORDS,
            "states": STATE_WORDS,
            "order": list(STATE_WORDS),
            "ended": MADE[data["playbook"]][1],
            "statement": compliance.STATEMENT,
        },
        packed=[pack(site) for site in data["sites"]],
        styles=_text("uplot/uPlot.min.css") + _text("page/page.css"),
        script=script,
        script_sha256=digest,
    )


def pack(site: Mapping[str, Any]) -> str:
    """A site's part of data.json, compressed, for the browser to open when it is looked at."""
    small = dict(site)
    if site["history"] and site["history"]["series"]:
        packed = series.packed(site["history"]["series"])
        small["history"] = {**site["history"], "series": packed}
    text = json.dumps(small, separators=(",", ":"))
    return base64.b64encode(zlib.compress(text.encode())).decode()


def worst_first(sites: Sequence[Mapping[str, Any]]) -> list[tuple[int, Mapping[str, Any]]]:
    """Sites with their place in data.json: what needs a person comes first."""
    return sorted(enumerate(sites), key=lambda row: WORST_FIRST.index(row[1]["verdict"]))


def flags(site: Mapping[str, Any]) -> list[str]:
    """What a site is chosen by, besides its verdict."""
    found = ["limiting"] if fleet.holds_down(site) else []
    found += ["drifted"] if site["drift"] else []
    found += [site["rollout"]["state"]] if site["rollout"] else []
    return [*found, "release " + str(site["release"]["commit"])]


def limited(site: Mapping[str, Any]) -> str:
    """Which quantity is shown as the limited one; the output where both are."""
    limits = site["limits"]
    return "export" if limits["output_w"] is None and limits["export_w"] is not None else "output"


def said(site: Mapping[str, Any]) -> str:
    """State and reason in words; the badge beside them says the verdict already."""
    state = "" if site["state"] == site["verdict"] else STATE_WORDS.get(site["state"], "")
    return ": ".join(part for part in (state, site["reason"]) if part)


def at(data: Any, path: str) -> Any:
    """What stands at a path of names and numbers with dots; ``None`` where it ends early."""
    for key in path.split("."):
        if data is None:
            return None
        data = data[int(key)] if isinstance(data, list) else data.get(key)
    return data


def _searched(site: Mapping[str, Any]) -> str:
    """The text that the search looks through."""
    words = [VERDICT_WORDS[site["verdict"]], STATE_WORDS.get(site["state"], ""), site["reason"]]
    about = [site["name"], *site["groups"], *words, site["portal_id"], site["firmware"]]
    about += [site["method"], site["release"]["commit"], site["release"]["version"]]
    about += [*site["drift"], *site["warnings"], *(site["rollout"] or {}).values()]
    return " ".join(str(each) for each in about if each).lower()


def _iso(value_s: float) -> str:
    return datetime.datetime.fromtimestamp(value_s, datetime.timezone.utc).isoformat()


def _licensed() -> str:
    """The plotting library with its notice, which goes along with every copy."""
    return f"/*\n{_text('uplot/LICENSE')}*/\n{_text('uplot/uPlot.iife.min.js')}"


def _text(path: str) -> str:
    return (TEMPLATES / path).read_text()
