"""Processes: admin port, logs, installation."""
