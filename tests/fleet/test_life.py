"""A device's life: other mods, other Pythons, small and full flash, reboots, firmware updates.

One roll-out reaches all of them; then each lives on in its own way, all at the same time.
"""

from concurrent.futures import ThreadPoolExecutor

import pytest
from gx.device import DeviceSpec
from gx.waiting import wait_until

from fleet import held
from fleet.asked import wanted
from fleet.deployment import BASE, tree

LIMIT_W = 30000
SITE = {"vebus": [{"name": "ttyS4", "phases": 3, "units": 3}], "load_w": 34000}
OURS = (
    "[ -f /data/venus-export-limiter/current/boot ] && sh /data/venus-export-limiter/current/boot"
    " >/dev/null 2>&1 & # venus-export-limiter\n"
)
SHEBANG = "#!/bin/sh\n"
OTHERS = "touch /run/other-mod\n(sleep 1; touch /run/later-mod) &\n"
# A clock that is years off, and that jumps by years each time anybody looks.
CLOCK = """
import time
real = time.time
time.time = lambda: real() {offset}
"""
TEN_YEARS_BACK, JUMPING = "- 3.2e8", "+ 1e8 * (int(real() * 10) % 7)"

# How each device differs from the others, before anything is deployed.
LIVES = {
    "no rc.local": {"profile": "py38-normal", "version": "v3.55"},
    "other mods": {"profile": "py312-v360", "rc_local": SHEBANG + OTHERS},
    "exit 0": {"profile": "py312-v370", "rc_local": SHEBANG + OTHERS + "exit 0\n"},
    "not executable": {"profile": "large", "rc_local": SHEBANG + OTHERS, "mode": 0o644},
    "disabled": {"disabled": SHEBANG + OTHERS},
    "small": {"profile": "py312-ccgx", "machine": "ccgx", "data_mb": 32},
    "clock back": {"clock": TEN_YEARS_BACK},
    "clock jumps": {"clock": JUMPING},
    "full": {"data_mb": 32, "left_kb": 0},
    "nearly full": {"data_mb": 32, "left_kb": 1000},
    "read-only": {"read_only": True},
}
REFUSING = {
    "full": "kB free",
    "nearly full": "kB are needed",
    "read-only": "Read-only file system",
}
DEPLOYED = [name for name in LIVES if name not in REFUSING]
AT_BOOT = [name for name in DEPLOYED if name != "disabled"]
UPDATED = "no rc.local"


class Lives:
    """The devices by name, what was on them at first, and what became of them.

    `deployed` is the roll-out, `caps` watch the limit through the boot after it, and `checked` is
    what check.yml found after the boot.
    """

    def __init__(self, stage):
        self.controller = stage.controller()
        specs = [_spec(number, name) for number, name in enumerate(LIVES)]
        self.devices = dict(zip(LIVES, stage.fleet.add_all(specs), strict=True))
        self.all_at_once(_prepare)
        self.found = self.all_at_once(lambda _, device: tree(device))
        self.caps = {}
        self.deployed = self.checked = None

    def row(self, name):
        """Return what the roll-out reports of a device."""
        return self.deployed.rows[self.devices[name].spec.name]

    def all_at_once(self, story, names=tuple(LIVES)):
        """Play a story of name and device with some of them; return what came of each."""
        with ThreadPoolExecutor(4) as pool:
            played = pool.map(lambda name: story(name, self.devices[name]), names)
            return dict(zip(names, played, strict=True))


def play_ahead(stage):
    """Deploy as far as that goes; boot, one of them with other firmware; check."""
    lives = Lives(stage)
    every = {"export_limiter_waves": ["100%"], "export_limiter_max_failures": 99}
    lives.deployed = lives.controller.play("deploy", lives.devices.values(), **every)
    lives.caps = lives.all_at_once(_boot, DEPLOYED)
    for name in AT_BOOT:
        device = lives.devices[name]
        wait_until(lambda device=device: held.said(device).get("enforceable"), "the agent", 60)
    lives.checked = lives.controller.play("check", lives.devices.values())
    return lives


