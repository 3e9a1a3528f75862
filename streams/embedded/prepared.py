"""`python -m streams.embedded.prepared NAME`: a command of `stormweir` that imports first and runs later.

The process imports what the command needs, waits until its standard input ends, and then runs the command. The imports
take about a second of CPU time, which is free while Kafka starts but not afterwards, when all processes start at once.
"""

import sys
from importlib import import_module

_NEEDS = {
    "api": "streams.api.server",
    "clickhouse": "streams.embedded.clickhouse",
    "gateway": "streams.gateway.server",
    "notifier": "streams.process.workers",
    "receiver": "sinks.receiver",
    "worker": "streams.process.workers",
    "writer": "streams.process.workers",
}


def main() -> None:
    """Run the command that the first argument names."""
    from streams import cli

    import_module(_NEEDS[sys.argv[1]])
    cli.build()  # imports every command
    sys.stdin.buffer.read()
    cli.main()


if __name__ == "__main__":
    main()
