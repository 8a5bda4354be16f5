"""Every number on the page is one of data.json, and the totals add up."""

from __future__ import annotations

import pytest
from role import load
from selenium.webdriver.common.by import By

from page.reading import NAMES, opened, untraced, wrong_fields

formats = load("controller/formats.py")


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

    assert untraced(browser, ten) == []


def test_a_number_that_is_not_in_the_data_would_be_found(browser, ten):
    opened(browser, ten)
    browser.execute_script("$('.answer').append('77 sites')")
    browser.execute_script("$('[data-f=output_w]').textContent = '77.00 kW'")

    assert untraced(browser, ten) == ["77 sites"]
    assert [field["text"] for field in wrong_fields(browser, ten, 1)] == ["77.00 kW"]


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
