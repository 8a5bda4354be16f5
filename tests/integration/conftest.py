"""A private bus for each test, and what can be put on it: sites, agents, other programs.

A test with the argument `stage` is played together with others of its kind, see `gx.stage`; one
marked `every_python` with the agent on several Pythons.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import Any

import pytest
from gx.bus import PYTHON, AgentProcess, BusClient, PrivateBus, Site
from gx.stage import RELAXED, Together
from trees.debian import OTHER_PYTHONS, Tree, TreeError, missing

TOGETHER = pytest.StashKey[Together]()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Play tests on stages with the agent on this machine's Python, some on those of trees too."""
    if "stage" in metafunc.fixturenames:
        every_python = metafunc.definition.get_closest_marker("every_python")
        here = pytest.param(lambda: (PYTHON,), id=pytest.HIDDEN_PARAM)
        trees = map(_on_tree, OTHER_PYTHONS if every_python else ())
        metafunc.parametrize("stage", [here, *trees])


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip these tests with a word where their processes can't run."""
    missing = _missing()
    if missing:
        for item in items:
            if item.path.parent.name == "integration":
                item.add_marker(pytest.mark.skip(reason=missing))


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Play the tests on stages when the first of them is due, and report each in its turn."""
    if not _on_stage(pyfuncitem):
        return None
    stash = pyfuncitem.session.stash
    if TOGETHER not in stash:
        mine = [item for item in pyfuncitem.session.items if _on_stage(item)]
        stash[TOGETHER] = Together([(i.nodeid, i.function, _parameters(i)) for i in mine])
    stash[TOGETHER].result(pyfuncitem.nodeid)
    return True


def pytest_sessionfinish(session: pytest.Session) -> None:
    """End what still plays."""
    if TOGETHER in session.stash:
        session.stash[TOGETHER].close()


@pytest.fixture
def stage() -> None:
    """Mark a test as one on a stage, which it is given as its first argument."""


@pytest.fixture
def bus(tmp_path) -> Iterator[PrivateBus]:
    """Start a bus that nothing else is on."""
    with PrivateBus(tmp_path) as running:
        yield running


@pytest.fixture
def start_site(bus, tmp_path) -> Iterator[Callable[..., Site]]:
    """Start a simulated site; the keys are those of its site file, the plant answers quickly."""
    with ExitStack() as stack:

        def start(*arguments: str, **keys: Any) -> Site:
            keys["plant"] = {**RELAXED, **keys.get("plant", {})}
            return stack.enter_context(Site(bus, keys, tmp_path, arguments))

        yield start


@pytest.fixture
def start_agent(bus, tmp_path) -> Iterator[Callable[..., AgentProcess]]:
    """Start the agent; the keys are those of its configuration."""
    with ExitStack() as stack:

        def start(*arguments: str, **config: Any) -> AgentProcess:
            return stack.enter_context(AgentProcess(bus, config, tmp_path, arguments))

        yield start


@pytest.fixture
def client(bus, tmp_path) -> Iterator[BusClient]:
    """Connect another program to the bus."""
    with BusClient(bus, tmp_path / "client.log") as running:
        yield running


def _on_tree(tree: Tree) -> Any:
    def find_python() -> Sequence[str]:
        try:
            return tree.command()
        except TreeError as error:
            pytest.skip(str(error))

    reason = missing(tree)
    marks = [pytest.mark.slow, *([pytest.mark.skip(reason=reason)] if reason else [])]
    return pytest.param(find_python, id=tree.name, marks=marks)


def _on_stage(item: pytest.Item) -> bool:
    skipped = any(item.iter_markers("skip")) or any(m.args[0] for m in item.iter_markers("skipif"))
    return isinstance(item, pytest.Function) and "stage" in item.fixturenames and not skipped


def _parameters(item: pytest.Function) -> dict[str, Any]:
    return dict(item.callspec.params) if hasattr(item, "callspec") else {}


def _missing() -> str | None:
    if shutil.which("dbus-daemon") is None:
        return "dbus-daemon is not installed"
    found = subprocess.run([PYTHON, "-c", "import dbus, gi.repository.GLib"], capture_output=True)
    return f"{PYTHON} has no dbus-python or no GLib" if found.returncode else None
