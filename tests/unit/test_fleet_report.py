"""What is said of each site in data.json, and the spreadsheet and series made of it."""

import csv
import hashlib
import io
import json

import jsonschema
import pytest
from page import simulated
from role import ROLE, load

fleet = load("controller/fleet.py")
formats = load("controller/formats.py")
report = load("controller/report.py")
sheet = load("controller/sheet.py")

NOW = simulated.NOW
SCHEMA = json.loads((ROLE / "controller/data.schema.json").read_text())


def built(*hosts, playbook="status", contacts=None):
    data = fleet.build(hosts, NOW, playbook, contacts or {})
    jsonschema.validate(data, SCHEMA)
    return data


def only(host, **keys):
    return built(host, **keys)["sites"][0]


def with_probe(host, **changes):
    return host._replace(probe={**host.probe, **changes})


SITE = simulated.site("tartu-dairy")


@pytest.mark.parametrize(
    ("host", "verdict", "reason"),
    [
        (SITE, "kept", "output is below the cap"),
        (simulated.site("a", simulated.HELD), "kept", "output is held at the cap"),
        (simulated.site("a", simulated.EXCEEDED), "exceeded", "walking down"),
        (simulated.site("a", simulated.LOST), "failsafe", "no usable output measurement"),
        (
            simulated.site("a", simulated.NO_ESS),
            "not_enforceable",
            "the ESS assistant is not installed in ttyS4",
        ),
        (simulated.site("a", dry_run=True, reason="dry run"), "dry_run", "dry run"),
        (
            simulated.site("a", enforceable=False, reason="waiting"),
            "not_enforceable",
            "waiting",
        ),
        (simulated.site("a", state="starting", reason="soon"), "not_running", "soon"),
        (with_probe(SITE, pid=None), "not_running", "the service is down"),
        (with_probe(SITE, current=None), "not_running", "nothing is installed"),
        (
            with_probe(SITE, pid=7),
            "not_running",
            "there is no status of the process that runs",
        ),
        (
            simulated.site("a", updated_at=NOW - 300),
            "not_running",
            "its status has not been renewed for a minute",
        ),
        (
            with_probe(
                SITE,
                unreachable=True,
                msg="authentication: the device does not accept our key",
            ),
            "not_reached",
            "authentication: the device does not accept our key",
        ),
        (
            simulated.offline("a"),
            "not_reached",
            "offline: ssh: connect to host 192.0.2.7 port 22: Connection timed out",
        ),
    ],
)
def test_each_site_has_one_verdict_and_its_reason(host, verdict, reason):
    site = only(host)

    assert (site["verdict"], site["reason"]) == (verdict, reason)


def test_a_short_excursion_breaks_nothing():
    short = simulated.Kind("limiting", "held", True, ((14.0, 900.0),))

    assert only(simulated.site("a", short))["verdict"] == "kept"


def test_an_offline_site_keeps_its_limit_and_its_last_contact():
    site = only(simulated.offline("inari"), contacts={"inari": 1234})

    assert site["last_contact"] == 1234
    assert site["limits"]["output_w"] == 10_000
    assert site["release"]["commit"] is None


def test_what_a_roll_out_put_in_place_is_what_runs():
    status = {**SITE.probe["status"], "pid": 999, "version": "0.2.0"}
    ended = {"state": "confirmed", "reason": "healthy"}
    digest = hashlib.sha256(SITE.probe["site"]["config"].encode()).hexdigest()[:12]
    applied = {"state": "confirmed", "id": f"{'c' * 40}-{digest}", "status": status}
    applied["received_at"] = NOW + 7
    host = with_probe(SITE, current=None, config="")._replace(applied=applied, rollout=ended)

    site = only(host, playbook="deploy")

    assert (site["verdict"], site["rollout"]) == ("kept", ended)
    assert (site["release"]["commit"], site["release"]["version"]) == ("c" * 40, "0.2.0")
    assert site["config"]["phase_count"] == 3
    assert site["last_contact"] == NOW + 7
    assert site["compliance"]["day"]["measured_s"] > 80_000  # handed over before it


