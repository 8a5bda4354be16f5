"""Simulated GX devices and real playbooks; what is no test here is what the tests are told with."""
