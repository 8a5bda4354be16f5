"""`make bench`: measure everything, write build/bench, print the bars that are missed."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import platform
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bench import cost, counting, defaults, quality, report, stories
from bench.contest import BOUND, EVERYONE, NONE, OURS, STOCK
from bench.loop import Run, run
from bench.profiles import BASE, EXPORT
from bench.quality import Key, case_of

FOLDER = Path("build/bench")
TRACED = ("P1", "P1/30", "P3", "P8/5-1", "P4", "P7")
CPU_S = 10.0
JUMPS = 25


def main() -> int:
    """Run the parts that are asked for."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--no-cost", action="store_true", help="part A only")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where the report goes")
    options = parser.parse_args()
    start_s = time.monotonic()

    # callgrind counts instructions, so it may share the machine with part A; clocks may not.
    with ThreadPoolExecutor() as threads, multiprocessing.Pool(_cores()) as pool:
        counted = None if options.no_cost else threads.submit(counting.instructions)
        _say("A: control quality")
        results = quality.measure_all(quality.wanted(), pool)
        _say("A: defaults and faults")
        choices = defaults.measure_choices(pool)
        outcomes = stories.play_all(pool)
        traces = {profile: _traces(profile) for profile in TRACED}
        if counted:
            _say("B: instructions")
            counted.result()
    costs = None
    if counted:
        _say("B: cost of the agent")
        costs = cost.measure(CPU_S, JUMPS, counted.result())
    found = report.Findings(results, outcomes, choices, traces, costs, _where())
    bars = report.write(found, options.folder)

    for bar in bars:
        if not bar.met:
            print(f"missed: {bar.what}: {bar.value:.2f}, at most {bar.limit:.2f} {bar.unit}")
    met = sum(bar.met for bar in bars)
    took_s = time.monotonic() - start_s
    print(f"{met} of {len(bars)} bars met; {options.folder}/report.html, in {took_s:.0f} s")
    return 0


def _traces(profile: str) -> dict[str, Run]:
    cases = {
        law: case_of(Key(EXPORT, profile, BASE.key, law)) for law in (OURS, BOUND, STOCK, NONE)
    }
    return {law: run(case, EVERYONE[law](case)) for law, case in cases.items()}


def _cores() -> int:
    return len(os.sched_getaffinity(0))


def _where() -> str:
    """What was measured, on what."""
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], capture_output=True, text=True
    )
    models = [
        x for x in Path("/proc/cpuinfo").read_text().splitlines() if x.startswith("model name")
    ]
    model = models[0].partition(":")[2].strip() if models else platform.machine()
    return f"Commit {commit.stdout.strip()}, on {_cores()} cores of {model}."


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
