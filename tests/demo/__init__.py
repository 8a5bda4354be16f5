"""The demo: simulated sites, the real agent and its deployment, a rising load and a verdict."""
