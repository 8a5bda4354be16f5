"""The device program: what the controller asks of one GX device.

It is sent with its input on standard input and needs nothing but Python 3.8 and the standard
library that Venus OS kept. One verb a run. Those that change something are done by a detached
worker, so that a lost link changes nothing. One framed line on standard output is the reply; the
exit code is never 255 nor a signal, both of which Ansible would take for a lost link and repeat.

A release is a directory named by its commit and the hash of its configuration, so code and
configuration switch as one. Everything that can fail is done before ``current`` is switched; what
is undecided stands in ``pending``, and whoever finds it without the lock being held goes back.
"""

import base64
import bz2  # in the core package of Python by Victron's manifest (openembedded-core)
import contextlib
import ctypes
import fcntl
import hashlib
import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import time
import traceback

NAME = "venus-export-limiter"
MARKER = NAME + "-reply:"
BOOT = "/data/%s/current/boot" % NAME
BOOT_LINE = ("[ -f %s ] && sh %s >/dev/null 2>&1 & # %s" % (BOOT, BOOT, NAME)).encode()
EXECUTABLES = ("run", "export-limiter")
BESIDE_MANIFEST = {"MANIFEST", "config.json"}
OURS = "releases current confirmed failed pending back lock rc.local.before".split()
OURS += ["state.json", "days.json"]  # the agent's
# What the agent keeps of the past, and under which name its rows stand.
HISTORY = {"data/%s/days.json" % NAME: "days", "run/%s/history.json" % NAME: "minutes"}
PATH = re.compile(r"[A-Za-z0-9._/-]+")
# What makes a configuration tighter or looser, with the agent's own default where it does not say.
DEFAULTS = {
    "max_multiplus_output_w": 30000,
    "max_grid_export_w": None,
    "min_output_limit_w": 1000,
    "failsafe_limit_w": None,
    "phase_count": 3,
    "per_phase": False,
    "stored_backstop": True,
    "dry_run": False,
}
PER_PHASE = (False, True, "strict")

READ_S = 60  # for all of the input to arrive over a slow link
WORK_S = 120  # beside the time for health, for a gradual release or for the load to go down
LOAD_S = 60
BUSY_S = 100  # for what another controller, or the one before, has begun
LOOK_S = 0.5  # a probe that looks whether the lock is held holds it for a moment
RESTART_S = 10  # from TERM to KILL, and for svscan to see a new service
LOG_ENDS_S = 1
STABLE_S = 5  # daemontools restarts what crashes every second
GOOD_IN_A_ROW = 3
CRASHES = 4
KEPT = 20  # ids in a list, verdicts

STANDS = "nothing was removed: a limit of ours stands, and no release is here to release it; "
STANDS += "deploy again, or remove with -e export_limiter_release_limit=false"


class FaultError(Exception):
    """What was asked for can't be done; one line says why."""


class LateError(Exception):
    """The alarm: whatever is done must end."""


def main():
    """Read the request, do it, reply."""
    signal.signal(signal.SIGALRM, _out_of_time)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.alarm(READ_S)
    request = {}
    try:
        # All of the input, before anything is written.
        length = int(sys.stdin.buffer.readline())
        request = dict(json.loads(bz2.decompress(sys.stdin.buffer.read(length))))
        signal.alarm(READ_S)
        reply = VERBS[request["verb"]](Place(request.get("root", "")), request)
    except Exception as error:
        reply = described(error)
    packed = base64.b85encode(bz2.compress(json.dumps(reply, sort_keys=True).encode()))
    print("\n%s%s:%s" % (MARKER, request.get("id", ""), packed.decode()))


def described(error):
    """The reply for an error: a fault in its own words, a mistake of ours with its place."""
    told = str(error)
    if not isinstance(error, (FaultError, LateError)):
        line = traceback.extract_tb(error.__traceback__)[-1].lineno
        told = "%s: %s (line %s of the device program)" % (type(error).__name__, told, line)
    return {"failed": True, "state": "failed", "msg": told}


def _out_of_time(_number, _frame):
    raise LateError("it took too long")


# What can be asked


