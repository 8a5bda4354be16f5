"""Who is deployed to, in which order, when it stops, and what the report says."""

import copy
import json
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
    "config": CONFIG,
    "last_confirmed": ID,
    "sha256": "5" * 64,
    "drift": "",
    "undecided": False,
    "busy": False,
    "boot": "ours",
    "pid": 7,
    "uptime_s": 100,
    "quick": 0,
    "status": {"pid": 7, "state": "monitoring", "reason": "output is below the cap"},
    "foreign": [],
    "first_version": False,
    "version": "0.1.0",
}
OLD = {"current": f"{'b' * 40}-000000000000"}
OFFLINE = {"site": SITE, "unreachable": True, "msg": "offline: timed out"}
NO_PYTHON = {"unreachable": True, "msg": "no python: the device has no /usr/bin/python3"}
UNREAD = {"failed": True, "msg": "The field 'become_user' has an invalid value"}


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
    return fleet._plan(fleet.probed(known, known), "apply")


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


def test_rollback_takes_only_what_runs_the_pinned_commit_and_says_so_of_the_others() -> None:
    known = hostvars(a={}, b={"installed": False, "current": None}, c=OFFLINE, d=OLD, e={})
    replied(known, a={"state": "not tried", "msg": "would rollback"})

    assert fleet.preflight(known, known, "rollback")["order"] == ["a", "e"]
    rows = {
        row["host"]: (row["state"], row["reason"]) for row in fleet.report(known, known, "rollback")
    }
    assert fleet.failed(known, known) == []
    assert rows == {
        "a": ("not tried", "would rollback"),
        "b": ("converged", "not on it: nothing runs"),
        "c": ("pending", "offline: timed out"),
        "d": ("converged", f"not on it: {OLD['current']} runs"),
        "e": ("not tried", f"{ID} runs"),
    }


def test_waves_are_those_of_the_inventory_though_the_first_site_can_not_be_read() -> None:
    known = hostvars(a={}, b={}, c={}, d={})
    known["a"]["__export_limiter_probe"] = UNREAD

    found = fleet.preflight(known, known, "rollback")

    assert (found["order"], found["waves"]) == (["b", "c", "d"], [1, 1, 3])


def test_removal_is_planned_for_every_device_that_has_something() -> None:
    known = hostvars(a={}, b={"installed": False, "current": None}, c=OFFLINE, d=OLD)

    assert fleet.preflight(known, known, "remove")["order"] == ["a", "d"]


@pytest.mark.parametrize("verb", ["rollback", "remove"])
def test_fault_of_a_site_forbids_going_back_or_removing_any(verb: str) -> None:
    known = hostvars(a={"portal_id": "c0619ab00009"}, b={}, c=NO_PYTHON, d={"first_version": True})
    settings = {**SETTINGS, "portal_id": "c0619ab00001"}
    known["a"]["__export_limiter_probe"]["site"]["settings"] = settings
    known["b"]["__export_limiter_probe"]["site"]["faults"] = ["export_limiter_x: unknown variable"]

    found = fleet.preflight(known, known, verb)

    assert found["faults"] == [
        "a: export_limiter_portal_id: this device is c0619ab00009, allowed: c0619ab00001",
        "b: export_limiter_x: unknown variable",
    ]
    assert found["order"] == []


CONFIRMED = {"state": "confirmed", "msg": "healthy"}
BACK = {"state": "rolled back", "failed": True, "msg": "it crashes"}
LINK_LOST = {"unreachable": True, "msg": "offline: broken pipe"}
TIMED_OUT = {"failed": True, "timedout": {"period": 420}, "msg": "Timed out after 420 second(s)."}


@pytest.mark.parametrize(
    ("reply", "failed"),
    [
        (CONFIRMED, []),
        (BACK, ["b"]),
        (LINK_LOST, ["b"]),
        (TIMED_OUT, ["b"]),
        ({**LINK_LOST, "sent": True}, ["b"]),
        ({**LINK_LOST, "sent": False}, []),
    ],
    ids=["confirmed", "rolled back", "link lost", "timed out", "sent", "never sent"],
)
def test_device_that_was_tried_and_did_not_end_confirmed_has_failed(
    reply: dict[str, Any], failed: list[str]
) -> None:
    known = replied(hostvars(a=OLD, b=OLD, c=OLD, d=OFFLINE), a=CONFIRMED, b=reply)

    assert fleet.failed(known, known) == failed


