"""Settings of a process, from `STORMWEIR_*` environment variables. Every setting has a default that works as it is."""

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Literal

from schemas.kafka import NAMES as KAFKA_PROPERTIES

PREFIX = "STORMWEIR_"
#: The token of the embedded ClickHouse on loopback; on any other address ClickHouse refuses to start with this token.
DEFAULT_TOKEN = "stormweir"  # noqa: S105 - it protects nothing, it only makes the protocol's credentials real
IpNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network


class SettingsError(ValueError):
    """A setting that cannot be used; the message names the variable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """One machine's settings. Empty `kafka` or `clickhouse` means the embedded one of `stormweir up`.

    Ports are derived from `port_base`, so several stacks run side by side by changing one number.
    """

    data_dir: Path = Path("var/stormweir")
    host: str = "127.0.0.1"
    port_base: int = 8400
    kafka: str = ""
    #: The path of a file of client properties (schemas.kafka); empty: no file.
    kafka_config: str = ""
    #: The prefix of every topic's and group's name, without a separator.
    kafka_prefix: str = ""
    #: Client properties from the environment, by name; they override those of the file.
    kafka_properties: Mapping[str, str] = field(default_factory=dict, repr=False, hash=False)
    clickhouse: str = ""
    clickhouse_token: str = field(default=DEFAULT_TOKEN, repr=False)
    clickhouse_database: str = "stormweir"
    partitions: int = 4
    replication: int = 1
    #: This replica's fixed name in its consumer group, or empty. With a name, a restarted replica gets its partitions
    #: back at once instead of after the session timeout. Two replicas must never share a name.
    instance: str = ""
    #: Fernet keys for the secrets on the topic `control`, separated by commas: the first encrypts, all decrypt.
    secret_keys: str = field(default="", repr=False)
    #: The path of a file with such keys, instead; empty with the embedded Kafka: `secret.keys` in the data directory.
    secret_keys_file: str = ""
    store: Literal["memory", "rocksdict"] = "memory"
    max_keys: int = 2_000_000
    #: How long a resolved incident stays on the compacted topic `incidents`.
    incident_retention_days: int = 7
    max_body: int = 4_194_304
    allowed_networks: tuple[IpNetwork, ...] = ()
    #: The beginning of links in notifications and of webhook URLs; empty: the gateway on this machine.
    base_url: str = ""
    #: The beginning of links to the console; empty: the API on this machine.
    console_url: str = ""
    #: Proxies before the API: what they say of the address from which a request comes is believed.
    trusted_proxies: tuple[IpNetwork, ...] = ()
    #: The identity provider by which people may log in (docs/api.md), and what Stormweir is to it; empty: none.
    oidc_issuer: str = ""
    oidc_client_id: str = ""
    oidc_client_secret: str = field(default="", repr=False)
    #: The claim that names a person's role, and the role of people for whom it names none.
    oidc_role_claim: str = ""
    oidc_default_role: Literal["viewer", "member", "admin", "owner"] = "viewer"
    oidc_tenant: str = "default"
    #: Of the Slack app (docs/slack.md): what signs clicks on buttons, and what installs it.
    slack_signing_secret: str = field(default="", repr=False)
    slack_client_id: str = ""
    slack_client_secret: str = field(default="", repr=False)
    #: The app-level token of Socket Mode, for a gateway that Slack cannot reach.
    slack_app_token: str = field(default="", repr=False)
    #: Slack's own addresses; another one is for a fake Slack.
    slack_url: str = "https://slack.com"
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @property
    def bootstrap(self) -> str:
        """Kafka's address: the given one, else the embedded broker's."""
        return self.kafka or f"127.0.0.1:{self.port('kafka')}"

    @property
    def public_url(self) -> str:
        """The beginning of Stormweir's own URLs, without a slash at the end."""
        return (self.base_url or f"http://127.0.0.1:{self.port('gateway')}").rstrip("/")

    @property
    def console_address(self) -> str:
        """The beginning of links to the console, without a slash at the end."""
        return (self.console_url or f"http://127.0.0.1:{self.port('api')}").rstrip("/")

    @property
    def clickhouse_url(self) -> str:
        """ClickHouse's HTTP address: the given one, else the embedded server's."""
        return self.clickhouse or f"http://127.0.0.1:{self.port('clickhouse')}"

    def port(self, role: str) -> int:
        """The port of a role: `gateway`, `kafka`, ..., or the admin port `admin.<process>`."""
        return self.port_base + PORTS[role]

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> "Settings":
        """Read the environment. Raises SettingsError for a wrong value or an unknown name."""
        known = {each.name for each in fields(cls)} - {"kafka_properties"}
        values: dict[str, object] = {}
        properties: dict[str, str] = {}
        for variable, text in environ.items():
            if not variable.startswith(PREFIX):
                continue
            name = variable.removeprefix(PREFIX).lower()
            if variable in _PROPERTY_VARIABLES:
                properties[_PROPERTY_VARIABLES[variable]] = text
            elif name in known:
                values[name] = _parse(variable, name, text)
            else:
                every = known | {each.removeprefix(PREFIX).lower() for each in _PROPERTY_VARIABLES}
                raise SettingsError(f"{variable} is not a setting; known: {', '.join(sorted(every))}")
        settings = cls(**values, kafka_properties=properties)  # type: ignore[arg-type]
        if not settings.kafka and (properties or settings.kafka_config):
            raise SettingsError("STORMWEIR_KAFKA: an address is needed where properties of its clients are set")
        if settings.oidc_issuer and not settings.oidc_client_id:
            raise SettingsError("STORMWEIR_OIDC_CLIENT_ID: is needed where STORMWEIR_OIDC_ISSUER is set")
        return settings

    def environ(self) -> dict[str, str]:
        """The environment variables that give a child process the same settings."""
        texts = {each.name: getattr(self, each.name) for each in fields(self) if each.name != "kafka_properties"}
        for name in _NETWORKS:
            texts[name] = ",".join(str(network) for network in getattr(self, name))
        properties = {property_variable(name): value for name, value in self.kafka_properties.items()}
        return {PREFIX + name.upper(): str(value) for name, value in texts.items()} | properties


