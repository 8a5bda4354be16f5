"""Method calls that never wait: asynchronous, each with a timeout of its own, without proxies.

So nothing is introspected, and a peer that does not answer costs nobody's time.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, Optional, Tuple

from export_limiter import victron
from export_limiter.values import unwrap

Guard = Callable[[Callable[..., Any]], Callable[..., Any]]
Done = Callable[[Any, Optional[str]], None]  # (value, None), or (None, the error's name)

DAEMON = "org.freedesktop.DBus"
DAEMON_PATH = "/org/freedesktop/DBus"
DAEMON_TIMEOUT_S = 5.0
LIMITS_EXCEEDED = "org.freedesktop.DBus.Error.LimitsExceeded"
FULL_QUEUE = "full message queue"  # the daemon's words on one peer that has long read nothing


class CallsSpentError(RuntimeError):
    """The bus takes no more calls on this connection; a new one starts its count anew."""


class Calls:
    """Calls on one connection; ``guard`` wraps callbacks so that a failing one ends the process."""

    def __init__(self, connection: Any, guard: Guard) -> None:
        self._connection = connection
        self._guard = guard

    def get(self, name: str, path: str, timeout_s: float, done: Done) -> None:
        """GetValue; ``done`` gets a plain value, ``None`` for none."""

        def got(value: Any, error: Optional[str]) -> None:
            done(None if error else unwrap(value), error)

        call = name, path, victron.BUS_ITEM, "GetValue", "", ()
        self._connection.call_async(*call, **self._handlers(got, timeout_s))

    def set(self, name: str, path: str, value: Any, timeout_s: float, done: Done) -> None:
        """SetValue of a variant; ``done`` gets the code."""
        call = name, path, victron.BUS_ITEM, "SetValue", "v", (value,)
        self._connection.call_async(*call, **self._handlers(done, timeout_s))

    def ask_daemon(self, method: str, names: Tuple[str, ...], done: Done) -> None:
        """A method of the bus itself, of some names."""
        call = DAEMON, DAEMON_PATH, DAEMON, method, "s" * len(names), names
        self._connection.call_async(*call, **self._handlers(done, DAEMON_TIMEOUT_S))

    def _handlers(self, done: Done, timeout_s: float) -> Dict[str, Any]:
        """What becomes of an answer; the process ends where the bus takes no more of our calls."""
        return {
            "reply_handler": self._guard(lambda *values: done(values[0] if values else None, None)),
            "error_handler": self._guard(lambda error: done(None, _name_of(error))),
            "timeout": timeout_s,
        }


def _name_of(error: Any) -> str:
    name = getattr(error, "get_dbus_name", lambda: None)()
    if name == LIMITS_EXCEEDED:
        if FULL_QUEUE not in str(error):
            raise CallsSpentError(str(error))
        return victron.NO_ANSWER[0]
    return str(name or error)
