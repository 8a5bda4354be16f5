"""Waiting for something that happens elsewhere, with a deadline: the only place that polls."""

import time
from collections.abc import Callable
from typing import TypeVar

POLL_S = 0.02

T = TypeVar("T")


class DeadlineError(Exception):
    """Something did not happen in time; the message says what and how long was waited."""


def wait_until(condition: Callable[[], T], what: str, deadline_s: float = 10.0) -> T:
    """Return the first true value of `condition`; `what` completes "waited for ..."."""
    end = time.monotonic() + deadline_s
    while not (value := condition()):
        if time.monotonic() > end:
            raise DeadlineError(f"waited {deadline_s:g} s for {what}")
        time.sleep(POLL_S)
    return value
