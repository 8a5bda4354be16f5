"""inventory.example, copied and pinned as the README says, is a fleet to begin from.

None of its sites exists: an `ssh` of our own notes how each was called, and refuses; or runs the
real device program here, in a directory for each site.
"""

import json
import re
import shutil
import subprocess
import textwrap
from pathlib import Path
from typing import NamedTuple

import pytest
from gx import inventory
from role import REPOSITORY

EXAMPLE = REPOSITORY / "inventory.example"
README = (REPOSITORY / "README.md").read_text()
HOSTS = [
    *("tallinn-harbour", "tartu-dairy", "parnu-hotel", "saaremaa-farm"),
    *("turku-marina", "oulu-sawmill", "inari-lodge"),
    *("riga-depot", "liepaja-yard", "cesis-workshop"),
]
BEHIND_JUMP_HOST, SYSTEMD_HOST, CANARY = "oulu-sawmill", "cesis-workshop", "tartu-dairy"
VAULT_PASSWORD = "example"

NOTING = """#!/usr/bin/python3
import bz2, json, pathlib, re, subprocess, sys
here = pathlib.Path(__file__).parent
words = sys.argv[1:]
with (here / "calls").open("a") as calls:
    calls.write(json.dumps(words) + "\\n")
"""
REFUSING = """
sys.exit("ssh: connect to host: Connection refused") if "-O" in words else None
print("ssh: connect to host: Connection refused", file=sys.stderr)
sys.exit(255)
"""
ANSWERING = """
for success in re.findall("BECOME-SUCCESS-[a-z]+", words[-1])[:1]:
    print(success, flush=True)
def read():
    return bz2.decompress(sys.stdin.buffer.read(int(sys.stdin.buffer.readline())))
program, request = read(), json.loads(read())
site = re.search("HostKeyAlias=([a-z-]+)", " ".join(words))[1]
packed = bz2.compress(json.dumps({**request, "root": f"{here}/sites/{site}"}).encode())
asked = b"%d\\n%b" % (len(packed), packed)
sys.exit(subprocess.run([sys.executable, "-c", program], input=asked).returncode)
"""


class Played(NamedTuple):
    """How a run of a playbook ended, and the words of each call of ssh, by site."""

    code: int
    text: str
    states: dict[str, str]
    calls: dict[str, list[list[str]]]


class Inventory:
    """A directory of hosts and variables, played with an `ssh` that does what `behaviour` says."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.hosts = directory / "my-fleet"

    def pin(self, pinned: dict[str, str]) -> None:
        """Put the two lines of make pin where they belong, and where the repository is."""
        everyone = self.hosts / "group_vars/all.yml"
        kept = [
            line for line in everyone.read_text().splitlines() if line.split(":")[0] not in pinned
        ]
        lines = [f'{name}: "{value}"' for name, value in pinned.items()]
        everyone.write_text("\n".join([*kept, *lines, ""]))

    def have(self, site: str, portal_id: str) -> None:
        """Make the directory that is a site's whole device."""
        identity = self.directory / "sites" / site / "data/venus/unique-id"
        identity.parent.mkdir(parents=True)
        identity.write_text(f"{portal_id}\n")

    def play(
        self, playbook: str, behaviour: str, *arguments: str, vault_password: str = VAULT_PASSWORD
    ) -> Played:
        """Run a playbook on it."""
        ssh, calls, vault = (self.directory / name for name in ("ssh", "calls", "vault"))
        vault.write_text(vault_password)
        ssh.write_text(NOTING + behaviour)
        ssh.chmod(0o755)
        calls.write_text("")
        report = self.directory / "report.json"
        given = {
            "ansible_ssh_executable": str(ssh),
            "export_limiter_max_load": 1000,
            "export_limiter_min_free_kb": 0,
            "export_limiter_report": str(report),
            "export_limiter_reports": str(self.directory / "reports"),
        }
        words = ["-i", self.hosts, "--vault-password-file", vault, *arguments]
        done = subprocess.run(
            ["ansible-playbook", f"playbooks/{playbook}.yml", "-e", json.dumps(given), *words],
            cwd=REPOSITORY,
            env={
                **inventory.environment(self.directory),
                "ANSIBLE_SSH_CONTROL_PATH_DIR": str(self.directory / "cp"),
            },
            capture_output=True,
            text=True,
        )
        rows = json.loads(report.read_text()) if report.exists() else []
        by_site = {}
        for words in map(json.loads, calls.read_text().splitlines()):
            site = re.search("HostKeyAlias=([a-z-]+)", " ".join(words))[1]
            by_site.setdefault(site, []).append(words)
        return Played(
            done.returncode,
            done.stdout + done.stderr,
            {r["host"]: r["state"] for r in rows},
            by_site,
        )


