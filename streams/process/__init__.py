"""What every long-running process has: an admin port, JSON logs, errors that people can act on."""
