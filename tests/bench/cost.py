"""Part B: what the agent costs beside others that hear of the same values, on a bus of its own."""

from __future__ import annotations

import json
import os
import random
import subprocess
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import NamedTuple

from gx.bus import PYTHON, AgentProcess
from gx.process import Process
from gx.waiting import wait_until

from bench.counting import Instructions, Traffic, traffic
from bench.feeding import CONFIG, ENVIRONMENT, SETTLED_S, Load, site
from bench.processes import Memory, cpu_s, memory

AGENT_NAME = "this limiter"
LISTENER, POLLER = "bare listener", "bare listener that reads as often"
PROXIES, SEND = "first version's way", "dbus-send per call"
WAYS = {LISTENER: "listen", POLLER: "poll", PROXIES: "proxies", SEND: "send"}
LOADS = (Load(1), Load(3), Load(10), Load(1, 300))
WINDOW_S = 1.3  # until the output before a write no longer counts, see measurement_skew_s
STARTS = 5


class Pace(NamedTuple):
    """How often the agent ticks, and what it hears meanwhile."""

    interval_s: float
    load: Load

    def __str__(self) -> str:
        return f"tick each {self.interval_s:g} s, {self.load}"


PACES = (*(Pace(1.0, load) for load in LOADS), Pace(0.2, LOADS[0]))


class Costs(NamedTuple):
    """What was measured: CPU in s per s, by load and then by program; times in s.

    `latencies` are from a changed value to the cap that it asks for; `rss_mib` is the agent's.
    """

    cpu: Mapping[Load, Mapping[str, float]]
    memory: Mapping[str, Memory]
    rss_mib: Mapping[Load, float]
    traffic: Mapping[Load, Traffic]
    latencies: Mapping[Pace, Sequence[float]]
    round_trips: Sequence[float]
    starts: Sequence[float]
    imports: Sequence[float]
    instructions: Instructions | None


def measure(seconds: float, jumps: int, instructions: Instructions | None) -> Costs:
    """Measure all: CPU for `seconds` at each load, latency by so many jumps."""
    cpu, memories = {}, {}
    for load in LOADS:
        cpu[load], memories[load] = _cpu(load, seconds)
    with ThreadPoolExecutor(len(PACES)) as pool:
        latencies = pool.map(lambda each: _latencies(each, jumps), PACES)
    with ThreadPoolExecutor(len(LOADS)) as pool:
        traffics = pool.map(lambda each: traffic(each, seconds), LOADS)
    return Costs(
        cpu=cpu,
        memory=memories[LOADS[0]],
        rss_mib={load: each[AGENT_NAME].rss_mib for load, each in memories.items()},
        traffic=dict(zip(LOADS, traffics, strict=True)),
        latencies=dict(zip(PACES, latencies, strict=True)),
        round_trips=_round_trips(),
        starts=[_start() for _ in range(STARTS)],
        imports=[_import() for _ in range(STARTS)],
        instructions=instructions,
    )


def _cpu(load: Load, seconds: float) -> tuple[dict[str, float], dict[str, Memory]]:
    """All programs at once on one bus: the same signals for each."""
    with site(load) as (bus, _, folder), ExitStack() as stack:
        agent = stack.enter_context(AgentProcess(bus, CONFIG, folder))
        agent.wait_for(enforceable=True)
        others = {}
        for name, way in WAYS.items():
            command = [PYTHON, "-m", "bench.contestants", way, bus.address]
            others[name] = Process(command, ENVIRONMENT, folder / f"{way}.log", talking=True)
            stack.callback(others[name].kill)
            others[name].first_line()
        time.sleep(SETTLED_S)

        pids = {AGENT_NAME: agent.process.child.pid}
        pids.update((name, process.child.pid) for name, process in others.items())
        before, before_s = {name: cpu_s(pid) for name, pid in pids.items()}, time.monotonic()
        time.sleep(seconds)
        after, after_s = {name: cpu_s(pid) for name, pid in pids.items()}, time.monotonic()
        spent = {n: (after[n] - before[n]) / (after_s - before_s) for n in pids}
        memories = {name: memory(pid) for name, pid in pids.items()}
        for name, process in others.items():
            process.child.terminate()
            children_s = float(process.child.stdout.read() or 0)
            spent[name] += children_s / (seconds + SETTLED_S)
        return spent, memories


def _latencies(pace: Pace, jumps: int) -> list[float]:
    """From a changed value to the write that it asks for, at random moments of the tick."""
    chance = random.Random(1)
    config = {**CONFIG, "control_interval_s": pace.interval_s}
    with site(pace.load) as (bus, feeder, folder), AgentProcess(bus, config, folder) as agent:
        agent.wait_for(enforceable=True)
        time.sleep(SETTLED_S)
        for i in range(jumps):
            feeder.ask("jump")
            wait_until(lambda i=i: len(feeder.ask("report")["latencies_s"]) > i, "a write", 10)
            time.sleep(WINDOW_S + pace.interval_s * (1.0 + chance.random()))
        return feeder.ask("report")["latencies_s"]


def _round_trips() -> list[float]:
    with site(Load(1)) as (bus, _, _):
        command = [PYTHON, "-m", "bench.contestants", "calls", bus.address]
        environment = {**os.environ, **ENVIRONMENT}
        done = subprocess.run(command, env=environment, capture_output=True, check=True)
        return json.loads(done.stdout)


def _start() -> float:
    """From the start of the process to its first cap at the control point."""
    with site(Load(1)) as (bus, feeder, folder):
        before_s = time.monotonic()
        with AgentProcess(bus, CONFIG, folder):
            return wait_until(lambda: feeder.ask("report")["writes_s"], "a cap", 20)[0] - before_s


def _import() -> float:
    before_s = time.monotonic()
    subprocess.run([PYTHON, "-c", "import dbus, gi"], check=True)
    return time.monotonic() - before_s
