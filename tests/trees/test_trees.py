"""Each tree is the Python it stands for."""

import json
import subprocess

import pytest

from trees.debian import ARM, OTHER_PYTHONS, missing

WHAT = """
import json, struct, sys, dbus, dbus.mainloop.glib
from gi.repository import GLib
print(json.dumps([sys.version_info[:2], dbus.version, 8 * struct.calcsize("P")]))
"""
EXPECTED = {
    "python3.9": [[3, 9], [1, 2, 16], 64],
    "python3.13": [[3, 13], [1, 4, 0], 64],
    "armhf": [[3, 11], [1, 3, 2], 32],
}


@pytest.mark.slow
@pytest.mark.parametrize("tree", [*OTHER_PYTHONS, ARM], ids=lambda tree: tree.name)
def test_a_tree_has_its_python_with_its_own_dbus_and_glib(tree):
    if reason := missing(tree):
        pytest.skip(reason)

    asked = subprocess.run(
        [*tree.command(), "-c", WHAT], capture_output=True, text=True, timeout=60, check=True
    )

    assert json.loads(asked.stdout) == EXPECTED[tree.name]