def probe(place, request):
    """What this device is and what runs on it; writes nothing. The history only if asked for."""
    current = place.current()
    pid, uptime_s = place.service.state()
    drift = drifted(place, current) if current else ""
    if current and os.readlink(place.of("current")) != "releases/" + current:
        drift = "current leads out of releases"
    return {
        "portal_id": place.portal_id(),
        "firmware": read(place.at("opt/victronenergy/version")).partition("\n")[0],
        "machine": read(place.at("etc/venus/machine")).strip(),
        "python": "%d.%d.%d" % sys.version_info[:3],
        "first_version": os.path.exists(place.at("data/dbus-limit")),
        "installed": os.path.lexists(place.base),
        "current": current,
        "since": os.lstat(place.of("current")).st_mtime if current else None,
        "last_confirmed": (place.listed("confirmed") or [None])[-1],
        "undecided": os.path.exists(place.of("pending")),
        "busy": place.holder() is not None,
        "boot": place.service.boot(),
        "pid": pid,
        "uptime_s": uptime_s,
        "quick": int((read(place.at("run/%s/started" % NAME)).split() + [0, 0])[1]),
        "status": place.status(),
        "foreign": place.foreign(),
        "version": read(place.of("current/VERSION")).strip(),
        "config": read(place.of("current/config.json")),
        "sha256": digest(read_bytes(place.of("current/MANIFEST"))) if current else "",
        "drift": drift,
        # As one text: Ansible would look at each of its numbers.
        "history": json.dumps(place.history()) if request.get("history") else None,
    }


def discover(place, request):
    """What the agent would find and how it could limit it; nothing is installed or written."""
    directory = place.at("run/%s.discover" % NAME)
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    try:
        fill(directory, request["files"])
        told = run_program(directory, 40, "discover", "--json")
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    return {"changed": False, "found": json.loads(told)}


def change(place, request):
    """Have a worker do what is asked; its verdict, and what the agent says then."""
    removes = request["verb"] == "remove"
    seconds = request["release_s"] if removes else LOAD_S + 2 * request["health_s"]
    reply = in_worker(place, request, carry_out, WORK_S + seconds)
    if reply["state"] == "removed":
        shutil.rmtree(place.at("run/" + NAME), ignore_errors=True)
    return dict(reply, status=place.status())


# What the worker does


def carry_out(place, request):
    """Do what is asked, after whatever was interrupted before; nothing is left beside."""
    if request["verb"] == "apply":
        fit(place, request)  # else an undecided release goes for one that will not come
    undone = settle(place)
    try:
        if undone and request["verb"] == "rollback":
            return undone
        return CHANGES[request["verb"]](place, request)
    finally:
        place.prune()


def fit(place, request):
    """Refuse a release that is not the pinned one, or that the device has no room or time for."""
    sha256 = digest(manifest(request["files"]))
    if sha256 != request["sha256"]:
        raise FaultError("the release has sha256 %s, pinned is %s" % (sha256, request["sha256"]))
    need_kb = request["min_free_kb"] + 3 * sum(map(len, request["files"].values())) // 1024
    free_kb = shutil.disk_usage(place.at("data")).free // 1024
    if free_kb < need_kb:
        raise FaultError("/data has %d kB free, %d kB are needed" % (free_kb, need_kb))
    if not eventually(lambda: os.getloadavg()[0] <= request["max_load"], LOAD_S):
        told = "the load is %.1f, at most %g is allowed" % (os.getloadavg()[0], request["max_load"])
        raise FaultError(told)


def apply(place, request):
    """Put a release with its configuration in place and keep it only if it is healthy."""
    new = place.stage(request["commit"], request["files"], request["config"])
    return activate(place, new, request)


def rollback(place, request):
    """Put the last confirmed release before this one in place, without raising a limit."""
    current = place.current()
    target = current and older(place, current, request)
    if not target:
        told = "there is no confirmed release to go back to: %s still runs" % (current or "nothing")
        return {"changed": False, "state": "not tried", "id": current, "msg": told}
    reply = activate(place, target, request)
    if reply["state"] == "confirmed":  # what was fled from is nothing to go back to
        place.note("confirmed", target, without=current)
    return reply


