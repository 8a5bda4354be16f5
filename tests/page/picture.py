"""The README's pictures of the fleet page: `python -m page.picture DIRECTORY`.

They are taken from the page that status.yml wrote of ten simulated devices; see `page.example`.
"""

from __future__ import annotations

import io
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

from fleet.deployment import Controller, pin
from gx.fleet import Fleet
from gx.inventory import REPOSITORY
from gx.namespaces import SimulationError
from gx.waiting import DeadlineError
from PIL import Image
from selenium import webdriver
from selenium.webdriver.support.ui import WebDriverWait

from page import example
from page.browser import start

WIDTH = 1400
PHONE = {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True}
GAP = 28
BEHIND = "#7d8792"
COLOURS = 256
PLOTTED = """
return document.documentElement.dataset.ready === "yes"
  && [...document.querySelectorAll(".small, #site .plot")]
  .filter((place) => place.offsetHeight && place.getBoundingClientRect().top < innerHeight)
  .every((place) => place.querySelector("canvas"))
"""


def main(directory: Path) -> None:
    """Deploy to ten simulated devices, look at them, and take pictures of the page."""
    commit = pin.head(str(REPOSITORY))
    pinned = {
        "export_limiter_repository": str(REPOSITORY),
        "export_limiter_commit": commit,
        "export_limiter_sha256": pin.build(str(REPOSITORY), commit).sha256,
    }
    with tempfile.TemporaryDirectory() as temporary:
        workdir = Path(temporary)
        print(f"deploying {commit[:12]} to ten simulated devices, about a minute")
        with Fleet.create([], workdir / "fleet") as fleet:
            controller = Controller(fleet, SimpleNamespace(whole=pinned), workdir)
            page = example.play(fleet, controller).status
        browser = start(workdir / "profile", "Europe/Tallinn", WIDTH)
        try:
            take_all(browser, page.as_uri(), directory)
        finally:
            browser.quit()


def take_all(browser: webdriver.Chrome, url: str, directory: Path) -> None:
    """Take the fleet by day, by night and on a phone, and one site."""
    site = list(example.PLACES).index(example.EXCEEDED)
    screen = {"width": WIDTH, "deviceScaleFactor": 1, "mobile": False}
    save(take(browser, url, {**screen, "height": 1000}), directory / "fleet.png")
    narrow = {**screen, "width": 1250, "height": 1490}
    save(take(browser, f"{url}#site-{site}", narrow), directory / "site.png")
    dark = take(browser, url, {**screen, "width": 1290, "height": 844}, "dark")
    phone = take(browser, url, PHONE)
    phone = phone.resize((dark.height * phone.width // phone.height, dark.height))
    both = Image.new("RGB", (dark.width + GAP + phone.width, dark.height), BEHIND)
    both.paste(dark, (0, 0))
    both.paste(phone, (dark.width + GAP, 0))
    save(both, directory / "looks.png")
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def take(
    browser: webdriver.Chrome, url: str, metrics: dict[str, object], scheme: str = "light"
) -> Image.Image:
    """Open the page on such a screen, wait for its plots, and return what is seen."""
    prefers = {"name": "prefers-color-scheme", "value": scheme}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [prefers]})
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    browser.get("about:blank")
    browser.get(url)
    WebDriverWait(browser, 20).until(lambda b: b.execute_script(PLOTTED))
    return Image.open(io.BytesIO(browser.get_screenshot_as_png())).convert("RGB")


def save(picture: Image.Image, path: Path) -> None:
    """Write a picture in few bytes."""
    picture.quantize(COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)
    print(f"wrote {path}")


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]))
    except (SimulationError, DeadlineError) as stopped:
        sys.exit(f"picture: {stopped}")
