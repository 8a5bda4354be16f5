"""Faults of a simulated service, by name, and how each is put right again."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from gx.item import OK, Item, Value
from gx.simulation import Simulation, full_name
from gx.velib import Service


class WriteFault(NamedTuple):
    """What happens to SetValue: `answer` a code, `raise`, `ignore` it, or `revert` it later.

    All but `answer` and `raise` answer 0. A `path` of None is every path of the service.
    """

    kind: str
    path: str | None = None
    code: int = 1
    after_s: float = 2.0


class Faults:
    """Puts faults on the services of a simulation; each is named by its method."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation

    def freeze(self, service: str, on: bool = True) -> None:
        """Keep every measured value of a service as it is; it still answers and takes writes."""
        self._find(service).frozen = on

    def hang(self, service: str, on: bool = True) -> None:
        """Never answer a call; signals still come."""
        self._find(service).hanging = on

    def drop(self, service: str, seconds: float | None = None, rename: str | None = None) -> None:
        """Leave the bus, for so many seconds or for good, and return as `rename` if given."""
        found = self._find(service)
        found.wanted = False
        found.disconnect()
        if rename:
            found.name = full_name(rename)
        if seconds is not None:
            self._simulation.after(seconds, lambda: self._return(found))

    def come(self, service: str) -> None:
        """Come to the bus: after a drop for good, or for a service that was absent."""
        self._return(self._find(service))

    def answer(self, service: str, code: int, path: str | None = None) -> None:
        """Answer SetValue with `code` and do nothing."""
        self._set(service, WriteFault("answer", path, code=code))

    def error(self, service: str, path: str | None = None) -> None:
        """Answer SetValue with a D-Bus error."""
        self._set(service, WriteFault("raise", path))

    def ignore(self, service: str, path: str | None = None) -> None:
        """Answer 0 to SetValue and do nothing."""
        self._set(service, WriteFault("ignore", path))

    def revert(self, service: str, after_s: float, path: str | None = None) -> None:
        """Take each SetValue, and go back to what was there before it `after_s` later."""
        self._set(service, WriteFault("revert", path, after_s=after_s))

    def clear(self, service: str | None = None) -> None:
        """Put freezing, hanging, pinned values and write faults of one or all services right."""
        services = [self._find(service)] if service else self._simulation.services.values()
        for each in services:
            each.frozen = each.hanging = False
            each.answer_write = None
            each.pinned.clear()

    def _find(self, name: str) -> Service:
        return self._simulation.find(name)

    def _return(self, service: Service) -> None:
        service.wanted = True
        if not service.connected:
            service.connect(self._simulation.address)

    def _set(self, name: str, fault: WriteFault) -> None:
        service = self._find(name)
        service.answer_write = _faulty(fault, service, self._simulation.after)


def _faulty(
    fault: WriteFault, service: Service, after: Callable[[float, Callable[[], None]], None]
) -> Callable[[str, Item, Value], int | None]:
    def answer(path: str, item: Item, value: Value) -> int | None:
        if fault.path not in (None, path):
            return None
        if fault.kind == "answer":
            return fault.code
        if fault.kind == "raise":
            raise RuntimeError("simulated fault")
        if fault.kind == "revert":
            before = item.value

            def go_back() -> None:
                item.write(before)
                service.announce([path])

            after(fault.after_s, go_back)
            return None
        return OK

    return answer
