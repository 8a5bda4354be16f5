"""The bars of part B."""

from __future__ import annotations

from bench.bars import Bar
from bench.cost import AGENT_NAME, LISTENER, POLLER, Costs
from bench.processes import median

MORE_MIB = 3.0
TIMES_LISTENER = 1.5
MS = 1000.0


def cost_bars(costs: Costs) -> list[Bar]:
    """Memory, CPU, latency and start against the floor that was measured beside them."""
    ours, floor = costs.memory[AGENT_NAME], costs.memory[LISTENER]
    found = [
        Bar("RSS beyond the bare listener's", ours.rss_mib - floor.rss_mib, MORE_MIB, "MiB"),
    ]
    for load, by_name in costs.cpu.items():
        most = TIMES_LISTENER * by_name[POLLER]
        text = f"CPU at {load}, against 1.5 x listener with the readings of a tick"
        found.append(Bar(text, by_name[AGENT_NAME] * MS, most * MS, "ms/s"))
    for pace, latencies in costs.latencies.items():
        most = pace.interval_s + 2 * median(costs.round_trips)
        text = f"latency to the written cap, {pace}: the longest"
        found.append(Bar(text, max(latencies) * MS, most * MS, "ms"))
    most = 2 * median(costs.imports) + 1
    found.append(Bar("start-up to the first cap", median(costs.starts), most, "s"))
    return found
