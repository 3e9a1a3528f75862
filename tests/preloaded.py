"""What commands import, for the process that they are forked from (tests.forks)."""

import aiokafka  # noqa: F401

import streams.control.document  # noqa: F401
from streams.cli import build

build()
