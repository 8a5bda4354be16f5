"""The device program: what the controller asks of one GX device.

It is sent with its input on standard input and needs nothing but Python 3.8 and the standard
library that Venus OS kept. One verb a run: ``probe`` looks and changes nothing; ``apply``,
``rollback`` and ``remove`` are done by a detached worker, so that a lost link changes nothing. One
framed line on standard output is the reply; the exit code is never 255 nor a signal, both of which
Ansible would take for a lost link and repeat.

A release is a directory named by its commit and the hash of its configuration, so code and
configuration switch as one. Everything that can fail is done before ``current`` is switched; what
is undecided stands in ``pending``, and whoever finds it without the lock being held goes back.
"""

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
import zlib

NAME = "venus-export-limiter"
MARKER = "venus-export-limiter-reply:"
BOOT = "/data/%s/current/boot" % NAME
BOOT_LINE = "[ -f %s ] && sh %s >/dev/null 2>&1 & # %s" % (BOOT, BOOT, NAME)
EXECUTABLES = ("run", "export-limiter")
BESIDE_MANIFEST = ("MANIFEST", "config.json")
PATH = re.compile(r"[A-Za-z0-9._/-]+")
# The agent's own default where a configuration does not say.
DEFAULT_LIMITS = {"max_multiplus_output_w": 30000, "max_grid_export_w": None}

READ_S = 60  # for all of the input to arrive over a slow link
WORK_S = 120  # of the worker, beside the time allowed for health or for a gradual release
RESTART_S = 10  # from TERM to KILL; also for svscan to see a new service
STABLE_S = 5  # a crash loop of daemontools restarts every second
GOOD_IN_A_ROW = 3
CRASHES = 4
KEPT_IDS = 20


class FaultError(Exception):
    """What was asked for can't be done; one line says why."""


class TimedOutError(FaultError):
    """The deadline passed."""


def main():
    """Read the request, do it, reply."""
    signal.signal(signal.SIGALRM, _timed_out)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.alarm(READ_S)
    request = {}
    try:
        request = read_request(sys.stdin.buffer)
        signal.alarm(0)
        reply = VERBS[request["verb"]](request)
    except Exception as error:
        reply = described(error)
    print("\n%s%s:%s" % (MARKER, request.get("id", ""), json.dumps(reply, sort_keys=True)))
    sys.stdout.flush()
    return 0


def read_request(stream):
    """All of the input, before anything is written."""
    length = int(stream.readline() or -1)
    packed = stream.read(length)
    if length < 0 or len(packed) != length:
        raise FaultError("the request was cut off after %d of %d bytes" % (len(packed), length))
    return json.loads(zlib.decompress(packed))


def described(error):
    """The reply for an error: a fault in its own words, a mistake of ours with its place."""
    if isinstance(error, FaultError):
        return {"failed": True, "state": "failed", "msg": str(error)}
    where = traceback.extract_tb(error.__traceback__)[-1]
    told = "%s: %s (line %s of the device program)" % (type(error).__name__, error, where.lineno)
    return {"failed": True, "state": "failed", "msg": told}


def _timed_out(_number, _frame):
    raise TimedOutError("the deadline passed")


# Verbs


def probe(request):
    """What this device is and what runs on it; writes nothing."""
    place = Place(request.get("root", ""))
    current = place.current()
    found = {
        "portal_id": place.portal_id(),
        "firmware": read(place.at("opt/victronenergy/version")).partition("\n")[0] or None,
        "machine": read(place.at("etc/venus/machine")).strip() or None,
        "python": "%d.%d.%d" % sys.version_info[:3],
        "init": "daemontools",
        "installed": os.path.lexists(place.base),
        "current": current,
        "confirmed": place.listed("confirmed")[-1:],
        "failed": place.listed("failed")[-1:],
        "undecided": os.path.exists(place.of("pending")),
        "boot": place.boot_state(),
        "load": os.getloadavg()[0],
        "free_kb": free_kb(place.at("data")),
        "first_version": os.path.exists(place.at("data/dbus-limit")),
        "status": place.status(),
        "config": None,
        "sha256": None,
        "drift": None,
    }
    found["pid"], found["uptime_s"] = place.service.state()
    if current:
        found["config"] = read(place.release(current, "config.json"))
        try:
            found["sha256"] = verified(place.release(current), current)
        except FaultError as fault:
            found["drift"] = str(fault)
    return found


