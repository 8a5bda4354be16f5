"""How a cap comes to its control point: refreshed, counted, on a budget, beside other writers."""

import pytest
from export_limiter.backstop import Backstop
from export_limiter.config import Config
from export_limiter.effect import Effect
from export_limiter.files import FoundValues
from export_limiter.inverters import Site
from export_limiter.methods import ControlPoint, ess_override_point, ess_setting_point
from export_limiter.writes import Writer
from gx.fakebus import HUB4, OVERRIDE, SETTING, SETTINGS, VEBUS, FakeBus, ess_site

DAY_S = 86400.0
PER_PHASE = ("/Ac/Out/L1/PowerLimit", "/Ac/Out/L2/PowerLimit", "/Ac/Out/L3/PowerLimit")


class Rig:
    """A writer on a site; `now` is the clock."""

    def __init__(self, tmp_path, services=None, earlier=(), **config):
        self.now = 0.0
        self.site = Site()
        self.bus = FakeBus(services or ess_site(), self.site)
        self.bus.announce()
        self.directory, self.config = str(tmp_path), Config(**config)
        self.caps = []
        self.start(earlier)

    def start(self, earlier):
        """The agent starts, from what one before has left."""
        self.found = FoundValues(self.directory)
        self.writer = Writer(
            self.config, self.bus, self.site, self.found, lambda: self.now, earlier
        )

    def override(self, earlier_w=None):
        return self.writer.use(ess_override_point(self.site), earlier_w)

    def setting(self):
        return self.writer.use(ess_setting_point(self.site), None)

    def put(self, cap_w, now=None):
        self.now = self.now if now is None else now
        self.writer.put(cap_w, self.now, self.caps.append)

    @property
    def counters(self):
        writer = self.writer
        return writer.writes, writer.stored_writes, writer.refused_writes

    @property
    def values(self):
        return [value for _, value in self.bus.written]


@pytest.fixture
def rig(tmp_path):
    return Rig(tmp_path)


def test_an_unchanged_cap_is_refreshed_after_thirty_seconds(rig):
    rig.override()

    for second in range(95):
        rig.put(5000.0, float(second))

    assert rig.values == [5000] * 4
    assert rig.counters == (4, 0, 0)


def test_a_stored_cap_is_never_refreshed(rig):
    rig.setting()

    for hour in range(100):
        rig.put(5000.0, hour * 3600.0)

    assert rig.values == [5000]
    assert rig.counters == (1, 1, 0)


def test_caps_are_whole_watts(rig):
    rig.override()

    for cap_w in (5000.2, 5000.4, 5000.6):
        rig.put(cap_w)

    assert rig.values == [5000, 5001]


def test_a_cap_of_each_phase_is_an_equal_part(tmp_path):
    services = ess_site()
    services[VEBUS].update(dict.fromkeys(PER_PHASE, 4000))
    rig = Rig(tmp_path, services)
    rig.writer.use(ControlPoint(VEBUS, PER_PHASE), None)

    rig.put(9000.0)

    assert rig.bus.written == [(path, 3000) for path in PER_PHASE]
    assert rig.writer.present_w() == 9000
    assert rig.writer.writes == 1


def test_a_refused_write_is_counted_and_told(rig):
    rig.override()
    rig.bus.refuse = lambda path, value: "SetValue returned 2"

    for _ in range(3):
        rig.put(5000.0)

    assert rig.caps == []
    assert rig.writer.refusals == 3
    assert rig.counters == (0, 0, 3)
    assert rig.writer.last_refusal == f"{HUB4}{OVERRIDE} refused 5000 W: SetValue returned 2"


def test_a_write_that_holds_ends_the_refusals(rig):
    rig.override()
    rig.bus.refuse = lambda path, value: "no" if value < 5000 else None

    rig.put(4000.0)
    rig.put(5000.0)

    assert rig.writer.refusals == 0
    assert "refused 4000 W: no" in rig.writer.last_refusal  # for people: it stays, with its time
    assert rig.writer.last_refused_at is not None


def test_a_dry_run_writes_nothing_and_goes_on(tmp_path):
    rig = Rig(tmp_path, dry_run=True)
    rig.override()

    rig.put(5000.0)
    rig.put(4000.0, 1.0)

    assert rig.values == []
    assert rig.caps == [5000, 4000]
    assert rig.counters == (0, 0, 0)
    assert not rig.writer.notice_change()


