"""The agent and the device program keep to the Python that every Venus OS image has.

An image holds only a part of the standard library, see `gx.profiles`. That the agent also runs so
is tested in `integration/test_images.py`.
"""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from gx.profiles import PROFILES, sitecustomize

ROOT = Path(__file__).parents[2]
AGENT_FILES = sorted((ROOT / "agent" / "export_limiter").glob("*.py"))
DEVICE_FILES = sorted(
    [*ROOT.glob("agent/service/*.py"), *ROOT.glob("roles/export_limiter/files/*.py")]
)

# Debian's own Python: it has dbus and gi, as the device's has.
DEBIAN_PYTHON = "/usr/bin/python3"

MISSING_ANYWHERE = frozenset().union(*PROFILES.values())

# Gone in Python 3.13, beside what the profiles name.
REMOVED = """aifc audioop cgi cgitb chunk crypt imghdr mailcap msilib nis nntplib
    ossaudiodev pipes sndhdr spwd sunau telnetlib uu xdrlib"""

BROUGHT_BY_THE_DEVICE = {"dbus", "gi"}

IMPORT_ALL = """
import importlib, pkgutil, export_limiter
try:
    import difflib  # which no image has
    print("nothing is hidden")
except ModuleNotFoundError:
    pass
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
    library = set(sys.stdlib_module_names) - MISSING_ANYWHERE - set(REMOVED.split())

    assert set(imports_of(path)) <= library | BROUGHT_BY_THE_DEVICE | own


def test_nothing_that_dbus_python_decorates_is_annotated():
    """Its version 1.2.16, beside Python 3.8, ends the import with ValueError."""
    tree = ast.parse((ROOT / "agent/export_limiter/published.py").read_text())

    decorated = [
        node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.decorator_list
    ]
    annotated = [
        node.name
        for node in decorated
        if node.returns or any(argument.annotation for argument in node.args.args)
    ]

    assert decorated
    assert annotated == []


@pytest.mark.parametrize("profile", PROFILES)
def test_every_module_of_the_agent_can_be_imported_on(profile, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(sitecustomize(profile))

    done = subprocess.run(
        [DEBIAN_PYTHON, "-B", "-c", IMPORT_ALL],
        env={"PYTHONPATH": f"{tmp_path}:{ROOT / 'agent'}", "LC_ALL": "C.UTF-8"},
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
