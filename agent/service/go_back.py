"""Undo an activation that nobody decided: its worker was killed, or the power went.

Run by the service before it starts the agent. ``pending`` says what was being tried and what to go
back to; while the worker lives it holds the lock, and the decision is the worker's.
"""

import fcntl
import json
import os
import sys
import time

LOOKS, LOOK_S = 5, 0.1


def main(base):
    """Point ``current`` back, durably, and only then forget that it was undecided."""
    os.chdir(base)
    lock = os.open("lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        _take(lock)
        with open("pending", encoding="utf-8") as file:
            undecided = json.load(file)
    except (BlockingIOError, FileNotFoundError):
        return

    _point_back(undecided["back"])
    try:
        with open("failed", "a", encoding="utf-8") as file:
            file.write(undecided["to"] + "\n")
    except OSError as error:
        print("not noted in failed: %s" % error)  # a full /data must not keep us from going back
    os.unlink("pending")
    _sync()
    print("activation of %(to)s was left undecided: back to %(back)s" % undecided)


def _take(lock):
    """Take the lock; a probe that looks whether it is held holds it for a moment."""
    for left in reversed(range(LOOKS)):
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if not left:
                raise
            time.sleep(LOOK_S)


def _point_back(back):
    if back is None:
        if os.path.lexists("current"):
            os.unlink("current")
    elif os.path.lexists("back"):
        os.replace("back", "current")  # made beforehand: on a full /data a rename still works
    elif os.readlink("current") != "releases/" + back:
        os.symlink("releases/" + back, "back")
        os.replace("back", "current")
    _sync()


def _sync():
    directory = os.open(".", os.O_RDONLY)
    os.fsync(directory)
    os.close(directory)


if __name__ == "__main__":
    main(sys.argv[1])
