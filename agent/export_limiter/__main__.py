"""The command line: ``run``, ``status``, ``discover``, ``check-config``, ``release``."""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import stat
import sys
import time
from typing import Any, Dict, Optional, Tuple

from export_limiter import victron
from export_limiter.audience import Audience
from export_limiter.config import METHOD_NAMES, Config, ConfigError, floor_w, parse, summary
from export_limiter.files import FoundValues, StatusFile, own_release, read_json
from export_limiter.inverters import Site
from export_limiter.methods import Methods
from export_limiter.quiet import Quiet
from export_limiter.recording import Recording
from export_limiter.release import Release
from export_limiter.screen import discover_report, discover_screen, running, status_screen
from export_limiter.service import Service
from export_limiter.status import Identity

# What needs D-Bus is imported where it is used: a controller checks configurations without it.

RUNTIME_DIR = "/run/venus-export-limiter"
STATE_DIR = "/data/venus-export-limiter"
SETTLE_S = 0.3  # for the services on the bus to be known before the first tick
DISCOVER_S = 3.0
LEAVE_S = 0.1
HANG_S = 15  # a tick that does not come for so long ends the process; supervision restarts it

log = logging.getLogger("export_limiter")


def main() -> int:
    """Run one verb; 0 good, 1 failed, 2 bad configuration or usage."""
    options = _parser().parse_args()
    _log_to_stderr(options.debug)
    try:
        return int(options.verb(options))
    except ConfigError as error:
        for fault in error.faults:
            print("%s: %s" % (options.config, fault), file=sys.stderr)
        return 2
    except ConnectionError as error:
        print(error, file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="export-limiter", description=__doc__)
    verbs = parser.add_subparsers(metavar="VERB", required=True)

    def verb(name: str, function: Any, text: str) -> argparse.ArgumentParser:
        sub = verbs.add_parser(name, help=text, description=text)
        sub.set_defaults(verb=function)
        sub.add_argument("--debug", action="store_true", help="log every step")
        sub.add_argument("--runtime-dir", default=RUNTIME_DIR, help="where status.json is")
        sub.add_argument("--state-dir", default=STATE_DIR, help="where state.json is")
        sub.add_argument("--bus", choices=("system", "session"), default="system")
        sub.add_argument("--json", action="store_true", help="for programs")
        return sub

    run = verb("run", _run, "Limit the inverters until told to stop.")
    run.add_argument("--config", required=True)
    verb("status", _status, "Show what the running agent does.")
    verb("discover", _discover, "Show the inverters and what each method could do; no writes.")
    check = verb("check-config", _check_config, "Check configuration files; needs no D-Bus.")
    check.add_argument("files", nargs="+", metavar="FILE")
    release = verb("release", _release, "Walk the cap up and put back what was found.")
    release.add_argument("--config", required=True)
    release.add_argument("--within", type=_seconds, default=300.0, metavar="SECONDS")
    return parser


