"""How requests are read, without an engine."""

import gzip
import zlib

import lz4.frame
import pytest

from streams.embedded import clickhouse_coding as coding
from streams.embedded.clickhouse_protocol import (
    ClickHouseError,
    Statement,
    authenticate,
    content_type,
    read_statement,
)


def read(query: dict[str, str] | None = None, body: bytes = b"", method: str = "POST") -> Statement:
    return read_statement(method, query or {}, {}, body)


@pytest.mark.parametrize(
    ("head", "rest", "data"),
    [
        (b"INSERT INTO t FORMAT CSV", b"\n1,2\n", b"1,2\n"),
        (b"insert into d.t (a, b) format MsgPack", b"\n\n\xc4\xff", b"\n\xc4\xff"),
        (b"INSERT INTO `d`.`t` (`a`, `format`) FORMAT Native", b"\r\nFORMAT x\n", b"FORMAT x\n"),
        (b"INSERT INTO t(a) SETTINGS x = 'it\\'s', y=1 FORMAT CSV", b" 1", b"1"),
        (b"-- c\n/* d */ INSERT INTO TABLE t FORMAT CSV", b"", b""),
        (b"INSERT INTO t FORMAT JSONEachRow", b'{"a":1}', b'{"a":1}'),
    ],
)
def test_insert_is_split_from_its_data(head: bytes, rest: bytes, data: bytes) -> None:
    """What follows the format's name is data, byte for byte, wherever the statement came from."""
    statement = read(body=head + rest)
    assert statement.data == data
    assert b"FORMAT " + statement.data_format.encode() not in statement.sql.encode()
    if rest.startswith(b"\n"):
        assert read({"query": head.decode()}, rest[1:]).data == data


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO t VALUES (1)",
        "INSERT INTO t SELECT 'FORMAT CSV' FROM u",
        "SELECT 1 FORMAT CSV",
        "SELECT 'INSERT INTO t FORMAT CSV'",
    ],
)
def test_other_statements_stay_whole(sql: str) -> None:
    """Only `INSERT INTO table ... FORMAT` has data apart from its SQL."""
    statement = read(body=sql.encode())
    assert statement.sql == sql
    assert statement.data is None


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 1 INTO OUTFILE '/tmp/x'",
        "select 1 into/**/outfile/* c */'/tmp/x'",
        "select 1 into outfile -- c\n'/tmp/x'",
        "select 1 into outfile $$/tmp/x$$",
        "INSERT INTO t FROM INFILE '/etc/passwd' FORMAT CSV",
        "insert into t (a) from infile'/etc/passwd' format CSV",
        "SELECT * FROM python(x)",
        "SELECT * FROM `Python` (x)",
        'SELECT * FROM "python"/**/(x)',
    ],
)
def test_sql_that_reaches_the_process_is_refused(sql: str) -> None:
    """The engine runs in our process: its client-side file syntax and Python objects are not offered."""
    with pytest.raises(ClickHouseError) as caught:
        read(body=sql.encode())
    assert caught.value.code == 497
    assert caught.value.status == 403


def test_words_in_data_are_not_sql() -> None:
    """The body of an insert may hold any words."""
    assert read(body=b"INSERT INTO t FORMAT CSV\ninto outfile 'x'").data == b"into outfile 'x'"
    assert read({"param_x": "into outfile 'x'"}, b"SELECT {x:String}").params == {"x": "into outfile 'x'"}


def test_a_get_only_reads() -> None:
    """A GET gets `readonly = 2`, as on a server; a POST keeps what it asks for."""
    assert read({"query": "SELECT 1"}, method="GET").settings == {"readonly": "2"}
    assert read({"query": "SELECT 1", "readonly": "1"}, method="GET").settings == {"readonly": "1"}
    assert read({"query": "SELECT 1", "max_threads": "1", "session_id": "x"}).settings == {"max_threads": "1"}


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ({"query": ""}, 62),
        ({"query": "SELECT 1", "a b": "1"}, 36),
        ({"query": "SELECT 1", "decompress": "1"}, 48),
        ({"query": "SELECT 1", "default_format": "Native", "client_protocol_version": "54460"}, 48),
        ({"query": "SELECT 1", "default_format": "DataFrame"}, 73),
        ({"query": "SELECT 1", "default_format": "CSV;"}, 73),
    ],
)
def test_what_cannot_be_understood_is_an_error(query: dict[str, str], code: int) -> None:
    """Every refusal carries ClickHouse's number."""
    with pytest.raises(ClickHouseError) as caught:
        read(query)
    assert caught.value.code == code
    with pytest.raises(ClickHouseError, match="not UTF-8"):
        read(body=b"SELECT '\xff'")


