"""The device program, asked on a simulated device as the action plugin asks it, without Ansible.

So a test can choose the moment at which something happens to it, and the step.
"""

from __future__ import annotations

import bz2
import contextlib
import hashlib
import json
import shlex
import subprocess
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from gx.device import Device
from gx.fleet import Fleet
from role import ROLE, load

from fleet.deployment import pin

plugin = load("action_plugins/export_limiter.py")
site_config = load("controller/site_config.py")

STUMBLE = Path(__file__).with_name("stumble.py")
DEADLINE_S = 420.0


class Wanted(NamedTuple):
    """A release with a configuration, and the settings that go with it."""

    files: dict[str, str]
    config: str
    settings: dict[str, Any]

    @property
    def ident(self) -> str:
        """What the release is called on the device."""
        digest = hashlib.sha256(self.config.encode()).hexdigest()
        return f"{self.settings['commit']}-{digest[:12]}"


def wanted(pinned: Mapping[str, object], **variables: object) -> Wanted:
    """Return what an inventory with these variables asks of a device; the load never matters.

    `pinned` are the variables that `Repository.commit` returned; the others go without the prefix.
    """
    given = {f"export_limiter_{name}": value for name, value in variables.items()}
    site = site_config.render({"export_limiter_max_load": 1000, **pinned, **given})
    assert not site.faults, site.faults
    settings = site.settings
    release = pin.build(settings["repository"], settings["commit"])
    sent = {name: settings[name] for name in plugin.SENT if name in settings}
    return Wanted(release.files, site.config, sent)


class Asking:
    """One verb, sent to a device; `reply` waits for what it comes to.

    `fault` is what `stumble.install` takes. `tweaks` replace texts of the program, as a time that
    is too long for a test. With `fleet` it goes over SSH, as from the controller. `ahead` is Python
    that is run before the program, and `traced` the words that trace what they are put before.
    """

    def __init__(
        self,
        device: Device,
        verb: str,
        site: Wanted,
        *,
        fault: Mapping[str, object] | None = None,
        tweaks: Mapping[str, str] | None = None,
        fleet: Fleet | None = None,
        traced: tuple[str, ...] = (),
        ahead: str = "",
    ) -> None:
        self.ident = uuid.uuid4().hex
        request = {"verb": verb, "id": self.ident, "config": site.config, **site.settings}
        request["files"] = site.files
        if fault:
            ahead += f"{STUMBLE.read_text()}\ninstall({dict(fault)!r})\n"
        words = ["/usr/bin/python3", "-c", ahead + plugin.BOOTSTRAP]
        if fleet:
            words = fleet.command(*_ssh(fleet, device), shlex.join(words))
        else:
            words = [*traced, *device.command(*words)]
        self.process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        assert self.process.stdin
        sent = _packed(_program(tweaks or {})) + _packed(json.dumps(request).encode())
        with contextlib.suppress(BrokenPipeError), self.process.stdin as stdin:
            stdin.write(sent)
        self.process.stdin = None

    @property
    def ended(self) -> bool:
        """Whether the caller has ended, be it with a reply or not."""
        return self.process.poll() is not None

    def reply(self, deadline_s: float = DEADLINE_S) -> dict[str, Any]:
        """Return the reply; where there was none its state is lost."""
        printed = self.process.communicate(timeout=deadline_s)[0].decode("utf-8", "replace")
        marker = f"{plugin.MARKER}{self.ident}:"
        for line in printed.splitlines():
            if line.startswith(marker):
                return plugin.unpacked(line[len(marker) :])
        return {"state": "lost", "msg": printed}


def ask(device: Device, verb: str, site: Wanted, **options: Any) -> dict[str, Any]:
    """Ask for one verb and return the reply; see `Asking`."""
    return Asking(device, verb, site, **options).reply()


def _packed(content: bytes) -> bytes:
    packed = bz2.compress(content)
    return b"%d\n%b" % (len(packed), packed)


def _program(tweaks: Mapping[str, str]) -> bytes:
    text = (ROLE / "files/device.py").read_text()
    for old, new in tweaks.items():
        assert text.count(old) == 1, f"the device program has not one {old!r}"
        text = text.replace(old, new)
    return text.encode()


def _ssh(fleet: Fleet, device: Device) -> list[str]:
    """Return ssh's words up to the command: strict about the key, and quick to miss the device."""
    options = [
        f"IdentityFile={fleet.workdir}/ssh/id_ed25519",
        f"UserKnownHostsFile={fleet.workdir}/ssh/known_hosts",
        f"HostKeyAlias={device.spec.name}",
        "StrictHostKeyChecking=yes",
        "IdentitiesOnly=yes",
        "BatchMode=yes",
        "ServerAliveInterval=1",
        "ServerAliveCountMax=5",
    ]
    flags = [word for option in options for word in ("-o", option)]
    return ["ssh", "-F", "/dev/null", *flags, f"root@{device.address}"]
