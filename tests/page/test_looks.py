"""Light and dark, a phone, five hundred sites, and names that are no good."""

from __future__ import annotations

import pytest
from PIL import Image
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from page import picture, simulated
from page.reading import DRAWN, NAMES, click, opened

MOST_BYTES = 5_000_000
FIRST_PAINT_MS = 2000
LOAD_CPU_S = 2.0
ACTION_CPU_S = 0.5


# --- themes and a phone


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


def test_paper_is_light_and_has_the_whole_plot(browser, ten):
    prefer(browser, "dark")
    opened(browser, ten, 0)

    pages = browser.execute_cdp_cmd("Page.printToPDF", {"printBackground": False})["data"]
    browser.execute_script("dispatchEvent(new Event('beforeprint'))")
    back, wide = colours(browser)[0], browser.execute_script("return large.width")
    browser.execute_script("dispatchEvent(new Event('afterprint'))")

    assert len(pages) > 20_000
    assert brightness(back) > 0.8
    assert wide < 720
    assert brightness(colours(browser)[0]) < 0.2


@pytest.mark.parametrize("wide", [1250, 1400])
def test_no_column_runs_into_the_next(browser, five_hundred, wide):
    browser.set_window_size(wide, 900)
    opened(browser, five_hundred)

    script = """return [...document.querySelectorAll('#sites tbody td')]
        .filter((cell) => cell.scrollWidth > cell.clientWidth + 1).length"""
    assert browser.execute_script(script) == 0


def test_small_plots_are_drawn_when_they_come_into_view(browser, five_hundred):
    opened(browser, five_hundred)
    count = "return document.querySelectorAll('#sites canvas').length"
    WebDriverWait(browser, 10).until(lambda b: b.execute_script(count) > 3)
    first = browser.execute_script(count)

    browser.execute_script("scrollTo(0, document.body.scrollHeight)")

    WebDriverWait(browser, 10).until(lambda b: b.execute_script(count) > first)
    assert first < 100


def test_the_pictures_are_of_the_fleet_of_one_site_and_of_both_themes(browser, ten, tmp_path):
    picture.take_all(browser, ten.url, tmp_path)

    sizes = {path.stem: Image.open(path).size for path in tmp_path.iterdir()}
    assert sizes["fleet"] == (1400, 1000)
    assert sizes["site"] == (1250, 1490)
    assert sizes["looks"][1] == 844
    dark, light = (
        Image.open(tmp_path / "looks.png").convert("RGB").getpixel(xy)
        for xy in ((5, 5), (sizes["looks"][0] - 5, 5))
    )
    assert max(dark) < 60
    assert min(light) > 200


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
