"""The Python client of the management API: what it is generated from. Nothing that runs imports it."""
