"""The straight line from signals to a written cap, second by second on a stepped clock."""

import logging

import pytest
from export_limiter.config import Config
from export_limiter.files import FoundValues
from export_limiter.release import Release
from export_limiter.service import Service
from export_limiter.status import Identity
from gx.fakebus import (
    APPLIED,
    HUB4,
    METER,
    MODE,
    OVERRIDE,
    SETTING,
    SETTINGS,
    STATE,
    SYSTEM,
    VEBUS,
    FakeBus,
    ess_site,
)

SECOND = "com.victronenergy.vebus.ttyUSB0"
IN = "/Ac/ActiveIn/P"
OUT = "/Ac/Out/P"


class Rig:
    """The service on a fake bus; the inverter follows the applied limit within a second."""

    def __init__(self, tmp_path, services=None, earlier=None, announce=True, **config):
        self.now, self.wall = 1000.0, 1.7e9
        self.statuses = []
        self.wanted_w = 6000  # what the load wants of the inverter
        self.obeys = True
        given = {"max_multiplus_output_w": 5000.0, "phase_count": 1, **config}
        self.bus = FakeBus(services or ess_site(), None)
        self.service = self.bus.listener = Service(
            Config(**given),
            Identity("1.0", None, 1, 1.0),
            self.bus,
            FoundValues(str(tmp_path)),
            self.statuses.append,
            lambda: self.now,
            lambda: self.wall,
            earlier or {},
        )
        if announce:
            self.bus.announce()

    @property
    def status(self):
        return self.statuses[-1]

    def run(self, seconds, at=lambda second: None):
        for second in range(seconds):
            self.now += 1.0
            self.wall += 1.0
            self._follow()
            at(second)
            self.service.tick()

    def caps(self, path=OVERRIDE):
        return [value for written, value in self.bus.written if written == path]

    def _follow(self):
        vebus = self.bus.services.get(VEBUS)
        if vebus and self.obeys and vebus[OUT] is not None and vebus[IN] is not None:
            applied_w = self.bus.services.get(HUB4, {}).get(APPLIED)
            output_w = min(self.wanted_w, self.wanted_w if applied_w is None else applied_w)
            in_w = self.wanted_w + 50 - output_w
            self.bus.tell(VEBUS, **{OUT: self.wanted_w + 50, IN: in_w})
            if METER in self.bus.services:
                self.bus.tell(METER, **{"/Ac/Power": float(in_w)})


@pytest.fixture
def rig(tmp_path):
    return Rig(tmp_path)


def test_from_a_measurement_to_a_limit_step_by_step(rig):
    rig.run(6)

    # 6000 where the output is, then 1000 W a second.
    assert rig.caps() == [6000, 5000]
    assert (rig.status["state"], rig.status["cap_w"], rig.status["binding"]) == (
        "limiting",
        5000,
        True,
    )


def test_the_wall_clock_may_jump_by_years(tmp_path):
    rig = Rig(tmp_path)

    def jump(second):
        rig.wall += {3: 3e8, 8: -6e8}.get(second, 0)

    rig.run(40, jump)

    assert rig.caps() == [6000, 5000, 5000]
    assert rig.status["state"] == "limiting"
    assert rig.status["counters"]["failsafe_entries"] == 0


def test_before_anything_is_known_nothing_is_written(tmp_path):
    rig = Rig(tmp_path, announce=False)

    rig.run(29)
    early = rig.status["state"]
    rig.run(5)

    assert early == "starting"
    assert (rig.status["state"], rig.status["reason"]) == (
        "not_enforceable",
        "no inverter: no inverter on the bus",
    )
    assert rig.bus.written == []


def test_a_poll_that_is_not_answered_is_not_repeated(rig):
    rig.run(5)
    rig.bus.hold = True

    rig.run(5)
    polls = len(rig.bus._held)
    rig.bus.hold = False
    rig.bus.release()

    assert polls == 1
    assert rig.status["counters"]["ticks"] == 6  # what is decided counts


