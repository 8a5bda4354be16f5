"""The agent and the device program run on the Python of every Venus OS image.

An image holds only a part of the standard library. What is missing was read from the recipes of
the images; the agent is imported with exactly these modules hidden from it.
"""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
AGENT_FILES = sorted((ROOT / "agent" / "export_limiter").glob("*.py"))
DEVICE_FILES = sorted((ROOT / "roles" / "export_limiter" / "files").glob("*.py"))

# Debian's own Python: it has dbus and gi, as the device's has.
DEBIAN_PYTHON = "/usr/bin/python3"

MISSING = {
    "v2.80 to v3.55": """cProfile dataclasses filecmp mailbox netrc pdb profile pty pydoc resource
        sched sqlite3 syslog timeit trace tty venv""",
    "v3.60 to v3.67": """compileall difflib filecmp netrc plistlib pty py_compile resource sched
        statistics syslog timeit tomllib tracemalloc tty unittest zoneinfo""",
    "v3.60 CCGX": """cProfile compileall difflib filecmp getpass mmap multiprocessing netrc plistlib
        pty py_compile resource sched statistics syslog timeit tomllib tracemalloc tty unittest
        zoneinfo""",
    "v3.70 and later": "difflib filecmp pty statistics syslog tty unittest",
}
MISSING_ANYWHERE = {name for names in MISSING.values() for name in names.split()}

# Gone from Python before 3.13, or not there yet in 3.8.
REMOVED = """aifc asynchat asyncore audioop cgi cgitb chunk crypt distutils imghdr imp lib2to3
    mailcap msilib nis nntplib ossaudiodev pipes smtpd sndhdr spwd sunau telnetlib uu xdrlib"""
ADDED = {"graphlib", "tomllib", "zoneinfo"}

BROUGHT_BY_THE_DEVICE = {"dbus", "gi"}

# Hides modules from the agent's own imports, as they are hidden on the image, and imports it all.
IMPORT_ALL = """
import builtins, importlib, pkgutil, sys

hidden = set(sys.argv[1].split())
real_import = builtins.__import__

def image_import(name, globals=None, locals=None, fromlist=(), level=0):
    importer = (globals or {}).get("__name__", "")
    if importer.split(".")[0] == "export_limiter" and name.split(".")[0] in hidden and not level:
        raise ModuleNotFoundError("not on this image: " + name)
    return real_import(name, globals, locals, fromlist, level)

builtins.__import__ = image_import
import export_limiter
for module in pkgutil.iter_modules(export_limiter.__path__):
    importlib.import_module("export_limiter." + module.name)
    print(module.name)
"""


def imports_of(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield (node.module or "").split(".")[0]


@pytest.mark.parametrize("path", AGENT_FILES + DEVICE_FILES, ids=lambda path: path.name)
def test_the_syntax_is_that_of_python_3_8(path):
    ast.parse(path.read_text(), feature_version=(3, 8))


@pytest.mark.parametrize("path", AGENT_FILES + DEVICE_FILES, ids=lambda path: path.name)
def test_only_modules_that_every_image_has_are_imported(path):
    own = {"export_limiter"} if path in AGENT_FILES else set()
    allowed = (
        (set(sys.stdlib_module_names) | BROUGHT_BY_THE_DEVICE | own)
        - MISSING_ANYWHERE
        - set(REMOVED.split())
        - ADDED
    )

    assert set(imports_of(path)) - allowed == set()


@pytest.mark.parametrize("image", MISSING)
def test_every_module_of_the_agent_can_be_imported_on(image):
    done = subprocess.run(
        [DEBIAN_PYTHON, "-B", "-c", IMPORT_ALL, MISSING[image]],
        env={"PYTHONPATH": str(ROOT / "agent"), "LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.stderr == ""
    assert done.stdout.split() == [path.stem for path in AGENT_FILES if path.stem != "__init__"]


def test_a_configuration_is_checked_without_dbus(tmp_path):
    config = tmp_path / "config.json"
    config.write_text("{}\n")

    done = subprocess.run(
        [
            DEBIAN_PYTHON,
            "-B",
            "-X",
            "importtime",
            "-m",
            "export_limiter",
            "check-config",
            str(config),
        ],
        env={"PYTHONPATH": str(ROOT / "agent"), "LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert not imported & {"dbus", "gi", "_dbus_bindings"}
