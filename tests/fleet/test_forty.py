"""Forty devices in one roll-out: with the default waves, one failure in the second stops it."""

from collections import Counter

import pytest
from gx.device import DeviceSpec
from role import REPOSITORY

from fleet import held
from fleet.deployment import Controller

pytestmark = pytest.mark.slow

COUNT = 40
OFFLINE, CRASHES = 30, 5  # the sixth device is in the second wave
SITE = {"vebus": [{"name": "ttyS4", "phases": 1, "units": 1}]}
MOODY = "#!/bin/sh\n[ ! -e /data/crash ] || exit 1\n"


@pytest.fixture
def devices(fleet):
    specs = [
        DeviceSpec(
            name=f"n{number:02}",
            portal_id=f"c06200{number:06x}",
            site=SITE,
            data_mb=32,
            variables={"export_limiter_max_multiplus_output_w": 5000},
        )
        for number in range(COUNT)
    ]
    devices = fleet.add_all(specs)
    yield devices
    for device in devices:
        fleet.remove(device)


def test_forty_devices_stop_after_a_failure_and_the_next_run_does_the_rest(
    fleet, devices, repository, tmp_path, capsys
):
    controller = Controller(fleet, repository, tmp_path)
    run = (REPOSITORY / "agent/run").read_text().removeprefix("#!/bin/sh\n")
    moody = repository.commit({"run": MOODY + run})
    fleet.network.set_link(devices[OFFLINE].host, up=False)
    (devices[CRASHES].data / "crash").touch()

    stopped = controller.play("deploy", devices, **moody)
    first = Counter(stopped.states.values())
    (devices[CRASHES].data / "crash").unlink()
    rest = controller.play("deploy", devices, **moody)
    second = Counter(rest.states.values())
    again = Counter(controller.play("deploy", devices, **moody).states.values())

    with capsys.disabled():
        print(f"\nforty devices: {dict(first)}, then {dict(second)}, then {dict(again)}")
    assert (stopped.code, rest.code) == (2, 0), rest.text
    # Of 39 that are reached one is in the first wave and ten are in the second.
    assert first == {"confirmed": 10, "rolled back": 1, "not tried": 28, "pending": 1}
    assert second == {"converged": 10, "confirmed": 29, "pending": 1}
    assert again == {"converged": 39, "pending": 1}
    reached = [device for number, device in enumerate(devices) if number != OFFLINE]
    assert {held.census(device) for device in reached} == {(1, 1)}
