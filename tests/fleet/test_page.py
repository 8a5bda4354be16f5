"""Ten simulated devices, two of which fail: each number of the page is one of data.json.

The pages are those that deploy.yml and status.yml wrote, opened in headless Chromium.
"""

import json

import jsonschema
import pytest
from page import example
from page.browser import missing, start
from page.reading import NAMES, Report, opened, untraced, wrong_fields
from role import ROLE
from selenium.webdriver.common.by import By

SCHEMA = json.loads((ROLE / "controller/data.schema.json").read_text())
NUMBERED = list(enumerate(example.PLACES))


def play_ahead(stage):
    """Deploy to ten sites, let two fail, look at all of them."""
    return example.play(stage.fleet, stage.controller())


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    if name := missing():
        pytest.skip(f"{name} is not installed")
    driver = start(tmp_path_factory.mktemp("chromium"), "Europe/Tallinn")
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def deployed(story):
    return Report.of(story.deploy)


@pytest.fixture(scope="module")
def looked(story):
    return Report.of(story.status)


def site(report, name):
    return next(site for site in report.data["sites"] if site["name"] == name)


@pytest.mark.parametrize("name", ["deployed", "looked"])
def test_the_data_is_as_its_schema_says(request, name):
    jsonschema.validate(request.getfixturevalue(name).data, SCHEMA)


def test_the_two_that_fail_are_found_and_all_are_counted_once(looked):
    verdicts = {site["name"]: site["verdict"] for site in looked.data["sites"]}

    assert verdicts == dict.fromkeys(example.PLACES, "kept") | {
        example.NO_ESS: "not_enforceable",
        example.NO_METER: "failsafe",
        example.EXCEEDED: "exceeded",
        example.WATCHED: "dry_run",
    }
    totals = looked.data["totals"]
    assert sum(totals["verdicts"].values()) == totals["sites"] == 10
    assert sum(release["sites"] for release in totals["releases"]) == 10


def test_the_data_is_what_the_sites_do(story, looked):
    for name, device in story.devices.items():
        told, limits = site(looked, name), device.spec.variables
        assert told["limits"] == {
            "output_w": limits.get("export_limiter_max_multiplus_output_w"),
            "export_w": limits.get("export_limiter_max_grid_export_w"),
        }
        assert told["portal_id"] == device.spec.portal_id
        assert told["firmware"] == device.spec.version
        low_w, high_w = sorted(story.outputs_w[name])
        apart_w = max(100, 0.01 * high_w)
        assert low_w - apart_w <= told["output_w"] <= high_w + apart_w, name


def test_the_day_and_the_days_before_are_there_at_the_end_of_a_roll_out_too(deployed, looked):
    for report in (deployed, looked):
        for each in report.data["sites"]:
            measured_s = each["compliance"]["day"]["measured_s"]
            assert measured_s > 80_000, each["name"]
            assert each["compliance"]["month"]["days"] == 21
    day = site(looked, example.EXCEEDED)["compliance"]["day"]
    assert [day[k] for k in ("below_15_s", "from_15_to_60_s", "above_60_s")] == [1, 1, 1]
    assert deployed.data["totals"]["rollout"]["confirmed"] == 10


@pytest.mark.parametrize(
    ("name", "event"),
    [
        (example.NO_ESS, "not_enforceable: the ESS assistant is not installed"),
        (example.NO_METER, "failsafe: no usable export measurement"),
    ],
)
def test_what_has_just_happened_is_the_last_event(looked, name, event):
    told = site(looked, name)

    assert told["history"]["events"][-1]["text"].startswith(event)
    assert told["history"]["events"][-1]["at"] == pytest.approx(told["state_since"], abs=2)


@pytest.mark.parametrize("name", ["deployed", "looked"])
def test_each_number_of_the_fleet_is_in_the_data(request, browser, name):
    report = request.getfixturevalue(name)
    opened(browser, report)

    assert wrong_fields(browser, report, 10 * 10 + 15) == []
    assert untraced(browser, report) == []
    assert sorted(browser.execute_script(NAMES)) == sorted(example.PLACES)


def test_the_cards_and_the_bar_add_up(browser, looked):
    opened(browser, looked)

    cards = browser.find_elements(By.CSS_SELECTOR, ".card b")
    shares = browser.execute_script(
        "return [...document.querySelectorAll('.bar i')].map((each) => Number(each.style.flexGrow))"
    )

    assert sum(int(card.text) for card in cards) == sum(shares) == 10
    assert browser.find_element(By.CSS_SELECTOR, ".answer h2").text == "Limit kept at 6 of 10 sites"


@pytest.mark.parametrize(("index", "name"), NUMBERED, ids=list(example.PLACES))
def test_each_number_of_a_site_is_in_the_data(browser, looked, index, name):
    opened(browser, looked, index)

    assert browser.find_element(By.CSS_SELECTOR, "#site h2").text.startswith(name)
    assert wrong_fields(browser, looked, 150) == []
    assert untraced(browser, looked) == []


def test_each_plot_is_of_the_series_in_the_data(browser, looked):
    opened(browser, looked)
    script = "siteAt(arguments[0]).then((site) => arguments[1](site.history.series))"

    for index, each in enumerate(looked.data["sites"]):
        assert browser.execute_async_script(script, index) == each["history"]["series"]
        assert each["history"]["series"]["step_s"] == 60
