"""Bitbucket Cloud build statuses (https://support.atlassian.com/bitbucket-cloud/docs/event-payloads/#Build-status-updated).

Pipelines have no event of their own; they report a build status. Repository, branch and the key that its tool chose
identify a status. Data Center's test request is answered as well. `updated_on` is when the build entered this state, so
of two builds that overlap the one that ended last counts; `created_on` is when it began.
"""

import re

from schemas.wire.alert import Action, Severity
from streams.policy.signature import HmacHex
from streams.providers._contract import (
    Context,
    Draft,
    Example,
    NoAlert,
    Provider,
    as_decoded,
    first_key,
    joined_key,
    make_draft,
)
from streams.providers._fields import as_object, link, read_json
from streams.providers._time import epoch_ms

#: INPROGRESS and STOPPED are neither beginning nor end.
_STATES = {"FAILED": Action.TRIGGER, "SUCCESSFUL": Action.RESOLVE}
_UUID = re.compile(r"\{?[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\}?", re.IGNORECASE)
_NUMBER = re.compile(r"#\d+$")


def _decode(body: bytes, context: Context) -> list[Draft]:
    value, details = read_json(body)
    fields = as_object(value)
    event = context.headers.get("x-event-key", "")
    if event == "diagnostics:ping":
        raise NoAlert("test")
    if event and not event.startswith("repo:commit_status_"):
        raise NoAlert("ignored")
    status = as_object(fields.get("commit_status"), "commit_status")
    action = _STATES.get(fields.require("commit_status.state").upper())
    if action is None:
        raise NoAlert("ignored")
    repository = fields.require("repository.full_name", "repository.uuid", "repository.name")
    key = fields.require("commit_status.key", "commit_status.name")
    name = status.text("name") or key
    if _UUID.fullmatch(key):
        key = _NUMBER.sub("", name).rstrip()  # a run's id is never used again, its name without the number is
    branch = status.text("refname")
    # A run of a tag has neither branch nor a lasting commit; its repository and key identify it then.
    place = ("branch", branch) if branch else ("commit", status.text("commit.hash"))
    where = f"{name} on {place[1]}" if place[1] else name
    reason = status.text("description") or status.text("state").lower()
    return [
        make_draft(
            dedup_key=joined_key("bitbucket", repository, *place, key),
            action=action,
            severity=Severity.ERROR if action is Action.TRIGGER else Severity.INFO,
            summary=f"{where} of {repository}: {reason}",
            source=repository,
            component=name,
            class_="build",
            labels=dict([place]) if place[1] else {},
            details=details,
            links=link(status.text("url"), "Bitbucket"),
            starts_at=epoch_ms(status.get("created_on")),
            ends_at=epoch_ms(status.get("updated_on")),
            sent_at=epoch_ms(status.get("updated_on")),
        )
    ]


PROVIDER = Provider(
    slug="bitbucket",
    title="Bitbucket Cloud",
    docs_url="https://support.atlassian.com/bitbucket-cloud/docs/event-payloads/#Build-status-updated",
    decode=_decode,
    parse=as_decoded,
    order_key=first_key,
    headers=("x-event-key",),
    signature=HmacHex(("x-hub-signature",), strict=True),
    setup=(
        "In Bitbucket, open Repository settings, Webhooks, Add webhook, with the integration's URL.",
        "As secret enter signature_secret.",
        "As triggers choose from the full list: Build status created and Build status updated.",
    ),
    fields=(
        (
            "dedup_key",
            "`repository.full_name`, `commit_status.refname` (else the commit) and `commit_status.key`; of a "
            "pipeline's own key, a UUID, its name without the number",
        ),
        ("action", "`commit_status.state`: FAILED triggers, SUCCESSFUL resolves, the others are answered and ignored"),
        ("severity", "error for a failure"),
        ("summary", "`name` on `refname` of the repository, and `description`"),
        ("source", "`repository.full_name`"),
        ("component", "`commit_status.name`, `commit_status.key`"),
        ("class", "build"),
        ("labels", "`branch` or `commit`"),
        ("links", "`commit_status.url`"),
        ("starts_at", "`commit_status.created_on`"),
        ("ends_at", "`commit_status.updated_on`"),
        ("sent_at", "`commit_status.updated_on`"),
    ),
    severity_note="Failed builds are error.",
    key_scope="global",
    key_reason="a repository has one full name in all of Bitbucket Cloud",
    retries=(),
    retries_note="Bitbucket sends again after 5xx only, twice and at once (support.atlassian.com, Troubleshoot "
    "webhooks)",
    examples=(
        Example(
            b'{"repository":{"full_name":"acme/till"},"commit_status":{"key":"unit","name":"Unit tests",'
            b'"state":"FAILED","refname":"main","description":"3 of 90 failed","url":"https://bitbucket.org/acme/till/results/5",'
            b'"created_on":"2026-11-02T08:15:00.123456+00:00","commit":{"hash":"9f1c"},"type":"build"}}',
            ((Action.TRIGGER, "bitbucket|acme/till|branch|main|unit"),),
            {"x-event-key": "repo:commit_status_created"},
        ),
        Example(
            b'{"repository":{"full_name":"acme/till"},"commit_status":{"key":"{0d9e8f7a-3b2c-4d5e-8f90-a1b2c3d4e5f6}",'
            b'"name":"Pipeline #6","state":"SUCCESSFUL","refname":null,"commit":{"hash":"9f1c"}}}',
            ((Action.RESOLVE, "bitbucket|acme/till|commit|9f1c|Pipeline"),),
        ),
        Example(b'{"test":true}', (), {"x-event-key": "diagnostics:ping"}, "test"),
        Example(b'{"push":{"changes":[]}}', (), {"x-event-key": "repo:push"}, "ignored"),
    ),
)
