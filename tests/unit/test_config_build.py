"""One inventory gives one config.json, and every fault names its variable and what is allowed."""

import json
from typing import Any

import pytest
import yaml
from export_limiter.config import Config, parse
from role import REPOSITORY, ROLE, load

site_config = load("controller/site_config.py")

PIN = {"export_limiter_commit": "0" * 40, "export_limiter_sha256": "0" * 64}
LIMIT = {"export_limiter_max_multiplus_output_w": 30000}


def render(**variables: Any) -> Any:
    named = {f"export_limiter_{name}": value for name, value in variables.items()}
    return site_config.render({**PIN, **LIMIT, **named})


def test_config_is_canonical_json_that_the_agent_reads() -> None:
    site = render()

    assert site.faults == []
    assert site.config == json.dumps(json.loads(site.config), indent=2, sort_keys=True) + "\n"
    assert parse(site.config) == Config()


def test_role_and_agent_know_the_same_keys_with_the_same_defaults() -> None:
    options = site_config.options()
    keys = {name.removeprefix("export_limiter_") for name in options} - set(site_config.FLEET)

    assert keys == set(Config._fields)
    assert set(site_config.FLEET) <= {name.removeprefix("export_limiter_") for name in options}


def test_defaults_of_the_role_are_those_of_its_argument_spec() -> None:
    defaults = yaml.safe_load((ROLE / "defaults/main.yml").read_text())
    spec = {
        name: option["default"]
        for name, option in site_config.options().items()
        if "default" in option
    }

    assert {name: str(value) for name, value in defaults.items()} == {
        name: str(value) for name, value in spec.items()
    }


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ({"max_multiplus_output_w": "30000"}, {"max_multiplus_output_w": 30000}),
        ({"max_multiplus_output_w": 30000.0}, {"max_multiplus_output_w": 30000}),
        ({"control_interval_s": "0.5"}, {"control_interval_s": 0.5}),
        ({"phase_count": "1"}, {"phase_count": 1}),
        ({"gradual_adjustment": "no"}, {"gradual_adjustment": False}),
        ({"dry_run": "True"}, {"dry_run": True}),
        ({"per_phase": "true"}, {"per_phase": True}),
        ({"methods": "auto"}, {"methods": ["auto"]}),
        ({"methods": "ess_override,ess_setting"}, {"methods": ["ess_override", "ess_setting"]}),
        ({"failsafe_limit_w": None}, {}),
        ({"per_phase": None, "methods": None, "min_output_limit_w": None}, {}),
    ],
    ids=str,
)
def test_string_of_the_command_line_gives_the_same_config(
    given: dict[str, Any], meant: dict[str, Any]
) -> None:
    one, other = render(**given), render(**meant)

    assert one.faults == other.faults == []
    assert one.config == other.config


def test_export_limit_alone_says_that_there_is_no_output_limit() -> None:
    site = render(max_multiplus_output_w=None, max_grid_export_w=0)

    assert site.faults == []
    assert json.loads(site.config)["max_multiplus_output_w"] is None


def test_fleet_variables_stay_on_the_controller() -> None:
    site = render(portal_id="c0619ab00001", health_s="30")

    assert "portal_id" not in json.loads(site.config)
    assert site.settings["health_s"] == 30


def test_empty_variable_is_its_default() -> None:
    optional = {name: None for name in site_config.FLEET if name not in ("commit", "sha256")}
    left = {
        name: value for name, value in optional.items() if name not in ("canaries", "repository")
    }

    site = render(**left)

    assert site.faults == []
    assert site.settings == render().settings
    assert site.settings["health_s"] == 60


def test_empty_variable_whose_default_only_ansible_knows_is_a_fault() -> None:
    assert render(canaries=None, repository=None).faults == [
        "export_limiter_repository: is required; allowed: A directory or a URL",
        "export_limiter_canaries: is required; allowed: Names of hosts of gx",
    ]


def test_canary_that_is_no_host_of_the_fleet_is_a_fault() -> None:
    variables = {**PIN, **LIMIT, "export_limiter_canaries": ["harbour", "habour"]}

    site = site_config.render(variables, ["harbour", "mill"])

    assert site.faults == [
        "export_limiter_canaries: 'habour' is no host of gx; allowed: Names of hosts of gx"
    ]
    assert site_config.render(variables, ["harbour", "habour"]).faults == []


@pytest.mark.parametrize("waves", ["1", 5, [2, "10%"], ["100%"]], ids=str)
def test_waves_are_numbers_or_percentages(waves: Any) -> None:
    assert render(waves=waves).faults == []


@pytest.mark.parametrize("odd", ["-5", "0", "0.25", "abc", "10 %", "0%", "101%", ""])
def test_odd_wave_is_a_fault(odd: str) -> None:
    told = (
        "is not one; allowed: At least one number of devices from 1, or percentage from 1% to 100%"
    )

    assert render(waves=["1", odd]).faults == [f"export_limiter_waves: {odd!r} {told}"]


