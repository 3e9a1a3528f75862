"""GitHub, GitLab and Bitbucket: what begins and ends an alert, and what is one and the same build."""

import json
from typing import Any
from urllib.parse import urlencode

import pytest

from schemas.wire.alert import Action, Severity
from streams.providers import BadBody, Draft
from tests.providers.test_examples import drafts, refused
from tests.providers.test_vendors import silence

TRIGGER, RESOLVE, ACKNOWLEDGE = Action.TRIGGER, Action.RESOLVE, Action.ACKNOWLEDGE
REPOSITORY = {"full_name": "acme/till"}


def run(event: str = "workflow_run", **fields: Any) -> dict[str, Any]:
    """A completed run with these fields."""
    given = {"workflow_id": 1, "app": {"id": 1}, "head_branch": "main", "head_sha": "9f", "conclusion": "failure"}
    return {"action": "completed", event: {**given, **fields}, "repository": REPOSITORY}


def github(event: str, body: dict[str, Any]) -> Draft:
    """The alert in an event of GitHub."""
    (draft,) = drafts("github", body, None, {"x-github-event": event})
    return draft


@pytest.mark.parametrize(
    ("conclusion", "action"),
    [
        ("failure", TRIGGER),
        ("timed_out", TRIGGER),
        ("startup_failure", TRIGGER),
        ("success", RESOLVE),
        ("cancelled", None),
        ("skipped", None),
        ("neutral", None),
        ("stale", None),
        ("action_required", None),
        (None, None),
    ],
)
@pytest.mark.parametrize("event", ["workflow_run", "check_suite"])
def test_github_conclusions(event: str, conclusion: str | None, action: Action | None) -> None:
    """Runs and suites trigger and resolve by the same conclusions; the others say nothing."""
    body = run(event, conclusion=conclusion)
    if action is None:
        assert silence("github", json.dumps(body).encode(), {"x-github-event": event}) == "ignored"
    else:
        assert github(event, body).action is action


def test_github_builds_are_one_per_workflow_and_branch() -> None:
    """Run ids and commits change from run to run; branch, workflow, fork and kind of event tell builds apart."""
    key = github("workflow_run", run(id=1, head_sha="a")).dedup_key
    assert github("workflow_run", run(id=2, head_sha="b", conclusion="success")).dedup_key == key
    assert github("workflow_run", run(head_repository=REPOSITORY)).dedup_key == key
    others = [
        github("workflow_run", run(head_branch="next")),
        github("workflow_run", run(workflow_id=2)),
        github("workflow_run", run(head_repository={"full_name": "eve/till"})),
        github("workflow_run", run(head_branch=None, head_sha="main")),
        github("check_suite", run("check_suite")),
    ]
    assert len({other.dedup_key for other in others} | {key}) == 6


@pytest.mark.parametrize(
    ("event", "alert", "severity"),
    [
        ("dependabot_alert", {"security_advisory": {"severity": "critical"}}, Severity.CRITICAL),
        ("dependabot_alert", {"security_advisory": {"severity": "high"}}, Severity.ERROR),
        ("dependabot_alert", {"security_vulnerability": {"severity": "low"}}, Severity.INFO),
        ("code_scanning_alert", {"rule": {"severity": "error", "security_severity_level": "medium"}}, Severity.WARNING),
        ("code_scanning_alert", {"rule": {"severity": "note", "security_severity_level": None}}, Severity.INFO),
        ("code_scanning_alert", {"rule": {"severity": "none"}}, Severity.INFO),
        ("secret_scanning_alert", {"secret_type": None}, Severity.CRITICAL),
    ],
)
def test_github_security_severities(event: str, alert: dict[str, Any], severity: Severity) -> None:
    """Advisories by their own severity, code by the security level first, secrets are always critical."""
    body = {"action": "created", "alert": {"number": 1, **alert}, "repository": REPOSITORY}
    assert github(event, body).severity is severity


def test_github_kinds_of_security_alerts_count_for_themselves() -> None:
    """Number 1 of Dependabot is another thing than number 1 of code scanning."""
    body = {"action": "created", "alert": {"number": 1}, "repository": REPOSITORY}
    events = ("dependabot_alert", "code_scanning_alert", "secret_scanning_alert")
    assert len({github(event, body).dedup_key for event in events}) == 3
    for action, meant in (("auto_reopened", TRIGGER), ("publicly_leaked", TRIGGER), ("auto_dismissed", RESOLVE)):
        assert github("dependabot_alert", {**body, "action": action}).action is meant
    other = json.dumps({**body, "action": "assigned"}).encode()
    assert silence("github", other, {"x-github-event": "dependabot_alert"}) == "ignored"


def test_github_forms_hold_the_json_in_payload() -> None:
    """The content type application/x-www-form-urlencoded of a webhook works as well as JSON."""
    headers = {"x-github-event": "workflow_run", "content-type": "application/x-www-form-urlencoded"}
    (draft,) = drafts("github", urlencode({"payload": json.dumps(run())}).encode(), None, headers)
    assert draft.dedup_key == github("workflow_run", run()).dedup_key
    with pytest.raises(BadBody, match="payload"):
        drafts("github", b"other=1", None, headers)