def test_absent_paths_are_asked_for_each_minute(rig):
    rig.run(185)

    assert rig.bus.rescans == 3


def test_a_cap_that_is_not_taken_over_within_ten_seconds_is_given_up(rig):
    rig.bus._apply = lambda: None  # hub4 applies nothing

    rig.run(8)
    early = rig.status
    rig.run(10)

    assert not early["enforceable"]
    assert early["reason"] == "waiting for the device to take the cap over"
    assert rig.status["method"] == "ess_setting"
    assert not any(status["enforceable"] for status in rig.statuses)


def test_confirmed_by_none_is_not_enforceable_and_tried_again(rig):
    rig.bus._apply = lambda: None

    rig.run(40)
    given_up = rig.status
    rig.bus._apply = FakeBus._apply.__get__(rig.bus)
    rig.run(600)

    assert given_up["state"] == "not_enforceable"
    assert "does not take the cap over: it applies no limit" in given_up["reason"]
    assert (given_up["cap_w"], given_up["method"]) == (None, None)
    assert (rig.status["method"], rig.status["enforceable"]) == ("ess_override", True)


def test_a_lower_applied_limit_confirms_too(rig):
    rig.bus._apply = lambda: rig.bus.tell(HUB4, **{APPLIED: 3000.0})

    rig.run(15)

    assert rig.status["enforceable"]
    assert rig.status["reason"] == "held lower, at 3000 W, by the BMS or another program"


def test_an_output_that_stays_above_its_cap_is_disobedience(rig):
    rig.run(3)
    rig.obeys = False
    rig.bus.tell(VEBUS, **{OUT: 7000, IN: 50})

    rig.run(30, lambda second: rig.bus.tell(VEBUS, **{OUT: 7000 + second % 2}))

    assert rig.status["method"] == "ess_setting"


def test_power_assist_is_no_disobedience(rig):
    rig.run(3)
    rig.obeys = False
    rig.bus.tell(VEBUS, **{OUT: 7000, IN: 50, "/State": 10})

    rig.run(60, lambda second: rig.bus.tell(VEBUS, **{OUT: 7000 + second % 2}))

    assert rig.status["method"] == "ess_override"
    assert rig.status["reason"] == "power assist"


def test_two_changes_within_a_minute_are_another_writer(rig):
    rig.run(5)

    rig.run(20, lambda second: second % 10 == 5 and rig.bus.tell(HUB4, **{OVERRIDE: None}))
    held = rig.status
    rig.run(700)

    assert held["method"] == "ess_setting"
    assert rig.status["method"] == "ess_setting"  # until restart


def test_a_change_now_and_then_is_put_right(rig):
    rig.run(5)

    rig.run(300, lambda second: second % 70 == 5 and rig.bus.tell(HUB4, **{OVERRIDE: None}))

    assert rig.status["method"] == "ess_override"
    assert rig.bus.services[HUB4][OVERRIDE] == 5000


@pytest.mark.parametrize("service", [METER, SYSTEM])
def test_a_service_that_comes_and_goes_forgives_nothing(tmp_path, service):
    rig = Rig(tmp_path)
    rig.bus.refuse = lambda path, value: "no" if path == OVERRIDE else None
    rig.run(20)
    values = rig.bus.services[service]

    for _ in range(3):
        rig.bus.drop(service)
        rig.run(2)
        rig.bus.come(service, values)
        rig.run(2)

    assert rig.status["method"] == "ess_setting"


def test_refusals_lead_to_the_next_method_and_are_logged_once(rig, caplog):
    rig.bus.refuse = lambda path, value: "SetValue returned 1" if path == OVERRIDE else None

    with caplog.at_level(logging.WARNING):
        rig.run(15)

    assert rig.status["method"] == "ess_setting"
    assert rig.status["counters"]["refused_writes"] == 5
    refused = [r.getMessage() for r in caplog.records if "refused" in r.getMessage()]
    assert len(refused) == 2  # when it began, and why the method is given up


