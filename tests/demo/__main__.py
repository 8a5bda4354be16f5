"""The demo's command line: `make demo`.

Exit codes: 0 every limit held, 1 not, 130 interrupted by Ctrl-C, 143 by a TERM.
"""

import argparse
import os
import signal
import sys
from contextlib import AbstractContextManager
from pathlib import Path
from types import FrameType

from gx.namespaces import SimulationError, namespaces_permitted
from gx.waiting import DeadlineError

from demo import verdict
from demo.buses import on_buses
from demo.devices import on_devices
from demo.plot import draw
from demo.story import RunningSite, StoryError, play, wait_armed
from demo.view import View

PICTURE = Path("build/demo.png")
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def main() -> int:
    """Run the demo; return the exit code."""
    parser = argparse.ArgumentParser(prog="demo", description="Two sites hold their limit")
    parser.add_argument("--picture", type=Path, default=PICTURE, help="where the plot goes")
    parser.add_argument(
        "--no-devices",
        action="store_true",
        default=bool(os.environ.get("DEMO_NO_DEVICES")),
        help="only the agents, on private buses; taken by itself where namespaces are forbidden",
    )
    options = parser.parse_args()
    for number in STOP_SIGNALS:
        signal.signal(number, _stop)
    try:
        return show(View(), options.picture, devices=not options.no_devices)
    except (StoryError, SimulationError, DeadlineError) as stopped:
        print(f"demo: {stopped}", file=sys.stderr)
        return 1
    except SystemExit:
        print("demo: interrupted, everything is stopped", file=sys.stderr)
        raise


def show(view: View, picture: Path, *, devices: bool) -> int:
    """Start the sites, play the story, judge it; return the exit code."""
    with _stage(view, devices=devices) as running:
        with view.step("Waiting for the caps"):
            wait_armed(running)
        records = play(running, view)
    draw(records, picture)
    verdicts = [verdict.judge(record) for record in records]
    view.summary([record.site for record in records], verdicts)
    view.say(f"plot: {picture}")
    for record, one in zip(records, verdicts, strict=True):
        for fault in one.faults:
            view.say(f"{record.site.name}: {fault}")
    held = all(one.held for one in verdicts)
    view.say("Both sites held their limit." if held else "A limit was not held.")
    return 0 if held else 1


def _stage(view: View, *, devices: bool) -> AbstractContextManager[list[RunningSite]]:
    """Choose where the sites run, and say so if it is not on devices."""
    reason = namespaces_permitted() if devices else "as asked for"
    if reason is None:
        return on_devices(view)
    view.say(
        f"No simulated devices ({reason}): the agents run on private buses, nothing is deployed"
    )
    return on_buses(view)


def _stop(number: int, _frame: FrameType | None) -> None:
    """Unwind and so stop everything; a second Ctrl-C must not stop the stopping."""
    for one in STOP_SIGNALS:
        signal.signal(one, signal.SIG_IGN)
    raise SystemExit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
