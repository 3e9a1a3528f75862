"""`stormweir api`."""


def command() -> None:
    """Serve the management API and the console."""
    import os

    import uvloop

    from schemas.settings import Settings
    from streams.api.server import serve
    from streams.process.logs import configure_logging

    settings = Settings.from_env(os.environ)
    configure_logging("api", settings.log_level)
    uvloop.run(serve(settings))
