"""Links that lie, end, or lead through another host; and controllers that end, or are two.

The stories are told at the same time, each with devices and a controller of its own.
"""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from gx.device import DeviceSpec
from gx.jump import put_behind
from gx.waiting import wait_until

from fleet import held
from fleet.asked import wanted
from fleet.deployment import BASE, HASTE, current, tree

LIMIT_W = 30000
NOTICED_S = 45
SITE = {"vebus": [{"name": "ttyS4", "phases": 3, "units": 3}]}


class Scene:
    """What one story has: devices, a controller, and the releases before and after."""

    def __init__(self, stage, devices):
        self.stage = stage
        self.fleet = stage.fleet
        self.devices = devices
        self.controller = stage.controller()
        self.host = devices[0]

    def play(self, playbook, *arguments, **variables):
        """Run a playbook on all of the story's devices."""
        return self.controller.play(playbook, self.devices, *arguments, **variables)

    def release(self):
        """Return the release that the inventory asks for."""
        return wanted(self.stage.repository.whole, max_multiplus_output_w=LIMIT_W)


def two_names_one_address(scene):
    """The second site's address now leads to the first: its key gives it away."""
    name = scene.host.spec.name
    other_key = scene.devices[1].data / "keys/ssh_host_ecdsa_key.pub"
    with (scene.fleet.workdir / "ssh/known_hosts").open("a") as file:
        file.write(f"imposter {' '.join(other_key.read_text().split()[:2])}\n")
    more = scene.controller.workdir / "more.yml"
    address = f"ansible_host: {scene.host.address}"
    more.write_text(f"gx:\n  hosts:\n    imposter:\n      {address}\n{MORE}")
    inventories = ["-i", str(scene.fleet.workdir / "inventory"), "-i", str(more)]
    before = tree(scene.host)

    refused = scene.play("deploy", *inventories, "--limit", f"{name},imposter")

    assert refused.code == 2
    told = " ".join(refused.text.split())
    assert "imposter: host key: not the one in known_hosts for this site" in told
    assert f"{name}: host key" not in told
    assert tree(scene.host) == before
    return refused


MORE = "      export_limiter_max_multiplus_output_w: 5000\n"


def behind_a_jump_host(scene):
    """The operator's ansible_ssh_common_args lead through another host; the plays leave them."""
    gateway, device = scene.devices
    address = put_behind(scene.fleet.network, gateway, device)
    workdir = scene.fleet.workdir
    options = f"-F /dev/null -o IdentitiesOnly=yes -o UserKnownHostsFile={workdir}/ssh/known_hosts"
    key = f"-i {workdir}/ssh/id_ed25519 -o HostKeyAlias={gateway.spec.name}"
    jump = f"-o ProxyCommand='ssh {options} {key} -W %h:%p root@{gateway.address}'"

    unreached = scene.controller.play("deploy", [device], ansible_host=address)
    deployed = scene.controller.play(
        "deploy", [device], ansible_host=address, ansible_ssh_common_args=f"{options} {jump}"
    )

    assert unreached.states == {device.spec.name: "pending"}, unreached.text
    assert deployed.states == {device.spec.name: "confirmed"}, deployed.text
    assert not (gateway.data / BASE).exists()
    return deployed


def killed_in_a_wave(scene, wave):
    """The devices of that wave decide by themselves; the next run does the rest."""
    waves = {"export_limiter_waves": ["1"]}
    playing = scene.controller.start("deploy", scene.devices, **waves)
    tried = scene.devices[wave]
    pending = tried.data / BASE / "pending"
    wait_until(lambda: pending.exists() or playing.poll() is not None, "the wave", 90)
    assert pending.exists(), playing.communicate()[0]
    scene.controller.kill(playing)

    wait_until(lambda: not pending.exists(), "the device to decide alone", 60)
    assert current(tried) == scene.release().ident
    for later in scene.devices[wave + 1 :]:
        assert not (later.data / BASE).exists()
    finished = scene.play("deploy")
    expected = ["converged"] * (wave + 1) + ["confirmed"] * (len(scene.devices) - wave - 1)
    assert [finished.states[d.spec.name] for d in scene.devices] == expected, finished.text
    for device in scene.devices:
        held.runs_one(device, [scene.release()])
    return finished


