"""The SSH keys of a simulated fleet, made anew each time."""

import subprocess
from pathlib import Path

HOST_KEYS = ("rsa", "ecdsa")


def make_key(path: Path, kind: str) -> None:
    """Make an SSH key without a passphrase; its public half is beside it, named .pub."""
    size = ["-b", "1024"] if kind == "rsa" else []  # short: it is made for every test
    command = ["ssh-keygen", "-q", "-t", kind, *size, "-N", "", "-C", path.stem, "-f", path]
    subprocess.run(command, check=True)
