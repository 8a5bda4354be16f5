"""What must be true of a device whatever happened to it: one release, one agent, the cap held."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from gx.device import Device
from gx.waiting import wait_until

from fleet.asked import Wanted
from fleet.deployment import BASE, pin

UP_S = 40.0  # boot, svscan's five seconds, and the wait after quick ends
# The plant follows its cap with a lag: what it may deliver above it for moments.
OVERSHOOT = 1.03


def whole(device: Device, releases: Iterable[Wanted]) -> Wanted:
    """Return the one of these releases that is current; every byte and mode of it is right."""
    link = os.readlink(device.data / BASE / "current")
    named = {f"releases/{each.ident}": each for each in releases}
    assert link in named, f"current is {link}"
    wanted = named[link]
    manifest = pin.manifest(wanted.files)
    files = {**wanted.files, "MANIFEST": manifest, "config.json": wanted.config}
    found = _files(device.data / BASE / link)
    assert found == {path: (text, _mode(path)) for path, text in files.items()}
    return wanted


def runs_one(device: Device, releases: Iterable[Wanted]) -> None:
    """Wait until exactly one agent of these releases runs, under one supervise, and measures."""
    commits = {each.settings["commit"] for each in releases}

    def good() -> bool:
        told = said(device)
        limits = told.get("commit") in commits and bool(told["enforceable"])
        return limits and census(device) == (1, 1)

    wait_until(good, f"{device.spec.name} to run one agent that limits", UP_S)


def wait_for_one(device: Device, what: str) -> None:
    """Wait until the device has one agent that measures, under one supervise."""
    wait_until(lambda: census(device) == (1, 1) and said(device).get("enforceable"), what, UP_S)


def limited(device: Device, limit_w: float) -> bool:
    """Say whether the limit is stored as well, and the output has come down to it."""
    state = device.ask("state")
    return bool(state["setting_w"] == limit_w and state["output_w"] < 1.01 * limit_w)


def census(device: Device) -> tuple[int, int]:
    """Count the agents that run and the processes that supervise one, its log apart."""
    running = [words for _, words in processes(device)]
    agents = sum(map(is_agent, running))
    supervises = sum(words[:2] == [b"supervise", BASE.encode()] for words in running)
    return agents, supervises


def is_agent(words: list[bytes]) -> bool:
    """Say whether these are the words of an agent."""
    return words[-5:-3] == [b"export_limiter", b"run"]


def processes(device: Device) -> list[tuple[str, list[bytes]]]:
    """Return the processes of a device: the number it knows each by, and its words."""
    found = []
    for file in (device.root / "proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            found.append((file.parent.name, file.read_bytes().split(b"\0")))
    return found


def said(device: Device) -> dict[str, Any]:
    """Return what the agent last said of itself since boot; empty where it said nothing."""
    try:
        return json.loads((device.root / "run" / BASE / "status.json").read_text())
    except FileNotFoundError:
        return {}


def tidy(device: Device) -> None:
    """See that nothing of an activation is left, and that what is kept is bounded."""
    names = {path.name for path in (device.data / BASE).iterdir()}
    allowed = {"releases", "current", "confirmed", "failed", "lock", "state.json"}
    assert names <= allowed | {"rc.local.before"}, names
    kept = sorted(path.name for path in (device.data / BASE / "releases").iterdir())
    assert len(kept) <= 3, kept
    assert not any(name.startswith(".") for name in kept), kept


class Cap:
    """Watches a site's record from now on."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._from = len(self._rows())

    def held(self, limit_w: float) -> int:
        """See that a cap of at most the limit was in force all the time; return the samples."""
        rows = self._rows()[self._from :]
        open_rows = [row for row in rows if not row["cap_w"] or float(row["cap_w"]) > limit_w + 1]
        assert not open_rows, f"the cap was open at {open_rows[0]}"
        above = [row for row in rows if float(row["output_w"]) > limit_w * OVERSHOOT]
        assert not above, f"the output was above the limit at {above[0]}"
        return len(rows)

    def _rows(self) -> list[dict[str, str]]:
        """Every whole line of the record, which is continued in a new file at each start."""
        directory = self._device.sim
        older = sorted(directory.glob("record-*.csv"), key=lambda file: int(file.stem[7:]))
        rows: list[dict[str, str]] = []
        for file in (*older, directory / "record.csv"):
            if file.exists():
                text = file.read_text()
                rows += csv.DictReader(text[: text.rfind("\n") + 1].splitlines())
        return rows


def _files(directory: Path) -> dict[str, tuple[str, int]]:
    found = {}
    for path in directory.rglob("*"):
        about = path.lstat()
        if not stat.S_ISDIR(about.st_mode):
            assert stat.S_ISREG(about.st_mode), path
            found[str(path.relative_to(directory))] = (path.read_text(), about.st_mode & 0o7777)
    return found


def _mode(path: str) -> int:
    return 0o755 if Path(path).name in ("run", "export-limiter") else 0o644
