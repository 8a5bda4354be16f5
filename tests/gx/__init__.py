"""The simulated GX device and the site behind it."""