def remove(place, request):
    """Release the limit and leave the device as it was before the first deployment."""
    current = place.current()
    state = read(place.of("state.json")) if request["release_limit"] else ""
    stands = '"written"' in state  # the agent's note of a limit, also in a file that was damaged
    # Whole ones first. One that failed and went may have left a limit, too.
    known = [current, *place.listed("confirmed")[::-1]] if stands else [current]
    known = sorted(filter(place.has, known), key=lambda ident: bool(drifted(place, ident)))
    able = next(filter(place.has, [*known, *place.listed("failed")[::-1]]), None)
    if stands and not able:
        raise FaultError(STANDS)
    try:
        place.service.remove()
        if able and state:
            words = ("release", "--config", "config.json", "--within", str(request["release_s"]))
            run_program(place.release(able), request["release_s"] + RESTART_S, *words)
    except Exception as error:
        if place.has(current):
            place.service.restart()
        told = "nothing was removed, the limit could not be released: %s" % described(error)["msg"]
        raise FaultError(told) from None
    # The next removal completes this one: it has nothing to release, and finds our directory last.
    forget(place.of("current"))
    place.remove_boot_line()
    told = "the limit is released" if able and state else "no limit was released"
    for path in (place.at(above + NAME) for above in ("run/", "data/log/", "data/")):
        if not eventually(lambda path=path: cleared(path), LOG_ENDS_S):  # such as a mount
            raise FaultError("%s, but %s is still there" % (told, path))
    return {"changed": True, "state": "removed", "msg": told + ", nothing is left on the device"}


CHANGES = {f.__name__: f for f in (apply, rollback, remove)}
VERBS = {"probe": probe, "discover": discover, **dict.fromkeys(CHANGES, change)}


def activate(place, new, request):
    """Switch, restart, judge; confirm or go back. ``pending`` stands while it is undecided."""
    before = place.status() or {}
    # What runs already is only repaired, and stays.
    current = place.current()
    back = new if current == new else older(place, new) or unwhole(place, current, new)
    if back:
        place.link("releases/" + back, "back")
    put(place.of("pending"), json.dumps({"to": new, "back": back}) + "\n")
    try:
        place.link("releases/" + new, "current")
        place.service.restart()
        judge(place, new, before, request)
        signal.alarm(WORK_S)  # the decision has its own time, whatever used up the rest
        place.note("confirmed", new)
        forget(place.of("back"), place.of("pending"))
        return {"changed": True, "state": "confirmed", "id": new, "msg": "healthy"}
    except Exception as error:
        signal.alarm(WORK_S)
        told = described(error)["msg"] + go_back(place, new, back)
    state = "failed" if back == new == current else "rolled back"
    return {"changed": True, "failed": True, "state": state, "id": back, "msg": told}


def settle(place):
    """Go back from an activation that was interrupted; we hold the lock, so nobody decides it."""
    if not os.path.exists(place.of("pending")):
        return None
    undecided = json.loads(read(place.of("pending")))
    told = undecided["to"] + " was undecided" + go_back(place, undecided["to"], undecided["back"])
    state = "confirmed" if undecided["back"] else "rolled back"
    return {"changed": True, "state": state, "id": undecided["back"], "msg": told}


def go_back(place, new, back):
    """Point ``current`` back and run it, or nothing where nothing was; say which in words."""
    if back is None:
        forget(place.of("current"))
    elif os.path.lexists(place.of("back")):
        os.replace(place.of("back"), place.of("current"))  # needs no space: made beforehand
        sync(place.base)
    else:
        place.link("releases/" + back, "current")
    try:
        if back:
            place.service.restart()
        else:
            place.service.remove()
            place.remove_boot_line()
    finally:
        forget(place.of("pending"))
        with contextlib.suppress(OSError):  # a full disk takes no list
            place.note("failed", new)
    if back is None:
        return "; nothing was installed before, and nothing runs now"
    speaks = eventually(lambda: (place.status() or {}).get("pid") == place.service.state()[0])
    silent = "" if speaks else ", whose agent tells no status yet"
    if back == new:
        return "; it is left running" + silent
    known = back in place.listed("confirmed")
    return "; back to %s%s%s" % (back, "" if known else " (new limit)", silent)


def older(place, new, rollback=None):
    """The release to go back to from ``new``: what runs, else the newest confirmed that is whole.

    One who asks for a rollback wants other code, and may want the higher limit with it.

    Never with a higher limit than ``new`` has: where that is tighter, the old code gets it in a
    release of its own, made and checked before anything is switched.
    """
    for old in filter(None, [place.current(), *place.listed("confirmed")[::-1]]):
        same = commit_of(old) == commit_of(new) if rollback else old == new
        if same or drifted(place, old):
            continue
        configs = [place.config(i) for i in (old, new)]
        tight = tighter(*configs)
        if tight == configs[0] or (rollback and rollback["higher_limit"]):
            return old
        config = json.dumps(tight, indent=2, sort_keys=True) + "\n"
        return place.stage(commit_of(old), files_in(place.release(old)), config)
    return None