@pytest.fixture
def copy(repository, tmp_path):
    """A copy of the example, pinned."""
    made = Inventory(tmp_path)
    shutil.copytree(EXAMPLE, made.hosts)
    made.pin(repository.whole)
    for site in HOSTS:
        variables = (made.hosts / f"host_vars/{site}.yml").read_text()
        made.have(site, re.search("portal_id: (.*)", variables)[1])
    return made


def test_sites_that_are_not_there_are_pending(copy):
    played = copy.play("deploy", REFUSING)

    assert played.code == 0, played.text
    assert played.states == dict.fromkeys(HOSTS, "pending"), played.text
    assert sorted(played.calls) == sorted(HOSTS)


def test_each_site_is_called_as_its_variables_say(copy):
    played = copy.play("deploy", REFUSING)

    for site, (words, *_) in played.calls.items():
        said = " ".join(words)
        assert "StrictHostKeyChecking=yes" in said
        assert "UserKnownHostsFile=~/.ssh/known_hosts.venus" in said
        assert ("ProxyJump=fleet@gateway.example.com" in said) == (site == BEHIND_JUMP_HOST)
        assert f'User="{"installer" if site == SYSTEMD_HOST else "root"}"' in said
        assert ("sudo " in words[-1]) == (site == SYSTEMD_HOST)
    assert "192.0.2.11" in played.calls[CANARY][0]


def test_every_configuration_is_judged_though_no_site_answers(copy):
    for site in HOSTS:
        file = copy.hosts / f"host_vars/{site}.yml"
        file.write_text(file.read_text() + "export_limiter_export_margin_w: 10001\n")

    played = copy.play("deploy", REFUSING)

    told = " ".join(played.text.split())
    assert played.code == 2
    for site in HOSTS:
        assert f"{site}: export_limiter_export_margin_w: 10001 is not allowed" in told


def test_waves_begin_with_the_canary_and_keep_the_order_of_the_inventory(copy):
    played = copy.play("deploy", ANSWERING, "--check")

    assert played.code == 0, played.text
    assert played.states == dict.fromkeys(HOSTS, "not tried"), played.text
    assert all(len(calls) == 1 for calls in played.calls.values())
    waves = played.text.split("PLAY [Deploy wave by wave]")[1:]
    tried = [set(re.findall(r"^changed: \[(.*)\]", wave, flags=re.MULTILINE)) for wave in waves]
    rest = [host for host in HOSTS if host != CANARY]
    assert tried == [{CANARY}, set(rest[:3]), set(rest[3:])]


def test_limit_leaves_the_others_alone(copy):
    played = copy.play("deploy", ANSWERING, "--check", "--limit", "customer_kalda")

    assert (
        sorted(played.calls)
        == sorted(played.states)
        == [*("riga-depot", "saaremaa-farm", "tallinn-harbour")]
    )


def test_secret_that_can_not_be_opened_is_refused_by_name(copy):
    played = copy.play("deploy", REFUSING, vault_password="another")

    assert played.code == 2
    assert f"{SYSTEMD_HOST}: " in played.text.partition("TASK [export_limiter : Judge")[2]
    assert "KeyError" not in played.text


def test_inventory_that_the_readme_writes_is_complete(repository, tmp_path):
    made = Inventory(tmp_path)
    blocks = re.findall(r"`my-fleet/([^`]*)`:\n\n *```yaml\n(.*?)```", README, flags=re.DOTALL)
    for name, text in blocks:
        file = made.hosts / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(text))
    made.pin(repository.whole)
    made.have("my-site", "c0619ab0abcd")

    played = made.play("deploy", ANSWERING, "--check", "--diff")

    assert played.states == {"my-site": "not tried"}, played.text
    assert '+  "dry_run": true' in played.text
    assert '+  "max_multiplus_output_w": 30000' in played.text
