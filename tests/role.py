"""The role's programs as modules: Ansible and the device load them by path, and so do the tests."""

import importlib.util
from pathlib import Path
from types import ModuleType

REPOSITORY = Path(__file__).resolve().parents[1]
ROLE = REPOSITORY / "roles/export_limiter"


def load(path: str) -> ModuleType:
    """Load one file of the role anew."""
    file = ROLE / path
    spec = importlib.util.spec_from_file_location(f"role_{file.parent.name}_{file.stem}", file)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
