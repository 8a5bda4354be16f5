"""The agent's view of the bus: what is subscribed to, scanned and signalled, in any order.

Played on a connection that holds replies back, since a real bus answers when it likes. The agent's
own Python has dbus-python, this one need not: the plays run there.
"""

from __future__ import annotations

import json
import os
import subprocess

import pytest
from gx.bus import AGENT, PYTHON, TESTS

STAGE = """
import json, logging
import dbus
from export_limiter import bus as module
from export_limiter.values import wrap

NAME = "com.victronenergy.vebus.ttyS4"
OUT = "/Ac/Out/P"

ITEM = "com.victronenergy.BusItem"
DAEMON = "org.freedesktop.DBus"
NO_REPLY = "org.freedesktop.DBus.Error.NoReply"

def signal(sender, path, interface, member, signature="", *arguments):
    message = dbus.lowlevel.SignalMessage(path, interface, member)
    message.append(*arguments, signature=signature)
    message.set_sender(sender)
    return message

class Connection:
    def __init__(self): self.calls, self.matches, self.order, self.timeouts = [], [], [], []
    def add_message_filter(self, found): self.deliver = lambda m: found(self, m)
    def add_match_string_non_blocking(self, rule):
        self.matches.append(rule); self.order.append("match")
    def call_async(self, name, path, interface, member, signature, args, reply_handler,
                   error_handler, timeout):
        self.order.append(member); self.calls.append((member, path, reply_handler, error_handler))
        self.timeouts.append(timeout)
    def owner(self, new, old="", sender=DAEMON):
        names = dbus.String(NAME), dbus.String(old), dbus.String(new)
        self.deliver(signal(sender, "/", DAEMON, "NameOwnerChanged", "sss", *names))
    def changed(self, path, value, sender=":1.1"):
        what = {"Value": wrap(value)}
        self.deliver(signal(sender, path, ITEM, "PropertiesChanged", "a{sv}", what))
    def items(self, values, sender=":1.1"):
        items = {p: {"Value": wrap(v), "Text": ""} for p, v in values.items()}
        self.deliver(signal(sender, "/", ITEM, "ItemsChanged", "a{sa{sv}}", items))
    def say(self, member, *values):
        "Answer the oldest call of a method of the bus itself."
        call = next(call for call in self.calls if call[0] == member)
        self.calls.remove(call); call[2](*values)
    def asked(self):
        asked = [call for call in self.calls if call[0] == "GetValue"]
        self.calls = [call for call in self.calls if call[0] != "GetValue"]
        return asked
    def answer(self, values, error="org.freedesktop.DBus.Error.UnknownObject"):
        "Answer every GetValue, and those that come of the answers."
        while asked := self.asked():
            for _, path, reply, fail in asked:
                if path in values: reply(wrap(values[path]))
                else: fail(dbus.exceptions.DBusException(name=error))
    def silent(self):
        "Let every GetValue that is out come to nothing."
        for *_, fail in self.asked(): fail(dbus.exceptions.DBusException(name=NO_REPLY))

class Listener:
    def __init__(self): self.told, self.values = [], {}
    def appeared(self, name): self.told.append("appeared"); self.values = {}
    def vanished(self, name): self.told.append("vanished")
    def learned(self, name, values): self.values.update(values)

said = []
log = logging.getLogger("export_limiter")
log.setLevel("INFO")
log.handlers = [logging.Handler()]
log.handlers[0].emit = lambda record: said.append(record.getMessage())

connection, listener = Connection(), Listener()
bus = module.Bus(connection, lambda callback: callback)
bus.start(listener)
"""


