"""Programs of the controller: the plugins, and the tests, import what they need of it."""
