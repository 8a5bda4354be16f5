"""Whether a service repeats itself while the rest of the site moves; powers in W, times in s."""

from __future__ import annotations

from typing import Any, Optional, Tuple

FROZEN_S = 14.0  # so that the first reduction falls within 15 s
# ... where one is due. Older units tell a constant output anew after up to 58 s.
FROZEN_NOT_DUE_S = 90.0
FROZEN_OTHER_W = 50.0
FROZEN_CAP_W = 200.0


class Stillness:
    """How long a service has repeated the same values, and what moved meanwhile.

    ``frozen``: they stood still for some seconds, longer where no reduction is ``due``, in which
    our cap or another's power moved; as it was found when they were read last.
    """

    def __init__(self, due: bool) -> None:
        self.frozen = False
        self._patience_s = FROZEN_S if due else FROZEN_NOT_DUE_S
        self._values: Tuple[Any, ...] = ()
        self._since = 0.0
        self._other_w: Optional[float] = None
        self._cap_w: Optional[float] = None
        self._other_moved = self._cap_moved = False

    def note(
        self, values: Tuple[Any, ...], other_w: Optional[float], cap_w: Optional[float], now: float
    ) -> None:
        """Take in what was read now, another's power and our cap."""
        if values != self._values:
            self._values, self._since = values, now
            self._other_moved = self._cap_moved = False
            self._other_w, self._cap_w = other_w, cap_w
        self._other_moved |= _apart(other_w, self._other_w) > FROZEN_OTHER_W
        self._cap_moved |= _apart(cap_w, self._cap_w) > FROZEN_CAP_W
        still_s = now - self._since
        by_other = self._other_moved and still_s >= self._patience_s
        self.frozen = by_other or (self._cap_moved and still_s >= FROZEN_S)


def _apart(one: Optional[float], other: Optional[float]) -> float:
    return abs(one - other) if one is not None and other is not None else 0.0