def test_device_without_a_release_to_go_back_to_stops_no_other_and_fails_in_the_end() -> None:
    nothing_older = {"state": "not tried", "msg": "there is nothing older"}
    lost = {**LINK_LOST, "sent": False}
    known = hostvars(a={}, b={}, c={}, d={}, e={})
    replied(known, a=nothing_older, b=CONFIRMED, c=lost, d=BACK)

    assert fleet.failed(known, known) == ["d"]
    assert fleet.failed(known, known, True) == ["a", "d"]


def test_failures_of_all_waves_count() -> None:
    known = replied(hostvars(a=OLD, b=OLD, c=OLD, d=OLD), a=BACK, b=CONFIRMED, c=BACK)

    assert fleet.failed(known, known) == ["a", "c"]


def test_report_gives_every_device_exactly_one_state() -> None:
    probes = hostvars(a={}, b=OLD, c=OLD, d=OLD, e=OFFLINE, f=OLD, g={"current": None})
    known = replied(probes, b=CONFIRMED, c=BACK, d=LINK_LOST)
    replied(known, f={**LINK_LOST, "sent": False})

    found = fleet.report(known, known)
    rows = {row["host"]: row["state"] for row in found}

    assert [row["reason"] for row in found[3:]] == [
        "undecided, the device goes on alone, run it again: offline: broken pipe",
        "offline: timed out",
        "nothing was sent: offline: broken pipe",
        "nothing is installed",
    ]
    assert rows == {
        "a": "converged",
        "b": "confirmed",
        "c": "rolled back",
        "d": "pending",
        "e": "pending",
        "f": "pending",
        "g": "not tried",
    }


def test_refusal_tells_each_device_of_its_own_faults() -> None:
    faults = ["b: one", "b: two", "a, bb: three: 3", "b, c: four", "all of it"]

    rows = fleet.refusal(["a", "b", "c", "d"], faults)

    assert [row["reason"] for row in rows] == [
        "refused: three: 3",
        "refused: one; two; four",
        "refused: four",
        "refused: b: one; and 4 more",
    ]
    assert [row["host"] for row in rows] == ["a", "b", "c", "d"]
    assert {row["state"] for row in rows} == {"not tried"}
    assert fleet.refusal(["d"], faults[:1])[0]["reason"] == "refused: b: one"


def test_refusal_grows_with_the_fleet_and_not_with_its_square() -> None:
    def size(count: int) -> int:
        hosts = [f"site-{number:03}" for number in range(count)]
        each = [f"{host}: a fault" for host in hosts]
        return len(json.dumps(fleet.refusal(hosts, [*each, f"{', '.join(hosts)}: no commit"])))

    assert size(500) == 10 * size(50)