def unwhole(place, current, new):
    """What runs, where it was changed by somebody and nothing else is here: better than nothing."""
    if not place.has(current):
        return None
    with contextlib.suppress(ValueError, AttributeError):
        config = place.config(current)
        if tighter(config, place.config(new)) == config:
            return current
    drift = drifted(place, current)
    raise FaultError("what runs was changed (%s), and nothing is here to go back to" % drift)


def tighter(old, new):
    """The old configuration with whatever limits more in the new one."""
    was, now = ({key: c.get(key, DEFAULTS[key]) for key in DEFAULTS} for c in (old, new))
    tight = dict(was)
    for key in ("max_multiplus_output_w", "max_grid_export_w", "min_output_limit_w"):
        tight[key] = min((c[key] for c in (was, now) if c[key] is not None), default=None)
    if tight["max_multiplus_output_w"] is not None:
        floor_w = min(tight["min_output_limit_w"], tight["max_multiplus_output_w"])
        tight["min_output_limit_w"] = floor_w
    # Where it is not given, it is the export limit or the floor.
    without = tight["max_grid_export_w"] or tight["min_output_limit_w"]
    given = [c["failsafe_limit_w"] for c in (was, now)]
    tight["failsafe_limit_w"] = min(given, key=lambda w: without if w is None else w)
    strict = [(PER_PHASE.index(c["per_phase"]), c["phase_count"]) for c in (was, now)]
    if strict[1] > strict[0]:
        tight.update(per_phase=now["per_phase"], phase_count=now["phase_count"])
    tight["stored_backstop"] = was["stored_backstop"] or now["stored_backstop"]
    tight["dry_run"] = was["dry_run"] and now["dry_run"]
    return dict(old, **{key: tight[key] for key in DEFAULTS if tight[key] != was[key]})


def judge(place, new, before, request):
    """Watch the new release until it is healthy; else the fault is the last one seen."""
    deadline = time.monotonic() + request["health_s"]
    fault, good, starts, last_pid, first_ticks, since = None, 0, 0, None, None, 0.0
    while time.monotonic() < deadline:
        time.sleep(1)
        pid = place.service.state()[0]
        status = place.status() or {}
        if pid != last_pid:
            starts += pid is not None
            # By this clock: the one that svstat counts by may be set back.
            good, last_pid, first_ticks, since = 0, pid, None, time.monotonic()
        if starts > CRASHES:
            raise FaultError("it crashes: started %d times" % starts)
        if pid is None or status.get("pid") != pid:
            fault, good = "no status from the running agent", 0
            continue
        ticks = status.get("counters", {}).get("ticks", 0)
        first_ticks = ticks if first_ticks is None else first_ticks
        fault = unhealthy(status, new, before, request["allowed_reasons"])
        good = good + 1 if fault is None else 0
        if good >= GOOD_IN_A_ROW and time.monotonic() - since >= STABLE_S and ticks > first_ticks:
            return
    raise FaultError(fault or "its status is not renewed")


def unhealthy(status, new, before, allowed_reasons):
    """Why a status of the agent is not good enough, or ``None``."""
    if status.get("commit") != commit_of(new):
        return "the agent reports the commit %s" % status.get("commit")
    state, reason = status.get("state"), status.get("reason") or "no reason given"
    if state in ("starting", "stopping"):
        return "the agent is still %s" % state
    # What was so before is not the fault of this release.
    bad = before.get("enforceable") is False or before.get("state") == "failsafe"
    if reason.startswith(tuple(allowed_reasons)) or (bad and before.get("reason") == reason):
        return None
    if not status.get("dry_run") and not status.get("enforceable"):
        return "not enforceable: %s" % reason
    if state == "failsafe" or status.get("inverter_output_w") is None:
        return "no fresh measurement: %s" % reason
    return None


