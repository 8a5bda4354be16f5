"""Every number on the page is one of data.json, and the totals add up."""

from __future__ import annotations

from datetime import datetime

import pytest
from role import load
from selenium.webdriver.common.by import By

from page import simulated
from page.reading import NAMES, TALLINN, as_shown, at, opened

formats = load("controller/formats.py")

FIELDS = """
return [...document.querySelectorAll("[data-f], [data-total]")].map((each) => ({
  path: each.dataset.f ?? each.dataset.total,
  site: (each.closest("[data-site]") ?? {dataset: {}}).dataset.site ?? null,
  kind: each.dataset.k,
  text: each.textContent,
}))
"""
# Text with a digit that stands in no field of data.json.
UNTRACED = r"""
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), found = [];
while (walker.nextNode()) {
  const inside = walker.currentNode.parentElement;
  const traced = inside.closest("script, [data-f], [data-total], .u-legend, #fleet[hidden]");
  if (!traced && /\d/.test(walker.currentNode.data)) found.push(walker.currentNode.data.trim());
}
return found
"""


def strings(data):
    """Every text in some data."""
    if isinstance(data, dict | list):
        for each in data.values() if isinstance(data, dict) else data:
            yield from strings(each)
    elif isinstance(data, str):
        yield data


def wrong_fields(browser, report, least):
    """Fields of the open page that are not what data.json says."""
    fields = browser.execute_script(FIELDS)
    assert len(fields) >= least
    of_site = [(report.data["sites"][int(f["site"])] if f["site"] else None) for f in fields]
    return [
        field
        for field, site in zip(fields, of_site, strict=True)
        if field["text"]
        != as_shown(at(site or report.data["totals"], field["path"]), field["kind"])
    ]


def test_every_number_of_the_fleet_is_in_the_data(browser, ten):
    opened(browser, ten)

    assert wrong_fields(browser, ten, 10 * 8 + 15) == []


@pytest.mark.parametrize("index", [0, 3, 7], ids=["kept", "exceeded", "not enforceable"])
def test_every_number_of_a_site_is_in_the_data(browser, ten, index):
    opened(browser, ten, index)

    assert wrong_fields(browser, ten, 100) == []


@pytest.mark.parametrize("index", [None, 0, 3], ids=["fleet", "kept", "exceeded"])
def test_no_number_stands_there_without_the_data(browser, ten, index):
    opened(browser, ten, index)

    known = [*strings(ten.data), *(key for site in ten.data["sites"] for key in site["config"])]
    labels = ("24 h", "6 h", "1 h", "24 hours", "30 days", "Above 24 h", "Above 30 d", "Last 24 h")
    labels += ("By above 24 h", "By above 30 d")
    unknown = [
        text
        for text in (t.replace("\u00a0", " ") for t in browser.execute_script(UNTRACED))
        if text not in labels
        and not any(part in text for part in ("15 s", "60 s", "% of", "24 hours", "in 30 days"))
        and not any(word and (word in text or text in word) for word in known)
        and not text.startswith(datetime.fromtimestamp(simulated.NOW, TALLINN).strftime("%Y-%m-%d"))
        and "One point is 1 min" not in text
    ]

    assert unknown == []


def test_browser_and_template_write_numbers_alike(browser, ten):
    opened(browser, ten)
    values = {
        "power": [None, 0, 4, 5, 14.999, 15, 125, -125, 4995, 12345.6, 1e6, -30],
        "exchange": [None, 0, 4, 125, -125, -12345.6],
        "current": [None, 0, 0.05, 12.25, 100],
        "mode": [None, 1, 2, 3, 4],
        "energy": [None, 0, 0.05, 0.25, 12.34, 999.94, 999.96, 1000, 1125, 98765.4],
        "duration": [None, 0, 0.5, 1.5, 119.4, 120, 7199, 7200, 86340, -2],
        "plain": [None, 0, 17, True, False, "", "text"],
    }

    script = "return arguments[1].map((value) => show(arguments[0], value))"
    shown = {kind: browser.execute_script(script, kind, each) for kind, each in values.items()}

    assert shown == {kind: [formats.KINDS[kind](v) for v in each] for kind, each in values.items()}


def test_the_plot_is_of_the_series_in_the_data(browser, ten):
    opened(browser, ten)

    script = (
        "siteAt(arguments[0]).then((s) => arguments[1]({...s.history.series, limits: s.limits}))"
    )
    for index, site in enumerate(ten.data["sites"]):
        series = browser.execute_async_script(script, index)
        assert series == {**site["history"]["series"], "limits": site["limits"]}


def test_two_faulty_sites_of_ten_are_counted(browser, ten):
    opened(browser, ten)

    cards = browser.find_elements(By.CSS_SELECTOR, ".card")
    counts = {card.get_attribute("data-choose"): int(card.text.split("\n")[0]) for card in cards}

    assert {k: v for k, v in counts.items() if v} == {
        "kept": 8,
        "exceeded": 1,
        "not_enforceable": 1,
    }
    assert sum(counts.values()) == len(browser.execute_script(NAMES)) == 10


def test_totals_add_up(five_hundred):
    totals, sites = five_hundred.data["totals"], five_hundred.data["sites"]

    assert sum(totals["verdicts"].values()) == totals["sites"] == len(sites) == 500
    assert sum(release["sites"] for release in totals["releases"]) == 500
    assert min(totals["verdicts"][each] for each in ("kept", "exceeded", "not_reached")) > 0
