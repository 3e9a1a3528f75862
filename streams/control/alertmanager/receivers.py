"""Alertmanager's receivers as destinations. A secret is never copied: its place is marked for people to fill in."""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from streams.control.alertmanager.model import Receiver
from streams.control.alertmanager.report import Report

Settings = Mapping[str, Any]
_CHANNEL_ID = re.compile(r"[CGD][A-Z0-9]{2,20}")
_ADDRESS = re.compile(r"[^\s,{}]+@[^\s,{}]+")
_PAGERDUTY = "events.pagerduty.com"
_PAGERDUTY_EU = "events.eu.pagerduty.com"
#: Fields that are the message's own text or form; each channel here has its own message.
_TEXTS = frozenset(
    {
        "actions", "callback_id", "class", "client", "client_url", "color", "component", "description", "details",
        "fallback", "fields", "footer", "group", "headers", "html", "icon_emoji", "icon_url", "image_url", "images",
        "link_names", "links", "max_alerts", "message", "mrkdwn_in", "pretext", "severity", "short_fields", "source",
        "summary", "text", "thumb_url", "title", "title_link", "username",
    }
)  # fmt: skip
_NETWORK = frozenset({"proxy_url", "proxy_from_environment", "no_proxy", "tls_config", "proxy_connect_header"})


#: The fields of `global` that an entry takes if it has none of its own.
_GLOBAL: Mapping[str, Mapping[str, str]] = {
    "email": {
        "smarthost": "smtp_smarthost",
        "from": "smtp_from",
        "auth_username": "smtp_auth_username",
        "auth_password": "smtp_auth_password",
        "auth_password_file": "smtp_auth_password_file",
        "require_tls": "smtp_require_tls",
    },
    "slack": {"api_url": "slack_api_url", "api_url_file": "slack_api_url_file", "http_config": "http_config"},
    "pagerduty": {"url": "pagerduty_url", "http_config": "http_config"},
    "msteams": {"http_config": "http_config"},
    "msteamsv2": {"http_config": "http_config"},
    "webhook": {"http_config": "http_config"},
}


class Config(NamedTuple):
    """An entry of a receiver's list, at `path`. `fields` has what it takes from `global` too, `shared` from where."""

    path: str
    fields: Settings
    shared: Mapping[str, str]
    report: Report

    def place(self, name: str) -> str:
        """Where the file has the value of a field."""
        return f"global.{self.shared[name]}" if name in self.shared else f"{self.path}.{name}"

    def secret(self, *names: str) -> str:
        """The mark of a secret that one of these fields has, or whose file `<name>_file` names."""
        given = [each for name in names for each in (name, f"{name}_file") if each in self.fields]
        return self.report.fill_in(self.place(given[0] if given else names[0]))

    def text(self, name: str) -> str:
        """A field that is no secret; "" if there is none, or it is a template."""
        value = str(self.fields.get(name) or "")
        if "{{" in value:
            self.report.lost(self.place(name), "is a template, which names no one here")
            return ""
        return value


def destinations(receiver: Receiver, shared: Settings, report: Report) -> Iterator[tuple[str, dict[str, Any] | None]]:
    """The type and settings of each of the receiver's entries; None for one that no channel here can tell."""
    for key, entries in receiver.others.items():
        if not key.endswith("_configs"):
            continue
        slug = key.removesuffix("_configs")
        for index, entry in enumerate(entries if isinstance(entries, list) else []):
            path = f"receivers.{receiver.name}.{key}.{index}"
            make = _CHANNELS.get(slug)
            if make is None or not isinstance(entry, dict):
                yield slug, None
                continue
            taken = {own: name for own, name in _GLOBAL.get(slug, {}).items() if name in shared and own not in entry}
            fields = {**{own: shared[name] for own, name in taken.items()}, **entry}
            config = Config(path, fields, taken, report)
            _differences(config, slug)
            yield slug, make(config)


