"""`stormweir worker`."""


def command() -> None:
    """Normalise, deduplicate and correlate alerts."""
    import os

    from schemas.settings import Settings
    from streams.process.workers import run_worker

    run_worker(Settings.from_env(os.environ))
