"""The role's shape: playbooks say what happens in which order, and a wave is two tasks a device."""

from pathlib import Path

import pytest
import yaml
from role import REPOSITORY, ROLE

PLAYBOOKS = sorted((REPOSITORY / "playbooks").glob("*.yml"))
BLOCKS = ("block", "rescue", "always")


@pytest.mark.parametrize("playbook", PLAYBOOKS, ids=lambda path: path.stem)
def test_playbook_is_a_table_of_contents(playbook: Path) -> None:
    for play in yaml.safe_load(playbook.read_text()):
        assert set(play) <= {
            "name",
            "hosts",
            "serial",
            "order",
            "gather_facts",
            "vars_files",
            "tasks",
        }
        assert play["hosts"] != "localhost"  # --limit would skip it
        for task in play["tasks"]:
            assert set(task) <= {"name", "ansible.builtin.import_role", "vars"}


def test_wave_is_two_tasks_a_device_and_only_there_failures_are_gone_over() -> None:
    forgiving = ("ignore_unreachable", "ignore_errors", "timeout")
    found = {}
    for file in sorted((ROLE / "tasks").glob("*.yml")):
        tasks = yaml.safe_load(file.read_text())
        inner = [each for task in tasks for part in BLOCKS for each in task.get(part, ())]
        kinds = {key for task in tasks + inner for key in task if key in forgiving}
        found[file.stem] = (len(tasks), kinds)

    assert found.pop("wave") == found.pop("rollback") == (2, set(forgiving))
    assert found.pop("gate") == (1, set())
    assert found.pop("probe")[1] == found.pop("remove")[1] == {"ignore_unreachable"}
    assert set().union(*(kinds for _, kinds in found.values())) == set()