def test_a_vanished_inverter_keeps_the_cap_refreshed(rig):
    rig.run(5)

    rig.bus.drop(VEBUS)
    rig.run(100)

    assert (rig.status["state"], rig.status["cap_w"]) == ("failsafe", 5000)
    assert rig.caps() == [6000, 5000, 5000, 5000, 5000]


def test_used_up_writes_are_told(tmp_path):
    services = ess_site()
    del services[HUB4][OVERRIDE]
    earlier = {"stored_writes_at": [900.0] * 24}
    rig = Rig(tmp_path, services, earlier)

    rig.run(5)

    assert rig.bus.written == []
    assert rig.status["state"] == "not_enforceable"
    assert rig.status["reason"] == "all 24 stored writes of a day are used"
    assert not rig.status["enforceable"]


def test_the_stored_writes_of_a_run_are_known_to_the_next(tmp_path):
    services = ess_site()
    del services[HUB4][OVERRIDE]
    rig = Rig(tmp_path, services)

    rig.run(5)

    assert rig.status["stored_writes_at"] == [1001, 1002]


def test_a_cap_in_force_is_in_the_status_at_once(rig):
    rig.run(1)

    assert rig.status["cap_w"] == 6000  # accepted after the tick had told its own


def test_nothing_but_the_cap_in_force_is_told_after_the_stop(rig):
    rig.run(1)
    held = []
    rig.bus.write = lambda *arguments: held.append(arguments)
    rig.run(1)

    rig.service.stop()
    waits = rig.service.writer.busy
    held[0][-1](None)  # the last write is answered late
    rig.service.tick()

    assert (waits, rig.service.writer.busy) == (True, False)
    assert (rig.status["state"], rig.status["cap_w"]) == ("stopping", 5000)  # for the next run
    assert rig.status["enforceable"] is False


def test_log_lines_come_on_change(rig, caplog):
    with caplog.at_level(logging.INFO):
        rig.run(200)

    said = [record.getMessage() for record in caplog.records]
    assert len(said) == len(set(said)) <= 8
    assert "limiting: output is held at the cap (cap 5000 W)" in said


def test_the_way_back_from_the_setting_puts_the_backstop_there(tmp_path):
    rig = Rig(tmp_path, max_multiplus_output_w=None, max_grid_export_w=2000.0)
    rig.run(5)
    rig.bus.tell(SYSTEM, **{"/DynamicEss/Active": 1})
    rig.run(10)
    meanwhile = rig.bus.services[SETTINGS][SETTING]
    rig.bus.tell(SYSTEM, **{"/DynamicEss/Active": 0})
    rig.run(80)

    assert meanwhile == 2000  # the failsafe limit: no load can make it wrong
    assert rig.bus.services[SETTINGS][SETTING] == -1
    assert rig.status["method"] == "ess_override"


def test_a_mode_in_which_ess_does_not_act_ends_the_claim_at_once(rig):
    rig.run(5)

    rig.bus.tell(SETTINGS, **{MODE: 3})
    rig.run(1)

    assert (rig.status["state"], rig.status["enforceable"]) == ("not_enforceable", False)


def test_disobedience_is_counted_from_when_the_cap_acts_again(rig):
    rig.run(10)
    rig.obeys = False
    rig.bus.tell(VEBUS, **{OUT: 6050, IN: 50})

    def keep_charged_for_a_second(second):
        rig.bus.tell(VEBUS, **{OUT: 6050 + second % 2, IN: 50})
        rig.bus.tell(SETTINGS, **{STATE: 9 if second == 15 else 10})

    rig.run(30, keep_charged_for_a_second)

    assert rig.status["method"] == "ess_override"


