"""`stormweir notifier`."""


def command() -> None:
    """Deliver notifications to their destinations."""
    import os

    from schemas.config import Settings
    from streams.worker import run_notifier

    run_notifier(Settings.from_env(os.environ))
