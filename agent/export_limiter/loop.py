"""The GLib main loop: timers, the stop signal, and the guard around every callback."""

from __future__ import annotations

import os
import signal
import traceback
from typing import Any, Callable

from dbus.mainloop.glib import DBusGMainLoop
from gi.repository import GLib


class Loop:
    """Runs until :meth:`end`; a callback that fails ends the process with a traceback."""

    def __init__(self) -> None:
        DBusGMainLoop(set_as_default=True)
        self._loop = GLib.MainLoop()
        self._code = 0

    def run(self) -> int:
        """The exit code given to :meth:`end`."""
        self._loop.run()
        return self._code

    def end(self, code: int) -> None:
        """Stop after the callback that is running now."""
        self._code = code
        self._loop.quit()

    def every(self, seconds: float, callback: Callable[[], None], hang_s: int = 0) -> None:
        """Call at once and then each ``seconds``; with ``hang_s``, die when that long without."""

        def again() -> bool:
            if hang_s:
                signal.alarm(hang_s)
            callback()
            return True

        GLib.idle_add(self._once(again))
        GLib.timeout_add(round(seconds * 1000), self.guard(again))

    def after(self, seconds: float, callback: Callable[[], None]) -> None:
        """Call once."""
        GLib.timeout_add(round(seconds * 1000), self._once(callback))

    def on_stop(self, callback: Callable[[], None]) -> None:
        """Call on SIGTERM and SIGINT, between two other callbacks."""
        for number in (signal.SIGTERM, signal.SIGINT):
            GLib.unix_signal_add(GLib.PRIORITY_HIGH, number, self._once(callback))

    def _once(self, callback: Callable[[], Any]) -> Callable[[], bool]:
        guarded = self.guard(callback)
        return lambda: bool(guarded()) and False  # GLib calls again what returns true

    def guard(self, callback: Callable[..., Any]) -> Callable[..., Any]:
        """GLib and dbus-python only print what a callback raises; we end instead of limping."""

        def guarded(*arguments: Any) -> Any:
            try:
                return callback(*arguments)
            except Exception:
                try:
                    traceback.print_exc()
                finally:  # a full log pipe must not keep us
                    os._exit(1)

        return guarded
