"""The benchmark measures what it says, and its bound is the one that was published."""

import socket
import struct

import pytest
from bench.bars import Bar
from bench.document import Row, Table, markdown, page
from bench.laws import Bound, Case, Unlimited
from bench.loop import DT_S, Run, Sample, Write, run
from bench.metrics import measure
from bench.peers import Stepped
from bench.profiles import BASE, END_S, EXPORT, PROFILES, START_S
from bench.relay import Relay


def a_run(excesses_w, allowed_w=4000.0, writes=()):
    """A run at a limit of 5000 W that is above it by each of these for one step, then at it."""
    steps = round((END_S - START_S) / DT_S)
    excesses_w = [*excesses_w, *([0.0] * (steps - len(excesses_w)))]
    samples = [
        Sample(START_S + i * DT_S, 5000.0 + each, 5000.0, 4000.0, allowed_w, None)
        for i, each in enumerate(excesses_w)
    ]
    return Run(samples, writes, False)


def test_energy_above_the_limit_counts_from_20_w_on():
    # 36 s of 100 W; the 10 W before are within a meter's doubt.
    found = measure(a_run([10.0] * 100 + [100.0] * 360))

    assert found.exceed_wh == pytest.approx(1.0)
    assert found.above_s == pytest.approx(36.0)
    assert found.excursions == (0, 0, 1, 0)


def test_what_was_allowed_and_not_delivered_is_over_curtailed():
    # 150 W for 240 s.
    assert measure(a_run([], allowed_w=4150.0)).overcurtail_wh == pytest.approx(10.0)


def test_the_first_reduction_is_when_the_power_comes_down_from_its_peak():
    # 3 s at 1000 W, then less.
    found = measure(a_run([1000.0] * 30 + [900.0] * 20))

    assert found.first_reduction_s == pytest.approx(3.0)
    assert found.comply_s == pytest.approx(5.0)


def test_falls_and_rises_of_the_cap_are_told_apart():
    writes = (Write(70, 9000, 8000), Write(71, 8000, 8300))

    found = measure(a_run([], writes=writes))

    assert (found.largest_fall_w, found.largest_rise_w, found.writes) == (1000, 300, 2)


@pytest.mark.parametrize(("profile", "exceed_wh"), [("P1", 6.6), ("P6", 3.1), ("P8", 12.2)])
def test_the_bound_is_that_of_the_published_simulation(profile, exceed_wh):
    case = Case(PROFILES[profile], BASE, EXPORT)

    found = measure(run(case, Bound(case)))

    assert found.exceed_wh == pytest.approx(exceed_wh, rel=0.03)
    assert found.overcurtail_wh == pytest.approx(0, abs=0.01)


def test_no_law_under_the_step_moves_its_cap_by_more():
    class Wild:
        interval_s = 1.0

        def decide(self, view):
            return 0.0 if view.t_s % 2 else 99999.0

    case = Case(PROFILES["P1"], BASE, EXPORT)
    found = measure(run(case, Stepped(Wild())))

    assert found.largest_fall_w <= 1000
    assert found.largest_rise_w <= 1000


def test_without_a_limiter_nothing_is_curtailed():
    case = Case(PROFILES["P4"], BASE, EXPORT)

    assert measure(run(case, Unlimited())).overcurtail_wh == 0


def test_a_figure_at_its_bar_meets_it():
    assert Bar("what", 5.0, 5.0, "s").met
    assert not Bar("what", 5.1, 5.0, "s").met


def test_a_table_is_the_same_in_both_forms():
    table = Table(["law", "Wh"], [Row(["a < b", "1"]), Row(["ours", "2"], "ours")])

    assert "| a < b | 1 |" in markdown([table])
    assert "| **ours** | **2** |" in markdown([table])
    assert "<td" in page([table], "t")
    assert "a &lt; b" in page([table], "t")


def test_the_relay_counts_messages_and_their_bytes(tmp_path):
    bus = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    bus.bind(str(tmp_path / "bus"))
    bus.listen()
    call = struct.pack("<cBBBIII", b"l", 1, 0, 1, 4, 1, 5) + b"fffff\0\0\0" + b"body"

    with Relay(tmp_path / "bus", tmp_path / "relay") as relay:
        program = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        program.connect(str(tmp_path / "relay"))
        end, _ = bus.accept()
        program.sendall(b"\0AUTH EXTERNAL 30\r\nBEGIN\r\n" + call + call[:7])
        received = b""
        while not received.endswith(call[:7]):
            received += end.recv(1000)
        program.sendall(call[7:])
        while not received.endswith(call + call):
            received += end.recv(1000)
        program.shutdown(socket.SHUT_WR)
        assert end.recv(1) == b""
        sent, _ = relay.counts()
        program.close()
        end.close()
    bus.close()

    assert sent == {"calls": 2, "bytes": 2 * len(call)}
