"""Other programs' laws, restated in our own words from what is publicly known of them.

Each is what a program of that kind does with the same two figures, not that program: cycle, gain,
buffer and deadband are its own, faults of its surroundings are left out. A law is given the cap in
force and returns the cap it wants; `Stepped` bounds the way there.
"""

from __future__ import annotations

from bench.laws import INTERVAL_S, STEP_W, Case, Law, View


class Stepped:
    """A law that may move its cap by one step at most each time it acts."""

    def __init__(self, law: Law, step_w: float = STEP_W) -> None:
        self.interval_s = law.interval_s
        self._law = law
        self._step_w = step_w

    def decide(self, view: View) -> float | None:
        """As far towards the law's cap as the step allows."""
        wanted_w = self._law.decide(view)
        if wanted_w is None:
            return None
        return view.cap_w + max(-self._step_w, min(self._step_w, wanted_w - view.cap_w))


class VictronStock:
    """ESS as it ships: each 2.5 s half of the way to the output that meets the limit."""

    def __init__(self, case: Case, interval_s: float = 2.5) -> None:
        self.interval_s = interval_s

    def decide(self, view: View) -> float:
        """Half of the way."""
        wanted_w = min(view.cap_w, view.output_w) - (view.limited_w - view.limit_w)
        return view.cap_w + 0.5 * (wanted_w - view.cap_w)


class OpenEms:
    """Down at once to the limit less a buffer, up by 2 % of the nominal power per cycle."""

    interval_s = 1.0

    def __init__(self, case: Case) -> None:
        self._rise_w = 0.02 * case.nominal_w

    def decide(self, view: View) -> float:
        """Tighten at once, relax slowly."""
        buffer_w = max(0.05 * view.limit_w, 150.0)
        wanted_w = view.output_w - (view.limited_w - (view.limit_w - buffer_w))
        return min(wanted_w, view.cap_w + self._rise_w)


class HoymilesZeroExport:
    """Each 20 s to 75 W below the limit, not for 25 W, large reductions softened by a fifth."""

    def __init__(self, case: Case, interval_s: float = 20.0) -> None:
        self.interval_s = interval_s
        self._large_w = 0.2 * case.nominal_w

    def decide(self, view: View) -> float | None:
        """Correct the cap by the error."""
        error_w = view.limited_w - (view.limit_w - 75.0)
        if abs(error_w) < 25.0:
            return None
        return view.cap_w - (0.8 * error_w if error_w > self._large_w else error_w)


class OpenDtuOnBattery:
    """Straight to the output that meets the limit, then blind until the inverter has reacted.

    It takes the meter's word only from 2 s after the inverter's reaction, here one dead time after
    the write, and leaves changes of less than 25 W.
    """

    interval_s = 1.0
    blind_s = 1.0 + 2.0

    def __init__(self, case: Case) -> None:
        self._acted_s = -self.blind_s

    def decide(self, view: View) -> float | None:
        """All of the way at once, then wait."""
        wanted_w = view.output_w - (view.limited_w - view.limit_w)
        if view.t_s - self._acted_s < self.blind_s or abs(wanted_w - view.cap_w) < 25.0:
            return None
        self._acted_s = view.t_s
        return wanted_w


class FirstVersion:
    """The first version's law, made to loop: above the limit down by 500 W more, else open."""

    def __init__(self, case: Case, interval_s: float = 5.0) -> None:
        self.interval_s = interval_s
        self._open_w = case.nominal_w

    def decide(self, view: View) -> float:
        """Down by what is too much and a reserve, else up to all there is."""
        excess_w = view.limited_w - view.limit_w
        return view.cap_w - excess_w - 500.0 if excess_w > 0 else self._open_w


class Integral:
    """A plain integral of the error, half of it each second."""

    interval_s = INTERVAL_S

    def __init__(self, case: Case) -> None:
        pass

    def decide(self, view: View) -> float:
        """Add half of the error."""
        return view.cap_w + 0.5 * (view.limit_w - view.limited_w)
