"""The agent's files: what is ours, what was found, and where nothing can be written."""

import json
import logging

import pytest
from export_limiter.files import FoundValues, StatusFile, read_json, write_json

POINT = "com.victronenergy.settings/Settings/CGwacs/MaxDischargePower"


def test_a_file_is_replaced_and_leaves_nothing_beside(tmp_path):
    file = tmp_path / "status.json"

    for number in range(3):
        write_json(str(file), {"number": number}, durable=True)

    assert json.loads(file.read_text()) == {"number": 2}
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("text", [None, "", "{", "[1]", "\0\0", "\udcff"])
def test_what_holds_no_object_is_none(tmp_path, text):
    file = tmp_path / "state.json"
    if text is not None:
        file.write_bytes(text.encode(errors="surrogateescape"))

    assert read_json(str(file)) is None


def test_the_first_found_value_is_kept_while_ours_stands(tmp_path):
    found = FoundValues(str(tmp_path))

    found.will_write(POINT, 8000.0, 6000.0, stored=True)
    found.will_write(POINT, 6000.0, 5000.0, stored=True)
    found.has_written(POINT, stored=True)

    again = FoundValues(str(tmp_path))
    assert again.found(POINT) == 8000
    assert again.is_ours(POINT, 5000.4)
    assert not again.is_ours(POINT, 6000)
    assert not again.is_ours(POINT, None)


def test_a_value_of_somebody_else_becomes_the_found_one(tmp_path):
    found = FoundValues(str(tmp_path))

    found.will_write(POINT, None, 6000.0, stored=True)
    found.will_write(POINT, 7000.0, 5000.0, stored=True)  # 7000 is not what we wrote

    assert found.found(POINT) == 7000


def test_after_a_refused_write_the_value_before_is_still_ours(tmp_path):
    found = FoundValues(str(tmp_path))
    found.will_write(POINT, None, 6000.0, stored=True)
    found.has_written(POINT, stored=True)

    found.will_write(POINT, 6000.0, 5000.0, stored=True)  # refused
    found.will_write(POINT, 6000.0, 5000.0, stored=True)

    again = FoundValues(str(tmp_path))
    assert again.is_ours(POINT, 6000)
    assert again.found(POINT) is None
    assert again.is_ours(POINT, 5000)


def test_steps_at_a_volatile_point_wear_no_flash(tmp_path):
    found = FoundValues(str(tmp_path))
    file = tmp_path / "state.json"
    found.will_write("hub4/x", 4000.0, 6000.0, stored=False)
    first = file.stat().st_mtime_ns, file.read_text()

    for step in range(5900, 5000, -100):
        found.will_write("hub4/x", 4000.0, float(step), stored=False)

    assert (file.stat().st_mtime_ns, file.read_text()) == first
    assert found.found("hub4/x") == 4000
    assert found.is_ours("hub4/x", 5100)


def test_what_is_put_back_is_forgotten(tmp_path):
    found = FoundValues(str(tmp_path))
    found.will_write(POINT, None, 6000.0, stored=True)

    found.forget(POINT)

    assert FoundValues(str(tmp_path)).points() == {}


def test_a_state_file_that_can_not_be_written_is_one_warning(tmp_path, caplog):
    found = FoundValues(str(tmp_path / "nowhere"))

    with caplog.at_level(logging.WARNING):
        found.will_write(POINT, None, 6000.0, stored=True)
        found.will_write(POINT, 6000.0, 5000.0, stored=True)

    assert len(caplog.records) == 1
    assert "a reboot would forget what to put back" in caplog.text
    assert "can't be written" in found.warning
    assert found.is_ours(POINT, 5000)


def test_a_status_file_knows_its_last_run(tmp_path):
    StatusFile(str(tmp_path / "run")).write({"cap_w": 5000})

    assert StatusFile(str(tmp_path / "run")).earlier == {"cap_w": 5000}


def test_a_status_file_that_can_not_be_written_is_one_warning(tmp_path, caplog):
    blocked = tmp_path / "run"
    blocked.write_text("a file, no directory")
    file = StatusFile(str(blocked))

    with caplog.at_level(logging.WARNING):
        for tick in range(3):
            file.write({"ticks": tick})

    assert len(caplog.records) == 1
    assert file.last == {"ticks": 2}
