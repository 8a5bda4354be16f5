"""The simulated network: a bridge between the controller and the devices, in a namespace."""

import ctypes
import os
import socket
import threading
from pathlib import Path

from gx.namespaces import Namespaces

BRIDGE = "gx"
CONTROLLER = "192.0.2.1"  # TEST-NET-1 (RFC 5737): these addresses mean nothing outside
FIRST_HOST = 10
LAST_HOST = 254

_CLONE_NEWNET = 0x40000000
# In the device's network: its eth0, whose other end "gx<host>" goes to the bridge's network.
_PLUG = """
ip link set lo up
ip link add eth0 type veth peer name "$1" netns 1
ip link set eth0 address "$2"
ip address add "$3/24" dev eth0
ip link set eth0 up
"""


class Network:
    """A bridge, the controller's address on it and a cable to each device."""

    def __init__(self, namespaces: Namespaces) -> None:
        self.namespaces = namespaces

    def create(self) -> None:
        """Make the bridge and give the controller its address."""
        self.namespaces.run("ip", "link", "add", BRIDGE, "type", "bridge")
        self.namespaces.run("ip", "address", "add", f"{CONTROLLER}/24", "dev", BRIDGE)
        self.namespaces.run("ip", "link", "set", BRIDGE, "up")

    def plug(self, net: Path, host: int, portal_id: str) -> None:
        """Make a device's network, kept at the file `net`, and connect it."""
        net.touch()
        self.namespaces.run("unshare", f"--net={net}", "true")
        mac = ":".join(portal_id[i : i + 2] for i in range(0, 12, 2))
        cable = self._cable(host)
        self.namespaces.run("sh", "-ec", _PLUG, "plug", cable, mac, self.address(host), net=net)
        self.namespaces.run("ip", "link", "set", cable, "master", BRIDGE, "up")

    def unplug(self, net: Path) -> None:
        """Remove a device's network."""
        self.namespaces.run("umount", net)

    def set_link(self, host: int, up: bool) -> None:
        """Let the cable to a device carry packets or not; what was under way is lost."""
        self.namespaces.run("ip", "link", "set", self._cable(host), "up" if up else "down")

    def connect(self, address: str, port: int, timeout_s: float = 1.0) -> socket.socket:
        """Return a connection from the controller's network to a device."""
        connection = self._socket()
        connection.settimeout(timeout_s)
        try:
            connection.connect((address, port))
        except OSError:
            connection.close()
            raise
        return connection

    def listen(self) -> socket.socket:
        """Return a socket that listens at the controller's address, on a port that is free."""
        listening = self._socket()
        listening.bind((CONTROLLER, 0))
        listening.listen()
        return listening

    @staticmethod
    def address(host: int) -> str:
        """Return the address of the device with this number."""
        if not FIRST_HOST <= host <= LAST_HOST:
            raise ValueError(f"host number {host}: {FIRST_HOST} to {LAST_HOST}")
        return f"192.0.2.{host}"

    @staticmethod
    def _cable(host: int) -> str:
        return f"gx{host}"

    def _socket(self) -> socket.socket:
        """Make a socket that belongs to the controller's network.

        A network namespace is a thread's own, so a thread goes there and ends there.
        """
        made: list[socket.socket] = []

        def enter_and_make() -> None:
            handle = os.open(f"/proc/{self.namespaces.pid}/ns/net", os.O_RDONLY)
            try:
                if ctypes.CDLL(None, use_errno=True).setns(handle, _CLONE_NEWNET) == 0:
                    made.append(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
            finally:
                os.close(handle)

        thread = threading.Thread(target=enter_and_make)
        thread.start()
        thread.join()
        if not made:
            raise OSError("the controller's network can't be entered")
        return made[0]
