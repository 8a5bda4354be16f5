"""The demo's verdict: it must fail for every way in which a limit can be missed."""

import pytest
from demo.records import Record, Row, Site, Write
from demo.verdict import CAP_PATH, judge

SITE = Site("cabin", 5000.0, 1000.0, 2000.0, 8000.0)


def story(
    *,
    load_to_w=8000.0,
    load_w=None,
    output=None,
    cap_w=None,
    state=None,
    writes=(),
    stored_writes=0,
    dropped=(),
):
    """Make a record of 40 s, a row a second: the load steps over the limit at 11 s.

    `load_w`, `output`, `cap_w` and `state` replace single rows by their second.
    """
    rows = []
    for second in range(40):
        load = (load_w or {}).get(second, load_to_w if second > 10 else 2000.0)
        row = Row(
            t_s=float(second),
            load_w=load,
            output_w=(output or {}).get(second, min(load, 5000.0)),
            cap_w=(cap_w or {}).get(second, 5000.0),
            state=(state or {}).get(second, "limiting" if load > 5000 else "monitoring"),
            reason="",
        )
        if second not in dropped:
            rows.append(row)
    return Record(SITE, rows, list(writes), stored_writes)


def cap(t_s, value):
    return Write(float(t_s), "com.victronenergy.hub4", CAP_PATH, float(value))


def setting(t_s, value):
    return Write(
        float(t_s), "com.victronenergy.settings", "/Settings/CGwacs/MaxDischargePower", float(value)
    )


def test_a_limit_that_was_held_has_no_fault():
    verdict = judge(story())

    assert verdict.held
    assert verdict.faults == []


def test_the_figures_are_those_of_the_record():
    record = story(
        output={20: 5200.0, 21: 5400.0},
        writes=[cap(0, 7000), cap(1, 6300), cap(2, 5000), setting(3, 5000)],
        stored_writes=1,
    )

    figures = judge(record).figures

    assert figures.highest_output_w == 5400
    assert figures.highest_load_w == 8000
    assert figures.above_limit_s == 2
    assert figures.above_limit_wh == pytest.approx((200 + 400) / 3600)
    assert figures.largest_step_w == 1300
    assert figures.writes == 4
    assert figures.stored_writes == 1


def test_noise_of_a_power_meter_is_not_an_excess():
    verdict = judge(story(output={20: 5024.0}))

    assert verdict.held
    assert verdict.figures.above_limit_s == 0


def test_a_cap_written_once_has_made_no_step():
    assert judge(story(writes=[cap(0, 5000)])).figures.largest_step_w is None


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        pytest.param({"output": {20: 5030.0}}, "above the limit of 5000 W", id="output too high"),
        pytest.param({"load_to_w": 4900.0}, "shows nothing", id="load never above the limit"),
        pytest.param({"load_w": {25: 100.0}}, "for 13 s only", id="load above for moments only"),
        pytest.param({"cap_w": {5: None, 12: None}}, "no cap was in force", id="cap lost"),
        pytest.param(
            {"cap_w": dict.fromkeys(range(40), None)}, "was ever in force", id="never armed"
        ),
        pytest.param({"cap_w": {13: 6000.0}}, "no cap was in force", id="cap above the limit"),
        pytest.param(
            {"writes": [cap(0, 7000), cap(1, 5900)]},
            "changed by 1100 W in one step, at most 1000 W",
            id="step too large",
        ),
        pytest.param({"state": {30: "monitoring"}}, "not limiting", id="state does not say so"),
        pytest.param({"output": {30: 4400.0}}, "only 4400 W", id="allowed power not delivered"),
        pytest.param({"stored_writes": 2}, "2 stored writes, at most 1", id="flash worn"),
        pytest.param({"dropped": range(20, 25)}, "6.0 s were not recorded", id="gap in the record"),
        pytest.param({"dropped": range(0, 40)}, "nothing was recorded", id="no record"),
    ],
)
def test_a_broken_rule_is_named(change, fault):
    verdict = judge(story(**change))

    assert not verdict.held
    assert any(fault in line for line in verdict.faults), verdict.faults


def test_until_the_inverter_has_followed_the_load_the_state_may_be_monitoring():
    assert judge(story(state=dict.fromkeys(range(11, 26), "monitoring"))).held
