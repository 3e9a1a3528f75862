"""Client properties: what is read, what is refused, and that secrets do not show."""

import pytest

from schemas.kafka import NAMES, KafkaPropertyError, kafka_properties, parse_properties
from schemas.settings import Settings, SettingsError, property_variable

SASL = {"security.protocol": "SASL_SSL", "sasl.mechanism": "PLAIN", "sasl.username": "u", "sasl.password": "geheim"}
OAUTH = {
    "security.protocol": "SASL_SSL",
    "sasl.mechanism": "OAUTHBEARER",
    "sasl.oauthbearer.client.id": "c",
    "sasl.oauthbearer.client.secret": "geheim",
    "sasl.oauthbearer.token.endpoint.url": "https://login.example.com/token",
}


def test_without_properties_nothing_changes() -> None:
    """The default is a plaintext connection without credentials."""
    found = kafka_properties({})
    assert (found.security_protocol, found.tls, found.sasl) == ("PLAINTEXT", False, False)


def test_a_file_of_properties() -> None:
    """Comments and empty lines do not count, nor does white space; a value may hold = and #."""
    text = "# ours\n\n sasl.username = u \nsasl.password=a=b#c\n"
    assert parse_properties(text) == {"sasl.username": "u", "sasl.password": "a=b#c"}


@pytest.mark.parametrize(
    ("text", "reason"), [("sasl.username", "line 1 is not name=value"), ("\nacks=all", "line 2: 'acks'")]
)
def test_a_line_that_is_no_property(text: str, reason: str) -> None:
    """The line is named."""
    with pytest.raises(KafkaPropertyError, match=reason):
        parse_properties(text)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"security.protocol": "TLS"}, r"security\.protocol='TLS': one of PLAINTEXT"),
        ({"security.protocol": "SASL_SSL"}, r"sasl\.mechanism is needed"),
        (SASL | {"sasl.mechanism": "GSSAPI"}, r"sasl\.mechanism='GSSAPI': one of PLAIN"),
        (SASL | {"sasl.password": ""}, r"sasl\.password is needed for PLAIN"),
        (OAUTH | {"sasl.oauthbearer.client.id": ""}, r"client\.id is needed for OAUTHBEARER"),
        (OAUTH | {"sasl.oauthbearer.client.id": "a:b"}, "holds a colon"),
        (OAUTH | {"sasl.oauthbearer.token.endpoint.url": "http://login.example.com/"}, "https:// is needed"),
        ({"ssl.ca.location": "/ca.pem"}, r"ssl\.ca\.location is set, but security\.protocol=PLAINTEXT does not use it"),
        ({"security.protocol": "SSL", "sasl.username": "u"}, r"sasl\.username is set, but"),
        ({"security.protocol": "SSL", "ssl.key.location": "/k"}, r"ssl\.certificate\.location is not"),
    ],
)
def test_what_does_not_fit_is_refused(values: dict[str, str], reason: str) -> None:
    """Half a configuration ends the process at its start, instead of connecting with less than was meant."""
    with pytest.raises(KafkaPropertyError, match=reason):
        kafka_properties(values)


@pytest.mark.parametrize(
    "url", ["https://login.example.com/token", "http://127.0.0.1:8080/token", "http://[::1]/token"]
)
def test_where_a_client_secret_may_go(url: str) -> None:
    """To an encrypted endpoint, or to one on this machine."""
    assert kafka_properties(OAUTH | {"sasl.oauthbearer.token.endpoint.url": url})


def test_properties_travel_through_the_environment() -> None:
    """Each property has a variable; a child process reads exactly its parent's."""
    assert property_variable("sasl.oauthbearer.client.id") == "STORMWEIR_KAFKA_SASL_OAUTHBEARER_CLIENT_ID"
    environ = {property_variable(name): f"value of {name}" for name in NAMES}
    settings = Settings.from_env({"STORMWEIR_KAFKA": "k:9093", "STORMWEIR_KAFKA_PREFIX": "acme.", **environ})
    assert settings.kafka_properties == {name: f"value of {name}" for name in NAMES}
    assert Settings.from_env(settings.environ()) == settings


def test_secrets_do_not_show() -> None:
    """Neither settings nor properties tell a secret when they are printed, and nor does a refusal."""
    settings = Settings.from_env({"STORMWEIR_KAFKA": "k:1", "STORMWEIR_KAFKA_SASL_PASSWORD": "geheim"})
    assert "geheim" not in repr(settings)
    assert "geheim" not in repr(kafka_properties(SASL)) + repr(kafka_properties(OAUTH))
    with pytest.raises(KafkaPropertyError) as refused:
        kafka_properties(SASL | {"security.protocol": "SSL"})
    assert "geheim" not in str(refused.value)


@pytest.mark.parametrize(
    ("environ", "reason"),
    [
        ({"STORMWEIR_KAFKA_PREFIX": "acme/"}, "STORMWEIR_KAFKA_PREFIX='acme/'"),
        ({"STORMWEIR_KAFKA_SECURITY_PROTOCOL": "SSL"}, "STORMWEIR_KAFKA: an address is needed"),
        ({"STORMWEIR_KAFKA_SASL_PASWORD": "geheim"}, "STORMWEIR_KAFKA_SASL_PASWORD is not a setting"),
    ],
)
def test_settings_that_cannot_be(environ: dict[str, str], reason: str) -> None:
    """A prefix that Kafka would refuse, properties for the embedded broker, a misspelt variable: all are named."""
    with pytest.raises(SettingsError, match=reason) as refused:
        Settings.from_env(environ)
    assert "geheim" not in str(refused.value)
