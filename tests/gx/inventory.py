"""The inventory, keys and environment with which Ansible reaches a simulated fleet."""

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from gx.device import Device
from gx.keys import HOST_KEYS, make_key

REPOSITORY = Path(__file__).resolve().parents[2]
PIN = REPOSITORY / "roles/export_limiter/controller/pin.py"
GROUP = "gx"

# Private to a fleet, as all its mounts are, and short enough for the path of a socket.
_CONNECTIONS = "/run/lock/ansible"

# A caller's settings of these kinds would reach into the fleet.
_FOREIGN = ("ANSIBLE_", "LANG", "LC_", "PYTHONPATH", "PYTHONHOME", "SSH_AUTH_SOCK", "SSH_ASKPASS")


def make_login_key(workdir: Path) -> str:
    """Make the key that opens every device; return its public half."""
    key = _key(workdir)
    key.parent.mkdir()
    make_key(key, "ed25519")
    return key.with_suffix(".pub").read_text().strip()


def write(workdir: Path, devices: Iterable[Device]) -> Path:
    """Write hosts, their variables and their host keys; return the inventory's directory."""
    inventory = workdir / "inventory"
    devices = list(devices)
    names = "".join(f"    {device.spec.name}:\n" for device in devices)
    _text(inventory / "hosts.yml", f"---\n{GROUP}:\n  hosts:\n{names}")
    for device in devices:
        variables = {
            "ansible_host": device.address,
            "export_limiter_portal_id": device.spec.portal_id,
            **device.spec.variables,
        }
        _text(inventory / f"host_vars/{device.spec.name}.yml", _yaml(variables))
    options = f"-F /dev/null -o IdentitiesOnly=yes -o UserKnownHostsFile={known_hosts(workdir)}"
    reach = {
        "ansible_user": "root",
        "ansible_ssh_private_key_file": str(_key(workdir)),
        "ansible_ssh_common_args": f"{options} -o GlobalKnownHostsFile=/dev/null",
    }
    _text(inventory / f"group_vars/{GROUP}/reach.yml", _yaml(reach))
    # A simulated device shows its host's load, which is none of its own.
    _text(inventory / f"group_vars/{GROUP}/load.yml", _yaml({"export_limiter_max_load": 1000}))
    _text(known_hosts(workdir), "".join(map(_host_keys, devices)))
    return inventory


def write_pin(workdir: Path, repository: Path = REPOSITORY) -> str:
    """Pin the release of the repository's HEAD for the fleet; return the pin program's notes."""
    command = [sys.executable, PIN, "--repository", repository]
    done = subprocess.run(command, capture_output=True, text=True)
    pinned = f"---\n{done.stdout}" + _yaml({"export_limiter_repository": str(repository)}, "")
    _text(workdir / "inventory/group_vars/all.yml", pinned)
    return done.stderr.strip()


def known_hosts(workdir: Path) -> Path:
    """Return the file of the fleet's host keys, known by inventory name and not by address."""
    return workdir / "ssh/known_hosts"


def ssh_options(workdir: Path, device: Device) -> list[str]:
    """Return options of ssh and sftp that check a device's key under its inventory name."""
    options = {
        "IdentitiesOnly": "yes",
        "IdentityFile": _key(workdir),
        "UserKnownHostsFile": known_hosts(workdir),
        "HostKeyAlias": device.spec.name,
        "StrictHostKeyChecking": "yes",
    }
    return ["-F", "/dev/null", *(f"-o{name}={value}" for name, value in options.items())]


def environment(workdir: Path) -> dict[str, str]:
    """Return the environment for a command of the controller.

    Ansible's own files go to the fleet's directory, and its open connections to a place that no
    other fleet sees: two have the same names and addresses, and must not share a connection.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
    return {
        **kept,
        "PATH": f"{REPOSITORY}/.venv/bin:{os.environ['PATH']}",
        "LC_ALL": "C.UTF-8",
        "ANSIBLE_CONFIG": str(REPOSITORY / "ansible.cfg"),
        "ANSIBLE_HOME": str(workdir / "ansible"),
        "ANSIBLE_INVENTORY": str(workdir / "inventory"),
        "ANSIBLE_SSH_CONTROL_PATH_DIR": _CONNECTIONS,
    }


def _key(workdir: Path) -> Path:
    return workdir / "ssh/id_ed25519"


def _host_keys(device: Device) -> str:
    lines = []
    for kind in HOST_KEYS:
        key = (device.data / f"keys/ssh_host_{kind}_key.pub").read_text().split()
        lines.append(f"{device.spec.name} {key[0]} {key[1]}\n")
    return "".join(lines)


def _yaml(variables: Mapping[str, object], head: str = "---\n") -> str:
    return head + "".join(f"{name}: {json.dumps(value)}\n" for name, value in variables.items())


def _text(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
