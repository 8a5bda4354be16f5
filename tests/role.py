"""The role's programs as modules, found by the role's path as its plugins find them."""

import importlib
import sys
from pathlib import Path
from types import ModuleType

REPOSITORY = Path(__file__).resolve().parents[1]
ROLE = REPOSITORY / "roles/export_limiter"
sys.path.insert(0, str(ROLE))


def load(path: str) -> ModuleType:
    """Load one file of the role."""
    return importlib.import_module(path.removesuffix(".py").replace("/", "."))
