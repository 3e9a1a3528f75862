"""API keys over HTTP: made and shown once, listed without secrets, revoked, and nobody else's."""

from hashlib import sha256

from tests.api.people import browsing, inhabited, person


async def test_a_key_is_shown_once_works_and_is_revoked() -> None:
    """The record has the digest of what was shown; the list has neither the key nor its secret."""
    made = inhabited(person("ada", "admin"))
    async with browsing(made, "ada") as ada:
        answer = await ada("POST", "/apikeys", {"id": "checkout", "name": "Checkout", "rate_limit": "unlimited"})
        assert answer.status_code == 201
        shown = answer.json()
        (record,) = made.control.apikeys.values()
        assert record.sha256 == sha256(shown["key"].encode()).hexdigest()
        assert (record.tenant, record.rate_limit) == ("default", "unlimited")
        assert record.webhook_secret == shown["webhook_secret"]
        listed = await ada("GET", "/apikeys")
        (item,) = listed.json()["items"]
        assert (item["id"], item["prefix"], item["signs"]) == ("checkout", shown["key"][:8], True)
        assert shown["key"] not in listed.text
        assert shown["webhook_secret"] not in listed.text
        assert (await ada("DELETE", "/apikeys/checkout")).status_code == 204
        assert not made.control.apikeys
        actions = [(entry.actor, entry.action, entry.kind, entry.id) for entry in made.memory.audit]
        assert actions[-2:] == [("ada", "created", "apikey", "checkout"), ("ada", "deleted", "apikey", "checkout")]
        assert shown["key"] not in repr(made.memory.audit)


async def test_ids_are_shared_and_keys_are_not() -> None:
    """What another tenant has is taken, and neither listed nor deleted."""
    made = inhabited(person("ada", "admin"), person("far", "admin", tenant="acme"))
    async with browsing(made, "ada") as ada, browsing(made, "far") as far:
        assert (await ada("POST", "/apikeys", {"id": "checkout"})).status_code == 201
        taken = await far("POST", "/apikeys", {"id": "checkout"})
        assert (taken.status_code, taken.json()["errors"][0]["path"]) == (422, "id")
        assert (await far("GET", "/apikeys")).json()["items"] == []
        assert (await far("DELETE", "/apikeys/checkout")).status_code == 404
        assert len(made.control.apikeys) == 1


async def test_wrong_fields_are_named() -> None:
    """A name that is none, an unknown field, and a limit that is none."""
    async with browsing(inhabited(person("ada", "admin")), "ada") as ada:
        for body, path in (
            ({"id": "a b"}, "id"),
            ({"id": "a", "sha256": "x"}, "sha256"),
            ({"id": "a", "rate_limit": 0}, "rate_limit"),
        ):
            answer = await ada("POST", "/apikeys", body)
            assert answer.status_code == 422
            assert answer.json()["errors"][0]["path"].startswith(path)
