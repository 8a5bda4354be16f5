"""Method calls that never wait: asynchronous, each with a timeout of its own, without proxies.

So nothing is introspected, and a peer that does not answer costs nobody's time.
"""

from __future__ import annotations

from typing import Any, Callable, Optional, Tuple

from export_limiter import victron
from export_limiter.values import unwrap

Done = Callable[[Any, Optional[str]], None]  # (value, None), or (None, the error's name)


class Calls:
    """Calls on one connection; ``guard`` wraps callbacks so that a failing one ends the process."""

    def __init__(
        self, connection: Any, guard: Callable[[Callable[..., Any]], Callable[..., Any]]
    ) -> None:
        self._connection = connection
        self._guard = guard

    def get(self, name: str, path: str, timeout_s: float, done: Done) -> None:
        """GetValue; ``done`` gets a plain value, ``None`` for none."""

        def got(value: Any, error: Optional[str]) -> None:
            done(None if error else unwrap(value), error)

        self.call(name, path, victron.BUS_ITEM, "GetValue", "", (), timeout_s, got)

    def match(self, rule: str) -> None:
        """Ask the daemon for signals."""
        self._connection.add_match_string_non_blocking(rule)

    def call(
        self,
        name: str,
        path: str,
        interface: str,
        method: str,
        signature: str,
        arguments: Tuple[Any, ...],
        timeout_s: float,
        done: Done,
    ) -> None:
        """Call any method."""
        guarded = self._guard(done)
        self._connection.call_async(
            name,
            path,
            interface,
            method,
            signature,
            arguments,
            reply_handler=lambda *values: guarded(values[0] if values else None, None),
            error_handler=lambda error: guarded(None, _error_text(error)),
            timeout=timeout_s,
        )


def _error_text(error: Any) -> str:
    name = getattr(error, "get_dbus_name", lambda: None)()
    return str(name or error)
