"""The agent's layers: who may import whom, who speaks D-Bus and who spells Victron's names."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

AGENT = Path(__file__).parents[2] / "agent" / "export_limiter"
MODULES = sorted(path.stem for path in AGENT.glob("*.py") if path.stem != "__init__")

# The edge: modules that speak D-Bus, know the main loop, write files or put the parts together.
# Every other module holds values and decisions.
BUSES = {"bus", "published"}
DBUS = BUSES | {"values"}
LOOP = {"loop"}
EDGE = {*DBUS, *LOOP, "__main__", "audience", "files", "release", "service"}
PURE = [name for name in MODULES if name not in EDGE]

# What a module of values and decisions must be handed, never take: time, files, network, chance.
SIDE_EFFECTS = {"io", "os", "pathlib", "random", "shutil", "socket", "subprocess", "time"}

# Places and enums of Victron's own; the agent's own service is ours to name.
VICTRON_NAME = re.compile(
    r"^com\.victronenergy\.(?!exportlimiter)"
    r"|^/(Ac|Control|Dc|DynamicEss|Energy|Hub4|LoadShedding|Overrides|Settings|VebusService)\b"
)


def parsed(module: str) -> ast.Module:
    return ast.parse((AGENT / f"{module}.py").read_text())


def imported(module: str) -> Iterator[str]:
    """Full dotted names of all that a module imports, wherever in it that stands."""
    for node in ast.walk(parsed(module)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = "export_limiter" if node.level else ""
            start = ".".join(part for part in (base, node.module) if part)
            yield from (f"{start}.{alias.name}" for alias in node.names)


def own_imports(module: str) -> set[str]:
    """The agent's own modules that a module imports."""
    parts = [name.split(".") for name in imported(module)]
    return {p[1] for p in parts if p[0] == "export_limiter" and len(p) > 1 and p[1] in MODULES}


def foreign_imports(module: str) -> set[str]:
    return {name.split(".")[0] for name in imported(module)} - {"export_limiter"}


def strings(module: str) -> Iterator[str]:
    """The strings in a module but for its docstrings."""
    tree = parsed(module)
    docs = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs:
            yield node.value


def test_the_agent_has_the_modules_these_rules_are_about():
    assert {
        "__main__",
        "bus",
        "config",
        "inverters",
        "limiter",
        "methods",
        "published",
        "service",
        "victron",
    } <= set(MODULES)


@pytest.mark.parametrize("module", MODULES)
def test_only_the_bus_modules_import_dbus(module):
    used = {name for name in imported(module) if name.split(".")[0] == "dbus"}
    if module in LOOP:  # it makes dbus-python use this loop
        used = {name for name in used if not name.startswith("dbus.mainloop")}

    assert not used or module in DBUS


@pytest.mark.parametrize("module", MODULES)
def test_only_one_module_knows_the_main_loop(module):
    assert "gi" not in foreign_imports(module) or module in LOOP


@pytest.mark.parametrize("module", MODULES)
def test_only_main_starts_loops_and_buses(module):
    assert not own_imports(module) & (BUSES | LOOP) or module == "__main__"


def test_nobody_imports_main():
    assert not any("__main__" in own_imports(module) for module in MODULES)


@pytest.mark.parametrize("module", PURE)
def test_a_module_of_values_takes_no_time_or_chance_by_itself(module):
    assert not foreign_imports(module) & SIDE_EFFECTS


@pytest.mark.parametrize("module", ["config", "victron"])
def test_the_lowest_modules_import_none_of_ours(module):
    assert not own_imports(module)


def test_the_law_knows_nothing_of_victron():
    assert not own_imports("limiter") & {"inverters", "methods", "victron"}


def test_imports_run_in_one_direction():
    left = {module: own_imports(module) for module in MODULES}

    while left:
        lowest = [module for module, needed in left.items() if not needed & left.keys()]
        assert lowest, f"a circle among {sorted(left)}"
        for module in lowest:
            del left[module]


@pytest.mark.parametrize("module", [name for name in MODULES if name != "victron"])
def test_only_victron_spells_names_of_victron(module):
    assert [text for text in strings(module) if VICTRON_NAME.search(text)] == []


@pytest.mark.parametrize("module", MODULES)
def test_a_module_can_be_read_in_one_sitting(module):
    assert len((AGENT / f"{module}.py").read_text().splitlines()) <= 250


def test_the_package_tells_what_each_module_is_for():
    told = re.findall(r"``(\w+)``", ast.get_docstring(parsed("__init__")) or "")

    assert sorted(told) == MODULES
