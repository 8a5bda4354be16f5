"""Part A of the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bench import plots
from bench.contest import BOUND, OURS, STEP_FREE
from bench.defaults import CHOICES, SHOWN
from bench.defaults import Results as Choices
from bench.document import Figure, Heading, Part, Row, Table, Text
from bench.loop import Run
from bench.metrics import Metrics
from bench.profiles import BASE, EXPORT, OUTPUT, PROFILES, SETTINGS
from bench.quality import Key, Results, laws_of, profiles_of, settings_of
from bench.stories import FAULTS, Outcomes

HOW = (
    "The real control law over the real model of a site, on a stepped clock with fixed seeds; "
    "figures are of the 240 s after the event. Exceed is energy above the limit where it is "
    "exceeded by more than 20 W, over-curtailed energy what could have been delivered within the "
    "limit and was not. The bound is the best causal law with the same step and interval in the "
    "same plant: it knows the plant's gain and, as late as the meter shows it, exactly what the "
    "rest of the site did; it keeps no margin. Other programs' laws are restated in our own words "
    "from what is public about them; each acts at its own cycle, and also at our 1 s where that "
    "differs. Each may move its cap by 1000 W when it acts; those without that bound stand apart."
)


def parts(
    results: Results,
    outcomes: Outcomes,
    choices: Choices,
    traces: Mapping[str, Mapping[str, Run]],
) -> list[Part]:
    """Control quality: pictures, tables for both products, the sweeps, the defaults, the faults."""
    return [
        Heading(2, "A. Control quality"),
        Text(HOW),
        _profiles_table(),
        Heading(3, "The trade, export limit"),
        Figure(
            "trade",
            plots.trade(results),
            "Down is less above the limit, left is less given away; the axes are linear below "
            "1 Wh, and all of the way for P4 and P5. Hollow marks have no step limit. A law below "
            "and left of another beats it.",
        ),
        Figure(
            "traces",
            plots.traces(traces),
            "Feed-in over time: this limiter, the bound, the stock-like law at its own cycle with "
            "the same step, and no limiter at all.",
        ),
        Heading(3, "Export limit: exceed / over-curtailed, Wh"),
        _matrix(results, EXPORT),
        Heading(3, "Output limit: exceed / over-curtailed, Wh"),
        _matrix(results, OUTPUT),
        Heading(3, "This limiter and the bound in full"),
        *(_details(results, product, law) for product in (EXPORT, OUTPUT) for law in (OURS, BOUND)),
        Heading(
            3, "Other plants: exceed / over-curtailed Wh of this limiter (exceed of the bound)"
        ),
        _settings_table(),
        *(_sweep(results, product) for product in (EXPORT, OUTPUT)),
        Heading(3, "Why the defaults are what they are"),
        Text("Export limit, one setting varied at a time: exceed / over-curtailed, Wh."),
        *_defaults(choices),
        Heading(3, "Faults"),
        Text(
            "The whole agent on a device without a bus. The fault comes at 60 s, 5 kW too much at "
            "62 s, the end at 240 s; what is said is what the agent says at the end of the fault."
        ),
        _faults(outcomes),
    ]


def _profiles_table() -> Table:
    rows = [
        Row([each.key, each.title, f"{each.meter_age_s:g}", f"{each.vebus_age_s:g}"])
        for each in PROFILES.values()
    ]
    return Table(["profile", "what happens", "meter age, s", "inverter age, s"], rows, left=(0, 1))


def _settings_table() -> Table:
    rows = [Row([each.key, each.title]) for each in SETTINGS.values()]
    return Table(["plant", "what is changed"], rows, left=(0, 1))


def _matrix(results: Results, product: str) -> Table:
    profiles = profiles_of(product)
    rows = []
    for law in laws_of(product, BASE.key):
        cells = [_pair(results[Key(product, each, BASE.key, law)]) for each in profiles]
        rows.append(Row([law, *cells], "ours" if law == OURS else ""))
    free = [row for row in rows if row.cells[0] in STEP_FREE]
    stepped = [row for row in rows if row not in free]
    gap = Row(["without a bound on the step:", *([""] * len(profiles))])
    return Table([f"{product} limit", *profiles], [*stepped, gap, *free])


def _details(results: Results, product: str, law: str) -> Table:
    rows = [
        _detail(each, results[Key(product, each, BASE.key, law)]) for each in profiles_of(product)
    ]
    header = [
        f"{law}, {product} limit",
        "exceed Wh",
        "over-curt. Wh",
        "above s",
        "excursions <5/15/60/more s",
        "longest s",
        "first down s",
        "comply s",
        "peak W",
        "largest fall W",
        "largest rise W",
        "writes",
        "to flash",
    ]
    return Table(header, rows)


def _detail(profile: str, m: Metrics) -> Row:
    comply_s = m.comply_s if PROFILES[profile].one_event else None
    return Row(
        [
            profile,
            f"{m.exceed_wh:.2f}",
            f"{m.overcurtail_wh:.2f}",
            f"{m.above_s:.1f}",
            " / ".join(map(str, m.excursions)),
            f"{m.longest_s:.1f}",
            _or_none(m.first_reduction_s),
            _or_none(comply_s),
            f"{m.peak_w:.0f}",
            f"{m.largest_fall_w:.0f}",
            f"{m.largest_rise_w:.0f}",
            str(m.writes),
            str(m.settings_writes),
        ]
    )


def _sweep(results: Results, product: str) -> Table:
    profiles, rows = profiles_of(product), []
    for setting in SETTINGS.values():
        cells = []
        for profile in profiles:
            ours = results.get(Key(product, profile, setting.key, OURS))
            bound = results.get(Key(product, profile, setting.key, BOUND))
            there = setting.key in settings_of(product, profile)
            best = f" ({bound.exceed_wh:.1f})" if bound else ""
            cells.append(_pair(ours) + best if there and ours else "")
        if any(cells):  # a meter's age is nothing to an output limit
            rows.append(Row([setting.key, *cells]))
    return Table([f"{product} limit", *profiles], rows)


def _defaults(choices: Choices) -> Sequence[Part]:
    found: list[Part] = []
    for choice in CHOICES:
        rows = []
        for value in sorted({choice.default, *choice.others}):
            metrics = [choices[choice.key, value, profile] for profile in SHOWN]
            noisy, late = metrics[SHOWN.index("P7")], metrics[SHOWN.index("P8/5-1")]
            said = "none" if value >= 1e6 else f"{value:g}"
            cells = [said, *map(_pair, metrics), str(noisy.writes), f"{late.swing_w:.0f}"]
            rows.append(Row(cells, "ours" if value == choice.default else ""))
        header = [choice.key, *SHOWN, "writes P7", "swing P8/5-1, W"]
        found += [Table(header, rows), Text(f"{choice.default:g}: {choice.reason}")]
    return found


def _faults(outcomes: Outcomes) -> Table:
    rows = []
    for fault in FAULTS:
        for product in (EXPORT, OUTPUT):
            o = outcomes[fault.key, product]
            cells = [
                f"{fault.key} {fault.title}",
                product,
                _or_none(o.first_reduction_s),
                "opened" if o.raised_w == float("inf") else f"{o.raised_w:.0f}",
                f"{o.exceed_wh:.1f}",
                f"{o.overcurtail_wh:.1f}",
                f"{o.override_writes} / {o.stored_writes}",
                f"{o.state}: {o.reason}",
            ]
            rows.append(Row(cells))
    header = [
        "fault",
        "limit",
        "first down s",
        "cap rose W",
        "exceed Wh",
        "over-curt. Wh",
        "writes RAM / flash",
        "said",
    ]
    return Table(header, rows, left=(0, 1, 7))


def _pair(metrics: Metrics) -> str:
    return f"{metrics.exceed_wh:.1f} / {metrics.overcurtail_wh:.1f}"


def _or_none(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"
