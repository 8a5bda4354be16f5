"""Documentation only: the work is done by the action plugin of the same name."""

DOCUMENTATION = r"""
module: export_limiter
short_description: Look at or change the export limiter of one GX device
description:
  - Sends the role's device program with its input on standard input, in one execution, and relays
    its reply.
  - Needs /usr/bin/python3 (3.8 or newer) on the device, with the library that Venus OS has.
  - In check mode only C(probe) and C(discover) reach the device.
options:
  verb:
    description:
      - C(probe) looks and changes nothing. It also reads the site's variables on the controller.
      - C(apply) puts a release in place and keeps it only if it is healthy.
      - C(rollback) puts the last confirmed release before the present one back, without raising a
        limit. The playbook asks it of devices that run the pinned release. Where there is none,
        nothing is changed and the state is C(not tried).
      - C(remove) releases the limit and leaves the device as it was before the first deployment.
      - C(discover) runs a release's discovery from RAM; nothing is installed.
      - C(unreached) counts a device that C(probe) could not ask as unreachable; nothing is sent.
    type: str
    choices: [probe, apply, rollback, remove, discover, unreached]
    required: true
  site:
    description: What the inventory says, as C(probe) returned it. For verbs that change something.
    type: dict
  history:
    description: Whether C(probe) brings the last day along, some kB for each site.
    type: bool
    default: false
  device:
    description: What C(probe) returned. For C(apply) and C(unreached).
    type: dict
  release:
    description: The packed release, as the preflight built it. For C(apply) and C(discover).
    type: str
author:
  - The venus-export-limiter authors
"""

EXAMPLES = r"""
- name: Look at the device
  export_limiter:
    verb: probe
  register: __export_limiter_probe

- name: Remove the export limiter
  export_limiter:
    verb: remove
    site: "{{ __export_limiter_probe.site }}"
"""

RETURN = r"""
site:
  description: The site's config.json, its other settings and every fault in its variables.
  type: dict
  returned: for probe
state:
  description: One of confirmed, rolled back, failed, removed or not tried.
  type: str
  returned: for apply, rollback and remove
sent:
  description: Whether the request may have reached the device before the link was lost.
  type: bool
  returned: when unreachable
msg:
  description: Why, in one line.
  type: str
  returned: always but for probe
"""
