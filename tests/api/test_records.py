"""Records over HTTP: written by version, checked beside all others, without their secrets, per tenant."""

import pytest

from schemas.control import (
    ApiKey,
    Calendar,
    Destination,
    Integration,
    Rule,
    Service,
    Silence,
    Tenant,
    control_key,
    installation_of,
    secrets_of,
)
from sinks.channels import CHANNELS
from streams.control.records import PLAIN_KINDS
from tests.api.conftest import MakeClient, Offline, parts

KEY = "5f0c2a" + 26 * "1"
HOOK = CHANNELS["webhook"].settings.model_validate(
    {"id": "hook", "type": "webhook", "url": "https://example.com/path/secret", "secret": "whsec_c2VjcmV0c2VjcmV0"}
)
RULE = {"match": ['service="web"'], "route": ["hook"]}


def _made(*more: object) -> Offline:
    return parts(Service(id="web"), HOOK, *more)  # type: ignore[arg-type]


async def test_a_record_is_written_by_version(client: MakeClient) -> None:
    """Without a version 428; a new one only once; a stale version changes nothing."""
    made = _made()
    admin = await client(made)
    assert (await admin.put("/records/rule/page", json=RULE)).status_code == 428
    new = await admin.put("/records/rule/page", json=RULE, headers={"If-None-Match": "*"})
    assert (new.status_code, new.json()["diff"][0]) == (200, "+ rule/default/page")
    assert (await admin.put("/records/rule/page", json=RULE, headers={"If-None-Match": "*"})).status_code == 409
    seen = await admin.get("/records/rule/page")
    assert seen.headers["etag"] == new.headers["etag"] == f'"{seen.json()["version"]}"'
    changed = await admin.put(
        "/records/rule/page", json={**RULE, "order": 7}, headers={"If-Match": seen.headers["etag"]}
    )
    assert changed.json()["diff"] == ["~ rule/default/page", "    order: 100 -> 7"]
    stale = await admin.put("/records/rule/page", json=RULE, headers={"If-Match": seen.headers["etag"]})
    assert (stale.status_code, made.control.rules["default", "page"].order) == (409, 7)
    assert [entry.action for entry in made.memory.audit] == ["created", "changed"]


async def test_a_dry_run_changes_nothing(client: MakeClient) -> None:
    """It tells what would change, with warnings."""
    made = _made()
    rule = {"match": ['service="web"', 'service="api"'], "route": ["hook"]}
    answer = await (await client(made)).put("/records/rule/page?dry_run=true", json=rule)
    assert answer.json()["dry_run"]
    assert answer.json()["warnings"] == [
        {"path": "match", "message": "the rule can never match: its conditions exclude each other"}
    ]
    assert not made.control.rules


@pytest.mark.parametrize(
    ("kind", "name", "values", "path"),
    [
        ("rule", "page", {"match": ["service=="], "route": ["hook"]}, "match.0"),
        ("rule", "page", {**RULE, "route": ["nobody"]}, "route.0"),
        ("rule", "page", {**RULE, "colour": "red"}, "colour"),
        ("rule", "page", {**RULE, "tenant": "other"}, "tenant"),
        ("rule", "page", {**RULE, "id": "other"}, "id"),
        ("rule", "-", RULE, "id"),
        ("service", "web", {"depends_on": ["web"]}, "depends_on"),
        ("destination", "new", {"type": "pigeon"}, "type"),
        ("destination", "new", {"type": "webhook", "url": "ftp://example.com"}, "url"),
        ("tenant", "other", {}, "id"),
    ],
)
async def test_each_wrong_field_is_named(
    client: MakeClient, kind: str, name: str, values: dict[str, object], path: str
) -> None:
    """422 with its path."""
    admin = await client(_made())
    answer = await admin.put(f"/records/{kind}/{name}?dry_run=true", json=values)
    assert answer.status_code == 422
    assert path in [error["path"] for error in answer.json()["errors"]]


async def test_what_a_record_makes_wrong_elsewhere_is_refused(client: MakeClient) -> None:
    """The last edge of a cycle is refused, whichever record the check names."""
    made = _made(Service(id="api", depends_on=("web",)), Service(id="db", depends_on=("api",)))
    answer = await (await client(made)).put("/records/service/web?dry_run=true", json={"depends_on": ["db"]})
    assert (answer.status_code, "is a cycle" in answer.json()["errors"][0]["message"]) == (422, True)


