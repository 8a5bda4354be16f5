"""Real input: recordings of real systems are played on a bus, and the agent looks at them.

A recording does not react: what is limited here is a cap, not a power.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from gx.waiting import wait_until

RECORDINGS = Path(__file__).parents[2].with_name("shared") / "recordings"
QUATTRO = RECORDINGS / "quattro-3phase-passthrough.csv"
MULTIPLUS = RECORDINGS / "multiplus-ess-1phase.csv"
METER = RECORDINGS / "grid-meter-3phase.csv"

pytestmark = pytest.mark.skipif(not RECORDINGS.exists(), reason="the recordings are not here")

OVERRIDE = "/Overrides/MaxDischargePower"


def replayed(*files, scale=1.0):
    return {"vebus": [], "replay": [{"file": str(f), "speed": 1, "scale": scale} for f in files]}


def scaled_copy(directory, outputs):
    """A copy of the MultiPlus' recording whose AC output carries `outputs` times as much."""
    lines = []
    for line in MULTIPLUS.read_text().splitlines():
        cells = line.split("\t")
        for at, path in enumerate(cells[:2]):
            if path in ("/Ac/Out/P", "/Ac/Out/L1/P") and "[]" not in cells:
                cells[at + 2] = str(round(float(cells[at + 2]) * outputs))
        lines.append("\t".join(cells))
    copy = directory / "scaled.csv"
    copy.write_text("\n".join(lines) + "\n")
    return copy


def test_passed_through_power_is_no_output_and_is_not_limited(stage):
    stage.speed = 2  # from 11 s on the recording has no grid
    site = stage.site(**replayed(QUATTRO), grid_meter=False)
    agent = stage.agent(max_multiplus_output_w=3000)

    status = agent.wait_for(inverter_output_w=lambda w: w is not None)

    # 3.8 kW go from the AC input to the AC output; reading both takes no part in it.
    assert site.get("vebus.ttyO1", "/Ac/Out/P") == pytest.approx(3750, abs=100)
    assert abs(status["inverter_output_w"]) < 60
    assert status["grid_export_w"] == pytest.approx(-3780, abs=100)
    assert (status["state"], status["enforceable"]) == ("not_enforceable", False)
    assert "ESS assistant is not installed in com.victronenergy.vebus.ttyO1" in status["reason"]
    assert (status["cap_w"], status["binding"], status["method"]) == (None, False, None)
    (inverter,) = status["inverters"]
    assert inverter["product"].startswith("Quattro")
    assert (inverter["phase_count"], inverter["main"]) == (3, True)
    assert site.writes() == []


def test_without_a_grid_the_same_power_is_the_inverters_own(stage):
    stage.site(**replayed(QUATTRO), grid_meter=False)
    agent = stage.agent(max_multiplus_output_w=3000)

    # 11 s into the recording the AC input is gone, and still shows 15 W.
    status = agent.wait_for(inverter_output_w=lambda w: w is not None and w > 3000)

    assert status["inverter_output_w"] == pytest.approx(3720, abs=60)
    assert status["state"] == "not_enforceable"


def test_a_charging_multiplus_has_a_negative_output_and_ess(stage):
    site = stage.site(**replayed(MULTIPLUS), grid_meter=False)
    agent = stage.agent(max_multiplus_output_w=2000, phase_count=1, stored_backstop=False)

    status = agent.wait_for(enforceable=True)

    assert status["inverter_output_w"] == pytest.approx(-290, abs=60)
    assert status["grid_export_w"] == pytest.approx(-400, abs=60)
    assert (status["state"], status["method"]) == ("monitoring", "ess_override")
    assert [i["service"] for i in status["inverters"]] == ["com.victronenergy.vebus.ttyO1"]
    assert {write["path"] for write in site.writes()} == {OVERRIDE}


def test_a_scaled_copy_is_limited_step_by_step(stage):
    copy = scaled_copy(stage.directory, outputs=80)  # 110 W become 8.8 kW
    site = stage.site(**replayed(copy), grid_meter=False)
    agent = stage.agent(max_multiplus_output_w=5000, phase_count=1)

    status = agent.wait_for(cap_w=5000.0)

    assert (status["state"], status["binding"]) == ("limiting", True)
    assert status["inverter_output_w"] == pytest.approx(8000, abs=900)
    caps = [write["value"] for write in site.writes(OVERRIDE)]
    first, *_ = caps
    assert first == pytest.approx(8000, abs=900)  # where the output is: nothing is cut at once
    assert max(high - low for high, low in zip(caps, caps[1:], strict=False)) <= 1000
    wait_until(lambda: site.get("hub4", "/MaxDischargePower") == 5000, "the cap in force")


def test_a_meter_that_shows_a_negative_power_means_export(stage):
    stage.site(**replayed(MULTIPLUS, METER), grid_meter=False)
    agent = stage.agent(
        max_multiplus_output_w=None, max_grid_export_w=5000, min_output_limit_w=100, phase_count=1
    )

    status = agent.wait_for(enforceable=True)

    assert status["grid_export_w"] == pytest.approx(2324, abs=60)
    assert status["measured_w"] == status["grid_export_w"]


def test_an_export_of_a_recorded_meter_above_its_limit_lowers_the_cap(stage):
    site = stage.site(**replayed(MULTIPLUS, METER), grid_meter=False)
    agent = stage.agent(
        max_multiplus_output_w=None, max_grid_export_w=2000, min_output_limit_w=100, phase_count=1
    )

    agent.wait_for(cap_w=100.0, reason="the floor of 100 W keeps the limit from being met")

    wait_until(lambda: site.get("hub4", OVERRIDE) == 100, "the floor")
