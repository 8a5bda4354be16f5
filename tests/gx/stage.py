"""A bus of its own for one test, and whatever the test puts on it; all of it hurried.

Tests on stages run several at once, each in a thread: they mostly wait. So a test on a stage uses
no other fixture and shares nothing.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from gx.bus import PYTHON, AgentProcess, BusClient, Json, PrivateBus, Site

SPEED = 10.0  # site seconds per second
AT_ONCE = 6
SLOWER = 4.0  # for a second try, alone

# A plant that answers quickly; a test that is about the lags gives them itself.
RELAXED = {"meter_lag_s": 0.0, "vebus_lag_s": 0.0, "loop_s": None}
LIFELIKE = {"meter_lag_s": 1.0, "vebus_lag_s": 0.5, "loop_s": 2.4}


def near(limit_w: float) -> Callable[[float | None], bool]:
    """Whether a power is a limit, but for the hundredth that the agent's gain estimate may move."""
    return lambda w: w is not None and abs(w - limit_w) <= 0.01 * limit_w


class Stage:
    """A bus, started with the context; sites and agents end with it.

    `python` is the command that runs its agents.
    """

    def __init__(self, python: Sequence[str] = (PYTHON,), speed: float = SPEED) -> None:
        self.python = python
        self.speed = speed
        self._stack = ExitStack()
        self.agents: list[AgentProcess] = []

    def __enter__(self) -> Stage:
        temporary = tempfile.TemporaryDirectory(prefix="gx-", ignore_cleanup_errors=True)
        self.directory = Path(self._stack.enter_context(temporary))
        self.bus = self._stack.enter_context(PrivateBus(self.directory))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: Any, _: object) -> None:
        for agent in self.agents if error else ():
            if agent.log.exists():
                error.add_note(f"the agent said:\n{agent.log.read_text()[-3000:]}")
        self._stack.close()

    def site(self, *arguments: str, **keys: Any) -> Site:
        """Start a site; the keys are those of its site file."""
        keys["plant"] = {**RELAXED, **keys.get("plant", {})}
        speed = ["--speed", str(self.speed)]
        return self._stack.enter_context(Site(self.bus, keys, self.directory, [*speed, *arguments]))

    def agent(self, *arguments: str, **config: Any) -> AgentProcess:
        """Start an agent; the keys are those of its configuration."""
        agent = self.prepare(*arguments, **config)
        return self._stack.enter_context(agent)

    def prepare(self, *arguments: str, **config: Any) -> AgentProcess:
        """Make an agent ready to be started, or for its other verbs."""
        place = self.directory / f"agent{len(self.agents)}"
        place.mkdir()
        agent = AgentProcess(self.bus, config, place, arguments, self.speed, self.python)
        self.agents.append(agent)
        return agent

    def client(self) -> BusClient:
        """Connect another program to the bus."""
        return self._stack.enter_context(BusClient(self.bus, self.directory / "client.log"))


class Together:
    """Plays tests on stages, several at once, in the order given.

    Each has a name, and its arguments; for `stage` there is what finds the agent's Python.
    """

    def __init__(self, tests: Sequence[tuple[str, Callable[..., None], Json]]) -> None:
        self._tests = {name: (test, arguments) for name, test, arguments in tests}
        self._pool = ThreadPoolExecutor(AT_ONCE)
        self._plays: dict[str, Future[None]] = {
            name: self._pool.submit(_play, test, arguments, SPEED)
            for name, test, arguments in tests
        }

    def result(self, name: str) -> None:
        """Wait for the end of a test; raises what it raised.

        Hurried beside others, a machine that stalls for a tenth of a second is a second late: a
        test that fails is played once more, alone and slower, and that counts.
        """
        try:
            self._plays[name].result()
        except Exception as first:
            try:
                _play(*self._tests[name], SLOWER)
            except Exception as second:
                second.add_note(f"at first, hurried: {first}")
                raise

    def close(self) -> None:
        """Start no more tests and wait for those that run."""
        self._pool.shutdown(cancel_futures=True)


def _play(test: Callable[..., None], arguments: Json, speed: float) -> None:
    given = dict(arguments)
    with Stage(given.pop("stage")(), speed) as stage:
        test(stage, **given)
