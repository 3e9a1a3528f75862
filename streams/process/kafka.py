"""Makes every Kafka client of this project: address, TLS, credentials, and the prefix of names.

The file of client properties, and the PEM files it names, are read for every new connection, so a replaced file
takes effect with the next connection. Nothing is kept between connections.
"""

import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.client import AIOKafkaClient

from schemas.kafka import KafkaProperties, KafkaPropertyError, kafka_properties, parse_properties
from schemas.settings import Settings, SettingsError
from streams.process.oauth import ClientCredentials

log = structlog.get_logger(__name__)

Properties = Callable[[], KafkaProperties]
#: A consumer, producer or admin client of aiokafka.
C = TypeVar("C")


class Kafka:
    """One Kafka and how to connect to it. `properties` is called for every connection; it must not raise."""

    def __init__(self, bootstrap: str, prefix: str = "", properties: Properties = KafkaProperties) -> None:
        self.bootstrap = bootstrap
        self.properties = properties
        self._prefix = prefix
        self._tokens = ClientCredentials(properties)

    @classmethod
    def of(cls, settings: Settings) -> "Kafka":
        """The Kafka of the settings. Raises SettingsError if properties conflict or one of their files is unusable."""
        source = _Source(settings)
        properties = source.read()
        if properties.tls:
            try:
                ssl_context(properties)
            except (OSError, ValueError) as error:
                raise SettingsError(
                    f"the certificates for Kafka cannot be used: {_tls_files(properties)}: {error}"
                ) from None
        return cls(settings.bootstrap, settings.kafka_prefix, source)

    def name(self, name: str) -> str:
        """Kafka's name of a topic or group of ours."""
        return self._prefix + name

    def ours(self, name: str) -> str | None:
        """Our name of a topic or group in Kafka, None if Kafka's name does not begin with the prefix."""
        return name.removeprefix(self._prefix) if name.startswith(self._prefix) else None

    def producer(self, **options: Any) -> AIOKafkaProducer:
        """A producer with these options of aiokafka, not started."""
        return self.secure(AIOKafkaProducer(bootstrap_servers=self.bootstrap, **options))

    def consumer(self, *topics: str, **options: Any) -> AIOKafkaConsumer:
        """A consumer with these options of aiokafka, not started; names are Kafka's. It reads committed records."""
        made = AIOKafkaConsumer(*topics, bootstrap_servers=self.bootstrap, isolation_level="read_committed", **options)
        return self.secure(made)

    def admin(self, **options: Any) -> AIOKafkaAdminClient:
        """An admin client with these options of aiokafka, not started."""
        return self.secure(AIOKafkaAdminClient(bootstrap_servers=self.bootstrap, **options))

    def secure(self, owner: C) -> C:
        """Make a client that is not started yet connect as the properties say.

        Faust makes its own consumer and producer, and aiokafka keeps its first password for good. So this changes
        the connecting client inside, not the arguments of the constructors.
        """
        properties = self.properties()
        if properties.security_protocol != "PLAINTEXT":
            client: Any = getattr(owner, "client", None) or owner._client  # type: ignore[attr-defined]
            client._security_protocol = properties.security_protocol
            client._sasl_mechanism = properties.sasl_mechanism or "PLAIN"
            client._sasl_oauth_token_provider = self._tokens
            client.__class__ = _Client
            client.properties = self.properties
        return owner

    def connection(self) -> dict[str, Any]:
        """The arguments of aiokafka's `create_conn` for one connection made now."""
        properties = self.properties()
        return {
            "security_protocol": properties.security_protocol,
            "ssl_context": ssl_context(properties) if properties.tls else None,
            "sasl_mechanism": properties.sasl_mechanism or None,
            "sasl_plain_username": properties.sasl_username,
            "sasl_plain_password": properties.sasl_password,
            "sasl_oauth_token_provider": self._tokens,
        }


class _Client(AIOKafkaClient):  # type: ignore[misc]
    """aiokafka's client, which reads these attributes whenever it connects."""

    properties: Properties

    @property
    def _ssl_context(self) -> ssl.SSLContext | None:
        properties = self.properties()
        return ssl_context(properties) if properties.tls else None

    @property
    def _sasl_plain_username(self) -> str:
        return self.properties().sasl_username

    @property
    def _sasl_plain_password(self) -> str:
        return self.properties().sasl_password


def ssl_context(properties: KafkaProperties) -> ssl.SSLContext:
    """The TLS context of the present files. Raises OSError (ssl.SSLError is one) or ValueError if one is unusable."""
    context = ssl.create_default_context(cafile=properties.ssl_ca_location or None)
    context.check_hostname = properties.ssl_endpoint_identification_algorithm == "https"
    if properties.ssl_certificate_location:
        context.load_cert_chain(
            properties.ssl_certificate_location,
            properties.ssl_key_location or None,
            # Always given: without it OpenSSL would ask for the password on the terminal.
            password=properties.ssl_key_password,
        )
    return context


def _tls_files(properties: KafkaProperties) -> str:
    named = (
        ("ssl.ca.location", properties.ssl_ca_location),
        ("ssl.certificate.location", properties.ssl_certificate_location),
        ("ssl.key.location", properties.ssl_key_location),
    )
    return ", ".join(f"{name}={path}" for name, path in named if path)


class _Source:
    """The properties of the settings: the environment overrides the file, which is read at every call."""

    def __init__(self, settings: Settings) -> None:
        self._path = settings.kafka_config
        self._given = settings.kafka_properties
        self._known = KafkaProperties()

    def read(self) -> KafkaProperties:
        """Read the properties. Raises SettingsError."""
        try:
            filed = parse_properties(Path(self._path).read_text()) if self._path else {}
            self._known = kafka_properties({**filed, **self._given})
        except OSError as error:
            raise SettingsError(f"STORMWEIR_KAFKA_CONFIG={self._path}: {error.strerror}") from None
        except KafkaPropertyError as error:
            source = f"STORMWEIR_KAFKA_CONFIG={self._path} or " if self._path else ""
            raise SettingsError(f"{source}STORMWEIR_KAFKA_*: {error}") from None
        return self._known

    def __call__(self) -> KafkaProperties:
        """What `read` returns, or the last valid properties if the file is wrong now, as while it is replaced."""
        try:
            return self.read()
        except SettingsError as error:
            log.warning("kafka: client properties are kept as they were", reason=str(error))
            return self._known
