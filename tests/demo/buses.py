"""The demo without devices: the simulated sites on private buses, the agents as processes."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from gx.bus import AgentProcess, PrivateBus, Site
from gx.device import DeviceSpec
from gx.sites import SITES

from demo.loads import site_of
from demo.story import RunningSite
from demo.view import View

PREFIX = "export_limiter_"


@contextmanager
def on_buses(view: View) -> Iterator[list[RunningSite]]:
    """Start the sites and their agents and stop them at the end."""
    with TemporaryDirectory(prefix="demo-") as directory, ExitStack() as stack:
        with view.step("Starting two simulated sites and their agents"):
            running = [_start(spec, Path(directory), stack) for spec in SITES]
        yield running


def _start(spec: DeviceSpec, directory: Path, stack: ExitStack) -> RunningSite:
    place = directory / spec.name
    place.mkdir()
    config = {name.removeprefix(PREFIX): value for name, value in spec.variables.items()}
    bus = stack.enter_context(PrivateBus(place))
    site = stack.enter_context(Site(bus, dict(spec.site), place))
    agent = stack.enter_context(AgentProcess(bus, config, place))

    def ask(**request: Any) -> dict[str, Any]:
        return site.do(request.pop("do"), **request)

    return RunningSite(site_of(spec), ask, agent.runtime / "status.json", agent.log)
