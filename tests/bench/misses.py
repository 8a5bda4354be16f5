"""Why a bar is missed, by the beginning of what it says."""

from __future__ import annotations

from bench.bars import Bar

REASONS = {
    "export limit, P6, gain 1.03": "What the limit allows here is just the floor of 1000 W "
    "(min_output_limit_w), and this inverter delivers 3 % more than asked: 30 W too much for good. "
    "With a floor of 0, P6/0, the bar is met.",
    "export limit: beaten": "Before the load falls this cap binds nothing and stands above the "
    "output, so the first write only brings it down to the output; the walk begins a tick later. "
    "A second of 30 kW is the difference. The other law's cap happens to stand at the output.",
    "faults: the cap rose": "P10b: a control point in RAM is all that an export limit has; "
    "without its agent it lapses 150 s after the last write, and the setting on flash can't "
    "follow a load. Supervision starts the agent again within seconds.",
    "latency": "A tick begins when the scheduler lets it: on a busy machine that is some "
    "milliseconds after its time, which is more than a round trip.",
    "CPU": "A tick also measures, judges each method, decides and keeps the history: about twice "
    "what its readings cost, once a second whatever the signals. Beside few signals that is most "
    "of what there is to do; beside many the bar is met.",
}


def reason_of(bar: Bar) -> str:
    """The reason, or a word that none is known."""
    found = [reason for start, reason in REASONS.items() if bar.what.startswith(start)]
    return found[0] if found else "not explained yet"
