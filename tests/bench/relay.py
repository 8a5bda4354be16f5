"""A bus socket that counts: what passes between one program and the bus, by message type."""

from __future__ import annotations

import socket
import struct
import threading
from collections import Counter
from contextlib import suppress
from pathlib import Path
from types import TracebackType

TYPES = {1: "calls", 2: "answers", 3: "errors", 4: "signals"}
FIXED = 16  # of a header: up to and with the length of its fields
BLOCK = 65536


class Relay:
    """Listens at `address` and passes all on to a bus; `sent` and `received` are the program's."""

    def __init__(self, bus_socket: Path, socket_path: Path) -> None:
        self.address = f"unix:path={socket_path}"
        self.sent: Counter[str] = Counter()
        self.received: Counter[str] = Counter()
        self._bus_socket = str(bus_socket)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(socket_path))
        self._listener.listen()
        self._open = [self._listener]
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Relay:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for each in self._open:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def counts(self) -> tuple[Counter[str], Counter[str]]:
        """What was sent and received so far."""
        return self.sent.copy(), self.received.copy()

    def _accept(self) -> None:
        while True:
            try:
                program, _ = self._listener.accept()
            except OSError:
                return
            bus = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            bus.connect(self._bus_socket)
            self._open += [program, bus]
            ways = ((program, bus, self.sent, b"BEGIN\r\n"), (bus, program, self.received, b""))
            for way in ways:
                threading.Thread(target=_pass_on, args=way, daemon=True).start()


def _pass_on(
    source: socket.socket, target: socket.socket, counted: Counter[str], begin: bytes
) -> None:
    """Pass on until the end. The first lines are the handshake, which the program ends."""
    messages = _Messages(counted, begin)
    while True:
        try:
            block = source.recv(BLOCK)
            target.sendall(block)
        except OSError:
            return
        if not block:
            # Not close: the other direction still waits on this socket, and would for ever.
            with suppress(OSError):
                target.shutdown(socket.SHUT_WR)
            return
        messages.feed(block)


class _Messages:
    """Cuts a stream into messages by the lengths in their headers."""

    def __init__(self, counted: Counter[str], begin: bytes) -> None:
        self._counted = counted
        self._begin = begin
        self._shaking = True
        self._left = bytearray()

    def feed(self, block: bytes) -> None:
        self._left += block
        if self._shaking and not self._handshake_over():
            return
        while len(self._left) >= FIXED:
            order = "<" if self._left[:1] == b"l" else ">"
            body, _, fields = struct.unpack(order + "III", self._left[4:FIXED])
            length = FIXED + (fields + 7) // 8 * 8 + body
            if len(self._left) < length:
                return
            self._counted[TYPES.get(self._left[1], "other")] += 1
            self._counted["bytes"] += length
            del self._left[:length]

    def _handshake_over(self) -> bool:
        """The program ends with BEGIN; the bus' lines end before its first message."""
        if self._begin:
            at = self._left.find(self._begin)
            if at < 0:
                return False
            del self._left[: at + len(self._begin)]
        else:
            while b"\r\n" in self._left and self._left[:1] not in (b"l", b"B"):
                del self._left[: self._left.find(b"\r\n") + 2]
            if self._left[:1] not in (b"l", b"B"):
                return False
        self._shaking = False
        return True
