"""The bars of control quality: what was reached, what is asked, and whether that is met."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from bench.contest import BOUND, CONSTANT, OURS, STEPPED, STOCK
from bench.metrics import Metrics
from bench.profiles import BASE, EXPORT, OUTPUT, PRODUCTS
from bench.quality import Key, Results, profiles_of, settings_of

AGAINST_BOUND = ("P1", "P2", "P6", "P6/0", "P8")
FIVE_KW = ("P1", "P2", "P4", "P5", "P6", "P6/0", "P8", "P8/5-1", "P8/d4")
STOCKS = (STOCK, "Victron-stock-like 1 s", STOCK + ", step-free")
SAME_WH = 0.02  # nearer is equal
STILL_W = 50.0  # less swing in the last two minutes is no hunting


class Bar(NamedTuple):
    """One figure of ours and what it must not exceed; `what` names it and `unit` follows it."""

    what: str
    value: float
    limit: float
    unit: str

    @property
    def met(self) -> bool:
        """Whether the figure is within its bar."""
        return self.value <= self.limit + 1e-9


def quality_bars(results: Results) -> list[Bar]:
    """Every bar of part A but the faults'."""
    found = _Finder(results)
    return [*found.output(), *found.export(), *found.gains(), *found.rest(), *found.beaten()]


class _Finder:
    def __init__(self, results: Results) -> None:
        self._results = results

    def output(self) -> Iterable[Bar]:
        worst, where = 0.0, "any"
        for profile in (each for each in profiles_of(OUTPUT) if each != "P2"):
            for setting in settings_of(OUTPUT, profile):
                ours = self._of(OUTPUT, profile, setting).exceed_wh
                extra = ours - self._of(OUTPUT, profile, setting, CONSTANT).exceed_wh
                if extra > worst:
                    worst, where = extra, f"{profile}, {setting}"
        text = f"output limit, any load: exceed beyond a constant cap's (worst: {where})"
        yield Bar(text, worst, 0.05, "Wh")
        yield self._against_bound(OUTPUT, "P2", BASE.key, 1.15)

    def export(self) -> Iterable[Bar]:
        for profile in AGAINST_BOUND:
            yield self._against_bound(EXPORT, profile, BASE.key, 1.15)
            yield self._curtailed(profile, BASE.key, 8.0)

    def gains(self) -> Iterable[Bar]:
        for setting in ("gain 0.956", "gain 1.03"):
            for profile in AGAINST_BOUND:
                yield self._against_bound(EXPORT, profile, setting, 1.35)
                yield self._curtailed(profile, setting, 13.0)

    def rest(self) -> Iterable[Bar]:
        noisy = self._of(EXPORT, "P7")
        yield Bar("export limit, P7 (noise): writes in 240 s", noisy.writes, 60, "")
        yield Bar("export limit, P7 (noise): time above the limit", noisy.above_s, 10, "s")
        for profile in ("P4", "P5"):
            ours = self._of(EXPORT, profile)
            for law in STOCKS:
                stock = self._of(EXPORT, profile, BASE.key, law)
                text = f"export limit, {profile}: exceed against {law}"
                yield Bar(text, ours.exceed_wh, stock.exceed_wh, "Wh")
                text = f"export limit, {profile}: over-curtailed against twice {law}"
                yield Bar(text, ours.overcurtail_wh, 2 * stock.overcurtail_wh, "Wh")
        for profile in ("P8", "P8/5-1", "P8/d4"):
            swing_w = self._of(EXPORT, profile).swing_w
            yield Bar(f"export limit, {profile}: swing in the last 120 s", swing_w, STILL_W, "W")
        for product in PRODUCTS:
            mine = profiles_of(product)
            longest = {p: self._of(product, p).longest_s for p in FIVE_KW if p in mine}
            worst = max(longest, key=lambda p: longest[p])
            text = f"{product} limit, about 5 kW: longest excursion (worst: {worst})"
            yield Bar(text, longest[worst], 15, "s")
            text = f"{product} limit, 30 kW: longest excursion"
            yield Bar(text, self._of(product, "P1/30").longest_s, 60, "s")

    def beaten(self) -> Iterable[Bar]:
        for product in PRODUCTS:
            by = [
                f"{profile} by {law}"
                for profile in profiles_of(product)
                for law in STEPPED
                if _beats(self._of(product, profile, BASE.key, law), self._of(product, profile))
            ]
            text = f"{product} limit: beaten on both axes under the same step"
            yield Bar(f"{text} ({'; '.join(by) or 'nowhere'})", len(by), 0, "times")

    def _against_bound(self, product: str, profile: str, setting: str, factor: float) -> Bar:
        ours = self._of(product, profile, setting).exceed_wh
        bound = self._of(product, profile, setting, BOUND).exceed_wh
        text = f"{product} limit, {profile}, {setting}: exceed over the bound's {bound:.2f} Wh"
        return Bar(text, ours / bound if bound else float(ours > SAME_WH), factor, "x")

    def _curtailed(self, profile: str, setting: str, most_wh: float) -> Bar:
        text = f"export limit, {profile}, {setting}: over-curtailed in 240 s"
        return Bar(text, self._of(EXPORT, profile, setting).overcurtail_wh, most_wh, "Wh")

    def _of(self, product: str, profile: str, setting: str = BASE.key, law: str = OURS) -> Metrics:
        return self._results[Key(product, profile, setting, law)]


def _beats(one: Metrics, other: Metrics) -> bool:
    return (
        one.exceed_wh < other.exceed_wh - SAME_WH
        and one.overcurtail_wh < other.overcurtail_wh - SAME_WH
    )
