"""The SSH keys of a simulated fleet, made anew each time."""

import subprocess
from pathlib import Path

HOST_KEYS = ("rsa", "ecdsa")


def give_keys(data: Path, authorized_key: str) -> None:
    """Put into a fresh /data the host's own keys and the one that opens it."""
    ssh = data / "home/root/.ssh"
    ssh.mkdir(mode=0o700, parents=True)
    (ssh / "authorized_keys").write_text(f"{authorized_key}\n")
    (ssh / "authorized_keys").chmod(0o600)
    keys = data / "keys"
    keys.mkdir(mode=0o700)
    for kind in HOST_KEYS:
        make_key(keys / f"ssh_host_{kind}_key", kind)


def make_key(path: Path, kind: str) -> None:
    """Make an SSH key without a passphrase; its public half is beside it, named .pub."""
    size = ["-b", "1024"] if kind == "rsa" else []  # short: it is made for every test
    command = ["ssh-keygen", "-q", "-t", kind, *size, "-N", "", "-C", path.stem, "-f", path]
    subprocess.run(command, check=True)
