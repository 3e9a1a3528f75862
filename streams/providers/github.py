"""GitHub webhooks (https://docs.github.com/webhooks/webhook-events-and-payloads): broken builds and security alerts.

Workflow (or app) and branch identify a build, so the next successful run ends what a failed one began, whatever its
commit. A fork's branch is a different branch. A body may be a form with the JSON in `payload`.

`updated_at` is when a run ended, or when a security alert entered this state, so of two runs that overlap the one that
ended last counts; `created_at` and `run_started_at` are when they began. A merge queue builds each attempt on a branch
that is never used again: a failed attempt takes a pull request out of the queue and breaks no branch, so it is not an
alert (https://docs.github.com/repositories/configuring-branches-and-merges-in-your-repository, merge queue).
"""

from collections.abc import Callable

from schemas.wire.alert import Action, Severity
from streams.policy.signature import HmacHex
from streams.providers._contract import (
    BadBody,
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
from streams.providers._fields import Fields, as_object, link, read_json
from streams.providers._forms import form
from streams.providers._time import epoch_ms

#: Conclusions of a run. The others (cancelled, skipped, neutral, stale, action_required) say nothing about the code.
_CONCLUSIONS = {
    "failure": Action.TRIGGER,
    "timed_out": Action.TRIGGER,
    "startup_failure": Action.TRIGGER,
    "success": Action.RESOLVE,
}
#: Branches of merge queues (GitHub's, Mergify's), each of which is built only once.
_QUEUES = ("gh-readonly-queue/", "mergify/merge-queue/")
_HOST = "x-github-enterprise-host"
#: Actions on security alerts. The others (assignments, validity checks) are neither beginning nor end.
_ACTIONS = {
    "created": Action.TRIGGER,
    "reopened": Action.TRIGGER,
    "reopened_by_user": Action.TRIGGER,
    "reintroduced": Action.TRIGGER,
    "auto_reopened": Action.TRIGGER,
    "appeared_in_branch": Action.TRIGGER,
    "publicly_leaked": Action.TRIGGER,
    "fixed": Action.RESOLVE,
    "dismissed": Action.RESOLVE,
    "auto_dismissed": Action.RESOLVE,
    "closed_by_user": Action.RESOLVE,
    "resolved": Action.RESOLVE,
    "revoked": Action.RESOLVE,
}


def _decode(body: bytes, context: Context) -> list[Draft]:
    values = form(body, context.content_type)
    if values is not None and not values.get("payload"):
        raise BadBody("payload", "is required")
    value, details = read_json(body if values is None else values["payload"].encode())
    fields = as_object(value)
    event = context.headers.get("x-github-event") or _event(fields)
    if not event:
        raise BadBody("X-GitHub-Event", "the header is required")
    if event == "ping":
        raise NoAlert("handshake")
    parse = _EVENTS.get(event)
    if parse is None:
        raise NoAlert("ignored")
    return [parse(fields, details, context)]


def _event(fields: Fields) -> str:
    """The event, by a field that only this event has, if a proxy dropped the header; "" for an event not read here."""
    return next((event for event, path in _MARKS if fields.get(path) is not None), "")


def _repository(fields: Fields) -> str:
    return fields.require("repository.full_name", "repository.html_url", "repository.name", "repository.id")


def _key(fields: Fields, context: Context, *parts: str) -> str:
    """A key within the repository, whose name is unique on github.com, or on its Enterprise Server."""
    host = context.headers.get(_HOST, "")
    return joined_key("github", *((host,) if host else ()), _repository(fields), *parts)


def _workflow_run(fields: Fields, details: bytes, context: Context) -> Draft:
    run = fields.object("workflow_run")
    name = run.text("name") or fields.text("workflow.name") or run.text("path") or "Workflow"
    workflow = run.text("workflow_id") or fields.text("workflow.id") or run.text("path") or name
    return _build(fields, "workflow_run", workflow, name, run.text("html_url"), details, context)


def _check_suite(fields: Fields, details: bytes, context: Context) -> Draft:
    name = fields.text("check_suite.app.name", "check_suite.app.slug") or "Checks"
    app = fields.text("check_suite.app.id") or name
    return _build(fields, "check_suite", app, name, fields.text("repository.html_url"), details, context)


def _build(fields: Fields, event: str, builder: str, name: str, url: str, details: bytes, context: Context) -> Draft:
    run, repository = fields.object(event), _repository(fields)
    action = _CONCLUSIONS.get(run.text("conclusion")) if fields.text("action") in {"completed", ""} else None
    if action is None or run.text("head_branch").startswith(_QUEUES):
        raise NoAlert("ignored")
    branch, fork = run.text("head_branch"), run.text("head_repository.full_name")
    # The suite of a fork's pull request has no branch: only another run of the same commit is the same build.
    place = ("branch", branch) if branch else ("commit", run.text("head_sha"))
    where = f"{name} on {place[1]}" if place[1] else name
    origin = (fork,) if fork and fork != repository else ()
    outcome = run.text("conclusion").replace("_", " ")
    return make_draft(
        dedup_key=_key(fields, context, event, builder, *place, *origin),
        action=action,
        severity=Severity.ERROR if action is Action.TRIGGER else Severity.INFO,
        summary=f"{where} of {repository}: {outcome}",
        source=repository,
        component=name,
        class_=event,
        labels=dict([place]) if place[1] else {},
        details=details,
        links=link(url, "GitHub"),
        starts_at=epoch_ms(run.get("run_started_at") or run.get("created_at")),
        ends_at=epoch_ms(run.get("updated_at")),
        sent_at=epoch_ms(run.get("updated_at")),
    )


def _dependabot(fields: Fields, details: bytes, context: Context) -> Draft:
    advisory = fields.object("alert.security_advisory")
    package = fields.text("alert.dependency.package.name", "alert.security_vulnerability.package.name")
    title = ": ".join(part for part in (package, advisory.text("summary", "ghsa_id")) if part)
    severity = context.severity(advisory.text("severity") or fields.text("alert.security_vulnerability.severity"))
    return _security(fields, "dependabot", title or "Vulnerable dependency", severity, package, details, context)


def _code_scanning(fields: Fields, details: bytes, context: Context) -> Draft:
    rule, tool = fields.object("alert.rule"), fields.text("alert.tool.name")
    title = rule.text("description", "name", "id") or "Code scanning alert"
    severity = context.severity(rule.text("security_severity_level", "severity"))
    return _security(fields, "code_scanning", title, severity, tool, details, context)


def _secret_scanning(fields: Fields, details: bytes, context: Context) -> Draft:
    kind = fields.text("alert.secret_type", "alert.secret_type_display_name") or "secret"
    return _security(fields, "secret_scanning", f"Leaked {kind}", Severity.CRITICAL, kind, details, context)


def _security(
    fields: Fields, kind: str, title: str, severity: Severity, component: str, details: bytes, context: Context
) -> Draft:
    number, repository = fields.require("alert.number", "alert.html_url", "alert.url"), _repository(fields)
    action = _ACTIONS.get(fields.text("action"))
    if action is None:
        raise NoAlert("ignored")
    ends = ("fixed_at", "dismissed_at", "resolved_at", "auto_dismissed_at", "updated_at")
    alert = fields.object("alert")
    return make_draft(
        dedup_key=_key(fields, context, kind, number),
        action=action,
        severity=severity,
        summary=f"{title} in {repository}",
        source=repository,
        component=component,
        class_=kind,
        details=details,
        links=link(alert.text("html_url"), "GitHub"),
        starts_at=epoch_ms(alert.get("created_at")),
        ends_at=epoch_ms(alert.text(*ends)),
        sent_at=epoch_ms(alert.get("updated_at")),
    )


_EVENTS: dict[str, Callable[[Fields, bytes, Context], Draft]] = {
    "workflow_run": _workflow_run,
    "check_suite": _check_suite,
    "dependabot_alert": _dependabot,
    "code_scanning_alert": _code_scanning,
    "secret_scanning_alert": _secret_scanning,
}

_MARKS = (
    ("workflow_run", "workflow_run.conclusion"),
    ("check_suite", "check_suite.conclusion"),
    ("dependabot_alert", "alert.security_advisory"),
    ("code_scanning_alert", "alert.rule"),
    ("secret_scanning_alert", "alert.secret_type"),
)

PROVIDER = Provider(
    slug="github",
    title="GitHub",
    docs_url="https://docs.github.com/webhooks/webhook-events-and-payloads",
    decode=_decode,
    parse=as_decoded,
    order_key=first_key,
    headers=("x-github-event", "content-type", _HOST),
    signature=HmacHex(("x-hub-signature-256",), strict=True),
    setup=(
        "On GitHub, open the repository's or organisation's Settings, Webhooks, Add webhook, with the integration's "
        "URL as payload URL and application/json as content type.",
        "As secret enter signature_secret.",
        "Select individual events: Workflow runs (or Check suites, not both, which would alert twice), Dependabot "
        "alerts, Code scanning alerts, Secret scanning alerts.",
    ),
    fields=(
        (
            "dedup_key",
            "repository (on Enterprise Server with its host), workflow (or app) and branch (or commit); of security "
            "alerts repository, kind and `alert.number`",
        ),
        (
            "action",
            "`conclusion`: failure, timed_out and startup_failure trigger, success resolves; runs of a merge queue are "
            "answered and ignored; of security alerts `action`",
        ),
        (
            "severity",
            "error for builds, critical for secrets, `security_advisory.severity`, `rule.security_severity_level`",
        ),
        ("summary", "workflow, branch, repository and `conclusion`; or the security alert's title and repository"),
        ("source", "`repository.full_name`"),
        ("component", "the workflow, app, package, tool or type of secret"),
        ("class", "the event: workflow_run, check_suite, dependabot, code_scanning, secret_scanning"),
        ("labels", "`branch` or `commit`"),
        ("links", "`html_url`"),
        ("starts_at", "`run_started_at`, `created_at`"),
        ("ends_at", "`updated_at`; `fixed_at`, `dismissed_at`, `resolved_at`"),
        ("sent_at", "`updated_at`"),
    ),
    severity_note="Broken builds are error, leaked secrets critical. Vulnerabilities: critical, high is error, "
    "medium is warning, low is info; code scanning without a security severity: error, warning, note is info.",
    key_scope="global",
    key_reason="a repository has one full name on github.com, and Enterprise Server tells its host, which is in the "
    "key",
    retries=(),
    retries_note="GitHub never sends again by itself (docs.github.com, Handling failed webhook deliveries)",
    examples=(
        Example(
            b'{"action":"completed","workflow_run":{"id":71,"name":"deploy","head_branch":"main","workflow_id":3300,'
            b'"conclusion":"failure","html_url":"https://github.com/acme/till/actions/runs/71","head_repository":'
            b'{"full_name":"acme/till"},"run_started_at":"2026-11-02T08:15:00Z"},"repository":{"full_name":"acme/till"}}',
            ((Action.TRIGGER, "github|acme/till|workflow_run|3300|branch|main"),),
            {"x-github-event": "workflow_run"},
        ),
        Example(
            b"payload=%7B%22action%22%3A%22completed%22%2C%22check_suite%22%3A%7B%22conclusion%22%3A%22success%22%2C"
            b"%22head_branch%22%3Anull%2C%22head_sha%22%3A%229f1c%22%2C%22app%22%3A%7B%22id%22%3A12%7D%7D%2C"
            b"%22repository%22%3A%7B%22full_name%22%3A%22acme%2Ftill%22%7D%7D",
            ((Action.RESOLVE, "github|acme/till|check_suite|12|commit|9f1c"),),
            {"x-github-event": "check_suite", "content-type": "application/x-www-form-urlencoded"},
        ),
        Example(
            b'{"action":"created","alert":{"number":8,"security_advisory":{"severity":"high","summary":"parser loops"},'
            b'"dependency":{"package":{"name":"yamlish"}}},"repository":{"full_name":"acme/till"}}',
            ((Action.TRIGGER, "github|acme/till|dependabot|8"),),
            {"x-github-event": "dependabot_alert"},
        ),
        Example(
            b'{"action":"resolved","alert":{"number":2,"secret_type":"some_token"},"repository":'
            b'{"full_name":"acme/till"}}',
            ((Action.RESOLVE, "github|acme/till|secret_scanning|2"),),
            {"x-github-event": "secret_scanning_alert"},
        ),
        Example(b'{"zen":"Keep it simple.","hook_id":5}', (), {"x-github-event": "ping"}, "handshake"),
        Example(b'{"action":"opened","issue":{"number":1}}', (), {"x-github-event": "issues"}, "ignored"),
    ),
)
