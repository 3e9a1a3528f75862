"""What people read in a mail: subject, plain text and HTML, and a table as CSV. Pure; the same for every mail service.

Every value of an incident is one line without control characters before it is put anywhere, and escaped in HTML.
"""

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from typing import NamedTuple

from schemas.fingerprint import uuid_text
from schemas.wire.alert import Severity
from schemas.wire.incident import Incident, Status
from schemas.wire.notification import Related, Transition
from sinks.contract import Digest, Message
from sinks.related import ALSO, others, word
from sinks.render import LAST_MS

#: Characters of a title in a subject, of a note, of any other value, and labels that are listed.
_TITLE, _NOTE, _VALUE, _LABELS = 200, 500, 1_000, 50
_MARKS: Mapping[Severity, str] = {
    Severity.CRITICAL: "\U0001f6a8",
    Severity.ERROR: "\U0001f534",
    Severity.WARNING: "\u26a0\ufe0f",
    Severity.INFO: "\u2139\ufe0f",
}
_COLOURS: Mapping[Severity, str] = {
    Severity.CRITICAL: "#b42318",
    Severity.ERROR: "#c4320a",
    Severity.WARNING: "#93590a",
    Severity.INFO: "#175cd3",
}
_RESOLVED, _GREEN = "\u2705", "#067647"
#: White space, control characters, halves of surrogate pairs, and what reverses the direction of a text.
_NO_TEXT = re.compile(r"[\s\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]+")
#: What a spreadsheet takes for the beginning of a formula (owasp.org, "CSV Injection"), also in full width.
_FORMULA = tuple("=+-@\uff1d\uff0b\uff0d\uff20")


class MailText(NamedTuple):
    """Subject and body of a mail; `text` and `html` say the same."""

    subject: str
    text: str
    html: str


class _Part(NamedTuple):
    """A heading with names and values below it; the values may be links."""

    heading: str
    rows: Sequence[tuple[str, str]]
    links: bool = False


def of_message(message: Message) -> MailText:
    """The mail about a change of an incident."""
    incident = message.incident
    subject = ("[Test] " if message.test else "") + _headline(message)
    resolved = incident.status == Status.RESOLVED
    parts = [_Part("Details", _details(incident)), _Part("Metrics", _metrics(incident))]
    if incident.labels:
        parts.append(_Part("Labels", _labels(incident)))
    if message.notification.related:
        parts.append(_Part(ALSO, _others(message), links=True))
    note = line(message.notification.note, _NOTE)
    intro = "This is a test. The incident is made up, and nothing has to be done." if message.test else note
    colour = _GREEN if resolved else _COLOURS[incident.severity]
    link = _link(message.base_url, incident)
    return MailText(subject, _text(subject, intro, parts, link), _html(subject, colour, intro, parts, link))


def _others(message: Message) -> list[tuple[str, str]]:
    """The other incidents of the message, with their links."""
    related, more = message.notification.related, message.notification.more
    rows = [
        (
            f"{_mark(each)} {word(each)}: {line(each.title, _TITLE)} ({line(each.service)})",
            _link(message.base_url, each),
        )
        for each in related
    ]
    return [*rows, (f"and {more} more", f"{message.base_url}/incidents")] if more else rows


def of_digest(digest: Digest) -> MailText:
    """The mail in place of many: counts, and the worst incidents with their links."""
    worst = max(digest.by_severity, default=Severity.INFO)
    subject = f"{_MARKS[worst]} {digest.total} incidents changed"
    counts = [
        (severity.name.capitalize(), str(digest.by_severity[severity]))
        for severity in sorted(Severity)[::-1]
        if digest.by_severity.get(severity)
    ]
    rows = [
        (f"{_mark(incident)} {line(incident.title, _TITLE)}", _link(digest.base_url, incident))
        for incident in digest.incidents
    ]
    if (more := digest.total - len(rows)) > 0:
        rows.append((f"and {more} more", f"{digest.base_url}/incidents"))
    intro = "More changed than this address takes one by one, so this is one mail for all of them."
    parts = [_Part("Counts", [*counts, ("Resolved", str(digest.resolved))]), _Part("Incidents", rows, links=True)]
    link = f"{digest.base_url}/incidents"
    return MailText(subject, _text(subject, intro, parts, link), _html(subject, _COLOURS[worst], intro, parts, link))


def _metrics(incident: Incident) -> list[tuple[str, str]]:
    """The figures of an incident, by name."""
    return [
        ("Alerts", str(incident.alert_count)),
        ("Repeats", str(incident.repeat_count)),
        ("Distinct alerts", str(incident.member_count)),
    ]


