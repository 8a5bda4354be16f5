"""The README says what the program does: its tables, commands and links are checked against it."""

import os
import re
import subprocess
import time
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml
from export_limiter.config import CHOICES, METHOD_NAMES, RANGES, Config

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
ROLE = ROOT / "roles" / "export_limiter"
PREFIX = "export_limiter_"
SPEC = yaml.safe_load((ROLE / "meta" / "argument_specs.yml").read_text())
OPTIONS = SPEC["argument_specs"]["main"]["options"]

PLAYBOOK = re.compile(r"(?:playbooks/|(?<![/\w]))([a-z]+\.yml)\b")

# What the README calls the default where the role has none.
NO_DEFAULT = {
    "max_multiplus_output_w": "none",
    "max_grid_export_w": "none",
    "max_power_increase_per_step_w": "500",
    "failsafe_limit_w": "computed",
}

SAID_BY_SSH = ("Connection refused",)

# Bounded by another value, and only then by the agent's own highest number.
HIGHEST = {"max_power_increase_per_step_w": "max_power_change_per_step_w"}


class Value(NamedTuple):
    """One row of the README's table of configuration values."""

    unit: str
    default: str
    allowed: str
    meaning: str


def table() -> dict[str, Value]:
    section = README.split("\n## Configuration\n")[1].split("\n## ")[0]
    rows = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("| `")]
    return {row[0].strip(" `"): Value(*(cell.strip() for cell in row[1:])) for row in rows}


def symptoms() -> list[str]:
    """What the README quotes in its two columns of what a person sees."""
    quoted: set[str] = set()
    for heading, column in (("How it fails", 2), ("When something is wrong", 0)):
        section = README.split(f"\n## {heading}\n")[1].split("\n## ")[0]
        rows = [line.strip("|").split("|") for line in section.splitlines() if line[:2] == "| "]
        quoted.update(code for row in rows for code in re.findall(r"`([^`]+)`", row[column]))
    return sorted(each for each in quoted if not each.endswith(".yml"))


def prose() -> list[str]:
    """The lines that hold text: no code, table, heading or picture."""
    without_code = re.sub(r"^ *```.*?^ *```$", "", README, flags=re.MULTILINE | re.DOTALL)
    lines = (line.strip() for line in without_code.splitlines())
    return [line for line in lines if line and not line.startswith(("|", "#", "!"))]


def shown(value: object) -> str:
    """Write a default as the README does."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return ", ".join(value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def listed(words: list[str]) -> str:
    return f"{', '.join(words[:-1])} or {words[-1]}"


def test_the_table_names_every_value_once_and_no_other():
    of_the_site = [name for name in OPTIONS if name.removeprefix(PREFIX) in Config._fields]

    assert [PREFIX + name for name in table()] == of_the_site
    assert set(table()) == set(Config._fields)


@pytest.mark.parametrize("name", Config._fields)
def test_a_default_is_that_of_the_role(name):
    option = OPTIONS[PREFIX + name]

    assert table()[name].default == (
        shown(option["default"]) if "default" in option else NO_DEFAULT[name]
    )


@pytest.mark.parametrize("name", RANGES)
def test_a_unit_and_a_range_are_those_of_the_agent(name):
    allowed = RANGES[name]

    assert table()[name].unit == allowed.unit
    assert table()[name].allowed == f"{allowed.low} to {HIGHEST.get(name, allowed.high)}"


@pytest.mark.parametrize("name", CHOICES)
def test_choices_are_those_of_the_agent(name):
    words = [shown(choice) for choice in CHOICES[name]]

    named = table()[name].allowed.replace(",", "").split(" ")
    assert sorted(set(named) - {"or"}) == sorted(words)


def test_the_methods_are_those_of_the_agent():
    assert table()["methods"].allowed == listed(["auto", *METHOD_NAMES])


@pytest.mark.parametrize("name", Config._fields)
def test_the_role_allows_what_the_readme_says(name):
    option = OPTIONS[PREFIX + name]
    allowed = option["description"][-1]

    words = re.findall(r"[\w.]+", table()[name].allowed)
    missing = [word for word in words if word not in ("to", "or") and word not in allowed]

    assert allowed.startswith("Allowed: ")
    assert missing == []


@pytest.mark.parametrize("target", sorted(set(re.findall(r"`?make ([a-z-]+)\b", README))))
def test_what_the_readme_makes_can_be_made(target):
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)


@pytest.mark.parametrize("name", sorted(set(PLAYBOOK.findall(README))))
def test_a_named_playbook_exists(name):
    assert (ROOT / "playbooks" / name).exists()


@pytest.mark.parametrize("symptom", symptoms())
def test_a_symptom_is_what_a_program_of_ours_says(symptom):
    said = [path.read_text() for path in (*ROOT.glob("agent/**/*.py"), *ROLE.glob("**/*.py"))]

    assert any(symptom in text for text in said) or symptom in SAID_BY_SSH


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\(([^)#]+)\)", README))))
def test_a_link_leads_somewhere(link):
    assert link.startswith("https://") or (ROOT / link).exists()


def test_the_line_that_removes_old_reports_keeps_the_rest(tmp_path):
    command = re.search(r"`(find reports .*?)`", README)[1]
    for name, age_days in (("2026-01-01T000000Z", 91), ("2026-04-01T000000Z", 1)):
        report = tmp_path / "reports" / name
        report.mkdir(parents=True)
        (report / "index.html").touch()
        made_at = time.time() - 86400 * age_days
        os.utime(report, (made_at, made_at))
    (tmp_path / "reports/latest").symlink_to("2026-04-01T000000Z")
    (tmp_path / "reports/contacts.json").touch()

    subprocess.run(command, shell=True, cwd=tmp_path, check=True)

    left = sorted(path.name for path in (tmp_path / "reports").iterdir())
    assert left == ["2026-04-01T000000Z", "contacts.json", "latest"]


@pytest.mark.parametrize("line", prose())
def test_a_line_holds_one_sentence(line):
    assert not re.search(r"[.!?]\s+[A-Z`*]", line.removeprefix(re.match(r"[\d. ]*", line).group()))
