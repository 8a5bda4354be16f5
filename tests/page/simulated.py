"""Fleets that never were: what the probes of some sites would have said, made from a seed."""

from __future__ import annotations

import json
import math
import random
from datetime import UTC, datetime
from typing import Any, NamedTuple

from export_limiter.history import DAY_FIELDS, MINUTE_FIELDS
from role import load

device = load("files/device.py")
fleet = load("controller/fleet.py")

NOW = 1_795_360_500.0  # 2026-11-22 15:15 UTC
COMMITS = ("4f9c2e81b7d05a3366e19fd28c40a7715be90d12", "9d03d0d5c1e7a2484bb08f6f3a9e5d7c02816b4e")
NAMES = """tallinn-harbour tartu-dairy parnu-hotel saaremaa-farm riga-depot liepaja-yard
    cesis-workshop oulu-sawmill turku-marina inari-lodge""".split()
GROUPS = ("canary", "customer_kalda", "north")
FIRMWARE = ("v3.67", "v3.55", "v3.70~14", "v2.94")
# In minutes: where the day ends, how long before it a bad state begins, and the first excursion.
END, BAD_FOR, EXCEEDED_AT = 100_000, 300, 270
DIFFERENT = 12  # days of each kind in a large fleet: making one takes a while
PRODUCT = "MultiPlus-II 48/5000/70-50"
HOSTILE = (
    "<script>document.title='owned'</script>",
    '"><img src=x onerror="document.title=1">',
    "{{ 7 * 7 }} {% raw %}",
    '=HYPERLINK("http://192.0.2.1")',
    "</script><b id=injected>",
    "Jõe & Mäe 'OÜ' ✓",
)


class Kind(NamedTuple):
    """How a site is doing; `excursions` are (seconds, W above the limit)."""

    state: str = "monitoring"
    reason: str = "output is below the cap"
    enforceable: bool = True
    excursions: tuple[tuple[float, float], ...] = ()


WELL = Kind()
HELD = Kind("limiting", "output is held at the cap")
EXCEEDED = Kind("limiting", "walking down", True, ((72.0, 1450.0), (22.0, 610.0), (6.0, 90.0)))
NO_ESS = Kind("not_enforceable", "the ESS assistant is not installed in ttyS4", False)
LOST = Kind("failsafe", "no usable output measurement")


def ten(seed: int = 1) -> list[Any]:
    """Ten sites, of which the fourth exceeded its limit and the eighth can't limit."""
    kinds = [HELD, WELL, WELL, EXCEEDED, HELD, WELL, WELL, NO_ESS, WELL, HELD]
    chance = random.Random(seed)
    return [site(name, kind, chance) for name, kind in zip(NAMES, kinds, strict=True)]


def many(count: int, seed: int = 1) -> list[Any]:
    """A fleet in which now and then one does badly."""
    chance = random.Random(seed)
    weights = {WELL: 55, HELD: 35, EXCEEDED: 2, NO_ESS: 1, LOST: 1, None: 4}
    found = []
    made: dict[Kind, list[Any]] = {}
    for number in range(count):
        kind = chance.choices(list(weights), list(weights.values()))[0]
        name = f"{NAMES[number % 10]}-{number:03}"
        if kind is None:
            found.append(offline(name))
        elif len(made.setdefault(kind, [])) < DIFFERENT:
            found.append(site(name, kind, chance))
            made[kind].append(found[-1])
        else:
            drift = ["boot line: absent"] if chance.random() < 0.02 else []
            found.append(chance.choice(made[kind])._replace(name=name, drift=drift))
    return found


def offline(name: str) -> Any:
    """Make a site that does not answer."""
    probe = {
        "unreachable": True,
        "msg": "offline: ssh: connect to host 192.0.2.7 port 22: Connection timed out",
        "site": _wanted(10_000.0),
        "received_at": NOW,
    }
    return fleet.Host(name, ["gx", "all"], probe, [])


