"""The Python client: generated from the API's document, it calls a served API with types."""

import ast
import asyncio
import importlib
import socket
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import fields as fields_of
from hashlib import sha256
from pathlib import Path
from types import ModuleType
from typing import Any
from uuid import UUID

import msgspec
import pytest
from granian.constants import Interfaces
from granian.server.embed import Server

from schemas.control import Destination, Service, Token
from streams.api.app import application, description
from streams.api.limits import Limit
from streams.api.problems import Problem, Wrong
from streams.api.record_schemas import record_schemas
from streams.client import transport
from streams.client.package import PACKAGE, write
from streams.client.schemas import type_of
from streams.control.records import PLAIN_KINDS
from tests.api.conftest import Offline
from tests.api.people import inhabited, person
from tests.api.reading import incident, reading
from tests.api.worker import Worker
from tests.conftest import FreePorts
from tests.docs.page import blocks, read
from tests.engine.harness import until

TOKEN = "swt_" + 43 * "a"
RULE = {"match": ['service="web"'], "suppress": True}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the package, from which it can be imported."""
    folder = tmp_path_factory.mktemp("client")
    write(description(), folder)
    sys.path.insert(0, str(folder))
    yield folder
    sys.path.remove(str(folder))
    for name in [name for name in sys.modules if name.partition(".")[0] == PACKAGE]:
        del sys.modules[name]


@pytest.fixture
def package(made: Path) -> ModuleType:
    """The generated package."""
    return importlib.import_module(PACKAGE)


@asynccontextmanager
async def served(parts: Offline, port: int) -> AsyncIterator[str]:
    """The address at which Granian serves the application on these parts."""
    server = Server(application(parts), address="127.0.0.1", port=port, interface=Interfaces.ASGI, log_enabled=False)
    serving = asyncio.create_task(server.serve())

    def listens() -> bool:
        with socket.socket() as found:
            return found.connect_ex(("127.0.0.1", port)) == 0

    try:
        await until(listens, 20, "the API")
        yield f"http://127.0.0.1:{port}"
    finally:
        server.stop()  # type: ignore[no-untyped-call]
        await asyncio.wait([serving], timeout=5)
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)


@asynccontextmanager
async def running(folder: Path, port: int, count: int = 5, **more: Any) -> AsyncIterator[tuple[str, Offline]]:
    """An API with so many incidents, where the token of an admin is TOKEN."""
    async with reading(folder, *(incident(number) for number in range(1, count + 1))) as model:
        values = {"id": "t1", "name": "deploy", "role": "admin", "created_by": "id-ada"}
        values["sha256"] = sha256(TOKEN.encode()).hexdigest()
        token = Token.model_validate({**values, "created_at": "2026-11-01T00:00:00Z"})
        parts = inhabited(person("ada", "owner"), Service(id="web"), token, model=model, commands=Worker(model), **more)
        async with served(parts, port) as url:
            yield url, parts


def test_every_operation_has_a_method_in_both_clients(package: ModuleType) -> None:
    """The methods are the operations of the document, and one more for each list that has pages."""
    paths = description()["paths"]
    operations = {operation["operationId"] for methods in paths.values() for operation in methods.values()}
    pages = {"all_alerts", "all_audit", "all_incident_alerts", "all_incidents", "all_records"}
    for client in (package.Client, package.AsyncClient):
        assert {name for name in vars(client) if not name.startswith("_")} == operations | pages


def test_every_answer_has_a_schema_with_a_name() -> None:
    """Text alone has none. A name is one word, and an operation's id has a verb and a noun."""
    document = description()
    for path, methods in document["paths"].items():
        for operation in methods.values():
            assert "_" in operation["operationId"]
            for answer in operation["responses"].values():
                for media, content in answer.get("content", {}).items():
                    assert "$ref" in content["schema"] or media.startswith("text/"), path
    assert [name for name in document["components"]["schemas"] if not name.isalnum()] == []


def test_every_kind_of_record_has_a_class(package: ModuleType) -> None:
    """Its fields are those of the record, but for what the path and the caller say; no answer has the same name."""
    schemas = description()["components"]["schemas"]
    assert {name: schemas[name] for name in record_schemas()} == record_schemas()
    for kind, model in PLAIN_KINDS.items():
        if model is not Destination:
            fields = {field.encode_name for field in msgspec.structs.fields(getattr(package.models, model.__name__))}
            assert fields == {info.alias or name for name, info in model.model_fields.items()} - {"id", "tenant"}, kind


def test_the_same_document_has_the_same_package(made: Path, tmp_path: Path) -> None:
    """Byte for byte."""
    write(description(), tmp_path)
    names = sorted(path.relative_to(made) for path in made.rglob("*") if path.is_file() and path.suffix != ".pyc")
    assert names == sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file())
    for name in names:
        assert (made / name).read_bytes() == (tmp_path / name).read_bytes(), name