def run_program(directory, seconds, *arguments):
    """Run a release's own program and return what it prints; its last line is the fault."""
    try:
        code, told = run("./export-limiter", *arguments, cwd=directory, timeout=seconds)
    except subprocess.TimeoutExpired:
        raise FaultError("%s took longer than %d s" % (arguments[0], seconds)) from None
    if code:
        raise FaultError("%s: %s" % (arguments[0], (told.strip().splitlines() or [code])[-1]))
    return told


# The detached worker


def in_worker(place, request, work, seconds):
    """Do the work in a process of its own session, and relay its verdict.

    A repeat of a request, as ssh sends it after a lost link, gets the first verdict.
    """
    verdict = place.at("run/%s/verdicts/%s" % (NAME, request["id"]))
    signal.alarm(seconds + WORK_S)
    child = os.fork()
    if not child:
        # Without a terminal and without the link's descriptors.
        os.setsid()
        null = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(null, descriptor)
        os.nice(10)
        _work(place, request, work, seconds, verdict)
        os._exit(0)
    ended = False
    while True:
        ended = ended or os.waitpid(child, os.WNOHANG)[0] == child
        reply = read(verdict)
        if reply:
            return json.loads(reply)
        if ended and place.holder() != request["id"]:
            if place.lock(request["id"]) is None:
                settle(place)
            raise FaultError("the worker was killed, and what it had not confirmed is undone")
        time.sleep(0.1)


def _work(place, request, work, seconds, verdict):
    """Leave a verdict, unless there is one or another worker is at this very request."""
    signal.alarm(seconds)
    try:
        if request.get("portal_id") not in ("", None, place.portal_id()):
            raise FaultError("this is %s, not %s" % (place.portal_id(), request["portal_id"]))
        holder = place.lock(request["id"])
        if os.path.exists(verdict) or holder == request["id"]:
            return
        if holder is not None and not eventually(lambda: place.lock(request["id"]) is None, BUSY_S):
            raise FaultError("another activation is at work on this device")
        signal.alarm(seconds)
        reply = work(place, request)
    except Exception as error:
        reply = described(error)
    signal.alarm(READ_S)  # who hangs here would hold the lock for ever
    directory = os.path.dirname(verdict)
    os.makedirs(directory, exist_ok=True)
    told = [os.path.join(directory, name) for name in os.listdir(directory)]
    forget(*sorted(told, key=os.path.getmtime)[: 1 - KEPT])
    put(verdict, json.dumps(reply))


# Where things are


