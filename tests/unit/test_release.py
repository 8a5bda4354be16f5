"""Handing control back: what is ours goes, in steps where it holds the output down."""

from itertools import pairwise

import pytest
from export_limiter.config import Config
from export_limiter.files import FoundValues
from export_limiter.inverters import Site
from export_limiter.release import Release
from gx.fakebus import APPLIED, HUB4, OVERRIDE, SETTING, SETTINGS, VEBUS, FakeBus, ess_site

OUT = "/Ac/Out/P"
IN = "/Ac/ActiveIn/P"
POWER_LIMIT = "/Ac/PowerLimit"


class Rig:
    """A release on a fake bus; the inverter follows a limit `lag` ticks late."""

    def __init__(self, tmp_path, services, wanted_w, lag=4, last=None):
        self.site = Site()
        self.bus = FakeBus(services, self.site)
        self.bus.announce()
        self.found = FoundValues(str(tmp_path))
        self.result = "not finished"
        self._wanted_w, self._lag, self._last = wanted_w, lag, last or {}
        self._limits = []

    def run(self, ticks=200, **config):
        self.release = Release(
            Config(**config), self.site, self.bus, self.found, self._last, self._finished
        )
        for _ in range(ticks):
            self._follow()
            if self.result == "not finished":
                self.release.tick()
        return self

    def caps(self, path=OVERRIDE):
        return [value for written, value in self.bus.written if written == path]

    def _finished(self, error):
        self.result = error

    def _follow(self):
        limits = [self.bus.services[HUB4].get(APPLIED), self.bus.services[VEBUS].get(POWER_LIMIT)]
        known = [w for w in limits if w is not None]
        self._limits = [*self._limits, min(known, default=99999)][-self._lag :]
        output_w = min(self._wanted_w, self._limits[0])
        self.bus.tell(VEBUS, **{OUT: self._wanted_w + 50, IN: self._wanted_w + 50 - output_w})


def limited(wanted_w, override_w=5000.0, setting_w=5000.0):
    services = ess_site()
    services[HUB4].update({OVERRIDE: override_w, APPLIED: override_w})
    services[SETTINGS][SETTING] = setting_w
    return services


def last_of(path, cap_w, service=HUB4):
    return {"control_point": service + path, "written_w": cap_w}


def note(rig, path, found_w, written_w, stored, service=HUB4):
    rig.found.will_write(service + path, found_w, written_w, stored)
    rig.found.has_written(service + path, stored)


def test_the_cap_is_walked_up_as_the_output_follows(tmp_path):
    rig = Rig(tmp_path, limited(7500), 7500, last=last_of(OVERRIDE, 5000.0))
    note(rig, OVERRIDE, None, 5000.0, stored=False)
    note(rig, SETTING, None, 5000.0, stored=True, service=SETTINGS)

    rig.run()

    assert rig.result is None
    caps = [5000, *rig.caps()]
    assert caps[-1] == -1
    assert max(caps) == 8000  # what is installed
    assert max(high - low for low, high in pairwise(caps[:-1])) == 500
    assert rig.caps(SETTING) == [-1]
    assert rig.bus.written[0][0] == SETTING  # it goes while the override still holds the cap
    assert rig.found.points() == {}


def test_a_cap_above_the_output_is_let_go_after_a_while(tmp_path):
    rig = Rig(tmp_path, limited(2000), 2000, last=last_of(OVERRIDE, 5000.0))
    note(rig, OVERRIDE, None, 5000.0, stored=False)

    rig.run()

    assert (rig.result, rig.caps()) == (None, [-1])


def test_without_an_override_the_setting_goes_through_it(tmp_path):
    rig = Rig(tmp_path, limited(7500, override_w=None), 7500)
    rig.bus.tell(HUB4, **{APPLIED: 5000.0})
    note(rig, SETTING, 9000.0, 5000.0, stored=True, service=SETTINGS)

    rig.run()

    assert rig.result is None
    assert [path for path, _ in rig.bus.written][:2] == [OVERRIDE, SETTING]
    assert rig.caps(SETTING) == [9000]
    assert rig.caps()[0] == 5000
    assert rig.caps()[-1] == -1