@pytest.mark.parametrize("name", DEPLOYED)
def test_it_is_deployed_whatever_image_it_has(story, name):
    assert story.row(name)["state"] == "confirmed", story.row(name)


@pytest.mark.parametrize("name", REFUSING)
def test_no_room_is_refused_and_nothing_is_left(story, name):
    device = story.devices[name]

    assert story.row(name)["state"] == "failed"
    assert REFUSING[name] in story.row(name)["reason"]
    left = {path for path in tree(device) if path not in story.found[name]}
    assert left <= {BASE, f"{BASE}/releases", f"{BASE}/lock"}
    assert held.census(device) == (0, 0)


@pytest.mark.parametrize("name", AT_BOOT)
def test_boot_starts_one_agent_and_the_cap_is_held(story, name):
    device = story.devices[name]
    here = wanted(story.controller.repository.whole, max_multiplus_output_w=LIMIT_W)

    held.runs_one(device, [here])
    assert story.caps[name].held(LIMIT_W)


@pytest.mark.parametrize("name", ["other mods", "exit 0", "not executable"])
def test_other_mods_start_as_before_and_keep_every_byte(story, name):
    device = story.devices[name]
    before = LIVES[name]["rc_local"]

    assert (device.data / "rc.local").read_text() == SHEBANG + OURS + before[len(SHEBANG) :]
    wait_until((device.root / "run/later-mod").exists, "the other mod")
    assert (device.root / "run/other-mod").exists()


def test_what_support_disabled_is_reported_and_never_undone(story):
    device = story.devices["disabled"]

    for row in (story.row("disabled"), story.checked.rows[device.spec.name]):
        assert "rc.local.disabled: a user or Victron's support disabled it" in row["reason"]
    assert not (device.data / "rc.local").exists()
    assert (device.data / "rc.local.disabled").read_text() == SHEBANG + OTHERS
    assert held.census(device) == (0, 0)


def test_every_device_is_as_wanted_after_the_boot(story):
    states = {name: story.checked.states[story.devices[name].spec.name] for name in AT_BOOT}

    assert states == dict.fromkeys(AT_BOOT, "as wanted"), story.checked.text


def test_other_firmware_has_another_python(story):
    device = story.devices[UPDATED]

    assert device.run("head -n 1 /opt/victronenergy/version").stdout == "v3.70\n"
    assert device.run("python3 -c 'import dataclasses'").returncode == 0


def _spec(number, name):
    given = {k: v for k, v in LIVES[name].items() if k in DeviceSpec._fields}
    return DeviceSpec(
        name=f"life{number}",
        portal_id=f"c0619e{number:06x}",
        site=SITE,
        variables={"export_limiter_max_multiplus_output_w": LIMIT_W},
        **given,
    )


def _prepare(name, device):
    life = LIVES[name]
    for key, file in (("rc_local", "rc.local"), ("disabled", "rc.local.disabled")):
        if key in life:
            (device.data / file).write_text(life[key])
            (device.data / file).chmod(life.get("mode", 0o755))
    if "clock" in life:
        (hidden,) = device.directory.glob("etc/python3.*/sitecustomize.py")
        hidden.write_text(hidden.read_text() + CLOCK.format(offset=life["clock"]))
    if "left_kb" in life:
        fill(device, life["left_kb"])
    if "read_only" in life:
        device.run("mount -o remount,ro /data")


def _boot(name, device):
    wait_until(lambda: held.limited(device, LIMIT_W), "the limit to be kept", 90)
    cap = held.Cap(device)
    if name == UPDATED:
        device.firmware_update("v3.70", "py312-v370")
    else:
        device.reboot()
    return cap


def fill(device, left_kb):
    """Fill /data up to what is to be left."""
    (device.data / "left").write_bytes(bytes(left_kb * 1024))
    device.run("dd if=/dev/zero of=/data/fill bs=4k 2>/dev/null", check=False)
    (device.data / "left").unlink()
