"""`stormweir doctor --kafka` says what is wrong, in words that name what to change."""

import os
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from schemas.kafka import kafka_properties
from schemas.settings import Settings
from schemas.topics import (
    ALERTS_EVENTS,
    ALERTS_RAW,
    ALERTS_UNIQUE,
    CHANGES,
    CONTROL,
    HEARTBEATS,
    REJECTED_BODIES,
    REJECTIONS,
    REPLIES,
)
from streams.process.kafka import Kafka
from tests.conftest import FreePorts
from tests.forks import stormweir
from tests.kafka.certificates import Authority
from tests.kafka.findings import problems
from tests.kafka.secured import NOWHERE, PASSWORD, SecuredKafka
from tests.kafka.tokens import TokenServer


def reached(address: str, secured: SecuredKafka, protocol: str = "SSL", **more: str) -> Kafka:
    """A client of an address that trusts the test's authority."""
    given = {name.replace("_", "."): value for name, value in more.items()}
    trust = {"ssl.ca.location": str(secured.authority.path)} if protocol.endswith("SSL") else {}
    properties = kafka_properties({"security.protocol": protocol, **trust, **given})
    return Kafka(address, properties=lambda: properties)


@pytest.fixture(scope="module")
def stranger(directory: Path) -> Authority:
    """An authority nobody trusts."""
    return Authority(directory, "stranger")


def test_certificates(secured: SecuredKafka, stranger: Authority) -> None:
    """Untrusted, expired and for another host are told apart, each with what to change."""
    untrusted = secured.reached("PLAIN", "gateway", ssl_ca_location=str(stranger.path))
    assert "is not trusted" in problems(untrusted)[0]
    assert "set ssl.ca.location" in problems(untrusted)[0]
    assert "has expired" in problems(reached(secured.expired, secured))[0]
    (other,) = problems(reached(secured.elsewhere, secured))
    assert "is not for 127.0.0.1" in other
    assert "ssl.endpoint.identification.algorithm" in other
    unchecked = {"ssl_endpoint_identification_algorithm": "none"}
    assert problems(reached(secured.elsewhere, secured, **unchecked)) == []


def test_certificates_of_ours(secured: SecuredKafka, stranger: Authority) -> None:
    """A broker that wants a client's certificate, and gets none or one it does not trust."""
    for certificate in ({}, {"ssl_certificate_location": str(stranger.issue("gateway", file="strange"))}):
        (problem,) = problems(reached(secured.mtls, secured, **certificate))
        assert "ssl.certificate.location" in problem


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
def test_credentials(secured: SecuredKafka, mechanism: str) -> None:
    """A wrong password names the user and the properties, not the password."""
    (problem,) = problems(secured.reached(mechanism, "gateway", sasl_password="not-that"))
    assert problem == f"{secured.sasl} refuses User:gateway: look at sasl.username and sasl.password"


def test_tokens(secured: SecuredKafka, tokens: TokenServer) -> None:
    """A refused client secret and a token that the broker does not accept are told apart."""
    wrong = secured.reached("OAUTHBEARER", "gateway", sasl_oauthbearer_client_secret="not-that")
    assert "the token endpoint answers 401" in problems(wrong)[0]
    tokens.lifetime, kept = -100, tokens.lifetime
    try:
        assert "does not accept the token" in problems(secured.reached("OAUTHBEARER", "gateway"))[0]
    finally:
        tokens.lifetime = kept


def test_a_mechanism_that_is_not_offered(secured: SecuredKafka) -> None:
    """It is named, with those the broker does offer."""
    credentials = {"sasl_mechanism": "SCRAM-SHA-512", "sasl_username": "gateway", "sasl_password": PASSWORD}
    assert problems(reached(secured.clear, secured, "SASL_PLAINTEXT", **credentials)) == [
        f"{secured.clear} does not offer sasl.mechanism=SCRAM-SHA-512, but PLAIN"
    ]


def test_a_protocol_that_is_not_spoken(secured: SecuredKafka) -> None:
    """Plaintext to a port of TLS, TLS to a port of plaintext, SASL where there is none: security.protocol is named."""
    sasl = {"sasl_mechanism": "PLAIN", "sasl_username": "gateway", "sasl_password": PASSWORD}
    for kafka in (
        Kafka(secured.mtls),
        reached(secured.bootstrap, secured),
        reached(secured.bootstrap, secured, "SASL_PLAINTEXT", **sasl),
    ):
        assert "security.protocol" in problems(kafka)[0]


