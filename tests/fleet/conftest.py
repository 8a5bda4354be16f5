"""Simulated GX devices for the tests of this directory, which are skipped where none can run."""

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest
from gx.device import Device
from gx.fleet import Fleet
from gx.namespaces import namespaces_permitted

from fleet.ahead import Ahead, Tale, is_ahead, is_test_ahead, numbered
from fleet.deployment import Repository

HERE = Path(__file__).parent

MakeDevice = Callable[..., Device]

_numbers = count(1)  # a name is used once: what failed to start stays for a look


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of this directory, and skip each of them where no device can run.

    Those that are played ahead, or tell of a story that is, come last.
    """
    ours = [item for item in items if HERE in item.path.parents]
    if ours:
        begin = items.index(ours[0])
        items[begin : begin + len(ours)] = sorted(ours, key=is_ahead)
    for item in ours:
        item.add_marker(pytest.mark.fleet)
        # Real programs in real time: a machine that stalls is no fault of theirs. Twice is.
        item.add_marker(pytest.mark.flaky(reruns=1))
    if ours and (reason := namespaces_permitted()):
        for item in ours:
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Have a test that is played ahead only say how it ended."""
    if not is_test_ahead(pyfuncitem):
        return None
    pyfuncitem.funcargs["ahead"].end(pyfuncitem)
    return True


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name the tests of this directory that were skipped, and say how many."""
    skipped = terminalreporter.stats.get("skipped", [])
    ours = [report.nodeid for report in skipped if report.nodeid.startswith("tests/fleet/")]
    if ours:
        terminalreporter.section(f"{len(ours)} fleet tests skipped")
        terminalreporter.write("".join(f"{name}\n" for name in ours))


@pytest.fixture(scope="session")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """The controller's network of all these tests, without a device at first."""
    with Fleet.create([], tmp_path_factory.mktemp("fleet")) as fleet:
        yield fleet


@pytest.fixture(scope="session")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """A repository with the agent of the working tree."""
    return Repository(tmp_path_factory.mktemp("repository") / "git")


@pytest.fixture(scope="session", autouse=True)
def ahead(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Ahead]:
    """What is played in the background from now on; see `ahead`."""
    ours = [item for item in request.session.items if HERE in item.path.parents]
    ahead = Ahead(ours, tmp_path_factory.mktemp)
    yield ahead
    ahead.close_all()


@pytest.fixture
def stage() -> None:
    """Name what a test that is played ahead gets there: a stage of its own."""


@pytest.fixture(scope="module")
def story(request: pytest.FixtureRequest, ahead: Ahead) -> Iterator[object]:
    """What came of the module's `play_ahead`."""
    yield ahead.story(request.module)
    ahead.close(request.module)


@pytest.fixture
def told(ahead: Ahead, tale: Tale) -> list[object]:
    """What came of the test's tale, for each of its arguments."""
    return ahead.told(tale)


@pytest.fixture
def make_device(fleet: Fleet) -> Iterator[MakeDevice]:
    """Make devices of this test's own, `make_device(profile="large")`; they are on and ready."""
    made: list[Device] = []

    def make(**fields: object) -> Device:
        device = fleet.add(numbered(next(_numbers), **fields))
        made.append(device)
        return device

    yield make
    touched = [device.spec.name for device in made if (device.sim / "violations").exists()]
    for device in made:
        fleet.remove(device)
    assert not touched, f"something made the root writable: {', '.join(touched)}"


@pytest.fixture
def device(make_device: MakeDevice) -> Device:
    """A fresh device like a Cerbo GX with v3.67."""
    return make_device()