# --- the budget


def test_the_budget_of_a_day_is_kept(tmp_path):
    rig = Rig(tmp_path, stored_writes_per_day=3)
    rig.setting()

    for hour in range(47):
        rig.put(5000.0 - hour, hour * 3600.0)

    assert rig.values == [5000, 4999, 4998, 4976, 4975, 4974]


def test_a_restart_does_not_renew_the_budget(tmp_path):
    rig = Rig(tmp_path, stored_writes_per_day=3, earlier=[-10.0, -20.0])
    rig.setting()

    for second in range(5):
        rig.put(5000.0 - second, float(second))

    assert rig.values == [5000]
    assert list(rig.writer.stored_at) == [-20, -10, 0]
    assert rig.writer.writes_left(DAY_S - 15) == 1


def test_times_of_another_boot_are_forgotten(tmp_path):
    rig = Rig(tmp_path, earlier=[5000.0])  # the clock began anew

    assert rig.writer.writes_left(0.0) == 24


# --- whose value stands there


def test_our_own_cap_of_an_earlier_run_is_taken_over(rig):
    rig.bus.tell(HUB4, **{OVERRIDE: 4200.0})

    assert rig.override(earlier_w=4200.0) == 4200


def test_a_cap_of_somebody_else_is_not(rig):
    rig.bus.tell(HUB4, **{OVERRIDE: 4100.0})

    assert rig.override(earlier_w=4200.0) is None


@pytest.mark.parametrize(
    ("present_w", "changed"),
    [
        pytest.param(5000.0, False, id="ours"),
        pytest.param(5001.0, False, id="rounded"),
        pytest.param(None, True, id="cleared"),
        pytest.param(-1.0, True, id="no limit"),
        pytest.param(6000.0, True, id="raised"),
        pytest.param(4000.0, False, id="lowered"),
    ],
)
def test_a_cap_that_was_taken_away_or_raised_is_noticed(rig, present_w, changed):
    rig.override()
    rig.put(5000.0)

    rig.bus.tell(HUB4, **{OVERRIDE: present_w})

    assert rig.writer.notice_change() == changed


def test_a_service_that_left_took_its_cap_with_it(rig):
    rig.override()
    rig.put(5000.0)

    rig.bus.tell(HUB4, **{OVERRIDE: None})
    rig.writer.left(HUB4)

    assert not rig.writer.notice_change()
    rig.put(5000.0, 1.0)
    assert rig.values == [5000, 5000]


def test_what_was_read_back_is_known_before_its_signal(rig):
    rig.override()
    rig.bus.tell = lambda name, **values: None  # a service that signals late

    rig.put(5000.0)

    assert not rig.writer.notice_change()


@pytest.mark.parametrize(
    ("point", "present_w", "left"),
    [
        pytest.param("override", 3000.0, (3000, True), id="a lower override"),
        pytest.param("override", 6000.0, (5000, False), id="a higher override"),
        pytest.param("setting", 3000.0, (3000, True), id="a user's lower setting"),
        pytest.param("setting", 6000.0, (5000, False), id="a user's higher setting"),
        pytest.param("setting", -1.0, (5000, False), id="no setting"),
    ],
)
def test_a_lower_limit_of_somebody_else_stands_alone(rig, point, present_w, left):
    service, path = (HUB4, OVERRIDE) if point == "override" else (SETTINGS, SETTING)
    rig.bus.tell(service, **{path: present_w})
    getattr(rig, point)()

    assert rig.writer.beside_user_w(5000.0) == left


def test_a_users_limit_that_was_written_over_is_never_exceeded(rig):
    rig.bus.tell(SETTINGS, **{SETTING: 4000.0})
    rig.setting()
    rig.put(3000.0)

    assert rig.writer.beside_user_w(5000.0) == (4000, False)


# --- the backstop


def effect_of(confirmed=True, proven=True, lasts_since=-60.0):
    effect = Effect()
    effect.confirmed, effect.proven = confirmed, proven
    effect.lasts(lasts_since)
    return effect


