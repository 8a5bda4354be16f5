"""The agent on other Pythons than this machine's: those of other Debian releases and processors."""
