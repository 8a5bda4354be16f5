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
import json, sys
import dbus
from export_limiter import bus as module
from export_limiter.values import wrap

NAME = "com.victronenergy.vebus.ttyS4"
OUT = "/Ac/Out/P"

class Message:
    def __init__(self, member, sender, path, *arguments):
        self.member, self.sender, self.path, self.arguments = member, sender, path, arguments
    def get_member(self): return self.member
    def get_sender(self): return self.sender
    def get_path(self): return self.path
    def get_interface(self):
        owner = self.member == "NameOwnerChanged"
        return "org.freedesktop.DBus" if owner else "com.victronenergy.BusItem"
    def get_args_list(self): return list(self.arguments)

class Connection:
    def __init__(self): self.calls, self.matches, self.order = [], [], []
    def add_message_filter(self, found): self.deliver = lambda m: found(self, m)
    def add_match_string_non_blocking(self, rule):
        self.matches.append(rule); self.order.append("match")
    def call_async(self, name, path, interface, member, signature, args, reply_handler,
                   error_handler, timeout):
        self.order.append(member); self.calls.append((member, path, reply_handler, error_handler))
        assert timeout > 0
    def owner(self, new, old=""): self.deliver(Message("NameOwnerChanged", "", "", NAME, old, new))
    def changed(self, path, value, sender=":1.1"):
        self.deliver(Message("PropertiesChanged", sender, path, {"Value": wrap(value)}))
    def items(self, values, sender=":1.1"):
        items = {p: {"Value": wrap(v), "Text": ""} for p, v in values.items()}
        self.deliver(Message("ItemsChanged", sender, "/", items))
    def answer(self, values, error="org.freedesktop.DBus.Error.UnknownObject"):
        calls, self.calls = self.calls, []
        for member, path, reply, fail in calls:
            if member != "GetValue": continue
            if path in values: reply(wrap(values[path]))
            else: fail(dbus.exceptions.DBusException(name=error))

class Listener:
    def __init__(self): self.told, self.values = [], {}
    def appeared(self, name): self.told.append("appeared"); self.values = {}
    def vanished(self, name): self.told.append("vanished")
    def learned(self, name, values): self.values.update(values)

connection, listener = Connection(), Listener()
bus = module.Bus(connection, listener, lambda callback: callback)
bus.start()
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


def test_answers_of_an_earlier_owner_are_not_taken():
    values = play(
        'connection.owner(":1.1"); late, connection.calls = connection.calls, []\n'
        'connection.owner(":1.2", ":1.1")\n'
        "connection.answer({OUT: 5000})\n"
        "connection.calls = late\n"
        "connection.answer({OUT: 1})\n"
        "connection.changed(OUT, 2, ':1.1')\n"
        "print(json.dumps(listener.values))"
    )

    assert values["/Ac/Out/P"] == 5000


def test_no_value_and_odd_values_are_none_or_plain():
    values = play(
        'connection.owner(":1.1")\n'
        "connection.answer({OUT: None, '/State': 3, '/ProductName': 'Multi'})\n"
        "connection.deliver(Message('PropertiesChanged', ':1.1', '/Connected',"
        " {'Value': dbus.Byte(1, variant_level=1)}))\n"
        "connection.deliver(Message('PropertiesChanged', ':1.1', OUT,"
        " {'Text': 'no value in it'}))\n"
        "print(json.dumps(listener.values))"
    )

    assert values == {"/Ac/Out/P": None, "/State": 3, "/ProductName": "Multi", "/Connected": 1}


def test_absent_paths_are_asked_for_again_and_those_of_the_first_versions_not():
    asked = play(
        'connection.owner(":1.1"); connection.answer({OUT: 5000})\n'
        "bus.rescan(); asked = [call[1] for call in connection.calls]\n"
        "connection.answer({'/Hub4/AssistantId': 5})\n"
        "print(json.dumps([asked, listener.values]))"
    )

    paths, values = asked
    assert "/Hub4/AssistantId" in paths
    assert not {"/Ac/Out/P", "/Ac/PowerLimit", "/Settings/MaxPower"} & set(paths)
    assert values["/Hub4/AssistantId"] == 5


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


def test_a_service_that_hangs_as_it_is_scanned_is_asked_for_little_until_it_answers():
    silence = '"org.freedesktop.DBus.Error.NoReply"'
    told, asked, values = play(
        f'connection.owner(":1.1"); connection.answer({{}}, {silence})\n'
        "asked = []\n"
        "for _ in range(3):\n"
        "    asked.append(len(connection.calls))\n"
        f"    connection.answer({{}}, {silence})\n"
        "told = list(listener.told)\n"
        "here = {OUT: 5000, '/Connected': 1}\n"
        "connection.answer(here); connection.answer(here)\n"
        "print(json.dumps([told, asked, listener.values]))"
    )

    assert told == ["appeared"]
    assert asked == [1, 1, 1]
    assert values == {"/Ac/Out/P": 5000, "/Connected": 1}
