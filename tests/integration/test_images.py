"""The agent lives on each Venus OS image: with what that image leaves out of Python's library."""

from __future__ import annotations

import pytest
from gx.profiles import PROFILES, sitecustomize
from trees.life import live


@pytest.mark.every_python
@pytest.mark.parametrize("profile", PROFILES)
def test_the_agent_lives_on_what_an_image_has_of_the_library(stage, profile):
    hidden = stage.directory / "hidden"
    hidden.mkdir()
    (hidden / "sitecustomize.py").write_text(sitecustomize(profile))

    live(stage, (str(hidden),))