def _differences(config: Config, slug: str) -> None:
    texts = sorted(_TEXTS & config.fields.keys())
    if texts:
        config.report.lost(config.path, f"{', '.join(texts)}: each channel has its own message")
    if not config.fields.get("send_resolved", slug not in {"email", "slack"}):
        config.report.differs("send_resolved: false", "the end of an incident is told to everybody who was told of it")
    network = sorted(_NETWORK & _map(config.fields.get("http_config")).keys())
    if network:
        config.report.lost(f"{config.path}.http_config", f"{', '.join(network)}: the notifier connects itself")


def _email(config: Config) -> dict[str, Any]:
    host, _, port = config.text("smarthost").rpartition(":")
    made: dict[str, Any] = {"host": host or config.report.fill_in(f"{config.path}.smarthost")}
    if port.isdigit():
        made["port"] = int(port)
    username = config.text("auth_username")
    if config.fields.get("require_tls", True) is False and port != "465":
        if username:
            config.report.differs("require_tls: false", "a password is sent with TLS only")
        else:
            made["security"] = "none"
            config.report.differs("require_tls: false", "allowed only inside of STORMWEIR_ALLOWED_NETWORKS")
    if username:
        made |= {"username": username, "password": config.secret("auth_password")}
    made["sender"] = config.text("from") or config.report.fill_in(f"{config.path}.from")
    to = _ADDRESS.findall(config.text("to"))
    made["recipients"] = to or config.report.fill_in(f"{config.path}.to")
    return made


def _slack(config: Config) -> dict[str, Any]:
    address = str(config.fields.get("api_url") or "")
    authorized = _map(config.fields.get("http_config")).get("authorization") or config.fields.get("app_token")
    if not authorized and not address.endswith("/chat.postMessage"):
        if config.fields.get("channel"):
            config.report.differs("slack_configs.channel", "an incoming webhook has a channel of its own, set in Slack")
        return {"type": "slack_webhook", "url": config.secret("api_url")}
    channel = config.text("channel")
    known = channel if _CHANNEL_ID.fullmatch(channel) else config.report.fill_in(f"{config.path}.channel, as an id")
    return {"bot_token": config.report.fill_in(f"{config.path}.http_config.authorization"), "channel": known}


def _pagerduty(config: Config) -> dict[str, Any]:
    if not {"routing_key", "routing_key_file"} & config.fields.keys():
        config.report.differs("service_key", "is of PagerDuty's Events API v1: add an Events API V2 integration")
    made: dict[str, Any] = {"routing_key": config.secret("routing_key", "service_key")}
    host = urlsplit(config.text("url")).hostname or _PAGERDUTY
    if host == _PAGERDUTY_EU:
        made["region"] = "eu"
    elif host != _PAGERDUTY:
        made["url"] = config.report.fill_in(f"{config.path}.url")
    return made


def _teams(config: Config) -> dict[str, Any]:
    if ".msteams_configs." in config.path:
        config.report.differs("msteams_configs", "Microsoft has switched connectors off: make a workflow in Teams")
    return {"type": "teams", "url": config.secret("webhook_url")}


def _webhook(config: Config) -> dict[str, Any]:
    config.report.differs("webhook_configs", "the body is one of Stormweir: docs/channels/from-alertmanager.md")
    made: dict[str, Any] = {"url": config.secret("url")}
    http = _map(config.fields.get("http_config"))
    found = next((name for name in ("authorization", "basic_auth", "bearer_token", "oauth2") if http.get(name)), None)
    if found is None and http.get("bearer_token_file"):
        found = "bearer_token_file"
    if found is not None:
        made["headers"] = {"Authorization": config.report.fill_in(f"{config.path}.http_config.{found}")}
    return made


_CHANNELS: Mapping[str, Callable[[Config], dict[str, Any]]] = {
    "email": _email,
    "slack": _slack,
    "pagerduty": _pagerduty,
    "msteams": _teams,
    "msteamsv2": _teams,
    "webhook": _webhook,
}


def _map(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
