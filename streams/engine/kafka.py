"""What the engine needs to know of Kafka: who makes its clients, and what its topics are called there."""

from typing import Any, Protocol, TypeVar

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

C = TypeVar("C")


class Kafka(Protocol):
    """Makes clients that can connect; none of them is started."""

    @property
    def bootstrap(self) -> str: ...
    def name(self, name: str) -> str:
        """What a topic or group that the engine is given is called in Kafka."""

    def producer(self, **options: Any) -> AIOKafkaProducer: ...
    def consumer(self, **options: Any) -> AIOKafkaConsumer: ...
    def secure(self, owner: C) -> C:
        """Have a client that Faust made connect as the others do."""