async def test_secrets_are_never_shown_and_kept_when_they_come_back_as_shown(client: MakeClient) -> None:
    """The whole destination goes out masked, and comes back with a new name."""
    made = _made()
    admin = await client(made)
    seen = await admin.get("/records/destination/hook")
    assert "whsec" not in seen.text
    assert "path/secret" not in seen.text
    record = {**seen.json()["record"], "name": "Hook"}
    answer = await admin.put("/records/destination/hook", json=record, headers={"If-Match": seen.headers["etag"]})
    assert "whsec" not in answer.text
    assert made.control.destinations["default", "hook"] == HOOK.model_copy(update={"name": "Hook"})


MAIL = {"id": "to", "host": "mail.example.com", "sender": "a@example.com", "recipients": "b@example.com"}
ELSEWHERE = [
    ("webhook", {"url": "https://example.com/x", "secret": "whsec_c2VjcmV0c2VjcmV0"}, {"url": "https://evil.test/"}),
    ("webhook", {"url": "https://example.com/x", "headers": {"X-Key": "k"}}, {"url": "http://example.com/x"}),
    ("pagerduty", {"routing_key": "r" * 32}, {"url": "https://evil.test/"}),
    ("slack", {"bot_token": "xoxb-123456", "channel": "C123456"}, {"api_url": "https://evil.test/api"}),
    ("email", {**MAIL, "username": "u", "password": "secret"}, {"host": "evil.test"}),
    ("email", {**MAIL, "username": "u", "password": "secret"}, {"port": 2525}),
    (
        "email",
        {**MAIL, "username": "u", "oauth_token_url": "https://example.com/t", "oauth_client_id": "c",
         "oauth_client_secret": "s"},
        {"oauth_token_url": "https://evil.test/t"},
    ),
]  # fmt: skip


@pytest.mark.parametrize(("channel", "values", "change"), ELSEWHERE, ids=lambda value: str(value)[:40])
async def test_a_masked_secret_does_not_go_to_another_address(
    client: MakeClient, channel: str, values: dict[str, object], change: dict[str, object]
) -> None:
    """422 at the secret's path, and nothing changes; with the secret given again it is taken."""
    old = CHANNELS[channel].settings.model_validate({**values, "id": "to", "type": channel})
    made = parts(old)
    admin = await client(made)
    seen = (await admin.get("/records/destination/to")).json()["record"]
    (secret,) = (name for name in secrets_of(type(old)) if name in values and name not in change)
    tried = await admin.put("/records/destination/to", json={**seen, **change}, headers={"If-Match": "*"})
    assert (tried.status_code, tried.json()["errors"]) == (
        422,
        [{"path": secret, "message": "give the secret again: the address has changed"}],
    )
    assert made.control.destinations["default", "to"] == old
    whole = {**seen, **change, secret: values[secret]}
    taken = await admin.put("/records/destination/to", json=whole, headers={"If-Match": "*"})
    assert taken.status_code == 200, taken.text


async def test_a_masked_secret_stays_where_the_address_does(client: MakeClient) -> None:
    """Another path of the same host, and any other field."""
    made = _made()
    change = {"url": "https://example.com/other", "secret": "***", "type": "webhook", "name": "Hook"}
    answer = await (await client(made)).put("/records/destination/hook", json=change, headers={"If-Match": "*"})
    assert answer.status_code == 200, answer.text
    stored = made.control.destinations["default", "hook"]
    assert (stored.secret, stored.name) == (HOOK.secret, "Hook")  # type: ignore[attr-defined]


async def test_a_destination_is_taken_out_of_what_names_it(client: MakeClient) -> None:
    """The rules stay; without confirm=true nothing happens; afterwards it is 404."""
    made = _made(*(Rule(id=f"r{n}", route=("hook", "other")) for n in range(3)))
    admin = await client(made)
    assert (await admin.delete("/records/destination/hook")).status_code == 400
    assert len((await admin.delete("/records/destination/hook?dry_run=true")).json()["diff"]) == 7
    assert ("default", "hook") in made.control.destinations
    assert (await admin.delete("/records/destination/hook?confirm=true")).status_code == 200
    assert {rule.route for rule in made.control.rules.values()} == {("other",)}
    assert (await admin.get("/records/destination/hook")).status_code == 404
    assert [entry.action for entry in made.memory.audit] == ["changed"] * 3 + ["deleted"]


