"""What the device program does on a device, in a directory of its own and with a stepped clock."""

import bz2
import json
import os
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from role import ROLE, load

device, plugin = load("files/device.py"), load("action_plugins/export_limiter.py")

OLD, NEW = "a" * 40, "b" * 40
RUNS = "#!/bin/sh\nexit 0\n"
REFUSES = "#!/bin/sh\necho config.json: refused\nexit 2\n"
BOOT_LINE = device.BOOT_LINE.decode()


class Service:
    """Runs whatever is current; `crashes` names the commits that never stay up."""

    def __init__(self, place):
        self.place = place
        self.pid = None
        self.started_s = 0
        self.crashes = set()
        self.starts = []

    def state(self):
        if self.pid and self.place.current().partition("-")[0] in self.crashes:
            self._start()
        return (self.pid, self.place.clock.now_s - self.started_s) if self.pid else (None, None)

    def boot(self):
        return self.place.boot_line()

    def restart(self):
        self.place.add_boot_line()
        self._start()

    def remove(self):
        self.pid = None

    def _start(self):
        self.pid = (self.pid or 100) + 1
        self.started_s = self.place.clock.now_s
        self.starts.append(self.place.current())


class Clock:
    """Time that passes only when somebody sleeps."""

    def __init__(self):
        self.now_s = 1000.0

    def monotonic(self):
        return self.now_s

    def sleep(self, seconds):
        self.now_s += seconds


class Site(device.Place):
    """A device whose agent is healthy unless `status_is` says otherwise."""

    def __init__(self, root, clock):
        super().__init__(str(root))
        self.clock = clock
        self.service = Service(self)
        self.told = {}

    def status_is(self, **fields):
        self.told = fields

    def status(self):
        if not self.service.pid:
            return None
        return {
            "pid": self.service.pid,
            "commit": self.current().partition("-")[0],
            "state": "monitoring",
            "reason": "output is below the cap",
            "enforceable": True,
            "inverter_output_w": 100.0,
            "counters": {"ticks": self.clock.now_s},
            **self.told,
        }


@pytest.fixture
def site(tmp_path, monkeypatch):
    clock = Clock()
    monkeypatch.setattr(device, "time", clock)
    monkeypatch.setattr(device.signal, "alarm", lambda _seconds: None)
    (tmp_path / "data/venus").mkdir(parents=True)
    (tmp_path / "data/venus/unique-id").write_text("c0619ab00001\n")
    site = Site(tmp_path, clock)
    os.makedirs(site.of("releases"))
    return site


def request(commit=OLD, program=RUNS, limit_w=30000, **fields):
    files = {
        "export-limiter": program,
        "run": "#!/bin/sh\n",
        "VERSION": "0.1.0\n",
        "x/y.py": commit,
    }
    return {
        "commit": commit,
        "files": files,
        "sha256": device.digest(device.manifest(files)),
        "config": json.dumps({"max_multiplus_output_w": limit_w}) + "\n",
        "min_free_kb": 1,
        "max_load": 1000,
        "health_s": 60,
        "allowed_reasons": [],
        "higher_limit": False,
        "release_limit": True,
        "release_s": 10,
        **fields,
    }


def ident(asked):
    return f"{asked['commit']}-{device.digest(asked['config'])[:12]}"


def apply(site, asked):
    try:
        return device.carry_out(site, {"verb": "apply", **asked})
    except device.FaultError as fault:
        return device.described(fault)


def limit_w(site):
    return json.loads(device.read(site.release(site.current(), "config.json")))[
        "max_multiplus_output_w"
    ]


def releases(site):
    return set(os.listdir(site.of("releases")))


# Activation


def test_healthy_release_is_confirmed(site):
    reply = apply(site, request())

    assert reply == {
        "changed": True,
        "state": "confirmed",
        "id": ident(request()),
        "msg": "healthy",
    }
    assert site.current() == ident(request())
    assert site.listed("confirmed") == [ident(request())]
    assert not os.path.exists(site.of("pending"))


def test_crashing_release_goes_back_to_the_one_that_ran(site):
    apply(site, request())
    site.service.crashes = {NEW}

    reply = apply(site, request(NEW))

    assert (reply["state"], reply["failed"]) == ("rolled back", True)
    assert reply["msg"] == f"it crashes: started 5 times; back to {ident(request())}"
    assert site.current() == site.service.starts[-1] == ident(request())
    assert site.listed("failed") == [ident(request(NEW))]
    assert not os.path.exists(site.of("pending"))


