"""`make bench-fleet`: upgrade over 300 ms and 1 Mbit/s, ours and by stock modules, in one run.

And what a roll-out to many devices costs the controller itself.
"""

from __future__ import annotations

import io
import json
import sys
import tarfile
import tempfile
import time
from pathlib import Path

from fleet.asked import Wanted, ask, wanted
from fleet.deployment import Controller, Repository, pin
from gx.device import Device, DeviceSpec
from gx.fleet import Fleet
from gx.proxy import Link, Proxy

from link.many import HOSTS, measure

LINK = Link(round_trip_s=0.3, bits_per_s=1e6)
LIMIT = {"max_multiplus_output_w": 30000}
SPEC = DeviceSpec(
    name="far",
    portal_id="c0619a00cccc",
    site={"vebus": [{"name": "ttyS4", "phases": 3, "units": 3}]},
    version="v3.70",
    profile="large",  # else the stock module copy fails on it
    variables={f"export_limiter_{name}": value for name, value in LIMIT.items()},
)
ALLOWED = 1.3  # of what the link and the device need
AT_LEAST = 5.0  # times faster than stock modules
OWN_S = 60.0  # of the controller's processors, for all of many devices
STOCK = Path(__file__).with_name("stock.yml")


def main() -> int:
    """Measure, print what was measured; 1 where a bar is missed."""
    with tempfile.TemporaryDirectory(prefix="gx-") as directory:
        place = Path(directory)
        repository = Repository(place / "git")
        with Fleet.create([SPEC], place / "fleet") as fleet:
            device = fleet.device(SPEC.name)
            (place / "controller").mkdir()
            controller = Controller(fleet, repository, place / "controller")
            return _measure(device, controller, place)


def _measure(device: Device, controller: Controller, place: Path) -> int:
    repository, network = controller.repository, controller.fleet.network
    deployed = controller.play("deploy", [device])
    assert deployed.code == 0, deployed.text

    (place / "many").mkdir()
    many = measure(device, controller.repository.whole, LIMIT, place / "many")
    print(f"{HOSTS} devices as wanted: {many.own_s:.1f} s of the controller's processors,")
    print(f"          allowed {OWN_S:g}, {many.wall_s:.1f} s on the clock")

    on_device_s = _on_device(device, wanted(repository.commit({}), **LIMIT))
    with Proxy(network, device.ssh_address, LINK) as proxy:
        trips_s = _bare(controller, device, proxy)
    new = repository.commit({})
    with Proxy(network, device.ssh_address, LINK) as proxy:
        ours_s = _ours(controller, device, new, proxy)
        carried = proxy.up + proxy.down
    rate_s = 8 * carried / LINK.bits_per_s
    needed_s = trips_s + rate_s + on_device_s
    with Proxy(network, device.ssh_address, LINK) as proxy:
        stock_s = _stock(controller, device, wanted(repository.commit({}), **LIMIT), proxy, place)
        stock_carried = proxy.up + proxy.down

    print(
        f"link: {LINK.round_trip_s * 1000:.0f} ms there and back, {LINK.bits_per_s / 1e6:g} Mbit/s"
    )
    print(f"needed: {needed_s:5.1f} s = {trips_s:.1f} s for 2 executions that do nothing")
    print(f"          + {rate_s:.1f} s for {carried} bytes + {on_device_s:.1f} s on the device")
    print(f"ours:   {ours_s:5.1f} s, {ours_s / needed_s:.2f} of that, allowed {ALLOWED}")
    faster = stock_s / ours_s
    print(f"stock:  {stock_s:5.1f} s, {stock_carried} bytes: ours is {faster:.1f} times faster,")
    print(f"          at least {AT_LEAST:g} is asked for")
    kept = (ours_s <= ALLOWED * needed_s, faster >= AT_LEAST, many.own_s <= OWN_S)
    return 0 if all(kept) else 1


def _on_device(device: Device, site: Wanted) -> float:
    """Return what an upgrade takes on the device itself, without any link or controller."""
    start_s = time.monotonic()
    ask(device, "probe", site)
    assert ask(device, "apply", site)["state"] == "confirmed"
    return time.monotonic() - start_s


def _bare(controller: Controller, device: Device, proxy: Proxy) -> float:
    """Return what two executions take that do nothing, the second on the first's connection."""
    workdir = controller.fleet.workdir
    options = [
        f"IdentityFile={workdir}/ssh/id_ed25519",
        f"UserKnownHostsFile={workdir}/ssh/known_hosts",
        f"HostKeyAlias={device.spec.name}",
        "ControlMaster=auto",
        "ControlPersist=60",
        "ControlPath=/run/lock/ansible/bare",
        "LogLevel=ERROR",
    ]
    flags = ["-F", "/dev/null", *(word for option in options for word in ("-o", option))]
    words = ["ssh", *flags, "-p", str(proxy.port), f"root@{proxy.address}", "true"]
    start_s = time.monotonic()
    for _ in range(2):
        controller.fleet.run(*words)
    taken_s = time.monotonic() - start_s
    controller.fleet.run(*words[:-1], "-O", "exit")
    return taken_s


def _ours(controller: Controller, device: Device, pinned: dict[str, str], proxy: Proxy) -> float:
    """Return what deploy.yml takes, all of it."""
    start_s = time.monotonic()
    played = controller.play("deploy", [device], **pinned, **proxy.variables())
    taken_s = time.monotonic() - start_s
    assert list(played.states.values()) == ["confirmed"], played.text
    return taken_s


def _stock(
    controller: Controller, device: Device, site: Wanted, proxy: Proxy, place: Path
) -> float:
    """Return what stock.yml takes, all of it."""
    archive = place / "release.tar.gz"
    files = {**site.files, "MANIFEST": pin.manifest(site.files), "config.json": site.config}
    with tarfile.open(archive, "w:gz") as tar:
        for path, text in files.items():
            about = tarfile.TarInfo(path)
            about.size = len(text.encode())
            about.mode = 0o755 if Path(path).name in ("run", "export-limiter") else 0o644
            tar.addfile(about, io.BytesIO(text.encode()))
    given = {"archive": str(archive), "release_id": site.ident, **proxy.variables()}
    words = ["ansible-playbook", STOCK, "--limit", device.spec.name, "-e", json.dumps(given)]
    start_s = time.monotonic()
    done = controller.fleet.run(*words, check=False)
    taken_s = time.monotonic() - start_s
    assert done.returncode == 0, done.stdout
    return taken_s


if __name__ == "__main__":
    sys.exit(main())
