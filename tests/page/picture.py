"""The README's pictures of the fleet page: `python -m page.picture DIRECTORY`."""

from __future__ import annotations

import io
import sys
import tempfile
from pathlib import Path

from PIL import Image
from role import load
from selenium import webdriver
from selenium.webdriver.support.ui import WebDriverWait

from page import simulated
from page.browser import start

WIDTH = 1400
HEIGHTS = {"fleet": 780, "site": 1240}
EXCEEDED = 3  # the site whose record is worth a look
PLOTTED = """
return [...document.querySelectorAll(".small, #site .plot")]
  .filter((place) => place.offsetHeight && place.getBoundingClientRect().top < innerHeight)
  .every((place) => place.querySelector("canvas"))
"""


def main(directory: Path) -> None:
    """Write a report of ten invented sites and take a picture of the fleet and of one site."""
    hosts = [host._asdict() for host in simulated.ten()]
    with tempfile.TemporaryDirectory() as temporary:
        page = load("controller/report.py").write(temporary, hosts, simulated.NOW, "status")
        browser = start(Path(temporary, "profile"), "Europe/Tallinn", WIDTH)
        try:
            for name, mark in (("fleet", ""), ("site", f"#site-{EXCEEDED}")):
                browser.set_window_size(WIDTH, HEIGHTS[name])
                browser.get("about:blank")
                browser.get(page.as_uri() + mark)
                take(browser, directory / f"{name}.png")
        finally:
            browser.quit()


def take(browser: webdriver.Chrome, path: Path) -> None:
    """Wait for the plots and save what is seen, in few bytes."""
    WebDriverWait(browser, 20).until(lambda b: b.execute_script(PLOTTED))
    picture = Image.open(io.BytesIO(browser.get_screenshot_as_png())).convert("RGB")
    picture.quantize(128, dither=Image.Dither.NONE).save(path, optimize=True)
    print(f"wrote {path}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
