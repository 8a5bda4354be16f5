"""The agent lives on a 32-bit ARM processor, which is what the devices have."""

import pytest
from gx.stage import Stage

from trees.debian import ARM, missing
from trees.life import live


@pytest.mark.slow
def test_the_agent_lives_on_32_bit_arm():
    if reason := missing(ARM):
        pytest.skip(reason)

    with Stage(ARM.command(), speed=2) as stage:  # the processor is emulated
        live(stage)