def test_first_release_that_fails_leaves_nothing_running_and_no_boot_line(site):
    site.service.crashes = {OLD}

    reply = apply(site, request())

    assert reply["state"] == "rolled back"
    assert site.current() is None
    assert site.service.pid is None
    assert not os.path.exists(site.at("data/rc.local"))


def test_release_that_runs_already_is_only_repaired_and_stays(site):
    apply(site, request())
    site.status_is(enforceable=False, reason="grid lost")
    device.forget(site.at("data/rc.local"))

    reply = apply(site, request())

    assert (reply["state"], site.current()) == ("confirmed", ident(request()))
    assert site.boot_line() == "ours"
    site.service.crashes = {OLD}
    reply = apply(site, request())
    assert (reply["state"], site.current()) == ("failed", ident(request()))
    assert "; it is left running" in reply["msg"]


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (request(NEW, program=REFUSES), "check-config: config.json: refused"),
        (request(NEW, sha256="0" * 64), "pinned is 0000"),
        (request(NEW, min_free_kb=10**12), "kB free"),
        (request(NEW, max_load=-1), "at most -1 is allowed"),
    ],
    ids=["config", "hash", "space", "load"],
)
def test_what_is_refused_is_never_switched_to_and_leaves_no_file(site, asked, told):
    apply(site, request())
    before, starts = releases(site), list(site.service.starts)

    reply = apply(site, asked)

    assert reply["state"] == "failed"
    assert told in reply["msg"]
    assert (site.current(), releases(site)) == (ident(request()), before)
    assert site.service.starts == starts


@pytest.mark.parametrize("path", ["../x", "a/../../x", "/etc/x", "a//b", "./x", "a b", "", "a/"])
def test_path_that_leaves_the_release_is_refused(site, path):
    asked = request()
    asked["files"][path] = "x"

    with pytest.raises(device.FaultError, match="never deployed"):
        site.stage(asked["commit"], asked["files"], asked["config"])


def test_power_cut_after_the_switch_goes_back_at_the_next_verb(site):
    apply(site, request())
    new = request(NEW)
    site.stage(NEW, new["files"], new["config"])
    device.put(site.of("pending"), json.dumps({"to": ident(new), "back": site.current()}))
    site.link("releases/" + ident(new), "current")

    device.settle(site)

    assert site.current() == site.service.starts[-1] == ident(request())
    assert not os.path.exists(site.of("pending"))


def go_back_at_service_start(site):
    """Run the script that the service runs before the agent."""
    program = ROLE.parents[1] / "agent/service/go_back.py"
    subprocess.run([sys.executable, program, site.base], check=True, capture_output=True)


@pytest.mark.parametrize("made_before", [True, False], ids=["link made before", "no link"])
@pytest.mark.parametrize("back", [True, False], ids=["a release", "nothing"])
def test_service_start_goes_back_from_an_undecided_release(site, back, made_before):
    apply(site, request())
    good = site.current() if back else None
    site.link("releases/" + ident(request(NEW)), "current")
    if back and made_before:
        site.link("releases/" + good, "back")
    device.put(site.of("pending"), json.dumps({"to": ident(request(NEW)), "back": good}))

    for _ in range(2):
        go_back_at_service_start(site)

    assert site.current() == good
    assert site.listed("failed") == [ident(request(NEW))]
    assert not os.path.exists(site.of("pending"))


def test_service_start_decides_nothing_while_the_worker_lives(site):
    apply(site, request())
    device.put(site.of("pending"), json.dumps({"to": site.current(), "back": None}))
    site.lock("1" * 32)

    go_back_at_service_start(site)

    assert site.current() == ident(request())
    assert os.path.exists(site.of("pending"))


# Going back never raises a limit


@pytest.mark.parametrize("new_w", [20000, 30000, 40000, None])
def test_going_back_gives_the_old_code_the_tighter_limit(site, new_w):
    apply(site, request(limit_w=30000))
    site.service.crashes = {NEW}

    reply = apply(site, request(NEW, limit_w=new_w))

    assert limit_w(site) == min(30000, new_w or 30000)
    assert site.current().startswith(OLD)
    assert reply["msg"].endswith("(new limit)") is (new_w == 20000)