def test_the_package_needs_nothing_of_the_server(made: Path) -> None:
    """It imports the standard library, and what it says that it needs."""
    project = tomllib.loads((made / "pyproject.toml").read_text())["project"]
    needed = {requirement.partition(">")[0] for requirement in project["dependencies"]}
    imported = set()
    for path in (made / PACKAGE).glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                imported |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
                imported.add(node.module.partition(".")[0])
    assert imported - sys.stdlib_module_names == needed == {"httpx2", "msgspec"}


def test_a_wheel_is_made_of_it(made: Path, tmp_path: Path) -> None:
    """It has the package, and says that it is typed."""
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*pip, "--wheel-dir", str(tmp_path), str(made)], check=True)
    (wheel,) = tmp_path.glob("stormweir_client-*.whl")
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert names == {
        f"{PACKAGE}/{name}" for name in ("__init__.py", "clients.py", "models.py", "py.typed", "transport.py")
    }


def test_problems_are_those_of_the_api() -> None:
    """What the client has by hand has the fields of the document."""
    assert {each.name for each in msgspec.structs.fields(transport.Problem)} == set(Problem.model_fields)
    assert [each.name for each in msgspec.structs.fields(transport.Wrong)] == [each.name for each in fields_of(Wrong)]


@pytest.mark.parametrize(
    ("schema", "kind"),
    [
        ({"anyOf": [{"type": "integer"}, {"const": "unlimited", "type": "string"}]}, 'int | Literal["unlimited"]'),
        ({"type": "object", "additionalProperties": {"type": "number"}}, "dict[str, float]"),
        ({"type": "array", "items": {"$ref": "#/components/schemas/Link"}}, "list[Link]"),
        ({"type": "string", "format": "uuid"}, "UUID"),
    ],
)
def test_a_schema_has_a_type(schema: dict[str, Any], kind: str) -> None:
    """That which its values have in Python."""
    assert type_of(schema) == kind


def test_a_schema_without_a_type_is_refused() -> None:
    """Nothing is taken for Any by mistake."""
    with pytest.raises(ValueError, match="no type for the schema"):
        type_of({"allOf": [{"type": "string"}]})


async def test_incidents_are_listed_shown_and_acknowledged(
    package: ModuleType, tmp_path: Path, free_ports: FreePorts
) -> None:
    """By a token: filters and pages give typed incidents, and a command its end."""
    (port,) = free_ports(1)
    async with running(tmp_path, port) as (url, parts), package.AsyncClient(url, TOKEN) as api:
        page = await api.list_incidents(status=["open", "acknowledged"], service=["web"], limit=2)
        assert (page.total, len(page.items), page.facets.status) == (5, 2, {"open": 5})
        assert isinstance(page.items[0], package.models.Incident)
        every = [each async for each in api.all_incidents(severity=["error"], limit=2)]
        assert [each.title for each in every] == [f"disk {number} is full" for number in (5, 4, 3, 2, 1)]
        assert [each.id for each in every[:2]] == [each.id for each in page.items]
        assert [each async for each in api.all_incidents(severity=["critical"])] == []
        (found,) = (await api.list_incidents(q="disk 3")).items
        shown = await api.show_incident(found.id)
        assert (shown.id, shown.opened_at) == (UUID(int=3), found.opened_at)
        assert shown.opened_at.utcoffset() is not None
        command = package.models.NewCommand(action="acknowledge", note="mine")
        done = await api.command_incident(found.id, command, idempotency_key="once")
        assert (done.end, done.status) == ("done", "acknowledged")
        assert await api.command_incident(found.id, command, idempotency_key="once") == done
        assert [each.id async for each in api.all_incidents(mine=True)] == [found.id]
        assert [entry.action for entry in parts.memory.audit] == ["commanded"]
        first = await anext(api.follow_incidents())
        assert (first.name, set(first.data)) == ("ping", {"as_of"})


