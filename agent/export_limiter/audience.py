"""Who is told of each status: D-Bus, the status file, the history and the device's own screen."""

from __future__ import annotations

import logging
import time
from typing import Any, Dict, Optional

from export_limiter import victron
from export_limiter.files import StatusFile
from export_limiter.notice import Notices
from export_limiter.recording import Recording
from export_limiter.status import Telling

NOTICE_S = 5.0

log = logging.getLogger(__name__)


class Audience:
    """``published`` is our own D-Bus service, which shows a status."""

    def __init__(
        self, bus: Any, published: Any, status_file: StatusFile, recording: Recording
    ) -> None:
        self._bus = bus
        self._published = published
        self._status_file = status_file
        self._recording = recording
        self._telling, self._notices = Telling(), Notices()

    def tell(self, status: Dict[str, Any]) -> None:
        """The status of one tick."""
        now = time.monotonic()
        if self._telling.due(status, now):
            self._published.show(status)
            self._status_file.write(status)
        self._recording.note(status, now, time.time())
        notice = self._notices.due(status, now)
        if notice:
            where = victron.PLATFORM, victron.NOTIFICATION_INJECT
            self._bus.write(*where, notice, NOTICE_S, self._notified)

    def _notified(self, error: Optional[str]) -> None:
        if error:
            log.debug("notification not shown: %s", error)
