"""A Kafka as companies run it: TLS, every mechanism we speak, and an authorizer that denies what is not granted."""

import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from schemas.kafka import kafka_properties
from streams.embedded.kafka import EmbeddedKafka
from streams.process.kafka import Kafka
from tests.kafka.certificates import Authority

MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER")
#: How a client may show who it is: the mechanisms of SASL, and a certificate.
WAYS = (*MECHANISMS, "mTLS")
USERS = (
    *("anybody", "topics", "control", "gateway", "worker", "writer", "notifier", "incidents", "storm"),
    *("deliveries", "destinations", "deadletters"),
)
PASSWORD = "open, sesame"
#: Where `clear` says that its broker is: nobody listens there.
NOWHERE = "127.0.0.1:1"
_SECURITY = "org.apache.kafka.common.security"


class SecuredKafka(EmbeddedKafka):
    """`bootstrap` is plaintext and for whoever sets the test up. The other ways in, all with TLS but `clear`:

    `sasl` (every mechanism), `mtls` (a certificate of `authority` is needed), `clear` (PLAIN only, advertised as
    NOWHERE), `elsewhere` (the broker's certificate is for `kafka.example`), `expired` (its certificate has expired) and
    `short` (PLAIN; a connection is ended after a second).

    Every user of `USERS` has the password `PASSWORD`. Nobody may do anything until it is allowed.
    """

    def __init__(self, directory: Path, ports: list[int], authority: Authority, token_url: str) -> None:
        super().__init__(directory / "kafka", ports[0], ports[1])
        self.sasl, self.mtls, self.clear, self.elsewhere, self.expired, self.short = (
            f"127.0.0.1:{port}" for port in ports[2:]
        )
        self.authority = authority
        self._token_url = token_url
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
            "SHORT": self.short,
        }
        added = ",".join(f"{name}://{address}" for name, address in listeners.items())
        told = added.replace(f"CLEAR://{self.clear}", f"CLEAR://{NOWHERE}")
        text = re.sub(r"^(listeners=.*)$", rf"\1,{added}", super()._properties(), flags=re.MULTILINE)
        text = re.sub(r"^(advertised\.listeners=.*)$", rf"\1,{told}", text, flags=re.MULTILINE)
        known = " ".join(f'user_{user}="{PASSWORD}"' for user in USERS)
        return f"""{text}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL:SASL_SSL,MTLS:SSL,CLEAR:SASL_PLAINTEXT,ELSEWHERE:SSL,EXPIRED:SSL,SHORT:SASL_SSL
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
listener.name.short.sasl.enabled.mechanisms=PLAIN
listener.name.short.plain.sasl.jaas.config={_SECURITY}.plain.PlainLoginModule required {known};
listener.name.short.connections.max.reauth.ms=1000
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

    def start(self, timeout: float = 120) -> None:
        """As EmbeddedKafka, and SCRAM knows the users."""
        super().start(timeout)
        for user in USERS:
            self.set_password(user)

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

    def allow(self, principal: str, operation: str, resource: str, name: str) -> None:
        """Add one ACL, in the words of docs/kafka.md; a name that ends in * is a prefix. It holds at the return."""
        pattern = _pattern(principal, operation, resource, name)
        for future in self.operator.create_acls([AclBinding(*pattern)]).values():
            future.result(20)
        self._settle(pattern, there=True)

    def forbid(self, principal: str, operation: str, resource: str, name: str) -> None:
        """Remove what `allow` added."""
        pattern = _pattern(principal, operation, resource, name)
        for future in self.operator.delete_acls([AclBindingFilter(*pattern)]).values():
            assert future.result(20)
        self._settle(pattern, there=False)

    def _settle(self, pattern: tuple[object, ...], *, there: bool) -> None:
        """Wait until the broker's authorizer has heard of the change."""
        deadline = time.monotonic() + 20
        while bool(self.operator.describe_acls(AclBindingFilter(*pattern)).result(20)) is not there:
            assert time.monotonic() < deadline, f"the broker does not take over {pattern}"
            time.sleep(0.05)

    @contextmanager
    def settings(self, topic: str, values: Mapping[str, str]) -> Iterator[None]:
        """A topic has other settings for a while."""
        for kind in (AlterConfigOpType.SET, AlterConfigOpType.DELETE):
            entries = [ConfigEntry(name, value, incremental_operation=kind) for name, value in values.items()]
            resource = ConfigResource(ConfigResource.Type.TOPIC, topic, incremental_configs=entries)
            for future in self.operator.incremental_alter_configs([resource]).values():
                future.result(20)
            if kind is AlterConfigOpType.SET:
                yield

    def reached(self, way: str, user: str, prefix: str = "", **more: str) -> Kafka:
        """How a client reaches it as this user in one of WAYS; `more` are other properties, with _ for the dots."""
        values = self.values(way, user) | {name.replace("_", "."): text for name, text in more.items()}
        properties = kafka_properties(values)
        return Kafka(self.address(way), prefix, lambda: properties)

    def address(self, way: str) -> str:
        """Where it is reached in that way."""
        return self.mtls if way == "mTLS" else self.sasl

    def values(self, way: str, user: str) -> Mapping[str, str]:
        """The client properties of a user."""
        trust = {"ssl.ca.location": str(self.authority.path)}
        if way == "mTLS":
            return trust | {"security.protocol": "SSL", "ssl.certificate.location": str(self.authority.issue(user))}
        sasl = trust | {"security.protocol": "SASL_SSL", "sasl.mechanism": way}
        if way == "OAUTHBEARER":
            return sasl | {
                "sasl.oauthbearer.client.id": user,
                "sasl.oauthbearer.client.secret": PASSWORD,
                "sasl.oauthbearer.token.endpoint.url": self._token_url,
            }
        return sasl | {"sasl.username": user, "sasl.password": PASSWORD}

    def principal(self, way: str, user: str) -> str:
        """Whom Kafka takes that user for."""
        return f"CN={user}" if way == "mTLS" else user


def _pattern(principal: str, operation: str, resource: str, name: str) -> tuple[object, ...]:
    prefixed = name.endswith("*")
    return (
        ResourceType[resource.upper()],
        name.removesuffix("*") if prefixed else name,
        ResourcePatternType.PREFIXED if prefixed else ResourcePatternType.LITERAL,
        f"User:{principal}",
        "*",
        AclOperation[operation],
        AclPermissionType.ALLOW,
    )
