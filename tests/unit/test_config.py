"""The configuration: what is accepted, what is refused and in which words."""

import json

import pytest
from export_limiter.config import (
    METHOD_NAMES,
    Config,
    ConfigError,
    failsafe_limit_w,
    parse,
    summary,
)


def faults(**values: object) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        parse(json.dumps(values))
    return caught.value.faults


def test_nothing_given_means_the_defaults():
    assert parse("{}") == Config()


def test_values_are_taken_over():
    config = parse('{"max_multiplus_output_w": 5000, "phase_count": 1, "methods": ["ess_setting"]}')

    assert config.max_multiplus_output_w == 5000.0
    assert config.phase_count == 1
    assert config.methods == ("ess_setting",)


def test_auto_means_every_method_in_order():
    assert parse('{"methods": "auto"}').methods == METHOD_NAMES


def test_an_increase_that_is_not_given_is_never_above_the_decrease():
    assert parse('{"max_power_change_per_step_w": 200}').max_power_increase_per_step_w == 200


@pytest.mark.parametrize(
    ("key", "value", "allowed"),
    [
        pytest.param("max_multiplus_output_w", -1, "1 to 1000000 W", id="negative"),
        pytest.param("max_multiplus_output_w", 0, "1 to 1000000 W", id="zero limit"),
        pytest.param("max_multiplus_output_w", "5000", "a number", id="text"),
        pytest.param("max_multiplus_output_w", True, "a number", id="a flag for a number"),
        pytest.param("max_power_change_per_step_w", 0, "1 to 1000000 W", id="step 0"),
        pytest.param("phase_count", 2, "1, 3", id="two phases"),
        pytest.param("phase_count", True, "1, 3", id="true is not 1"),
        pytest.param("per_phase", 1, 'false, true, "strict"', id="1 is not true"),
        pytest.param("control_interval_s", 0.1, "0.2 to 10 s", id="too fast"),
        pytest.param("stored_writes_per_day", 1.5, "a whole number", id="a fraction"),
        pytest.param("methods", [], "one or more", id="no method"),
        pytest.param("methods", ["guess"], "ess_override", id="unknown method"),
        pytest.param("methods", ["ess_override", "ess_override"], "each once", id="method twice"),
        pytest.param("on_stop", "open", '"keep", "release"', id="unknown word"),
        pytest.param("data_hold_s", 60, "1 to 4 s", id="failsafe would come too late"),
    ],
)
def test_a_bad_value_is_refused_with_what_is_allowed(key, value, allowed):
    (fault,) = faults(**{key: value})

    assert fault.startswith(f"{key}: ")
    assert allowed in fault


def test_not_a_number_is_refused_by_name():
    with pytest.raises(ConfigError, match="min_output_limit_w: NaN"):
        parse('{"min_output_limit_w": NaN}')


def test_infinity_is_refused():
    with pytest.raises(ConfigError, match="max_grid_export_w: Infinity"):
        parse('{"max_grid_export_w": 1e999}')


def test_an_unknown_key_is_refused_and_the_keys_are_listed():
    (fault,) = faults(max_output_w=5000)

    assert fault.startswith("max_output_w: unknown key")
    assert "max_multiplus_output_w" in fault


def test_a_key_given_twice_is_refused():
    with pytest.raises(ConfigError, match="dry_run: given twice"):
        parse('{"dry_run": true, "dry_run": false}')


@pytest.mark.parametrize("text", ["", "[", "[]", "3", "null", "[" * 100_000])
def test_text_that_is_no_object_is_refused(text):
    with pytest.raises(ConfigError):
        parse(text)


def test_every_fault_is_named_at_once():
    assert len(faults(phase_count=2, dry_run="yes", wrong=1)) == 3


def test_faults_of_keys_beside_each_other_are_named_with_all_others():
    text = (
        '{"min_output_limit_w": 4000, "max_multiplus_output_w": 3000, "phase_count": 2,'
        ' "max_power_increase_per_step_w": 2000, "wrong": 1, "dry_run": true, "dry_run": false}'
    )

    with pytest.raises(ConfigError) as caught:
        parse(text)

    assert [fault.split(": ")[0] for fault in caught.value.faults] == [
        "dry_run",
        "phase_count",
        "wrong",
        "min_output_limit_w",
        "max_power_increase_per_step_w",
    ]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        pytest.param(
            '{"max_multiplus_output_w": -1, "min_output_limit_w": 9e5}',
            "max_multiplus_output_w: -1 is not allowed",
            id="a fault of its own",
        ),
        pytest.param(
            '{"max_multiplus_output_w": 5, "max_multiplus_output_w": 6}',
            "max_multiplus_output_w: given twice",
            id="given twice",
        ),
        pytest.param(
            '{"max_multiplus_output_w": null, "max_grid_export_w": "no"}',
            'max_grid_export_w: "no" is not allowed',
            id="the other one",
        ),
    ],
)
def test_a_key_that_is_faulty_itself_is_not_judged_beside_others(text, fault):
    with pytest.raises(ConfigError) as caught:
        parse(text)

    assert len(caught.value.faults) == 1
    assert caught.value.faults[0].startswith(fault)


def test_no_limit_at_all_is_refused():
    (fault,) = faults(max_multiplus_output_w=None)

    assert fault.startswith("max_multiplus_output_w: ")


def test_an_export_limit_alone_is_a_limit():
    assert parse('{"max_multiplus_output_w": null, "max_grid_export_w": 0}').max_grid_export_w == 0


def test_a_floor_above_the_limit_is_refused():
    (fault,) = faults(max_multiplus_output_w=500)

    assert fault == "min_output_limit_w: 1000 is above max_multiplus_output_w; 0 to 500 W"


def test_an_increase_above_the_decrease_is_refused():
    (fault,) = faults(max_power_increase_per_step_w=2000)

    assert fault.startswith("max_power_increase_per_step_w: 2000")


def test_a_million_watts_are_written_out():
    (fault,) = faults(min_output_limit_w=1_000_000)

    assert fault == "min_output_limit_w: 1000000 is above max_multiplus_output_w; 0 to 30000 W"


@pytest.mark.parametrize(
    ("values", "pv_inverter", "expected_w"),
    [
        pytest.param({"max_grid_export_w": 6000}, False, 6000, id="the limit itself"),
        pytest.param({"max_grid_export_w": 0}, False, 1000, id="never below the floor"),
        pytest.param({"max_grid_export_w": 6000}, True, 1000, id="AC PV may add to it"),
        pytest.param({"failsafe_limit_w": 2500}, True, 2500, id="as configured"),
        pytest.param({"failsafe_limit_w": 10}, False, 1000, id="configured below the floor"),
    ],
)
def test_the_failsafe_limit(values, pv_inverter, expected_w):
    config = parse(json.dumps(values))

    assert failsafe_limit_w(config, pv_inverter) == expected_w


def test_the_limits_are_told_in_one_line():
    config = Config(max_grid_export_w=2500.5, methods=("ess_override", "ess_setting"), dry_run=True)

    assert summary(config) == (
        "output limit 30000 W, export limit 2500.5 W, methods ess_override, ess_setting,"
        " dry run: nothing is written"
    )
    assert "export limit none" in summary(Config())
    assert "dry run" not in summary(Config())