def test_tighter_old_release_that_refuses_its_limit_stops_before_the_switch(site):
    grumbles = "#!/bin/sh\ngrep -q 20000 config.json || exit 0\necho too low\nexit 2\n"
    apply(site, request(program=grumbles))

    reply = apply(site, request(NEW, limit_w=20000))

    assert reply["msg"] == "check-config: too low"
    assert site.current() == ident(request())


LIMIT = st.none() | st.integers(1, 100_000)
CONFIG = st.fixed_dictionaries(
    {"max_multiplus_output_w": LIMIT, "max_grid_export_w": LIMIT},
    optional={
        "min_output_limit_w": st.integers(0, 5_000),
        "failsafe_limit_w": LIMIT,
        "per_phase": st.sampled_from(device.PER_PHASE),
        "phase_count": st.sampled_from((1, 3)),
        "stored_backstop": st.booleans(),
        "dry_run": st.booleans(),
        "control_interval_s": st.integers(1, 10),
    },
)


def effective(config, key):
    return config.get(key, device.DEFAULTS[key])


def failsafe_w(config):
    floor_w = effective(config, "min_output_limit_w")
    given_w = effective(config, "failsafe_limit_w")
    return max(floor_w, (config["max_grid_export_w"] or 0) if given_w is None else given_w)


@given(CONFIG, CONFIG)
def test_tighter_limits_as_much_as_both_and_changes_nothing_else(old, new):
    tight = device.tighter(old, new)

    for other in (old, new):
        for key in ("max_multiplus_output_w", "max_grid_export_w", "min_output_limit_w"):
            told = effective(other, key)
            assert told is None or effective(tight, key) <= told
        strict = [device.PER_PHASE.index(effective(c, "per_phase")) for c in (tight, other)]
        assert strict[0] >= strict[1]
        assert effective(tight, "stored_backstop") or not effective(other, "stored_backstop")
        assert effective(other, "dry_run") or not effective(tight, "dry_run")
        if tight["max_grid_export_w"] is not None:
            assert failsafe_w(tight) <= failsafe_w({**tight, **of(other, "failsafe_limit_w")})
    assert tight.get("control_interval_s") == old.get("control_interval_s")
    if tight["max_multiplus_output_w"]:
        assert effective(tight, "min_output_limit_w") <= tight["max_multiplus_output_w"]
    assert device.tighter(tight, new) == tight


def of(config, key):
    return {key: effective(config, key)}


@pytest.mark.parametrize("changed", ["notes.txt", "config.json"])
def test_what_runs_is_gone_back_to_even_where_somebody_changed_it(site, changed):
    apply(site, request())
    was = site.current()
    Path(site.release(was, changed)).write_text(json.dumps({"max_multiplus_output_w": 12000}))
    site.service.crashes = {NEW}

    reply = apply(site, request(NEW))

    assert (reply["state"], site.current()) == ("rolled back", was)
    assert site.service.pid
    assert site.boot_line() == "ours"


def test_what_runs_with_a_higher_limit_and_was_changed_is_left_alone(site):
    apply(site, request())
    was, pid = site.current(), site.service.pid
    Path(site.release(was, "notes.txt")).write_text("was here")

    reply = apply(site, request(NEW, limit_w=20000))

    assert reply["msg"] == (
        "what runs was changed (notes.txt is foreign), and nothing is here to go back to"
    )
    assert (site.current(), site.service.pid) == (was, pid)


def test_a_silent_agent_after_going_back_is_told(site):
    apply(site, request())
    site.service.crashes = {OLD, NEW}

    reply = apply(site, request(NEW))

    assert reply["msg"].endswith(", whose agent tells no status yet")


def test_a_list_that_a_full_disk_does_not_take_hides_no_verdict(site, monkeypatch):
    apply(site, request())
    site.service.crashes = {NEW}
    write = device.write

    def full(path, content, mode=0o644):
        if path.endswith("/failed.new"):
            Path(path).touch()
            raise OSError(28, "No space left on device")
        write(path, content, mode)

    monkeypatch.setattr(device, "write", full)
    reply = apply(site, request(NEW))

    assert reply["state"] == "rolled back"
    assert reply["msg"].startswith("it crashes")
    assert site.foreign() == []


# Rolling back