def apply(request):
    """Put a release with its configuration in place and keep it only if it is healthy."""
    place = Place(request.get("root", ""))
    return in_worker(place, request, _apply, WORK_S + 2 * request["health_s"])


def remove(request):
    """Release the limit and leave the device as it was before the first deployment."""
    place = Place(request.get("root", ""))
    if not os.path.lexists(place.base):
        return {"changed": False, "state": "removed", "msg": "nothing is installed"}
    return in_worker(place, request, _remove, WORK_S + request["release_s"])


VERBS = {"probe": probe, "apply": apply, "remove": remove}


# What the worker does


def _apply(place, request):
    settle(place)
    need_kb = request["min_free_kb"] + 3 * sum(map(len, request["files"].values())) // 1024
    if free_kb(place.at("data")) < need_kb:
        raise FaultError(
            "/data has %d kB free, %d kB needed" % (free_kb(place.at("data")), need_kb)
        )
    try:
        new = place.stage(request["commit"], request["files"], request["config"])
        sha256 = verified(place.release(new), new)
        if sha256 != request["sha256"]:
            raise FaultError(
                "the release has the sha256 %s, pinned is %s" % (sha256, request["sha256"])
            )
        check_config(place, new)
        back = prepare_going_back(place, new)
        return activate(place, new, back, request)
    finally:
        place.prune()


def activate(place, new, back, request):
    """Switch, restart, judge; confirm or go back. ``pending`` stands while it is undecided."""
    before = place.status()
    if back:
        place.link("releases/" + back, place.of("back"))
    write(place.of("pending"), json.dumps({"to": new, "back": back}) + "\n")
    try:
        place.link("releases/" + new, place.of("current"))
        place.add_boot_line()
        place.service.restart()
        fault = judge(place, new, before, request)
    except Exception as error:
        fault = described(error)["msg"]
    signal.alarm(WORK_S)  # the decision has its own time, whatever used up the rest
    if fault is None:
        place.note("confirmed", new)
        forget(place.of("back"), place.of("pending"))
        return {"changed": True, "state": "confirmed", "id": new, "msg": "healthy"}
    return dict(go_back(place, new, back), failed=True, msg=fault)


def settle(place):
    """Go back from an activation that was interrupted; we hold the lock, so nobody decides it."""
    if os.path.exists(place.of("pending")):
        undecided = json.loads(read(place.of("pending")))
        go_back(place, undecided["to"], undecided["back"])


def go_back(place, new, back):
    """Point ``current`` back and run it; without anything to go back to, run nothing."""
    try:
        if back:
            place.link("releases/" + back, place.of("current"))
            place.service.restart()
        else:
            forget(place.of("current"))
            place.service.remove()
            place.remove_boot_line()
    finally:
        place.note("failed", new)
        forget(place.of("back"), place.of("pending"))
    return {"changed": True, "state": "rolled back", "id": back}


def prepare_going_back(place, new):
    """The release to go back to, never with a higher limit than the new one; ``None`` if none.

    That is the code running now. Where the new configuration has a tighter limit, the old code
    gets it in a release of its own, made and checked before anything is switched.
    """
    candidates = [place.current()] + place.listed("confirmed")[::-1]
    for old in candidates:
        if old in (None, new):
            continue
        try:
            verified(place.release(old), old)
        except (FaultError, OSError):
            continue
        config = json.loads(read(place.release(old, "config.json")))
        tight = tighter(config, json.loads(read(place.release(new, "config.json"))))
        if tight == config:
            return old
        files = {path: read(place.release(old, path)) for path in listed_in(place.release(old))}
        old = place.stage(old.partition("-")[0], files, canonical(tight))
        check_config(place, old)
        return old
    return None


