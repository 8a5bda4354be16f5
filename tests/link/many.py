"""What 500 devices cost the controller: deploy.yml where each has what the inventory wants.

Instead of ssh a small program of ours answers, with the reply that a simulated device has given.
"""

from __future__ import annotations

import bz2
import json
import resource
import subprocess
import time
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from fleet.asked import ask, wanted
from gx import inventory
from gx.device import Device

HOSTS = 500
TRIES = 50
STAND_IN = """#!/usr/bin/python3 -IS
import base64, bz2, json, sys
def read():
    return bz2.decompress(sys.stdin.buffer.read(int(sys.stdin.buffer.readline())))
program, request = read(), json.loads(read())
with open(sys.argv[0] + ".reply") as file:
    reply = json.load(file)
reply["portal_id"] = next(w[13:] for w in sys.argv if w.startswith("HostKeyAlias="))
packed = base64.b85encode(bz2.compress(json.dumps(reply).encode())).decode()
print(f"venus-export-limiter-reply:{request['id']}:{packed}")
"""


class Cost(NamedTuple):
    """Seconds on the clock, and of all processors together without the stand-in's part."""

    wall_s: float
    own_s: float


def measure(device: Device, pinned: dict[str, str], limit: dict[str, object], place: Path) -> Cost:
    """Play deploy.yml on 500 hosts that all reply as this device does, which is as wanted."""
    site = wanted(pinned, **limit)
    site = site._replace(settings={**site.settings, "history": True})
    ssh = place / "ssh"
    ssh.write_text(STAND_IN)
    ssh.chmod(0o755)
    reply = ask(device, "probe", site)
    (place / "ssh.reply").write_text(json.dumps(reply))
    hosts = place / "hosts.yml"
    hosts.write_text(json.dumps(_hosts(pinned, limit, ssh, place)))
    words = ["ansible-playbook", "playbooks/deploy.yml", "-i", str(hosts)]

    start_s, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        words,
        cwd=inventory.REPOSITORY,
        env={**inventory.environment(place), "ANSIBLE_SSH_CONTROL_PATH_DIR": str(place / "cp")},
        capture_output=True,
        text=True,
    )
    wall_s, after = time.monotonic() - start_s, resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0, done.stdout[-3000:]
    states = Counter(row["state"] for row in json.loads((place / "report.json").read_text()))
    assert states == {"converged": HOSTS}, done.stdout[-3000:]
    return Cost(wall_s, _spent(before, after) - HOSTS * _alone(ssh))


def _hosts(
    pinned: dict[str, str], limit: dict[str, object], ssh: Path, place: Path
) -> dict[str, Any]:
    every = {
        **pinned,
        **{f"export_limiter_{name}": value for name, value in limit.items()},
        "ansible_ssh_executable": str(ssh),
        "ansible_user": "root",
        "export_limiter_max_load": 1000,
        "export_limiter_report": str(place / "report.json"),
        "export_limiter_reports": str(place / "reports"),
    }
    hosts = {
        name: {"ansible_host": "198.51.100.1", "export_limiter_portal_id": name}
        for name in (f"site{n:03}" for n in range(HOSTS))
    }
    return {"gx": {"hosts": hosts, "vars": every}}


def _alone(ssh: Path) -> float:
    """Return what the stand-in itself takes for one answer, of a processor."""
    asked, words = json.dumps({"id": "0"}).encode(), [ssh, "HostKeyAlias=0"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    for _ in range(TRIES):
        subprocess.run(words, input=_framed(b"") + _framed(asked), stdout=subprocess.DEVNULL)
    return _spent(before, resource.getrusage(resource.RUSAGE_CHILDREN)) / TRIES


def _framed(content: bytes) -> bytes:
    packed = bz2.compress(content)
    return b"%d\n%b" % (len(packed), packed)


def _spent(before: resource.struct_rusage, after: resource.struct_rusage) -> float:
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