def test_github_requests_without_event_or_repository_are_refused() -> None:
    """The header's name and the field are in the answer."""
    assert refused("github", {"action": "completed", "repository": REPOSITORY}) == "X-GitHub-Event"
    for event, body, path in (
        ("workflow_run", {**run(), "repository": {}}, "repository.full_name"),
        ("dependabot_alert", {"action": "created", "alert": {}, "repository": REPOSITORY}, "alert.number"),
    ):
        with pytest.raises(BadBody) as caught:
            github(event, body)
        assert caught.value.path == path


def pipeline(**attributes: Any) -> dict[str, Any]:
    """A failed pipeline with these attributes."""
    given = {"id": 1, "ref": "main", "tag": False, "status": "failed", **attributes}
    return {"object_kind": "pipeline", "object_attributes": given, "project": {"id": 41}}


def test_gitlab_pipelines_are_one_per_ref() -> None:
    """The id changes from run to run; a tag, another branch, a merge request and a job are other things."""
    key = drafts("gitlab", pipeline())[0].dedup_key
    assert drafts("gitlab", pipeline(id=2, status="success"))[0].dedup_key == key
    job = {"object_kind": "build", "project_id": 41, "ref": "main", "build_name": "main", "build_status": "failed"}
    others: list[dict[str, Any]] = [
        pipeline(tag=True),
        pipeline(ref="next"),
        {**pipeline(), "merge_request": {"iid": 5}},
        {**pipeline(), "project": {"id": 42}},
        job,
    ]
    assert len({drafts("gitlab", other)[0].dedup_key for other in others} | {key}) == 6
    assert drafts("gitlab", {**job, "build_allow_failure": True})[0].severity is Severity.WARNING
    for status in ("running", "canceled", "skipped", "manual", "created"):
        assert silence("gitlab", json.dumps(pipeline(status=status)).encode()) == "ignored"


def test_gitlab_pipelines_name_the_jobs_that_failed() -> None:
    """So that the summary says what to look at."""
    builds = [{"name": "unit", "status": "failed"}, {"name": "lint", "status": "success"}]
    (draft,) = drafts("gitlab", {**pipeline(created_at="2016-08-12 15:23:28 UTC"), "builds": builds})
    assert draft.summary == "Pipeline of 41 on main: unit failed"
    assert draft.starts_at == 1_471_015_408_000


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({**pipeline(), "project": {}}, "project.id"),
        ({"object_kind": "build", "build_name": "a", "build_status": "failed"}, "project.id"),
        ({"object_kind": "alert", "object_attributes": {"status": "triggered"}}, "object_attributes.url"),
        (
            {"object_kind": "alert", "object_attributes": {"status": "odd", "url": "https://a"}},
            "object_attributes.status",
        ),
        ({"severity": "high"}, "title"),
    ],
)
def test_gitlab_refusals_name_the_field(body: object, path: str) -> None:
    """What is missing or odd is named."""
    assert refused("gitlab", body) == path


def test_gitlab_endpoint_alerts_end_by_their_end_time() -> None:
    """With a fingerprint that is the key, without one title, service, tool and hosts are."""
    alert = {"title": "Disk", "hosts": ["a", "b"], "service": "till"}
    (start,), (end,) = drafts("gitlab", alert), drafts("gitlab", {**alert, "end_time": "2026-11-02T08:15:00Z"})
    assert (start.action, end.action, start.source) == (TRIGGER, RESOLVE, "a, b")
    assert start.dedup_key == end.dedup_key != drafts("gitlab", {**alert, "hosts": "a"})[0].dedup_key
    assert drafts("gitlab", {**alert, "fingerprint": "f"})[0].dedup_key == "gitlab|fingerprint|f"
    ignored = {"object_kind": "alert", "object_attributes": {"status": "ignored", "url": "https://a"}}
    assert silence("gitlab", json.dumps(ignored).encode()) == "ignored"


def status(**fields: Any) -> dict[str, Any]:
    """A failed build status of Bitbucket with these fields."""
    given = {"key": "unit", "name": "Unit", "state": "FAILED", "refname": "main", "commit": {"hash": "9f"}}
    return {"repository": REPOSITORY, "commit_status": {**given, **fields}}


def test_bitbucket_statuses_are_one_per_branch_and_key() -> None:
    """The commit counts only without a branch; the id of one run is replaced by the name without its number."""
    key = drafts("bitbucket", status())[0].dedup_key
    good = status(state="SUCCESSFUL", commit={"hash": "a0"})
    assert drafts("bitbucket", good)[0].dedup_key == key
    others = (status(refname="next"), status(key="lint"), status(refname=None))
    assert len({drafts("bitbucket", other)[0].dedup_key for other in others} | {key}) == 4
    runs = (("{0d9e8f7a-3b2c-4d5e-8f90-a1b2c3d4e5f6}", 5), ("{1d9e8f7a-3b2c-4d5e-8f90-a1b2c3d4e5f6}", 6))
    keys = {drafts("bitbucket", status(key=key, name=f"Deploy #{number}"))[0].dedup_key for key, number in runs}
    assert keys == {"bitbucket|acme/till|branch|main|Deploy"}
    for state in ("INPROGRESS", "STOPPED"):
        assert silence("bitbucket", json.dumps(status(state=state)).encode()) == "ignored"


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({}, "commit_status"),
        ({**status(), "repository": None}, "repository.full_name"),
        (status(key="", name=None), "commit_status.key"),
        (status(state=None), "commit_status.state"),
    ],
)
def test_bitbucket_refusals_name_the_field(body: object, path: str) -> None:
    """What is missing is named."""
    assert refused("bitbucket", body) == path
