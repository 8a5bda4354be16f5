"""Headless Chromium, started alike for the tests and for the README's pictures."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.chrome.service import Service

CHROMIUM, DRIVER = "chromium", "chromedriver"
# Nothing may leave this machine, and Chromium by itself asks for much.
FLAGS = """--headless --no-sandbox --disable-gpu --disable-quic --no-first-run
    --disable-background-networking --disable-component-update --disable-sync
    --disable-dev-shm-usage --hide-scrollbars""".split()


def missing() -> str:
    """Return what is not installed, or nothing."""
    return next((name for name in (CHROMIUM, DRIVER) if shutil.which(name) is None), "")


def start(profile: Path, zone: str, width: int = 1500, height: int = 1000) -> webdriver.Chrome:
    """Start a browser with a new profile, in a time zone."""
    options = webdriver.ChromeOptions()
    options.binary_location = str(shutil.which(CHROMIUM))
    for flag in (*FLAGS, f"--user-data-dir={profile}", f"--window-size={width},{height}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    environment = {**os.environ, "TZ": zone, "LC_ALL": "C.UTF-8"}
    service = Service(shutil.which(DRIVER), env=environment)
    return webdriver.Chrome(options=options, service=service)