class Place:
    """The installation on this device; ``root`` is another directory in tests."""

    def __init__(self, root=""):
        self.root = root
        self.base = self.at("data/" + NAME)
        # Venus OS never has systemd; a host built to run its programs may.
        own_build = not os.path.exists(self.at("opt/victronenergy"))
        systemd = own_build and os.path.isdir(self.at("run/systemd/system"))
        self.service = Systemd(self) if systemd else Daemontools(self)

    def at(self, path):
        """An absolute path of the device."""
        return self.root + "/" + path

    def of(self, name):
        """A path of the installation."""
        return os.path.join(self.base, name)

    def release(self, ident, *path):
        """A release's directory, or a file in it."""
        return os.path.join(self.base, "releases", ident, *path)

    def current(self):
        """The id of the release that runs, or ``None``."""
        with contextlib.suppress(OSError):
            return os.path.basename(os.readlink(self.of("current")))
        return None

    def has(self, ident):
        """Whether a release is here; ``None`` is none."""
        return ident is not None and os.path.isdir(self.release(ident))

    def config(self, ident):
        """A release's configuration."""
        return json.loads(read(self.release(ident, "config.json")))

    def listed(self, name):
        """The ids in one of the lists, oldest first."""
        return read(self.of(name)).split()

    def note(self, name, ident, without=None):
        """Append an id to a list, which stays bounded."""
        ids = [known for known in self.listed(name) if known not in (ident, without)][1 - KEPT :]
        put(self.of(name), "".join(known + "\n" for known in [*ids, ident]))

    def portal_id(self):
        """The VRM portal id by which a site is known."""
        return read(self.at("data/venus/unique-id")).strip()

    def status(self):
        """What the agent last said of itself, or ``None``."""
        with contextlib.suppress(ValueError):
            return json.loads(read(self.at("run/%s/status.json" % NAME)))
        return None

    def history(self):
        """What the agent keeps of the last day and of the days before, in columns.

        Numbers are differences to the one before: over a slow link that is half of the rows. What
        can't be read is left out.
        """
        told = {}
        with contextlib.suppress(AttributeError, KeyError, TypeError, ValueError):
            for path, rows in HISTORY.items():
                kept = json.loads(read(self.at(path)) or "{}")
                columns = [differences(each) for each in zip(*kept.get(rows, []))]
                told.update(kept, **{rows: columns})
                told[rows + "_fields"] = told.pop("fields", [])
        return dict(told, monotonic_s=time.monotonic(), clock_s=time.time())

    def foreign(self):
        """What lies in our directory and is not ours."""
        names = os.listdir(self.base) if os.path.isdir(self.base) else []
        # What was being replaced when the power went is ours as well.
        return sorted(name for name in names if name.partition(".new")[0] not in OURS)

    def link(self, target, name):
        """Point a symbolic link elsewhere, durably and in one step."""
        new = self.of(name + ".new")
        forget(new)
        os.symlink(target, new)
        os.replace(new, self.of(name))
        sync(self.base)

    def lock(self, request):
        """Take the lock for a request until we end, or say for which request it is held."""
        if not os.path.isdir(self.of("releases")):
            os.makedirs(self.of("releases"))
            sync(self.base)
            sync(self.at("data"))
        lock = os.open(self.of("lock"), os.O_RDWR | os.O_CREAT, 0o644)
        if not eventually(lambda: locked(lock, fcntl.LOCK_EX), LOOK_S):
            return read(self.of("lock"))
        os.pwrite(lock, request.encode(), 0)
        return None

    def holder(self):
        """The request for which the lock is held, or ``None``."""
        with contextlib.suppress(FileNotFoundError), open(self.of("lock")) as file:
            if not locked(file, fcntl.LOCK_SH):
                return file.read()
        return None

    def stage(self, commit, files, config):
        """Write a release beside the others, durably, and have it check its configuration.

        Returns its id.
        """
        ident = "%s-%s" % (commit, digest(config)[:12])
        beside, place = self.release(".new"), self.release(ident)
        shutil.rmtree(beside, ignore_errors=True)
        fill(beside, dict(files, **{"MANIFEST": manifest(files), "config.json": config}))
        verify(beside, ident)
        if os.path.lexists(place):
            exchange(beside, place)
            shutil.rmtree(beside)
        else:
            os.rename(beside, place)
        sync(self.of("releases"))
        run_program(place, 30, "check-config", "config.json")
        return ident

    def prune(self):
        """Keep what runs, what to go back to, and the last one that failed."""
        now = commit_of(self.current() or "")
        others = [ident for ident in self.listed("confirmed") if commit_of(ident) != now]
        undecided = json.loads(read(self.of("pending")) or "{}")
        kept = {self.current(), *others[-1:], *self.listed("failed")[-1:], *undecided.values()}
        bytecode = self.at("run/%s/pyc%s" % (NAME, self.of("releases")))
        for directory in (self.of("releases"), bytecode):
            for ident in os.listdir(directory) if os.path.isdir(directory) else ():
                if ident not in kept:
                    shutil.rmtree(os.path.join(directory, ident), ignore_errors=True)

    def boot_line(self):
        """Whether rc.local starts the agent at boot, in one word or two."""
        path = self.at("data/rc.local")
        if BOOT_LINE in read_bytes(path).split(b"\n"):
            return "ours" if os.access(path, os.X_OK) else "not executable"
        return "disabled" if os.path.exists(path + ".disabled") else "absent"

    def add_boot_line(self):
        """One line after the shebang of rc.local; every other byte stays."""
        if self.boot_line() in ("ours", "disabled"):
            return  # a user or Victron's support disabled it: reported, never undone
        path = os.path.realpath(self.at("data/rc.local"))
        found = os.path.exists(path)
        mode = stat.S_IMODE(os.stat(path).st_mode) if found else 0o755
        lines = (read_bytes(path) if found else b"#!/bin/sh\n").split(b"\n")
        if BOOT_LINE not in lines:
            put(self.of("rc.local.before"), "%o" % mode if found else "absent")
            lines.insert(1 if lines[0].startswith(b"#!") else 0, BOOT_LINE)
        put(path, b"\n".join(lines), mode | 0o111)

    def remove_boot_line(self):
        """Undo :meth:`add_boot_line` byte for byte."""
        path = os.path.realpath(self.at("data/rc.local"))
        lines = read_bytes(path).split(b"\n")
        if BOOT_LINE not in lines:
            return
        lines.remove(BOOT_LINE)
        found = read(self.of("rc.local.before"))
        if found == "absent" and lines == [b"#!/bin/sh", b""]:
            forget(path)
        else:
            mode = int(found, 8) if found.isdigit() else stat.S_IMODE(os.stat(path).st_mode)
            put(path, b"\n".join(lines), mode)