@pytest.mark.parametrize(
    ("change", "drift"),
    [
        ({"current": None}, "nothing is installed"),
        (OLD, f"release: {OLD['current']} runs; release: never confirmed"),
        (
            {**OLD, "config": '{"max_multiplus_output_w": 4000, "dry_run": true}'},
            f"release: {OLD['current']} runs; config: dry_run is true, wanted is null; "
            "config: max_multiplus_output_w is 4000, wanted is 5000; release: never confirmed",
        ),
        (
            {**OLD, "config": "{", "drift": "config.json is changed"},
            f"release: {OLD['current']} runs; code: config.json is changed; "
            "release: never confirmed",
        ),
        ({"last_confirmed": OLD["current"]}, "release: never confirmed"),
        ({"drift": "run is changed", "sha256": ""}, "code: run is changed"),
        ({"sha256": "6" * 64}, f"code: its sha256 is {'6' * 64}"),
        ({"undecided": True}, "release: its activation was left undecided"),
        ({"boot": "absent"}, "boot line: absent"),
        ({"pid": None, "uptime_s": None}, "service: down"),
        ({"status": None}, "service: no status of the process that runs"),
        ({"foreign": ["x.py"]}, "foreign files: x.py"),
        (
            {"quick": 2, "uptime_s": 1, "status": None},
            "service: it ended quickly 2 times in a row",
        ),
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
    [
        {},
        {"boot": "disabled"},
        {"status": None, "uptime_s": 3, "quick": 1},
        {"uptime_s": 61, "quick": 5},
        {"undecided": True, "busy": True},
    ],
    ids=["as wanted", "disabled by its owner", "just started", "well again", "another run at work"],
)
def test_what_is_as_wanted_is_left_alone(change: dict[str, Any]) -> None:
    known = hostvars(a=change)

    assert fleet.check(known, known)["counts"]["drift"] == 0
    assert plan(known)["order"] == []


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (NO_PYTHON, "a: no python: "),
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

    without = fleet._too_many_offline(fleet.probed(known, known))
    settings["max_offline"] = 1
    limited = fleet._too_many_offline(fleet.probed(known, known))

    assert without == []
    assert limited == ["a, b: export_limiter_max_offline: 2 are offline, allowed: 1"]


def test_check_sees_another_device_and_a_limiter_of_the_first_versions() -> None:
    known = hostvars(a={"first_version": True})
    known["a"]["__export_limiter_probe"]["site"]["settings"]["portal_id"] = "c0619ab00009"

    (row,) = fleet.check(known, known)["devices"]

    assert row["state"] == "drift"
    assert "export_limiter_portal_id: this device is c0619ab00001" in row["reason"]
    assert "/data/dbus-limit: " in row["reason"]


@pytest.mark.parametrize(
    "unread", [NO_PYTHON, OFFLINE, UNREAD], ids=["no python", "offline", "no variables"]
)
def test_device_of_which_nothing_is_known_is_not_reached_everywhere(unread: dict[str, Any]) -> None:
    known = hostvars(a=unread, b={})
    if unread is UNREAD:  # Ansible never came to what reads the inventory
        known["a"]["__export_limiter_probe"] = UNREAD

    told = fleet.check(known, known)

    assert told["counts"] == {"as wanted": 1, "drift": 0, "not reached": 1}
    assert told["devices"][0]["reason"] == unread["msg"]
    assert fleet.status(known, known)[0]["state"] == "not reached"
    assert fleet.report(known, known)[0] == {
        "host": "a",
        "state": "pending",
        "reason": unread["msg"],
    }
    for verb in ("rollback", "remove"):
        assert fleet.preflight(known, known, verb)["faults"] == []
    faults = fleet.preflight(known, known)["faults"]
    assert (f"a: {unread['msg']}" in faults) == (unread is not OFFLINE)


LIMITING = {"state": "limiting", "enforceable": True, "cap_w": 5000.0, "binding": True, "pid": 7}


@pytest.mark.parametrize(
    ("change", "state", "reason"),
    [
        ({"pid": None}, "not running", "the service is down"),
        ({"pid": 8}, "not running", "there is no status of the process that runs"),
        (
            {"history": json.dumps({"clock_s": 200})},
            "not running",
            "its status has not been renewed for a minute",
        ),
        ({"current": None}, "not installed", "nothing is installed"),
    ],
    ids=["down", "another process", "stale", "nothing"],
)
def test_status_of_what_no_longer_runs_is_no_claim_of_limiting(
    change: dict[str, Any], state: str, reason: str
) -> None:
    known = hostvars(
        a={"status": {**LIMITING, "updated_at": 100}, **change}, b={"status": LIMITING}
    )

    gone, limiting = fleet.status(known, known)

    assert (gone["state"], gone["reason"]) == (state, reason)
    assert [gone[key] for key in ("enforceable", "cap_w", "binding", "measured_w")] == [None] * 4
    assert (limiting["state"], limiting["cap_w"]) == ("limiting", 5000.0)


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
