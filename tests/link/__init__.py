"""An upgrade over a mobile link, measured beside the same work done by stock modules."""
