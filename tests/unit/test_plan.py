"""Who is deployed to, in which order, when it stops, and what the report says."""

import copy
from typing import Any

import pytest
from role import load

fleet = load("filter_plugins/export_limiter.py")

CONFIG = '{\n  "max_multiplus_output_w": 5000\n}\n'
SETTINGS = {
    "commit": "c" * 40,
    "sha256": "5" * 64,
    "repository": "/nowhere",
    "allowed_signers": "",
    "portal_id": "",
    "canaries": [],
    "waves": ["1", "25%", "100%"],
    "allow_older": False,
}
SITE = {"config": CONFIG, "settings": SETTINGS, "faults": []}
ID = fleet.release_id(SITE)
CONVERGED = {
    "site": SITE,
    "portal_id": "c0619ab00001",
    "installed": True,
    "current": ID,
    "last_confirmed": ID,
    "sha256": "5" * 64,
    "drift": "",
    "undecided": False,
    "busy": False,
    "boot": "ours",
    "pid": 7,
    "uptime_s": 100,
    "status": {"pid": 7, "state": "monitoring", "reason": "output is below the cap"},
    "foreign": [],
    "first_version": False,
    "version": "0.1.0",
}
OLD = {"current": f"{'b' * 40}-000000000000"}
OFFLINE = {"site": SITE, "unreachable": True, "msg": "offline: timed out"}


def hostvars(**probes: dict[str, Any]) -> dict[str, Any]:
    return {
        host: {"__export_limiter_probe": {**copy.deepcopy(CONVERGED), **changes}}
        for host, changes in probes.items()
    }


def replied(known: dict[str, Any], **replies: dict[str, Any]) -> dict[str, Any]:
    for host, reply in replies.items():
        known[host]["__export_limiter_apply"] = reply
    return known


def plan(known: dict[str, Any]) -> dict[str, Any]:
    return fleet._plan(fleet._probes(known, known), "apply")


def test_plan_holds_only_devices_that_are_reached_and_not_as_wanted() -> None:
    known = hostvars(a={}, b=OLD, c=OFFLINE, d=OLD)

    assert plan(known)["order"] == ["b", "d"]


def test_canaries_come_first_and_the_others_keep_the_order_of_the_inventory() -> None:
    known = hostvars(a=OLD, b=OLD, c=OLD, d={})
    known["a"]["__export_limiter_probe"]["site"]["settings"]["canaries"] = ["c", "d"]

    assert plan(known)["order"] == ["c", "a", "b"]


@pytest.mark.parametrize(
    ("waves", "count", "sizes"),
    [
        (["1", "25%", "100%"], 10, [1, 3, 10]),
        (["1", "25%", "100%"], 1, [1, 1, 1]),
        (["2"], 10, [2]),
        (["0%"], 10, [1]),
        ([], 10, [10]),
        ([], 0, [1]),
    ],
    ids=str,
)
def test_waves_are_numbers_of_devices(waves: list[str], count: int, sizes: list[int]) -> None:
    assert fleet.wave_sizes(waves, count) == sizes


def test_rollback_is_planned_for_every_device_that_has_something() -> None:
    known = hostvars(a={}, b={"installed": False, "current": None}, c=OFFLINE)

    assert fleet.preflight(known, known, "rollback")["order"] == ["a"]


CONFIRMED = {"state": "confirmed", "msg": "healthy"}
BACK = {"state": "rolled back", "failed": True, "msg": "it crashes"}
LINK_LOST = {"unreachable": True, "msg": "offline: broken pipe"}
TIMED_OUT = {"failed": True, "timedout": {"period": 420}, "msg": "Timed out after 420 second(s)."}


@pytest.mark.parametrize(
    ("reply", "failed"),
    [(CONFIRMED, []), (BACK, ["b"]), (LINK_LOST, ["b"]), (TIMED_OUT, ["b"])],
    ids=["confirmed", "rolled back", "link lost", "timed out"],
)
def test_device_that_was_tried_and_did_not_end_confirmed_has_failed(
    reply: dict[str, Any], failed: list[str]
) -> None:
    known = replied(hostvars(a=OLD, b=OLD, c=OLD, d=OFFLINE), a=CONFIRMED, b=reply)

    assert fleet.failed(known, known) == failed


def test_failures_of_all_waves_count() -> None:
    known = replied(hostvars(a=OLD, b=OLD, c=OLD, d=OLD), a=BACK, b=CONFIRMED, c=BACK)

    assert fleet.failed(known, known) == ["a", "c"]


