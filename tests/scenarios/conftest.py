"""Control stories as tables of ticks: what is measured, and which cap and state must follow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import pytest
from export_limiter.config import Config
from export_limiter.limiter import VOLATILE_TOTAL, Limiter
from export_limiter.limits import Actuator, Measurement


class Row(NamedTuple):
    """One tick; powers in W, None for a figure that is lost and for no cap at all."""

    t_s: float
    output_w: float | None
    export_w: float | None
    cap_w: float | None
    state: str


class Story:
    """A limiter whose every wanted cap is in force before the next tick."""

    def __init__(self, **config: Any) -> None:
        given = {"max_multiplus_output_w": None, "max_grid_export_w": None, **config}
        self.limiter = Limiter(Config(**given))
        self.reason = ""
        self.writes = 0

    def tick(
        self,
        t_s: float,
        output_w: float | None,
        export_w: float | None = None,
        actuator: Actuator = VOLATILE_TOTAL,
        **measured: Any,
    ) -> tuple[float | None, str]:
        """One tick of the law: the cap then in force, W, and the state."""
        given = {"controlled_w": output_w, "nominal_w": 12000.0, **measured}
        measurement = Measurement(output_w, export_w=export_w, **given)
        decision = self.limiter.decide(measurement, t_s, actuator)
        self.reason = decision.reason
        if decision.cap_w is not None:
            cap_w = float(round(decision.cap_w))
            self.writes += cap_w != self.limiter.cap_w
            self.limiter.wrote(cap_w, t_s)
        return self.limiter.cap_w, decision.state

    def tell(self, rows: Sequence[tuple[Any, ...]], **measured: Any) -> None:
        """Tick through a table of (t_s, output_w, export_w, cap_w, state) and compare it all."""
        expected = [Row(*row) for row in rows]
        found = [
            Row(*row[:3], *self.tick(row.t_s, row.output_w, row.export_w, **measured))
            for row in expected
        ]
        assert found == expected


@pytest.fixture
def story() -> Callable[..., Story]:
    """Begin a story with the keys of a configuration; without them there is no limit at all."""
    return Story
