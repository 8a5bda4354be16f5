"""What a roll-out costs on the link and on the device's flash.

The device has what an agent keeps of a full day and of ninety before, which the page shows.
"""

import json
import os
import zlib
from typing import NamedTuple

from gx.device import DeviceSpec
from gx.proxy import Proxy
from gx.waiting import wait_until
from page import example
from role import ROLE

from fleet.deployment import BASE, pin

SITE = {"vebus": [{"name": "ttyS4", "phases": 3, "units": 3}]}
VARIABLES = {"export_limiter_max_multiplus_output_w": 30000}
BESIDE_BYTES = 10_000  # for what SSH needs to connect and for the replies
DAYS, MINUTES = 90, 1440


class Run(NamedTuple):
    """What came of a run of deploy.yml and what it cost."""

    state: str
    executions: int
    connections: int
    carried: int


def play_ahead(stage):
    """Install; run again and look for traces of it; upgrade."""
    spec = DeviceSpec(example.EXCEEDED, "c0619a00bbbb", SITE, variables=VARIABLES)
    device, controller = stage.fleet.add(spec), stage.controller()
    example.give_a_day(device)
    give_days(device)

    def run(**variables):
        with Proxy(stage.fleet.network, device.ssh_address) as proxy:
            played = controller.play("deploy", [device], **variables, **proxy.variables())
        assert played.code == 0, played.text
        count = controller.count_executions()
        return Run(*played.states.values(), count, proxy.connections, proxy.up + proxy.down)

    run()
    wait_until(lambda: has_stored(device), "the agent to note the limit that it stored", 60)
    before = traces(device)
    converged = run()
    after = traces(device)
    new = stage.repository.commit({})
    upgraded = run(**new)
    data = json.loads((controller.workdir / "reports/latest/data.json").read_text())
    return converged, before, after, upgraded, allowed_bytes(new), data["sites"][0]["history"]


def has_stored(device):
    """Say whether the agent has nothing more to write: the limit is stored, and noted as such."""
    points = json.loads((device.data / BASE / "state.json").read_text())["points"]
    setting = points.get("com.victronenergy.settings/Settings/CGwacs/MaxDischargePower", {})
    return setting.get("written") == 30000 and setting["before"] is None


def test_converged_device_costs_one_execution_and_no_write(story):
    converged, before, after, *_ = story

    assert (converged.state, converged.executions, converged.connections) == ("converged", 1, 1)
    assert after == before


def test_upgrade_costs_two_executions_and_no_more_bytes_than_allowed(story, capsys):
    *_, upgraded, allowed, history = story

    with capsys.disabled():
        print(f"\nan upgrade carries {upgraded.carried} bytes, allowed are {allowed}")
    assert (upgraded.state, upgraded.executions, upgraded.connections) == ("confirmed", 2, 1)
    assert upgraded.carried <= allowed
    assert len(history["days"]["date"]) == DAYS
    assert len(history["series"]["output_mean_w"]) == MINUTES


def allowed_bytes(pinned):
    """Return what an upgrade may cost: the release and twice the program as gzip, and all else."""
    release = pin.build(pinned["export_limiter_repository"], pinned["export_limiter_commit"])
    program = (ROLE / "files/device.py").read_bytes()
    packed = [len(zlib.compress(each, 9)) for each in (_text(release), program)]
    return packed[0] + 2 * packed[1] + BESIDE_BYTES


def give_days(device):
    """Leave as many lines as an agent keeps of the days before: those of three weeks, again."""
    file = device.data / BASE / "days.json"
    kept = json.loads(file.read_text())
    rows = kept["days"] * DAYS
    file.write_text(json.dumps({**kept, "days": rows[:DAYS]}))


def _text(release):
    return json.dumps(release._asdict(), sort_keys=True).encode()


def traces(device):
    """Return what any write on /data would change, however it is undone again."""
    os.sync()
    found = {}
    for here, directories, names in os.walk(device.data):
        for path in [here, *(os.path.join(here, name) for name in directories + names)]:
            about = os.lstat(path)
            found[path] = (about.st_ino, about.st_mtime_ns, about.st_ctime_ns, about.st_size)
    return found, os.statvfs(device.data)
