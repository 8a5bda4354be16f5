"""A recording of a real service, played as that service.

The file names the service, then gives `path<TAB>type<TAB>value<TAB>text` per line, and after a
blank line timed changes: `seconds<TAB>path<TAB>type<TAB>value<TAB>text`.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import NamedTuple

from gx.item import Item, Value

# Paths that a real VE.Bus system lets others write.
_WRITABLE = re.compile(
    r"/(Mode|Soc|Ac/In/\d/CurrentLimit|Hub4/.*(AcPowerSetpoint|DisableFeedIn|DisableCharge))$"
)
_POWER = re.compile(r"/(P|S|I|Power|Current)$")
_KINDS = {"DOUBLE": "d", "INT32": "i", "UINT32": "u", "INT16": "n", "UINT16": "q", "BYTE": "y"}


class Change(NamedTuple):
    """A value that appears `at_s` after the start."""

    at_s: float
    path: str
    value: Value


class Recording:
    """One recorded service: `name`, its first `items`, and the changes to come."""

    def __init__(self, file: Path, scale: float = 1.0, speed: float = 1.0) -> None:
        name, _, rest = file.read_text().partition("\n")
        first, _, later = rest.partition("\n\n")
        self.name = name.strip()
        self.items: dict[str, Item] = {}
        for line in first.splitlines():
            path, kind, value, *_ = line.split("\t")
            known = _KINDS.get(kind, "s" if kind == "STRING" else "d")
            writable = bool(_WRITABLE.search(path))
            self.items[path] = Item(_value(path, kind, value, scale), known, writable)
        self._changes: list[Change] = []
        for line in later.splitlines():
            at, path, kind, value, *_ = line.split("\t")
            moment = Change(float(at) / speed, path, _value(path, kind, value, scale))
            self._changes.append(moment)
        self._next = 0

    @property
    def ended(self) -> bool:
        """Whether all changes have been played."""
        return self._next >= len(self._changes)

    def due(self, t_s: float) -> dict[str, Value]:
        """Return the newest value of each path that changed since the last call."""
        values: dict[str, Value] = {}
        while not self.ended and self._changes[self._next].at_s <= t_s:
            change = self._changes[self._next]
            values[change.path] = change.value
            self._next += 1
        return values


def _value(path: str, kind: str, text: str, scale: float) -> Value:
    if kind.startswith("ARRAY"):
        return ast.literal_eval(text) or None
    if kind == "STRING":
        return text
    number = float(text)
    if _POWER.search(path):
        number *= scale
    return number if kind == "DOUBLE" else round(number)
