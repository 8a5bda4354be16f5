"""Parts B and C of the report."""

from __future__ import annotations

from collections.abc import Iterator

from bench import field, plots
from bench.cost import AGENT_NAME, LOADS, Costs
from bench.document import Figure, Heading, Part, Row, Table, Text
from bench.field import burdens
from bench.processes import median, share_of

MS = 1000.0
SECONDS_PER_MINUTE = 60.0


def parts(costs: Costs) -> list[Part]:
    """Cost measured here, and what it comes to in the field."""
    return [
        Heading(2, "B. Cost of the agent"),
        Text(
            "Every program of a column ran at the same time on the same private bus and heard the "
            "same signals: one of the inverter and one of the meter per update. CPU is user and "
            "system time as the scheduler counts it, without the bus daemon's."
        ),
        Figure("cost", plots.cost(costs), "CPU time by load, and latency as a distribution."),
        _cpu_table(costs),
        _memory_table(costs),
        _traffic_table(costs),
        _other_table(costs),
        Heading(2, "C. In the field, on paper"),
        Text(
            f"A GX core is taken to be {field.SLOWER[0]:g} to {field.SLOWER[1]:g} times slower "
            "than a core here; nobody has measured that for this agent. CPU is that at "
            f"{field.TYPICAL}. A device's watchdog reboots it at a 15-minute load above "
            f"{field.LOAD_15_LIMIT:g} and below {field.MEMORY_LIMIT_MIB:g} MiB of available "
            "memory; the share of the load limit is what agent and bus daemon add at the higher "
            "factor."
        ),
        _field_table(costs),
        Heading(3, "Flash"),
        _flash_table(),
    ]


def _cpu_table(costs: Costs) -> Table:
    rows = []
    for name in costs.cpu[LOADS[0]]:
        spent = [by_name[name] for by_name in costs.cpu.values()]
        slow, fast = costs.cpu[LOADS[0]][name], costs.cpu[LOADS[2]][name]
        per_update = max(0.0, fast - slow) / (LOADS[2].rate - LOADS[0].rate)
        cells = [f"{each * MS * SECONDS_PER_MINUTE:.0f}" for each in spent]
        rows.append(
            Row([name, *cells, f"{per_update * MS:.3f}"], "ours" if name == AGENT_NAME else "")
        )
    header = ["CPU, ms per minute", *(str(load) for load in LOADS), "ms per update"]
    return Table(header, rows)


def _memory_table(costs: Costs) -> Table:
    rows = [
        Row([name, f"{each.rss_mib:.1f}", f"{each.share_mib:.1f}"], "ours" * (name == AGENT_NAME))
        for name, each in costs.memory.items()
    ]
    return Table(["memory, MiB", "RSS", "proportional share"], rows)


def _traffic_table(costs: Costs) -> Table:
    rows = []
    for load, each in costs.traffic.items():
        sent, received = each.sent, each.received
        figures = (
            f"{sent.get('calls', 0.0):.1f}",
            f"{sent.get('signals', 0.0):.1f}",
            f"{sum(received.values()) - received['bytes']:.1f}",
            f"{sent['bytes'] + received['bytes']:.0f}",
            f"{each.daemon_cpu * MS:.2f}",
            f"{costs.rss_mib[load]:.1f}",
        )
        rows.append(Row([str(load), *figures]))
    header = [
        "the agent, per s",
        "calls",
        "signals sent",
        "messages received",
        "bytes, both ways",
        "daemon's CPU, ms",
        "RSS, MiB",
    ]
    return Table(header, rows)


def _other_table(costs: Costs) -> Table:
    return Table(["the agent", "figure"], [Row(cells) for cells in _others(costs)])


def _others(costs: Costs) -> Iterator[list[str]]:
    trips = costs.round_trips
    shares = (median(trips), share_of(trips, 0.99))
    yield ["raw GetValue, ms: median, 99 %", ", ".join(f"{each * MS:.2f}" for each in shares)]
    for pace, times in costs.latencies.items():
        shares = (median(times), share_of(times, 0.95), max(times))
        text = ", ".join(f"{each * MS:.0f}" for each in shares)
        yield [f"latency, {pace}, ms: median, 95 %, longest", text]
    yield ["start to the first cap, s: median", f"{median(costs.starts):.2f}"]
    yield ['python3 -c "import dbus, gi", s: median', f"{median(costs.imports):.2f}"]
    if costs.instructions:
        yield ["instructions per tick, million", f"{costs.instructions.per_tick / 1e6:.2f}"]
        yield ["instructions per update, million", f"{costs.instructions.per_update / 1e6:.2f}"]
    else:
        yield ["instructions", "not counted: no valgrind here"]


def _field_table(costs: Costs) -> Table:
    rows = []
    for each in burdens(costs):
        cells = [
            f"{100 * low:.1f} to {100 * high:.1f} %" for low, high in (each.agent, each.daemon)
        ]
        shares = [f"{100 * each.load_share:.1f} %", f"{100 * each.memory_share:.1f} %"]
        rows.append(Row([each.device.name, *cells, *shares]))
    header = [
        "device",
        "agent, of one core",
        "bus daemon for it",
        "of the load limit",
        "RSS of RAM",
    ]
    return Table(header, rows)


def _flash_table() -> Table:
    first, each_kb = field.FIRST_VERSION_REWRITES, field.SETTINGS_KB
    rows = [
        Row(["this limiter, cap in RAM", "0", "0 MB", "one backstop write in its life"], "ours"),
        Row(
            [
                "this limiter, setting as the only control point",
                f"at most {field.STORED_BUDGET:.0f}",
                f"{field.STORED_BUDGET * each_kb / 1000:.1f} MB",
                "stored_writes_per_day",
            ],
            "ours",
        ),
        Row(
            [
                "first version's way, a new value each 2 s",
                f"{first:.0f}",
                f"{first * each_kb / 1000:.0f} MB",
                "settings.xml of 70 KB, rewritten whole",
            ]
        ),
    ]
    return Table(["flash", "rewrites per day", "written per day", ""], rows, left=(0, 3))