class Daemontools:
    """The service under svscan: built in RAM, linked from /service, never re-pointed."""

    def __init__(self, place):
        self.place = place
        self.built = place.at("run/service/" + NAME)
        self.boot = place.boot_line

    def state(self):
        """Process id and seconds of uptime, both ``None`` when it is not up."""
        told = re.search(r": up \(pid (\d+)\) (\d+) seconds", run("svstat", self.built)[1])
        return (int(told.group(1)), int(told.group(2))) if told else (None, None)

    def restart(self):
        """Run ``current``, building the service where there is none."""
        before = self.state()[0]
        forget(self.place.at("run/%s/started" % NAME))  # this is no quick end of a crash loop
        self.place.add_boot_line()
        run("sh", self.place.of("current/boot"), self.place.root)
        if not eventually(self._known):
            raise FaultError("svscan did not take up the service in %d s" % RESTART_S)
        run("svc", "-u" if before is None else "-t", self.built)
        if before and not eventually(lambda: self.state()[0] != before):
            run("svc", "-k", self.built)

    def remove(self):
        """Unlinked first, or svscan starts it again; its directory last."""
        forget(self.place.at("service/" + NAME))
        for stop in ("-dx", "-dxk"):
            run("svc", stop, self.built, self.built + "/log")
            if eventually(lambda: not self._known()):
                break
        shutil.rmtree(self.built, ignore_errors=True)

    def _known(self):
        return run("svok", self.built)[0] == 0


class Systemd:
    """The same service under systemd, on hosts that are no Venus OS."""

    def __init__(self, place):
        self.place = place
        self.unit = place.at("etc/systemd/system/%s.service" % NAME)

    def state(self):
        """Process id and seconds of uptime, both ``None`` when it is not up."""
        asked = "--property=ActiveState,ExecMainPID,ExecMainStartTimestampMonotonic"
        told = dict(re.findall(r"(\w+)=(\w+)", run("systemctl", "show", NAME, asked)[1]))
        # Between a crash and the next start it is the process that crashed, as svstat tells it.
        if told.get("ActiveState") not in ("active", "activating") or told["ExecMainPID"] == "0":
            return None, None
        started_s = int(told["ExecMainStartTimestampMonotonic"]) / 1e6
        return int(told["ExecMainPID"]), time.monotonic() - started_s

    def boot(self):
        """Whether it is started at boot."""
        return "ours" if run("systemctl", "is-enabled", NAME)[0] == 0 else "absent"

    def restart(self):
        """Run ``current``, installing the unit where it is another."""
        put(self.unit, read(self.place.of("current/service/systemd.service")))
        for command in (["daemon-reload"], ["enable", NAME], ["restart", NAME]):
            code, told = run("systemctl", *command)
            if code:
                raise FaultError("systemctl %s: %s" % (command[0], told.strip()[-200:]))

    def remove(self):
        """Stop it and forget its unit."""
        run("systemctl", "disable", "--now", NAME)
        forget(self.unit)
        run("systemctl", "daemon-reload")


# Releases as files


def fill(directory, files):
    """Write files into a new directory, durably; a path that would leave it is refused."""
    for path, text in files.items():
        if not PATH.fullmatch(path) or not {"", ".", ".."}.isdisjoint(path.split("/")):
            raise FaultError("%r is a path that is never deployed" % path)
        target = os.path.join(directory, path)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        write(target, text, mode_of(path))
    for each, _, _ in os.walk(directory, topdown=False):
        sync(each)


def files_in(directory):
    """What a MANIFEST lists, as content by path; whatever is no file or directory is drift."""
    found = {}
    for here, directories, names in os.walk(directory):
        for path in (os.path.join(here, name) for name in directories + names):
            kind = os.lstat(path).st_mode
            if stat.S_ISREG(kind):
                found[os.path.relpath(path, directory)] = read_bytes(path)
            elif not stat.S_ISDIR(kind):
                raise FaultError("%s is not a file" % os.path.relpath(path, directory))
    return {path: found[path] for path in found if path not in BESIDE_MANIFEST}