def site(name: str, kind: Kind = WELL, chance: random.Random | None = None, **changes: Any) -> Any:
    """Make a site that answers; `changes` are fields of its status."""
    chance = chance or random.Random(name)
    limit_w = chance.choice((5_000.0, 10_000.0, 15_000.0, 30_000.0))
    minutes = day(kind, limit_w, chance)
    status = _status(kind, limit_w, minutes[-1], chance) | changes
    commit = COMMITS[chance.random() < 0.15]
    wanted = _wanted(limit_w)
    probe = {
        "portal_id": f"c0619a{chance.randrange(1 << 24):06x}",
        "firmware": chance.choice(FIRMWARE),
        "machine": "einstein",
        "python": "3.12.12",
        "current": f"{commit}-0123456789ab",
        "since": NOW - 86400 * 9.5 - chance.randrange(7200),
        "pid": status["pid"],
        "status": status,
        "config": wanted["config"],
        "version": status["version"],
        "site": wanted,
        "received_at": NOW - chance.randrange(40),
        "history": _reply(minutes, kind, limit_w, chance),
    }
    groups = ["all", "gx", *chance.sample(GROUPS, chance.randrange(3))]
    return fleet.Host(name, groups, probe, [])


def _wanted(limit_w: float) -> dict[str, Any]:
    config = {"max_multiplus_output_w": limit_w, "max_grid_export_w": None, "phase_count": 3}
    config |= {"methods": "auto", "dry_run": False, "control_interval_s": 1}
    return {"config": json.dumps(config), "settings": {"portal_id": ""}, "faults": []}


def day(kind: Kind, limit_w: float, chance: random.Random, end: int = END) -> list[list[Any]]:
    """Make the rows of a day up to a minute: a load that wanders and jumps, most of it by day."""
    rows = []
    highest_w = load_w = 1.35 * limit_w if kind.state == "limiting" else 0.75 * limit_w
    first = end - 1440
    for minute in range(first, end):
        by_day = 0.5 + 0.5 * math.cos(2 * math.pi * (minute - first) / 1440)
        target = highest_w * (0.3 + 0.7 * by_day)
        if chance.random() < 0.006:
            load_w = chance.uniform(0.4, 1.4) * target
        load_w += chance.gauss(0.05 * (target - load_w), 0.01 * limit_w)
        mean_w = min(load_w, limit_w - 15)
        low_w, high_w = (mean_w - abs(chance.gauss(0, 0.02 * limit_w)) for _ in range(2))
        high_w = min(2 * mean_w - high_w, limit_w)
        state = "limiting" if load_w > limit_w else "monitoring"
        if kind.state in ("failsafe", "not_enforceable") and minute > end - BAD_FOR:
            state = kind.state
        measured_s = 0 if state == "failsafe" else 60
        powers = [round(low_w), round(mean_w), round(high_w)] if measured_s else [None] * 3
        above = [0, 0.0]
        for number, (length_s, above_w) in enumerate(kind.excursions):
            if minute == end - EXCEEDED_AT + 60 * number:
                above = [round(length_s), round(length_s * above_w / 3600 / 2, 3)]
                powers[2] = round(limit_w + above_w)
        cap_w = None if state == "not_enforceable" else round(limit_w)
        row = [minute, measured_s, *powers, None, None, *above, cap_w, state, round(limit_w), None]
        rows.append(row)
    return rows


def excursions(kind: Kind, end: int = END) -> list[list[Any]]:
    """Make the excursions of such a day, as the agent keeps them."""
    first = end - EXCEEDED_AT
    return [
        ["output", (first + 60 * number) * 60.0 + 4, length_s, above_w]
        for number, (length_s, above_w) in enumerate(kind.excursions)
    ]


def days_before(
    kind: Kind, limit_w: float, chance: random.Random, now: float = NOW
) -> list[list[Any]]:
    """Make the lines of three weeks that have ended, as the agent keeps them.

    The last one has the excursions of the day, which may have been before midnight.
    """
    rows = []
    for number in range(21, 0, -1):
        line = {**dict.fromkeys(DAY_FIELDS, 0), "measured_s": 86_340, "output_min_w": 120}
        line["date"] = datetime.fromtimestamp(now - 86_400 * number, UTC).strftime("%Y-%m-%d")
        line["output_mean_w"] = round(limit_w * chance.uniform(0.4, 0.7))
        line["output_max_w"] = round(limit_w)
        if number == 1:
            line |= _of_excursions(kind, limit_w)
        rows.append([line[name] for name in DAY_FIELDS])
    return rows


