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

from fleet.deployment import BASE

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
# At this one site only.
NO_PYTHON = """
if "HostKeyAlias=riga-depot" in words:
    sys.exit(127)
"""
# It is looked at, and is gone when it is to be changed; LOST is a link that ends after that.
GONE = """
if "HostKeyAlias=riga-depot" in words:
    noted = (here / "calls").read_text().count("HostKeyAlias=riga-depot")
    told = {1: "", LOST: "Shared connection to 203.0.113.30 closed."}.get(
        noted, "ssh: connect to host 203.0.113.30 port 22: Connection timed out"
    )
    if told:
        sys.exit([sys.stdin.buffer.read(), print(told, file=sys.stderr), 255][-1])
"""
WRONG_PASSWORD = """
for key in re.findall("via ansible, key=[a-z]+", words[-1])[:1]:
    print(f"[sudo {key}] password:", end="", flush=True)
    sys.stdin.buffer.readline()
    print("Sorry, try again.", flush=True)
    sys.exit(1)
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
        self.commit = ""

    def pin(self, pinned: dict[str, str]) -> None:
        """Put the two lines of make pin where they belong, and where the repository is."""
        self.commit = pinned["export_limiter_commit"]
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

    def install(self, site: str, commit: str) -> Path:
        """Have a release of this commit at a site; the directory of what is deployed there."""
        base = self.directory / "sites" / site / f"data/{BASE}"
        (base / "releases").mkdir(parents=True)
        (base / "current").symlink_to(f"releases/{commit}-000000000000")
        return base

    def say(self, site: str, line: str) -> None:
        """Add a line to the variables of a site."""
        file = self.hosts / f"host_vars/{site}.yml"
        file.write_text(f"{file.read_text()}{line}\n")

    def play(
        self,
        playbook: str,
        behaviour: str,
        *arguments: str,
        vault_password: str = VAULT_PASSWORD,
        cwd: Path = REPOSITORY,
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
            "export_limiter_release_limit": False,  # no agent is there to do it
            "export_limiter_report": str(report),
            "export_limiter_reports": str(self.directory / "reports"),
        }
        words = ["-i", self.hosts, "--vault-password-file", vault, *arguments]
        done = subprocess.run(
            [
                "ansible-playbook",
                REPOSITORY / f"playbooks/{playbook}.yml",
                "-e",
                json.dumps(given),
                *words,
            ],
            cwd=cwd,
            env={
                **inventory.environment(self.directory),
                "ANSIBLE_SSH_CONTROL_PATH_DIR": str(self.directory / "cp"),
            },
            capture_output=True,
            text=True,
        )
        told = json.loads(report.read_text()) if report.exists() else []
        rows = told["devices"] if isinstance(told, dict) else told
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

    assert played.code == 4  # the site could not be asked; Ansible's own precedence
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


TWO = ("--limit", "riga-depot,liepaja-yard")
THREE = ("--limit", "riga-depot,liepaja-yard,cesis-workshop")


def test_site_whose_probe_fails_counts_as_not_reached(copy):
    for site in ("riga-depot", "liepaja-yard"):
        copy.install(site, "b" * 40)

    removed = copy.play("remove", NO_PYTHON + ANSWERING, *TWO)
    checked = copy.play("check", NO_PYTHON + ANSWERING, *TWO)

    assert (removed.code, checked.code) == (4, 4), removed.text + checked.text
    assert "no python: the device has no /usr/bin/python3" in " ".join(removed.text.split())
    assert removed.states == {"riga-depot": "pending", "liepaja-yard": "removed"}
    assert (copy.directory / f"sites/riga-depot/data/{BASE}").exists()
    assert not (copy.directory / f"sites/liepaja-yard/data/{BASE}").exists()
    assert checked.states == {"riga-depot": "not reached", "liepaja-yard": "drift"}


def test_site_with_a_wrong_variable_or_password_hides_no_other(copy):
    copy.say("riga-depot", 'ansible_become_user: "{{ nobody_has_said }}"')

    played = copy.play("status", WRONG_PASSWORD + ANSWERING, *THREE)

    assert played.states == {
        "riga-depot": "not reached",
        "liepaja-yard": "not installed",
        "cesis-workshop": "not reached",
    }, played.text
    assert "Incorrect sudo password" in played.text
    assert "'nobody_has_said' is undefined" in " ".join(played.text.split())
    data = json.loads((copy.directory / "reports/latest/data.json").read_text())
    assert data["totals"]["verdicts"]["not_reached"] == 2


def test_site_whose_variables_can_not_be_read_is_not_reached_and_a_fault(copy):
    copy.say("riga-depot", 'ansible_port: "{{ nobody_has_said }}"')

    checked = copy.play("check", ANSWERING, *TWO)
    deployed = copy.play("deploy", ANSWERING, *TWO)

    assert (checked.code, deployed.code) == (4, 4), checked.text + deployed.text
    assert checked.states == {"riga-depot": "not reached", "liepaja-yard": "drift"}
    told = " ".join(deployed.text.split("Nothing was touched:")[1].split())
    assert "'nobody_has_said' is undefined" in told
    assert all(len(calls) == 1 for calls in deployed.calls.values())


REFUSED = {
    "another host key": (
        "ansible_ssh_common_args: -o stricthostkeychecking=No",
        "liepaja-yard: ansible_ssh_common_args: stricthostkeychecking=No; "
        "allowed: StrictHostKeyChecking=yes, or nothing of it",
    ),
    "canary": (
        "export_limiter_canaries: [tartu-diary]",
        "liepaja-yard: export_limiter_canaries: 'tartu-diary' is no host of gx",
    ),
    "variable": (
        "export_limiter_release_limits: false",
        "liepaja-yard: export_limiter_release_limits: unknown variable; "
        "did you mean export_limiter_release_limit?",
    ),
    "portal id": (
        "export_limiter_portal_id: c0619ab99999",
        "liepaja-yard: export_limiter_portal_id: this device is c0619ab10009",
    ),
}


def test_refusal_is_what_the_report_says_and_not_how_the_run_before_ended(copy):
    fault = "export_limiter_portal_id: this device is c0619ab10009"
    before = copy.play("deploy", ANSWERING, *TWO, "--check")
    copy.say("liepaja-yard", REFUSED["portal id"][0])

    played = copy.play("deploy", ANSWERING, *TWO)

    rows = json.loads((copy.directory / "report.json").read_text())
    assert (before.code, played.code) == (0, 2), before.text + played.text
    assert played.states == before.states == dict.fromkeys(TWO[1].split(","), "not tried")
    assert rows[0]["reason"].startswith(f"refused: liepaja-yard: {fault}"), rows
    assert rows[1]["reason"].startswith(f"refused: {fault}"), rows


@pytest.mark.parametrize("report", ["/nope/out.json", 5], ids=["nowhere", "no path"])
def test_refusal_gives_its_reasons_though_the_report_can_not_be_written(copy, report):
    copy.say("liepaja-yard", REFUSED["portal id"][0])

    played = copy.play(
        "deploy", ANSWERING, *TWO, "-e", json.dumps({"export_limiter_report": report})
    )

    told = " ".join(played.text.split())
    assert played.code == 2, played.text
    assert f"Nothing was touched: {REFUSED['portal id'][1]}" in told


def test_refused_look_leaves_the_report_alone(copy):
    report = copy.directory / "report.json"
    report.write_text('[{"host": "riga-depot", "state": "confirmed", "reason": ""}]')

    played = copy.play("discover", ANSWERING, *TWO, "-e", f"export_limiter_sha256={'b' * 64}")

    assert (played.code, played.states) == (2, {"riga-depot": "confirmed"}), played.text
    assert "Nothing was touched:" in played.text


@pytest.mark.parametrize("playbook", ["rollback", "remove"])
def test_fault_of_one_site_forbids_to_go_back_or_remove_at_any(copy, playbook):
    for site in ("riga-depot", "liepaja-yard"):
        copy.install(site, copy.commit)
    for line, _ in REFUSED.values():
        copy.say("liepaja-yard", line)

    played = copy.play(playbook, ANSWERING, *TWO)

    told = " ".join(played.text.split())
    assert played.code == 2, played.text
    assert "Nothing was touched:" in told
    for _, fault in REFUSED.values():
        assert fault in told
    assert all(len(calls) == 1 for calls in played.calls.values())


def test_more_than_one_device_is_removed_only_when_they_are_named(copy):
    sites = ("riga-depot", "liepaja-yard")
    left = [copy.install(site, "b" * 40) for site in sites]

    refused = copy.play("remove", ANSWERING)
    tried = copy.play("remove", ANSWERING, "--check")
    kept = [base.exists() for base in left]
    removed = copy.play("remove", ANSWERING, "-e", "export_limiter_remove=all")

    told = " ".join(refused.text.split())
    assert (refused.code, tried.code, removed.code) == (2, 0, 0), refused.text + removed.text
    assert (
        "Nothing was touched: riga-depot, liepaja-yard: this removes the limit of 2 devices; "
        "allowed: --limit, or -e export_limiter_remove=all" in told
    )
    assert kept == [True, True]
    assert not any(base.exists() for base in left)
    assert refused.states == dict.fromkeys(HOSTS, "not tried")
    assert tried.states == {
        **dict.fromkeys(HOSTS, "converged"),
        **dict.fromkeys(sites, "not tried"),
    }
    assert removed.states == {**tried.states, **dict.fromkeys(sites, "removed")}
    assert "removed    no limit was released, nothing is left on the device" in removed.text


def test_removal_that_fails_everywhere_ends_with_the_reasons(copy):
    base = copy.install("riga-depot", copy.commit)
    (base / "current").unlink()  # what failed and went may have left a limit
    (base / "failed").write_text(f"{copy.commit}-000000000000\n")
    (base / "releases" / f"{copy.commit}-000000000000").mkdir()
    (base / "state.json").write_text("{}")

    played = copy.play(
        "remove", ANSWERING, "--limit", "riga-depot", "-e", "{'export_limiter_release_limit': true}"
    )

    assert (played.code, played.states) == (2, {"riga-depot": "failed"}), played.text
    assert "riga-depot  failed  nothing was removed, the limit could not be released" in played.text
    assert base.exists()


def test_removal_whose_last_link_ends_says_so_in_its_report(copy):
    copy.install("riga-depot", copy.commit)
    (copy.directory / "report.json").write_text(
        '[{"host": "riga-depot", "state": "removed", "reason": ""}]'
    )
    gone = GONE.replace("LOST", "2") + ANSWERING
    last = ("--limit", "riga-depot", "-e", "export_limiter_lost_link_s=1")

    played = copy.play("remove", gone, *last)

    assert (played.code, played.states) == (4, {"riga-depot": "pending"}), played.text
    assert (
        "riga-depot  pending  undecided, the device goes on alone, run it again: offline: "
        in played.text
    )


def test_only_sites_on_the_pinned_release_go_back(copy):
    copy.install("riga-depot", copy.commit)
    copy.install("liepaja-yard", "b" * 40)

    played = copy.play("rollback", ANSWERING, *THREE, "--check")
    other = copy.play(
        "rollback", ANSWERING, *THREE, "--check", "-e", f"export_limiter_commit={'b' * 40}"
    )

    assert played.states == {
        "riga-depot": "not tried",  # it would, without --check
        "liepaja-yard": "converged",
        "cesis-workshop": "converged",
    }, played.text
    assert re.findall(r"^changed: \[(.*)\]", played.text, flags=re.MULTILINE) == ["riga-depot"]
    assert re.findall(r"^changed: \[(.*)\]", other.text, flags=re.MULTILINE) == ["liepaja-yard"]
    assert f"not on it: {'b' * 40}-000000000000 runs" in " ".join(played.text.split())


@pytest.mark.parametrize(
    ("lost", "reason", "tried"),
    [
        (9, "nothing was sent: ", True),
        (2, "undecided, the device goes on alone, run it again: ", False),
    ],
    ids=["before", "after"],
)
def test_device_that_drops_off_stops_the_others_only_after_it_was_told(copy, lost, reason, tried):
    gone = GONE.replace("LOST", str(lost)) + ANSWERING

    played = copy.play("deploy", gone, *TWO, "-e", "export_limiter_lost_link_s=1")

    assert played.states["riga-depot"] == "pending", played.text
    assert f"{reason}offline: " in " ".join(played.text.split())
    assert len(played.calls["liepaja-yard"]) == 1 + tried


def test_report_of_a_relative_name_stands_where_the_play_was_started(copy):
    place = copy.directory / "elsewhere"
    place.mkdir()

    played = copy.play("check", REFUSING, "-e", "export_limiter_report=told.json", cwd=place)

    assert played.code == 4
    assert json.loads((place / "told.json").read_text())["counts"]["not reached"] == len(HOSTS)
