"""The fault profiles P9 to P14: what fails, when it is mended, and what is asked."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.pool import Pool

from export_limiter import victron
from gx.plant import ESS, PASSTHROUGH

from bench.bars import Bar
from bench.device import GRID, HUB4, SETTINGS, SYSTEM, VEBUS
from bench.faults import Fault, Outcome, Site, play
from bench.profiles import EXPORT, PRODUCTS

LOST_S = 5.0
FROZEN_S = 15.0
OTHER_NAME = "com.victronenergy.vebus.ttyUSB0"
OTHER_CAP_W = 20000.0
REBOOT_S = 60.0


def _freeze(name: str) -> Callable[[Site], None]:
    return lambda site: site.device.frozen.add(name)


def _invalidate(name: str) -> Callable[[Site], None]:
    return lambda site: site.device.invalid.add(name)


def _drop(name: str) -> Callable[[Site], None]:
    return lambda site: site.device.gone.add(name)


def _return(name: str) -> Callable[[Site], None]:
    return lambda site: site.device.gone.discard(name)


def _return_renamed(site: Site) -> None:
    site.device.rename(VEBUS, OTHER_NAME)
    site.device.publish(SYSTEM, {victron.MAIN_VEBUS: OTHER_NAME})
    site.device.gone.discard(VEBUS)


def _return_restarted(site: Site) -> None:
    site.device.reboot()
    site.device.gone.discard(HUB4)


def _answer(answer: int | str) -> Callable[[Site], None]:
    def fail(site: Site) -> None:
        site.device.answers = answer

    return fail


def _kill(site: Site) -> None:
    site.kill()


def _start(site: Site) -> None:
    site.start()


def _power_down(site: Site) -> None:
    """No hub4control: the inverter passes through until it is commanded again."""
    site.kill()
    site.plant.control = PASSTHROUGH
    site.device.reboot()


def _power_up(site: Site) -> None:
    site.plant.control = ESS
    site.start()


def _overwrite(site: Site) -> None:
    site.device.publish(HUB4, {victron.OVERRIDE_MAX_DISCHARGE: OTHER_CAP_W})


def _keep_overwriting(site: Site) -> None:
    site.meddle = lambda: _overwrite(site)


def _set(path: str, value: int) -> Callable[[Site], None]:
    return lambda site: site.device.publish(SETTINGS, {path: value})


def _grid(present: bool) -> Callable[[Site], None]:
    def change(site: Site) -> None:
        site.plant.grid_on = present

    return change


MODE, BATTERY = victron.SETTING_HUB4_MODE, victron.SETTING_BATTERYLIFE_STATE

FAULTS = (
    Fault("P0", "nothing fails", lambda site: None),
    Fault("P9a", "meter repeats its last values", _freeze(GRID), reduce_within_s=FROZEN_S),
    Fault("P9b", "meter has no value", _invalidate(GRID), reduce_within_s=LOST_S),
    Fault("P9c", "inverter has no value", _invalidate(VEBUS), reduce_within_s=LOST_S),
    Fault("P9d", "inverter repeats its last values", _freeze(VEBUS), reduce_within_s=FROZEN_S),
    Fault("P10a", "agent killed, back after 5 s", _kill, 5.0, _start),
    Fault("P10b", "agent killed for good", _kill),
    Fault("P10c", "device reboots, 60 s", _power_down, REBOOT_S, _power_up),
    Fault("P11a", "SetValue answers 1", _answer(1)),
    Fault("P11b", "SetValue answers 2", _answer(2)),
    Fault("P11c", "SetValue answers -1", _answer(-1)),
    Fault("P11d", "SetValue does not answer", _answer("timeout")),
    Fault("P11e", "SetValue is ignored", _answer("ignored")),
    Fault("P12a", "meter gone for 1.3 s", _drop(GRID), 1.3, _return(GRID)),
    Fault("P12b", "meter gone for 10 s", _drop(GRID), 10.0, _return(GRID), LOST_S),
    Fault(
        "P12c", "inverter gone for 10 s, other name", _drop(VEBUS), 10.0, _return_renamed, LOST_S
    ),
    Fault("P12d", "hub4 gone for 10 s, override lost", _drop(HUB4), 10.0, _return_restarted),
    Fault("P13a", "another program writes 20 kW, once", _overwrite),
    Fault("P13b", "another program writes 20 kW each 5 s", _keep_overwriting),
    Fault("P14a", "Hub4Mode 3", _set(MODE, 3), 60.0, _set(MODE, 1), enforceable=False),
    Fault(
        "P14b",
        "batteries kept charged",
        _set(BATTERY, 9),
        60.0,
        _set(BATTERY, 10),
        enforceable=False,
    ),
    Fault("P14c", "grid lost", _grid(False), 60.0, _grid(True), enforceable=False),
)
BY_KEY = {fault.key: fault for fault in FAULTS}
# Where a cap may rise: nothing fails, or somebody else raises it for a moment.
MAY_RISE = ("P0", "P13a", "P13b")
RISE_W = 20.0  # less is a reading's doubt before a fault is known

Outcomes = Mapping[tuple[str, str], Outcome]


def play_all(pool: Pool) -> Outcomes:
    """Play every story for both products: by key and product."""
    keys = [(fault.key, product) for fault in FAULTS for product in PRODUCTS]
    return dict(zip(keys, pool.map(_play, keys, chunksize=2), strict=True))


def _play(key: tuple[str, str]) -> Outcome:
    logging.disable()  # the agent would tell of each fault
    return play(BY_KEY[key[0]], key[1])


def fault_bars(outcomes: Outcomes) -> Sequence[Bar]:
    """What is asked in the stories."""
    bars = []
    for fault in FAULTS:
        if fault.reduce_within_s is not None:
            reduced_s = outcomes[fault.key, EXPORT].first_reduction_s
            text = f"export limit, {fault.key} {fault.title}: first reduction"
            value = math.inf if reduced_s is None else reduced_s
            bars.append(Bar(text, value, fault.reduce_within_s, "s"))
    ours = {key: each for key, each in outcomes.items() if key[0] not in MAY_RISE}
    rose = [
        f"{key} {product} limit" for (key, product), each in ours.items() if each.raised_w > RISE_W
    ]
    bars.append(
        Bar(f"faults: the cap rose ({'; '.join(rose) or 'nowhere'})", len(rose), 0, "times")
    )
    silent = [
        f"{key} {product} limit"
        for (key, product), each in outcomes.items()
        if BY_KEY[key].enforceable is False and each.enforceable
    ]
    text = f"faults: said enforceable where it can't be ({'; '.join(silent) or 'nowhere'})"
    bars.append(Bar(text, len(silent), 0, "times"))
    for product in PRODUCTS:
        steady = outcomes["P0", product].stored_writes
        bars.append(Bar(f"{product} limit, steady state: settings writes", steady, 0, ""))
    return bars
