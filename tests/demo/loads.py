"""How far the load of each site rises in the demo."""

from gx.device import DeviceSpec

from demo.records import Site

LOAD_TO_W = {"harbour": 41_000.0, "cabin": 8_000.0}

# The agent's own default; no site of the demo sets another.
MAX_STEP_W = 1000.0


def site_of(spec: DeviceSpec) -> Site:
    """Say what the demo does with a site."""
    return Site(
        name=spec.name,
        limit_w=float(str(spec.variables["export_limiter_max_multiplus_output_w"])),
        max_step_w=MAX_STEP_W,
        load_from_w=float(str(spec.site["load_w"])),
        load_to_w=LOAD_TO_W[spec.name],
    )