def test_of_what_was_gone_back_to_only_what_is_known_is_told():
    status = {**SITE.probe["status"], "pid": 999}
    applied = {"state": "confirmed", "id": f"{'c' * 40}-0123456789ab", "status": status}
    applied["received_at"] = NOW + 7
    host = SITE._replace(applied=applied, rollout={"state": "confirmed", "reason": "healthy"})

    site = only(host, playbook="rollback")

    assert (site["release"]["commit"], site["release"]["since"]) == ("c" * 40, NOW + 7)
    assert site["config"] is None


def test_how_a_roll_out_ended_adds_up():
    ends = ["confirmed", "confirmed", "rolled back", "pending"]
    hosts = [
        SITE._replace(name=f"s{i}", rollout={"state": e, "reason": ""}) for i, e in enumerate(ends)
    ]

    told = built(*hosts, playbook="deploy")["totals"]["rollout"]

    assert {state: count for state, count in told.items() if count} == {
        "confirmed": 2,
        "rolled back": 1,
        "pending": 1,
    }


@pytest.mark.parametrize(
    ("state", "dry_run", "count"),
    [
        ("limiting", False, 1),
        ("relaxing", False, 1),
        ("monitoring", False, 0),
        ("limiting", True, 0),
    ],
)
def test_a_dry_run_holds_no_output_down(state, dry_run, count):
    assert built(simulated.site("a", state=state, dry_run=dry_run))["totals"]["limiting"] == count


def test_since_when_is_told_by_the_clock_of_the_controller():
    ahead = {**SITE.probe["history"], "clock_s": SITE.probe["received_at"] + 7200}
    status = {**SITE.probe["status"], "state_since": NOW - 60, "started_at": NOW - 90}
    host = with_probe(SITE, since=NOW, history=ahead, status=status)

    assert only(host)["release"]["since"] == NOW - 7200
    assert only(host)["state_since"] == NOW - 7260
    assert only(host)["started_at"] == NOW - 7290
    assert only(host)["clock_off_s"] == 7200


def test_an_older_agent_does_not_tell_since_when():
    status = {k: v for k, v in SITE.probe["status"].items() if k != "state_since"}

    assert only(with_probe(SITE, status=status))["state_since"] is None


def test_totals_add_up():
    data = built(*simulated.many(60, seed=3))

    totals = data["totals"]
    assert sum(totals["verdicts"].values()) == totals["sites"] == 60
    assert sum(release["sites"] for release in totals["releases"]) == 60
    above_wh = [s["compliance"]["day"]["above_wh"] for s in data["sites"] if s["compliance"]]
    assert totals["above_wh_day"] == pytest.approx(sum(above_wh))


def test_a_history_that_makes_no_sense_costs_nobody_the_report():
    host = with_probe(SITE, history={"monotonic_s": 1, "clock_s": NOW, "minutes": 7})

    site = only(host)

    assert site["history"]["series"] is None
    assert site["compliance"]["day"]["measured_s"] == 0


# --- files


def test_a_page_that_would_be_too_large_has_coarser_plots(monkeypatch):
    monkeypatch.setattr(report, "PAGE_BYTES", 150_000)
    hosts = simulated.ten()

    data, html = report._fitting(lambda step=1: fleet.build(hosts, NOW, "status", {}, step))

    assert len(html.encode()) <= 150_000
    assert data["sites"][0]["history"]["series"]["step_s"] > 60


def test_each_report_has_a_place_and_the_latest_is_linked(tmp_path):
    fields = [SITE._asdict()]

    first = report.write(str(tmp_path / "new"), fields, NOW, "status")
    second = report.write(str(tmp_path / "new"), fields, NOW + 60, "status")

    assert first.parent.name == "2026-11-22T151500Z"
    assert (tmp_path / "new/latest").resolve() == second.parent
    names = {path.name for path in second.parent.iterdir()}
    assert names == {"index.html", "data.json", "data.csv"}