def test_rollback_runs_the_release_confirmed_before(site):
    apply(site, request())
    apply(site, request(NEW))

    reply = device.carry_out(site, request(verb="rollback"))

    assert reply["state"] == "confirmed"
    assert site.current() == ident(request())


@pytest.mark.parametrize(("asked", "then_w"), [(False, 20000), (True, 30000)])
def test_rollback_raises_a_limit_only_where_that_is_asked_for(site, asked, then_w):
    apply(site, request(limit_w=30000))
    apply(site, request(NEW, limit_w=20000))

    device.carry_out(site, request(verb="rollback", higher_limit=asked))

    assert site.current().startswith(OLD)
    assert limit_w(site) == then_w


def test_a_second_rollback_does_not_go_forward_again(site):
    apply(site, request())
    apply(site, request(NEW))
    device.carry_out(site, request(verb="rollback"))

    reply = device.carry_out(site, request(verb="rollback"))

    assert (reply["state"], reply["changed"]) == ("not tried", False)
    assert "no confirmed release" in reply["msg"]

    assert site.current() == ident(request())


def test_rollback_goes_to_other_code_past_another_configuration(site):
    apply(site, request())
    apply(site, request(NEW))
    apply(site, request(NEW, limit_w=25000))

    reply = device.carry_out(site, request(verb="rollback"))

    assert reply["state"] == "confirmed"
    assert site.current().startswith(OLD)
    assert limit_w(site) == 25000


@pytest.mark.parametrize("looser", [{"dry_run": True}, {"per_phase": False}])
def test_rollback_takes_nothing_of_the_limit_away(site, looser):
    tight = {"max_multiplus_output_w": 9000, "per_phase": "strict", "dry_run": False}
    apply(site, request(config=json.dumps({**tight, **looser}) + "\n"))
    apply(site, request(NEW, config=json.dumps(tight) + "\n"))

    reply = device.carry_out(site, request(verb="rollback"))

    assert reply["state"] == "confirmed"
    assert site.current().startswith(OLD)
    assert site.config(site.current()) == tight


def undecided(site, commit, back):
    asked = request(commit)
    new = site.stage(commit, asked["files"], asked["config"])
    device.put(site.of("pending"), json.dumps({"to": new, "back": back}) + "\n")
    site.link("releases/" + new, "current")
    site.service.restart()
    return new


def test_rollback_of_what_is_undecided_goes_back_once(site):
    apply(site, request())
    apply(site, request(NEW))
    was = site.current()
    undecided(site, "c" * 40, was)

    reply = device.carry_out(site, request(verb="rollback"))

    assert (reply["state"], reply["id"], site.current()) == ("confirmed", was, was)


@pytest.mark.parametrize("refused", [{"max_load": -1}, {"min_free_kb": 10**9}, {"sha256": "0"}])
def test_what_is_refused_leaves_an_undecided_first_release_running(site, refused):
    new = undecided(site, OLD, None)

    reply = apply(site, request(NEW, **refused))

    assert reply["state"] == "failed"
    assert site.current() == new
    assert site.service.pid


def test_rollback_without_an_older_release_changes_nothing_and_says_what_runs(site):
    apply(site, request())

    reply = device.carry_out(site, request(verb="rollback"))

    assert (reply["state"], reply["changed"]) == ("not tried", False)
    assert reply["msg"] == (
        f"there is no confirmed release to go back to: {ident(request())} still runs"
    )
    assert site.service.pid


# Health


