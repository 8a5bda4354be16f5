"""The simulated GX device is as Venus OS is, so that what is tested on it means something."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from gx import fleet as fleet_module
from gx import inventory
from gx.device import DeviceSpec
from gx.disk import Disk
from gx.fleet import Fleet
from gx.namespaces import SimulationError, loop_devices
from gx.profiles import PROFILES
from gx.waiting import wait_until

TESTS = Path(__file__).parents[1]


def ssh_options(fleet, device):
    """Options of ssh and sftp that never ask."""
    return ["-oBatchMode=yes", *inventory.ssh_options(fleet.workdir, device)]


def over_ssh(fleet, device, command):
    """Run a command as Ansible would; return what it printed."""
    target = f"root@{device.address}"
    return fleet.run("ssh", *ssh_options(fleet, device), target, command).stdout


def script(device, path, text):
    """Put an executable script of the owner's on /data."""
    file = device.data / path
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(0o755)


@pytest.mark.parametrize("place", ["/", "/etc", "/opt/victronenergy/service", "/usr/bin", "/home"])
def test_the_root_is_read_only(device, place):
    refused = device.run(f"touch {place}/new", check=False)

    assert "Read-only file system" in refused.stderr


def test_only_what_a_venus_image_has_is_in_the_path(device):
    absent = "git sudo systemctl install timeout getopt base64 pip pip3 apt-get dpkg gcc perl"
    present = "bash curl flock mktemp openssl python3 sha256sum softlimit svc svstat tar"

    look = f"for p in {absent} {present}; do command -v $p; done"
    found = device.run(look, check=False).stdout.split()

    assert [Path(name).name for name in found] == present.split()


def test_tar_and_the_shell_are_those_of_busybox(device):
    assert "BusyBox" in device.run("tar --help 2>&1").stdout
    assert device.run("readlink /bin/sh").stdout == "busybox\n"
    assert device.run("env timeout 1 true", check=False).returncode == 127


@pytest.mark.parametrize("profile", PROFILES)
def test_python_lacks_what_the_image_lacks(make_device, profile):
    device = make_device(profile=profile)
    program = (
        "import importlib, json, sys\n"
        "missing = []\n"
        "for name in sys.argv[1:]:\n"
        "    try:\n"
        "        importlib.import_module(name)\n"
        "    except ModuleNotFoundError:\n"
        "        missing.append(name)\n"
        "print(json.dumps(missing))\n"
    )
    present = ["argparse", "asyncio", "ctypes", "dbus", "gi", "json", "logging", "ssl", "tarfile"]
    everywhere = ["filecmp", "mmap", "multiprocessing", "netrc", "dataclasses", "syslog", "yaml"]

    asked = [*present, *everywhere, *PROFILES[profile]]
    device.data.joinpath("probe.py").write_text(program)
    missing = set(json.loads(device.run(f"python3 /data/probe.py {' '.join(asked)}").stdout))

    assert missing == PROFILES[profile] | {"yaml"}


def test_a_login_has_the_home_and_path_of_a_gx_device(fleet, device):
    said = over_ssh(fleet, device, "pwd; echo $PATH; echo $HOME; hostname; get-unique-id; id -u")

    assert said.split() == [
        "/data/home/root",
        "/usr/bin:/bin:/usr/sbin:/sbin",
        "/home/root",
        "einstein",
        device.spec.portal_id,
        "0",
    ]


def test_sftp_works(fleet, device, tmp_path):
    (tmp_path / "file").write_text("brought by sftp\n")
    batch = tmp_path / "batch"
    batch.write_text(f"put {tmp_path}/file /data/file\n")

    fleet.run("sftp", *ssh_options(fleet, device), "-b", batch, f"root@{device.address}")

    assert (device.data / "file").read_text() == "brought by sftp\n"


def test_the_version_file_has_three_lines(device):
    lines = device.run("cat /opt/victronenergy/version").stdout.splitlines()

    assert lines == ["v3.67", "Victron Energy", "20251124120000"]


def test_data_has_a_size_of_its_own(make_device):
    device = make_device(machine="ccgx", data_mb=32)

    full = device.run("dd if=/dev/zero of=/data/big bs=1M count=40", check=False)

    assert "No space left on device" in full.stderr
    assert device.run("hostname").stdout == "ccgx\n"


def test_data_is_kept_in_memory_where_loop_devices_are_not_permitted(make_device, monkeypatch):
    def refuse(disk):
        raise SimulationError("no loop device")

    monkeypatch.setattr(Disk, "_mount", refuse)
    device = make_device(data_mb=32)
    device.run("echo kept >/data/mark")

    device.power_cut()
    device.start()

    assert device.run("cat /data/mark").stdout == "kept\n"
    assert device.run("df /data | awk 'NR == 2 { print $2 }'").stdout == "32768\n"


