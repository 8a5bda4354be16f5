"""What is recorded is what the status says: powers, times above the limit, and events."""

import json

import pytest
from export_limiter.config import Config
from export_limiter.history import MINUTE_FIELDS
from export_limiter.recording import Recording

NOON = 1_795_348_800.0
LIMIT_W = 6000.0


def status(output_w=3000.0, export_w=None, **fields):
    return {
        "version": "0.1.0",
        "commit": "ab" * 20,
        "state": "monitoring",
        "reason": "output is below the cap",
        "method": "ess_override",
        "control_point": "com.victronenergy.hub4/Overrides/MaxDischargePower",
        "cap_w": LIMIT_W,
        "inverter_output_w": output_w,
        "grid_export_w": export_w,
        "phases": [],
        "last_refusal": None,
        **fields,
    }


class Recorded:
    """A recording in a directory of its own, told a status each second."""

    def __init__(self, directory, **config):
        self.directory = directory
        self.now = 6000.0
        limits = {"max_multiplus_output_w": LIMIT_W, **config}
        self.recording = Recording(Config(**limits), str(directory), str(directory), self.now)

    def run(self, seconds, each):
        for _ in range(seconds):
            self.now += 1
            self.recording.note(each, self.now, NOON + self.now)
        return self

    @property
    def ring(self):
        return json.loads((self.directory / "history.json").read_text())

    @property
    def last(self):
        return dict(zip(MINUTE_FIELDS, self.ring["minutes"][-1], strict=True))

    @property
    def events(self):
        return [text for _, text in self.ring["events"]]


@pytest.fixture
def recorded(tmp_path):
    return Recorded(tmp_path)


def test_the_ring_is_written_when_a_minute_has_ended(recorded):
    recorded.run(59, status())
    assert recorded.ring["minutes"] == []

    recorded.run(1, status())

    assert recorded.last["output_mean_w"] == 3000


@pytest.mark.parametrize(
    ("state", "written"),
    [("failsafe", True), ("not_enforceable", True), ("limiting", False), ("monitoring", False)],
)
def test_the_ring_is_written_at_once_when_a_bad_state_begins(recorded, state, written):
    recorded.run(5, status())

    recorded.run(1, status(state=state, reason="why"))

    assert (recorded.events[-1] == f"{state}: why") == written


def test_the_ring_is_written_when_the_agent_stops(recorded):
    recorded.run(5, status()).run(1, status(state="stopping", reason="asked to stop"))

    assert recorded.events[-1] == "stopping: asked to stop"


def test_an_old_figure_in_failsafe_is_not_recorded(recorded):
    recorded.run(30, status()).run(31, status(9000.0, state="failsafe"))

    assert (recorded.last["measured_s"], recorded.last["output_max_w"]) == (29, 3000)
    assert recorded.last["above_s"] == 0


def test_an_export_limit_is_recorded_only_with_the_meter(tmp_path):
    recorded = Recorded(tmp_path, max_multiplus_output_w=None, max_grid_export_w=500.0)

    recorded.run(30, status(3000.0, 700.0)).run(31, status(3000.0, None))

    assert (recorded.last["measured_s"], recorded.last["export_mean_w"]) == (29, 700)
    assert recorded.last["above_s"] == 29


def test_a_phase_above_its_share_is_above_the_limit(tmp_path):
    phases = [{"phase": p, "inverter_output_w": w} for p, w in (("L1", 2600.0), ("L2", None))]

    recorded = Recorded(tmp_path, per_phase=True, phase_count=3)
    recorded.run(61, status(3000.0, phases=phases))

    assert recorded.ring["open"][0][3] == 600


@pytest.mark.parametrize(
    ("per_phase", "over_w"), [(True, 400), ("strict", 400), (False, None)], ids=str
)
def test_a_phase_that_exports_more_than_its_share_is_above_the_limit(tmp_path, per_phase, over_w):
    exports_w = {"L1": 1400.0, "L2": -900.0, "L3": None}
    phases = [
        {"phase": p, "inverter_output_w": 0.0, "grid_export_w": exports_w[p]} for p in exports_w
    ]
    limits = {"max_multiplus_output_w": None, "max_grid_export_w": 3000.0}

    recorded = Recorded(tmp_path, per_phase=per_phase, phase_count=3, **limits)
    recorded.run(61, status(3000.0, 500.0, phases=phases))

    assert [each[:1] + each[3:] for each in recorded.ring["open"]] == (
        [["export", over_w]] if over_w else []
    )


def test_events_are_what_a_person_asks_for(recorded):
    recorded.run(2, status(state="starting", reason="waiting", method=None))
    recorded.run(2, status())
    recorded.run(2, status(last_refusal="SetValue returned 1"))
    recorded.run(2, status(method="ess_setting", control_point="setting"))
    recorded.run(60, status(state="failsafe", reason="no usable output measurement", method=None))

    assert recorded.events == [
        "started: version 0.1.0, abababababab",
        "starting: waiting",
        "monitoring: output is below the cap",
        "limiting by ess_override at com.victronenergy.hub4/Overrides/MaxDischargePower",
        "write refused: SetValue returned 1",
        "limiting by ess_setting at setting",
        "failsafe: no usable output measurement",
    ]


def test_every_tick_can_be_read(recorded, caplog):
    caplog.set_level("DEBUG", "export_limiter")

    recorded.run(1, status(3000.4)).run(1, status(None, state="failsafe", cap_w=None))

    assert caplog.messages == [
        "output 3000 W, export --- W, cap 6000 W: monitoring",
        "output --- W, export --- W, cap --- W: failsafe",
    ]


def test_a_directory_that_can_not_be_written_stops_nothing(tmp_path):
    recorded = Recorded(tmp_path / "gone")

    recorded.run(120, status())


def test_a_day_is_written_durably(recorded):
    recorded.now = 6000.0 + 43200 - 120 - 6000
    recorded.run(300, status())

    days = json.loads((recorded.directory / "days.json").read_text())
    assert [row[0] for row in days["days"]] == ["2026-11-22"]
