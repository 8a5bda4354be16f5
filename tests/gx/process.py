"""A child process that ends with its context, and with this process if that is killed."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from gx.waiting import DeadlineError, wait_until

_LIBC = ctypes.CDLL(None)  # loaded here: between fork and exec other threads may hold locks

START_S = 20.0
STOP_S = 10.0


class Process:
    """A running command; its errors go to the file `log`, which is appended to."""

    def __init__(
        self,
        command: Sequence[str],
        env: Mapping[str, str],
        log: Path,
        cwd: Path | None = None,
        talking: bool = False,
    ) -> None:
        self.log = log
        with log.open("ab") as errors:
            self.child = subprocess.Popen(
                command,
                env={**os.environ, **env},
                cwd=cwd,
                stdin=subprocess.PIPE if talking else subprocess.DEVNULL,
                stdout=subprocess.PIPE if talking else errors,
                stderr=errors,
                preexec_fn=_die_with_parent,
            )

    @property
    def ended(self) -> bool:
        """Whether the process is no more."""
        return self.child.poll() is not None

    def first_line(self, deadline_s: float = START_S) -> str:
        """Return the first line of output; raises DeadlineError when none comes."""
        out = self.child.stdout
        assert out is not None
        os.set_blocking(out.fileno(), False)
        line = bytearray()

        def read() -> bool:
            line.extend(out.read() or b"")
            return b"\n" in line or self.ended

        wait_until(read, f"the first line of {self.child.args}", deadline_s)
        os.set_blocking(out.fileno(), True)
        if b"\n" not in line:
            raise DeadlineError(f"{self.child.args} ended: {self.log.read_text()}")
        return line.split(b"\n")[0].decode()

    def kill(self, number: int = signal.SIGTERM, deadline_s: float = STOP_S) -> int:
        """Send a signal, wait for the end and return the exit status."""
        if not self.ended:
            self.child.send_signal(number)
        try:
            self.child.wait(deadline_s)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()
        for pipe in (self.child.stdin, self.child.stdout):
            if pipe:
                pipe.close()
        return self.child.returncode


def _die_with_parent() -> None:
    if sys.platform == "linux":
        _LIBC.prctl(1, signal.SIGTERM)  # 1 is PR_SET_PDEATHSIG
