"""A few devices with the agent, on which many stories are played at the same time.

They mostly wait: for a service to start, for health. Each story has a device to itself.
"""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import count
from types import TracebackType
from typing import Any, TypeVar

from asked import Wanted, ask, wanted
from deployment import Repository
from gx.device import Device, DeviceSpec
from gx.fleet import Fleet
from gx.waiting import wait_until
from held import limited

LIMIT_W = 30000
# More than the limit, so that the cap binds, and less than the inverters could deliver.
SITE = {
    "name": "crew",
    "vebus": [{"name": "ttyS4", "phases": 3, "units": 3}],
    "load_w": 34000,
}
T = TypeVar("T")

_numbers = count(1)


class Member:
    """A device of the crew, running `old`; a story brings `new` to it and leaves it running.

    Each new one differs from the one before by its commit and from all by its configuration.
    """

    def __init__(self, device: Device, pair: tuple[Wanted, Wanted]) -> None:
        self.device = device
        self._pair = pair
        self._brought = 0
        self.old = self._next()
        self.new = self._next()

    @property
    def both(self) -> tuple[Wanted, Wanted]:
        """The two releases; in whatever state it is, it runs one of them."""
        return self.old, self.new

    def has_brought(self) -> None:
        """Take up that the new one runs now."""
        self.old, self.new = self.new, self._next()

    def _next(self) -> Wanted:
        self._brought += 1
        of = self._pair[self._brought % 2]
        config = {**json.loads(of.config), "export_margin_w": self._brought}
        return of._replace(config=json.dumps(config, indent=2, sort_keys=True) + "\n")


class Crew:
    """Devices of a fleet that run one of two releases, which differ by their commit only."""

    def __init__(self, fleet: Fleet, repository: Repository, size: int) -> None:
        self._fleet = fleet
        limit = {"max_multiplus_output_w": LIMIT_W, "health_s": 15}
        self._pair = wanted(repository.commit({}), **limit), wanted(repository.commit({}), **limit)
        self._free: queue.SimpleQueue[Member | None] = queue.SimpleQueue()
        self._fit = size
        self._counting = threading.Lock()
        self._made: list[Device] = []
        self._pool = ThreadPoolExecutor(size)
        try:
            for member in self._recruit(size):
                self._free.put(member)
        except BaseException:
            self.close()
            raise

    def play(self, story: Callable[..., T], *arguments: Any) -> Future[T]:
        """Have a story played with a member, as soon as one is free."""
        return self._pool.submit(self._played, story, arguments)

    def close(self) -> None:
        """Wait for what is being played, then turn every device off."""
        self._pool.shutdown(cancel_futures=True)
        for device in self._made:
            self._fleet.remove(device)

    def __enter__(self) -> Crew:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _played(self, story: Callable[..., T], arguments: tuple[Any, ...]) -> T:
        member = self._free.get()
        if member is None:
            self._free.put(None)
            raise RuntimeError("no device is left: a story has failed on each")
        try:
            done = story(member, *arguments)
        except BaseException:
            # Its state is anybody's guess, so no other story gets it.
            with self._counting:
                self._fit -= 1
                if not self._fit:
                    self._free.put(None)
            raise
        member.has_brought()
        self._free.put(member)
        return done

    def _recruit(self, size: int) -> list[Member]:
        specs = []
        for number in (next(_numbers) for _ in range(size)):
            specs.append(DeviceSpec(f"crew{number}", f"c0619c{number:06x}", SITE))
        devices = self._fleet.add_all(specs)
        self._made += devices
        members = [Member(device, self._pair) for device in devices]
        with ThreadPoolExecutor(size) as pool:
            replies = list(pool.map(lambda m: ask(m.device, "apply", m.old), members))
        assert all(reply["state"] == "confirmed" for reply in replies), replies
        for device in devices:
            wait_until(lambda d=device: limited(d, LIMIT_W), "the limit to be kept", 90)
        return members
