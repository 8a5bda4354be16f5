"""The metrics of a site: read back by Prometheus' own parser, named by its conventions."""

import pytest
from page import simulated
from prometheus_client.parser import text_string_to_metric_families
from role import load

fleet = load("controller/fleet.py")
prometheus = load("controller/prometheus.py")

UNITS = ("_watts", "_seconds", "_joules", "_total")
UNITLESS = {"up", "info", "state", "verdict", "enforceable", "binding", "drifted", "day_excursions"}


def rendered(host):
    site = fleet.build([host], simulated.NOW, "status", {})["sites"][0]
    return site, prometheus.render(site, fleet.STATES, fleet.VERDICTS)


def families(host):
    site, text = rendered(host)
    return site, {family.name: family for family in text_string_to_metric_families(text)}


def value(found, name, **labels):
    samples = found["export_limiter_" + name].samples
    return next(s.value for s in samples if labels.items() <= s.labels.items())


def test_what_the_data_says_is_what_is_measured():
    site, found = families(simulated.site("saaremaa-farm", simulated.EXCEEDED))

    assert value(found, "up") == 1
    assert value(found, "output_watts") == site["output_w"]
    assert value(found, "cap_watts") == site["cap_w"]
    assert value(found, "state", state="limiting") == 1
    assert value(found, "state", state="failsafe") == 0
    assert value(found, "verdict", verdict="exceeded") == 1
    assert value(found, "day_excursions", length="above 60 s") == 1
    above_wh = site["compliance"]["day"]["above_wh"]
    assert value(found, "day_above_limit_joules") == pytest.approx(above_wh * 3600)
    assert found["export_limiter_writes"].type == "counter"


def test_what_is_not_known_has_no_sample():
    _, found = families(simulated.offline("inari-lodge"))

    assert value(found, "up") == 0
    assert value(found, "output_limit_watts") == 10_000
    assert not {"export_limiter_output_watts", "export_limiter_info"} & set(found)


def test_names_units_and_help_follow_the_conventions():
    _, text = rendered(simulated.site("riga-depot"))
    lines = text.splitlines()
    helps = [line.split(" ", 3) for line in lines if line.startswith("# HELP")]

    assert text.endswith("\n")
    for _, _, name, words in helps:
        assert words[0].isupper()
        assert words.endswith(".")
        bare = name.removeprefix("export_limiter_")
        assert bare in UNITLESS or name.endswith(UNITS)
        kind = "counter" if name.endswith("_total") else "gauge"
        assert f"# TYPE {name} {kind}" in lines
    assert len({name for _, _, name, _ in helps}) == len(helps)


@pytest.mark.parametrize("name", [*simulated.HOSTILE, 'a"b\\c\nd', "../../etc/passwd"])
def test_a_hostile_name_is_a_label_and_no_path(name):
    _, found = families(simulated.site(name))

    assert found["export_limiter_up"].samples[0].labels == {"site": name}
    assert "/" not in prometheus.file_name(name)
    assert prometheus.file_name(name).endswith(".prom")


def test_two_sites_never_share_a_file():
    names = ["a/b", "a_b", "a b"]

    assert len({prometheus.file_name(name) for name in names}) == 3
