"""The guard of control quality: a short part of the benchmark against figures that were reviewed.

`python -m bench.guard` records the figures of the working tree; what changed is in the diff.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from bench.contest import OURS
from bench.metrics import Metrics
from bench.profiles import BASE, EXPORT, OUTPUT
from bench.quality import Key, measure_one, profiles_of

FILE = Path(__file__).parents[1] / "scenarios" / "guard.json"

WORSE = 1.05  # by so much a figure may grow
# ... and by so much more, so that a figure near zero may breathe.
SLACK = {
    "exceed_wh": 0.02,
    "overcurtail_wh": 0.05,
    "above_s": 0.2,
    "longest_s": 0.2,
    "peak_w": 5.0,
    "largest_fall_w": 1.0,
    "largest_rise_w": 1.0,
    "writes": 0.0,
    "swing_w": 5.0,
}

Figures = Mapping[str, float]


def cases() -> list[Key]:
    """Every profile in the base, and those with one event where the plant is another."""
    keys = [Key(p, each, BASE.key, OURS) for p in (OUTPUT, EXPORT) for each in profiles_of(p)]
    others = ("gain 0.956", "gain 1.03", "loop", "roomy")
    keys += [Key(EXPORT, each, other, OURS) for other in others for each in ("P1", "P2", "P8")]
    keys += [Key(EXPORT, "P1", other, OURS) for other in ("meter 0.25 s", "meter 5 s")]
    keys.append(Key(EXPORT, "P1", "per phase", OURS))
    return keys


def name_of(key: Key) -> str:
    """How a case is called in the file."""
    return f"{key.product} {key.profile} {key.setting}"


def figures_of(key: Key) -> dict[str, float]:
    """Run a case and return what is guarded, rounded as it is recorded."""
    metrics: Metrics = measure_one(key)
    return {name: round(getattr(metrics, name), 3) for name in SLACK}


def worsened(now: Figures, recorded: Figures) -> list[str]:
    """What has grown by more than 5 %, in words."""
    return [
        f"{name}: {now[name]:g}, recorded {recorded[name]:g}"
        for name in SLACK
        if now[name] > WORSE * recorded[name] + SLACK[name]
    ]


def record() -> None:
    """Write the file anew."""
    found = {name_of(key): figures_of(key) for key in cases()}
    FILE.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")
    print(f"{len(found)} cases recorded in {FILE}; review the difference")


if __name__ == "__main__":
    record()
