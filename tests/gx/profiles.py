"""Which modules of Python's standard library each Venus OS image leaves out.

The sets are a closure over the public recipes of the images (python3-manifest.json of the
OpenEmbedded release), confirmed for `filecmp` and `dataclasses` by reports from the field. They
are hidden from Debian's Python, whose version stays what it is.
"""

# In no image: development tools, and what Python 3.12 dropped.
_NOWHERE = """asynchat asyncore distutils ensurepip idlelib imp lib2to3 pip setuptools smtpd test
tkinter turtle turtledemo venv"""

_EVERY_NORMAL = """difflib mailbox pdb plistlib profile pty pydoc resource sched sqlite3 statistics
syslog timeit trace tracemalloc tty unittest"""

_V360 = f"{_EVERY_NORMAL} compileall filecmp netrc py_compile tomllib zoneinfo"

PROFILES: dict[str, frozenset[str]] = {
    name: frozenset(f"{_NOWHERE} {missing}".split())
    for name, missing in {
        # v2.80 to v3.55; zoneinfo, tomllib and graphlib came after Python 3.8.
        "py38-normal": f"{_EVERY_NORMAL} dataclasses filecmp graphlib netrc tomllib zoneinfo",
        "py312-v360": _V360,
        "py312-ccgx": f"{_V360} cProfile getpass mmap multiprocessing",
        "py312-v370": "difflib filecmp pty statistics syslog tty unittest",
        "large": "difflib pty statistics syslog tty unittest",
    }.items()
}

# A process of the simulation, not of the device, may see the whole library.
WHOLE_LIBRARY = "GX_WHOLE_LIBRARY"

_SITECUSTOMIZE = '''\
"""Hides the modules that this Venus OS image does not have."""

import os
import sys

MISSING = frozenset({missing!r})


class Missing:
    """Refuses to find them, in the words of Python's own import."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        """Raise for a module of the set, leave any other to the next finder."""
        if name.partition(".")[0] in MISSING:
            raise ModuleNotFoundError("No module named %r" % name, name=name)


if not os.environ.get({opt_out!r}):
    for loaded in [name for name in sys.modules if name.partition(".")[0] in MISSING]:
        del sys.modules[loaded]
    sys.meta_path.insert(0, Missing)
'''


def sitecustomize(profile: str) -> str:
    """Return the module that Python imports at start to look like the profile's."""
    return _SITECUSTOMIZE.format(missing=sorted(PROFILES[profile]), opt_out=WHOLE_LIBRARY)