def as_csv(incident: Incident) -> str:
    """Figures, details and labels as CSV (RFC 4180) with a header; no cell is a formula for a spreadsheet."""
    written = io.StringIO()
    rows = csv.writer(written)
    rows.writerow(("name", "value"))
    for name, value in (*_metrics(incident), *_details(incident), *_labels(incident)):
        rows.writerow((_cell(name), _cell(value)))
    return written.getvalue()


def line(text: str, most: int = _VALUE) -> str:
    """One line of at most `most` characters: each run of white space and control characters becomes one space."""
    clean = _NO_TEXT.sub(" ", text[: 4 * most]).strip()
    return clean if len(clean) <= most else clean[: most - 1] + "\u2026"


def _mark(incident: Incident | Related) -> str:
    return _RESOLVED if incident.status == Status.RESOLVED else _MARKS[incident.severity]


_WORDS = {
    Transition.TRIGGERED: "",
    Transition.UNACKNOWLEDGED: "Not acknowledged any more: ",
    Transition.REMINDER: "Still open: ",
    Transition.SLA_BREACH: "Not handled in time: ",
    Transition.UPDATED: "Related incidents changed: ",
}


def _headline(message: Message) -> str:
    newest = message.told[-1]
    words = _WORDS.get(newest, f"{newest.capitalize()}: ")
    if newest == Transition.RESOLVED and Transition.TRIGGERED in message.told:
        words = "Opened and resolved: "
    return f"{_mark(message.incident)} {words}{line(message.incident.title, _TITLE)}{others(message)}"


def _details(incident: Incident) -> list[tuple[str, str]]:
    rows = [
        ("Status", incident.status.name.lower()),
        ("Severity", incident.severity.name.lower()),
        ("Service", line(incident.service)),
        ("Source", line(incident.source)),
        ("Key", line(incident.dedup_key)),
        ("Opened", _time(incident.opened_at)),
        ("Acknowledged", _time(incident.acknowledged_at)),
        ("Resolved", _time(incident.resolved_at)),
        ("Last alert", _time(incident.last_alert_at)),
    ]
    return [(name, value) for name, value in rows if value]


def _labels(incident: Incident) -> list[tuple[str, str]]:
    rows = [(line(name), line(value)) for name, value in sorted(incident.labels.items())[:_LABELS]]
    more = len(incident.labels) - len(rows)
    return [*rows, ("and more", str(more))] if more else rows


def _link(base_url: str, incident: Incident | Related) -> str:
    return f"{base_url}/incidents/{uuid_text(incident.incident_id)}"


def _time(at_ms: int) -> str:
    return f"{datetime.fromtimestamp(min(at_ms, LAST_MS) / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC" if at_ms > 0 else ""


def _cell(value: str) -> str:
    return f"'{value}" if value.startswith(_FORMULA) else value


def _text(subject: str, intro: str, parts: Iterable[_Part], link: str) -> str:
    lines = [subject, ""]
    if intro:
        lines += [intro, ""]
    for part in parts:
        lines += [part.heading, *(f"  {name}: {value}" for name, value in part.rows), ""]
    return "\n".join([*lines, f"Open in Stormweir: {link}", ""])


def _html(subject: str, colour: str, intro: str, parts: Iterable[_Part], link: str) -> str:
    # Mail programs read no style sheets: each element has its style. Nothing is loaded from elsewhere.
    body = [f'<h1 style="font-size:18px;color:{colour};margin:0 0 12px">{escape(subject)}</h1>']
    if intro:
        body.append(f"<p>{escape(intro)}</p>")
    for part in parts:
        body.append(f'<h2 style="font-size:14px;margin:16px 0 4px">{escape(part.heading)}</h2>')
        body.append('<table style="border-collapse:collapse">')
        body += [f"<tr>{_th(name)}{_td(value, part.links)}</tr>" for name, value in part.rows]
        body.append("</table>")
    body.append(f'<p style="margin:20px 0"><a href="{escape(link)}">Open in Stormweir</a></p>')
    head = f'<meta charset="utf-8"><title>{escape(subject)}</title>'
    style = "font-family:sans-serif;font-size:14px;color:#1d2939"
    return f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head>\n<body style="{style}">\n' + "\n".join(
        [*body, "</body></html>", ""]
    )


def _th(name: str) -> str:
    style = "text-align:left;vertical-align:top;font-weight:normal;color:#667085;padding:2px 16px 2px 0"
    return f'<th style="{style}">{escape(name)}</th>'


def _td(value: str, link: bool) -> str:
    shown = f'<a href="{escape(value)}">Open</a>' if link else escape(value)
    return f'<td style="padding:2px 0">{shown}</td>'
