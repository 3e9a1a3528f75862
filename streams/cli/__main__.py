"""`python -m streams.cli` is the `stormweir` command."""

from streams.cli import main

main()
