"""Programs of the controller: plugins import what they need of it, the rest is loaded by path."""
