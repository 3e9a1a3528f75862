"""GitLab webhooks (https://docs.gitlab.com/user/project/integrations/webhook_events/): pipelines, jobs and alerts.

The kind of event is in the body; the header says nothing more. The format of GitLab's own alert endpoint, which tools
with GitLab support send (https://docs.gitlab.com/operations/incident_management/integrations/), is read as well.

`finished_at` is when a pipeline or job ended, so of two that overlap the one that ended last counts; `created_at` is
when it began. A merge train builds attempts (https://docs.gitlab.com/ci/pipelines/merge_trains/): a failed attempt
takes a merge request out of the train and breaks no branch, so it is not an alert. An alert and its end have the same
`started_at`.
"""

import re

from schemas.wire.alert import Action, Severity
from streams.policy.signature import PlainToken
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
from streams.providers._fields import Fields, as_object, link, read_json, text
from streams.providers._time import epoch_ms

#: States of a pipeline or a job. The others (created, running, canceled, skipped, manual) are not an end.
_RUNS = {"failed": Action.TRIGGER, "success": Action.RESOLVE}
_TRAIN = re.compile(r"refs/merge-requests/\d+/train")
_ALERTS = {"triggered": Action.TRIGGER, "acknowledged": Action.ACKNOWLEDGE, "resolved": Action.RESOLVE}


def _decode(body: bytes, context: Context) -> list[Draft]:
    value, details = read_json(body)
    fields = as_object(value)
    match fields.text("object_kind"):
        case "pipeline":
            return [_pipeline(fields, details)]
        case "build":
            return [_job(fields, details)]
        case "alert":
            return [_alert(fields, details, context)]
        case "":
            return [_endpoint(fields, details, context)]
    raise NoAlert("ignored")


def _pipeline(fields: Fields, details: bytes) -> Draft:
    run = fields.object("object_attributes")
    project = fields.text("project.path_with_namespace", "project.name", "project.id") or "a project"
    failed = [f"{job.text('name')} failed" for job in fields.objects("builds") if job.text("status") == "failed"]
    return _run(
        fields,
        details,
        status=run.text("status"),
        severity=Severity.ERROR,
        key=("pipeline", _project(fields), *_ref(run), *_merge_request(fields)),
        name=f"Pipeline of {project}{_on(run)}",
        reason=", ".join(failed),
        project=project,
        url=run.text("url"),
        starts=run.get("created_at"),
        ends=run.get("finished_at"),
    )


def _job(fields: Fields, details: bytes) -> Draft:
    project = fields.text("project.path_with_namespace", "project_name", "project_id") or "a project"
    name = fields.text("build_name", "build_stage") or "job"
    home = fields.text("project.web_url", "repository.homepage")
    reason = fields.text("build_failure_reason")
    return _run(
        fields,
        details,
        status=fields.text("build_status"),
        severity=Severity.WARNING if fields.get("build_allow_failure") is True else Severity.ERROR,
        key=("job", _project(fields), *_ref(fields), name),
        name=f"Job {name} of {project}{_on(fields)}",
        reason="" if reason == "unknown_failure" else reason,  # successful jobs have this reason as well
        project=project,
        url=f"{home}/-/jobs/{fields.text('build_id')}" if home else "",
        starts=fields.get("build_started_at"),
        ends=fields.get("build_finished_at"),
    )


def _project(fields: Fields) -> str:
    """The project's id, else another permanent name of the project."""
    names = ("project.path_with_namespace", "project.web_url", "project.name", "project_name", "repository.homepage")
    return fields.require("project.id", "project_id", *names)


def _ref(run: Fields) -> tuple[str, str]:
    """A branch or a tag, because both may have the same name. Raises NoAlert for a merge train."""
    ref = run.text("ref")
    if _TRAIN.fullmatch(ref):
        raise NoAlert("ignored")
    return ("tag" if run.get("tag") is True else "branch", ref)


def _on(run: Fields) -> str:
    return f" on {ref}" if (ref := run.text("ref")) else ""


def _merge_request(fields: Fields) -> tuple[str, ...]:
    number = fields.text("merge_request.iid", "merge_request.id")
    return ("merge_request", number) if number else ()


def _run(
    fields: Fields,
    details: bytes,
    *,
    status: str,
    severity: Severity,
    key: tuple[str, ...],
    name: str,
    reason: str,
    project: str,
    url: str,
    starts: object,
    ends: object,
) -> Draft:
    action = _RUNS.get(status)
    if action is None:
        raise NoAlert("ignored")
    return make_draft(
        dedup_key=joined_key("gitlab", *key),
        action=action,
        severity=severity if action is Action.TRIGGER else Severity.INFO,
        summary=f"{name}: {reason or status}",
        source=project,
        component=fields.text("build_name"),
        class_=key[0],
        details=details,
        links=link(url, "GitLab"),
        starts_at=epoch_ms(starts),
        ends_at=epoch_ms(ends),
        sent_at=epoch_ms(ends),
    )


