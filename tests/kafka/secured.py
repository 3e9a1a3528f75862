"""A Kafka as companies run it: TLS, every mechanism we speak, and an authorizer that denies what is not granted."""

from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path

from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from schemas.kafka import KafkaProperties, kafka_properties
from streams.embedded.kafka import EmbeddedKafka
from streams.process.kafka import Kafka
from tests.kafka.certificates import Authority

MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER")
#: Users of every mechanism have this password.
PASSWORD = "open, sesame"
_SECURITY = "org.apache.kafka.common.security"


class SecuredKafka(EmbeddedKafka):
    """`bootstrap` is plaintext and for whoever sets the test up; these are the ways in: `sasl` (TLS, every mechanism),
    `mtls` (a certificate of `authority` is needed), `clear` (SASL without TLS, PLAIN only), `elsewhere` (TLS, the
    broker's certificate is for `kafka.example`) and `expired` (TLS, its certificate has expired).

    Users of PLAIN are fixed at the start.
    """

    def __init__(self, directory: Path, ports: list[int], authority: Authority, users: Iterable[str]) -> None:
        super().__init__(directory / "kafka", ports[0], ports[1])
        self.sasl, self.mtls, self.clear, self.elsewhere, self.expired = (f"127.0.0.1:{port}" for port in ports[2:])
        self.authority = authority
        self._users = tuple(users)
        self._certificate = authority.issue("broker")
        self._old = authority.issue("old-broker", days=-1)
        self._elsewhere = authority.issue("other-broker", host="kafka.example")

    def _properties(self) -> str:
        listeners = {
            "SASL": self.sasl,
            "MTLS": self.mtls,
            "CLEAR": self.clear,
            "ELSEWHERE": self.elsewhere,
            "EXPIRED": self.expired,
        }
        added = ",".join(f"{name}://{address}" for name, address in listeners.items())
        lines = super()._properties().splitlines()
        text = "\n".join(f"{line},{added}" if "listeners=PLAINTEXT" in line else line for line in lines)
        known = " ".join(f'user_{user}="{PASSWORD}"' for user in self._users)
        return f"""{text}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL:SASL_SSL,MTLS:SSL,CLEAR:SASL_PLAINTEXT,ELSEWHERE:SSL,EXPIRED:SSL
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS
ssl.keystore.type=PEM
ssl.keystore.location={self._certificate}
ssl.truststore.type=PEM
ssl.truststore.location={self.authority.path}
listener.name.mtls.ssl.client.auth=required
listener.name.elsewhere.ssl.keystore.type=PEM
listener.name.elsewhere.ssl.keystore.location={self._elsewhere}
listener.name.clear.sasl.enabled.mechanisms=PLAIN
listener.name.clear.plain.sasl.jaas.config={_SECURITY}.plain.PlainLoginModule required {known};
listener.name.expired.ssl.keystore.type=PEM
listener.name.expired.ssl.keystore.location={self._old}
listener.name.sasl.sasl.enabled.mechanisms={",".join(MECHANISMS)}
listener.name.sasl.plain.sasl.jaas.config={_SECURITY}.plain.PlainLoginModule required {known};
listener.name.sasl.scram-sha-256.sasl.jaas.config={_SECURITY}.scram.ScramLoginModule required;
listener.name.sasl.scram-sha-512.sasl.jaas.config={_SECURITY}.scram.ScramLoginModule required;
listener.name.sasl.oauthbearer.sasl.jaas.config={_SECURITY}.oauthbearer.OAuthBearerLoginModule required \\
  unsecuredLoginStringClaim_sub="broker";
"""

    @cached_property
    def operator(self) -> AdminClient:
        """An admin client that may do everything."""
        return AdminClient({"bootstrap.servers": self.bootstrap})

    def set_password(self, user: str, password: str = PASSWORD) -> None:
        """The user's password for both kinds of SCRAM."""
        mechanisms = (ScramMechanism.SCRAM_SHA_256, ScramMechanism.SCRAM_SHA_512)
        upserts = [
            UserScramCredentialUpsertion(user, ScramCredentialInfo(each, 4096), password.encode())
            for each in mechanisms
        ]
        for upsert in upserts:
            for future in self.operator.alter_user_scram_credentials([upsert]).values():
                future.result(20)

    def allow(self, user: str, operation: str, resource: str, name: str) -> None:
        """Add one ACL, in the words of docs/kafka.md; a name that ends in * is a prefix."""
        prefixed = name.endswith("*") and name != "*"
        binding = AclBinding(
            ResourceType[resource.upper()] if resource != "cluster" else ResourceType.BROKER,
            name.removesuffix("*") if prefixed else name,
            ResourcePatternType.PREFIXED if prefixed else ResourcePatternType.LITERAL,
            f"User:{user}",
            "*",
            AclOperation[operation],
            AclPermissionType.ALLOW,
        )
        for future in self.operator.create_acls([binding]).values():
            future.result(20)

    def reached(self, mechanism: str, user: str, **more: str) -> Kafka:
        """How a client with this user reaches it by a mechanism of SASL, or by `mTLS`."""
        return Kafka(self.address(mechanism), properties=lambda: self.properties(mechanism, user, **more))

    def address(self, mechanism: str) -> str:
        """Where a mechanism is spoken."""
        return self.mtls if mechanism == "mTLS" else self.sasl

    def properties(self, mechanism: str, user: str, **more: str) -> KafkaProperties:
        """As `values`, checked."""
        return kafka_properties(
            self.values(mechanism, user) | {name.replace("_", "."): text for name, text in more.items()}
        )

    def values(self, mechanism: str, user: str) -> Mapping[str, str]:
        """The client properties of a user."""
        trust = {"ssl.ca.location": str(self.authority.path)}
        if mechanism == "mTLS":
            return trust | {"security.protocol": "SSL", "ssl.certificate.location": str(self.authority.issue(user))}
        sasl = trust | {"security.protocol": "SASL_SSL", "sasl.mechanism": mechanism}
        return sasl | {"sasl.username": user, "sasl.password": PASSWORD}
