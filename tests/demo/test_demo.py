"""The demo itself: what it shows, and that it leaves nothing behind when it is stopped."""

import io
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from gx.fleet import is_up
from gx.namespaces import loop_devices, namespaces_permitted
from gx.waiting import wait_until
from rich.console import Console

from demo.devices import WORKDIR
from demo.plot import draw
from demo.records import Record, Row, Site
from demo.story import END_S, FALL_AT_S, QUIET_S, RISE_S, load_w
from demo.view import View

ROOT = Path(__file__).parents[2]
SITE = Site("cabin", 5000.0, 1000.0, 2000.0, 8000.0)
ROW = Row(12.0, 8000.0, 4990.0, 5000.0, "limiting", "output is held at the cap")

STARTS_S = 30.0
STOPS_S = 20.0


class Demo:
    """The demo as a process; `said` is what it has printed so far."""

    def __init__(self, directory: Path, *arguments: str) -> None:
        self.picture = directory / "demo.png"
        self._log = directory / "demo.log"
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-u", "-m", "demo", "--picture", self.picture, *arguments],
                env={**os.environ, "PYTHONPATH": "tests:agent", "TMPDIR": str(directory)},
                cwd=ROOT,
                stdout=log,
                stderr=log,
            )

    @property
    def said(self) -> str:
        return self._log.read_text()

    def wait_for(self, text: str) -> None:
        wait_until(lambda: text in self.said or self.process.poll() is not None, text, STARTS_S)
        assert text in self.said

    def stop(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        return self.process.wait(STOPS_S)


@pytest.fixture
def demo(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Demo]:
    running = Demo(tmp_path, *request.param)
    yield running
    running.process.kill()
    running.process.wait()


def processes_of(directory: Path) -> list[str]:
    """The command lines of all processes that have to do with a directory."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:  # it has just ended
            continue
        if str(directory) in line:
            found.append(line)
    return found


@pytest.mark.parametrize(
    ("t_s", "expected_w"),
    [
        pytest.param(0, 2000, id="quiet"),
        pytest.param(QUIET_S + RISE_S / 2, 5000, id="half way up"),
        pytest.param(QUIET_S + RISE_S, 8000, id="up"),
        pytest.param(FALL_AT_S, 8000, id="about to fall"),
        pytest.param(END_S, 2000, id="down"),
    ],
)
def test_the_load_rises_past_the_limit_and_falls_again(t_s, expected_w):
    assert load_w(SITE, t_s) == pytest.approx(expected_w)


@pytest.mark.parametrize(
    "terminal", [pytest.param(True, id="terminal"), pytest.param(False, id="file")]
)
@pytest.mark.parametrize("width", [80, 160])
def test_a_site_is_shown_with_time_output_cap_state_and_reason(terminal, width):
    shown = io.StringIO()
    console = Console(file=shown, force_terminal=terminal, width=width, color_system=None)

    with View(console).live([SITE], END_S) as live:
        live.show([(SITE, ROW)])

    for text in ("12", "cabin", "4.99 kW", "5.00 kW", "limiting", "output is"):
        assert text in shown.getvalue()


def test_the_plot_is_a_picture(tmp_path):
    draw([Record(SITE, [ROW, ROW._replace(t_s=13.0)], [], 0)], tmp_path / "made" / "plot.png")

    assert (tmp_path / "made" / "plot.png").read_bytes().startswith(b"\x89PNG")
    assert [path.name for path in (tmp_path / "made").iterdir()] == ["plot.png"]


@pytest.mark.parametrize("demo", [["--no-devices"]], indirect=True)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_stopped_on_private_buses_it_leaves_no_process_and_no_file(demo, number, tmp_path):
    demo.wait_for("monitoring")

    code = demo.stop(number)

    assert code == 128 + number
    assert processes_of(tmp_path) == []
    assert [path.name for path in tmp_path.iterdir()] == ["demo.log"]


@pytest.mark.fleet
@pytest.mark.skipif(namespaces_permitted() is not None, reason=str(namespaces_permitted()))
@pytest.mark.parametrize("demo", [[]], indirect=True)
def test_stopped_while_it_deploys_it_leaves_no_device(demo):
    demo.wait_for("PLAY [")

    code = demo.stop(signal.SIGINT)

    assert code == 128 + signal.SIGINT
    assert not is_up(WORKDIR)
    assert loop_devices(WORKDIR) == []
    assert processes_of(WORKDIR) == []


@pytest.mark.slow
@pytest.mark.parametrize("demo", [["--no-devices"]], indirect=True)
def test_the_whole_demo_holds_both_limits(demo):
    code = demo.process.wait(END_S + 60)

    assert code == 0, demo.said
    assert "Both sites held their limit." in demo.said
    assert demo.picture.exists()