def _alert(fields: Fields, details: bytes, context: Context) -> Draft:
    alert = fields.object("object_attributes")
    # There is no id; the URL, else the number in the project, else the title is permanent too.
    url = fields.require("object_attributes.url", "object_attributes.iid", "object_attributes.title")
    status = fields.require("object_attributes.status").lower()
    if status == "ignored":
        raise NoAlert("ignored")
    if status not in _ALERTS:
        raise BadBody("object_attributes.status", "is not triggered, acknowledged, resolved or ignored")
    title = alert.text("title") or "GitLab alert"
    return make_draft(
        dedup_key=joined_key("gitlab", "alert", url),
        action=_ALERTS[status],
        severity=context.severity(alert.text("severity")),
        summary=title,
        source=fields.text("project.path_with_namespace") or "gitlab",
        class_="alert",
        details=details,
        links=link(url, "GitLab"),
        starts_at=epoch_ms(alert.get("started_at")),
        ends_at=epoch_ms(alert.get("ended_at")),
        began_at=epoch_ms(alert.get("started_at")),
    )


def _endpoint(fields: Fields, details: bytes, context: Context) -> Draft:
    title = fields.require("title", "description", "fingerprint")
    service, tool = fields.text("service"), fields.text("monitoring_tool")
    hosts = fields.get("hosts")
    host = ", ".join(filter(None, map(text, hosts))) if isinstance(hosts, list) else text(hosts)
    given = fields.text("fingerprint")
    return make_draft(
        dedup_key=joined_key("gitlab", *(("fingerprint", given) if given else ("title", title, service, tool, host))),
        action=Action.RESOLVE if fields.text("end_time") else Action.TRIGGER,
        severity=context.severity(fields.text("severity")),
        summary=title,
        source=host or service or tool or "gitlab",
        component=service,
        group=fields.text("gitlab_environment_name"),
        class_=tool,
        details=details,
        starts_at=epoch_ms(fields.text("start_time")),
        ends_at=epoch_ms(fields.text("end_time")),
        began_at=epoch_ms(fields.text("start_time")),
    )


PROVIDER = Provider(
    slug="gitlab",
    title="GitLab",
    docs_url="https://docs.gitlab.com/user/project/integrations/webhook_events/",
    decode=_decode,
    parse=as_decoded,
    order_key=first_key,
    signature=PlainToken(("x-gitlab-token",)),
    setup=(
        "In GitLab, open the project's or group's Settings, Webhooks, and add one with the integration's URL.",
        "As secret token enter signature_secret.",
        "Select Pipeline events (or Job events, not both, which would alert twice).",
    ),
    fields=(
        (
            "dedup_key",
            "project and branch or tag (and merge request, and job); of alerts `object_attributes.url`, "
            "`fingerprint`, or title, service, tool and hosts",
        ),
        (
            "action",
            "`status`, `build_status`: failed triggers, success resolves; of alerts triggered, acknowledged, "
            "resolved, or an `end_time`",
        ),
        ("severity", "error; `build_allow_failure` makes it warning; `severity` of alerts"),
        ("summary", "pipeline or job, project, ref and reason; `title` of alerts"),
        ("source", "`project.path_with_namespace`; `hosts`, `service`, `monitoring_tool`"),
        ("component", "`build_name`, `service`"),
        ("group", "`gitlab_environment_name`"),
        ("class", "pipeline, job, alert; `monitoring_tool`"),
        ("links", "`object_attributes.url`, the job's page"),
        ("starts_at", "`created_at`, `build_started_at`, `started_at`, `start_time`"),
        ("ends_at", "`finished_at`, `build_finished_at`, `ended_at`, `end_time`"),
        ("sent_at", "`finished_at`, `build_finished_at`"),
        ("began_at", "of alerts `started_at`, `start_time`"),
    ),
    severity_note="Failed pipelines and jobs are error, jobs that may fail warning. Alerts: critical, high is error, "
    "medium and unknown are warning, low is info.",
    key_scope="installation",
    key_reason="project ids are small numbers of one GitLab, and fingerprints are its users'",
    retries=(),
    retries_note="GitLab does not send again, and disables a webhook that fails four times (docs.gitlab.com, Webhooks)",
    examples=(
        Example(
            b'{"object_kind":"pipeline","object_attributes":{"id":88,"ref":"main","tag":false,"status":"failed",'
            b'"created_at":"2026-11-02 08:15:00 UTC","url":"https://git.example.com/acme/till/-/pipelines/88"},'
            b'"merge_request":null,"project":{"id":41,"path_with_namespace":"acme/till"},"builds":[{"name":"lint",'
            b'"status":"failed"},{"name":"unit","status":"success"}]}',
            ((Action.TRIGGER, "gitlab|pipeline|41|branch|main"),),
        ),
        Example(
            b'{"object_kind":"build","ref":"v1","tag":true,"build_id":9,"build_name":"publish","build_status":"success",'
            b'"project_id":41,"project_name":"Acme / Till","repository":{"homepage":"https://git.example.com/acme/till"}}',
            ((Action.RESOLVE, "gitlab|job|41|tag|v1|publish"),),
        ),
        Example(
            b'{"object_kind":"alert","object_attributes":{"title":"Till offline","severity":"high","status":'
            b'"acknowledged","url":"https://git.example.com/acme/till/-/alert_management/3/details"}}',
            ((Action.ACKNOWLEDGE, "gitlab|alert|https://git.example.com/acme/till/-/alert_management/3/details"),),
        ),
        Example(
            b'{"title":"Disk full","severity":"low","hosts":["db-2"],"fingerprint":"f00d","start_time":'
            b'"2026-11-02T08:15:00Z","end_time":"2026-11-02T08:20:00Z"}',
            ((Action.RESOLVE, "gitlab|fingerprint|f00d"),),
        ),
        Example(b'{"object_kind":"push","ref":"refs/heads/main"}', (), silence="ignored"),
    ),
)