async def test_another_kind_in_use_is_not_deleted(client: MakeClient) -> None:
    """409 names who uses it."""
    made = _made(Integration(id=KEY, name="n", type="webhook", service="web"))
    answer = await (await client(made)).delete("/records/service/web?confirm=true")
    assert (answer.status_code, answer.json()["detail"]) == (
        409,
        "integration/5f0c2a... refer to it: change them first",
    )


async def test_members_write_silences_and_no_rules(client: MakeClient) -> None:
    """And viewers nothing."""
    made = _made()
    silence = {
        "match": ['service="web"'],
        "starts_at": "2026-01-01T00:00:00Z",
        "ends_at": "2026-01-02T00:00:00Z",
        "author": "ada",
        "reason": "works",
    }
    for role, status in (("viewer", 403), ("member", 200)):
        answer = await (await client(made, role)).put(
            "/records/silence/s", json=silence, headers={"If-None-Match": "*"}
        )
        assert answer.status_code == status, answer.text
    assert isinstance(made.control.records["silence/default/s"], Silence)
    for method in ("PUT", "DELETE"):
        answer = await (await client(made, "member")).request(method, "/records/rule/page?confirm=true", json=RULE)
        assert answer.status_code == 403


async def test_a_list_has_pages_and_a_search(client: MakeClient) -> None:
    """By id; `next` goes on after the last one."""
    admin = await client(_made(*(Calendar(id=f"c{n}", zone="UTC", hours={"mon": ["09:00-17:00"]}) for n in range(5))))
    first = (await admin.get("/records/calendar?limit=2")).json()
    assert ([item["id"] for item in first["items"]], first["next"]) == (["c0", "c1"], "c1")
    rest = (await admin.get(f"/records/calendar?after={first['next']}")).json()
    assert ([item["id"] for item in rest["items"]], rest["next"]) == (["c2", "c3", "c4"], None)
    assert [item["id"] for item in (await admin.get("/records/calendar?q=C3")).json()["items"]] == ["c3"]
    assert (await admin.get("/records/calendar?limit=0")).json()["errors"][0]["path"] == "limit"


@pytest.mark.parametrize("kind", [*PLAIN_KINDS, "account", "token", "apikey", "integration", "nothing"])
async def test_another_tenant_sees_and_changes_nothing(client: MakeClient, kind: str) -> None:
    """Kinds with credentials are not here at all."""
    made = _made(Rule(id="page"), Tenant(id="default"), Tenant(id="other"))
    other = await client(made, "owner", "other")
    answer = await other.get(f"/records/{kind}")
    assert answer.status_code == (200 if kind in PLAIN_KINDS else 404)
    assert kind == "tenant" or not answer.json().get("items")
    for name in ("web", "page", "hook", "default"):
        assert (await other.get(f"/records/{kind}/{name}")).status_code == 404
        assert (await other.delete(f"/records/{kind}/{name}?confirm=true")).status_code == 404
    assert control_key(HOOK) in made.control.records


async def test_a_file_is_applied_or_each_problem_told(client: MakeClient) -> None:
    """As `stormweir apply` does; what is of another tenant is refused."""
    made = _made()
    admin = await client(made)
    text = "rules: [{id: page, match: ['service=\"web\"'], route: [hook]}]"
    answer = await admin.post("/apply?dry_run=true", content=text, headers={"Content-Type": "application/yaml"})
    assert (answer.status_code, answer.json()["changed"], len(made.control.rules)) == (200, 1, 0)
    answer = await admin.post("/apply", content=text, headers={"Content-Type": "application/yaml"})
    assert (answer.status_code, len(made.control.rules)) == (200, 1)
    wrong = "rules: [{id: page, route: [nobody]}]"
    answer = await admin.post("/apply", content=wrong, headers={"Content-Type": "application/yaml"})
    assert answer.json()["errors"] == [{"path": "rules.0.route.0", "message": "no destination 'nobody'"}]
    foreign = "services: [{id: web, tenant: other}]"
    answer = await admin.post("/apply", content=foreign, headers={"Content-Type": "application/yaml"})
    assert (answer.status_code, answer.json()["errors"][0]["path"]) == (422, "service/other/web")