def arm(rig, limit_w=5000.0, cap_w=5000.0, now=0.0, effect=None, dry_run=False):
    rig.override()
    config = Config(max_multiplus_output_w=limit_w, dry_run=dry_run)
    backstop = Backstop(config, rig.site, rig.found, rig.writer)
    backstop.arm(cap_w, effect or effect_of(), now)
    return backstop


@pytest.mark.parametrize(
    ("setting_w", "stored"),
    [
        pytest.param(-1.0, [5000], id="no setting"),
        pytest.param(9000.0, [5000], id="a higher one"),
        pytest.param(5000.0, [], id="the limit"),
        pytest.param(3000.0, [], id="a lower one"),
    ],
)
def test_the_backstop_is_written_unless_a_lower_one_stands(rig, setting_w, stored):
    rig.bus.tell(SETTINGS, **{SETTING: setting_w})

    arm(rig)

    assert rig.values == stored


def test_a_dry_run_stores_nothing(rig):
    arm(rig, dry_run=True)

    assert rig.values == []


def test_the_backstop_waits_for_the_cap(rig):
    backstop = arm(rig, cap_w=5600.0)
    before = list(rig.values)

    backstop.arm(5000.0, effect_of(), 1.0)
    backstop.arm(5000.0, effect_of(), 2.0)

    assert (before, rig.values) == ([], [5000])


def test_the_backstop_is_written_once_a_users_lower_limit_is_gone(rig):
    rig.bus.tell(SETTINGS, **{SETTING: 3000.0})
    backstop = arm(rig)
    rig.bus.tell(SETTINGS, **{SETTING: -1.0})

    for second in range(700):
        backstop.arm(5000.0, effect_of(), float(second))

    assert rig.values == [5000]


@pytest.mark.parametrize(
    ("effect", "put_back"),
    [
        pytest.param(effect_of(proven=False), [], id="a lower limit of others is no proof"),
        pytest.param(effect_of(confirmed=False, proven=False), [], id="nothing is shown"),
        pytest.param(effect_of(lasts_since=-59.0), [], id="it may be cleared again and again"),
        pytest.param(effect_of(), [-1], id="proven"),
    ],
)
def test_the_setting_is_raised_only_where_the_override_is_proven_to_act(rig, effect, put_back):
    rig.setting()
    rig.put(3000.0)

    arm(rig, limit_w=None, effect=effect)

    assert rig.values == [3000, *put_back]


def test_where_our_setting_stands_the_first_cap_tells_whether_the_override_acts(rig):
    rig.setting()
    rig.put(3000.0)
    rig.override()
    backstop = Backstop(Config(), rig.site, rig.found, rig.writer)

    assert backstop.standing_w() == 3000
    assert backstop.telling_w(5000.0, effect_of(proven=False)) == 2997
    assert backstop.telling_w(2000.0, effect_of(proven=False)) == 2000
    assert backstop.telling_w(5000.0, effect_of()) == 5000


@pytest.mark.parametrize("setting_w", [-1.0, 9000.0])
@pytest.mark.parametrize("earlier_run", [False, True])
def test_what_a_user_clears_or_raises_is_his_until_the_next_start(rig, setting_w, earlier_run):
    backstop = arm(rig)
    if earlier_run:  # it stands already: nothing to write
        backstop = arm(rig)
    rig.bus.tell(SETTINGS, **{SETTING: setting_w})
    for second in range(1500):
        backstop.arm(5000.0, effect_of(), float(second))
    before = list(rig.values)

    rig.start(list(rig.writer.stored_at))
    arm(rig)

    assert (before, rig.values) == ([5000], [5000, 5000])
    assert rig.found.found(SETTINGS + SETTING) == (None if setting_w < 0 else setting_w)


def test_what_resets_the_backstop_at_each_start_costs_no_more_than_the_writes_of_a_day(rig):
    for _ in range(30):
        arm(rig)
        rig.bus.tell(SETTINGS, **{SETTING: -1.0})
        rig.start(list(rig.writer.stored_at))

    assert len(rig.values) == 24


@pytest.mark.parametrize("limit_w", [4000.0, 7000.0])
def test_the_backstop_follows_the_configured_limit(rig, limit_w):
    arm(rig)

    arm(rig, limit_w=limit_w, cap_w=4000.0)

    assert rig.values == [5000, limit_w]