def two_controllers(scene):
    """One of them deploys; the other is told so, or finds it done."""
    (device,) = scene.devices
    other = scene.stage.controller()
    first = scene.controller.start("deploy", [device])
    second = other.start("deploy", [device])

    played = scene.controller.finish(first), other.finish(second)

    rows = sorted((p.rows[device.spec.name] for p in played), key=lambda row: row["state"])
    assert rows[0]["state"] == "confirmed", rows
    refused = "another activation is at work on this device"
    assert (rows[1]["state"], rows[1]["reason"]) in (
        ("failed", refused),
        ("converged", ""),
        ("confirmed", "healthy"),
    )
    held.runs_one(device, [scene.release()])
    held.tidy(device)
    return scene.play("deploy")


def link_ends_after_the_switch(scene):
    """The device decides alone; the cut is noticed, the repeat hears the first verdict."""
    (device,) = scene.devices
    network = scene.fleet.network
    playing = scene.controller.start("deploy", [device])
    link = device.data / BASE / "current"
    wait_until(lambda: link.is_symlink() or playing.poll() is not None, "the switch", 60)
    network.set_link(device.host, up=False)
    cut_at_s = time.monotonic()

    decided = device.data / BASE / "confirmed"
    wait_until(decided.exists, "the device to decide alone", 60)
    wait_until(lambda: scene.controller.count_executions() == 3, "ssh to be tried again", 90)
    noticed_s = time.monotonic() - cut_at_s
    network.set_link(device.host, up=True)
    played = scene.controller.finish(playing)

    assert noticed_s <= NOTICED_S
    assert played.states == {device.spec.name: "confirmed"}, played.text
    assert decided.read_text().split() == [scene.release().ident]
    starts = (device.data / "log" / BASE / "current").read_text().count("*** starting")
    assert starts == 1
    return played


def link_is_lost_for_long(scene):
    """When ssh has given up, the controller asks again, and hears what was decided meanwhile."""
    (device,) = scene.devices
    network, home = scene.fleet.network, device.data / BASE
    playing = scene.controller.start("deploy", [device], **HASTE)
    wait_until(lambda: (home / "current").is_symlink() or playing.poll() is not None, "it", 60)
    network.set_link(device.host, up=False)

    wait_until((home / "confirmed").exists, "the device to decide alone", 60)
    # One to look, three by which ssh gives up, and as many again.
    wait_until(lambda: scene.controller.count_executions() > 4, "the controller to ask again", 90)
    network.set_link(device.host, up=True)
    played = scene.controller.finish(playing)

    assert played.states == {device.spec.name: "confirmed"}, played.text
    assert played.rows[device.spec.name]["reason"] == "healthy"
    starts = (device.data / "log" / BASE / "current").read_text().count("*** starting")
    assert starts == 1
    return played


# A story, what it is told with beside its scene, and how many devices it needs.
STORIES = {
    "two names with one address": (two_names_one_address, (), 2),
    "behind a jump host": (behind_a_jump_host, (), 2),
    "controller killed in the first wave": (killed_in_a_wave, (0,), 2),
    "controller killed in the second wave": (killed_in_a_wave, (1,), 3),
    "two controllers": (two_controllers, (), 1),
    "link ends after the switch": (link_ends_after_the_switch, (), 1),
    "link is lost for long": (link_is_lost_for_long, (), 1),
}


def play_ahead(stage):
    """Play all stories at once; return what becomes of each."""
    counts = [count for _, _, count in STORIES.values()]
    devices = iter(stage.fleet.add_all(_spec(number) for number in range(sum(counts))))
    scenes = [Scene(stage, [next(devices) for _ in range(count)]) for count in counts]
    with ThreadPoolExecutor(len(STORIES)) as pool:
        return {
            title: pool.submit(story, scene, *more)
            for scene, (title, (story, more, _)) in zip(scenes, STORIES.items(), strict=True)
        }


@pytest.mark.parametrize("title", STORIES)
def test_each_story_ends_as_told(story, title):
    last = story[title].result()

    assert last.code == (2 if title == "two names with one address" else 0), last.text


def _spec(number):
    return DeviceSpec(
        name=f"link{number}",
        portal_id=f"c0619f{number:06x}",
        site=SITE,
        variables={"export_limiter_max_multiplus_output_w": LIMIT_W},
    )
