"""A private bus for each test, and what can be put on it: sites, agents, other programs."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from gx.bus import PYTHON, AgentProcess, BusClient, PrivateBus, Site

RELAXED = {"meter_lag_s": 0.0, "vebus_lag_s": 0.0, "loop_s": None}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip these tests with a word where their processes can't run."""
    missing = _missing()
    if missing:
        for item in items:
            if item.path.parent.name == "integration":
                item.add_marker(pytest.mark.skip(reason=missing))


@pytest.fixture
def bus(tmp_path) -> Iterator[PrivateBus]:
    """Start a bus that nothing else is on."""
    with PrivateBus(tmp_path) as running:
        yield running


@pytest.fixture
def start_site(bus, tmp_path) -> Iterator[Callable[..., Site]]:
    """Start a simulated site; the keys are those of its site file, the plant answers quickly."""
    with ExitStack() as stack:

        def start(*arguments: str, **keys: Any) -> Site:
            keys["plant"] = {**RELAXED, **keys.get("plant", {})}
            return stack.enter_context(Site(bus, keys, tmp_path, arguments))

        yield start


@pytest.fixture
def start_agent(bus, tmp_path) -> Iterator[Callable[..., AgentProcess]]:
    """Start the agent; the keys are those of its configuration."""
    with ExitStack() as stack:

        def start(*arguments: str, **config: Any) -> AgentProcess:
            return stack.enter_context(AgentProcess(bus, config, tmp_path, arguments))

        yield start


@pytest.fixture
def client(bus, tmp_path) -> Iterator[BusClient]:
    """Connect another program to the bus."""
    with BusClient(bus, tmp_path / "client.log") as running:
        yield running


def _missing() -> str | None:
    if shutil.which("dbus-daemon") is None:
        return "dbus-daemon is not installed"
    found = subprocess.run([PYTHON, "-c", "import dbus, gi.repository.GLib"], capture_output=True)
    return f"{PYTHON} has no dbus-python or no GLib" if found.returncode else None
