"""A few devices with the agent, on which many stories are played at the same time.

They mostly wait: for a service to start, for health. Each story has a device to itself.
"""

from __future__ import annotations

import json
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from gx.device import Device, DeviceSpec
from gx.fleet import Fleet
from gx.waiting import wait_until

from fleet.asked import Wanted, ask, wanted
from fleet.deployment import CRASHING, Repository
from fleet.held import limited

SIZE = 12
LIMIT_W = 30000
# More than the limit, so that the cap binds, and not much, so that it is soon down.
SITE = {
    "name": "crew",
    "vebus": [{"name": "ttyS4", "phases": 3, "units": 3}],
    "load_w": 31500,
}

T = TypeVar("T")


class Member:
    """A device of the crew, running `old`; a story brings `new` to it and leaves it running.

    Each new one differs from the one before by its commit and from all by its configuration.
    """

    def __init__(self, crew: Crew, device: Device) -> None:
        self.crew = crew
        self.device = device
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
        of = self.crew.pair[self._brought % 2]
        config = {**json.loads(of.config), "export_margin_w": self._brought}
        return of._replace(config=json.dumps(config, indent=2, sort_keys=True) + "\n")


class Crew:
    """Devices of a fleet that run one of two releases, which differ by their commit only.

    `crashing` is a release that never stays up, `upgrade_s` what an upgrade takes undisturbed.
    """

    def __init__(self, fleet: Fleet, repository: Repository, size: int = SIZE) -> None:
        self.fleet = fleet
        limit = {"max_multiplus_output_w": LIMIT_W, "health_s": 15}
        self.pair = wanted(repository.commit({}), **limit), wanted(repository.commit({}), **limit)
        self.crashing = wanted(repository.commit(CRASHING), **limit)
        self._free: queue.SimpleQueue[Member | None] = queue.SimpleQueue()
        self._fit = size
        self._counting = threading.Lock()
        self._pool = ThreadPoolExecutor(size)
        members = self._recruit(size)
        self.upgrade_s = _upgrade(members[0])
        for member in members:
            wait_until(lambda m=member: limited(m.device, LIMIT_W), "the limit to be kept", 90)
            self._free.put(member)

    def play(self, story: Callable[..., T], *arguments: Any) -> Future[T]:
        """Have a story played with a member, as soon as one is free."""
        return self._pool.submit(self._played, story, arguments)

    def close(self) -> None:
        """Play nothing more."""
        self._pool.shutdown(wait=False, cancel_futures=True)

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
        specs = [DeviceSpec(f"crew{n}", f"c0619c{n:06x}", SITE) for n in range(size)]
        members = [Member(self, device) for device in self.fleet.add_all(specs)]
        with ThreadPoolExecutor(size) as pool:
            replies = list(pool.map(lambda m: ask(m.device, "apply", m.old), members))
        assert all(reply["state"] == "confirmed" for reply in replies), replies
        return members


def _upgrade(member: Member) -> float:
    start_s = time.monotonic()
    assert ask(member.device, "apply", member.new)["state"] == "confirmed"
    member.has_brought()
    return time.monotonic() - start_s