def tighter(old, new):
    """The old configuration with the lower of both configurations' limits."""
    config = dict(old)
    for key, default in DEFAULT_LIMITS.items():
        limits = [c.get(key, default) for c in (old, new)]
        given = [limit for limit in limits if limit is not None]
        if given and min(given) != limits[0]:
            config[key] = min(given)
    output, floor = config.get("max_multiplus_output_w"), config.get("min_output_limit_w")
    if output is not None and floor is not None and floor > output:
        config["min_output_limit_w"] = output
    return config


def judge(place, new, before, request):
    """Watch the new release; ``None`` once it is healthy, else the last fault seen."""
    deadline = time.monotonic() + request["health_s"]
    good, crashes, last_pid, first_ticks = 0, 0, None, None
    fault = "the service did not start"
    while time.monotonic() < deadline:
        time.sleep(1)
        pid, uptime_s = place.service.state()
        status = place.status() or {}
        if pid != last_pid:
            crashes += last_pid is not None
            good, last_pid, first_ticks = 0, pid, None
        if crashes >= CRASHES:
            return "it crashes: the service restarted %d times" % crashes
        ticks = status.get("counters", {}).get("ticks", 0)
        if pid is None or status.get("pid") != pid:
            fault, good = "no status from the running agent", 0
            continue
        first_ticks = ticks if first_ticks is None else first_ticks
        fault = unhealthy(status, new, before or {}, request["allowed_reasons"])
        good = good + 1 if fault is None else 0
        if good >= GOOD_IN_A_ROW and uptime_s >= STABLE_S and ticks > first_ticks:
            return None
    return fault or "the status is not renewed"


def unhealthy(status, new, before, allowed_reasons):
    """Why a status of the agent is not good enough, or ``None``."""
    if status.get("commit") != new.partition("-")[0]:
        return "the agent reports the commit %s" % status.get("commit")
    state, reason = status.get("state"), status.get("reason") or ""
    if state in ("starting", "stopping"):
        return "the agent is still %s" % state
    if any(reason.startswith(allowed) for allowed in allowed_reasons):
        return None
    if not status.get("dry_run") and not status.get("enforceable"):
        # Already so before: not the fault of this release.
        if before.get("enforceable") is False and before.get("reason") == reason:
            return None
        return "not enforceable: %s" % (reason or "no reason given")
    if state == "failsafe" or status.get("inverter_output_w") is None:
        return "no fresh measurement: %s" % (reason or state)
    return None


def _remove(place, request):
    settle(place)
    current = place.current()
    place.service.remove()
    if current and request["release_limit"]:
        try:
            run_agent(place, current, request["release_s"], "release", "--config", "config.json")
        except FaultError as fault:
            place.service.restart()
            raise FaultError(
                "the limit could not be released, nothing was removed: %s" % fault
            ) from None
    place.remove_boot_line()
    for path in ("data/" + NAME, "data/log/" + NAME, "run/" + NAME):
        shutil.rmtree(place.at(path), ignore_errors=True)
    return {"changed": True, "state": "removed", "msg": "the limit is released, all is removed"}


def check_config(place, release):
    """Have a release judge its own configuration."""
    run_agent(place, release, 30, "check-config", "config.json")


def run_agent(place, release, seconds, *arguments):
    """Run a release's own program; its last line is the fault."""
    directory = place.release(release)
    program = os.path.join(directory, "export-limiter")
    try:
        done = subprocess.run(
            [program, *arguments],
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=seconds,
        )
    except subprocess.TimeoutExpired:
        raise FaultError("%s took longer than %d s" % (arguments[0], seconds)) from None
    if done.returncode:
        lines = done.stdout.decode("utf-8", "replace").strip().splitlines()
        raise FaultError("%s: %s" % (arguments[0], lines[-1] if lines else done.returncode))


# The detached worker


def in_worker(place, request, work, seconds):
    """Do the work in a process of its own session, and relay its verdict.

    A repeat of a request, as ssh sends it after a lost link, gets the first verdict.
    """
    verdict = place.at("run/%s/verdicts/%s" % (NAME, request["id"]))
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        _detach(reader)
        reply = _work(place, request, work, seconds, verdict)
        if reply:
            os.write(writer, json.dumps(reply).encode())
        os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)
    signal.alarm(seconds + WORK_S)
    with os.fdopen(reader, "rb") as pipe:
        reply = pipe.read()
    while not reply:
        reply = read(verdict)
        if not reply and place.holder() is None:
            raise FaultError("the worker was killed: the device goes back when its service starts")
        time.sleep(0.2)
    return json.loads(reply)