def test_report_gives_every_device_exactly_one_state() -> None:
    probes = hostvars(a={}, b=OLD, c=OLD, d=OLD, e=OFFLINE, f=OLD)
    known = replied(probes, b=CONFIRMED, c=BACK, d=LINK_LOST)

    rows = {row["host"]: row["state"] for row in fleet.report(known, known)}

    assert rows == {
        "a": "converged",
        "b": "confirmed",
        "c": "rolled back",
        "d": "pending",
        "e": "pending",
        "f": "not tried",
    }


@pytest.mark.parametrize(
    ("change", "drift"),
    [
        ({"current": None}, "nothing is installed"),
        (OLD, f"release: {OLD['current']} runs; release: never confirmed"),
        ({"last_confirmed": OLD["current"]}, "release: never confirmed"),
        ({"drift": "run is changed", "sha256": ""}, "code: run is changed"),
        ({"sha256": "6" * 64}, f"code: its sha256 is {'6' * 64}"),
        ({"undecided": True}, "release: its activation was left undecided"),
        ({"boot": "absent"}, "boot line: absent"),
        ({"pid": None, "uptime_s": None}, "service: down"),
        ({"status": None}, "service: no status of the process that runs"),
        ({"foreign": ["x.py"]}, "foreign files: x.py"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_every_difference_is_named_and_deployed(change: dict[str, Any], drift: str) -> None:
    known = hostvars(a=change)

    found = fleet.check(known, known)

    assert found["devices"] == [{"host": "a", "state": "drift", "reason": drift}]
    assert found["counts"] == {"as wanted": 0, "drift": 1, "not reached": 0}
    assert plan(known)["order"] == ["a"]


@pytest.mark.parametrize(
    "change",
    [{}, {"boot": "disabled"}, {"status": None, "uptime_s": 3}, {"undecided": True, "busy": True}],
    ids=["as wanted", "boot line disabled by its owner", "just started", "another run at work"],
)
def test_what_is_as_wanted_is_left_alone(change: dict[str, Any]) -> None:
    known = hostvars(a=change)

    assert fleet.check(known, known)["counts"]["drift"] == 0
    assert plan(known)["order"] == []


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"fault": "no python: the device has no /usr/bin/python3"}, "a: no python: "),
        (
            {"unreachable": True, "msg": "host key: not the one in known_hosts for this site"},
            "a: host key: ",
        ),
        ({"first_version": True}, "a: /data/dbus-limit: "),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_fault_of_one_device_forbids_touching_any(change: dict[str, Any], fault: str) -> None:
    known = hostvars(a=change, b=OLD)

    faults = fleet.preflight(known, known)["faults"]

    assert len(faults) == 1
    assert faults[0].startswith(fault)


def test_device_with_another_portal_id_is_refused() -> None:
    known = hostvars(a={})
    known["a"]["__export_limiter_probe"]["site"]["settings"]["portal_id"] = "c0619ab00009"

    assert fleet.preflight(known, known)["faults"] == [
        "a: export_limiter_portal_id: this device is c0619ab00001, allowed: c0619ab00009"
    ]


def test_two_sites_with_one_portal_id_are_refused() -> None:
    known = hostvars(a={}, b={})
    for host in known.values():
        host["__export_limiter_probe"]["site"]["settings"]["portal_id"] = "c0619ab00001"

    assert fleet.preflight(known, known)["faults"] == [
        "a, b: export_limiter_portal_id: c0619ab00001 is given to each of them, "
        "allowed: one site each"
    ]


def test_offline_devices_forbid_nothing_unless_the_inventory_says_so() -> None:
    known = hostvars(a=OFFLINE, b=OFFLINE)
    settings = known["a"]["__export_limiter_probe"]["site"]["settings"]

    without = fleet._too_many_offline(fleet._probes(known, known))
    settings["max_offline"] = 1
    limited = fleet._too_many_offline(fleet._probes(known, known))

    assert without == []
    assert limited == ["a, b: export_limiter_max_offline: 2 are offline, allowed: 1"]


def test_table_is_aligned_and_speaks_for_people() -> None:
    rows = [
        {"host": "harbour", "cap_w": 30000.0, "binding": True},
        {"host": "mill", "cap_w": None, "binding": False},
    ]

    assert fleet.table(rows, ["host", "cap_w", "binding"]).splitlines() == [
        "host     cap_w  binding",
        "harbour  30000  yes",
        "mill     -      no",
    ]
