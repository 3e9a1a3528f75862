"""Reads requests of the ClickHouse HTTP protocol and words its answers. Pure: no I/O.

Source: https://clickhouse.com/docs/interfaces/http and the status codes of ClickHouse's
`exceptionCodeToHTTPStatus`. Not supported: sessions (requests share nothing, so no temporary tables), external
data, ClickHouse's own block compression (`compress`, `decompress`) and `client_protocol_version`.
"""

import base64
import binascii
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass

#: Parameters of the transport; every other parameter in the URL is a setting, except `param_*`.
_TRANSPORT = frozenset({
    "buffer_size", "client_protocol_version", "close_session", "compress", "database", "decompress",
    "default_format", "enable_http_compression", "http_headers_progress_interval_ms", "password", "query",
    "query_id", "quota_key", "role", "send_progress_in_http_headers", "session_check", "session_id",
    "session_timeout", "stacktrace", "user", "wait_end_of_query",
})  # fmt: skip

BAD_ARGUMENTS = 36
NOT_IMPLEMENTED = 48
SYNTAX_ERROR = 62
UNKNOWN_FORMAT = 73
INCORRECT_DATA = 117
REQUIRED_PASSWORD = 194
TOO_MANY_QUERIES = 202
TOO_LARGE = 307
ACCESS_DENIED = 497
AUTHENTICATION_FAILED = 516
_STATUS = {
    **dict.fromkeys((6, 26, 27, BAD_ARGUMENTS, 38, 41, 42, 43, 44, 53, SYNTAX_ERROR, 69, 70, 72), 400),
    **dict.fromkeys((INCORRECT_DATA, 130, 131, 452, 456, 457, 636), 400),
    REQUIRED_PASSWORD: 401,
    **dict.fromkeys((164, 192, 193, 392, ACCESS_DENIED, AUTHENTICATION_FAILED), 403),
    **dict.fromkeys((16, 46, 47, 50, 56, 60, UNKNOWN_FORMAT, 78, 81, 115), 404),
    159: 408,
    TOO_LARGE: 413,
    NOT_IMPLEMENTED: 501,
    TOO_MANY_QUERIES: 503,
}


class ClickHouseError(Exception):
    """An error with ClickHouse's number. The text has the engine's form: `Code: N. DB::Exception: ...`."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code

    @classmethod
    def of(cls, code: int, reason: str, name: str) -> "ClickHouseError":
        """An error of this server, worded like the engine's."""
        return cls(code, f"Code: {code}. DB::Exception: {reason}. ({name})")

    @classmethod
    def from_engine(cls, text: str) -> "ClickHouseError":
        """The error with the code in the engine's text, 1002 (UNKNOWN_EXCEPTION) if the text has no code."""
        found = re.search(r"Code: (\d+)\. ", text)
        return cls(int(found[1]), text[found.start() :]) if found else cls(1002, text)

    @property
    def status(self) -> int:
        """The HTTP status of this error; 500 if it is not the caller's fault."""
        return _STATUS.get(self.code, 500)


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """One statement to run. `data` is an INSERT's body in `data_format`, and `data_settings` is the SETTINGS clause
    that follows `sql`; without data `sql` is complete.

    `params` are in ClickHouse's escaped form (tab as backslash t), the form of `param_*` in a URL.
    """

    sql: str
    data: bytes | None
    data_format: str
    data_settings: str
    output_format: str
    database: str
    settings: Mapping[str, str]
    params: Mapping[str, str]

    @property
    def has_result(self) -> bool:
        """Whether the statement returns rows, possibly zero of them."""
        return self.data is None and _RESULT.match(self.sql) is not None


_GAP = r"(?:\s|/\*.*?\*/|--[^\n]*(?:\n|$))"
_RESULT = re.compile(rf"{_GAP}*[(\s]*(?:SELECT|WITH|SHOW|DESC|DESCRIBE|EXPLAIN|EXISTS|CHECK)\b", re.I | re.S)
_FORMAT = re.compile(r"\bFORMAT\s+(\w+)\s*(?:SETTINGS\b.*)?[;\s]*$", re.I | re.S)
_NAME = r'(?:`(?:[^`\\]|\\.)*`|"(?:[^"\\]|\\.)*"|\w+)'
_VALUE = r"(?:'(?:[^'\\]|\\.)*'|[\w.+-]+)"
_INSERT = re.compile(
    (
        rf"(?P<head>{_GAP}*INSERT\s+INTO\s+(?:TABLE\s+)?{_NAME}(?:\s*\.\s*{_NAME})?"
        rf"(?:\s*\(\s*{_NAME}(?:\s*,\s*{_NAME})*\s*\))?)"
        rf"(?P<settings>(?:\s+SETTINGS\s+\w+\s*=\s*{_VALUE}(?:\s*,\s*\w+\s*=\s*{_VALUE})*)?)"
        r"\s+FORMAT\s+(?P<format>\w++)[ \t]*+;?[ \t]*+(?:\r?\n)?"
    ).encode(),
    re.I | re.S,
)
#: These access the files and the memory of our process, in which the engine runs as in `clickhouse local`.
_LOCAL_ONLY = re.compile(rf"\b(?:in|out)file{_GAP}*['$]|\bpython[`\"]?{_GAP}*\(", re.I | re.S)
#: Result formats that chdb turns into Python objects.
_PYTHON_FORMATS = frozenset({"dataframe", "arrowtable", "datastore"})