def _detach(reader):
    """Become a process without a terminal, a parent or the link's descriptors."""
    os.setsid()
    if os.fork():
        os._exit(0)
    os.close(reader)
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    os.chdir("/")
    os.nice(10)


def _work(place, request, work, seconds, verdict):
    """The verdict; ``None`` where another worker is at the same request."""
    signal.alarm(seconds)
    try:
        holder = place.lock(request["id"])
        if holder == request["id"]:
            return None
        if holder is not None:
            raise FaultError("another activation is at work on this device")
        if request.get("portal_id") not in ("", None, place.portal_id()):
            raise FaultError("this is %s, not %s" % (place.portal_id(), request["portal_id"]))
        reply = json.loads(read(verdict) or "null") or work(place, request)
    except Exception as error:
        reply = described(error)
    signal.alarm(0)
    if os.path.isdir(place.at("run/" + NAME)):
        os.makedirs(os.path.dirname(verdict), exist_ok=True)
        put(verdict, json.dumps(reply))
    return reply


# Where things are


class Place:
    """The installation on this device; ``root`` is another directory in tests."""

    def __init__(self, root=""):
        self.root = root
        self.base = self.at("data/" + NAME)
        self.service = Daemontools(self)
        self._lock = None

    def at(self, path):
        """An absolute path of the device."""
        return self.root + "/" + path

    def of(self, name):
        """A path of the installation."""
        return os.path.join(self.base, name)

    def release(self, ident, path=""):
        """A release's directory, or a file in it."""
        return os.path.join(self.base, "releases", ident, path).rstrip("/")

    def current(self):
        """The id of the release that runs, or ``None``."""
        try:
            return os.path.basename(os.readlink(self.of("current")))
        except OSError:
            return None

    def listed(self, name):
        """The ids in one of the lists, oldest first."""
        return read(self.of(name)).split()

    def note(self, name, ident):
        """Append an id to a list, which stays bounded."""
        ids = [known for known in self.listed(name) if known != ident][1 - KEPT_IDS :]
        put(self.of(name), "".join(known + "\n" for known in [*ids, ident]))

    def portal_id(self):
        """The VRM portal id by which a site is known."""
        return read(self.at("data/venus/unique-id")).strip() or None

    def status(self):
        """What the agent last said of itself, or ``None``."""
        try:
            return json.loads(read(self.at("run/%s/status.json" % NAME)))
        except ValueError:
            return None

    def link(self, target, path):
        """Make a symbolic link, durably and at once."""
        forget(path + ".new")
        os.symlink(target, path + ".new")
        os.replace(path + ".new", path)
        sync(os.path.dirname(path))

    def lock(self, request):
        """Take the lock for a request, or say for which request it is held."""
        os.makedirs(self.of("releases"), exist_ok=True)
        self._lock = os.open(self.of("lock"), os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return read(self.of("lock")) or "unknown"
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, request.encode(), 0)
        return None

    def holder(self):
        """The request for which the lock is held, or ``None``."""
        try:
            with open(self.of("lock")) as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return read(self.of("lock")) or "unknown"
        except FileNotFoundError:
            pass
        return None

    def stage(self, commit, files, config):
        """Write a release beside the others, durably; return its id."""
        ident = "%s-%s" % (commit, digest(config)[:12])
        beside = self.release(".new")
        shutil.rmtree(beside, ignore_errors=True)
        for path in files:
            if not PATH.fullmatch(path) or not {"", ".", ".."}.isdisjoint(path.split("/")):
                raise FaultError("%r is a path that is never deployed" % path)
        for path, text in sorted(dict(files, **beside_manifest(files, config)).items()):
            target = os.path.join(beside, path)
            os.makedirs(os.path.dirname(target), exist_ok=True)
            write(target, text, mode_of(path))
        for directory, _, _ in os.walk(beside, topdown=False):
            sync(directory)
        verified(beside, ident)
        if os.path.lexists(self.release(ident)):
            exchange(beside, self.release(ident))
            shutil.rmtree(beside)
        else:
            os.rename(beside, self.release(ident))
        sync(self.of("releases"))
        return ident

    def prune(self):
        """Keep what runs, what to go back to, and the last one that failed."""
        current = self.current()
        others = [ident for ident in self.listed("confirmed") if ident != current]
        undecided = json.loads(read(self.of("pending")) or "{}")
        kept = {current, *others[-1:], *self.listed("failed")[-1:], *undecided.values()}
        for ident in os.listdir(self.of("releases")):
            if ident not in kept:
                shutil.rmtree(self.release(ident), ignore_errors=True)

    def boot_state(self):
        """Whether the agent is started at boot, in one word or two."""
        lines = read(self.at("data/rc.local")).split("\n")
        if BOOT_LINE in lines:
            return "ours" if os.access(self.at("data/rc.local"), os.X_OK) else "not executable"
        return "disabled" if os.path.exists(self.at("data/rc.local.disabled")) else "absent"

    def add_boot_line(self):
        """One line after the shebang of rc.local; every other byte stays."""
        if self.boot_state() in ("ours", "disabled"):
            return  # a user or Victron's support disabled it: reported, never undone
        path = os.path.realpath(self.at("data/rc.local"))
        before, mode = b"#!/bin/sh\n", 0o755
        if os.path.exists(path):
            before, mode = read_bytes(path), stat.S_IMODE(os.stat(path).st_mode)
            put(self.of("rc.local.before"), "%o" % mode)
        else:
            put(self.of("rc.local.before"), "absent")
        line = BOOT_LINE.encode()
        if line not in before.split(b"\n"):
            shebang, newline, rest = before.partition(b"\n")
            if not before.startswith(b"#!"):
                before = line + b"\n" + before
            elif newline:
                before = shebang + newline + line + b"\n" + rest
            else:
                before = shebang + b"\n" + line
        put(path, before, mode | 0o111)

    def remove_boot_line(self):
        """Undo :meth:`add_boot_line` byte for byte."""
        path = os.path.realpath(self.at("data/rc.local"))
        content, line = read_bytes(path), BOOT_LINE.encode()
        if line not in content.split(b"\n"):
            return
        if line + b"\n" in content:
            content = content.replace(line + b"\n", b"", 1)
        else:
            content = content.replace(b"\n" + line, b"", 1)
        found = read(self.of("rc.local.before"))
        if found == "absent" and content == b"#!/bin/sh\n":
            forget(path)
        else:
            mode = int(found, 8) if found not in ("", "absent") else os.stat(path).st_mode & 0o7777
            put(path, content, mode)


