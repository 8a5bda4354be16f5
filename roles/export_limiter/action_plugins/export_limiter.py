"""Carry one verb of the device program to a device and its reply back: transport only.

Modules of Ansible need parts of Python's library that Venus OS left out, and several executions
over a slow link. This sends the program and its input on standard input of one execution.
"""

from __future__ import annotations

import base64
import bz2
import json
import shlex
import sys
import time
import uuid
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleConnectionFailure, AnsibleError
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.action import ActionBase

ROLE = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROLE))
from controller import pin, site_config  # noqa: E402 - a plugin finds its role by path only

MARKER = "venus-export-limiter-reply:"
BOOTSTRAP = (
    "import sys,bz2;i=sys.stdin.buffer;"
    "exec(compile(bz2.decompress(i.read(int(i.readline()))),'device.py','exec'))"
)
UNPINNED = "worktree"  # what an operator asks for by name, in place of a commit
CHANGING = ("apply", "rollback", "remove")
ASK_AGAIN_S = 5
# The site's settings that the device program needs.
SENT = (
    *("portal_id", "commit", "sha256", "min_free_kb", "max_load", "health_s", "allowed_reasons"),
    *("higher_limit", "release_limit", "release_s"),
)
# What ssh says, and what it means to whoever runs the roll-out.
LINK_FAULTS = {
    "host key is known": "host key: none in known_hosts for this site",
    "Host key verification failed": "host key: not the one in known_hosts for this site",
    "Permission denied": "authentication: the device does not accept our key",
}
# What it says before it has sent anything.
NOT_SENT = (*LINK_FAULTS, "connect to host", "Could not resolve hostname", "stdio forwarding")


# Read once, before Ansible forks for each host.
PROGRAM = bz2.compress((ROLE / "files" / "device.py").read_bytes())


class ActionModule(ActionBase):
    """One execution a verb; see the role's library/export_limiter.py for its arguments."""

    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict:
        """Do the verb; a device that can't be reached is told from one that fails."""
        result = super().run(tmp, task_vars)
        arguments = self._task.args
        verb, settings = arguments["verb"], arguments.get("site", {}).get("settings", {})
        if verb == "unreached":
            return {**result, "unreachable": True, "msg": arguments["device"]["msg"]}
        request = {"verb": verb, **{key: settings[key] for key in SENT if key in settings}}
        if "release" in arguments:
            request["files"] = pin.unpack(arguments["release"])
        if verb == "probe":
            result["site"] = self._site(task_vars or {})
            request["history"] = boolean(arguments.get("history", False))
        if verb == "apply":
            request["config"] = arguments["site"]["config"]
            result["diff"] = _diff(arguments["device"], arguments["site"])
        if self._task.check_mode and verb in CHANGING:
            return {**result, "changed": True, "state": "not tried", "msg": f"would {verb}"}
        reply = self._reply(request, settings["lost_link_s"] if verb in CHANGING else 0)
        if verb == "probe" and reply.pop("failed", False):
            # The device keeps its place in the play: preflight names every fault of the fleet.
            reply = {"unreachable": True, "msg": reply["msg"]}
        return {"changed": False, **result, "received_at": time.time(), **reply}

    def _site(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        """What the inventory says of this site, with every fault in it."""
        values, faults = {}, []
        for name in sorted(task_vars):
            if name.startswith(site_config.PREFIX):
                try:
                    values[name] = self._templar.template(task_vars[name])
                except AnsibleError as error:
                    faults.append(f"{name}: {error.message}")
        unpinned = values.get("export_limiter_commit") == UNPINNED
        if unpinned:
            try:
                edited = pin.worktree(values["export_limiter_repository"])
                values["export_limiter_commit"] = edited.commit
                values["export_limiter_sha256"] = edited.sha256
            except pin.PinError as error:
                faults.append(str(error))
        site = site_config.render(values, task_vars["groups"].get("gx", ()))._asdict()
        site["settings"]["unpinned"] = unpinned
        site["faults"] = faults or site["faults"]
        if self._connection.transport == "ssh":
            site["faults"] += site_config.unchecked(self._connection.get_option)
        return site

    def _reply(self, request: dict[str, Any], patience_s: float) -> dict[str, Any]:
        """Ask, and ask the same again for some time after the link is lost.

        A device gives its first verdict again, and one that is still at work does not begin anew.
        """
        request["id"] = uuid.uuid4().hex
        if request["verb"] in CHANGING and self._connection.transport == "ssh":
            self._connection.set_option("reconnection_retries", 0)  # else only the last is told
        sent, pause_s, deadline = False, 0, None
        while True:
            try:
                return self._ask(request)
            except AnsibleConnectionFailure as error:
                told = _in_words(str(error))
                sent = sent or not any(words in str(error) for words in NOT_SENT)
            except AnsibleError as error:  # such as a wrong password for sudo
                return {"failed": True, "state": "failed", "msg": str(error)}
            deadline = deadline or time.monotonic() + patience_s
            if time.monotonic() >= deadline or not told.startswith("offline"):
                return {"unreachable": True, "sent": sent, "msg": told}
            time.sleep(pause_s)
            pause_s = ASK_AGAIN_S

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """Send the program and the request, and find the reply among whatever else is printed."""
        packed = bz2.compress(json.dumps(request).encode())
        done = self._low_level_execute_command(
            f"/usr/bin/python3 -c {shlex.quote(BOOTSTRAP)}",
            in_data=b"%d\n%b%d\n%b" % (len(PROGRAM), PROGRAM, len(packed), packed),
            sudoable=True,
        )
        _, marker, reply = done["stdout"].partition(f"{MARKER}{request['id']}:")
        if marker:
            return unpacked(reply.splitlines()[0])
        return {"failed": True, "state": "failed", "msg": _no_reply(done)}


def unpacked(reply: str) -> dict[str, Any]:
    """What stands behind the marker."""
    return json.loads(bz2.decompress(base64.b85decode(reply)))


def _diff(device: dict[str, Any], site: dict[str, Any]) -> dict[str, str]:
    return {
        "before_header": f"config.json, release {device.get('current')}",
        "after_header": f"config.json, commit {site['settings']['commit']}",
        "before": device.get("config") or "",
        "after": site["config"],
    }


def _in_words(message: str) -> str:
    offline = "offline: " + " ".join(message.split())[-160:]
    return next((meaning for told, meaning in LINK_FAULTS.items() if told in message), offline)


def _no_reply(done: dict[str, Any]) -> str:
    if done["rc"] == 127:
        return "no python: the device has no /usr/bin/python3"
    lines = (done["stderr"] + "\n" + done["stdout"]).strip().splitlines() or ["nothing was printed"]
    return f"no reply from the device program (exit {done['rc']}): {lines[-1][:160]}"
