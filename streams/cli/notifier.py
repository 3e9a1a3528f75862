"""`stormweir notifier`."""


def command() -> None:
    """Deliver notifications to their destinations."""
    import os

    from schemas.settings import Settings
    from streams.process.workers import run_notifier

    run_notifier(Settings.from_env(os.environ))
