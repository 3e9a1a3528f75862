"""The engine's interface to Kafka: it makes clients and maps names to Kafka's names."""

from typing import Any, Protocol, TypeVar

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

C = TypeVar("C")


class Kafka(Protocol):
    """Makes clients that can connect; none of them is started."""

    @property
    def bootstrap(self) -> str: ...
    def name(self, name: str) -> str:
        """Kafka's name of a topic or group, for the name that the engine was given."""

    def producer(self, **options: Any) -> AIOKafkaProducer: ...
    def consumer(self, **options: Any) -> AIOKafkaConsumer: ...
    def secure(self, owner: C) -> C:
        """Make a client that Faust created connect in the same way as the others."""
