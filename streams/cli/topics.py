"""`stormweir topics`."""


def command() -> None:
    """Create the topics that are missing in Kafka and check those that exist."""
    import asyncio
    import os

    from schemas.settings import Settings
    from schemas.topics import TOPICS
    from streams.process.kafka import Kafka
    from streams.process.topics import create_topics

    settings = Settings.from_env(os.environ)
    created = asyncio.run(create_topics(Kafka.of(settings), settings.partitions, settings.replication))
    for name in created:
        print(f"created {name}")
    print(f"{len(TOPICS)} topics are as declared on {settings.bootstrap}")