def test_a_report_of_a_part_of_the_fleet_forgets_no_contact(tmp_path):
    fields = [host._asdict() for host in (SITE, simulated.site("inari"))]
    report.write(str(tmp_path), fields, NOW, "status")
    report.write(str(tmp_path), fields[:1], NOW + 60, "status")

    page = report.write(str(tmp_path), [simulated.offline("inari")._asdict()], NOW + 90, "status")

    site = json.loads(page.with_name("data.json").read_text())["sites"][0]
    assert site["last_contact"] == round(fields[1]["probe"]["received_at"])


def test_without_a_directory_no_page_is_written(tmp_path):
    assert report.write("", [SITE._asdict()], NOW, "status", str(tmp_path)) is None
    assert [path.name for path in tmp_path.iterdir()] == ["export_limiter_tartu-dairy.prom"]


def test_the_spreadsheet_has_a_line_for_each_site():
    data = built(*simulated.ten(), simulated.offline("inari"))

    rows = list(csv.DictReader(io.StringIO(sheet.render(data))))

    assert [row["site"] for row in rows] == [site["name"] for site in data["sites"]]
    assert float(rows[3]["day_above_wh"]) == data["sites"][3]["compliance"]["day"]["above_wh"]
    assert rows[10]["output_w"] == ""
    assert rows[0]["last_contact"].startswith("2026-11-22T15:1")


@pytest.mark.parametrize("name", ["=1+1", "+x", "-x", "@x", "\tx", "=cmd|' /C calc'!A0", "\uff1d1"])
def test_a_name_is_no_formula(name):
    rows = list(csv.reader(io.StringIO(sheet.render(built(simulated.offline(name))))))

    assert rows[1][0] == "'" + name


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_no_cell_is_a_formula_whatever_is_taken_for_a_separator(separator):
    names = ["a;=1+1", "a, -1", " =1", 'a";=1', "a\t@x", "x\n=1", *simulated.HOSTILE]
    hosts = [simulated.offline(n)._replace(groups=[n], drift=[n]) for n in names]

    text = sheet.render(built(*hosts))

    cells = [c for row in csv.reader(io.StringIO(text), delimiter=separator) for c in row]
    assert [cell for cell in cells if cell.strip().startswith(("=", "+", "@"))] == []


def test_ordinary_names_and_numbers_are_as_they_are():
    row = next(csv.DictReader(io.StringIO(sheet.render(built(SITE)))))

    site = only(SITE)
    assert (row["site"], row["reason"]) == ("tartu-dairy", site["reason"])
    assert float(row["output_w"]) == site["output_w"]


# --- numbers for people


@pytest.mark.parametrize(
    ("kind", "value", "text"),
    [
        ("power", 18234, "18.23 kW"),
        ("power", -520, "-0.52 kW"),
        ("power", None, "–"),
        ("exchange", 1200, "1.20 kW fed in"),
        ("exchange", -3760, "3.76 kW drawn"),
        ("exchange", 0, "0.00 kW"),
        ("current", 12.34, "12.3 A"),
        ("mode", 1, "1: total of the phases"),
        ("mode", 9, "9"),
        ("energy", 12.34, "12.3 Wh"),
        ("energy", 1234, "1.23 kWh"),
        ("duration", 72, "72 s"),
        ("duration", 600, "10 min"),
        ("duration", 86340, "24.0 h"),
        ("moment", NOW, "2026-11-22 15:15 UTC"),
        ("plain", True, "yes"),
        ("plain", 10000.0, "10000"),
    ],
)
def test_a_number_reads_like(kind, value, text):
    assert formats.KINDS[kind](value) == text