def test_anyone_may_own_a_name_on_the_system_bus(device):
    asked = "dbus-send --system --print-reply --dest=org.freedesktop.DBus /"
    own = f"{asked} org.freedesktop.DBus.RequestName string:com.victronenergy.test uint32:0"

    assert "uint32 1" in device.run(f"setuidgid nobody {own}").stdout
    assert (
        "com.victronenergy.settings" in device.run(f"{asked} org.freedesktop.DBus.ListNames").stdout
    )


def test_services_are_supervised(device):
    def up():
        states = device.run("svstat /service/openssh /service/site").stdout.splitlines()
        return all(": up (pid " in state for state in states)

    assert up()
    device.run("svc -k /service/site")
    wait_until(up, "the site to be restarted")


def test_a_reboot_keeps_data_and_nothing_else(device):
    device.run("mkdir /service/added /run/mark; touch /tmp/mark /data/mark; sync")
    keys = device.run("cat /data/keys/*").stdout

    device.reboot()

    kept = device.run("ls -d /service/* /run/mark /tmp/mark /data/mark", check=False).stdout
    assert kept.split() == ["/data/mark", "/service/openssh", "/service/site"]
    assert device.run("cat /data/keys/*").stdout == keys


def test_the_boot_runs_what_the_owner_added_in_its_order(device):
    script(device, "rcS.local", "echo rcS.local $(pgrep svscan | wc -l) >>/data/order")
    script(device, "rc.local", "echo rc.local $(pgrep svscan | wc -l) >>/data/order")

    device.reboot()

    assert (device.data / "order").read_text() == "rcS.local 0\nrc.local 1\n"
    assert device.run("ls /run/venus").stdout == "custom-rc\n"


def test_a_script_that_is_not_executable_is_not_run(device):
    script(device, "rc.local", "touch /data/ran")
    (device.data / "rc.local").chmod(0o644)

    device.reboot()

    assert not (device.data / "ran").exists()


def test_a_large_current_log_is_emptied_at_boot(device):
    device.run("mkdir -p /data/mod; dd if=/dev/zero of=/data/mod/current.log bs=1M count=2")

    device.reboot()

    assert (device.data / "mod/current.log").stat().st_size == 0


def test_a_shutdown_asks_first_and_a_power_cut_does_not(device):
    waiter = (
        "trap 'echo asked >>/data/asked; exit' TERM; touch /run/waits; while :; do sleep 9; done"
    )
    script(device, "rc.local", f"({waiter.replace('sleep 9', 'sleep 9 & wait')}) &")
    for turn_off, asked in ((device.power_cut, 0), (device.stop, 1)):
        device.reboot()
        device.run("echo >/data/asked; sync")
        wait_until((device.root / "run/waits").exists, "the program to wait")

        turn_off()

        assert (device.data / "asked").read_text().count("asked") == asked
        device.start()


def test_a_power_cut_loses_what_was_not_synced(device):
    device.run("echo old >/data/late; sync; echo new >>/data/late; echo new >/data/synced")
    device.run("python3 -c 'import os; os.fsync(os.open(\"/data/synced\", os.O_RDWR))'")

    device.power_cut()
    device.start()

    assert device.run("cat /data/synced").stdout == "new\n"
    assert "new" not in device.run("cat /data/late").stdout


def test_data_is_writable_again_after_a_reboot(device):
    device.run("mount -o remount,ro /data")
    assert "Read-only" in device.run("touch /data/new", check=False).stderr

    device.reboot()

    assert device.run("touch /data/new").returncode == 0


def test_a_firmware_update_replaces_the_root_and_keeps_data(make_device):
    device = make_device(version="v3.55", profile="py38-normal")
    (device.data / "mark").touch()
    assert device.run("python3 -c 'import dataclasses'", check=False).returncode == 1

    device.firmware_update("v3.70", "py312-v370")

    assert device.run("head -n 1 /opt/victronenergy/version").stdout == "v3.70\n"
    assert device.run("python3 -c 'import dataclasses, netrc'").returncode == 0
    assert (device.data / "mark").exists()


def test_stored_settings_outlive_a_reboot(device):
    item = "com.victronenergy.settings /Settings/CGwacs/MaxDischargePower"
    device.run(
        f"dbus-send --system --print-reply --dest={item} com.victronenergy.BusItem.SetValue"
        " variant:int32:4000"
    )
    stored = device.sim / "settings.json"
    wait_until(lambda: stored.exists() and "4000" in stored.read_text(), "the value to be stored")

    device.reboot()

    assert device.ask("state")["setting_w"] == 4000


def test_a_link_can_be_cut_and_joined(fleet, device):
    fleet.network.set_link(device.host, up=False)
    with pytest.raises(OSError, match="timed out|unreachable"):
        fleet.network.connect(*device.ssh_address, timeout_s=0.2)

    fleet.network.set_link(device.host, up=True)

    wait_until(lambda: over_ssh(fleet, device, "echo back") == "back\n", "the link to work")


