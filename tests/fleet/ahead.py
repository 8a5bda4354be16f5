"""Stories that are played in the background while other tests run: they mostly wait.

A test module that defines `play_ahead(stage)` has it called at the start of the session, in a
thread of its own; the fixture `story` is what it returns. A test with a parameter `tale` has that
played by the crew, and gets what came of it by the fixture `told`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pytest
from gx.device import DeviceSpec
from gx.fleet import Fleet

from fleet.crew import Crew
from fleet.deployment import Controller, Repository


class Tale(NamedTuple):
    """A story for a member of the crew, played once for each of these arguments."""

    story: Callable[..., Any]
    arguments: tuple[tuple[Any, ...], ...] = ((),)


class Stage:
    """What one story has to itself: a fleet, a repository, and controllers."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._fleet: Fleet | None = None
        self._controllers = 0
        self.repository = Repository(directory / "git")

    @property
    def fleet(self) -> Fleet:
        """The fleet, made when it is asked for first."""
        if self._fleet is None:
            self._fleet = Fleet.create([], self._directory / "fleet")
        return self._fleet

    def devices(self, specs: Iterable[DeviceSpec]) -> dict[str, Any]:
        """Make devices and turn them on; return them by name."""
        return {device.spec.name: device for device in self.fleet.add_all(specs)}

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
        if self._fleet is not None:
            self._fleet.close()


class Ahead:
    """What is played ahead for the tests that were asked for."""

    def __init__(self, items: Iterable[pytest.Item], make_directory: Callable[[str], Path]) -> None:
        self._make_directory = make_directory
        self._stages: dict[str, Stage] = {}
        self._stories: dict[str, Future[Any]] = {}
        tales = []
        for item in items:
            module = item.module
            if module.__name__ not in self._stories and hasattr(module, "play_ahead"):
                self._stories[module.__name__] = self._begin(module)
            tales += [tale] if (tale := tale_of(item)) else []
        self._tales = _in_background(lambda: self._recruit(tales)) if tales else None

    def story(self, module: ModuleType) -> Any:
        """Wait for the end of a module's story; what it raised is raised here."""
        return self._stories[module.__name__].result()

    def told(self, tale: Tale) -> list[Any]:
        """Wait for the end of a tale, and return what came of it for each of its arguments."""
        assert self._tales
        return [each.result() for each in self._tales.result()[tale]]

    def close(self, module: ModuleType) -> None:
        """End what a module's story needed."""
        self._stages.pop(module.__name__).close()

    def close_all(self) -> None:
        """End what is left."""
        if self._tales:
            self._crew.close()
        for stage in self._stages.values():
            stage.close()

    def _begin(self, module: ModuleType) -> Future[Any]:
        name = module.__name__
        stage = self._stages[name] = Stage(self._make_directory(name.rpartition("_")[2]))
        return _in_background(lambda: module.play_ahead(stage))

    def _recruit(self, tales: list[Tale]) -> dict[Tale, list[Future[Any]]]:
        stage = self._stages["crew"] = Stage(self._make_directory("crew"))
        self._crew = Crew(stage.fleet, stage.repository)
        return {
            tale: [self._crew.play(tale.story, *arguments) for arguments in tale.arguments]
            for tale in tales
        }


def is_ahead(item: pytest.Item) -> bool:
    """Say whether a test is one of a story."""
    return hasattr(getattr(item, "module", None), "play_ahead") or tale_of(item) is not None


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
