"""How the tests use the page: open it, find what is shown, and know what a field must say."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from role import load
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

formats = load("controller/formats.py")

TALLINN = ZoneInfo("Europe/Tallinn")
READY = "return document.documentElement.dataset.ready === 'yes'"
# The names of the rows that are shown, in their order.
NAMES = """
return [...document.querySelectorAll("#sites tbody tr")].filter((row) => !row.hidden)
  .map((row) => row.querySelector(".name a").textContent)
"""
# Whether anything but the background was drawn on each canvas of a selection.
DRAWN = """
return [...document.querySelectorAll(arguments[0])].map((canvas) => {
  const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
  return pixels.some((value, i) => i % 4 === 3 && value > 0);
})
"""
FIELDS = """
return [...document.querySelectorAll("[data-f], [data-total]")].map((each) => ({
  path: each.dataset.f ?? each.dataset.total,
  site: (each.closest("[data-site]") ?? {dataset: {}}).dataset.site ?? null,
  kind: each.dataset.k,
  text: each.textContent,
}))
"""
# Text with a digit that is shown and names no field of data.json.
UNNAMED = r"""
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), found = [];
while (walker.nextNode()) {
  const inside = walker.currentNode.parentElement;
  const named = inside.closest("script, [data-f], [data-total], .u-legend, #fleet[hidden]");
  if (!named && /\d/.test(walker.currentNode.data)) found.push(walker.currentNode.data.trim());
}
return found
"""
# What the page itself says with a digit: spans of time, and the statement on the record.
OWN_WORDS = "|".join(
    [
        *("24 h(ours)?", "30 d(ays)?", "6 h", "1 h", "EREC G100", "One point is 1 min"),
        *("below 15 s", "(of )?15 to 60 s", "15 s to 60 s", "above 60 s", "of 15 s or more"),
        *("within 10 min", "in (50|95|99) % of", "25 W", r"0\.2 % of"),
    ]
)

UNITS = {"_w": ("power", "exchange"), "_wh": ("energy",), "_a": ("current",)}


class Report(NamedTuple):
    """A report that was written: its page, and what its data.json says."""

    page: Path
    data: dict[str, Any]

    @classmethod
    def of(cls, page: Path) -> Report:
        """Read the data beside a page."""
        return cls(page, json.loads(page.with_name("data.json").read_text()))

    @property
    def url(self) -> str:
        """Return the page's address, as a person opens it from disk."""
        return self.page.as_uri()


def opened(browser: Chrome, report: Any, index: int | None = None) -> Chrome:
    """Open the page, or one site of it, and wait until it is there."""
    browser.get("about:blank")
    browser.get(report.url + ("" if index is None else f"#site-{index}"))
    WebDriverWait(browser, 30).until(lambda b: b.execute_script(READY))
    if index is not None:
        wait_for_site(browser)
    return browser


def wait_for_site(browser: Chrome) -> None:
    """Wait until a site has been opened."""
    WebDriverWait(browser, 10).until(lambda b: b.find_element(By.CSS_SELECTOR, "#site h2"))


def click(browser: Chrome, selector: str) -> None:
    """Click on the first that a selector finds."""
    browser.find_element(By.CSS_SELECTOR, selector).click()


def at(data: Any, path: str) -> Any:
    """Return what stands at a path of data.json."""
    for key in path.split("."):
        data = data[int(key)] if isinstance(data, list) else (data or {}).get(key)
    return data


def as_shown(value: Any, kind: str) -> str:
    """Return what the page must say of a value; a time is in the zone of the browser."""
    if kind == "moment" and value is not None:
        return datetime.fromtimestamp(value, TALLINN).strftime("%Y-%m-%d %H:%M")
    return formats.KINDS[kind](value)


def wrong_fields(browser: Chrome, report: Report, least: int) -> list[dict[str, Any]]:
    """Return the fields of the open page that are not what data.json says; there are so many."""
    fields = browser.execute_script(FIELDS)
    assert len(fields) >= least, len(fields)
    wrong = []
    for field in fields:
        of = report.data["sites"][int(field["site"])] if field["site"] else report.data["totals"]
        wanted = as_shown(at(of, field["path"]), field["kind"])
        if field["text"] != wanted or not _unit_is_right(field["path"], field["kind"]):
            wrong.append({**field, "wanted": wanted})
    return wrong


def untraced(browser: Chrome, report: Report) -> list[str]:
    """Return the texts with a digit that neither data.json nor the page's own words account for."""
    made_at = as_shown(report.data["made_at"], "moment")
    commits = [each["release"]["commit"] or "" for each in report.data["sites"]]
    known = {*_texts(report.data), *(commit[:8] for commit in commits), made_at}
    found = []
    for shown in browser.execute_script(UNNAMED):
        text = shown.replace("\u00a0", " ")
        for each in sorted(known, key=len, reverse=True):
            text = text.replace(each, "") if re.search(r"\d", each) else text
        if re.search(r"\d", re.sub(OWN_WORDS, "", text)):
            found.append(shown)
    return found


def _unit_is_right(path: str, kind: str) -> bool:
    """Say whether the unit in the name of a field is the one shown; a configuration has none."""
    name = re.sub(r"(\.\d+)+$", "", path)
    kinds = next((kinds for unit, kinds in UNITS.items() if name.endswith(unit)), (kind,))
    return kind in kinds or name.startswith("config.")


def _texts(data: Any) -> Iterator[str]:
    """Return every text of some data, and the name of every field."""
    if isinstance(data, dict):
        yield from data
    if isinstance(data, dict | list):
        for each in data.values() if isinstance(data, dict) else data:
            yield from _texts(each)
    elif isinstance(data, str):
        yield data
