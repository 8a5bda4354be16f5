"""Whatever stands on the bus and whatever comes when: the agent lives on and writes no nonsense."""

import json
import tempfile

from export_limiter import victron
from export_limiter.audience import Audience
from export_limiter.config import METHOD_NAMES, Config, floor_w
from export_limiter.files import FoundValues, StatusFile
from export_limiter.inverters import Site, sane
from export_limiter.methods import Methods
from export_limiter.recording import Recording
from export_limiter.release import Release
from export_limiter.screen import discover_report, discover_screen, status_screen
from export_limiter.service import Service
from export_limiter.status import Identity
from gx.fakebus import HUB4, OVERRIDE, SETTING, SETTINGS, VEBUS, FakeBus, ess_site
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

SECOND = "com.victronenergy.vebus.ttyUSB0"
RS = "com.victronenergy.multi.one"
SERVICES = {**ess_site(), SECOND: dict(ess_site()[VEBUS]), RS: {}}
PATHS = [(name, path) for name in SERVICES for path in victron.WATCHED[victron.service_class(name)]]
VALUES = st.one_of(
    st.none(),
    st.sampled_from([0, 1, 2, 3, 5, 9, 240, -1, -1.0, 1e9, -1e9, 2**40, ""]),
    st.floats(-50_000, 50_000),
    st.integers(-50_000, 50_000),
    st.text(max_size=5),
    st.booleans(),
)
ERRORS = [None, None, None, "SetValue returned 2", "reads back as 7", victron.NO_ANSWER[0]]
LIMITS = st.sampled_from([(HUB4, OVERRIDE), (SETTINGS, SETTING)])
EVENTS = st.one_of(
    st.tuples(st.just("value"), LIMITS, st.just(-1.0) | st.floats(0, 10_000)),
    st.tuples(st.just("value"), st.sampled_from(PATHS), VALUES),
    st.tuples(st.just("leaves"), st.sampled_from(sorted(SERVICES)), st.none()),
    st.tuples(st.just("comes"), st.sampled_from(sorted(SERVICES)), st.none()),
    st.tuples(st.just("refuses"), st.sampled_from(ERRORS), st.none()),
    st.tuples(st.just("passes"), st.sampled_from([0.2, 5.0, 31.0, 700.0, 90_000.0]), st.none()),
    st.tuples(st.just("ticks"), st.integers(1, 12), st.none()),
    st.tuples(st.just("starts"), st.booleans(), st.none()),
)
LIMITS_W = st.none() | st.floats(1000, 40_000)
KEYS = {
    "max_multiplus_output_w": LIMITS_W,
    "max_grid_export_w": LIMITS_W,
    "phase_count": st.sampled_from([1, 3]),
    "per_phase": st.sampled_from([False, True, "strict"]),
    "gradual_adjustment": st.booleans(),
    "relax_hold_s": st.sampled_from([0.0, 2.0, 60.0]),
    "stored_writes_per_day": st.sampled_from([1, 3, 24]),
    "stored_backstop": st.booleans(),
    "methods": st.permutations(METHOD_NAMES).map(tuple),
    "dry_run": st.booleans(),
}
CONFIGS = st.fixed_dictionaries(KEYS).filter(
    lambda c: c["max_multiplus_output_w"] or c["max_grid_export_w"]
)