async def test_a_record_is_written_by_version(package: ModuleType, tmp_path: Path, free_ports: FreePorts) -> None:
    """It is created, changed and deleted; a stale version is a ConflictError, a wrong field an InvalidError with its
    path, what is not there a NotFoundError; each has the problem.
    """
    (port,) = free_ports(1)

    def use(url: str) -> None:
        with package.Client(url, TOKEN) as api:
            new = api.write_record("rule", "quiet", RULE, if_none_match="*")
            with pytest.raises(
                package.ConflictError, match=r"409 Conflict: there is one of this id already \(id: is taken\)"
            ):
                api.write_record("rule", "quiet", RULE, if_none_match="*")
            rule = package.models.Rule(match=RULE["match"], suppress=True, order=7)
            changed = api.write_record("rule", "quiet", rule, if_match=new.version)
            assert (changed.diff, changed.warnings) == (["~ rule/default/quiet", "    order: 100 -> 7"], [])
            with pytest.raises(package.ConflictError) as stale:
                api.delete_record("rule", "quiet", confirm=True, if_match=new.version)
            assert (stale.value.problem.status, stale.value.problem.errors) == (409, [])
            with pytest.raises(package.InvalidError) as wrong:
                api.write_record("rule", "quiet", {"order": "x"}, if_match="*")
            assert "order" in {each.path for each in wrong.value.problem.errors}
            (shown,) = api.all_records("rule", limit=1)
            read = msgspec.convert(shown.record, package.models.Rule)
            assert (read.match, read.suppress, read.order) == (rule.match, True, 7)
            assert api.write_record("rule", "quiet", read, if_match=shown.version).diff == []
            assert api.delete_record("rule", "quiet", confirm=True, if_match=changed.version).diff
            with pytest.raises(package.NotFoundError) as gone:
                api.show_record("rule", "quiet")
            assert gone.value.problem == package.Problem(title="Not Found", status=404, detail="there is no such rule")
            sender = package.models.NewIntegration(name="hooks", type="webhook", service="web")
            key = api.create_integration(sender).integration_key
            (shown,) = api.list_integrations().items
            plain = api.change_integration(shown.id, package.models.IntegrationChange(name="other"))
            assert (plain.name, plain.service, plain.integration_key) == ("other", "web", None)
            secret = api.change_integration(shown.id, package.models.IntegrationChange(generate_secret=True))
            assert (secret.name, secret.integration_key, bool(secret.signature_secret)) == ("other", key, True)
            assert api.delete_integration(shown.id, confirm=True) is None
            applied = api.apply_configuration("services:\n  - id: api\n", dry_run=True)
            assert (applied.dry_run, applied.changed) == (True, 1)
            assert api.export_audit(kind="rule").startswith("at,")
        with package.Client(url, "swt_wrong") as stranger, pytest.raises(package.UnauthorizedError):
            stranger.list_tokens()

    async with running(tmp_path, port) as (url, _):
        await asyncio.to_thread(use, url)


async def test_a_caller_that_asks_too_much_learns_when_to_ask_again(
    package: ModuleType, tmp_path: Path, free_ports: FreePorts
) -> None:
    """It gets a TooManyRequestsError with the seconds, also where events are asked for."""
    (port,) = free_ports(1)
    limit = Limit(rate=0.1, burst=0)
    async with running(tmp_path, port, limit=limit) as (url, _), package.AsyncClient(url, TOKEN) as api:
        for ask in (lambda: api.list_views(), lambda: anext(api.follow_incidents())):
            with pytest.raises(package.TooManyRequestsError) as refused:
                await ask()
            assert refused.value.retry_after == 10


async def test_the_example_of_the_page_works(made: Path, tmp_path: Path, free_ports: FreePorts) -> None:
    """It passes mypy --strict, where a wrong call does not; and it acknowledges what it finds."""
    (example,) = blocks(read("docs/api.md"), "python")
    (tmp_path / "example.py").write_text(example)
    (tmp_path / "wrong.py").write_text(
        f"from {PACKAGE} import Client\n\n"
        'api = Client("http://127.0.0.1:8405", "swt_")\n'
        'api.list_incidents(status=["ended"])\n'
        "api.show_incident(7)\n"
        "api.list_incidents().items[0].titel\n"
    )
    mypy = [sys.executable, "-m", "mypy", "--strict", "--config-file=", f"--cache-dir={tmp_path / 'cache'}"]
    (port,) = free_ports(1)
    async with running(tmp_path, port, 2) as (url, parts):
        environment = {"PYTHONPATH": str(made), "MYPYPATH": str(made), "URL": url, "TOKEN": TOKEN, "PATH": ""}
        ran = await _run([sys.executable, str(tmp_path / "example.py")], environment)
        assert ran == (0, "disk 2 is full: done\ndisk 1 is full: done\n")
        assert parts.control.rules["default", "backups"].order == 7
        status, told = await _run([*mypy, str(tmp_path / "example.py"), str(tmp_path / "wrong.py")], environment)
        lines = told.splitlines()
        assert (status, [line.partition(": ")[0].rpartition("/")[2] for line in lines[:3]]) == (
            1,
            ["wrong.py:4", "wrong.py:5", "wrong.py:6"],
        ), told
        assert lines[3:] == ["Found 3 errors in 1 file (checked 2 source files)"]


async def _run(command: list[str], environment: dict[str, str]) -> tuple[int, str]:
    """The status of a program, and what it printed."""
    process = await asyncio.create_subprocess_exec(
        *command, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    printed, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, printed.decode()
