"""Finds what is wrong between this process and its Kafka, and says what to change: `stormweir doctor --kafka`.

It writes nothing to Kafka.
"""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import NamedTuple

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.conn import AIOKafkaConnection, create_conn
from aiokafka.errors import (
    AuthenticationFailedError,
    KafkaError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
)
from aiokafka.protocol.admin import SaslHandShakeRequest
from cryptography import x509

from schemas.kafka import KafkaProperties
from schemas.topics import TOPICS
from streams.process.acls import ACLS
from streams.process.authorized import MetadataRequest, operations_of
from streams.process.kafka import Kafka
from streams.process.topics import topic_configs, uneven_changelogs

_TIMEOUT_S = 10.0
#: OpenSSL's X509_V_ERR_*: an expired certificate, and one for another host or address.
_EXPIRED = (9, 10)
_OTHER_HOST = (62, 64)


class Finding(NamedTuple):
    """The result of one check."""

    name: str
    problem: bool
    text: str


async def diagnose(kafka: Kafka, processes: Sequence[str]) -> AsyncIterator[Finding]:
    """Yield findings about the connection, the operations that `processes` need, and the topics' settings."""
    try:
        (await _connect(kafka)).close()
    except _ProblemError as problem:
        yield Finding("kafka", True, str(problem))
        return
    properties = kafka.properties()
    how = " ".join(filter(None, (properties.security_protocol, properties.sasl_mechanism)))
    yield Finding("kafka", False, f"{kafka.bootstrap} answers by {how} to {_user(properties)}")
    admin = kafka.admin(client_id="stormweir-doctor")
    await admin.start()
    try:
        for finding in [*await _acls(admin, kafka, processes), *await _settings(admin, kafka)]:
            yield finding
    except KafkaError as error:
        brokers = ", ".join(f"{broker.host}:{broker.port}" for broker in admin._client.cluster.brokers())
        yield Finding(
            "kafka",
            True,
            f"a broker of the cluster does not answer here ({type(error).__name__}); their addresses, from "
            f"advertised.listeners, are {brokers}",
        )
    finally:
        await admin.close()


class _ProblemError(Exception):
    """Why there is no connection."""


async def _connect(kafka: Kafka) -> AIOKafkaConnection:
    """A connection to the first address that answers. Raises _ProblemError with the problem of each address."""
    problems = []
    for address in kafka.bootstrap.split(","):
        host, _, port = address.strip().rpartition(":")
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                connection = await create_conn(host.strip("[]"), int(port), **kafka.connection())
                # A broker that rejects a certificate ends the connection only now.
                # A broker that rejects a token answers without brokers.
                if (await connection.send(MetadataRequest([]))).brokers:
                    return connection
            connection.close()
            problems.append(f"{address} does not accept the token (sasl.oauthbearer.*)")
        except UnsupportedSaslMechanismError:
            offered = ", ".join(await _offered(kafka, host, int(port)))
            mechanism = kafka.properties().sasl_mechanism
            problems.append(f"{address} does not offer sasl.mechanism={mechanism}, but {offered}")
        except (KafkaError, OSError, ValueError) as error:
            problems.append(f"{address} {_reason(error, host, kafka.properties())}")
    raise _ProblemError("; ".join(problems))


async def _offered(kafka: Kafka, host: str, port: int) -> list[str]:
    """The mechanisms that a listener with SASL offers."""
    arguments = kafka.connection()
    protocol = "SSL" if kafka.properties().tls else "PLAINTEXT"
    connection = await create_conn(host, port, security_protocol=protocol, ssl_context=arguments["ssl_context"])
    try:
        answer = await connection.send(SaslHandShakeRequest(arguments["sasl_mechanism"]))
        return sorted(answer.enabled_mechanisms)
    finally:
        connection.close()


