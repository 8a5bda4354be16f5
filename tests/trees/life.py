"""The agent's life on a stage, each verb and each turn of it once: for any Python it may run on."""

from __future__ import annotations

import signal

from gx.stage import Stage
from gx.waiting import wait_until

OVERRIDE = "/Overrides/MaxDischargePower"
SETTING = "/Settings/CGwacs/MaxDischargePower"
VEBUS = "vebus.ttyS4"
SITE = {"vebus": [{"name": "ttyS4", "phases": 1, "units": 1, "nominal_w": 8000}], "load_w": 2000}
PATIENCE_S = 60.0  # a start takes seconds: emulated, or on a busy machine
CONFIG = {"max_multiplus_output_w": 5000, "phase_count": 1}


def live(stage: Stage, paths: tuple[str, ...] = ()) -> None:
    """Go through it; `paths` come first on the agent's module path."""
    site = stage.site(**SITE)
    agent = stage.prepare(**CONFIG)
    agent.environment["PYTHONPATH"] = ":".join([*paths, agent.environment["PYTHONPATH"]])

    checked = agent.call("check-config", str(agent.config))
    found = agent.call("discover")

    assert (checked.returncode, checked.stderr) == (0, "")
    assert found.returncode == 0, found.stderr
    assert "would use: ess_override" in found.stdout

    with agent:
        agent.wait_for(PATIENCE_S, state="monitoring", cap_w=5000.0)
        site.do("load", w=8000)
        agent.wait_for(PATIENCE_S, state="limiting", inverter_output_w=lambda w: 4900 < w <= 5001)
        shown = agent.call("status")

        assert (shown.returncode, shown.stderr) == (0, "")
        assert "limiting" in shown.stdout

        site.do("fault", name="drop", service=VEBUS)
        agent.wait_for(PATIENCE_S, state="failsafe", cap_w=5000.0)
        site.do("fault", name="come", service=VEBUS)
        agent.wait_for(PATIENCE_S, state="limiting")
        site.do("set", service=VEBUS, path="/Ac/Out/P", value=None)
        agent.wait_for(PATIENCE_S, state="failsafe", cap_w=5000.0)
        site.do("unset", service=VEBUS, path="/Ac/Out/P")
        agent.wait_for(PATIENCE_S, state="limiting")

        agent.stop(signal.SIGKILL)
        agent.start()
        mine = agent.process.child.pid  # the old status is still there
        agent.wait_for(PATIENCE_S, pid=mine, state="limiting", cap_w=5000.0, enforceable=True)
        second = agent.call("run", "--config", str(agent.config))

        assert second.returncode == 1
        assert "another agent runs here" in second.stderr

        assert agent.stop() == 0
        assert site.get("hub4", OVERRIDE) == 5000

        released = agent.call("release", "--config", str(agent.config))

        assert released.returncode == 0, released.stderr
        assert site.get("hub4", OVERRIDE) is None
        assert site.get("settings", SETTING) == -1
        assert "Traceback" not in agent.log.read_text()

        agent.start()
        agent.wait_for(PATIENCE_S, pid=agent.process.child.pid, state="limiting")
        stage.bus.stop()
        wait_until(lambda: agent.process.ended, "the end with the bus")

        assert agent.process.child.returncode == 1  # supervision starts it again