class Daemontools:
    """The service under svscan: built in RAM, linked from /service, never re-pointed."""

    def __init__(self, place):
        self.place = place
        self.built = place.at("run/service/" + NAME)
        self.linked = place.at("service/" + NAME)

    def state(self):
        """Process id and seconds of uptime, both ``None`` when it is not up."""
        told = re.search(r": up \(pid (\d+)\) (\d+) seconds", run("svstat", self.built))
        return (int(told.group(1)), int(told.group(2))) if told else (None, None)

    def restart(self):
        """Run ``current``, building the service where there is none."""
        known = not call("svok", self.built)
        run("sh", self.place.of("current/boot"), self.place.root)
        if not eventually(lambda: not call("svok", self.built)):
            raise FaultError("svscan did not take up the service in %d s" % RESTART_S)
        before = self.state()[0]
        if not known or before is None:
            run("svc", "-u", self.built)
            return
        run("svc", "-t", self.built)
        if not eventually(lambda: self.state()[0] != before):
            run("svc", "-k", self.built)

    def remove(self):
        """Unlinked first, or svscan starts it again; its directory last."""
        forget(self.linked)
        if os.path.isdir(self.built):
            run("svc", "-dx", self.built, self.built + "/log")
            if not eventually(lambda: call("svok", self.built)):
                run("svc", "-k", self.built)
                eventually(lambda: call("svok", self.built))
            shutil.rmtree(self.built)