@pytest.mark.parametrize("dry_run", ["true", "false"])
async def test_a_file_takes_no_record_of_another_tenant(client: MakeClient, dry_run: str) -> None:
    """Ids of API keys and integrations are shared by all tenants: a file neither replaces nor shows another's."""
    key = ApiKey(id="ci", tenant="other", name="Deploys", sha256=64 * "a")
    theirs = Integration(id=KEY, tenant="other", name="Monitors", type="datadog", service="web")
    made = _made(key, theirs, Service(id="web", tenant="other"))
    admin = await client(made)
    text = f"""
apikeys: [{{id: ci, sha256: {64 * "b"}}}]
integrations: [{{id: {KEY}, name: Mine, type: datadog, service: web}}]
"""
    answer = await admin.post(f"/apply?dry_run={dry_run}", content=text, headers={"Content-Type": "application/yaml"})
    taken = [{"path": "integrations.0.id", "message": "is taken"}, {"path": "apikeys.0.id", "message": "is taken"}]
    assert (answer.status_code, answer.json().get("errors")) == (422, taken)
    assert not {"other", "Deploys", "Monitors"} & set(answer.text.split('"'))
    assert (made.control.records["apikey/ci"], made.control.integrations[KEY]) == (key, theirs)


async def test_an_integration_from_its_making_to_its_end(client: MakeClient) -> None:
    """The key is in the answers that make one, and in no other."""
    made = _made()
    admin = await client(made)
    wrong = await admin.post("/integrations", json={"name": "n", "type": "webhook", "service": "none"})
    assert (wrong.status_code, wrong.json()["errors"][0]["path"]) == (422, "service")
    new = await admin.post(
        "/integrations", json={"name": "n", "type": "webhook", "service": "web", "generate_secret": True}
    )
    assert new.status_code == 201
    key, secret = new.json()["integration_key"], new.json()["signature_secret"]
    assert new.json()["webhook_url"].endswith(f"integrationId={key}")
    assert (len(key), len(secret) >= 64, new.json()["id"]) == (32, True, installation_of(key))
    seen = await admin.get("/integrations")
    assert key not in seen.text
    assert secret not in seen.text
    path = f"/integrations/{new.json()['id']}"
    off = await admin.patch(path, json={"enabled": False})
    assert (off.json()["status"], made.control.integrations[key].name) == ("inactive", "n")
    rotated = await admin.post(f"{path}/rotate")
    assert rotated.json()["integration_key"] != key
    assert len(made.control.integrations) == 2
    assert (await admin.delete(path)).status_code == 400
    assert (await admin.delete(f"{path}?confirm=true")).status_code == 204
    assert (await admin.get(path)).status_code == 404
    other = await client(made, "owner", "other")
    mine = f"/integrations/{rotated.json()['id']}"
    answers = [
        await other.get(mine),
        await other.patch(mine, json={"enabled": False}),
    ]
    answers += [await other.post(f"{mine}/{what}") for what in ("test", "rotate")]
    answers.append(await other.delete(f"{mine}?confirm=true"))
    assert [answer.status_code for answer in answers] == [404] * 5


async def test_kinds_providers_and_channels_say_what_a_form_needs(client: MakeClient) -> None:
    """Every kind, format and channel, with schemas and secrets by name."""
    viewer = await client(_made(), "viewer")
    kinds = {item["kind"]: item for item in (await viewer.get("/kinds")).json()["items"]}
    assert set(kinds) == set(PLAIN_KINDS)
    assert (kinds["service"]["count"], kinds["silence"]["role"], kinds["rule"]["role"]) == (1, "member", "admin")
    channels = {item["slug"]: item for item in (await viewer.get("/channels")).json()["items"]}
    assert set(channels) == set(CHANNELS)
    assert "url" in channels["webhook"]["secret_fields"]
    assert len((await viewer.get("/providers")).json()["items"]) == 29


async def test_a_test_of_an_unknown_destination_is_404(client: MakeClient) -> None:
    """Also of another tenant's."""
    made = _made()
    assert (await (await client(made)).post("/destinations/none/test")).status_code == 404
    assert (await (await client(made, "owner", "other")).post("/destinations/hook/test")).status_code == 404
    assert isinstance(made.control.destinations["default", "hook"], Destination)