@pytest.mark.parametrize("how", ["from the host", "over ssh"])
def test_no_process_of_a_device_may_set_the_hosts_clock(fleet, device, how):
    cap_sys_time = 1 << 25
    look = "grep CapEff /proc/self/status"

    said = over_ssh(fleet, device, look) if how == "over ssh" else device.run(look).stdout

    assert int(said.split()[1], 16) & cap_sys_time == 0


def test_the_hosts_kernel_settings_are_out_of_reach(device):
    refused = device.run("touch /proc/sys/kernel/panic", check=False)

    assert "Read-only file system" in refused.stderr


def test_making_the_root_writable_is_remembered(fleet):
    device = fleet.add(DeviceSpec("tempted", "c0619a00ffff", {}))
    try:
        refused = device.run("/opt/victronenergy/swupdate-scripts/remount-rw.sh", check=False)

        assert refused.returncode == 1
        assert (device.sim / "violations").read_text() == "remount-rw.sh \n"
    finally:
        fleet.remove(device)


def traces(workdir, pids):
    """Name what a fleet could leave on the host."""
    mounts = [
        line for line in Path("/proc/mounts").read_text().splitlines() if str(workdir) in line
    ]
    alive = [pid for pid in pids if Path(f"/proc/{pid}").exists()]
    return [*mounts, *alive, *loop_devices(workdir)]


def test_nothing_is_left_after_a_fleet(tmp_path):
    interfaces = os.listdir("/sys/class/net")
    with Fleet.create([DeviceSpec("gx1", "c0619a000001", {})], tmp_path) as fleet:
        pids = [fleet.namespaces.pid, fleet.devices["gx1"].pid]
        assert len(traces(tmp_path, pids)) >= 2

    wait_until(lambda: not traces(tmp_path, pids), "nothing to be left")
    assert os.listdir("/sys/class/net") == interfaces


def test_nothing_is_left_after_a_killed_run(tmp_path):
    program = (
        "import sys, pathlib\n"
        "from gx.device import DeviceSpec\n"
        "from gx.fleet import Fleet\n"
        "fleet = Fleet.create([DeviceSpec('gx1', 'c0619a000001', {})], pathlib.Path(sys.argv[1]))\n"
        "print(fleet.namespaces.pid, fleet.devices['gx1'].pid, flush=True)\n"
        "input()\n"
    )
    killed = subprocess.Popen(
        [sys.executable, "-c", program, tmp_path],
        env={**os.environ, "PYTHONPATH": str(TESTS)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    pids = killed.stdout.readline().split()

    killed.kill()
    killed.communicate()

    wait_until(lambda: not traces(tmp_path, pids), "nothing to be left")
    assert not fleet_module.is_up(tmp_path)


def test_a_kept_fleet_is_up_until_it_is_taken_down(tmp_path):
    def command(verb, *words):
        return subprocess.run(
            [sys.executable, "-m", "gx.fleet", verb, "--dir", tmp_path / "kept", *words],
            env={**os.environ, "PYTHONPATH": str(TESTS)},
            capture_output=True,
            text=True,
        )

    try:
        first, second = command("up"), command("up")
        asked = command("ask", "cabin", "do=state")
        inside = command("exec", "--", "ip", "route", "get", "192.0.2.11")
        logged_in = command("ssh", "cabin", "get-unique-id")
        command("off", "cabin")
        off, state = command("ssh", "cabin", "true"), command("status")
        asked_off, off_again = command("ask", "cabin", "do=state"), command("off", "cabin")
        on, again_in = command("on", "cabin"), command("ssh", "cabin", "get-unique-id")
        on_again = command("on", "cabin")
        refused = command("reboot", "boat")
    finally:
        ended, again = command("down"), command("down")

    assert first.returncode == 0
    assert second.returncode == 1
    assert second.stderr == f"fleet: a fleet is up already in {tmp_path}/kept\n"
    assert json.loads(asked.stdout)["load_w"] == 2000
    assert "dev gx src 192.0.2.1" in inside.stdout
    assert logged_in.stdout == again_in.stdout == "c0619ab00002\n"
    assert (off.returncode, on.returncode) == (255, 0), off.stderr + on.stderr
    assert state.stdout.splitlines()[1].endswith(" off")
    assert (asked_off.returncode, asked_off.stderr) == (1, "fleet: cabin is off\n")
    assert (off_again.returncode, off_again.stderr) == (1, "fleet: cabin is off already\n")
    assert (on_again.returncode, on_again.stderr) == (1, "fleet: cabin is on already\n")
    assert refused.stderr == "fleet: no device boat: there are harbour, cabin\n"
    assert (ended.stdout, again.stdout) == ("fleet: stopped\n", "fleet: none was up\n")
    assert not traces(tmp_path, [])


def test_a_missing_program_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(shutil, "which", lambda name, **_: None if name == "svscan" else name)

    assert "apt-get install daemontools" in fleet_module.namespaces_permitted()
