"""What holds for every route: a role, a form of errors, and an id of its own."""

from streams.api.app import application
from streams.api.roles import LEAST
from tests.api.conftest import MakeClient, parts


def _operations() -> list[str]:
    paths = application(parts()).openapi()["paths"]
    return [operation["operationId"] for methods in paths.values() for operation in methods.values()]


def test_every_operation_has_its_role_and_its_own_name() -> None:
    """A route without a row in the table, a row without a route, and two routes of one name are found."""
    assert sorted(_operations()) == sorted(LEAST)


async def test_nobody_and_too_small_a_role_are_refused(client: MakeClient) -> None:
    """401 names how to log in; the answer is a problem."""
    answer = await (await client(parts(), "")).get("/status")
    assert (answer.status_code, answer.headers["content-type"]) == (401, "application/problem+json")
    assert answer.json()["title"] == "Unauthorized"
    assert (await (await client(parts(), "viewer")).get("/status")).status_code == 200


async def test_an_unknown_path_is_a_problem(client: MakeClient) -> None:
    """404 has the same form."""
    answer = await (await client(parts())).get("/nothing")
    assert (answer.status_code, answer.json()["title"]) == (404, "Not Found")
