"""The connection properties of Kafka clients.

Names and meanings are a subset of librdkafka's
(https://github.com/confluentinc/librdkafka/blob/master/CONFIGURATION.md); certificates and keys are PEM files.
The property `sasl.mechanism` is the variable `STORMWEIR_KAFKA_SASL_MECHANISM` and the field `sasl_mechanism`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from urllib.parse import urlsplit

_LOOPBACK = ("localhost", "127.0.0.1", "::1")
#: Protocols that use TLS, and those that authenticate by SASL.
_TLS = ("SSL", "SASL_SSL")
_SASL = ("SASL_PLAINTEXT", "SASL_SSL")
_PASSWORD_MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")


class KafkaPropertyError(ValueError):
    """A property that cannot be used; the message names it and holds no secret."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KafkaProperties:
    """The properties of a connection. Empty text means that a property is not set."""

    security_protocol: str = "PLAINTEXT"
    ssl_ca_location: str = ""
    ssl_certificate_location: str = ""
    ssl_key_location: str = ""
    ssl_key_password: str = field(default="", repr=False)
    ssl_endpoint_identification_algorithm: str = "https"
    sasl_mechanism: str = ""
    sasl_username: str = ""
    sasl_password: str = field(default="", repr=False)
    sasl_oauthbearer_client_id: str = ""
    sasl_oauthbearer_client_secret: str = field(default="", repr=False)
    sasl_oauthbearer_token_endpoint_url: str = ""
    sasl_oauthbearer_scope: str = ""

    @property
    def tls(self) -> bool:
        """Whether connections are encrypted."""
        return self.security_protocol in _TLS

    @property
    def sasl(self) -> bool:
        """Whether the client authenticates by SASL."""
        return self.security_protocol in _SASL


#: Every property, by its name in files.
NAMES = tuple(each.name.replace("_", ".") for each in fields(KafkaProperties))
CHOICES: Mapping[str, tuple[str, ...]] = {
    "security.protocol": ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"),
    "ssl.endpoint.identification.algorithm": ("https", "none"),
    "sasl.mechanism": (*_PASSWORD_MECHANISMS, "OAUTHBEARER"),
}


def parse_properties(text: str) -> dict[str, str]:
    """Parse the `name=value` lines of a file of client properties; empty lines and lines that begin with # are skipped.

    White space around names and values is removed. Raises KafkaPropertyError, which names the line or property.
    """
    found: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        name, separator, value = (part.strip() for part in line.partition("="))
        if not separator:
            raise KafkaPropertyError(f"line {number} is not name=value")
        if name not in NAMES:
            raise KafkaPropertyError(f"line {number}: {name!r} is not a property; known: {', '.join(NAMES)}")
        found[name] = value
    return found


def kafka_properties(values: Mapping[str, str]) -> KafkaProperties:
    """The properties with these names and values. Raises KafkaPropertyError for wrong or inconsistent values."""
    for name, choices in CHOICES.items():
        if values.get(name) and values[name] not in choices:
            raise KafkaPropertyError(f"{name}={values[name]!r}: one of {', '.join(choices)} is needed")
    given = {name: value for name, value in values.items() if value}
    found = KafkaProperties(**{name.replace(".", "_"): value for name, value in given.items()})
    for kind, used in (("ssl.", found.tls), ("sasl.", found.sasl)):
        if not used and (unused := [name for name in given if name.startswith(kind)]):
            raise KafkaPropertyError(
                f"{unused[0]} is set, but security.protocol={found.security_protocol} does not use it"
            )
    if found.ssl_key_location and not found.ssl_certificate_location:
        raise KafkaPropertyError("ssl.key.location is set, but ssl.certificate.location is not")
    for name in _needed(found):
        if name not in given:
            raise KafkaPropertyError(f"{name} is needed for {found.sasl_mechanism or found.security_protocol}")
    if ":" in found.sasl_oauthbearer_client_id:
        raise KafkaPropertyError("sasl.oauthbearer.client.id holds a colon, which HTTP's basic credentials cannot")
    _check_endpoint(found.sasl_oauthbearer_token_endpoint_url)
    return found


def _needed(properties: KafkaProperties) -> tuple[str, ...]:
    if not properties.sasl:
        return ()
    if not properties.sasl_mechanism:
        return ("sasl.mechanism",)
    if properties.sasl_mechanism in _PASSWORD_MECHANISMS:
        return ("sasl.username", "sasl.password")
    start = "sasl.oauthbearer."
    return (start + "client.id", start + "client.secret", start + "token.endpoint.url")


def _check_endpoint(url: str) -> None:
    """Raise KafkaPropertyError unless the URL is https or on loopback: the client's secret is sent to it."""
    if not url:
        return
    parts = urlsplit(url)
    if not (parts.scheme == "https" and parts.hostname) and not (
        parts.scheme == "http" and parts.hostname in _LOOPBACK
    ):
        raise KafkaPropertyError(
            "sasl.oauthbearer.token.endpoint.url: a URL that begins with https:// is needed (http:// on loopback only)"
        )
