"""How the tests use the page: open it, find what is shown, and know what a field must say."""

from __future__ import annotations

from datetime import datetime
from typing import Any
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