def test_output_format() -> None:
    """The format in the SQL wins over the parameter, the parameter over the header."""
    assert read(body=b"SELECT 1 FORMAT JSON").output_format == "JSON"
    assert read(body=b"SELECT 1 FORMAT JSON SETTINGS a = 1 ;").output_format == "JSON"
    assert read({"default_format": "Native"}, b"SELECT 1").output_format == "Native"
    assert read(body=b"SELECT 1").output_format == "TabSeparated"
    assert content_type("JSONEachRow").startswith("application/json")
    assert content_type("Vertical").startswith("text/plain")


def test_statements_with_a_result() -> None:
    """Reading statements are told from writing ones by their first word."""
    for sql in (b"SELECT 1", b"-- c\n with 1 as x select x", b"(select 1)", b"SHOW TABLES", b"EXPLAIN SELECT 1"):
        assert read(body=sql).has_result, sql
    for sql in (b"CREATE TABLE t (a UInt8) ENGINE = Null", b"INSERT INTO t SELECT 1", b"INSERT INTO t FORMAT CSV\n1"):
        assert not read(body=sql).has_result, sql


@pytest.mark.parametrize(
    ("query", "headers", "code"),
    [
        ({}, {}, 194),
        ({"user": "default"}, {}, 194),
        ({}, {"X-ClickHouse-Key": "wrong"}, 516),
        ({}, {"X-ClickHouse-Key": "söcret"}, 516),
        ({}, {"X-ClickHouse-User": "root", "X-ClickHouse-Key": "secret"}, 516),
        ({"password": "secret"}, {"X-ClickHouse-Key": "wrong"}, 516),
        ({}, {"Authorization": "Basic !!!"}, 194),
        ({}, {"Authorization": "Basic ZGVmYXVsdDp4"}, 516),
        ({"password": "secret"}, {}, 0),
        ({}, {"X-ClickHouse-Key": "secret"}, 0),
        ({}, {"Authorization": "Basic ZGVmYXVsdDpzZWNyZXQ="}, 0),
    ],
)
def test_authentication(query: dict[str, str], headers: dict[str, str], code: int) -> None:
    """Only the user `default` with the token passes, by header, basic authentication or URL."""
    if not code:
        authenticate("secret", query, headers)
        return
    with pytest.raises(ClickHouseError) as caught:
        authenticate("secret", query, headers)
    assert caught.value.code == code
    assert caught.value.status == (401 if code == 194 else 403)
    assert "secret" not in str(caught.value)


def test_errors_of_the_engine_keep_their_number() -> None:
    """The number is read from the engine's text, also behind chdb's own words."""
    error = ClickHouseError.from_engine("Streaming insert finish failed: Code: 44. DB::Exception: x. (Y)")
    assert (error.code, str(error), error.status) == (44, "Code: 44. DB::Exception: x. (Y)", 400)
    assert ClickHouseError.from_engine("lost").code == 1002
    assert ClickHouseError.from_engine("Code: 241. DB::Exception: memory").status == 500


@pytest.mark.parametrize("name", ["lz4", "zstd", "gzip", "deflate"])
def test_codings_round_trip_within_bounds(name: str) -> None:
    """Every offered coding decodes what it encoded, and refuses bombs, cuts and noise."""
    body = b"alert storm " * 10_000
    packed = coding.encode(body, name)
    assert coding.decode(packed, name, len(body)) == body
    with pytest.raises(coding.TooLargeError):
        coding.decode(packed, name, len(body) - 1)
    with pytest.raises(coding.CodingError, match="too early"):
        coding.decode(packed[:-10], name, len(body))
    with pytest.raises(coding.CodingError, match=name):
        coding.decode(b"noise", name, len(body))
    assert coding.accepted(f"br;q=1, {name}") == name


def test_codings_of_several_frames() -> None:
    """Frames one after another are one body; nothing and unknown codings are told apart."""
    for pack, name in ((lz4.frame.compress, "lz4"), (gzip.compress, "gzip"), (zlib.compress, "deflate")):
        assert coding.decode(pack(b"a") + pack(b"b"), name, 10) == b"ab"
    assert coding.decode(b"x", "", 10) == b"x"
    assert coding.accepted("br, *") == ""
    with pytest.raises(coding.CodingError, match="none of lz4"):
        coding.decode(b"x", "br", 10)
