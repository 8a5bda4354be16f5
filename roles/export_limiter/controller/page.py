"""Render data.json as one self-contained page: no network, no server, no other file.

The plots are uPlot's: 50 kB that draws a day of minutes in a millisecond and zooms. Pictures made
here for 500 sites would not fit into 5 MB, and could not be zoomed. It stands beside the templates
with its licence, since a controller may have no other registry than Python's.
"""

from __future__ import annotations

import base64
import datetime
import functools
import hashlib
import importlib.util
import json
import re
import zlib
from pathlib import Path
from typing import Any, Mapping

import jinja2

HERE = Path(__file__).resolve().parent
TEMPLATES = HERE.parent / "templates"
SCRIPTS = ("formats.js", "table.js", "plots.js", "site.js")

VERDICT_WORDS = {
    "kept": "Limit kept",
    "exceeded": "Limit exceeded",
    "not_enforceable": "Can't limit",
    "failsafe": "Failsafe",
    "dry_run": "Dry run",
    "not_running": "Not running",
    "not_reached": "Not reached",
}
STATE_WORDS = {
    "monitoring": "Below the limit",
    "relaxing": "Lets the output rise",
    "limiting": "Holds the output down",
    "starting": "Starting",
    "stopping": "Stopping",
    "failsafe": "Measurements are lost",
    "not_enforceable": "Can't limit",
}
# What a column sorts by, if at all.
HEADS = (
    ("Site", "text"),
    ("State", "number"),
    ("Now", "number"),
    ("Limit", "number"),
    ("Cap", "number"),
    ("Last 24 h", None),
    ("Above 24 h", "number"),
    ("Above 30 d", "number"),
    ("Method", "text"),
    ("Release", "text"),
    ("Firmware", "text"),
    ("Last contact", "number"),
)


def render(data: Mapping[str, Any]) -> str:
    """The page as text."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES / "page"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    formats = _load("formats")
    environment.filters["at"] = at
    environment.filters["iso"] = _iso
    environment.filters["moment"] = formats.moment
    environment.filters["searched"] = _searched
    environment.filters["unbroken"] = lambda head: re.sub(r"(\d) (\w)", "\\1\u00a0\\2", head)
    environment.filters["said"] = said
    environment.filters["shown"] = lambda value, kind: formats.KINDS[kind](value)
    script = "\n".join([_licensed(), *(_text(f"page/{name}") for name in SCRIPTS)])
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    verdicts = list(VERDICT_WORDS)[::-1]
    return environment.get_template("page.html.j2").render(
        data=data,
        verdicts=verdicts,
        groups=sorted({group for site in data["sites"] for group in site["groups"]}),
        heads=HEADS,
        limited=limited,
        words={
            "verdicts": VERDICT_WORDS,
            "states": STATE_WORDS,
            "order": list(STATE_WORDS),
            "made": {"status": "by status.yml", "deploy": "after a roll-out"},
            "statement": _load("compliance").STATEMENT,
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
        series = _load("series").packed(site["history"]["series"])
        small["history"] = {**site["history"], "series": series}
    text = json.dumps(small, separators=(",", ":"))
    return base64.b64encode(zlib.compress(text.encode())).decode()


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
    about += [site["method"], site["release"]["commit"], site["release"]["version"], *site["drift"]]
    return " ".join(str(each) for each in about if each).lower()


def _iso(value_s: float) -> str:
    return datetime.datetime.fromtimestamp(value_s, datetime.timezone.utc).isoformat()


def _licensed() -> str:
    """The plotting library with its notice, which goes along with every copy."""
    return f"/*\n{_text('uplot/LICENSE')}*/\n{_text('uplot/uPlot.iife.min.js')}"


def _text(path: str) -> str:
    return (TEMPLATES / path).read_text()


@functools.lru_cache(None)
def _load(name: str) -> Any:
    """A module beside this one: a plugin can't import by name."""
    spec = importlib.util.spec_from_file_location(f"export_limiter_{name}", HERE / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
