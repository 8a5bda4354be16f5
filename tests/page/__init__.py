"""The fleet page in a browser."""
