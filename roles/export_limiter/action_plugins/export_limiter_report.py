"""Write what a play has learned of the fleet: page, data and metrics. Nothing is sent anywhere."""

from __future__ import annotations

import importlib.util
import json
import sys
import time
from pathlib import Path
from typing import Any, Mapping

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

ROLE = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROLE))
from controller import report  # noqa: E402 - a plugin finds its role by path only

OPTIONS = {"playbook", "directory", "metrics"}


class ActionModule(ActionBase):
    """See the role's library/export_limiter_report.py for the arguments."""

    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict:
        """Write the files of all hosts of the play, those that were not reached among them."""
        result = super().run(tmp, task_vars)
        arguments = {name: str(self._task.args.get(name) or "") for name in OPTIONS}
        hostvars = (task_vars or {})["hostvars"]
        names = [str(name) for name in (task_vars or {})["ansible_play_hosts_all"]]
        decisions = _decisions()
        ended = {}
        if arguments["playbook"] != "status":
            verb = arguments["playbook"].replace("deploy", "apply")
            ended = {row["host"]: row for row in decisions.report(names, hostvars, verb)}
        probes = decisions.probed(names, hostvars)
        hosts = [
            told(name, hostvars[name], probes[name], ended.get(name), decisions) for name in names
        ]
        try:
            page = report.write(
                arguments["directory"],
                hosts,
                time.time(),
                arguments["playbook"],
                arguments["metrics"],
            )
        except OSError as error:
            raise AnsibleActionFail(f"the report was not written: {error}") from None
        return {**result, "changed": False, "page": str(page or "")}


def told(
    name: str,
    variables: Mapping[str, Any],
    probe: Mapping[str, Any],
    ended: Mapping[str, Any] | None,
    decisions: Any,
) -> dict[str, Any]:
    """What the play knows of one host, as plain values."""
    probe = dict(probe)
    probe["history"] = json.loads(probe.get("history") or "null")
    applied = variables.get("__export_limiter_apply")
    reached = not probe.get("unreachable")
    drift = decisions.own_faults(probe)
    if (applied or {}).get("state") != "confirmed":
        drift += decisions.drifts(probe) if reached else []
    elif applied["id"] != decisions.release_id(probe["site"]):
        drift.append(f"release: {applied['id']} runs")
    return {
        "name": name,
        "groups": [str(group) for group in variables["group_names"]],
        "probe": probe,
        "drift": drift,
        "notes": decisions.notes(probe) if reached else [],
        "rollout": ended and {key: ended[key] for key in ("state", "reason")},
        "applied": applied,
    }


def _decisions() -> Any:
    """The role's filter plugin as a module: its directory is no package to import from."""
    file = ROLE / "filter_plugins/export_limiter.py"
    spec = importlib.util.spec_from_file_location("export_limiter_decisions", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
