"""The agent where all clocks run faster: `python3 -m gx.faster SPEED run --config ...`.

A minute of the agent takes some seconds, beside a site that runs at the same speed. Only time is
changed: the monotonic clock and the main loop's timers. Timeouts of D-Bus calls stay real, since
the peers answer in real time, and so does the alarm that ends a hanging agent.
"""

from __future__ import annotations

import sys
import time
from typing import Any

from gi.repository import GLib


def hasten(speed: float) -> None:
    """Let this process' clock and timers run `speed` times as fast."""
    real_clock, real_timer = time.monotonic, GLib.timeout_add
    start_s = real_clock()

    def timer(interval_ms: int, *rest: Any) -> int:
        return real_timer(max(1, round(interval_ms / speed)), *rest)

    time.monotonic = lambda: start_s + (real_clock() - start_s) * speed
    GLib.timeout_add = timer


if __name__ == "__main__":
    hasten(float(sys.argv.pop(1)))
    from export_limiter.__main__ import main

    sys.exit(main())
