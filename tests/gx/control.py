"""The control socket: one JSON object per line in, one per line out, over a unix stream."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gi.repository import GLib

Answer = Callable[[dict[str, Any]], dict[str, Any]]

_CHUNK = 65536


class ControlSocket:
    """Listens at `path` in GLib's main loop and answers every line with `answer`."""

    def __init__(self, path: Path, answer: Answer) -> None:
        self._path = path
        self._answer = answer
        path.unlink(missing_ok=True)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(path))
        self._listener.listen()
        GLib.io_add_watch(self._listener.fileno(), GLib.PRIORITY_DEFAULT, GLib.IO_IN, self._accept)

    def close(self) -> None:
        """Stop listening and take the socket away."""
        self._listener.close()
        self._path.unlink(missing_ok=True)

    def _accept(self, _fd: int, _condition: int) -> bool:
        client, _ = self._listener.accept()
        pending = bytearray()

        def read(_fd: int, _condition: int) -> bool:
            chunk = client.recv(_CHUNK)
            pending.extend(chunk)
            while b"\n" in pending:
                line, _, rest = bytes(pending).partition(b"\n")
                pending[:] = rest
                client.sendall(self._reply(line))
            if not chunk:
                client.close()
            return bool(chunk)

        events = GLib.IO_IN | GLib.IO_HUP
        GLib.io_add_watch(client.fileno(), GLib.PRIORITY_DEFAULT, events, read)
        return True

    def _reply(self, line: bytes) -> bytes:
        try:
            request = json.loads(line)
        except ValueError as error:
            return _encoded({"ok": False, "error": f"not JSON: {error}"})
        return _encoded(self._answer(request))


def _encoded(answer: dict[str, Any]) -> bytes:
    return json.dumps(answer).encode() + b"\n"
