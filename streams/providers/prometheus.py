"""Prometheus Alertmanager's webhook, version 4 (https://prometheus.io/docs/alerting/latest/configuration/#webhook_config).

One request carries a group; the status of each alert counts, never the group's, which is firing while any member is. A
cut group (`truncatedAlerts`) says nothing about the alerts it leaves out.

Prometheus, Loki and vmalert post to Alertmanager's API instead
(https://prometheus.io/docs/alerting/latest/alerts_api/), which the gateway offers too. They send a list of alerts
without a status. While an alert fires, they send it again every minute, with an end some minutes in the future; once it
is over, its end is in the past.

`startsAt` is the same for an alert and its end, and for an alert that fires again after Alertmanager lost track of it;
no field says when a notification was sent.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

from schemas.fingerprint import digest
from schemas.wire.alert import Action
from streams.providers._contract import (
    Address,
    BadBody,
    Context,
    Draft,
    Example,
    NoAlert,
    Provider,
    short_key,
    short_summary,
)
from streams.providers._json import decode_flat, encode
from streams.providers._time import epoch_ms

#: The order key of all lists of a sender, because an alert comes with different alerts each time.
_LISTS = "alerts"


class Alert(msgspec.Struct, gc=False, rename="camel"):
    """One alert. Senders before 0.19 have no `fingerprint`; `endsAt` is in the year 1 while it fires.

    An alert that is posted to Alertmanager's API has no `status`.
    """

    status: Literal["firing", "resolved"] | None = None
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    starts_at: str | None = None
    ends_at: str | None = None
    generator_url: str | None = msgspec.field(default=None, name="generatorURL")
    fingerprint: str | None = None


class Group(msgspec.Struct, gc=False, rename="camel"):
    """The part of the body that is used; `group_key` was a number up to version 3."""

    alerts: list[Alert]
    group_key: str | int | None = None
    receiver: str | None = None
    external_url: str | None = msgspec.field(default=None, name="externalURL")


_decoder = msgspec.json.Decoder(Group)
_list_decoder = msgspec.json.Decoder(list[Alert])


def _decode(body: bytes, context: Context) -> Group:
    if body.lstrip()[:1] == b"[":
        group = Group(decode_flat(_list_decoder, body), _LISTS)
    else:
        group = decode_flat(_decoder, body)
    check(group.alerts)
    return group


def key(alert: Alert) -> str:
    """The fingerprint, else a hash of the labels, which identify the alert."""
    if alert.fingerprint:
        return short_key(alert.fingerprint)
    return digest(*(part for pair in sorted((alert.labels or {}).items()) for part in pair)).hex()


def check(alerts: Sequence[Alert]) -> None:
    """Raises NoAlert if there is no alert, BadBody if an alert has neither labels nor a fingerprint."""
    if not alerts:
        raise NoAlert("ignored")
    for index, alert in enumerate(alerts):
        if not alert.labels and not alert.fingerprint:
            raise BadBody(f"alerts.{index}.labels", "is required without a fingerprint")


def _order_key(group: Group, context: Context) -> str:
    return str(group.group_key) if group.group_key else key(group.alerts[0])


def _parse(group: Group, context: Context) -> list[Draft]:
    details = {name: url for name, url in (("receiver", group.receiver), ("externalURL", group.external_url)) if url}
    return [draft(alert, details, context, "Prometheus") for alert in group.alerts]


def draft(alert: Alert, details: Mapping[str, object], context: Context, tool: str) -> Draft:
    """An alert of any tool that uses Alertmanager's format; `tool` is the tool's name."""
    given, notes = alert.labels or {}, alert.annotations or {}
    label, note = given.get, notes.get
    summary = note("summary") or label("alertname") or note("description") or f"{tool} alert"
    summary, labels = short_summary(summary, given)
    began, ended = epoch_ms(alert.starts_at), epoch_ms(alert.ends_at)
    over = _is_past(ended, context) if alert.status is None else alert.status == "resolved"
    return Draft(
        dedup_key=key(alert),
        action=Action.RESOLVE if over else Action.TRIGGER,
        severity=context.severity(label("severity", "")),
        summary=summary,
        source=label("instance") or label("service") or label("job") or tool.lower(),
        component=label("job") or label("service") or "",
        group=label("cluster") or "",
        class_=label("alertname") or "",
        labels=labels,
        details=encode({"annotations": notes, **details}),
        links=[{"href": alert.generator_url, "text": tool}] if alert.generator_url else [],
        starts_at=began,
        ends_at=ended if over else 0,
        began_at=began,
    )


def _is_past(ended: int, context: Context) -> bool:
    """Whether an end was past when the request came: its event id (a UUIDv7) has that time, so a replay agrees."""
    return 0 < ended <= int.from_bytes(context.event_id[:6], "big")


PROVIDER = Provider(
    slug="prometheus",
    title="Prometheus Alertmanager",
    docs_url="https://prometheus.io/docs/alerting/latest/configuration/#webhook_config",
    decode=_decode,
    parse=_parse,
    order_key=_order_key,
    batch=True,
    addresses=(Address("/api/v2/alerts", "Authorization: Bearer "),),
    prefers_webhook=True,
    setup=(
        "In alertmanager.yml, add a receiver with webhook_configs, whose url is the integration's URL.",
        "Leave send_resolved on, so that what is over is closed here.",
        "Route alerts to that receiver, and reload Alertmanager.",
        "Without Alertmanager: Prometheus posts to this gateway as to one if it stands under alerting, alertmanagers, "
        "with path_prefix: /api/integrations/prometheus/<key>, or without one and with authorization, credentials: "
        "<key>. Loki's ruler has that path in alertmanager_url (with enable_alertmanager_v2: true), vmalert in "
        "-notifier.url.",
    ),
    fields=(
        ("dedup_key", "`fingerprint`, else the labels"),
        (
            "action",
            "`status` of each alert, never the group's: firing triggers, resolved resolves; without one an `endsAt` "
            "that is past resolves",
        ),
        ("severity", "the label `severity`"),
        ("summary", "the annotation `summary`, the label `alertname`, the annotation `description`"),
        ("source", "the labels `instance`, `service`, `job`"),
        ("component", "the labels `job`, `service`"),
        ("group", "the label `cluster`"),
        ("class", "the label `alertname`"),
        ("labels", "`labels`"),
        ("links", "`generatorURL`"),
        ("starts_at", "`startsAt`"),
        ("ends_at", "`endsAt` of a resolved alert"),
        ("began_at", "`startsAt`"),
    ),
    severity_note="The label severity in the words everyone knows; without it the integration's default.",
    key_scope="global",
    key_reason="a fingerprint is a hash of the labels, and a pair of Alertmanagers sends it twice",
    retries=(503,),
    retries_note="Alertmanager's webhook tries 5xx again at once; after 429 it gives the notification up until its "
    "group is notified anew",
    examples=(
        Example(
            b'{"version":"4","status":"firing","receiver":"stream","groupKey":"{}:{alertname=\\"HighLatency\\"}",'
            b'"alerts":[{"status":"firing","labels":{"alertname":"HighLatency","instance":"api-2:8080",'
            b'"severity":"warning"},"annotations":{"summary":"p99 above 800ms on api-2"},'
            b'"startsAt":"2026-11-02T09:00:00.001Z","endsAt":"0001-01-01T00:00:00Z",'
            b'"fingerprint":"a10bb2c35512d001"},{"status":"resolved","labels":{"alertname":"HighLatency",'
            b'"instance":"api-3:8080","severity":"warning"},"startsAt":"2026-11-02T08:40:00.001Z",'
            b'"endsAt":"2026-11-02T09:00:02.001Z","fingerprint":"a10bb2c35512d002"}]}',
            ((Action.TRIGGER, "a10bb2c35512d001"), (Action.RESOLVE, "a10bb2c35512d002")),
        ),
        Example(
            b'{"version":"4","status":"firing","alerts":[{"status":"firing","labels":{"alertname":"DiskFull",'
            b'"instance":"db-7:9100"},"annotations":{"summary":"3% left on db-7"},"startsAt":"2026-11-02T09:10:00Z",'
            b'"fingerprint":"77aa01c2d3e4f501"}]}',
            ((Action.TRIGGER, "77aa01c2d3e4f501"),),
        ),
        Example(
            b'{"version":"4","status":"resolved","alerts":[{"status":"resolved","labels":{"alertname":"DiskFull",'
            b'"instance":"db-7:9100"},"fingerprint":"77aa01c2d3e4f501"}]}',
            ((Action.RESOLVE, "77aa01c2d3e4f501"),),
        ),
    ),
)