@pytest.mark.parametrize("fault", ["refused", "cleared"])
def test_where_the_override_can_not_carry_the_cap_the_setting_goes_at_once(tmp_path, fault):
    rig = Rig(tmp_path, limited(6000, override_w=None), 6000)
    note(rig, SETTING, 9000.0, 5000.0, stored=True, service=SETTINGS)
    if fault == "refused":
        rig.bus.refuse = lambda path, value: "SetValue returned 2" if path == OVERRIDE else None
    else:
        rig.bus._apply = lambda: rig.bus.tell(HUB4, **{OVERRIDE: None})

    rig.run()

    assert rig.result is None
    assert rig.caps(OVERRIDE) == [5000]
    assert rig.caps(SETTING) == [9000]


def test_a_limit_of_the_inverter_goes_back_to_what_was_found(tmp_path):
    services = ess_site()
    services[VEBUS][POWER_LIMIT] = 5000.0
    rig = Rig(tmp_path, services, 7500, last=last_of(POWER_LIMIT, 5000.0, VEBUS))
    note(rig, POWER_LIMIT, 8000.0, 6500.0, stored=False, service=VEBUS)  # noted once, then walked

    rig.run()

    assert rig.result is None
    assert rig.caps(POWER_LIMIT)[-1] == 8000
    assert rig.caps(POWER_LIMIT)[0] == 5500


@pytest.mark.parametrize(("override_w", "setting_w"), [(2500.0, 3000.0), (None, -1.0)])
def test_what_is_not_ours_stays(tmp_path, override_w, setting_w):
    services = limited(2000, override_w, setting_w)
    rig = Rig(tmp_path, services, 2000, last=last_of(OVERRIDE, 5000.0))
    note(rig, OVERRIDE, None, 5000.0, stored=False)
    note(rig, SETTING, None, 5000.0, stored=True, service=SETTINGS)

    rig.run()

    assert rig.result is None
    assert rig.bus.written == []
    assert rig.found.points() == {}


def test_a_refusal_is_the_result(tmp_path):
    rig = Rig(tmp_path, limited(2000), 2000, last=last_of(OVERRIDE, 5000.0))
    rig.bus.refuse = lambda path, value: "SetValue returned 2"

    rig.run()

    assert rig.result == f"{HUB4}{OVERRIDE} refused -1 W: SetValue returned 2"


def test_with_nothing_of_ours_it_is_done_at_once(tmp_path):
    rig = Rig(tmp_path, ess_site(), 6000)

    assert rig.run(1).result is None
    assert rig.bus.written == []


def test_a_setting_that_can_not_be_read_is_waited_for(tmp_path):
    services = limited(2000, override_w=None)
    settings = services.pop(SETTINGS)
    rig = Rig(tmp_path, services, 2000)
    note(rig, SETTING, 9000.0, 5000.0, stored=True, service=SETTINGS)

    rig.run()
    waited = (rig.result, list(rig.bus.written), list(rig.found.points()))
    rig.bus.services[SETTINGS] = settings
    rig.site.appeared(SETTINGS)
    rig.site.learned(SETTINGS, settings)
    rig.run()

    assert waited == ("not finished", [], [SETTINGS + SETTING])
    assert rig.result is None
    assert rig.caps(SETTING) == [9000]


def test_a_release_that_is_cut_short_is_gone_on_with(tmp_path):
    rig = Rig(tmp_path, limited(9000), 9000, last=last_of(OVERRIDE, 5000.0))
    note(rig, OVERRIDE, None, 5000.0, stored=False)
    rig.run(8)
    rig.release.give_up("too long")
    cut = rig.result, rig.caps()[-1]

    rig.found, rig.result = FoundValues(str(tmp_path)), "not finished"
    rig.run()

    assert cut[0] == "too long"
    assert cut[1] > 5000
    assert (rig.result, rig.caps()[-1]) == (None, -1)


def test_small_steps_do_not_make_it_last_for_ever(tmp_path):
    rig = Rig(tmp_path, limited(8000, 2000.0), 8000, last=last_of(OVERRIDE, 2000.0))
    rig.bus.tell(SETTINGS, **{SETTING: -1.0})

    rig.run(250, max_power_increase_per_step_w=1.0)

    rises = [after - before for before, after in pairwise(rig.caps()[:-1])]
    assert rig.result is None
    assert max(rises) <= 8000 / 200
