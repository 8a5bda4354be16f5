"""Headless Chromium, and reports of fleets that never were."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from role import load
from selenium import webdriver

from page import simulated
from page.browser import missing, start
from page.reading import Report

report = load("controller/report.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs a browser where there is none."""
    name = missing()
    for item in items if name else ():
        if "chromium" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.skip(reason=f"{name} is not installed"))


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    """Start a browser for all tests, in a time zone that is not UTC."""
    driver = start(tmp_path_factory.mktemp("chromium"), "Europe/Tallinn")
    yield driver
    driver.quit()


@pytest.fixture
def browser(chromium: webdriver.Chrome) -> Iterator[webdriver.Chrome]:
    """Lend the browser with no page open; whatever went wrong in a page fails its test."""
    chromium.set_window_size(1500, 1000)
    chromium.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    chromium.get_log("browser")
    yield chromium
    said = [entry["message"] for entry in chromium.get_log("browser")]
    chromium.get("about:blank")
    assert said == []


@pytest.fixture(scope="session")
def write_report(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Sequence[Any]], Report]:
    """Write a report of these sites."""

    def write(hosts: Sequence[Any], playbook: str = "status") -> Report:
        directory = tmp_path_factory.mktemp("reports")
        fields = [host._asdict() for host in hosts]
        return Report.of(report.write(str(directory), fields, simulated.NOW, playbook))

    return write


@pytest.fixture(scope="session")
def ten(write_report: Callable[..., Report]) -> Report:
    """Ten sites, two of them faulty."""
    return write_report(simulated.ten())


@pytest.fixture(scope="session")
def five_hundred(write_report: Callable[..., Report]) -> Report:
    """As many sites as one installer may have."""
    return write_report(simulated.many(500))
