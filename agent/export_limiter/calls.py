"""Method calls that never wait: asynchronous, each with a timeout of its own, without proxies.

So nothing is introspected, and a peer that does not answer costs nobody's time. It is asked for one
value at a time, until it does: the daemon counts the calls that were never answered, whatever our
timeouts, and at some number (128 by libdbus' defaults, 50000 on Venus OS) takes no further call of
ours to anybody. So what hangs must not be polled on; it gets no answer of its own, at once and from
here.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import Any, Callable, Dict, Optional, Sequence, Tuple

from export_limiter import victron
from export_limiter.values import unwrap

Guard = Callable[[Callable[..., Any]], Callable[..., Any]]
Done = Callable[[Any, Optional[str]], None]  # (value, None), or (None, the error's name)
Key = Tuple[str, str]  # service and path
Answers = Callable[[Dict[Key, Any]], None]

log = logging.getLogger(__name__)

DAEMON = "org.freedesktop.DBus"
DAEMON_PATH = "/org/freedesktop/DBus"
DAEMON_TIMEOUT_S = 5.0
LIMITS_EXCEEDED = "org.freedesktop.DBus.Error.LimitsExceeded"
FULL_QUEUE = "full message queue"  # the daemon's words on one peer that has long read nothing
PROBE_S = 10.0  # an answer that comes within it is taken at once
LONGEST_PROBE_S = 60.0  # each takes twice as long as the one before, so a day costs 1500 calls


class CallsSpentError(RuntimeError):
    """The bus takes no more calls on this connection; a new one starts its count anew."""


class _Peer:
    """One owner of a name."""

    def __init__(self) -> None:
        self.answers = 0
        self.hangs_at: Optional[str] = None  # the path that was not answered
        self.probing = False
        self.probe_s = PROBE_S


class Calls:
    """Calls on one connection; ``guard`` wraps callbacks so that a failing one ends the process.

    ``recovered`` is told of a service that answers again.
    """

    def __init__(self, connection: Any, guard: Guard, recovered: Callable[[str], None]) -> None:
        self._connection = connection
        self._guard = guard
        self._recovered = recovered
        self._peers: Dict[str, _Peer] = {}

    def get(self, name: str, path: str, timeout_s: float, done: Done) -> None:
        """GetValue; ``done`` gets a plain value, ``None`` for none."""

        def got(value: Any, error: Optional[str]) -> None:
            done(None if error else unwrap(value), error)

        self._ask(name, path, "GetValue", (), timeout_s, got)

    def set(self, name: str, path: str, value: Any, timeout_s: float, done: Done) -> None:
        """SetValue of a variant; ``done`` gets the code."""
        self._ask(name, path, "SetValue", (value,), timeout_s, done)

    def read(self, wanted: Sequence[Key], timeout_s: float, done: Answers) -> None:
        """GetValue of paths together; ``done`` gets those that answered in time, once."""
        self._probe()
        answers: Dict[Key, Any] = {}
        waiting = len(wanted)
        if not waiting:
            done(answers)
            return

        def answered(key: Key, value: Any, error: Optional[str]) -> None:
            nonlocal waiting
            if error is None:
                answers[key] = value
            waiting -= 1
            if not waiting:
                done(answers)

        for key in wanted:
            self.get(key[0], key[1], timeout_s, partial(answered, key))

    def ask_daemon(self, method: str, names: Tuple[str, ...], done: Done) -> None:
        """A method of the bus itself, of some names."""
        call = DAEMON, DAEMON_PATH, DAEMON, method, "s" * len(names), names
        self._send(call, DAEMON_TIMEOUT_S, done)

    def forget(self, name: str) -> None:
        """The name has another owner, or none."""
        self._peers.pop(name, None)

    def _ask(
        self,
        name: str,
        path: str,
        method: str,
        values: Tuple[Any, ...],
        timeout_s: float,
        done: Done,
    ) -> None:
        peer = self._peers.setdefault(name, _Peer())
        if peer.hangs_at is not None:
            done(None, victron.NO_ANSWER[0])
            return
        answers = peer.answers

        def answered(value: Any, error: Optional[str]) -> None:
            if error not in victron.NO_ANSWER:
                peer.answers += 1
            elif peer.answers == answers and peer.hangs_at is None:  # nor was any other answered
                log.warning("%s does not answer", name)
                peer.hangs_at = path
            done(value, error)

        call = name, path, victron.BUS_ITEM, method, "v" * len(values), values
        self._send(call, timeout_s, answered)

    def _probe(self) -> None:
        """Ask each peer that hangs for one value, unless that is still under way."""
        for name, peer in list(self._peers.items()):
            if peer.hangs_at is not None and not peer.probing:
                peer.probing = True
                call = name, peer.hangs_at, victron.BUS_ITEM, "GetValue", "", ()
                self._send(call, peer.probe_s, partial(self._probed, name, peer))

    def _probed(self, name: str, peer: _Peer, _value: Any, error: Optional[str]) -> None:
        peer.probing = False
        peer.probe_s = min(2 * peer.probe_s, LONGEST_PROBE_S)
        if error in victron.NO_ANSWER:
            return
        log.info("%s answers again", name)
        self.forget(name)
        self._recovered(name)

    def _send(self, call: Tuple[Any, ...], timeout_s: float, done: Done) -> None:
        """Send it; the process ends where the bus takes no more of our calls."""
        self._connection.call_async(
            *call,
            reply_handler=self._guard(lambda *values: done(values[0] if values else None, None)),
            error_handler=self._guard(lambda error: done(None, _name_of(error))),
            timeout=timeout_s,
        )


def _name_of(error: Any) -> str:
    name = getattr(error, "get_dbus_name", lambda: None)()
    if name == LIMITS_EXCEEDED:
        if FULL_QUEUE not in str(error):
            raise CallsSpentError(str(error))
        return victron.NO_ANSWER[0]
    return str(name or error)
