"""Integrations and API keys: what a change would write, and what it refuses."""

import re
from hashlib import sha256
from typing import Any

import pytest

from schemas.control import AnyRecord, ApiKey, Integration, Service, Tenant, control_key, dump
from streams.control import catalogue, edits
from streams.control.edits import FieldError
from streams.control.state import Control
from streams.providers import PROVIDERS

ASKED = {"type": "datadog", "service": "shop", "name": "Production Datadog monitors"}


def known(*records: AnyRecord) -> Control:
    """A configuration that has these records."""
    control = Control()
    for record in (Service(id="shop"), *records):
        assert control.apply(control_key(record), dump(record)) is None
    return control


def made(control: Control, **changes: Any) -> Integration:
    """A new integration, written into the configuration."""
    integration, records = edits.new_integration(control, {**ASKED, **changes})
    for record in records:
        assert control.apply(control_key(record), dump(record)) is None
    return integration


def refusal(control: Control, **changes: Any) -> FieldError:
    """Why an integration is not made."""
    with pytest.raises(FieldError) as caught:
        edits.new_integration(control, {**ASKED, **changes})
    return caught.value


def test_keys_are_32_hexadecimal_characters_and_never_the_same() -> None:
    """Contract C38: ten thousand keys, all different."""
    control = known()
    keys = {edits.new_integration(control, ASKED)[0].id for _ in range(10_000)}
    assert len(keys) == 10_000
    assert all(re.fullmatch(r"[0-9a-f]{32}", key) for key in keys)


def test_an_integration_is_enabled_and_unsigned_unless_said() -> None:
    """Contract C39, C40, decision 7: the defaults."""
    integration = made(known())
    assert integration.enabled
    assert integration.signature_secret is None
    assert integration.rate_limit is None
    assert catalogue.rate_limit(integration) == "unlimited"  # Datadog does not send again after 429
    assert catalogue.rate_limit(made(known(), type="webhook")) == 120


@pytest.mark.parametrize(
    ("changes", "field", "told"),
    [
        ({"type": "fax"}, "type", "'fax' is none of appdynamics, azure"),
        ({"type": ""}, "type", "at least 1 character"),
        ({"name": ""}, "name", "at least 1 character"),
        ({"service": "web"}, "service", "no service 'web'; there is shop"),
        ({"service": "a b"}, "service", "match pattern"),
        ({"tenant": "acme"}, "tenant", "no tenant 'acme'; there is default"),
        ({"signature_secret": "x"}, "signature_secret", "at least 6 characters"),
        ({"signature": "maybe"}, "signature", "'required', 'if_secret_set' or 'off'"),
        ({"rate_limit": 0}, "rate_limit.", "greater than or equal to 1"),
        ({"mapping": {"title": "a"}}, "mapping.title", "not permitted"),
    ],
)
def test_every_refusal_names_its_field(changes: dict[str, Any], field: str, told: str) -> None:
    """Contract C34, C37, C41: what is missing, unknown or misspelt is told with what there is."""
    error = refusal(known(), **changes)
    assert error.field.startswith(field)
    assert told in error.reason


@pytest.mark.parametrize("field", ASKED)
def test_type_service_and_name_are_required(field: str) -> None:
    """Contract C34, C37: without one of them nothing is made."""
    values = {name: value for name, value in ASKED.items() if name != field}
    with pytest.raises(FieldError, match=f"{field}: Field required"):
        edits.new_integration(known(), values)


def test_a_new_service_is_made_when_asked_for() -> None:
    """`create_service` writes the service before the integration that refers to it."""
    integration, records = edits.new_integration(known(), {**ASKED, "service": "web"}, create_service=True)
    assert records == [Service(id="web"), integration]


def test_a_service_belongs_to_its_tenant() -> None:
    """The service of another tenant is no service of this one."""
    error = refusal(known(Tenant(id="acme")), tenant="acme")
    assert (error.field, error.reason[:16]) == ("service", "no service 'shop")


def test_a_change_leaves_the_rest_and_is_checked_as_well() -> None:
    """Contract C39, C80: a secret can be set later, the toggle keeps everything else."""
    control = known()
    old = made(control, rate_limit="unlimited")
    new = edits.changed_integration(control, old, {"signature_secret": "set later", "enabled": False})
    assert new == old.model_copy(update={"signature_secret": "set later", "enabled": False})
    with pytest.raises(FieldError, match="service: no service 'web'"):
        edits.changed_integration(control, old, {"service": "web"})


