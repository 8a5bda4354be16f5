"""A TCP proxy in the controller's network that counts, and that can be as slow as a mobile link."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import NamedTuple

from gx.network import CONTROLLER, Network

CHUNK = 4096
CONNECT_S = 5.0


class Link(NamedTuple):
    """A link: the time there and back again, and its rate in each direction, None for any."""

    round_trip_s: float = 0.0
    bits_per_s: float | None = None


class Proxy:
    """Stands for a device: what connects to (`CONTROLLER`, `port`) gets to `target`.

    `up` and `down` are the bytes carried to and from the device, without those of TCP and IP.
    """

    def __init__(self, network: Network, target: tuple[str, int], link: Link | None = None) -> None:
        self.up = self.down = self.connections = 0
        self._network = network
        self._target = target
        self._link = link or Link()
        self._listening = network.listen()
        self.address = CONTROLLER
        self.port: int = self._listening.getsockname()[1]
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Proxy:
        self._thread.start()
        serving = asyncio.start_server(self._serve, sock=self._listening, limit=CHUNK)
        self._server = asyncio.run_coroutine_threadsafe(serving, self._loop).result()
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def variables(self) -> dict[str, object]:
        """Return the inventory's variables for a host that is reached through this."""
        return {"ansible_host": self.address, "ansible_port": self.port}

    async def _end(self) -> None:
        self._server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        await asyncio.sleep(self._link.round_trip_s)  # TCP's own handshake
        connect = self._network.connect
        with contextlib.closing(writer):
            upstream = await asyncio.to_thread(connect, *self._target, CONNECT_S)
            upstream.setblocking(False)
            far_reader, far_writer = await asyncio.open_connection(sock=upstream, limit=CHUNK)
            with contextlib.closing(far_writer), contextlib.suppress(ConnectionError):
                await asyncio.gather(
                    self._carry(reader, far_writer, "up"), self._carry(far_reader, writer, "down")
                )

    async def _carry(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, way: str
    ) -> None:
        """Carry one direction: a chunk leaves when those before it have, and arrives later."""
        loop = asyncio.get_running_loop()
        under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        delivering = asyncio.create_task(_deliver(under_way, writer))
        free_at_s = 0.0
        try:
            while chunk := await reader.read(CHUNK):
                setattr(self, way, getattr(self, way) + len(chunk))
                free_at_s = max(free_at_s, loop.time())
                if self._link.bits_per_s:
                    free_at_s += 8 * len(chunk) / self._link.bits_per_s
                await under_way.put((free_at_s + self._link.round_trip_s / 2, chunk))
                await asyncio.sleep(free_at_s - loop.time())  # so that a sender feels the rate
        finally:
            await under_way.put((loop.time() + self._link.round_trip_s / 2, b""))
            await delivering


async def _deliver(
    under_way: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter
) -> None:
    """Write each chunk at its time; the empty one is the end."""
    loop = asyncio.get_running_loop()
    while True:
        at_s, chunk = await under_way.get()
        await asyncio.sleep(at_s - loop.time())
        if not chunk:
            if writer.can_write_eof():
                writer.write_eof()
            return
        writer.write(chunk)
        await writer.drain()