def _reason(error: Exception, host: str, properties: KafkaProperties) -> str:
    match error:
        case ssl.SSLCertVerificationError(verify_code=code) if code in _EXPIRED:
            return "has a certificate that has expired or is not valid yet: the broker needs a new one"
        case ssl.SSLCertVerificationError(verify_code=code) if code in _OTHER_HOST:
            return (
                f"has a certificate that is not for {host}: use a name that is in it, or "
                "ssl.endpoint.identification.algorithm=none"
            )
        case ssl.SSLCertVerificationError():
            return f"has a certificate that is not trusted ({error.verify_message}): set ssl.ca.location"
        case ssl.SSLError(reason=reason) if reason in {"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE"}:
            return f"does not speak TLS: look at the port, and at security.protocol={properties.security_protocol}"
        case ssl.SSLError():
            return f"ends the TLS handshake ({error.reason}): look at ssl.certificate.location and ssl.key.location"
        case SaslAuthenticationFailed():
            return f"refuses {_user(properties)}: look at sasl.username and sasl.password"
        case AuthenticationFailedError():
            return f"was not asked: {error.args[0]} (sasl.oauthbearer.*)"
        case socket.gaierror():
            return "is a name that is not known (STORMWEIR_KAFKA)"
        case ValueError():
            return "is not host:port (STORMWEIR_KAFKA)"
        case KafkaError() if properties.tls and not properties.sasl:
            return "ends the connection after the TLS handshake: it wants another ssl.certificate.location, or SASL"
        case KafkaError() | ConnectionResetError():
            return f"ends the connection: look at the port, and at security.protocol={properties.security_protocol}"
        case TimeoutError():
            return f"does not answer within {_TIMEOUT_S:.0f} s: look at STORMWEIR_KAFKA"
        case _:
            return f"cannot be reached ({type(error).__name__}): look at STORMWEIR_KAFKA"


def _user(properties: KafkaProperties) -> str:
    """The user that Kafka takes this process for, as far as it is known here."""
    if properties.sasl:
        return f"User:{properties.sasl_username or properties.sasl_oauthbearer_client_id}"
    if properties.ssl_certificate_location:
        with open(properties.ssl_certificate_location, "rb") as file:
            return f"User:{x509.load_pem_x509_certificates(file.read())[0].subject.rfc4514_string()}"
    return "User:ANONYMOUS"


async def _acls(admin: AIOKafkaAdminClient, kafka: Kafka, processes: Sequence[str]) -> list[Finding]:
    wanted = sorted(
        {acl for process in processes for acl in ACLS[process]}, key=lambda acl: (acl.resource, acl.name, acl.operation)
    )
    topics = sorted({kafka.name(acl.name) for acl in wanted if acl.resource == "topic"})
    groups = sorted({kafka.name(acl.name) for acl in wanted if acl.resource == "group"})
    allowed = await operations_of(admin, topics, groups)
    user = _user(kafka.properties())
    denied = [
        Finding("kafka acl", True, f"{acl.operation} on {acl.resource} {kafka.name(acl.name)} is denied to {user}")
        for acl in wanted
        if not allowed(acl.operation, acl.resource, kafka.name(acl.name))
    ]
    return [
        *(
            Finding("kafka topics", True, f"topic {name} does not exist: run `stormweir topics`")
            for name in allowed.missing
        ),
        *(denied or [Finding("kafka acl", False, f"{user} may do what {', '.join(processes)} must")]),
    ]


async def _settings(admin: AIOKafkaAdminClient, kafka: Kafka) -> list[Finding]:
    """Findings about topics whose settings are not as they should be, as far as this user may see them."""
    described = await admin.describe_topics()
    there = {topic["topic"] for topic in described}
    topics = {kafka.name(topic.name): topic for topic in TOPICS if kafka.name(topic.name) in there}
    if not topics:
        return []
    resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in topics]
    existing = {name: len(topic["partitions"]) for topic in described if (name := kafka.ours(topic["topic"]))}
    findings = [Finding("kafka topics", True, problem) for problem in uneven_changelogs(kafka, existing)]
    seen = 0
    for error_code, _, _, name, entries in (
        row for answer in await admin.describe_configs(resources) for row in answer.resources
    ):
        if error_code:
            continue
        seen += 1
        found = {entry[0]: entry[1] for entry in entries}
        findings += [
            Finding("kafka topics", True, f"topic {name} has {problem}")
            for problem in _wrong(topic_configs(topics[name], replication=1), found)
        ]
    return findings or [Finding("kafka topics", False, f"{seen} topics have the settings they need")]


def _wrong(wanted: Mapping[str, str], found: Mapping[str, str]) -> Iterable[str]:
    """Settings that would lose or reject records. More room, time or replicas than ours are the operator's choice."""
    for name in ("cleanup.policy", "message.timestamp.type"):
        if name in wanted and found.get(name) != wanted[name]:
            yield f"{name}={found.get(name)}, {wanted[name]} is needed"
    for name in ("max.message.bytes", "retention.ms"):
        if name in wanted and 0 <= int(found.get(name, -1)) < int(wanted[name]):
            yield f"{name}={found[name]}, at least {wanted[name]} is needed"