def property_variable(name: str) -> str:
    """The environment variable of a client property: `sasl.mechanism` is `STORMWEIR_KAFKA_SASL_MECHANISM`."""
    return f"{PREFIX}KAFKA_{name.replace('.', '_').upper()}"


_PROPERTY_VARIABLES = {property_variable(name): name for name in KAFKA_PROPERTIES}
PORTS: Mapping[str, int] = {
    "gateway": 0,
    "kafka": 1,
    "kafka.controller": 2,
    "clickhouse": 3,
    "receiver": 4,
    "api": 5,
    "admin.gateway": 10,
    "admin.worker": 11,
    "admin.writer": 12,
    "admin.notifier": 13,
    "admin.clickhouse": 14,
    "admin.api": 15,
}
#: A valid prefix of a topic's name.
_NAME = re.compile(r"[A-Za-z0-9._-]{0,100}")
CHOICES = {
    "store": ("memory", "rocksdict"),
    "oidc_default_role": ("viewer", "member", "admin", "owner"),
    "log_level": ("debug", "info", "warning", "error"),
}
_NETWORKS = ("allowed_networks", "trusted_proxies")
RANGES = {
    "port_base": (1024, 65_000),
    "partitions": (1, 1000),
    "replication": (1, 10),
    "max_keys": (1, 1_000_000_000),
    "incident_retention_days": (1, 3650),
    "max_body": (1024, 67_108_864),
}


def _parse(variable: str, name: str, text: str) -> object:
    if name in RANGES:
        low, high = RANGES[name]
        if not text.isdigit() or not low <= int(text) <= high:
            raise SettingsError(f"{variable}={text!r}: a whole number from {low} to {high} is needed")
        return int(text)
    if name == "kafka_prefix" and not _NAME.fullmatch(text):
        raise SettingsError(f"{variable}={text!r}: up to 100 letters, digits, dots, hyphens and underscores are needed")
    if (
        name in ("base_url", "console_url", "oidc_issuer", "slack_url")
        and text
        and not text.startswith(("http://", "https://"))
    ):
        raise SettingsError(f"{variable}={text!r}: a URL that begins with https:// or http:// is needed")
    if name in CHOICES:
        if text not in CHOICES[name]:
            raise SettingsError(f"{variable}={text!r}: one of {', '.join(CHOICES[name])} is needed")
        return text
    if name in _NETWORKS:
        try:
            return tuple(ipaddress.ip_network(part.strip()) for part in text.split(",") if part.strip())
        except ValueError as error:
            raise SettingsError(f"{variable}={text!r}: {error}") from None
    return Path(text) if name == "data_dir" else text