def test_the_backstop_never_rises_above_what_the_user_had(rig):
    rig.bus.tell(SETTINGS, **{SETTING: 6000.0})
    arm(rig)

    arm(rig, limit_w=7000.0)

    assert rig.values == [5000, 6000]


def test_a_refused_backstop_is_tried_again_after_ten_minutes(rig):
    rig.bus.refuse = lambda path, value: "no"
    backstop = arm(rig)

    for second in range(1300):
        backstop.arm(5000.0, effect_of(), float(second))

    assert len(rig.values) == 3


def test_without_a_backstop_a_setting_that_served_is_put_back(rig):
    rig.bus.tell(SETTINGS, **{SETTING: 9000.0})
    rig.setting()
    rig.put(4000.0)
    rig.override()

    arm(rig, limit_w=None)

    assert rig.values == [4000, 9000]


def test_without_a_backstop_a_users_setting_is_left(rig):
    rig.bus.tell(SETTINGS, **{SETTING: 9000.0})

    arm(rig, limit_w=None)

    assert rig.values == []


def test_a_peer_that_does_not_answer_is_given_more_patience_than_one_that_refuses(rig):
    rig.override()
    rig.bus.refuse = lambda path, value: "org.freedesktop.DBus.Error.NoReply"

    for _ in range(5):
        rig.put(5000.0)

    assert rig.writer.refusals == pytest.approx(1.0)


def test_refusals_of_one_point_are_not_held_against_the_next(rig):
    rig.override()
    rig.bus.refuse = lambda path, value: "no"
    rig.put(5000.0)

    rig.setting()

    assert rig.writer.refusals == 0


def test_a_write_that_is_carried_out_after_all_is_ours(rig):
    rig.override()
    rig.put(7000.0)
    rig.bus.refuse = lambda path, value: "org.freedesktop.DBus.Error.NoReply"
    rig.put(6000.0)

    rig.bus.tell(HUB4, **{OVERRIDE: 6000.0})  # it woke up

    assert rig.writer.beside_user_w(6500.0) == (6500, False)


def test_a_write_that_is_carried_out_late_is_no_change_of_anothers(rig):
    rig.override()
    rig.put(5000.0)
    rig.bus.refuse = lambda path, value: "org.freedesktop.DBus.Error.NoReply"
    rig.put(5500.0)

    rig.bus.tell(HUB4, **{OVERRIDE: 5500.0})  # it woke up
    noticed = rig.writer.notice_change()
    rig.bus.refuse = lambda path, value: None
    rig.put(5000.0)

    assert not noticed
    assert rig.values[-1] == 5000  # what is in force must not stay the higher one


def test_the_backstop_is_not_put_back_with_the_last_write_of_the_day(tmp_path):
    rig = Rig(tmp_path, stored_writes_per_day=2)
    rig.setting()
    rig.put(3000.0)

    arm(rig, limit_w=None)

    assert rig.values == [3000]


@pytest.mark.parametrize(
    ("limit_w", "share_w"),
    [(9000.0, 3000), (5000.0, 1666), pytest.param(2000.0, 1000, id="below the floor")],
)
def test_with_strict_phases_the_backstop_is_one_share(rig, limit_w, share_w):
    rig.override()
    config = Config(max_multiplus_output_w=limit_w, per_phase="strict")
    backstop = Backstop(config, rig.site, rig.found, rig.writer)

    backstop.arm(limit_w, effect_of(), 0.0)  # not yet down at the share
    backstop.arm(share_w, effect_of(), 1.0)

    assert rig.values == [share_w]


def test_an_answer_of_the_point_before_is_no_cap_of_this_one(rig):
    rig.override()
    answers = []
    rig.bus.write = lambda *arguments: answers.append(arguments[-1])
    rig.put(5000.0)

    rig.setting()
    answers[0](None)

    assert rig.caps == []
    assert not rig.writer.busy


def test_nothing_is_written_to_a_service_that_is_away(rig):
    rig.override()
    rig.put(5000.0)
    rig.bus.drop(HUB4)
    rig.writer.left(HUB4)

    for second in range(1, 60):
        rig.put(5000.0, float(second))

    assert rig.values == [5000]
    assert (rig.writer.refusals, rig.writer.refused_writes) == (0, 0)
