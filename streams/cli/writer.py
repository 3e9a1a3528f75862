"""`stormweir writer`."""


def command() -> None:
    """Write all history into ClickHouse."""
    import os

    from schemas.settings import Settings
    from streams.process.workers import run_writer

    run_writer(Settings.from_env(os.environ))
