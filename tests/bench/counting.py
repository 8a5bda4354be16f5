"""What the agent says on the bus, what that costs the bus, and its instructions."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from gx.bus import AGENT, AgentProcess
from gx.waiting import wait_until

from bench.feeding import CONFIG, SETTLED_S, Load, site
from bench.processes import cpu_s
from bench.relay import Relay

VALGRIND_START_S = 120.0
RUNS = {"short": (10.0, Load(1)), "long": (25.0, Load(1)), "fast": (10.0, Load(10))}


class Address(NamedTuple):
    """All that a process needs of a bus."""

    address: str


class Traffic(NamedTuple):
    """Per second: messages and bytes by direction, and CPU time of the bus daemon for them, s."""

    sent: Mapping[str, float]
    received: Mapping[str, float]
    daemon_cpu: float


def traffic(load: Load, seconds: float) -> Traffic:
    """Listen in on the agent once it has settled."""
    with site(load) as (bus, _, folder):
        daemon = _daemon_pid(bus.address)
        alone = _spent(daemon, seconds)
        relay = Relay(Path(bus.address.partition("=")[2]), folder / "relay")
        with relay, AgentProcess(Address(relay.address), CONFIG, folder) as agent:
            agent.wait_for(enforceable=True)
            time.sleep(SETTLED_S)
            sent, received = relay.counts()
            together = _spent(daemon, seconds)
            later_sent, later_received = relay.counts()
    return Traffic(
        {key: n / seconds for key, n in (later_sent - sent).items()},
        {key: n / seconds for key, n in (later_received - received).items()},
        together - alone,
    )


def _daemon_pid(address: str) -> int:
    """Ask the bus who it is."""
    daemon = "org.freedesktop.DBus"
    command = ["dbus-send", f"--bus={address}", "--print-reply=literal", f"--dest={daemon}", "/"]
    command += [f"{daemon}.GetConnectionUnixProcessID", f"string:{daemon}"]
    return int(subprocess.run(command, capture_output=True, check=True).stdout.split()[-1])


def _spent(pid: int, seconds: float) -> float:
    before = cpu_s(pid)
    time.sleep(seconds)
    return (cpu_s(pid) - before) / seconds


class Instructions(NamedTuple):
    """Counted by callgrind: of a tick with its three readings, and of one update of two signals."""

    per_tick: float
    per_update: float


def instructions() -> Instructions | None:
    """Count instructions; None where there is no valgrind.

    The start is in every count, so only differences of two runs mean something.
    """
    if shutil.which("valgrind") is None:
        return None
    with ThreadPoolExecutor(len(RUNS)) as pool:
        found = dict(zip(RUNS, pool.map(_count, RUNS.values()), strict=True))
    short, long, fast = found["short"], found["long"], found["fast"]
    # short = start + t1 x tick + u1 x update, and so on: three equations, three unknowns.
    ticks, updates = long.ticks - short.ticks, long.updates - short.updates
    more_ticks, more_updates = fast.ticks - short.ticks, fast.updates - short.updates
    both, more = long.collected - short.collected, fast.collected - short.collected
    determinant = ticks * more_updates - more_ticks * updates
    per_tick = (both * more_updates - more * updates) / determinant
    per_update = (ticks * more - more_ticks * both) / determinant
    return Instructions(per_tick, per_update)


class _Count(NamedTuple):
    collected: int
    ticks: int
    updates: int


def _count(wanted: tuple[float, Load]) -> _Count:
    seconds, load = wanted
    with site(load) as (bus, feeder, folder):
        agent = AgentProcess(bus, CONFIG, folder)
        started = feeder.ask("report")["updates"]
        command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"]
        process = subprocess.Popen(
            [*command, *agent.command("run", "--config", str(agent.config))],
            env={**os.environ, **agent.environment},
            cwd=AGENT,
            stderr=subprocess.PIPE,
        )
        try:
            wait_until(lambda: feeder.ask("report")["writes_s"], "a cap", VALGRIND_START_S)
            time.sleep(seconds)
            updates = feeder.ask("report")["updates"] - started
            process.send_signal(signal.SIGTERM)
            said = process.communicate()[1].decode()
        finally:
            process.kill()
        collected = re.search(r"Collected : (\d+)", said)
        assert collected, said
        status = agent.status()
        assert status
        return _Count(int(collected[1]), status["counters"]["ticks"], updates)
