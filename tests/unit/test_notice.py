"""What is shown on the device's own screen: when it begins and when it ends, and not too often."""

import pytest
from export_limiter.limiter import FLOOR_ABOVE_LIMIT
from export_limiter.notice import BURST, HOLD_S, Notices


def status(state="monitoring", reason="no usable output measurement", dry_run=False):
    return {"state": state, "reason": reason, "dry_run": dry_run}


def told(*story):
    """The notices of a story of (status, seconds), ticked each second."""
    notices, now, found = Notices(), 1000.0, []
    for each, seconds in story:
        for _ in range(seconds):
            now += 1
            notice = notices.due(each, now)
            found += [notice] if notice else []
    return found


@pytest.mark.parametrize(
    ("bad", "begins", "ends"),
    [
        (
            status("failsafe"),
            "0\tExport limiter\tfailsafe: no usable output measurement",
            "2\tExport limiter\tfailsafe has ended",
        ),
        (
            status("not_enforceable", "no grid"),
            "1\tExport limiter\tthe limit can't be kept: no grid",
            "2\tExport limiter\tthe limit can be kept again",
        ),
        (
            status("limiting", FLOOR_ABOVE_LIMIT % 1000),
            "1\tExport limiter\tthe limit can't be kept: "
            "the floor of 1000 W keeps the limit from being met",
            "2\tExport limiter\tthe limit can be kept again",
        ),
    ],
    ids=["failsafe", "not enforceable", "floor"],
)
def test_the_beginning_and_the_end_are_told_once(bad, begins, ends):
    found = told((status(), 60), (bad, 60), (status("limiting", "held"), 60))

    assert found == [begins, ends]


@pytest.mark.parametrize("state", ["monitoring", "limiting", "relaxing", "starting", "stopping"])
def test_a_usual_state_is_not_told(state):
    assert told((status("monitoring"), 30), (status(state), 60)) == []


def test_what_is_over_soon_is_not_told():
    assert told((status("failsafe"), int(HOLD_S) - 1), (status(), 60)) == []


def test_what_flaps_is_told_a_few_times_an_hour():
    story = ((status("failsafe"), 20), (status(), 20)) * 80

    assert len(told(*story)) == BURST


def test_an_hour_later_the_present_state_is_told():
    flapping = ((status("failsafe"), 20), (status(), 20)) * 3

    last = told(*flapping, (status("failsafe"), 4000))[-1]

    assert last.startswith("0\tExport limiter\tfailsafe: ")


def test_a_dry_run_promises_nothing():
    assert told((status("not_enforceable", dry_run=True), 60)) == []


def test_a_dry_run_writes_no_notification():
    assert told((status("failsafe", dry_run=True), 60)) == []


def test_a_tab_in_a_reason_makes_no_fourth_field():
    notice = told((status("failsafe", "a\tb"), 60))[0]

    assert notice.count("\t") == 2
