"""What the demo knows about a site while it runs: who it is, what it did, what was written."""

from typing import NamedTuple


class Site(NamedTuple):
    """A simulated site; its load rises from `load_from_w` to `load_to_w` in the demo."""

    name: str
    limit_w: float
    max_step_w: float
    load_from_w: float
    load_to_w: float


class Row(NamedTuple):
    """One look at a site, `t_s` after the demo began to look.

    Powers are the simulation's truth, not what the agent measured; `cap_w` is the cap in force at
    the inverter, None for none. State and reason are the agent's own words.
    """

    t_s: float
    load_w: float
    output_w: float
    cap_w: float | None
    state: str
    reason: str


class Write(NamedTuple):
    """One value written by anybody to the simulated site, None for "no value"."""

    t_s: float
    service: str
    path: str
    value: float | None


class Record(NamedTuple):
    """All that the demo saw of one site."""

    site: Site
    rows: list[Row]
    writes: list[Write]
    stored_writes: int
