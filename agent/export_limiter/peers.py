"""Who answers. A peer that does not is asked for one value at a time, until it does.

The daemon counts the calls that were never answered, whatever our timeouts, and at some number (128
by libdbus' defaults, 50000 on Venus OS) takes no further call of ours to anybody. So what hangs
must not be polled on; it gets no answer of its own, at once and from here.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import Any, Callable, Dict, Optional, Sequence, Tuple

from export_limiter import victron
from export_limiter.calls import Calls, Done

Key = Tuple[str, str]  # service and path
Answers = Callable[[Dict[Key, Any]], None]

log = logging.getLogger(__name__)

PROBE_S = 10.0  # an answer that comes within it is taken at once
LONGEST_PROBE_S = 60.0  # each takes twice as long as the one before, so a day costs 1500 calls


class _Peer:
    """One owner of a name."""

    def __init__(self) -> None:
        self.answers = 0
        self.hangs_at: Optional[str] = None  # the path that was not answered
        self.probing = False
        self.probe_s = PROBE_S


class Peers:
    """Calls to services by name; ``recovered`` is told of one that answers again."""

    def __init__(self, calls: Calls, recovered: Callable[[str], None]) -> None:
        self._calls = calls
        self._recovered = recovered
        self._peers: Dict[str, _Peer] = {}

    def get(self, name: str, path: str, timeout_s: float, done: Done) -> None:
        """GetValue; see :meth:`Calls.get`."""
        self._ask(name, path, done, partial(self._calls.get, name, path, timeout_s))

    def set(self, name: str, path: str, value: Any, timeout_s: float, done: Done) -> None:
        """SetValue; see :meth:`Calls.set`."""
        self._ask(name, path, done, partial(self._calls.set, name, path, value, timeout_s))

    def read(self, wanted: Sequence[Key], timeout_s: float, done: Answers) -> None:
        """GetValue of paths together; ``done`` gets those that answered in time, once."""
        self._probe()
        answers: Dict[Key, Any] = {}
        waiting = len(wanted)
        if not waiting:
            done(answers)
            return

        def answered(key: Key, value: Any, error: Optional[str]) -> None:
            nonlocal waiting
            if error is None:
                answers[key] = value
            waiting -= 1
            if not waiting:
                done(answers)

        for key in wanted:
            self.get(key[0], key[1], timeout_s, partial(answered, key))

    def forget(self, name: str) -> None:
        """The name has another owner, or none."""
        self._peers.pop(name, None)

    def _ask(self, name: str, path: str, done: Done, send: Callable[[Done], None]) -> None:
        peer = self._peers.setdefault(name, _Peer())
        if peer.hangs_at is not None:
            done(None, victron.NO_ANSWER[0])
            return
        answers = peer.answers

        def answered(value: Any, error: Optional[str]) -> None:
            if error not in victron.NO_ANSWER:
                peer.answers += 1
            elif peer.answers == answers and peer.hangs_at is None:  # nor was any other answered
                log.warning("%s does not answer", name)
                peer.hangs_at = path
            done(value, error)

        send(answered)

    def _probe(self) -> None:
        """Ask each peer that hangs for one value, unless that is still under way."""
        for name, peer in list(self._peers.items()):
            if peer.hangs_at is not None and not peer.probing:
                peer.probing = True
                self._calls.get(name, peer.hangs_at, peer.probe_s, self._probed(name, peer))

    def _probed(self, name: str, peer: _Peer) -> Done:
        def probed(_value: Any, error: Optional[str]) -> None:
            peer.probing = False
            peer.probe_s = min(2 * peer.probe_s, LONGEST_PROBE_S)
            if error in victron.NO_ANSWER:
                return
            log.info("%s answers again", name)
            self.forget(name)
            self._recovered(name)

        return probed
