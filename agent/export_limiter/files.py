"""The agent's files: replaced in one step, and the values to put back at release."""

from __future__ import annotations

import json
import logging
import os
import re
from typing import Any, Dict, Optional, Tuple

log = logging.getLogger(__name__)


def write_json(path: str, content: Any, durable: bool) -> None:
    """Replace a file by an object for people and programs; see :func:`write_text`."""
    write_text(path, json.dumps(content, indent=2, sort_keys=True) + "\n", durable)


def write_text(path: str, text: str, durable: bool) -> None:
    """Replace a file in one step: a reader sees the old or the new, never a part.

    ``durable`` survives a power cut as well. Raises :class:`OSError` where it can't be written.
    """
    beside = path + ".new"
    with open(beside, "w", encoding="utf-8") as file:
        file.write(text)
        if durable:
            file.flush()
            os.fsync(file.fileno())
    os.replace(beside, path)
    if durable:
        folder = os.open(os.path.dirname(path) or ".", os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def read_json(path: str) -> Optional[Dict[str, Any]]:
    """The object in a file; ``None`` where there is no such file or no object in it."""
    try:
        with open(path, encoding="utf-8") as file:
            content = json.load(file)
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def own_release() -> Tuple[str, Optional[str]]:
    """Our version, and our commit from the release directory, which is named after it."""
    home = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
    try:
        with open(os.path.join(home, "VERSION"), encoding="utf-8") as file:
            version = file.read().strip()
    except OSError:
        version = "unknown"
    match = re.match(r"([0-9a-f]{40})-", os.path.basename(home))
    return version, match.group(1) if match else None


class StatusFile:
    """``status.json`` in RAM. Where it can't be written that is said once, and we limit on."""

    def __init__(self, directory: str) -> None:
        self._path = os.path.join(directory, "status.json")
        self._fault = ""
        self.earlier = read_json(self._path) or {}
        self.last: Dict[str, Any] = {}

    def write(self, status: Dict[str, Any]) -> None:
        """Replace the file, or its earlier version, by this status."""
        self.last = status
        try:
            os.makedirs(os.path.dirname(self._path), exist_ok=True)
            write_json(self._path, status, durable=False)
            self._fault = ""
        except OSError as error:
            if self._fault != str(error):
                self._fault = str(error)
                log.warning("%s can't be written (%s)", self._path, error.strerror)


class FoundValues:
    """``state.json``: per control point the value found, and the one we last wrote.

    A present value equal to the last written is ours; anything else is somebody else's. Also noted
    is the value of ours ``before`` a write that may fail.
    """

    def __init__(self, directory: str) -> None:
        self._path = os.path.join(directory, "state.json")
        self._points: Dict[str, Dict[str, Any]] = {}
        points = (read_json(self._path) or {}).get("points")
        for point, entry in (points if isinstance(points, dict) else {}).items():
            if isinstance(entry, dict) and "found" in entry and "written" in entry:
                self._points[point] = entry
        self.warning: Optional[str] = None

    def found(self, point: str) -> Optional[float]:
        """What stood there before we first wrote."""
        return self._points.get(point, {}).get("found")

    def is_ours(self, point: str, present: Optional[float]) -> bool:
        """Whether the present value is the one we last wrote, or, if that was refused, before."""
        entry = self._points.get(point, {})
        ours = [w for w in (entry.get("written"), entry.get("before")) if w is not None]
        return present is not None and any(abs(present - w) < 0.5 for w in ours)

    def will_write(self, point: str, present: Optional[float], value: float, stored: bool) -> None:
        """Note a write before it is made: after a power cut we still know what is ours.

        A volatile point is noted once: it is empty after a reboot, and flash is not for steps.
        """
        known = self._points.get(point)
        ours = self.is_ours(point, present)
        entry = {"found": present, "written": value, "before": None}
        if known is not None and (ours or not stored):
            entry["found"] = known["found"]
        if ours:
            entry["before"] = present
        self._points[point] = entry
        if known is None or stored:
            self._save()

    def has_written(self, point: str, stored: bool) -> None:
        """The write was confirmed; a power cut may take it back still."""
        self._points[point]["before"] = None
        if stored:
            self._save()

    def forget(self, point: str) -> None:
        """The found value is back in place."""
        if self._points.pop(point, None) is not None:
            self._save()

    def save_again(self) -> None:
        """Note what could not be noted, now that it may be possible."""
        if self.warning:
            self._save()

    def points(self) -> Dict[str, Dict[str, Any]]:
        """Every point we have written to."""
        return dict(self._points)

    def _save(self) -> None:
        try:
            write_json(self._path, {"points": self._points}, durable=True)
            self.warning = None
        except OSError as error:
            warning = "%s can't be written (%s)" % (self._path, error.strerror)
            if warning != self.warning:
                log.warning("%s; a reboot would forget what to put back", warning)
            self.warning = warning
