"""`stormweir migrate`."""


def command() -> None:
    """Bring ClickHouse's database and tables up to date."""
    import asyncio
    import os

    from schemas.settings import Settings
    from sinks.clickhouse.client import ClickHouseError
    from sinks.clickhouse.migrate import MigrationError, migrate
    from streams.process.errors import OperatorError

    settings = Settings.from_env(os.environ)
    url = settings.clickhouse_url
    try:
        applied = asyncio.run(migrate(url, settings.clickhouse_token, settings.clickhouse_database))
    except (ClickHouseError, MigrationError, ValueError) as error:
        raise OperatorError(f"ClickHouse at {url}: {error}") from None
    for migration in applied:
        print(f"applied {migration.version:04} {migration.name}")
    print(f"database {settings.clickhouse_database} on {url} is up to date")
