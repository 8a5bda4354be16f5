"""The script that supervision starts: it waits where the agent ends quickly again and again."""

import os
import subprocess
from pathlib import Path

import pytest

RUN = Path(__file__).parents[2] / "agent" / "run"

STUBS = {
    # daemontools' own takes its limits first, then the program.
    "softlimit": """echo "softlimit $*" >>log
while [ "$1" != ./export-limiter ]; do shift; done
exec "$@" """,
    "export-limiter": 'echo "export-limiter $*" >>log\nexit 1',
    "sleep": 'echo "sleep $1" >>log',
    "uname": "echo armv7l",
}


@pytest.fixture
def release(tmp_path):
    """A release directory whose programs only say that they were started."""
    script = RUN.read_text().replace("/run/venus-export-limiter", str(tmp_path / "runtime"))
    for name, body in {**STUBS, "run": script.partition("\n")[2]}.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / name).chmod(0o755)
    (tmp_path / "VERSION").write_text("1.0\n")
    return tmp_path


def start(release, times=1):
    for _ in range(times):
        subprocess.run(
            ["./run"],
            cwd=release,
            env={"PATH": f"{release}:{os.environ['PATH']}"},
            capture_output=True,
            check=False,
        )
    return (release / "log").read_text().splitlines()


def test_the_agent_runs_with_limits_of_its_memory(release):
    limits, agent = start(release)

    assert limits.startswith("softlimit -d 100000000 -s 1000000 -a 100000000")
    assert agent == "export-limiter run --config config.json"


def test_after_quick_ends_it_waits_longer_each_time_up_to_half_a_minute(release):
    log = start(release, times=12)

    assert log.count("export-limiter run --config config.json") == 12
    waits = [line for line in log if line.startswith("sleep")]
    assert waits == [f"sleep {s}" for s in (5, 10, 15, 20, 25, 30, 30, 30)]


def test_after_a_long_run_it_waits_no_more(release):
    start(release, times=6)
    started = release / "runtime" / "started"
    then, quick = started.read_text().split()
    started.write_text(f"{int(then) - 60} {quick}\n")  # as if that start had been a minute ago
    (release / "log").unlink()

    log = start(release)

    assert not any(line.startswith("sleep") for line in log)
    assert started.read_text().split()[1] == "0"
