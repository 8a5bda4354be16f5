"""The page as a person uses it: sort, filter, search, open a site, zoom."""

from __future__ import annotations

import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select, WebDriverWait

from page import simulated
from page.reading import DRAWN, NAMES, at, click, opened, wait_for_site

NEWEST = simulated.COMMITS[1]


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


def test_the_worst_come_first_and_then_the_order_of_the_inventory(browser, five_hundred):
    opened(browser, five_hundred)

    worst = ["exceeded", "not_enforceable", "failsafe", "not_running", "not_reached", "dry_run"]
    sites = five_hundred.data["sites"]
    wanted = [s["name"] for verdict in [*worst, "kept"] for s in sites if s["verdict"] == verdict]
    assert browser.execute_script(NAMES) == wanted


@pytest.mark.parametrize(
    ("flag", "chosen"),
    [
        ("limiting", lambda site: site["state"] == "limiting"),
        ("drifted", lambda site: site["drift"]),
        (f"release {NEWEST}", lambda site: site["release"]["commit"] == NEWEST),
        ("release None", lambda site: not site["release"]["commit"]),
    ],
)
def test_a_chip_shows_as_many_sites_as_it_says(browser, five_hundred, flag, chosen):
    opened(browser, five_hundred)
    chip = browser.find_element(By.CSS_SELECTOR, f"[data-flag='{flag}']")

    chip.click()

    wanted = {site["name"] for site in five_hundred.data["sites"] if chosen(site)}
    assert wanted
    assert set(browser.execute_script(NAMES)) == wanted
    assert chip.text.endswith(f": {len(wanted)}")
    assert chip.get_attribute("aria-pressed") == "true"


def test_slash_begins_a_search_and_escape_shows_all(browser, ten):
    opened(browser, ten)
    keys = ActionChains(browser)

    keys.send_keys("/", "tartu").perform()
    assert browser.execute_script(NAMES) == ["tartu-dairy"]

    keys.reset_actions()
    keys.send_keys(Keys.ESCAPE).perform()
    assert len(browser.execute_script(NAMES)) == 10
    assert browser.find_element(By.ID, "search").get_attribute("value") == ""


def test_back_leads_to_where_the_table_was_left(browser, five_hundred):
    opened(browser, five_hundred)
    browser.execute_script("scrollTo(0, 5000)")

    browser.execute_script("location.hash = 'site-7'")
    wait_for_site(browser)
    ActionChains(browser).send_keys(Keys.ESCAPE).perform()
    WebDriverWait(browser, 5).until(lambda b: b.find_element(By.ID, "fleet").is_displayed())

    assert browser.execute_script("return scrollY") == pytest.approx(5000, abs=50)


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
    assert "Roll-out, rolled back: 1" in browser.find_element(By.CSS_SELECTOR, ".chips").text


def test_a_rollback_is_called_one(browser, write_report):
    host = simulated.site("tartu-dairy")._replace(rollout={"state": "confirmed", "reason": ""})

    opened(browser, write_report([host], "rollback"), 0)

    assert "Rollback: confirmed" in browser.find_element(By.ID, "site").text
    assert "after a rollback" in browser.find_element(By.CSS_SELECTOR, ".top").text


def test_what_an_installer_must_look_at_stands_above_the_rest(browser, write_report):
    host = simulated.site("a", warnings=["phase_count is 3, the inverter has 1"])
    host = host._replace(drift=["boot line: absent"])

    opened(browser, write_report([host]), 0)

    notice = browser.find_element(By.CSS_SELECTOR, "#site .notice").text
    assert notice.splitlines() == [
        "phase_count is 3, the inverter has 1",
        "Differs from the inventory: boot line: absent",
    ]


@pytest.mark.parametrize(
    ("applied_w", "words"), [(9_000.0, "held lower than our cap"), (1e5, "Nothing holds")]
)
def test_what_holds_the_device_lower_is_said(browser, write_report, applied_w, words):
    host = simulated.site("a", cap_w=10_000.0, others={"applied_w": applied_w, "hub4_mode": 2})

    opened(browser, write_report([host]), 0)

    text = browser.find_element(By.ID, "site").text
    assert words in text
    assert "2: each phase by itself" in text
