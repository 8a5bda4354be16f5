"""Part C: what that comes to on a GX device, on paper; every factor is stated."""

from __future__ import annotations

from typing import NamedTuple

from bench.cost import AGENT_NAME, Costs
from bench.feeding import Load

SECONDS_PER_DAY = 86400.0
SETTINGS_KB = 70.0  # localsettings writes the whole of settings.xml for one changed value
FIRST_VERSION_REWRITES = SECONDS_PER_DAY / 2.0  # its 2 s loop, a new value each time
STORED_BUDGET = 24.0  # stored_writes_per_day, where the setting is the only control point
LOAD_15_LIMIT = 6.0  # the device's watchdog reboots above it
MEMORY_LIMIT_MIB = 10.0  # ... and below so much that is available

# One core here against one there. Nobody has measured it for this agent: the range is what
# programs of this kind show between a server core and a GX or Pi core.
SLOWER = (5.0, 20.0)
TYPICAL = Load(3)  # vebus, meter and system together say so much on a common site


class Device(NamedTuple):
    """A GX device: its memory, MiB, and its cores."""

    name: str
    cores: int
    memory_mib: float


DEVICES = (Device("Cerbo GX (2 x Cortex-A7)", 2, 1024.0), Device("CCGX (1 x Cortex-A8)", 1, 256.0))


class Burden(NamedTuple):
    """Shares of one core for agent and bus daemon, at the lower and the higher factor."""

    device: Device
    agent: tuple[float, float]
    daemon: tuple[float, float]
    load_share: float
    memory_share: float


def burdens(costs: Costs) -> list[Burden]:
    """What the measured CPU times come to."""
    agent = costs.cpu[TYPICAL][AGENT_NAME]
    daemon = max(0.0, costs.traffic[TYPICAL].daemon_cpu)
    low, high = SLOWER
    return [
        Burden(
            device,
            (agent * low, agent * high),
            (daemon * low, daemon * high),
            (agent + daemon) * high / LOAD_15_LIMIT,
            costs.memory[AGENT_NAME].rss_mib / device.memory_mib,
        )
        for device in DEVICES
    ]