@pytest.mark.parametrize(
    ("variables", "fault"),
    [
        (
            {"max_mutliplus_output_w": 1},
            "export_limiter_max_mutliplus_output_w: unknown variable; "
            "did you mean export_limiter_max_multiplus_output_w?",
        ),
        ({"quite_else": 1}, "export_limiter_quite_else: unknown variable"),
        (
            {"max_multiplus_output_w": "30 kW"},
            "export_limiter_max_multiplus_output_w: '30 kW' is not of type float; "
            "allowed: 1 to 1000000",
        ),
        (
            {"max_multiplus_output_w": True},
            "export_limiter_max_multiplus_output_w: True is not of type float; "
            "allowed: 1 to 1000000",
        ),
        (
            {"max_grid_export_w": float("nan")},
            "export_limiter_max_grid_export_w: nan is not a finite number; allowed: 0 to 1000000",
        ),
        (
            {"phase_count": 2},
            "export_limiter_phase_count: '2' is not one of the choices; allowed: 1 or 3",
        ),
        (
            {"per_phase": "maybe"},
            "export_limiter_per_phase: 'maybe' is not one of the choices; "
            "allowed: false, true or strict",
        ),
        (
            {"stored_writes_per_day": "2.5"},
            "export_limiter_stored_writes_per_day: '2.5' is not of type int; allowed: 1 to 1000",
        ),
        (
            {"commit": None},
            "export_limiter_commit: is required; "
            "allowed: 40 lower-case hexadecimal digits, or worktree",
        ),
        (
            {"commit": "abc"},
            "export_limiter_commit: 'abc' is not one; "
            "allowed: 40 lower-case hexadecimal digits, or worktree",
        ),
        (
            {"sha256": "F" * 64},
            f"export_limiter_sha256: {'F' * 40!r} is not one; "
            "allowed: 64 lower-case hexadecimal digits",
        ),
        (
            {"waves": []},
            "export_limiter_waves: is empty; "
            "allowed: At least one number of devices from 1, or percentage from 1% to 100%",
        ),
        (
            {"allowed_reasons": ""},
            "export_limiter_allowed_reasons: '' is not one; "
            "allowed: Texts that are not empty, as status.yml shows them",
        ),
        (
            {"allowed_reasons": ["no ESS", " "]},
            "export_limiter_allowed_reasons: ' ' is not one; "
            "allowed: Texts that are not empty, as status.yml shows them",
        ),
        (
            {"remove": "yes please"},
            "export_limiter_remove: 'yes please' is not one of the choices; "
            "allowed: all, or nothing",
        ),
        (
            {"max_multiplus_output_w": None},
            "export_limiter_max_multiplus_output_w or export_limiter_max_grid_export_w: "
            "one of the two is required, a site without a limit is refused",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_fault_names_the_variable_and_what_is_allowed(
    variables: dict[str, Any], fault: str
) -> None:
    assert render(**variables).faults == [fault]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("-o StrictHostKeyChecking=no", "StrictHostKeyChecking=no"),
        ("-C -oStrictHostKeyChecking=accept-new", "StrictHostKeyChecking=accept-new"),
        ("-o 'stricthostkeychecking off'", "stricthostkeychecking off"),
        ("-o StrictHostKeyChecking=yes -o UserKnownHostsFile=~/x", ""),
        ("", ""),
        (None, ""),
    ],
)
def test_option_that_accepts_any_host_key_is_a_fault(given: str | None, told: str) -> None:
    faults = site_config.unchecked({"ssh_args": "-C", "ssh_common_args": given}.get)

    allowed = "; allowed: StrictHostKeyChecking=yes, or nothing of it"
    assert faults == ([f"ansible_ssh_common_args: {told}{allowed}"] if told else [])


def test_agent_judges_the_numbers_of_every_host() -> None:
    configs = {
        "harbour": render(max_multiplus_output_w=-5).config,
        "cabin": render().config,
        "mill": render(max_multiplus_output_w=500).config,
    }
    agent = REPOSITORY / "agent"
    files = {str(path.relative_to(agent)): path.read_text() for path in agent.rglob("*.py")}

    faults = site_config.check(files, configs)

    assert len(faults) == 2
    assert faults[0].startswith("harbour: export_limiter_max_multiplus_output_w: -5 is not allowed")
    assert faults[1].startswith("mill: export_limiter_min_output_limit_w: 1000 is above")


def test_agent_that_does_not_start_is_a_fault() -> None:
    faults = site_config.check({}, {"harbour": render().config})

    assert len(faults) == 1
    assert "No module named export_limiter" in faults[0]