def _seconds(text: str) -> float:
    """A time limit; argparse tells what is wrong with another one."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 1.0 <= seconds <= 86400.0:  # NaN never is
        raise argparse.ArgumentTypeError("%r is not allowed; 1 to 86400 s" % text)
    return seconds


def _log_to_stderr(debug: bool) -> None:
    """A full log pipe must never hold up the control loop: lines are lost instead."""
    if stat.S_ISFIFO(os.fstat(sys.stderr.fileno()).st_mode):
        os.set_blocking(sys.stderr.fileno(), False)
    level = logging.DEBUG if debug else logging.INFO
    logging.basicConfig(level=level, format="%(levelname)s %(message)s", stream=sys.stderr)


def _read_config(path: str) -> Config:
    try:
        with open(path, encoding="utf-8") as file:
            return parse(file.read())
    except OSError as error:
        raise ConfigError(("can't be read: %s" % error.strerror,)) from None
    except UnicodeDecodeError:
        raise ConfigError(("is no UTF-8 text",)) from None


def _check_config(options: argparse.Namespace) -> int:
    good = True
    for path in options.files:
        try:
            _read_config(path)
        except ConfigError as error:
            good = False
            for fault in error.faults:
                print("%s: %s" % (path, fault), file=sys.stderr)
    return 0 if good else 2


def _status(options: argparse.Namespace) -> int:
    status = _last_status(options)
    if status is None:
        print("no status: the agent has not run since the last boot", file=sys.stderr)
        return 1
    heard = _heard(status)
    print(json.dumps(status, indent=2) if options.json else status_screen(status, *heard))
    return 0 if running(status, *heard) else 1


def _last_status(options: argparse.Namespace) -> Optional[Dict[str, Any]]:
    return read_json(os.path.join(options.runtime_dir, "status.json"))


def _heard(status: Dict[str, Any]) -> Tuple[float, bool]:
    """How long ago the status was told, s, and whether the process that told it is there still."""
    return time.time() - status["updated_at"], os.path.exists("/proc/%d" % status["pid"])


def _run(options: argparse.Namespace) -> int:
    from export_limiter.bus import Bus, connect
    from export_limiter.loop import Loop
    from export_limiter.published import Published

    config = _read_config(options.config)
    status_file = StatusFile(options.runtime_dir)
    identity = Identity(*own_release(), os.getpid(), time.time())
    loop = Loop()
    signal.alarm(HANG_S)  # connecting may hang, too
    connection = connect(options.bus)
    published = Published(connection, identity.version)

    quiet = Quiet(time.monotonic)
    if not options.debug:
        logging.getLogger().handlers[0].addFilter(quiet)
    log.info("version %s, %s", identity.version, summary(config))
    recording = Recording(config, options.runtime_dir, options.state_dir, time.monotonic())
    bus = Bus(connection, loop.guard)
    audience = Audience(bus, published, status_file, recording)
    found = FoundValues(options.state_dir)
    clocks = time.monotonic, time.time
    service = Service(config, identity, bus, found, audience.tell, *clocks, status_file.earlier)
    bus.start(service)

    def stop() -> None:
        quiet.start_over()
        service.stop()
        leave()

    def leave() -> None:
        if service.writer.busy:  # our next run must know the cap that is in force
            loop.after(LEAVE_S, leave)
        elif config.on_stop == "keep" or config.dry_run:
            loop.end(0)
        else:
            release = Release(config, service.site, bus, found, status_file.last, released)
            loop.every(config.control_interval_s, release.tick)

    def released(error: Optional[str]) -> None:
        if error:
            log.error("not released: %s", error)
        loop.end(1 if error else 0)

    loop.on_stop(stop)
    tick_s = config.control_interval_s
    loop.after(SETTLE_S, lambda: loop.every(tick_s, service.tick, hang_s=HANG_S))
    return loop.run()


def _discover(options: argparse.Namespace) -> int:
    from export_limiter.bus import Bus, connect
    from export_limiter.loop import Loop

    loop = Loop()
    site = Site()
    Bus(connect(options.bus), loop.guard).start(site)
    loop.after(DISCOVER_S, lambda: loop.end(0))
    loop.run()
    methods, now = Methods(METHOD_NAMES, floor_w(Config())), time.monotonic()
    status = _last_status(options)
    if status and not running(status, *_heard(status)):
        status = None
    for each in (status or {}).get("given_up", ()):  # an older release's agent does not tell
        methods.fail(each["method"], "given up by the running agent: %s" % each["reason"], now)
    report = discover_report(site, methods.verdicts(site, now), status)
    print(json.dumps(report, indent=2) if options.json else discover_screen(report))
    return 0 if report["inverters"] else 1


def _release(options: argparse.Namespace) -> int:
    from export_limiter.bus import Bus, connect
    from export_limiter.loop import Loop

    config = _read_config(options.config)
    loop = Loop()
    connection = connect(options.bus)
    if connection.name_has_owner(victron.OWN_SERVICE):
        print("the agent is running: stop it first", file=sys.stderr)
        return 1
    site = Site()
    bus = Bus(connection, loop.guard)

    def finished(error: Optional[str]) -> None:
        if error:
            print(error, file=sys.stderr)
        loop.end(1 if error else 0)

    found = FoundValues(options.state_dir)
    release = Release(config, site, bus, found, _last_status(options) or {}, finished)
    bus.start(site)
    loop.after(DISCOVER_S, lambda: loop.every(config.control_interval_s, release.tick))
    too_long = "not released within %.0f s" % options.within
    loop.after(options.within, lambda: release.give_up(too_long))
    return loop.run()


if __name__ == "__main__":
    sys.exit(main())
