"""Documentation only: the work is done by the action plugin of the same name."""

DOCUMENTATION = r"""
module: export_limiter_report
short_description: Write what a play has learned of the fleet
description:
  - Writes a self-contained page, data.json and data.csv into a new directory named by the time, and
    points the link C(latest) there.
  - Writes a file of metrics for each site, as node_exporter's textfile collector reads them.
  - Works on the controller only, from what the probes and the roll-out have registered.
options:
  playbook:
    description: Which playbook asks. After the others than C(status) each site shows how it ended.
    type: str
    choices: [status, deploy, rollback]
    required: true
  directory:
    description: Where reports are kept. Nothing for none.
    type: path
  metrics:
    description: The directory of the textfile collector. Nothing for none.
    type: path
author:
  - The venus-export-limiter authors
"""

EXAMPLES = r"""
- name: Write the fleet page
  export_limiter_report:
    playbook: status
    directory: reports
  run_once: true
"""

RETURN = r"""
page:
  description: The path of the page, or nothing where none was written.
  type: str
  returned: always
"""
