"""The page as a person uses it: sort, filter, search, open a site, zoom."""

from __future__ import annotations

import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select, WebDriverWait

from page import simulated
from page.reading import DRAWN, NAMES, at, click, opened, wait_for_site


@pytest.mark.parametrize(
    ("head", "key"),
    [
        ("Now", "output_w"),
        ("Limit", "limits.output_w"),
        ("Above 24 h", "compliance.day.above_wh"),
        ("Last contact", "last_contact"),
    ],
)
def test_a_column_of_numbers_is_sorted_from_the_most(browser, five_hundred, head, key):
    opened(browser, five_hundred)

    browser.find_element(
        By.XPATH, f"//th/button[translate(text(), '\u00a0', ' ')='{head}']"
    ).click()

    values = {site["name"]: at(site, key) for site in five_hundred.data["sites"]}
    found = [values[name] for name in browser.execute_script(NAMES)]
    known = [value for value in found if value is not None]
    assert found[: len(known)] == sorted(known, reverse=True)
    assert found[len(known) :] == [None] * (500 - len(known))


def test_a_second_click_turns_the_order_round(browser, ten):
    opened(browser, ten)
    names = sorted(site["name"] for site in ten.data["sites"])

    click(browser, "#sites th:first-child button")
    assert browser.execute_script(NAMES) == names

    click(browser, "#sites th:first-child button")
    assert browser.execute_script(NAMES) == names[::-1]


def test_a_card_shows_only_its_sites_until_it_is_pressed_again(browser, ten):
    opened(browser, ten)

    click(browser, ".card[data-choose=exceeded]")
    assert browser.execute_script(NAMES) == ["saaremaa-farm"]
    assert browser.find_element(By.ID, "shown").text == "1 of 10 shown"

    click(browser, ".card[data-choose=exceeded]")
    assert len(browser.execute_script(NAMES)) == 10


def test_group_and_state_narrow_together(browser, five_hundred):
    opened(browser, five_hundred)

    Select(browser.find_element(By.ID, "group")).select_by_visible_text("north")
    Select(browser.find_element(By.ID, "verdict")).select_by_value("kept")

    sites = five_hundred.data["sites"]
    wanted = [s["name"] for s in sites if "north" in s["groups"] and s["verdict"] == "kept"]
    assert browser.execute_script(NAMES) == wanted


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("tallinn", ["tallinn-harbour"]),
        ("ESS assistant", ["oulu-sawmill"]),
        ("limit exceeded walking", ["saaremaa-farm"]),
        ("nowhere at all", []),
    ],
)
def test_search_looks_through_names_and_reasons(browser, ten, words, found):
    opened(browser, ten)

    browser.find_element(By.ID, "search").send_keys(words)

    assert browser.execute_script(NAMES) == found
    assert browser.find_element(By.ID, "none").is_displayed() == (found == [])


def test_a_row_opens_its_site_and_back_leads_back(browser, ten):
    opened(browser, ten)

    click(browser, "tr[data-site='3'] .badge")
    wait_for_site(browser)
    text = browser.find_element(By.ID, "site").text

    assert "saaremaa-farm" in text
    assert "not a certification" in text
    assert "locked itself out for: an excursion above 60 s" in text
    assert browser.execute_script(DRAWN, "#site canvas") == [True]

    browser.back()
    WebDriverWait(browser, 5).until(lambda b: b.find_element(By.ID, "fleet").is_displayed())


def test_the_plot_zooms_by_buttons_and_by_dragging(browser, ten):
    opened(browser, ten, 0)
    span = "return large.scales.x.max - large.scales.x.min"
    assert browser.execute_script(span) == pytest.approx(86400, abs=61)

    browser.find_element(By.XPATH, "//button[text()='6 h']").click()
    assert browser.execute_script(span) == 6 * 3600
    end = browser.execute_script("return large.scales.x.max")
    browser.find_element(By.XPATH, "//button[contains(text(), 'earlier')]").click()
    assert browser.execute_script("return large.scales.x.max") == end - 3 * 3600

    over = browser.find_element(By.CSS_SELECTOR, "#site .u-over")
    drag = ActionChains(browser).move_to_element(over).click_and_hold()
    drag.move_by_offset(over.size["width"] // 5, 0).release().perform()
    assert browser.execute_script(span) < 2 * 3600


def test_a_site_that_was_not_reached_says_so(browser, write_report):
    report = write_report([simulated.offline("inari-lodge")])

    opened(browser, report, 0)

    text = browser.find_element(By.ID, "site").text
    assert "Not reached" in text
    assert "Connection timed out" in text


def test_after_a_roll_out_each_row_says_how_it_ended(browser, write_report):
    host = simulated.site("tartu-dairy")
    host = host._replace(rollout={"state": "rolled back", "reason": "it crashes"})

    opened(browser, write_report([host], "deploy"))

    row = browser.find_element(By.CSS_SELECTOR, "#sites tbody tr").text
    assert "Roll-out: rolled back: it crashes" in row
    assert "after a roll-out" in browser.find_element(By.CSS_SELECTOR, ".top").text