def read_statement(method: str, query: Mapping[str, str], headers: Mapping[str, str], body: bytes) -> Statement:
    """The statement of a request: URL parameter `query`, a line break, then the body, as ClickHouse joins them.

    A GET may only read. Raises ClickHouseError for a request that cannot be understood or is not supported.
    """
    if query.get("decompress", "0") != "0" or query.get("compress", "0") != "0":
        raise ClickHouseError.of(
            NOT_IMPLEMENTED, "use HTTP compression instead of compress and decompress", "NOT_IMPLEMENTED"
        )
    settings = {
        name: value for name, value in query.items() if name not in _TRANSPORT and not name.startswith("param_")
    }
    for name in settings:
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            raise ClickHouseError.of(BAD_ARGUMENTS, f"{name!a} is not a setting's name", "BAD_ARGUMENTS")
    if method != "POST":
        settings.setdefault("readonly", "2")
    sql, data, data_format, data_settings = _split(query.get("query", "").encode(), body)
    if not sql.strip():
        raise ClickHouseError.of(SYNTAX_ERROR, "the query is empty", "SYNTAX_ERROR")
    if _LOCAL_ONLY.search(sql):
        raise ClickHouseError.of(
            ACCESS_DENIED,
            "INFILE, OUTFILE and python() are not offered; give text that holds these words as a parameter",
            "ACCESS_DENIED",
        )
    named = _FORMAT.search(sql)
    default = query.get("default_format") or headers.get("X-ClickHouse-Format") or "TabSeparated"
    output_format = named[1] if named else default
    if not re.fullmatch(r"\w{1,100}", output_format) or output_format.lower() in _PYTHON_FORMATS:
        raise ClickHouseError.of(UNKNOWN_FORMAT, f"Unknown format {output_format!a}", "UNKNOWN_FORMAT")
    if output_format == "Native" and query.get("client_protocol_version", "0") != "0":
        # clickhouse-connect asks for it and can do without; clickhouse-go would misread our Native format
        raise ClickHouseError.of(
            NOT_IMPLEMENTED, "Native is offered without client_protocol_version only", "NOT_IMPLEMENTED"
        )
    return Statement(
        sql=sql,
        data=data,
        data_format=data_format,
        data_settings=data_settings,
        output_format=output_format,
        database=query.get("database") or headers.get("X-ClickHouse-Database", ""),
        settings=settings,
        params={name[6:]: value for name, value in query.items() if name.startswith("param_")},
    )


def _split(query: bytes, body: bytes) -> tuple[str, bytes | None, str, str]:
    """The SQL; for `INSERT INTO ... SETTINGS ... FORMAT name` also the data after it, the name, the SETTINGS clause."""
    text = b"\n".join(part for part in (query, body) if part)
    insert = _INSERT.match(text)
    try:
        if insert:
            head, name, settings = (insert[group].decode() for group in ("head", "format", "settings"))
            return head, text[insert.end() :], name, settings
        return text.decode(), None, "", ""
    except UnicodeDecodeError as error:
        raise ClickHouseError.of(SYNTAX_ERROR, f"the query is not UTF-8: {error}", "SYNTAX_ERROR") from None


def authenticate(token: str, query: Mapping[str, str], headers: Mapping[str, str]) -> None:
    """Check user (`default`) and password (the token) from the headers, basic authentication or the URL.

    Raises ClickHouseError: 194 without a password, 516 if the user or the password is wrong.
    """
    user, password = _credentials(query, headers)
    if not password:
        raise ClickHouseError.of(REQUIRED_PASSWORD, "a password is required", "REQUIRED_PASSWORD")
    fits = hmac.compare_digest(password.encode("utf-8", "replace"), token.encode())
    if user not in {"", "default"} or not fits:
        raise ClickHouseError.of(
            AUTHENTICATION_FAILED, "the user is unknown or the password is wrong", "AUTHENTICATION_FAILED"
        )


def _credentials(query: Mapping[str, str], headers: Mapping[str, str]) -> tuple[str, str]:
    if "X-ClickHouse-Key" in headers:
        return headers.get("X-ClickHouse-User", ""), headers["X-ClickHouse-Key"]
    scheme, _, value = headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "basic":
        try:
            user, _, password = base64.b64decode(value, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return "", ""
        return user, password
    return query.get("user", ""), query.get("password", "")


def content_type(output_format: str) -> str:
    """The media type of a result, as ClickHouse names it."""
    if output_format.startswith("JSON"):
        return "application/json; charset=UTF-8"
    if output_format.startswith("CSV"):
        return "text/csv; charset=UTF-8; header=absent"
    if output_format.startswith(("TabSeparated", "TSV")):
        return "text/tab-separated-values; charset=UTF-8"
    if output_format in {"Native", "MsgPack", "RowBinary", "Parquet", "Arrow", "ArrowStream", "ORC"}:
        return "application/octet-stream"
    return "text/plain; charset=UTF-8"
