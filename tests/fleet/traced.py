"""What a program asked of the file system, in order, as strace saw it from outside.

`Unsynced` follows the calls and knows at each moment what a power cut could still take back.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

CALLS = (
    *("openat", "write", "pwrite64", "fchmod", "fsync", "mkdir", "rmdir", "chdir", "execve"),
    *("rename", "renameat", "renameat2", "symlink", "symlinkat", "unlink", "unlinkat"),
)
_LINE = re.compile(r"(\d+) +(\w+)\((.*)\) += (\d+)(?:<(.*?)>)?(?: .*)?$")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')
_OPENED = re.compile(r"^\d+<(.*?)>")
_INSIDE = re.compile(r"^\d+<(.*?)>, \"")  # the directory of unlinkat and its like


class Call(NamedTuple):
    """A system call that succeeded; `paths` are absolute, as the device sees them."""

    name: str
    paths: tuple[str, ...]
    text: str


def command(output: Path) -> tuple[str, ...]:
    """Return the words that trace whatever command follows them, with its children."""
    seen = ",".join(CALLS)
    return ("strace", "-f", "-y", "-s", "400", "-e", f"trace={seen}", "-o", str(output))


def calls(output: Path) -> Iterator[Call]:
    """Read a trace; a call that another process interrupted is put together again."""
    begun: dict[str, str] = {}
    where: dict[str, str] = {}
    for line in output.read_text().splitlines():
        process = line.split(" ", 1)[0]
        if line.endswith(" <unfinished ...>"):
            begun[process] = line.removesuffix(" <unfinished ...>")
            continue
        if resumed := re.match(r"\d+ +<\.\.\. \w+ resumed>(.*)", line):
            line = begun.pop(process, "") + resumed[1]
        if not (found := _LINE.match(line)):
            continue
        _, name, text, _, opened = found.groups()
        words = [word.encode().decode("unicode_escape") for word in _QUOTED.findall(text)]
        at = where.get(process, "/")
        if name == "chdir":
            where[process] = posixpath.join(at, words[0])
        elif name == "openat" and opened:
            yield Call(name, (opened,), text)
        elif name in ("write", "pwrite64", "fchmod", "fsync"):
            if on := _OPENED.match(text):
                yield Call(name, (on[1],), text)
        elif name == "execve":
            yield Call(name, (words[0],), " ".join(words[1:3]))
        else:
            inside = _INSIDE.match(text)
            paths = [posixpath.join(inside[1] if inside else at, word) for word in words]
            yield Call(name, tuple(paths), text)


class Unsynced:
    """What is changed below `base` and not yet on the disk: contents of files, and entries."""

    def __init__(self, base: str) -> None:
        self._base = base
        self.contents: set[str] = set()
        self.entries: set[str] = set()

    def follow(self, call: Call) -> None:
        """Take up one call."""
        name, paths = call.name, call.paths
        if name == "openat" and "O_TRUNC" in call.text:
            self._add(self.contents, paths)
            self._add(self.entries, paths)
        elif name in ("write", "pwrite64", "fchmod"):
            self._add(self.contents, paths)
        elif name == "fsync":
            self.contents.discard(paths[0])
            self.entries = {e for e in self.entries if posixpath.dirname(e) != paths[0]}
        elif name.startswith("rename"):
            source, target = paths
            self.contents = {_moved(each, source, target) for each in self.contents}
            self.entries = {_moved(each, source, target) for each in self.entries}
            self._add(self.entries, (target,))
        elif name.startswith(("unlink", "rmdir")):
            self.contents.discard(paths[0])
            self.entries.discard(paths[0])
            self._add(self.entries, paths)
        elif name == "mkdir":
            self._add(self.entries, paths)
        elif name.startswith("symlink"):
            self._add(self.entries, paths[1:])

    def _add(self, to: set[str], paths: Iterable[str]) -> None:
        to.update(path for path in paths if path.startswith(self._base))


def _moved(path: str, source: str, target: str) -> str:
    return target + path[len(source) :] if path == source or path.startswith(f"{source}/") else path
