"""The verdict on ourselves: in which state the agent is, and why, in words for people."""

from __future__ import annotations

from typing import NamedTuple, Optional

from export_limiter import methods
from export_limiter.effect import Effect
from export_limiter.files import FoundValues
from export_limiter.inverters import Site
from export_limiter.limiter import FAILSAFE, LIMITING, MONITORING, RELAXING, STARTING, Decision
from export_limiter.methods import Verdict

NOT_ENFORCEABLE = "not_enforceable"
STOPPING = "stopping"
NO_INVERTER_S = 30.0


class Judgement(NamedTuple):
    """The state as published, and what it rests on."""

    state: str
    reason: str
    enforceable: bool
    cap_w: Optional[float]
    binding: bool


class Sayings:
    """Which log line a judgement is worth: one on each change, but not of its figures alone."""

    def __init__(self) -> None:
        self._kind = ""

    def line(self, judgement: Judgement) -> Optional[str]:
        """The line, or ``None``."""
        said = "%s: %s" % (judgement.state, judgement.reason)
        kind = "".join(c for c in said if not c.isdigit())
        if kind == self._kind:
            return None
        self._kind = kind
        cap = "none" if judgement.cap_w is None else "%.0f W" % judgement.cap_w
        return "%s (cap %s)" % (said, cap)


def judge(
    decision: Decision,
    verdict: Verdict,
    cap_w: Optional[float],
    confirmed: bool,
    held_lower: str,
    waited_s: float,
    dry_run: bool,
) -> Judgement:
    """The first state that applies, in the order people need them."""
    state, reason = decision.state, decision.reason
    enforceable = verdict.enforceable and confirmed and state != NOT_ENFORCEABLE
    if state == STARTING and decision.cap_w is None and waited_s > NO_INVERTER_S:
        lost = "no inverter: %s" % verdict.reason if verdict.reason else "no usable output figure"
        state, reason = NOT_ENFORCEABLE, lost
    elif state not in (STARTING, FAILSAFE) and not verdict.enforceable:
        state, reason = NOT_ENFORCEABLE, verdict.reason
    elif state not in (STARTING, FAILSAFE, NOT_ENFORCEABLE) and not enforceable:
        reason = "waiting for the device to take the cap over"
    elif state in (LIMITING, MONITORING):
        reason = held_lower or reason
    if dry_run:
        enforceable = False
        fine = verdict.enforceable and state in (LIMITING, MONITORING, RELAXING)
        reason = "dry run" if fine else "dry run; %s" % reason
    shown_w = cap_w if verdict.usable else None
    return Judgement(state, reason, enforceable, shown_w, decision.binding and enforceable)


def held_lower_by(site: Site, found: FoundValues, effect: Effect, now: float) -> str:
    """Who holds the output below our cap, if anybody does; '' otherwise."""
    applied_w = methods.applied_w(site)
    if applied_w is None or not effect.held_lower(applied_w, now):
        return ""
    who = methods.override_holder(site) or "the BMS or another program"
    named = (
        (methods.ess_override_point(site), "", "our own override, until it lapses"),
        (methods.ess_setting_point(site), "the GUI setting", "our own stored setting"),
    )
    for point, theirs, ours in named:
        standing_w = point.standing_w(site) if point else None
        if standing_w is not None and standing_w <= applied_w + 1:
            who = ours if found.is_ours(str(point), standing_w) else theirs or who
    return "held lower, at %.0f W, by %s" % (applied_w, who)
