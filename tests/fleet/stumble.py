"""Makes a program stumble at one of its steps; tests send it ahead of the device program.

A step is whatever changes a file or starts a program, as Python's own audit events tell it; only
steps of forked processes count: the worker's. Needs no more than what Venus OS has.
"""

import errno
import os
import re
import signal
import sys

STEPS = "/run/sim/steps"  # one line a step, in order
REACHED = "/run/sim/reached"  # made when the step is reached
GO_ON = "/run/sim/go-on"  # a pipe: whoever waits at a step goes on when it is written to

CHANGING = ("os.rename", "os.symlink", "os.remove", "os.mkdir", "os.rmdir", "fsync")
CREATING = ("open", "os.symlink", "os.mkdir")
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
BASE = "/data/venus-export-limiter/"


def install(fault):
    """Stumble as `fault` says.

    Its `step` is the beginning of the label, `nth` counts those (from 1, which is the default);
    `kind` is error, full, killed, abandoned (killed with who waits for it), hang or wait. Without
    a step each is only noted. `new` is the release that is being installed.
    """
    parent, seen, busy = os.getpid(), [0], [False]
    full = []

    def step(event, arguments):
        if busy[0] or os.getpid() == parent:
            return
        label = labelled(event, arguments, fault.get("new"))
        if label is None:
            return
        busy[0] = True
        try:
            note(STEPS, label)
            if full and event in CREATING:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            if label.startswith(fault.get("step", "\0")):
                seen[0] += 1
                if seen[0] == fault.get("nth", 1):
                    note(REACHED, label)
                    stumble(fault["kind"], full)
        finally:
            busy[0] = False

    fsync = os.fsync

    def audited_fsync(descriptor):
        sys.audit("fsync", os.readlink("/proc/self/fd/%d" % descriptor))
        return fsync(descriptor)

    os.fsync = audited_fsync
    sys.addaudithook(step)


def labelled(event, arguments, new):
    """Name a step, as "rename current.new current"; None for what changes nothing."""
    if event == "subprocess.Popen":
        words = [os.fsdecode(word) for word in arguments[1]]
        return "run " + " ".join([os.path.basename(words[0])] + words[1:2])
    if event == "ctypes.dlsym":
        return "call " + arguments[1] if arguments[1] == "renameat2" else None
    if event == "open":
        path, _, flags = arguments
        if not isinstance(path, str) or path == os.devnull or not flags & WRITING:
            return None
        paths = [path]
    elif event in CHANGING:
        paths = [path for path in arguments[:2] if isinstance(path, str)]
    else:
        return None
    text = " ".join(paths).replace(BASE, "").replace("/data/", "")
    text = re.sub("[0-9a-f]{40}-[0-9a-f]{12}", lambda m: "NEW" if m[0] == new else "OLD", text)
    return "%s %s" % (event.rpartition(".")[2], text)


def note(path, line):
    """Append a line."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.write(file, (line + "\n").encode())
    os.close(file)


def stumble(kind, full):
    """Do what the fault is."""
    if kind == "error":
        raise OSError(errno.EIO, os.strerror(errno.EIO))
    if kind == "full":
        full.append(True)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    if kind == "abandoned":
        os.kill(os.getppid(), signal.SIGKILL)
    if kind in ("killed", "abandoned"):
        os.kill(os.getpid(), signal.SIGKILL)
    while kind == "hang":
        signal.pause()
    if kind == "wait":
        pipe = os.open(GO_ON, os.O_RDONLY)
        os.read(pipe, 1)
        os.close(pipe)