def _of_excursions(kind: Kind, limit_w: float) -> dict[str, float]:
    """Make what the line of a day says of them."""
    lengths_s = [length_s for length_s, _ in kind.excursions]
    highest_w = max((above_w for _, above_w in kind.excursions), default=0)
    return {
        "output_max_w": round(limit_w + highest_w),
        "above_s": round(sum(lengths_s)),
        "above_wh": round(sum(length_s * w / 7200 for length_s, w in kind.excursions), 3),
        "below_15_s": sum(length_s < 15 for length_s in lengths_s),
        "from_15_to_60_s": sum(15 <= length_s <= 60 for length_s in lengths_s),
        "above_60_s": sum(length_s > 60 for length_s in lengths_s),
        "longest_s": max(lengths_s, default=0),
        "highest_w": round(highest_w),
    }


def _status(kind: Kind, limit_w: float, last: list[Any], chance: random.Random) -> dict[str, Any]:
    output_w = None if last[3] is None else float(last[3]) + chance.randrange(20)
    limited = kind.enforceable
    return {
        "version": "0.1.0",
        "commit": COMMITS[0],
        "pid": 812,
        "started_at": NOW - 86400 * 3,
        "updated_at": NOW,
        "state": kind.state,
        "state_since": NOW - chance.randrange(60, 30_000),
        "reason": kind.reason,
        "enforceable": limited,
        "dry_run": False,
        "binding": kind.state == "limiting",
        "method": "ess_override" if limited else None,
        "control_point": "com.victronenergy.hub4/Overrides/MaxDischargePower" if limited else None,
        "cap_w": limit_w if limited else None,
        "measured_w": output_w,
        "inverter_output_w": output_w,
        "grid_export_w": round(chance.uniform(-9000, 50)),
        "limits": {"max_multiplus_output_w": limit_w, "max_grid_export_w": None},
        "phases": [
            {"phase": f"L{n}", "inverter_output_w": None if output_w is None else output_w / 3}
            for n in (1, 2, 3)
        ],
        "inverters": [
            {
                "service": "com.victronenergy.vebus.ttyS4",
                "product": PRODUCT,
                "nominal_w": limit_w,
                "input_a": round(chance.uniform(0, 40), 1),
                "input_limit_a": 50.0,
            }
        ],
        "others": {
            "applied_w": limit_w,
            "setting_w": limit_w,
            "override_w": limit_w,
            "override_holder": None,
            "hub4_mode": 2,
            "max_feed_in_w": None,
            "export_limit_a": None,
        },
        "warnings": [],
        "counters": {
            "ticks": 259_000 + chance.randrange(900),
            "failsafe_entries": int(kind.state == "failsafe"),
            "writes": 8640,
            "stored_writes": 1,
            "refused_writes": 0,
        },
        "last_refusal": None,
    }


def _reply(
    minutes: list[list[Any]], kind: Kind, limit_w: float, chance: random.Random
) -> dict[str, Any]:
    """The history as the device program hands it over."""
    days = days_before(kind, limit_w, chance)
    now_s = END * 60 + 25.0
    events = [
        [round(now_s) - 80_000, f"started: version 0.1.0, {COMMITS[0][:12]}"],
        [round(now_s) - 79_998, "limiting by ess_override at com.victronenergy.hub4"],
        [round(now_s) - 70_000, "limiting: output is held at the cap"],
    ]
    if kind.state in ("failsafe", "not_enforceable"):
        events.append([(END - BAD_FOR) * 60, f"{kind.state}: {kind.reason}"])
    return {
        "monotonic_s": now_s,
        "clock_s": NOW + 2,
        "minutes": [device.differences(column) for column in zip(*minutes, strict=True)],
        "minutes_fields": list(MINUTE_FIELDS),
        "days": [device.differences(column) for column in zip(*days, strict=True)],
        "days_fields": list(DAY_FIELDS),
        "excursions": excursions(kind),
        "open": [],
        "events": events,
    }