@pytest.mark.parametrize(
    ("told", "fault"),
    [
        ({"enforceable": False, "reason": "no ESS assistant"}, "not enforceable: no ESS assistant"),
        ({"state": "starting"}, "the agent is still starting"),
        ({"state": "failsafe", "reason": "meter lost"}, "no fresh measurement: meter lost"),
        ({"inverter_output_w": None}, "no fresh measurement"),
        ({"counters": {"ticks": 1}}, "its status is not renewed"),
        ({"commit": OLD}, f"the agent reports the commit {OLD}"),
        ({"pid": 1}, "no status from the running agent"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_release_that_is_not_healthy_in_time_goes_back(site, told, fault):
    site.status_is(**told)
    began_s = site.clock.now_s

    reply = apply(site, request(NEW))

    assert reply["state"] == "rolled back"
    assert reply["msg"].startswith(fault)
    assert site.clock.now_s - began_s <= 62


@pytest.mark.parametrize(
    ("told", "more"),
    [
        ({"enforceable": False, "dry_run": True}, {}),
        (
            {"enforceable": False, "reason": "grid lost since 3 s", "inverter_output_w": None},
            {"allowed_reasons": ["grid lost"]},
        ),
    ],
    ids=["dry run", "allowed reason"],
)
def test_what_the_inventory_allows_is_healthy(site, told, more):
    site.status_is(**told)

    assert apply(site, request(**more))["state"] == "confirmed"


def test_what_was_so_before_is_not_the_fault_of_a_release(site):
    apply(site, request())
    site.status_is(enforceable=False, reason="no ESS assistant")

    assert apply(site, request(NEW))["state"] == "confirmed"


def test_a_meter_that_was_dead_before_is_not_the_fault_of_a_release(site):
    apply(site, request())
    site.status_is(state="failsafe", reason="no usable export measurement")

    assert apply(site, request(NEW))["state"] == "confirmed"


def test_a_clock_that_is_set_back_makes_no_release_unhealthy(site):
    told = site.service.state
    site.service.state = lambda: (told()[0], 0)  # what svstat says then

    assert apply(site, request())["state"] == "confirmed"


# Removing


def released(site, log):
    """A program that notes how it was called, and a state file for it to work on."""
    device.write(site.of("state.json"), "{}")
    return f"#!/bin/sh\necho $* >>{log}\nexit 0\n"


def test_remove_releases_within_the_time_it_has(site, tmp_path):
    apply(site, request(program=released(site, tmp_path / "log")))

    reply = device.carry_out(site, request(verb="remove", release_s=600))

    assert reply["state"] == "removed"
    assert reply["msg"] == "the limit is released, nothing is left on the device"
    told = (tmp_path / "log").read_text().splitlines()[-1]
    assert told == "release --config config.json --within 600"


def test_remove_releases_what_a_failed_first_release_may_have_left(site, tmp_path):
    site.service.crashes = {OLD}
    apply(site, request(program=released(site, tmp_path / "log")))

    device.carry_out(site, request(verb="remove"))

    assert "release --config" in (tmp_path / "log").read_text()
    assert not os.path.exists(site.base)


def test_remove_that_can_not_release_leaves_the_agent_running(site):
    apply(site, request())
    device.write(site.of("state.json"), "{}")
    os.chmod(site.release(site.current(), "export-limiter"), 0o644)

    with pytest.raises(device.FaultError, match="nothing was removed"):
        device.carry_out(site, request(verb="remove"))

    assert site.service.pid
    assert site.current()


# What the agent notes of a limit that stands.
STANDS = json.dumps({"points": {"/Settings/CGwacs/MaxDischargePower": {"found": -1, "written": 5}}})


def test_remove_keeps_all_where_a_limit_stands_and_no_release_is_here_to_release_it(site):
    apply(site, request())
    device.write(site.of("state.json"), STANDS)
    shutil.rmtree(site.of("releases"))

    with pytest.raises(device.FaultError) as fault:
        device.carry_out(site, request(verb="remove"))

    assert str(fault.value) == (
        "nothing was removed: a limit of ours stands, and no release is here to release it; "
        "deploy again, or remove with -e export_limiter_release_limit=false"
    )
    assert (site.service.pid is not None, site.boot_line()) == (True, "ours")
    assert device.read(site.of("state.json")) == STANDS
    assert device.carry_out(site, request(verb="remove", release_limit=False))["changed"]
    assert not os.path.exists(site.base)


@pytest.mark.parametrize("noted", [None, json.dumps({"points": {}})], ids=["never", "no more"])
def test_remove_without_a_limit_and_without_a_release_leaves_nothing(site, noted):
    apply(site, request())
    if noted:
        device.write(site.of("state.json"), noted)
    shutil.rmtree(site.of("releases"))

    reply = device.carry_out(site, request(verb="remove"))

    assert reply["msg"] == "no limit was released, nothing is left on the device"
    assert not os.path.exists(site.base)


@pytest.mark.parametrize("spoiled", ["", "export-limiter"], ids=["gone", "damaged"])
def test_remove_releases_by_the_confirmed_one_where_current_is_not_whole(site, tmp_path, spoiled):
    apply(site, request(program=released(site, tmp_path / "log")))
    apply(site, request(NEW))
    device.write(site.of("state.json"), STANDS)
    spoiled = site.release(site.current(), spoiled)
    (os.unlink if os.path.isfile(spoiled) else shutil.rmtree)(spoiled)

    reply = device.carry_out(site, request(verb="remove"))

    assert reply["msg"].startswith("the limit is released")
    assert "release --config" in (tmp_path / "log").read_text()


def test_remove_that_was_cut_short_after_the_release_needs_no_release(site):
    apply(site, request())
    device.write(site.of("state.json"), json.dumps({"points": {}}))
    shutil.rmtree(site.release(site.current(), "x"))
    os.unlink(site.release(site.current(), "export-limiter"))
    device.forget(site.of("current"))

    assert device.carry_out(site, request(verb="remove"))["state"] == "removed"


def test_remove_waits_for_a_log_that_writes_once_more(site, monkeypatch):
    apply(site, request())
    log = Path(site.at("data/log/venus-export-limiter"))
    rmtree, writing = shutil.rmtree, [log]

    def beside_the_log(path, **given):
        rmtree(path, **given)
        if writing and Path(path) == log:
            writing.pop().mkdir(parents=True)

    monkeypatch.setattr(device.shutil, "rmtree", beside_the_log)

    assert device.carry_out(site, request(verb="remove"))["state"] == "removed"
    assert not log.exists()


def test_remove_that_leaves_something_names_it_and_can_be_repeated(site):
    apply(site, request())
    log = Path(site.at("data/log/venus-export-limiter"))
    log.parent.mkdir()
    log.symlink_to("/nonexistent")  # as little to be removed as a mount

    with pytest.raises(device.FaultError, match=f"^no limit was .*, but {log} is still there$"):
        device.carry_out(site, request(verb="remove"))
    log.unlink()

    assert device.carry_out(site, request(verb="remove"))["state"] == "removed"
    assert not os.path.exists(site.base)


# A release on the disk


@pytest.mark.parametrize(("told", "quick"), [(None, 0), ("1234 3\n", 3), ("1234", 0)])
def test_probe_tells_how_often_the_agent_has_ended_quickly(site, told, quick):
    os.makedirs(site.at("run/venus-export-limiter"))
    if told:
        Path(site.at("run/venus-export-limiter/started")).write_text(told)

    assert device.probe(site, {})["quick"] == quick


def test_a_current_that_leads_elsewhere_is_drift(site):
    apply(site, request())
    (Path(site.root) / "tmp").mkdir()
    site.link(f"{site.root}/tmp/{site.current()}", "current")

    assert device.probe(site, {})["drift"] == "current leads out of releases"


def flip(directory):
    (directory / "run").write_text("#!/bin/su\n")


def truncate(directory):
    (directory / "x/y.py").write_text("")


def add(directory):
    (directory / "json.py").write_text("")


def add_bytecode(directory):
    (directory / "x/__pycache__").mkdir()
    (directory / "x/__pycache__/y.cpython-311.pyc").write_bytes(b"")


def link(directory):
    (directory / "x/z.py").symlink_to("/etc/passwd")


def link_directory(directory):
    (directory / "json").symlink_to("/etc")


def drop(directory):
    (directory / "VERSION").unlink()


def open_mode(directory):
    (directory / "x/y.py").chmod(0o755)


def reword(directory):
    text = (directory / "MANIFEST").read_text()
    (directory / "MANIFEST").write_text(text + text[:1])


def reconfigure(directory):
    (directory / "config.json").write_text("{}\n")


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (flip, "run is changed"),
        (truncate, "x/y.py is changed"),
        (add, "json.py is foreign"),
        (add_bytecode, "x/__pycache__/y.cpython-311.pyc is foreign"),
        (link, "x/z.py is not a file"),
        (link_directory, "json is not a file"),
        (drop, "VERSION is missing"),
        (open_mode, "x/y.py has another mode"),
        (reword, "MANIFEST is changed"),
        (reconfigure, "config.json is changed"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_any_change_of_a_release_is_drift_and_repaired_in_place(site, spoil, told):
    apply(site, request())
    spoil(Path(site.release(site.current())))

    drift = device.probe(site, {})["drift"]
    reply = apply(site, request())

    assert drift == told
    assert reply["state"] == "confirmed"
    assert device.probe(site, {})["sha256"] == request()["sha256"]


def test_manifest_is_what_sha256sum_checks(site):
    apply(site, request())

    command = ["sha256sum", "--check", "--strict", "MANIFEST"]
    subprocess.run(command, cwd=site.release(site.current()), check=True, capture_output=True)


def test_modes_go_by_name(site):
    apply(site, request())

    directory = Path(site.release(site.current()))
    assert stat.S_IMODE((directory / "run").stat().st_mode) == 0o755
    assert stat.S_IMODE((directory / "export-limiter").stat().st_mode) == 0o755
    assert stat.S_IMODE((directory / "VERSION").stat().st_mode) == 0o644


def test_a_hundred_upgrades_leave_a_bounded_number_of_files(site, monkeypatch):
    monkeypatch.setattr(device.os, "fsync", lambda _descriptor: None)
    for number in range(100):
        asked = request(f"{number:040x}")
        site.service.crashes = {asked["commit"]} if number % 3 == 2 else set()
        apply(site, asked)

    assert len(releases(site)) <= 3
    assert len(site.listed("confirmed")) <= device.KEPT
    assert len(site.listed("failed")) <= device.KEPT
    assert site.current() in releases(site)
    assert site.listed("confirmed")[-2] in releases(site)


def test_files_are_on_the_flash_before_anything_points_to_them(site, monkeypatch):
    done = []
    for name in ("fsync", "replace", "rename"):
        real = getattr(os, name)

        def noted(*arguments, name=name, real=real):
            target = arguments[-1]
            path = os.readlink(f"/proc/self/fd/{target}") if name == "fsync" else target
            done.append((name, os.path.relpath(path, site.base)))
            return real(*arguments)

        monkeypatch.setattr(device.os, name, noted)

    apply(site, request())

    new = f"releases/{ident(request())}"
    switch = done.index(("replace", "current"))
    order = [
        ("fsync", "releases/.new/run"),
        ("fsync", "releases/.new/config.json"),
        ("fsync", "releases/.new"),
        ("rename", new),
        ("fsync", "releases"),
        ("fsync", "pending.new"),
        ("replace", "pending"),
        ("fsync", "."),
    ]
    places = [done.index(step) for step in order[:-1]]
    assert places == sorted(places)
    assert places[-1] < switch
    assert order[-1] in done[places[-1] : switch]
    assert done[switch + 1] == ("fsync", ".")


# rc.local


RC_LOCAL = st.binary(max_size=60) | st.sampled_from(
    [b"#!/bin/sh", b"#!/bin/sh\n", b"#!/bin/sh\nexit 0\n", b"#!/bin/sh\r\necho x", b"\n\n", b"x"]
)


@settings(max_examples=40)
@given(content=RC_LOCAL, mode=st.sampled_from([0o755, 0o644, 0o700]))
def test_boot_line_is_put_in_and_taken_out_byte_for_byte(tmp_path_factory, content, mode):
    site = device.Place(str(tmp_path_factory.mktemp("root")))
    os.makedirs(site.base)
    path = Path(site.at("data/rc.local"))
    path.write_bytes(content)
    path.chmod(mode)

    for _ in range(2):
        site.add_boot_line()
    with_line = path.read_bytes()
    state = site.boot_line()
    site.remove_boot_line()

    assert state == "ours"
    assert with_line.count(device.BOOT_LINE) == 1
    if content.startswith(b"#!"):
        shebang = content.partition(b"\n")[0]
        assert with_line.startswith(shebang + b"\n" + device.BOOT_LINE)
    assert path.read_bytes() == content
    assert stat.S_IMODE(path.stat().st_mode) == mode


def test_rc_local_that_was_made_for_the_line_goes_with_it(site):
    site.add_boot_line()
    made = device.read(site.at("data/rc.local"))

    site.remove_boot_line()

    assert made == f"#!/bin/sh\n{BOOT_LINE}\n"
    assert not os.path.exists(site.at("data/rc.local"))


def test_boot_line_that_its_owner_disabled_is_reported_and_never_undone(site):
    Path(site.at("data/rc.local.disabled")).write_text("#!/bin/sh\n")

    reply = apply(site, request())

    assert reply["state"] == "confirmed"
    assert device.probe(site, {})["boot"] == "disabled"
    assert not os.path.exists(site.at("data/rc.local"))


def test_boot_line_runs_the_release_in_the_background(tmp_path):
    line = re.sub("/data/", f"{tmp_path}/", BOOT_LINE)
    boot = tmp_path / "venus-export-limiter/current/boot"
    boot.parent.mkdir(parents=True)
    boot.write_text("sleep 60\n")

    done = subprocess.run(["sh", "-ec", f"{line}\necho $!"], capture_output=True, timeout=10)
    os.kill(int(done.stdout), 9)

    assert done.returncode == 0


# The reply


def ask(*packed, root="/nonexistent"):
    program = ROLE / "files/device.py"
    return subprocess.run([sys.executable, program], input=b"".join(packed), capture_output=True)


def framed(asked):
    packed = bz2.compress(json.dumps(asked).encode())
    return b"%d\n%b" % (len(packed), packed)


def reply_of(done, request_id=""):
    lines = [x for x in done.stdout.decode().splitlines() if x.startswith(device.MARKER)]
    assert len(lines) == 1
    return plugin.unpacked(lines[0].removeprefix(f"{device.MARKER}{request_id}:"))


@pytest.mark.parametrize(
    "garbage",
    [b"", b"12", b"x\n", b"-1\n", b"5\nabc", b"3\nabc", framed({"verb": "format"}), framed([])],
)
def test_garbage_is_answered_and_never_ends_as_a_lost_link_would(garbage):
    done = ask(garbage)

    assert done.returncode == 0
    assert reply_of(done)["failed"] is True


def test_probe_writes_nothing(site):
    apply(site, request())
    before = {p: p.lstat().st_mtime_ns for p in Path(site.root).rglob("*")}

    done = ask(framed({"verb": "probe", "id": "ab", "root": site.root}))

    assert reply_of(done, "ab")["current"] == ident(request())
    assert {p: p.lstat().st_mtime_ns for p in Path(site.root).rglob("*")} == before


def test_repeated_request_gets_the_first_verdict_and_does_nothing(site):
    os.makedirs(site.at("run"))
    asked = {"id": "1" * 32, "portal_id": "c0619ab00001"}

    first = device.in_worker(site, asked, lambda _place, _asked: {"state": "first"}, 10)
    second = device.in_worker(site, asked, lambda _place, _asked: {"state": "second"}, 10)

    assert first == second == {"state": "first"}


def test_verdicts_are_bounded(site):
    for number in range(device.KEPT + 5):
        device.in_worker(site, {"id": f"{number:032x}"}, lambda _place, _asked: {"state": "x"}, 10)

    assert len(os.listdir(site.at("run/venus-export-limiter/verdicts"))) <= device.KEPT


def test_second_activation_at_the_same_time_is_refused(site):
    site.lock("1" * 32)
    second = Site(site.root, site.clock)

    reply = device.in_worker(second, {"id": "2" * 32}, lambda *_: {}, 10)

    assert reply["msg"] == "another activation is at work on this device"


def test_second_activation_waits_for_the_end_of_the_first(site):
    holders = iter(["1" * 32] * 10)
    site.lock = lambda _request: next(holders, None)

    reply = device.in_worker(site, {"id": "2" * 32}, lambda *_: {"state": "done"}, 10)

    assert reply["state"] == "done"


def test_other_device_at_the_address_is_refused(site):
    asked = {"id": "1" * 32, "portal_id": "c0619ab00002"}

    reply = device.in_worker(site, asked, lambda *_: {"state": "confirmed"}, 10)

    assert reply["msg"] == "this is c0619ab00001, not c0619ab00002"


def test_killed_worker_is_told_from_a_slow_one(site):
    def killed(_place, _asked):
        os.kill(os.getpid(), 9)

    with pytest.raises(device.FaultError, match="the worker was killed"):
        device.in_worker(site, {"id": "1" * 32}, killed, 10)


def test_what_a_killed_worker_has_not_confirmed_is_undone(site):
    apply(site, request())
    site.stage(NEW, request(NEW)["files"], request(NEW)["config"])

    def killed(place, _asked):
        undecided = {"to": ident(request(NEW)), "back": place.current()}
        device.put(place.of("pending"), json.dumps(undecided))
        place.link("releases/" + ident(request(NEW)), "current")
        os.kill(os.getpid(), 9)

    with pytest.raises(device.FaultError, match="is undone"):
        device.in_worker(site, {"id": "1" * 32}, killed, 10)

    assert site.current() == site.service.starts[-1] == ident(request())
    assert not os.path.exists(site.of("pending"))