def test_a_frozen_output_above_its_cap_is_lost_data_not_disobedience(tmp_path):
    rig = Rig(tmp_path, max_grid_export_w=0.0)
    rig.run(10)
    rig.obeys = False
    rig.bus.tell(VEBUS, **{OUT: 6050, IN: 50})

    def meter_moves(second):
        rig.bus.tell(METER, **{"/Ac/Power": 3000.0 + 100 * (second % 3)})
        rig.bus.tell(VEBUS, **{OUT: 6050, IN: 50})

    rig.run(60, meter_moves)

    assert rig.status["state"] == "failsafe"
    assert rig.status["method"] == "ess_override"


def test_a_hub4_that_starts_anew_is_judged_afresh(rig):
    rig.bus.refuse = lambda path, value: "no" if path == OVERRIDE else None
    rig.run(10)
    before = rig.status["method"]
    rig.bus.refuse = lambda path, value: None

    values = rig.bus.services[HUB4]
    rig.bus.drop(HUB4)
    rig.run(2)
    rig.bus.come(HUB4, values)
    rig.run(3)

    assert (before, rig.status["method"]) == ("ess_setting", "ess_override")


def test_lost_data_are_told_beside_somebody_elses_lower_limit(tmp_path):
    services = ess_site()
    services[HUB4].update({OVERRIDE: 2000.0, APPLIED: 2000.0})
    rig = Rig(tmp_path, services)
    rig.run(5)
    before = rig.status["reason"]

    rig.run(10, lambda second: rig.bus.tell(VEBUS, **{OUT: None}))

    assert "somebody else's lower limit of 2000 W" in before
    assert rig.status["state"] == "failsafe"
    assert rig.caps() == []


def test_what_an_earlier_run_had_in_force_is_no_news_later(tmp_path):
    services = ess_site()
    services[HUB4].update({OVERRIDE: 5500.0, APPLIED: 5500.0})
    earlier = {"control_point": HUB4 + OVERRIDE, "written_w": 5500.0}
    rig = Rig(tmp_path, services, earlier, stored_backstop=False)
    rig.run(10)
    rig.bus.tell(SYSTEM, **{"/DynamicEss/Active": 1})
    rig.run(5)
    rig.bus.tell(SYSTEM, **{"/DynamicEss/Active": 0})
    written = len(rig.caps())

    rig.run(100)

    assert "somebody else" not in rig.status["reason"]
    assert len(rig.caps()) >= written + 3  # it is refreshed


def in_force(tmp_path, override_w=5000.0, **earlier):
    """A site where an earlier run has left its override, and no backstop."""
    services = ess_site()
    services[HUB4].update({OVERRIDE: override_w, APPLIED: override_w})
    return Rig(
        tmp_path,
        services,
        {"control_point": HUB4 + OVERRIDE, **earlier},
        stored_backstop=False,
    )


@pytest.mark.parametrize("told", [{"written_w": 5000.0, "cap_w": 3000.0}, {"cap_w": 5000.0}])
def test_what_an_earlier_run_wrote_is_ours_also_where_it_told_only_its_cap(tmp_path, told):
    rig = in_force(tmp_path, **told)

    rig.run(60)

    assert rig.caps() == [5000, 5000]  # refreshed
    assert "somebody else" not in rig.status["reason"]


def test_a_dry_run_between_forgets_nothing(tmp_path):
    live = Rig(tmp_path, stored_backstop=False)
    live.run(30)
    dry = Rig(tmp_path, live.bus.services, live.status, stored_backstop=False, dry_run=True)
    dry.run(20)
    assert (dry.bus.written, dry.status["written_w"]) == ([], 5000)

    again = Rig(tmp_path, dry.bus.services, dry.status, stored_backstop=False)
    again.run(60)

    assert set(again.caps()) == {5000}
    assert "somebody else" not in again.status["reason"]


def test_a_write_that_puts_back_the_very_cap_is_told_at_once(tmp_path):
    rig = Rig(tmp_path, stored_backstop=False)
    rig.run(30)
    rig.bus.tell(HUB4, **{OVERRIDE: 3000.0})
    rig.run(5)
    rig.bus.tell(METER, **{"/Ac/Power": None})
    rig.bus.tell(VEBUS, **{OUT: None})
    rig.bus.tell(HUB4, **{OVERRIDE: None})
    before = len(rig.caps())

    while len(rig.caps()) == before:
        rig.run(1)

    told_by_the_write, _ = rig.statuses[-2:]
    assert told_by_the_write["written_w"] == rig.caps()[-1] == 3000


