"""What a roll-out costs on the link and on the device's flash."""

import base64
import os
import zlib

import pytest
from deployment import Controller, pin
from gx.proxy import Proxy
from role import ROLE

SITE = {"vebus": [{"name": "ttyS4", "phases": 3, "units": 3}]}
VARIABLES = {"export_limiter_max_multiplus_output_w": 30000}
BESIDE_BYTES = 10_000  # most of it is what SSH needs to connect


@pytest.fixture
def controller(fleet, repository, tmp_path):
    return Controller(fleet, repository, tmp_path)


def test_converged_is_one_execution_and_no_write_an_upgrade_is_two(
    controller, make_device, repository, capsys
):
    device = make_device(site=SITE, variables=VARIABLES)
    first = controller.play("deploy", [device])
    assert first.code == 0, first.text

    before = traces(device)
    again = controller.play("deploy", [device])
    assert list(again.states.values()) == ["converged"], again.text
    assert controller.count_executions() == 1
    assert traces(device) == before

    new = repository.commit({})
    with Proxy(controller.fleet.network, device.ssh_address) as proxy:
        upgraded = controller.play("deploy", [device], **new, **proxy.variables())
    assert list(upgraded.states.values()) == ["confirmed"], upgraded.text
    assert (controller.count_executions(), proxy.connections) == (2, 1)
    carried, allowed = proxy.up + proxy.down, allowed_bytes(new)
    with capsys.disabled():
        print(f"\nan upgrade carries {carried} bytes, allowed are {allowed}")
    assert carried <= allowed


def allowed_bytes(pinned):
    """Return what an upgrade may cost: the packed release, the program twice, and all else."""
    release = pin.build(pinned["export_limiter_repository"], pinned["export_limiter_commit"])
    packed = len(base64.b64decode(pin.pack(release)))
    program = zlib.compress((ROLE / "files/device.py").read_bytes(), 9)
    return packed + 2 * len(program) + BESIDE_BYTES


def traces(device):
    """Return what any write on /data would change, however it is undone again."""
    os.sync()
    found = {}
    for here, directories, names in os.walk(device.data):
        for path in [here, *(os.path.join(here, name) for name in directories + names)]:
            about = os.lstat(path)
            found[path] = (about.st_ino, about.st_mtime_ns, about.st_ctime_ns, about.st_size)
    return found, os.statvfs(device.data)
