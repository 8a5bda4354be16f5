"""What a process costs, as the kernel counts it."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

NS_PER_S = 1e9
KIB_PER_MIB = 1024.0


class Memory(NamedTuple):
    """Resident memory, MiB; the share is what only this process holds, and its part of the rest."""

    rss_mib: float
    share_mib: float


def cpu_s(pid: int) -> float:
    """User and system time of a process and its threads so far."""
    tasks = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(task.read_text().split()[0]) for task in tasks) / NS_PER_S


def memory(pid: int) -> Memory:
    """Memory of a process now."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    kib = {line.split(":")[0]: int(line.split()[1]) for line in lines}
    return Memory(kib["Rss"] / KIB_PER_MIB, kib["Pss"] / KIB_PER_MIB)


def share_of(values: Sequence[float], share: float) -> float:
    """The value that this share of all is at or below."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, round(share * (len(ordered) - 1)))]


def median(values: Sequence[float]) -> float:
    """The middle one."""
    return statistics.median(values)