def test_failsafe_warns_where_nothing_could_be_limited_anyway(tmp_path):
    rig = Rig(tmp_path)
    rig.run(20)
    rig.bus.tell(SETTINGS, **{MODE: 3})
    rig.bus.tell(VEBUS, **{OUT: None})

    rig.run(10)

    assert rig.status["state"] == "failsafe"
    assert any("can't be limited either" in text for text in rig.status["warnings"])


def test_another_programs_lower_override_is_not_ours_to_the_next_run_nor_to_a_release(tmp_path):
    rig = Rig(tmp_path, stored_backstop=False)
    rig.run(30)
    rig.bus.tell(HUB4, **{OVERRIDE: 3000.0})
    rig.bus._apply()
    rig.run(5)
    rig.service.stop()
    assert (rig.status["cap_w"], rig.status["written_w"]) == (3000, 5000)

    rig.bus.written.clear()
    ended = []
    found = FoundValues(str(tmp_path))
    release = Release(
        Config(), rig.service.site, rig.bus, found, rig.status, lambda error: ended.append(error)
    )
    release.tick()
    after = Rig(tmp_path, rig.bus.services, rig.status, stored_backstop=False)
    after.run(60)

    assert ended == [None]
    assert rig.bus.written == after.bus.written == []
    assert "somebody else's lower limit of 3000 W" in after.status["reason"]


def test_a_user_who_moves_the_stored_setting_twice_does_not_end_the_limit(tmp_path):
    rig = Rig(tmp_path, methods=("ess_setting",))
    rig.run(30)

    rig.run(60, lambda second: second % 5 == 0 and rig.bus.tell(SETTINGS, **{SETTING: 9000.0}))

    assert (rig.status["method"], rig.status["given_up"]) == ("ess_setting", [])
    assert rig.bus.services[SETTINGS][SETTING] == 5000


def test_a_method_that_is_tried_again_gets_all_its_tries(tmp_path):
    rig = Rig(tmp_path, methods=("ess_override",), stored_backstop=False)
    rig.bus.refuse = lambda path, value: "SetValue returned 1"
    rig.run(15)
    assert rig.status["state"] == "not_enforceable"

    answers = []  # the real bus answers later: a poll is over before its write is
    rig.bus.write = lambda *arguments: answers.append(arguments)
    rig.run(585)
    before = len(answers)
    rig.run(20)

    assert (before, len(answers)) == (0, 1)
    assert rig.status["given_up"] == []


def test_a_cap_that_the_bms_held_lower_at_first_tells_itself_from_our_setting_later(tmp_path):
    services = ess_site()
    rig = Rig(tmp_path, services)
    rig.run(20)
    again = Rig(tmp_path, rig.bus.services)  # a new run; the override has lapsed
    apply = again.bus._apply
    again.bus.services[HUB4][OVERRIDE] = None
    again.bus._apply = lambda: again.bus.tell(HUB4, **{APPLIED: 3000.0})
    again.run(20)
    assert again.status["enforceable"]

    again.bus._apply = apply
    apply()
    again.run(60)

    assert (again.status["method"], again.status["given_up"]) == ("ess_override", [])
    assert again.status["enforceable"]


def test_external_control_for_a_while_is_no_leave_to_jump_down(tmp_path):
    rig = Rig(tmp_path, max_multiplus_output_w=None, max_grid_export_w=0.0)
    rig.bus.services[METER]["/Ac/Power"] = -4000.0
    rig._follow = lambda: None
    rig.bus.tell(METER, **{"/Ac/Power": -4000.0})
    rig.run(4)
    low_w = rig.caps()[-1]
    rig.bus.tell(SETTINGS, **{MODE: 3})
    rig.bus.tell(HUB4, **{OVERRIDE: None, APPLIED: None})
    rig.run(300)

    rig.bus.tell(SETTINGS, **{MODE: 1})
    rig.bus.tell(VEBUS, **{OUT: 7550})
    written = len(rig.caps())
    rig.run(3)

    assert low_w < 4000
    first_w, then_w = rig.caps()[written : written + 2]
    assert (first_w, then_w) == (7500, 6500)


