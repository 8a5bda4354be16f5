"""The two sites of the demo: who they are, what stands there and what they may deliver."""

from gx.device import DeviceSpec

HARBOUR = DeviceSpec(
    name="harbour",
    portal_id="c0619ab00001",
    site={
        "name": "harbour",
        "vebus": [{"name": "ttyS4", "phases": 3, "units": 3}],
        "load_w": 18000,
    },
    variables={
        "export_limiter_max_multiplus_output_w": 30000,
        "export_limiter_phase_count": 3,
    },
)
CABIN = DeviceSpec(
    name="cabin",
    portal_id="c0619ab00002",
    site={
        "name": "cabin",
        "vebus": [
            {
                "name": "ttyS4",
                "phases": 1,
                "units": 1,
                "nominal_w": 6400,
                "product": "MultiPlus-II 48/8000/110-100",
            }
        ],
        "load_w": 2000,
        "pv_dc_w": 3000,
    },
    variables={
        "export_limiter_max_multiplus_output_w": 5000,
        "export_limiter_phase_count": 1,
    },
)
SITES = (HARBOUR, CABIN)
