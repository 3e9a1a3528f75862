"""`stormweir writer`."""


def command() -> None:
    """Write all history into ClickHouse."""
    import os

    from schemas.config import Settings
    from streams.worker import run_writer

    run_writer(Settings.from_env(os.environ))
