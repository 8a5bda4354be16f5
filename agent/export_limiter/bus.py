"""The D-Bus client: discover, subscribe, read and write, and never wait.

Every call is asynchronous with a timeout of its own; no proxy objects, hence no introspection.
Signals are subscribed to before a service is scanned, and a scan never overwrites a signal.
"""

from __future__ import annotations

import logging
from typing import Any, Callable, Dict, Mapping, Optional, Protocol, Sequence, Set

import dbus
import dbus.lowlevel

from export_limiter import victron
from export_limiter.calls import DAEMON, Answers, Calls, Guard, Key
from export_limiter.values import changes_in, wrap

Refused = Callable[[Optional[str]], None]  # told why; ``None`` if it was not

log = logging.getLogger(__name__)

LOCAL = "org.freedesktop.DBus.Local"  # what libdbus itself tells of the connection
SCAN_TIMEOUT_S = 5.0


class Listener(Protocol):
    """Who is told what the bus says."""

    def appeared(self, name: str) -> None:
        """A service has come or has a new owner."""

    def vanished(self, name: str) -> None:
        """A service has lost its name."""

    def learned(self, name: str, values: Mapping[str, Any]) -> None:
        """Values by path; ``None`` is no value."""


class _Service:
    """One owner of a name; ``known`` holds its values while it is still being scanned."""

    def __init__(self, owner: str) -> None:
        self.owner = owner
        self.absent: Set[str] = set()
        self.known: Optional[Dict[str, Any]] = {}


class Bus:
    """One connection; ``guard`` wraps callbacks so that a failing one ends the process."""

    def __init__(self, connection: Any, guard: Guard) -> None:
        self._connection = connection
        self._calls = Calls(connection, guard, self._scan)
        self._guard = guard
        self._services: Dict[str, _Service] = {}
        self._matched: Set[str] = set()

    def start(self, listener: Listener) -> None:
        """Subscribe to services coming and going, then look at those that are there."""
        self._listener = listener
        self._connection.add_message_filter(self._guard(self._on_message))
        self._match(
            "type='signal',sender='%s',member='NameOwnerChanged',arg0namespace='%s'"
            % (DAEMON, victron.NAMESPACE)
        )
        self._calls.ask_daemon("ListNames", (), self._on_names)

    def read(self, wanted: Sequence[Key], timeout_s: float, done: Answers) -> None:
        """Read paths together, once a tick; ``done`` gets those that answered in time, once."""
        self._calls.read(wanted, timeout_s, done)

    def write(self, name: str, path: str, value: Any, timeout_s: float, done: Refused) -> None:
        """Set a value, read it back, and tell ``done`` why it was refused; ``None`` if it holds.

        SetValue answers 0 for success; velib's 1 and 2, and localsettings' -1, are refusals.
        """

        def written(code: Any, error: Optional[str]) -> None:
            if error is not None:
                done(error)
            elif code != 0:
                done("SetValue returned %s" % code)
            elif isinstance(value, str):
                done(None)
            else:
                self._calls.get(name, path, timeout_s, compare)

        def compare(now: Any, error: Optional[str]) -> None:
            holds = isinstance(now, (int, float)) and abs(now - value) <= 1
            holds = holds or (now is None and value < 0)  # some versions show "no limit" so
            done(error if error is not None or holds else "reads back as %s" % now)

        self._calls.set(name, path, wrap(value), timeout_s, written)

    def rescan(self) -> None:
        """Ask again for paths that were absent: some are made later, with no signal."""
        for name, service in self._services.items():
            if service.known is None:
                self._ask_for(name, sorted(service.absent - set(victron.LEGACY_PATHS)))

    # Services

    def _on_names(self, names: Any, error: Optional[str]) -> None:
        if error is not None:
            raise RuntimeError("the bus does not list its names: %s" % error)
        for name in filter(self._watched, map(str, names)):
            self._find_owner(name)

    def _find_owner(self, name: str) -> None:
        def found(owner: Any, error: Optional[str]) -> None:
            if error is None and name not in self._services:
                self._on_owner(name, str(owner))

        self._calls.ask_daemon("GetNameOwner", (name,), found)

    def _on_owner(self, name: str, owner: str) -> None:
        self._calls.forget(name)
        before = self._services.pop(name, None)
        if before is not None and before.known is None:
            self._listener.vanished(name)
        if not owner:
            return
        self._services[name] = _Service(owner)
        # The daemon takes a well-known name here, so one rule outlives every change of owner.
        if name not in self._matched:
            self._matched.add(name)
            self._match("type='signal',sender='%s',interface='%s'" % (name, victron.BUS_ITEM))
        self._scan(name)

    def _match(self, rule: str) -> None:
        self._connection.add_match_string_non_blocking(rule)

    def _scan(self, name: str) -> None:
        """Ask for all that we want of a service: when it comes, and when it answers again."""
        if name in self._services:
            self._ask_for(name, victron.WATCHED[victron.service_class(name)])

    def _ask_for(self, name: str, paths: Sequence[str]) -> None:
        """One after the other; a service is shown to the listener once it was asked for all."""
        service = self._services[name]
        remaining = list(paths)

        def answered(value: Any, error: Optional[str]) -> None:
            if self._services.get(name) is not service:
                return
            path = remaining.pop(0)
            if error is not None:
                service.absent.add(path)
            elif path not in (service.known or {}):  # what a signal said is newer
                self._learn(name, {path: value})
            ask()

        def ask() -> None:
            if remaining:
                self._calls.get(name, remaining[0], SCAN_TIMEOUT_S, answered)
            elif service.known is not None:
                known, service.known = service.known, None
                self._listener.appeared(name)
                self._listener.learned(name, known)

        ask()

    def _watched(self, name: str) -> bool:
        return victron.service_class(name) in victron.WATCHED

    # Messages

    def _on_message(self, _connection: Any, message: Any) -> int:
        if message.get_type() == dbus.lowlevel.MESSAGE_TYPE_SIGNAL:
            self._on_signal(message.get_interface(), message.get_member(), message)
        return int(dbus.lowlevel.HANDLER_RESULT_NOT_YET_HANDLED)

    def _on_signal(self, interface: str, member: str, message: Any) -> None:
        sender = message.get_sender()
        if interface == victron.BUS_ITEM:
            self._on_values(sender, message)
        elif member == "NameOwnerChanged" and sender == DAEMON:
            name, _, owner = message.get_args_list()
            if self._watched(name):
                self._on_owner(str(name), str(owner))
        elif member == "Disconnected" and interface == LOCAL:
            log.error("the bus is gone")  # libdbus now ends the process; supervision restarts it

    def _on_values(self, sender: str, message: Any) -> None:
        for name in [n for n, service in self._services.items() if service.owner == sender]:
            self._learn(name, changes_in(message))

    def _learn(self, name: str, values: Mapping[str, Any]) -> None:
        watched = victron.WATCHED[victron.service_class(name)]
        mine = {path: value for path, value in values.items() if path in watched}
        service = self._services[name]
        service.absent.difference_update(mine)
        if service.known is None:
            self._listener.learned(name, mine)
        else:
            service.known.update(mine)


def connect(bus: str) -> Any:
    """The system or session bus of libdbus, which honours ``DBUS_SYSTEM_BUS_ADDRESS``.

    Raises :class:`ConnectionError` where it can't be reached.
    """
    try:
        return dbus.SystemBus() if bus == "system" else dbus.SessionBus()
    except dbus.exceptions.DBusException as error:
        text = error.get_dbus_message()
        raise ConnectionError("the %s bus can't be reached: %s" % (bus, text)) from None