# Files and programs


def read_bytes(path):
    """The content of a file; nothing where there is none."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except (FileNotFoundError, NotADirectoryError):
        return b""


def read(path):
    """The same as text."""
    return read_bytes(path).decode("utf-8", "replace")


def write(path, content, mode=0o644):
    """Write a file and have it on the flash."""
    with open(path, "wb") as file:
        file.write(content if isinstance(content, bytes) else content.encode())
        file.flush()
        os.fchmod(file.fileno(), mode)
        os.fsync(file.fileno())


def put(path, content, mode=0o644):
    """Replace a file: wholly old or wholly new, whenever the power goes."""
    write(path + ".new", content, mode)
    os.replace(path + ".new", path)
    sync(os.path.dirname(path))


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


def exchange(one, other):
    """Swap two directories in one step (renameat2 with RENAME_EXCHANGE)."""
    here = -100
    if ctypes.CDLL(None, use_errno=True).renameat2(here, one.encode(), here, other.encode(), 2):
        raise OSError(ctypes.get_errno(), "exchange", one)


def digest(text):
    """Its sha256 in hexadecimal digits."""
    return hashlib.sha256(text if isinstance(text, bytes) else text.encode()).hexdigest()


def canonical(config):
    """A configuration's one text."""
    return json.dumps(config, indent=2, sort_keys=True) + "\n"


def mode_of(path):
    """Modes go by name."""
    return 0o755 if os.path.basename(path) in EXECUTABLES else 0o644


def beside_manifest(files, config):
    """The two files that are not in the MANIFEST."""
    lines = ["%s  %s\n" % (digest(files[path]), path) for path in sorted(files)]
    return {"MANIFEST": "".join(lines), "config.json": config}


def listed_in(directory):
    """The paths of a release's files, in C order; anything but files and directories is drift."""
    found = []
    for here, directories, names in os.walk(directory):
        for name in directories + names:
            path = os.path.join(here, name)
            kind = os.lstat(path).st_mode
            if not (stat.S_ISREG(kind) or stat.S_ISDIR(kind)):
                raise FaultError("%s is not a file" % os.path.relpath(path, directory))
            if stat.S_ISREG(kind):
                found.append(os.path.relpath(path, directory))
    return sorted(set(found) - set(BESIDE_MANIFEST))


def verified(directory, ident):
    """The sha256 of a release's MANIFEST, when every file is as it says and nothing is beside."""
    files = {path: read_bytes(os.path.join(directory, path)) for path in listed_in(directory)}
    listing = read(os.path.join(directory, "MANIFEST"))
    config = read_bytes(os.path.join(directory, "config.json"))
    wanted = dict(line.split("  ", 1)[::-1] for line in listing.splitlines())
    for path in sorted(set(files) | set(wanted)):
        if path not in files or path not in wanted or digest(files[path]) != wanted[path]:
            word = "foreign" if path not in wanted else "changed" if path in files else "missing"
            raise FaultError("%s is %s" % (path, word))
        if stat.S_IMODE(os.stat(os.path.join(directory, path)).st_mode) != mode_of(path):
            raise FaultError("%s has another mode" % path)
    if beside_manifest(files, "")["MANIFEST"] != listing:
        raise FaultError("MANIFEST is changed")
    if digest(config)[:12] != ident.rpartition("-")[2]:
        raise FaultError("config.json is changed")
    return digest(listing)


def free_kb(path):
    """What is free for us in the file system of a path."""
    about = os.statvfs(path)
    return about.f_bavail * about.f_frsize // 1024


def run(*command):
    """The output of a short command, whatever its exit code; nothing where it does not exist."""
    try:
        return subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        ).stdout.decode("utf-8", "replace")
    except FileNotFoundError:
        return ""


def call(*command):
    """The exit code of a short command."""
    return subprocess.call(command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def eventually(holds, seconds=RESTART_S):
    """Wait for something to become true; whether it did."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


if __name__ == "__main__":
    sys.exit(main())
