"""Keeps the MultiPlus inverters of one GX device under a power limit.

From a signal to a written cap, in the order to read it:

- ``bus``: signals and calls, and nothing waits. ``calls``, ``values``
- ``inverters``: what the bus last said of the site. ``victron`` has its names
- ``service``: the tick, which has each of the following do its part
- ``measuring``: the quantities of one poll. ``stillness``
- ``methods``: where a cap can be written now, or why nowhere
- ``limiter``: the law. ``freshness``, ``limits``, ``bounds``, ``learning``, ``recent``
- ``writes``: brings the cap there. ``backstop`` stores the limit
- ``trust``: whether the cap is taken over and obeyed. ``effect``

What becomes of a tick: ``judgement`` has the verdict and ``status`` all that is told; ``audience``
tells it to D-Bus (``published``), to ``files``, to the device's screen (``notice``) and to the
history (``recording``, ``history``, ``tally``).

For a person at the device: ``config``, ``screen``, ``release``, and ``quiet`` for the log.
``__main__`` puts the parts together, ``loop`` runs them.
"""
