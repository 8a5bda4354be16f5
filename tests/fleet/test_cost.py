"""What a roll-out costs on the link and on the device's flash."""

import base64
import os
import zlib
from typing import NamedTuple

from gx.device import DeviceSpec
from gx.proxy import Proxy
from role import ROLE

from fleet.deployment import pin

SITE = {"vebus": [{"name": "ttyS4", "phases": 3, "units": 3}]}
VARIABLES = {"export_limiter_max_multiplus_output_w": 30000}
BESIDE_BYTES = 10_000  # most of it is what SSH needs to connect


class Run(NamedTuple):
    """What came of a run of deploy.yml and what it cost."""

    state: str
    executions: int
    connections: int
    carried: int


def play_ahead(stage):
    """Install; run again and look for traces of it; upgrade."""
    spec = DeviceSpec("cheap", "c0619a00bbbb", SITE, variables=VARIABLES)
    device, controller = stage.fleet.add(spec), stage.controller()

    def run(**variables):
        with Proxy(stage.fleet.network, device.ssh_address) as proxy:
            played = controller.play("deploy", [device], **variables, **proxy.variables())
        assert played.code == 0, played.text
        count = controller.count_executions()
        return Run(*played.states.values(), count, proxy.connections, proxy.up + proxy.down)

    run()
    before = traces(device)
    converged = run()
    after = traces(device)
    new = stage.repository.commit({})
    return converged, before, after, run(**new), allowed_bytes(new)


def test_converged_device_costs_one_execution_and_no_write(story):
    converged, before, after, _, _ = story

    assert (converged.state, converged.executions, converged.connections) == ("converged", 1, 1)
    assert after == before


def test_upgrade_costs_two_executions_and_no_more_bytes_than_allowed(story, capsys):
    _, _, _, upgraded, allowed = story

    with capsys.disabled():
        print(f"\nan upgrade carries {upgraded.carried} bytes, allowed are {allowed}")
    assert (upgraded.state, upgraded.executions, upgraded.connections) == ("confirmed", 2, 1)
    assert upgraded.carried <= allowed


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
