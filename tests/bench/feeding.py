"""A bus with a feeder on it, for part B."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from gx.bus import AGENT, PYTHON, TESTS, PrivateBus
from gx.process import Process

CONFIG = {"max_multiplus_output_w": None, "max_grid_export_w": 6000, "phase_count": 1}
ENVIRONMENT = {"PYTHONPATH": f"{TESTS}:{AGENT}", "PYTHONDONTWRITEBYTECODE": "1"}
SETTLED_S = 5.0  # for scans and the first writes to be over


class Load(NamedTuple):
    """Signals per second, and how many more paths change with each."""

    rate: float
    paths: int = 0

    def __str__(self) -> str:
        more = f", {self.paths} paths" if self.paths else ""
        return f"{self.rate:g} per s{more}"


class Feeder:
    """The feeding process, asked through its pipes."""

    def __init__(self, bus: PrivateBus, load: Load, folder: Path) -> None:
        command = [PYTHON, "-m", "bench.feeder", "--bus", bus.address]
        command += ["--rate", str(load.rate), "--paths", str(load.paths)]
        self._process = Process(command, ENVIRONMENT, folder / "feeder.log", talking=True)
        self._process.first_line()

    def ask(self, verb: str) -> dict[str, Any]:
        """Ask for a verb and return its answer."""
        child = self._process.child
        child.stdin.write(json.dumps({"do": verb}).encode() + b"\n")
        child.stdin.flush()
        return json.loads(child.stdout.readline())

    def stop(self) -> None:
        """End it."""
        self._process.kill()


@contextmanager
def site(load: Load) -> Iterator[tuple[PrivateBus, Feeder, Path]]:
    """A bus with a feeder on it, and a folder."""
    with tempfile.TemporaryDirectory() as name, PrivateBus(Path(name)) as bus:
        feeder = Feeder(bus, load, Path(name))
        try:
            yield bus, feeder, Path(name)
        finally:
            feeder.stop()
