"""`stormweir worker`."""


def command() -> None:
    """Normalise, deduplicate and correlate alerts."""
    import os

    from schemas.config import Settings
    from streams.worker import run_worker

    run_worker(Settings.from_env(os.environ))
