"""A device behind another one: a network that the controller reaches through a jump host only."""

from gx.device import Device
from gx.network import Network

BEHIND = "gxbehind"
GATEWAY = "198.51.100.1"  # TEST-NET-2 (RFC 5737)
# In the gateway's network: its eth1, whose other end goes to the bridge of those behind.
_SECOND_CABLE = """
ip link add eth1 type veth peer name gxeth1 netns 1
ip address add "$1/24" dev eth1
ip link set eth1 up
"""


def put_behind(network: Network, gateway: Device, device: Device) -> str:
    """Move a running device behind another; return its address there, its old one is void."""
    inside = network.namespaces
    cable, address = f"gx{device.host}", f"198.51.100.{device.host}"
    inside.run("ip", "link", "add", BEHIND, "type", "bridge")
    inside.run("ip", "link", "set", BEHIND, "up")
    net = gateway.directory / "net"
    inside.run("sh", "-ec", _SECOND_CABLE, "cable", GATEWAY, net=net)
    for end in ("gxeth1", cable):
        inside.run("ip", "link", "set", end, "master", BEHIND, "up")
    own = device.directory / "net"
    inside.run("ip", "address", "flush", "dev", "eth0", net=own)
    inside.run("ip", "address", "add", f"{address}/24", "dev", "eth0", net=own)
    return address