def test_one_change_and_a_refused_rewrite_are_not_another_program(rig):
    rig.run(5)
    rig.bus.tell(HUB4, **{OVERRIDE: None})
    rig.bus.refuse = lambda path, value: "org.freedesktop.DBus.Error.NoReply"
    rig.run(4)
    rig.bus.refuse = lambda path, value: None

    rig.run(20)

    assert (rig.status["method"], rig.status["given_up"]) == ("ess_override", [])
    assert rig.bus.services[HUB4][OVERRIDE] == 5000


def test_a_cap_that_was_taken_away_teaches_nothing(tmp_path):
    rig = Rig(tmp_path, methods=("ess_setting",))
    rig.run(20)
    rig.bus.tell(SETTINGS, **{SETTING: 9000.0})
    rig.bus._apply()
    rig.bus.refuse = lambda path, value: "org.freedesktop.DBus.Error.NoReply"
    rig.run(15)  # 6000 W all the while
    rig.bus.refuse = lambda path, value: None

    rig.run(10)

    assert set(rig.caps(SETTING)) == {6000, 5000}


def test_a_users_lower_setting_that_goes_takes_its_cap_with_it(tmp_path):
    rig = Rig(tmp_path, methods=("ess_setting",))
    rig.run(20)
    rig.bus.tell(SETTINGS, **{SETTING: 2000.0})
    rig.run(5)
    written = rig.caps(SETTING)

    rig.bus.tell(SETTINGS, **{SETTING: -1.0})
    rig.run(30)

    assert written[-1] == 5000
    assert rig.caps(SETTING)[len(written) :] == [5000]


def test_a_backstop_that_a_user_raised_is_told(tmp_path):
    rig = Rig(tmp_path)
    rig.run(30)

    rig.bus.tell(SETTINGS, **{SETTING: 9000.0})
    rig.run(2)
    at_once = rig.status["warnings"]
    rig.run(700)
    still = rig.status["warnings"]
    rig.bus.tell(SETTINGS, **{SETTING: 5000.0})
    rig.run(2)

    assert rig.caps(SETTING) == [5000]
    assert any("stored limit was raised or cleared" in text for text in at_once)
    assert at_once == still
    assert not any("stored limit" in text for text in rig.status["warnings"])


def test_a_backstop_that_was_lost_before_it_was_saved_is_told_and_stored_at_the_next_start(
    tmp_path,
):
    rig = Rig(tmp_path)
    rig.run(4)
    before = rig.caps(SETTING)
    rig.bus.drop(SETTINGS)  # killed before it saved
    rig.bus.come(SETTINGS, {**ess_site()[SETTINGS], SETTING: -1.0})
    rig.run(30)
    again = Rig(tmp_path, rig.bus.services, rig.status)

    again.run(30)

    assert before == rig.caps(SETTING) == again.caps(SETTING) == [5000]
    assert any("stored limit was raised or cleared" in text for text in rig.status["warnings"])
    assert not any("stored limit" in text for text in again.status["warnings"])


def test_a_backstop_that_a_user_raised_stays_his_though_the_settings_restart(tmp_path):
    rig = Rig(tmp_path)
    rig.run(30)
    rig.bus.tell(SETTINGS, **{SETTING: 9000.0})
    rig.run(5)

    rig.bus.drop(SETTINGS)
    rig.bus.come(SETTINGS, {**ess_site()[SETTINGS], SETTING: 9000.0})
    rig.run(30)

    assert rig.caps(SETTING) == [5000]
    assert any("stored limit was raised or cleared" in text for text in rig.status["warnings"])


