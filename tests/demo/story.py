"""What happens in the demo: the loads of all sites rise past their limits and fall again.

From here on it makes no difference where a site and its agent run.
"""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from demo.records import Record, Row, Site, Write
from demo.view import View

QUIET_S = 4.0
RISE_S = 20.0
HOLD_S = 12.0
FALL_S = 4.0
AFTER_S = 7.0
FALL_AT_S = QUIET_S + RISE_S + HOLD_S
END_S = FALL_AT_S + FALL_S + AFTER_S

LOOK_EVERY_S = 0.25
ARMED_WITHIN_S = 40.0
# The agent writes its status at least every 5 s.
OLDEST_STATUS_S = 10.0


class StoryError(Exception):
    """The demo can't go on; the message is one line for a person."""


class RunningSite(NamedTuple):
    """A site that runs: how to ask its simulation, and where its agent's files are."""

    site: Site
    ask: Callable[..., dict[str, Any]]
    status: Path
    log: Path


def wait_armed(running: list[RunningSite]) -> None:
    """Wait until every agent has its cap in force; raise StoryError with its reason if not."""
    end = time.monotonic() + ARMED_WITHIN_S
    for one in running:
        while not _armed(status := read_status(one.status)):
            if time.monotonic() > end:
                raise StoryError(
                    f"{one.site.name}: no cap within {ARMED_WITHIN_S:.0f} s, {_said(one, status)}"
                )
            time.sleep(LOOK_EVERY_S)


def play(running: list[RunningSite], view: View) -> list[Record]:
    """Let the loads rise and fall and return what every site did; raise StoryError."""
    rows: dict[str, list[Row]] = {one.site.name: [] for one in running}
    begun = time.monotonic()
    with view.live([one.site for one in running], END_S) as live:
        while (t_s := time.monotonic() - begun) < END_S:
            for one in running:
                _ask(one, do="load", w=load_w(one.site, t_s))
                rows[one.site.name].append(_look(one, t_s))
            live.show([(one.site, rows[one.site.name][-1]) for one in running])
            time.sleep(max(0.0, LOOK_EVERY_S - (time.monotonic() - begun - t_s)))
    return [_record(one, rows[one.site.name]) for one in running]


def load_w(site: Site, t_s: float) -> float:
    """Tell the load of a site at a time of the story."""
    rise = (t_s - QUIET_S) / RISE_S
    fall = (t_s - FALL_AT_S) / FALL_S
    part = max(0.0, min(1.0, rise, 1.0 - fall))
    return site.load_from_w + part * (site.load_to_w - site.load_from_w)


def read_status(path: Path) -> dict[str, Any]:
    """Read an agent's status; empty where there is none or it is too old to count."""
    try:
        status: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return status if time.time() - status["updated_at"] < OLDEST_STATUS_S else {}


def _armed(status: dict[str, Any]) -> bool:
    return bool(status.get("enforceable")) and status.get("cap_w") is not None


def _said(one: RunningSite, status: dict[str, Any]) -> str:
    """Quote an agent: its status, else the end of its log."""
    if status:
        return f"{status.get('state')}: {status.get('reason')}"
    try:
        lines = one.log.read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    return f"its log ends with: {lines[-1]}" if lines else "it says nothing"


def _look(one: RunningSite, t_s: float) -> Row:
    truth = _ask(one, do="state")
    status = read_status(one.status)
    return Row(
        t_s=t_s,
        load_w=truth["load_w"],
        output_w=truth["output_w"],
        cap_w=truth["cap_w"],
        state=status.get("state", "silent"),
        reason=status.get("reason", "no status for 10 s"),
    )


def _record(one: RunningSite, rows: list[Row]) -> Record:
    truth = _ask(one, do="state")
    writes = [
        Write(write["t"], write["service"], write["path"], write["value"])
        for write in truth["writes"]
        if write["code"] == 0  # accepted
    ]
    return Record(one.site, rows, writes, truth["flash_writes"])


def _ask(one: RunningSite, **request: Any) -> dict[str, Any]:
    try:
        answer = one.ask(**request)
    except (OSError, ValueError) as error:
        raise StoryError(f"the simulation of {one.site.name} is gone ({error})") from error
    if "error" in answer:
        raise StoryError(f"the simulation of {one.site.name}: {answer['error']}")
    return answer