def test_nobody_there(free_ports: FreePorts) -> None:
    """An address that nobody serves, a name that nobody knows, and what is no address."""
    (port,) = free_ports(1)
    assert "cannot be reached (ConnectionRefusedError)" in problems(Kafka(f"127.0.0.1:{port}"))[0]
    assert "is a name that is not known" in problems(Kafka("kafka.invalid:9092"))[0]
    assert "is not host:port" in problems(Kafka("kafka"))[0]


def test_brokers_that_cannot_be_reached(secured: SecuredKafka) -> None:
    """The first address answers, those that the cluster tells do not: they are shown."""
    sasl = {"sasl_mechanism": "PLAIN", "sasl_username": "gateway", "sasl_password": PASSWORD}
    (problem,) = problems(reached(secured.clear, secured, "SASL_PLAINTEXT", **sasl))
    assert problem.endswith(f"from advertised.listeners, are {NOWHERE}")


@pytest.fixture
def granted(secured: SecuredKafka) -> Iterator[SecuredKafka]:
    """The gateway may do all it must."""
    acls = [("WRITE", topic) for topic in (ALERTS_RAW, ALERTS_UNIQUE, CHANGES, HEARTBEATS, REJECTIONS, REJECTED_BODIES)]
    acls += [("READ", topic) for topic in (CONTROL, REPLIES)]
    acls += [("DESCRIBE_CONFIGS", topic) for topic in (ALERTS_RAW, ALERTS_UNIQUE, CHANGES, HEARTBEATS)]
    for operation, topic in acls:
        secured.allow("anybody", operation, "topic", topic.name)
    yield secured
    for operation, topic in acls:
        secured.forbid("anybody", operation, "topic", topic.name)


def test_acls(granted: SecuredKafka) -> None:
    """Each missing ACL is one line with operation, resource and user; nothing is wrong when none is missing."""
    kafka = granted.reached("SCRAM-SHA-512", "anybody")
    assert problems(kafka) == []
    granted.forbid("anybody", "WRITE", "topic", ALERTS_RAW.name)
    try:
        assert problems(kafka) == ["WRITE on topic alerts.raw is denied to User:anybody"]
    finally:
        granted.allow("anybody", "WRITE", "topic", ALERTS_RAW.name)
    found = problems(kafka, "notifier")
    assert "READ on group stormweir.notifier is denied to User:anybody" in found
    assert "READ on topic notifications is denied to User:anybody" in found
    assert "READ on topic control is denied to User:anybody" not in found
    found = problems(kafka, "topics")
    assert "CREATE on topic control is denied to User:anybody" in found
    assert "DESCRIBE on topic incidents is denied to User:anybody" in found


def test_topics(secured: SecuredKafka) -> None:
    """Topics that are missing, and settings that would lose or refuse records, are named with what is needed."""
    kafka = Kafka(secured.bootstrap)
    assert problems(kafka) == []
    assert "topic none.alerts.raw does not exist: run `stormweir topics`" in problems(Kafka(secured.bootstrap, "none."))
    wrong = {"max.message.bytes": "1000000", "retention.ms": "1000", "message.timestamp.type": "CreateTime"}
    with secured.settings(ALERTS_EVENTS.name, wrong):
        assert problems(kafka) == [
            "topic alerts.events has message.timestamp.type=CreateTime, LogAppendTime is needed",
            "topic alerts.events has max.message.bytes=1000000, at least 8388608 is needed",
            "topic alerts.events has retention.ms=1000, at least 604800000 is needed",
        ]


def _doctor(settings: Settings, arguments: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
    return stormweir("doctor", "--kafka", *arguments, environ={**os.environ, **settings.environ()})


def test_the_command(granted: SecuredKafka) -> None:
    """Status 0 and what was found, or status 1 and what is wrong; never a secret."""
    values = granted.values("SCRAM-SHA-256", "anybody")
    right = _doctor(Settings(kafka=granted.sasl, kafka_properties=values), ["--process", "gateway"])
    assert right.returncode == 0, right.stdout + right.stderr
    assert f"{granted.sasl} answers by SASL_SSL SCRAM-SHA-256 to User:anybody" in right.stdout
    secret = "not-that"
    wrong = _doctor(Settings(kafka=granted.sasl, kafka_properties={**values, "sasl.password": secret}))
    assert wrong.returncode == 1
    assert "refuses User:anybody" in wrong.stdout
    assert "Traceback" not in wrong.stderr
    assert secret not in wrong.stdout + wrong.stderr
    assert PASSWORD not in right.stdout + right.stderr