def test_a_backstop_that_a_user_takes_away_after_the_settings_restarted_is_his(tmp_path):
    rig = Rig(tmp_path)
    rig.run(4)
    rig.bus.drop(SETTINGS)
    rig.bus.come(SETTINGS, {**ess_site()[SETTINGS], SETTING: 5000.0})  # it was saved
    rig.run(60)

    rig.bus.tell(SETTINGS, **{SETTING: -1.0})
    rig.run(1200)

    assert rig.caps(SETTING) == [5000]
    assert any("stored limit was raised or cleared" in text for text in rig.status["warnings"])


def test_a_backstop_that_can_not_be_stored_any_more_today_is_told(tmp_path):
    rig = Rig(tmp_path, stored_writes_per_day=1)
    rig.run(30)
    rig.bus.tell(SETTINGS, **{SETTING: -1.0})
    rig.run(5)
    earlier = {**rig.status, "stored_writes_at": [999.0]}
    again = Rig(tmp_path, rig.bus.services, earlier, stored_writes_per_day=1)

    again.run(30)
    told = again.status["warnings"]
    again.bus.tell(SETTINGS, **{SETTING: 4000.0})
    again.run(2)

    assert again.caps(SETTING) == []
    assert [text.partition(",")[0] for text in told] == ["the limit is not stored"]
    assert again.status["warnings"] == []


def test_a_limit_that_is_no_whole_number_is_stored_and_not_exceeded(tmp_path):
    rig = Rig(tmp_path, max_multiplus_output_w=4999.6)

    rig.run(60)

    assert rig.caps(SETTING) == [4999]
    assert rig.status["cap_w"] == 4999
    assert rig.status["reason"] == "output is held at the cap"


def test_a_lower_setting_of_the_user_that_goes_leaves_the_backstop(tmp_path):
    services = ess_site()
    services[SETTINGS][SETTING] = 3000.0
    rig = Rig(tmp_path, services)
    rig.run(60)
    respected = rig.caps(SETTING)

    rig.bus.tell(SETTINGS, **{SETTING: -1.0})
    rig.run(15)

    assert (respected, rig.caps(SETTING)) == ([], [5000])


def test_a_backstop_that_we_put_back_ourselves_is_no_users_doing(tmp_path):
    rig = Rig(tmp_path, max_multiplus_output_w=None, max_grid_export_w=2000.0)
    rig.run(5)
    rig.bus.tell(SYSTEM, **{"/DynamicEss/Active": 1})
    rig.run(10)
    rig.bus.tell(SYSTEM, **{"/DynamicEss/Active": 0})

    rig.run(800)

    assert rig.caps(SETTING)[-1] == -1
    assert not any("stored limit" in text for text in rig.status["warnings"])


def two_systems(tmp_path, **config):
    """A rig with a second system, without ESS, which delivers 2000 W."""
    second = {"/Connected": 1, "/DeviceInstance": 288, OUT: 2000, IN: 0}
    rig = Rig(tmp_path, {**ess_site(), SECOND: {**second, "/Ac/ActiveIn/ActiveInput": 0}}, **config)
    rig.run(20)
    return rig


def test_a_setting_that_was_walked_down_meanwhile_is_the_limit_again(tmp_path):
    rig = two_systems(tmp_path)
    rig.bus.tell(SECOND, **{OUT: 0})
    rig.run(100)
    armed = rig.caps(SETTING)

    rig.bus.tell(SYSTEM, **{"/DynamicEss/Active": 1})
    rig.run(60)
    rig.bus.tell(SECOND, **{OUT: 2000})
    rig.run(100)
    walked = rig.caps(SETTING)
    rig.bus.tell(SYSTEM, **{"/DynamicEss/Active": 0})
    rig.bus.tell(SECOND, **{OUT: 0})
    rig.run(200)

    assert armed == [5000]
    assert walked == [5000, 4000, 3000]
    assert rig.caps(SETTING) == [5000, 4000, 3000, 5000]


