"""Stories that are played in the background while other tests run: they mostly wait.

A test module that defines `play_ahead(stage)` has it called at the start of the session, in a
thread of its own; the fixture `story` is what it returns. A test with a parameter `tale` has that
played by the crew, and gets what came of it by the fixture `told`. A test that is marked `ahead`
is itself played there, with nothing but a stage, some of them at a time; its turn only says how
it ended. Where it failed and is run again, that is in its turn.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from itertools import count
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pytest
from gx.device import Device, DeviceSpec
from gx.fleet import Fleet

from fleet.crew import Crew
from fleet.deployment import Controller, Repository

TESTS_AT_A_TIME = 3


class Tale(NamedTuple):
    """A story for a member of the crew, played once for each of these arguments."""

    story: Callable[..., Any]
    arguments: tuple[tuple[Any, ...], ...] = ((),)


class Stage:
    """What one story has to itself: a fleet, a repository, and controllers."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._fleet: Fleet | None = None
        self._closed = False
        self._controllers = 0
        self._numbers = count(1)
        self.repository = Repository(directory / "git")

    @property
    def fleet(self) -> Fleet:
        """The fleet, made when it is asked for first; raises RuntimeError after the end."""
        if self._closed:
            raise RuntimeError("the stage is closed")
        if self._fleet is None:
            self._fleet = Fleet.create([], self._directory / "fleet")
        return self._fleet

    def devices(self, specs: Iterable[DeviceSpec]) -> dict[str, Any]:
        """Make devices and turn them on; return them by name."""
        return {device.spec.name: device for device in self.fleet.add_all(specs)}

    def device(self, **fields: Any) -> Device:
        """Make one more device, on and ready, `device(profile="large")`."""
        return self.fleet.add(numbered(next(self._numbers), **fields))

    def controller(self) -> Controller:
        """Make one more controller."""
        self._controllers += 1
        directory = self.directory(f"controller{self._controllers}")
        return Controller(self.fleet, self.repository, directory)

    def directory(self, name: str) -> Path:
        """Make a directory."""
        made = self._directory / name
        made.mkdir()
        return made

    def close(self) -> None:
        """End the fleet."""
        self._closed = True
        if self._fleet is not None:
            self._fleet.close()

    def touched(self) -> list[str]:
        """Return the devices whose root something made writable."""
        devices = self._fleet.devices.values() if self._fleet else ()
        return [device.spec.name for device in devices if (device.sim / "violations").exists()]


def numbered(number: int, **fields: Any) -> DeviceSpec:
    """Return the spec of one of many devices."""
    plain = {"name": f"gx{number}", "portal_id": f"c0619a{number:06x}", "site": {}}
    return DeviceSpec(**{**plain, **fields})


class Ahead:
    """What is played ahead for the tests that were asked for."""

    def __init__(self, items: Iterable[pytest.Item], make_directory: Callable[[str], Path]) -> None:
        self._make_directory = make_directory
        self._stages: dict[str, Stage] = {}
        self._stories: dict[str, Future[Any]] = {}
        self._crew: Crew | None = None
        self._turn = threading.Semaphore(TESTS_AT_A_TIME)
        self._tests: dict[str, Future[None]] = {}
        tales = []
        for item in items:
            module = item.module
            if is_test_ahead(item):
                self._tests[item.nodeid] = self._begin_test(item)
            if module.__name__ not in self._stories and hasattr(module, "play_ahead"):
                self._stories[module.__name__] = self._begin(module)
            tales += [tale] if (tale := tale_of(item)) else []
        self._tales = self._begin_tales(tales) if tales else None

    def story(self, module: ModuleType) -> Any:
        """Wait for the end of a module's story; what it raised is raised here."""
        return self._stories[module.__name__].result()

    def told(self, tale: Tale) -> list[Any]:
        """Wait for the end of a tale, and return what came of it for each of its arguments."""
        assert self._tales
        return [each.result() for each in self._tales.result()[tale]]

    def end(self, item: pytest.Item) -> None:
        """Wait for the end of a test that is played ahead; what it raised is raised here."""
        played = self._tests.pop(item.nodeid, None)
        played.result() if played else self._play(item, self._make_directory("test"))

    def close(self, module: ModuleType) -> None:
        """End what a module's story needed."""
        self._stages.pop(module.__name__).close()

    def close_all(self) -> None:
        """End what is left."""
        if self._crew:
            self._crew.close()
        for stage in list(self._stages.values()):
            stage.close()

    def _begin(self, module: ModuleType) -> Future[Any]:
        name = module.__name__
        stage = self._stages[name] = Stage(self._make_directory(name.rpartition("_")[2]))
        return _in_background(lambda: module.play_ahead(stage))

    def _begin_test(self, item: pytest.Item) -> Future[None]:
        directory = self._make_directory("test")  # not in the thread: pytest makes them in one

        def play() -> None:
            with self._turn:
                self._play(item, directory)

        return _in_background(play)

    def _play(self, item: pytest.Item, directory: Path) -> None:
        stage = self._stages[item.nodeid] = Stage(directory)
        try:
            item.function(stage)
            touched = stage.touched()
        finally:
            stage.close()
        assert not touched, f"something made the root writable: {', '.join(touched)}"

    def _begin_tales(self, tales: list[Tale]) -> Future[dict[Tale, list[Future[Any]]]]:
        stage = self._stages["crew"] = Stage(self._make_directory("crew"))
        return _in_background(lambda: self._recruit(tales, stage))

    def _recruit(self, tales: list[Tale], stage: Stage) -> dict[Tale, list[Future[Any]]]:
        self._crew = crew = Crew(stage.fleet, stage.repository)
        return {
            tale: [crew.play(tale.story, *arguments) for arguments in tale.arguments]
            for tale in tales
        }


def is_ahead(item: pytest.Item) -> bool:
    """Say whether a test is one of a story."""
    of_module = hasattr(getattr(item, "module", None), "play_ahead")
    return of_module or is_test_ahead(item) or tale_of(item) is not None


def is_test_ahead(item: pytest.Item) -> bool:
    """Say whether a test is itself played ahead."""
    return item.get_closest_marker("ahead") is not None


def tale_of(item: pytest.Item) -> Tale | None:
    """Return the tale of a test, None for one without."""
    callspec = getattr(item, "callspec", None)
    return callspec.params.get("tale") if callspec else None


def _in_background(play: Callable[[], Any]) -> Future[Any]:
    """Call it in a thread that nobody has to wait for at the end."""
    future: Future[Any] = Future()

    def run() -> None:
        try:
            future.set_result(play())
        except BaseException as error:  # it is raised where the result is asked for
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future