def play(text):
    """Run a play after the stage is set; what it prints as JSON."""
    done = subprocess.run(
        [PYTHON, "-c", STAGE + text],
        env={**os.environ, "PYTHONPATH": f"{AGENT}:{TESTS}"},
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_it_subscribes_before_it_scans():
    order = play('connection.owner(":1.1"); print(json.dumps(connection.order))')

    assert order[:2] == ["match", "ListNames"]
    assert order[2:4] == ["match", "GetValue"]


@pytest.mark.parametrize(
    "signal", ["connection.changed(OUT, 7000)", "connection.items({OUT: 7000, '/State': 9})"]
)
def test_a_scan_never_overwrites_a_signal(signal):
    values = play(
        f'connection.owner(":1.1"); {signal}\n'
        "connection.answer({OUT: 5000, '/Connected': 1, '/State': 3})\n"
        "print(json.dumps(listener.values))"
    )

    assert values["/Ac/Out/P"] == 7000
    assert values["/Connected"] == 1


def test_a_service_is_shown_once_it_is_known():
    told = play(
        'connection.owner(":1.1"); before = list(listener.told)\n'
        "connection.answer({OUT: 5000})\n"
        "print(json.dumps([before, listener.told, listener.values]))"
    )

    assert told == [[], ["appeared"], {"/Ac/Out/P": 5000}]


def test_a_service_that_is_still_being_scanned_is_not_asked_again():
    told = play(
        'connection.owner(":1.1"); first = connection.asked(); bus.rescan()\n'
        "connection.answer({OUT: 5000}); before = list(listener.told)\n"
        "connection.calls = first; connection.answer({OUT: 5000})\n"
        "print(json.dumps([before, listener.told]))"
    )

    assert told == [[], ["appeared"]]


def test_answers_of_an_earlier_owner_are_not_taken():
    told, values = play(
        'connection.owner(":1.1"); late, connection.calls = connection.calls, []\n'
        'connection.owner(":1.2", ":1.1")\n'
        "connection.answer({OUT: 5000})\n"
        "connection.calls = late\n"
        "connection.answer({'/Connected': 1})\n"
        "connection.changed(OUT, 2, ':1.1')\n"
        "print(json.dumps([listener.told, listener.values]))"
    )

    assert told == ["appeared"]
    assert values == {"/Ac/Out/P": 5000}


def test_an_owner_that_comes_back_at_once_is_scanned_once():
    asked = play(
        'connection.owner(":1.1"); connection.owner("", ":1.1"); connection.owner(":1.1")\n'
        "connection.answer({OUT: 5000})\n"
        "paths = module.victron.WATCHED[module.victron.service_class(NAME)]\n"
        "print(json.dumps(connection.order.count('GetValue') - len(paths)))"
    )

    assert asked == 1  # by the scan that was cut short


def test_an_owner_that_is_told_before_it_was_asked_for_is_taken_once():
    told, calls = play(
        "connection.say('ListNames', [NAME])\n"
        'connection.owner(":1.1"); connection.answer({OUT: 5000})\n'
        "connection.say('GetNameOwner', ':1.1')\n"
        "print(json.dumps([listener.told, len(connection.calls)]))"
    )

    assert told == ["appeared"]
    assert calls == 0


def test_what_nobody_reads_is_not_kept():
    scanning, values = play(
        'connection.owner(":1.1"); connection.items({"/Dc/0/Power": 1})\n'
        "connection.answer({OUT: 5000}); scanning = dict(listener.values)\n"
        "connection.items({'/Dc/0/Power': 2, OUT: 6000})\n"
        "print(json.dumps([scanning, listener.values]))"
    )

    assert scanning == {"/Ac/Out/P": 5000}
    assert values == {"/Ac/Out/P": 6000}


def test_no_value_and_odd_values_are_none_or_plain():
    values = play(
        'connection.owner(":1.1")\n'
        "connection.answer({OUT: None, '/State': 3, '/ProductName': 'Multi'})\n"
        "def properties(path, **content): connection.deliver(\n"
        "    signal(':1.1', path, ITEM, 'PropertiesChanged', 'a{sv}', content))\n"
        "properties('/Connected', Value=dbus.Byte(1, variant_level=1))\n"
        "properties(OUT, Text='no value in it')\n"
        "print(json.dumps(listener.values))"
    )

    assert values == {"/Ac/Out/P": None, "/State": 3, "/ProductName": "Multi", "/Connected": 1}


def test_malformed_signals_are_left_out_and_later_ones_count():
    said, values = play(
        'connection.owner(":1.1"); connection.answer({OUT: 5000})\n'
        "for sender in (':1.1', ':1.9'):\n"
        "    connection.deliver(signal(sender, '/', ITEM, 'ItemsChanged'))\n"
        "    connection.deliver(signal(sender, OUT, ITEM, 'PropertiesChanged', 's', 'x'))\n"
        "    connection.deliver(signal(sender, '/', ITEM, 'ItemsChanged', 'a{sv}', {OUT: 7}))\n"
        "connection.changed('/State', 3)\n"
        "print(json.dumps([said, listener.values]))"
    )

    assert said == []  # what sends them does so each second
    assert values == {"/Ac/Out/P": 5000, "/State": 3}


def test_only_signals_count_and_of_owners_only_those_of_the_bus():
    told, values = play(
        'connection.owner(":1.1"); connection.answer({OUT: 5000})\n'
        'connection.owner("", ":1.1", sender=":1.9")\n'
        "for member, signature, what in (('ItemsChanged', '', ()),"
        " ('PropertiesChanged', 'a{sv}', ({'Value': wrap(1)},))):\n"
        "    call = dbus.lowlevel.MethodCallMessage(None, OUT, ITEM, member)\n"
        "    call.append(*what, signature=signature); call.set_sender(':1.1')\n"
        "    connection.deliver(call)\n"
        "print(json.dumps([listener.told, listener.values]))"
    )

    assert told == ["appeared"]
    assert values == {"/Ac/Out/P": 5000}


ASKED = (
    "class Asked(dict):\n"
    "    def __contains__(self, path): asked.append(path); return path in here\n"
    "    def __getitem__(self, path): return here[path]\n"
    "asked, here = [], {}\n"
)


def test_absent_paths_are_asked_for_again_and_those_of_the_first_versions_not():
    paths, values = play(
        f'{ASKED}connection.owner(":1.1"); connection.answer({{OUT: 5000}})\n'
        "here['/Hub4/AssistantId'] = 5; bus.rescan(); connection.answer(Asked())\n"
        "print(json.dumps([asked, listener.values]))"
    )

    assert "/Hub4/AssistantId" in paths
    assert not {"/Ac/Out/P", "/Ac/PowerLimit", "/Settings/MaxPower"} & set(paths)
    assert values["/Hub4/AssistantId"] == 5


def test_a_path_that_comes_by_a_signal_is_not_asked_for():
    paths = play(
        f'{ASKED}connection.owner(":1.1"); connection.answer({{OUT: 5000}})\n'
        "connection.changed('/Hub4/AssistantId', 5)\n"
        "bus.rescan(); connection.answer(Asked()); print(json.dumps(asked))"
    )

    assert "/State" in paths
    assert "/Hub4/AssistantId" not in paths


def test_a_service_that_is_gone_is_asked_for_nothing():
    calls = play(
        'connection.owner(":1.1"); connection.answer({OUT: 5000})\n'
        'connection.owner("", ":1.1"); bus.rescan()\n'
        "print(json.dumps([call for call in connection.calls if call[0] == 'GetValue']))"
    )

    assert calls == []


def test_a_service_that_comes_and_goes_leaves_one_rule():
    rules, told = play(
        "for n in range(50):\n"
        '    connection.owner(f":1.{n}"); connection.answer({OUT: n}); connection.owner("", ":1")\n'
        "print(json.dumps([connection.matches, listener.told]))"
    )

    assert len(rules) == 2
    assert told == ["appeared", "vanished"] * 50


def test_foreign_services_are_left_alone():
    calls = play(
        "NAME = 'com.victronenergy.tank.one'\n"
        'connection.owner(":1.1"); print(json.dumps(connection.order))'
    )

    assert calls == ["match", "ListNames"]


POLL = (
    "polled = []\n"
    "def poll(): bus.read([(NAME, OUT), (NAME, '/State')], 0.7, polled.append)\n"
    "def out(): return len([call for call in connection.calls if call[0] == 'GetValue'])\n"
)


def test_a_service_that_hangs_as_it_is_scanned_is_asked_for_little_until_it_answers():
    told, asked, values = play(
        f'{POLL}connection.owner(":1.1"); connection.silent()\n'
        "asked = [out()]\n"
        "for _ in range(3):\n"
        "    poll(); poll(); asked.append(out()); connection.silent()\n"
        "told = list(listener.told)\n"
        "poll(); connection.answer({OUT: 5000, '/Connected': 1})\n"
        "print(json.dumps([told, asked, listener.values]))"
    )

    assert told == ["appeared"]
    assert asked == [0, 1, 1, 1]
    assert values == {"/Ac/Out/P": 5000, "/Connected": 1}


def test_one_that_hangs_later_is_lost_data_at_once_and_asked_for_one_value_at_a_time():
    polls, asked, refused, again, values, said = play(
        f'{POLL}connection.owner(":1.1")\n'
        "connection.answer({OUT: 5000, '/State': 3})\n"
        "refused, asked = [], []\n"
        "poll(); connection.silent()\n"
        "for _ in range(30):\n"
        "    poll(); bus.write(NAME, OUT, 1.0, 1.0, refused.append); bus.rescan()\n"
        "    asked.append(out())\n"
        "connection.silent(); poll(); asked.append(out())\n"
        "here = {OUT: 6000, '/State': 4, '/Connected': 1}\n"
        "connection.answer(here); missing = len(polled); poll(); connection.answer(here)\n"
        "again = {path: value for (_, path), value in polled[-1].items()}\n"
        "print(json.dumps([[len(p) for p in polled[:missing]], asked, refused, again,"
        " listener.values, said]))"
    )

    name = "com.victronenergy.vebus.ttyS4"
    assert said == [f"{name} does not answer", f"{name} answers again"]
    assert polls == [0] * 32
    assert asked == [1] * 31
    assert refused == ["org.freedesktop.DBus.Error.NoReply"] * 30
    assert again == {"/Ac/Out/P": 6000, "/State": 4}
    assert values == {"/Ac/Out/P": 6000, "/State": 4, "/Connected": 1}


def test_one_that_hangs_for_long_is_asked_less_and_less_often():
    timeouts = play(
        f'{POLL}connection.owner(":1.1"); connection.answer({{OUT: 5000}})\n'
        "poll(); connection.silent(); before = len(connection.timeouts)\n"
        "for _ in range(6): poll(); connection.silent()\n"
        "print(json.dumps(connection.timeouts[before:]))"
    )

    assert timeouts == [10, 20, 40, 60, 60, 60]


def test_a_service_that_is_only_written_to_may_hang_as_well():
    refused = play(
        "PLATFORM = 'com.victronenergy.platform'; refused = []\n"
        "def write(): bus.write(PLATFORM, '/Notifications/Inject', 'x', 5.0, refused.append)\n"
        "def poll(): bus.read([], 0.7, lambda answers: None)\n"
        "write(); connection.calls.pop()[3](dbus.exceptions.DBusException(name=NO_REPLY))\n"
        "write(); poll(); connection.answer({'/Notifications/Inject': ''})\n"
        "write(); connection.calls.pop()[2](0)\n"
        "print(json.dumps(refused))"
    )

    assert refused == ["org.freedesktop.DBus.Error.NoReply"] * 2 + [None]


def test_one_path_without_an_answer_is_no_peer_that_hangs():
    polls = play(
        f'{POLL}connection.owner(":1.1"); connection.answer({{OUT: 5000, "/State": 3}})\n'
        "for _ in range(3):\n"
        "    poll(); connection.answer({OUT: 5000}, NO_REPLY)\n"
        "print(json.dumps([list(p.values()) for p in polled]))"
    )

    assert polls == [[5000]] * 3


def test_a_new_owner_of_a_name_that_hung_is_asked_at_once():
    told, values = play(
        f'{POLL}connection.owner(":1.1"); connection.answer({{OUT: 5000}})\n'
        "poll(); connection.silent(); poll()\n"
        'late, connection.calls = connection.calls, []; connection.owner(":1.2", ":1.1")\n'
        "connection.answer({OUT: 6000}); connection.calls = late; connection.silent()\n"
        "poll(); connection.answer({OUT: 7000, '/State': 3})\n"
        "print(json.dumps([listener.told, list(polled[-1].values())]))"
    )

    assert told == ["appeared", "vanished", "appeared"]
    assert values == [7000, 3]


@pytest.mark.parametrize(
    ("text", "ends"),
    [
        pytest.param("The maximum number of pending replies has been reached", True, id="calls"),
        pytest.param("Rejected: destination has a full message queue", False, id="one peer"),
    ],
)
def test_a_bus_that_takes_no_more_calls_ends_the_agent(text, ends):
    error = f'"{text}", name="org.freedesktop.DBus.Error.LimitsExceeded"'
    ended = play(
        f'{POLL}connection.owner(":1.1"); connection.answer({{OUT: 5000}}); poll()\n'
        "ended = False\n"
        "try:\n"
        f"    connection.calls[-1][3](dbus.exceptions.DBusException({error}))\n"
        "except module.Calls.get.__globals__['CallsSpentError']: ended = True\n"
        "print(json.dumps(ended))"
    )

    assert ended is ends