def commit_of(ident):
    """The commit of a release."""
    return ident.partition("-")[0]


def drifted(place, ident):
    """What has drifted of a release, or nothing."""
    try:
        verify(place.release(ident), ident)
    except FaultError as fault:
        return str(fault)
    return ""


def verify(directory, ident):
    """Refuse a release where a file is not as its MANIFEST says, or anything is beside."""
    files = files_in(directory)
    listing = read(os.path.join(directory, "MANIFEST"))
    wanted = {line[66:]: line[:64] for line in listing.splitlines() if line[64:66] == "  "}
    for path in sorted({*files, *wanted}):
        if path not in files or digest(files[path]) != wanted.get(path):
            word = "missing" if path not in files else "changed"
            raise FaultError("%s is %s" % (path, word if path in wanted else "foreign"))
        if stat.S_IMODE(os.stat(os.path.join(directory, path)).st_mode) != mode_of(path):
            raise FaultError("%s has another mode" % path)
    if manifest(files) != listing:
        raise FaultError("MANIFEST is changed")
    config = read_bytes(os.path.join(directory, "config.json"))
    if digest(config)[:12] != ident.rpartition("-")[2]:
        raise FaultError("config.json is changed")


def manifest(files):
    """``sha256sum -c`` form, in C order."""
    return "".join("%s  %s\n" % (digest(files[path]), path) for path in sorted(files))


def mode_of(path):
    """Modes go by name."""
    return 0o755 if os.path.basename(path) in EXECUTABLES else 0o644


def differences(column):
    """A column with each number as the difference to the number before; all else as it is."""
    told, before = [], 0
    for value in column:
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        told.append(round(value - before, 3) if number else value)
        before = value if number else before
    return told


def digest(content):
    """Its sha256 in hexadecimal digits."""
    return hashlib.sha256(as_bytes(content)).hexdigest()


# Files and programs


def as_bytes(content):
    """Text as it stands in a file."""
    return content if isinstance(content, bytes) else content.encode()


def read_bytes(path):
    """The content of a file; nothing where there is none."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError), open(path, "rb") as file:
        return file.read()
    return b""


def read(path):
    """The same as text."""
    return read_bytes(path).decode("utf-8", "replace")


def write(path, content, mode=0o644):
    """Write a file and have it on the flash."""
    with open(path, "wb") as file:
        file.write(as_bytes(content))
        file.flush()
        os.fchmod(file.fileno(), mode)
        os.fsync(file.fileno())


def put(path, content, mode=0o644):
    """Replace a file: wholly old or wholly new, whenever the power goes."""
    write(path + ".new", content, mode)
    os.replace(path + ".new", path)
    sync(os.path.dirname(path))


def cleared(directory):
    """Delete a directory; whether it is gone. A log that is ending may still write into its own."""
    shutil.rmtree(directory, ignore_errors=True)
    return not os.path.lexists(directory)


def forget(*paths):
    """Remove files or links, durably."""
    for path in paths:
        if os.path.lexists(path):
            os.unlink(path)
            sync(os.path.dirname(path))


def sync(directory):
    """Have a directory's entries on the flash."""
    descriptor = os.open(directory, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


def locked(file, how):
    """Take a lock, if nobody holds one against it; whether that was so."""
    with contextlib.suppress(BlockingIOError):
        fcntl.flock(file, how | fcntl.LOCK_NB)
        return True
    return False


def exchange(one, other):
    """Swap two directories in one step (renameat2 with RENAME_EXCHANGE)."""
    here = -100
    if ctypes.CDLL(None, use_errno=True).renameat2(here, one.encode(), here, other.encode(), 2):
        raise OSError(ctypes.get_errno(), "exchange", one)


def run(*command, cwd=None, timeout=30):
    """The exit code of a program and what it printed; 127 where it does not exist."""
    try:
        done = subprocess.run(command, cwd=cwd, timeout=timeout, capture_output=True)
    except FileNotFoundError as error:
        return 127, str(error)
    return done.returncode, (done.stdout + done.stderr).decode("utf-8", "replace")


def eventually(holds, seconds=RESTART_S):
    """Wait for something to become true; whether it did."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


if __name__ == "__main__":
    main()