def test_an_inverter_that_goes_away_leaves_its_part_of_the_limit_to_itself(tmp_path):
    rig = two_systems(tmp_path)

    rig.bus.drop(SECOND)
    rig.run(120)

    assert (rig.status["state"], rig.status["cap_w"]) == ("limiting", 3000)
    assert rig.status["inverter_output_w"] is None
    assert "an inverter is gone" in " ".join(rig.status["warnings"])


def test_while_the_main_inverter_is_away_the_cap_is_kept_beside_another(tmp_path):
    rig = two_systems(tmp_path)
    main = rig.bus.services[VEBUS]
    written = len(rig.caps())

    rig.bus.drop(VEBUS)
    rig.bus.tell(SYSTEM, **{"/VebusService": SECOND})
    rig.run(100, lambda second: rig.bus.tell(SECOND, **{OUT: 1999 + second % 2}))
    away = rig.status
    rig.bus.services[VEBUS] = main
    rig.bus.announce()
    rig.bus.tell(SYSTEM, **{"/VebusService": VEBUS})
    rig.run(10)

    assert (away["state"], away["reason"], away["cap_w"]) == (
        "failsafe",
        "no usable output measurement",
        3000,
    )
    assert set(rig.caps()[written:]) == {3000}
    assert len(rig.caps()) - written >= 3  # refreshed, so that it does not expire
    assert rig.status["state"] == "limiting"


@pytest.mark.parametrize(
    ("without_meter", "state", "reason"),
    [
        (0, "failsafe", "no usable export measurement: no grid meter is there, and ESS is set"),
        (1, "limiting", "output is held at the cap"),
    ],
)
def test_an_agent_that_starts_while_the_meter_is_away_does_not_measure_elsewhere(
    tmp_path, without_meter, state, reason
):
    services = ess_site()
    services[SETTINGS]["/Settings/CGwacs/RunWithoutGridMeter"] = without_meter
    del services[METER]
    rig = Rig(tmp_path, services, max_multiplus_output_w=None, max_grid_export_w=3000.0)
    rig.wanted_w = 9000

    rig.run(31, lambda second: rig.bus.tell(VEBUS, **{IN: -6000, OUT: 3000}))
    rig.run(60)

    assert (rig.status["state"], rig.status["cap_w"]) == (state, 3000)
    assert rig.status["reason"].startswith(reason)


def test_what_was_found_is_noted_once_that_is_possible(tmp_path):
    rig = Rig(tmp_path / "state")
    rig.run(30)
    warned = rig.status["warnings"]

    (tmp_path / "state").mkdir()
    rig.run(60)

    assert any("can't be written" in text for text in warned)
    assert not any("can't be written" in text for text in rig.status["warnings"])
    assert FoundValues(str(tmp_path / "state")).is_ours(SETTINGS + SETTING, 5000)


def test_a_hub4_that_comes_back_while_data_is_lost_gets_the_last_cap(tmp_path):
    rig = Rig(tmp_path, max_multiplus_output_w=None, max_grid_export_w=0.0)
    rig.run(5)
    rig.bus.tell(VEBUS, **{OUT: None})
    rig.run(5)
    last_w = rig.status["cap_w"]

    values = rig.bus.services[HUB4]
    rig.bus.drop(HUB4)
    rig.run(10)
    rig.bus.come(HUB4, {**values, OVERRIDE: None})
    rig.run(3)

    assert rig.status["state"] == "failsafe"
    assert 0 < rig.bus.services[HUB4][OVERRIDE] <= last_w


def test_a_backstop_of_another_configuration_is_no_users_doing(tmp_path):
    before = Rig(tmp_path)
    before.run(30)

    rig = Rig(tmp_path, before.bus.services, max_multiplus_output_w=3000.0)
    rig.run(60)

    told = [text for status in rig.statuses for text in status["warnings"]]
    assert rig.caps(SETTING) == [3000]
    assert not any("stored limit" in text for text in told)