def test_a_generated_secret_has_32_random_bytes() -> None:
    """Contract C49: long, hexadecimal, and new each time."""
    first, second = edits.new_secret(), edits.new_secret()
    assert len(bytes.fromhex(first)) == 32
    assert first != second


def test_rotation_changes_key_and_secret_and_nothing_else() -> None:
    """The successor is the same sender with new credentials; the old record is not touched."""
    old = made(known(), signature_secret="the old secret", rate_limit=7)
    new = edits.rotated_integration(old)
    assert new.id != old.id
    assert new.signature_secret not in (None, "the old secret")
    same = {"id": old.id, "signature_secret": old.signature_secret, "installation": ""}
    assert new.model_copy(update=same) == old
    assert edits.rotated_integration(made(known())).signature_secret is None


def test_the_certificate_of_a_sender_is_not_made_up() -> None:
    """Rotating a sender that signs with a certificate keeps the certificate."""
    old = made(known(), type="cloudwatch", signature_secret="-----BEGIN CERTIFICATE-----")
    assert edits.rotated_integration(old).signature_secret == old.signature_secret


def test_an_integration_is_found_by_key_start_and_name() -> None:
    """Two with one name are told apart by masked keys, and a start of five characters is too short."""
    control = known()
    first, second = made(control), made(control)
    other = made(control, name="staging")
    assert edits.find_integration(control, first.id) == first
    assert edits.find_integration(control, second.id[:6]) == second
    assert edits.find_integration(control, "staging") == other
    with pytest.raises(FieldError, match="2 have this name") as caught:
        edits.find_integration(control, ASKED["name"])
    assert first.id not in str(caught.value)
    assert first.id[:6] in str(caught.value)
    for nothing in (first.id[:5], "0" * 32, ""):
        with pytest.raises(FieldError, match="there is none"):
            edits.find_integration(control, nothing)


def test_only_the_hash_of_an_api_key_is_stored() -> None:
    """Contract B9: the key is in no record; its start and its SHA-256 are, and a secret of 32 bytes for signing."""
    key, record, records = edits.new_key(known(), {"id": "bot", "name": "Deploy bot"})
    assert records == [record]
    assert record.sha256 == sha256(key.encode()).hexdigest()
    assert key.startswith(record.prefix)
    assert len(record.prefix) < len(key) / 4
    assert key.encode() not in dump(record)
    assert record.webhook_secret is not None
    assert len(bytes.fromhex(record.webhook_secret)) == 32


def test_keys_have_names_of_their_own() -> None:
    """Contract B10: a second key of a tenant gets another name, so that one can be revoked alone."""
    first = edits.new_key(known(), {"id": "bot-1"}).record
    control = known(first)
    second = edits.new_key(control, {"id": "bot-2"}).record
    assert first.sha256 != second.sha256
    with pytest.raises(FieldError, match="id: is taken"):
        edits.new_key(control, {"id": "bot-1"})
    with pytest.raises(FieldError, match="tenant: no tenant 'acme'"):
        edits.new_key(control, {"id": "bot-3", "tenant": "acme"})
    assert edits.find_key(control, "bot-1") == first
    with pytest.raises(FieldError, match="no such API key"):
        edits.find_key(control, "bot-2")


def test_a_new_customer_has_tenant_key_and_secret() -> None:
    """Contract B4: one call makes the three; a tenant that is there is not made again."""
    key, record, records = edits.new_key(known(), {"id": "acme-1", "tenant": "acme"}, create_tenant=True)
    assert records == [Tenant(id="acme"), record]
    assert isinstance(record, ApiKey)
    assert record.tenant == "acme"
    assert key
    with pytest.raises(FieldError, match="tenant: is there already"):
        edits.new_key(known(Tenant(id="acme")), {"id": "acme-2", "tenant": "acme"}, create_tenant=True)


def test_unsigned_integrations_are_told_apart() -> None:
    """Contract C116: a hint to sign is for tools that can, until somebody set a secret or decided against it."""
    control = known()
    assert catalogue.could_sign(made(control, type="grafana"))
    assert not catalogue.could_sign(made(control, type="grafana", signature_secret="a secret"))
    assert not catalogue.could_sign(made(control, type="grafana", signature="off"))
    assert not catalogue.could_sign(made(control, type="datadog"))
    assert not catalogue.could_sign(made(control, type="cloudwatch"))


@pytest.mark.parametrize("slug", PROVIDERS)
def test_every_type_can_be_made(slug: str) -> None:
    """Contract C37: each provider's slug is a type."""
    assert made(known(), type=slug).type == slug