class Bus(FakeBus):
    """Refuses that somebody else's lower limit is raised: for the setting also once written over.

    ``theirs_w`` is what others have last put there, ``ours`` what the agent has.
    """

    def __init__(self):
        super().__init__(SERVICES, None)
        self.theirs_w, self.ours = {}, {}

    def put(self, name, path, value):
        """Somebody else changes a value."""
        self.tell(name, **{path: value})
        self.theirs_w[path] = sane(value) if sane(value) is not None and sane(value) >= 0 else None

    def come(self, name, values):
        super().come(name, values)
        for path in values:
            self.theirs_w.pop(path, None), self.ours.pop(path, None)

    def write(self, name, path, value, timeout_s, done):
        if path in (OVERRIDE, SETTING):
            standing_w = sane(self.services.get(name, {}).get(path))
            theirs_w = self.theirs_w.get(path)
            # A watt beside what was written reads as our own cap, rounded by its service.
            ours = standing_w is not None and any(
                abs(standing_w - w) <= 1 for w in self.ours.get(path, ())
            )
            if theirs_w is not None and (path == SETTING or not ours):
                assert 0 <= value <= theirs_w + 1 or value == theirs_w, (path, value, theirs_w)
        if self.refuse(path, value) is None:
            self.ours.setdefault(path, set()).add(value)
        super().write(name, path, value, timeout_s, done)


class Shown:
    """What our service on the bus would show."""

    def show(self, status):
        json.dumps(status, allow_nan=False)


class Device:
    """The agent with all that is told by it, on a bus that says anything."""

    def __init__(self, config, directory):
        self.now = 1000.0
        self.config, self.directory = config, directory
        self.bus = Bus()
        self.start()

    def start(self):
        """The agent starts, from what one before has left."""
        directory, config = self.directory, self.config
        self.status_file, self.found = StatusFile(directory), FoundValues(directory)
        self.recording = Recording(config, directory, directory, self.now)
        identity = Identity("1.0", None, 1, 1.0)
        clocks = (lambda: self.now, lambda: 1.7e9 + self.now)
        earlier = self.status_file.earlier
        self.service = Service(config, identity, self.bus, self.found, self.tell, *clocks, earlier)
        self.audience = Audience(self.bus, Shown(), self.status_file, self.recording)
        self.bus.listener = self.service
        self.bus.announce()

    def tell(self, status):
        self.audience.tell(status)
        status_screen(status, 1.0)

    def happen(self, kind, what, value):
        if kind == "value" and what[0] in self.bus.services:
            self.bus.put(what[0], what[1], value)
        elif kind == "leaves" and what in self.bus.services:
            self.bus.drop(what)
        elif kind == "comes" and what not in self.bus.services:
            self.bus.come(what, SERVICES[what])
        elif kind == "refuses":
            self.bus.refuse = lambda path, _value: what
        elif kind == "starts":
            if what:  # else it was killed
                self.service.stop()
            self.start()
        elif kind == "passes":
            self.now += what
        elif kind == "ticks":
            for _ in range(what):
                self.now += 1.0
                self.service.tick()

    def release(self):
        self.service.stop()
        ended = []
        service, last = self.service, self.status_file.last
        release = Release(self.config, service.site, self.bus, self.found, last, ended.append)
        for _ in range(60):
            if not ended:
                release.tick()

    def discover(self):
        site = Site()
        for name, values in self.bus.services.items():
            site.appeared(name)
            site.learned(name, values)
        verdicts = Methods(METHOD_NAMES, floor_w(Config())).verdicts(site, self.now)
        discover_screen(discover_report(site, verdicts, self.status_file.last or None))


AT_ONCE = {"max_multiplus_output_w": 1000.0, "gradual_adjustment": False, "stored_backstop": False}
BESIDE_OURS = [("ticks", 1, None), ("value", (HUB4, OVERRIDE), 999.0)]


@example(AT_ONCE, BESIDE_OURS)
@settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(CONFIGS, st.lists(EVENTS, max_size=40))
def test_the_agent_lives_on_and_writes_no_nonsense(config, events):
    with tempfile.TemporaryDirectory() as directory:
        device = Device(Config(**config), directory)
        for event in [*events, ("ticks", 3, None)]:
            device.happen(*event)
        device.discover()
        device.release()
        json.loads(device.recording._history.ring(device.now))

    for path, value in device.bus.written:
        if path != victron.NOTIFICATION_INJECT:
            assert not config.get("dry_run")
            assert value == -1 or 0 < value <= 1_000_000, (path, value)
