"""The fleet page as a person meets it: what it says, sorts, finds and draws, in a real browser."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from role import load
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select, WebDriverWait

from page import simulated

formats = load("controller/formats.py")

TALLINN = ZoneInfo("Europe/Tallinn")
MOST_BYTES = 5_000_000
FIRST_PAINT_MS = 2000
LOAD_CPU_S = 2.0
ACTION_CPU_S = 0.5

READY = "return document.documentElement.dataset.ready === 'yes'"
NAMES = """
return [...document.querySelectorAll("#sites tbody tr")].filter((row) => !row.hidden)
  .map((row) => row.querySelector(".name a").textContent)
"""
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
# Whether anything but the background was drawn on each canvas of a selection.
DRAWN = """
return [...document.querySelectorAll(arguments[0])].map((canvas) => {
  const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
  return pixels.some((value, i) => i % 4 === 3 && value > 0);
})
"""


def opened(browser, report, index=None):
    """Open the page, or one site of it."""
    browser.get("about:blank")
    browser.get(report.url + ("" if index is None else f"#site-{index}"))
    WebDriverWait(browser, 30).until(lambda b: b.execute_script(READY))
    if index is not None:
        wait_for_site(browser)
    return browser


def wait_for_site(browser):
    WebDriverWait(browser, 10).until(lambda b: b.find_element(By.CSS_SELECTOR, "#site h2"))


def click(browser, selector):
    browser.find_element(By.CSS_SELECTOR, selector).click()


def at(data, path):
    for key in path.split("."):
        data = data[int(key)] if isinstance(data, list) else (data or {}).get(key)
    return data


def as_shown(value, kind):
    """What the page must say of a value; a time is in the zone of the browser."""
    if kind == "moment" and value is not None:
        return datetime.fromtimestamp(value, TALLINN).strftime("%Y-%m-%d %H:%M")
    return formats.KINDS[kind](value)


def strings(data):
    """Every text in some data."""
    if isinstance(data, dict | list):
        for each in data.values() if isinstance(data, dict) else data:
            yield from strings(each)
    elif isinstance(data, str):
        yield data


# --- every number


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


# --- totals


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


# --- sorting, filtering, search


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


# --- a site


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


# --- looks


def colours(browser):
    script = "const s = getComputedStyle(document.body); return [s.backgroundColor, s.color]"
    return browser.execute_script(script)


def prefer(browser, scheme):
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


def brightness(colour):
    """Relative luminance, by the definition of WCAG."""
    parts = [int(each) / 255 for each in colour[4:-1].split(",")]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_both_themes_can_be_read(browser, ten, scheme):
    prefer(browser, scheme)
    opened(browser, ten)

    back, text = map(brightness, colours(browser))
    quiet = browser.execute_script("return getComputedStyle($('small')).color")
    sheet = browser.execute_script("return getComputedStyle($('.card')).backgroundColor")

    assert (back < 0.2) == (scheme == "dark")
    for one, other in ((back, text), (brightness(sheet), brightness(quiet))):
        low, high = sorted((one, other))
        assert (high + 0.05) / (low + 0.05) >= 4.5


def test_the_button_changes_the_theme_and_redraws(browser, ten):
    prefer(browser, "light")
    opened(browser, ten, 0)
    before = colours(browser)

    click(browser, "#theme")

    assert colours(browser) != before
    assert browser.execute_script(DRAWN, "#site canvas") == [True]
    assert browser.execute_script("return large.series[3]._stroke") != ""


@pytest.mark.parametrize("index", [None, 3], ids=["fleet", "site"])
def test_a_phone_needs_no_sideways_scrolling(browser, ten, index):
    metrics = {"width": 390, "height": 844, "deviceScaleFactor": 3, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        opened(browser, ten, index)
        wide = browser.execute_script("return document.documentElement.scrollWidth")
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})

    assert wide <= 390


def test_small_plots_are_drawn_when_they_come_into_view(browser, five_hundred):
    opened(browser, five_hundred)
    count = "return document.querySelectorAll('#sites canvas').length"
    WebDriverWait(browser, 10).until(lambda b: b.execute_script(count) > 3)
    first = browser.execute_script(count)

    browser.execute_script("scrollTo(0, document.body.scrollHeight)")

    WebDriverWait(browser, 10).until(lambda b: b.execute_script(count) > first)
    assert first < 100


# --- hostile names, and nothing from elsewhere


def test_hostile_names_are_text(browser, write_report):
    hosts = [simulated.site(name, reason=name) for name in simulated.HOSTILE]
    hosts = [host._replace(groups=[host.name], drift=[host.name]) for host in hosts]
    report = write_report(hosts)

    opened(browser, report)
    assert browser.execute_script(NAMES) == list(simulated.HOSTILE)
    for index, name in enumerate(simulated.HOSTILE):
        opened(browser, report, index)
        assert browser.find_element(By.CSS_SELECTOR, "#site h2").text.startswith(name)

    assert browser.title == f"Export limiter: {len(hosts)} sites"
    assert browser.find_elements(By.CSS_SELECTOR, "img, #injected") == []
    assert len(browser.find_elements(By.TAG_NAME, "script")) == 3


def test_a_script_that_got_in_would_not_run(chromium, write_report):
    report = write_report([simulated.site("turku-marina")])
    html = report.page.read_text()
    bad = report.page.with_name("bad.html")
    bad.write_text(html.replace("<main", "<script>document.title = 'owned'</script><main", 1))

    chromium.get(bad.as_uri())

    assert chromium.title == "Export limiter: 1 sites"
    assert "Content Security Policy" in chromium.get_log("browser")[0]["message"]


def test_nothing_is_loaded_from_anywhere(browser, ten):
    opened(browser, ten, 0)

    loaded = "return performance.getEntriesByType('resource').map((each) => each.name)"
    assert browser.execute_script(loaded) == []


# --- five hundred


def cpu_s(browser):
    """Seconds of the processor that the page has used."""
    metrics = browser.execute_cdp_cmd("Performance.getMetrics", {})["metrics"]
    return next(each["value"] for each in metrics if each["name"] == "TaskDuration")


@pytest.fixture
def counted(browser):
    """Count the processor's time: the clock's depends on what else the machine does."""
    browser.execute_cdp_cmd("Performance.enable", {"timeDomain": "threadTicks"})
    yield browser
    browser.execute_cdp_cmd("Performance.disable", {})


def test_five_hundred_sites_are_there_soon(counted, five_hundred, record_property):
    size = five_hundred.page.stat().st_size
    paint = "return performance.getEntriesByName('first-contentful-paint')[0].startTime"
    paints_ms = []
    for _ in range(3):
        opened(counted, five_hundred)
        paints_ms.append(counted.execute_script(paint))
    used_s = cpu_s(counted)

    record_property("page_bytes", size)
    record_property("first_paint_ms", round(min(paints_ms)))
    record_property("processor_s", round(used_s, 2))
    assert size <= MOST_BYTES
    assert min(paints_ms) < FIRST_PAINT_MS  # the others had to share the machine
    assert used_s < LOAD_CPU_S


@pytest.mark.parametrize(
    "action",
    [
        "sortBy(document.querySelectorAll('#sites th')[6], true)",
        "chosen.words = 'harbour'; applyFilter()",
    ],
    ids=["sort", "filter"],
)
def test_five_hundred_sites_stay_usable(counted, five_hundred, action):
    opened(counted, five_hundred)
    before_s = cpu_s(counted)

    counted.execute_script(f"{action}; document.body.offsetHeight")

    assert cpu_s(counted) - before_s < ACTION_CPU_S
