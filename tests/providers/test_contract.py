"""What all providers stand on: keys, forms, fields of any type, and the pace at which hostile bodies are read."""

import time
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.control import FieldMapping
from schemas.wire.severity import DEFAULT_SEVERITY, Severity
from streams.providers import PROVIDERS, QUERY, BadBody, Context, NoAlert
from streams.providers._contract import joined_key
from streams.providers._fields import Fields, labels_of, link, read, read_json, text
from streams.providers._forms import form

MEGABYTE = 1_048_576
URLENCODED = "application/x-www-form-urlencoded; charset=utf-8"
MULTIPART = 'multipart/form-data; boundary="-- 7f"'


def context(**headers: str) -> Context:
    """A context with these headers; underscores stand for hyphens."""
    return Context(bytes(16), {name.replace("_", "-"): value for name, value in headers.items()}, FieldMapping())


@given(st.lists(st.tuples(st.lists(st.text("ab|\\", max_size=4), min_size=1, max_size=3)), min_size=2, max_size=2))
def test_no_two_tuples_of_parts_share_a_key(pair: list[tuple[list[str]]]) -> None:
    """Bars and backslashes inside parts never make one tuple look like another."""
    (first,), (second,) = pair
    assert (joined_key(*first) == joined_key(*second)) == (first == second)


def test_long_keys_are_hashed_and_never_empty() -> None:
    """255 characters stay readable, more become 32 hexadecimal digits, no part at all is a key too."""
    assert joined_key("a" * 255) == "a" * 255
    assert len(joined_key("a" * 256)) == len(joined_key("")) == 32
    assert joined_key("a" * 300, "b") != joined_key("a" * 300, "c")


@pytest.mark.parametrize(
    "variable",
    [
        "$ALERT_ID",
        "$SERVICEDESC$",
        "{{ x }}",
        "{{{context.alerts}}}",
        "${latestEvent.node.name}",
        "{ProblemTitle}",
        "{HOST.NAME}",
        "{Tags[env]}",
        "*UNKNOWN*",
        "null",
        " $LINK ",
    ],
)
def test_template_variables_left_as_they_were_are_missing(variable: str) -> None:
    """Nothing may be called, or joined by, what a tool did not fill in."""
    assert text(variable) == ""
    assert Fields({"a": variable, "b": "x"}).text("a", "b") == "x"


def test_scalars_are_texts_and_the_rest_is_not_there() -> None:
    """991, 991.0 and "991" are one; objects, lists and null are not there; words around a variable stay."""
    assert {text(value) for value in (991, 991.0, "991", " 991 ")} == {"991"}
    assert [text(value) for value in (None, {}, [1], True, 1.5)] == ["", "", "", "true", "1.5"]
    assert text("disk of $HOSTNAME") == "disk of $HOSTNAME"


def test_fields_are_found_by_dotted_paths_or_names_with_dots() -> None:
    """A name that has the dots itself comes first, and what is asked for in vain is named."""
    fields = Fields({"a": {"b": 1}, "c.d": 2, "c": {"d": 3}, "list": [{"x": 1}, 5]})
    assert (fields.text("a.b"), fields.text("c.d"), fields.text("a.x.y")) == ("1", "2", "")
    assert [item.text("x") for item in fields.objects("list")] == ["1"]
    with pytest.raises(BadBody) as caught:
        fields.require("id", "key")
    assert caught.value.path == "id"


@pytest.mark.parametrize(
    ("tags", "labels"),
    [
        ("env:prod, monitor ,service:a:b", {"env": "prod", "monitor": "true", "service": "a:b"}),
        (["severity=high", ["level", "error"], 5, None, ["a"]], {"severity": "high", "level": "error", "5": "true"}),
        ({"host": "a", "n": 1, "no": None, "deep": {}}, {"host": "a", "n": "1"}),
        (None, {}),
        (7, {}),
    ],
)
def test_tags_of_any_form_become_labels(tags: object, labels: dict[str, str]) -> None:
    """Comma-joined text, lists of pairs or words, and objects; what is none of these gives none."""
    assert labels_of(tags) == labels


def test_only_links_for_browsers_are_links() -> None:
    """`javascript:` and the like never become something to click."""
    assert link("https://example.com/", "x") == [{"href": "https://example.com/", "text": "x"}]
    assert link("javascript:alert(1)", "x") == link("", "x") == []


def test_raw_line_breaks_in_strings_are_read() -> None:
    """Templates put texts of several lines between quotation marks; the text kept is JSON again."""
    value, kept = read_json(b'{"a": "x\ny\t\\"z",\n "b": 1}')
    assert value == {"a": 'x\ny\t"z', "b": 1}
    assert read_json(kept)[0] == value
    for body in (b'{"a": "x\n', b'{"a"\n', b"\n"):
        with pytest.raises(BadBody):
            read_json(body)


def test_query_and_content_type_come_from_the_listed_headers() -> None:
    """They travel with the body, so the stage knows what the gateway knew."""
    known = Context(b"", {QUERY: "a=1&b=%C3%A4&a=2", "content-type": "text/plain"}, FieldMapping())
    assert (known.query, known.content_type) == ({"a": "2", "b": "ä"}, "text/plain")
    assert Context(b"", {QUERY: "a=%ff"}, FieldMapping()).query == {"a": "ÿ"}
    with pytest.raises(BadBody, match="query"):
        _ = Context(b"", {QUERY: "a=1&" * 101}, FieldMapping()).query


def test_an_unknown_severity_is_the_integrations_default() -> None:
    """The word decides where it is known, else the mapping."""
    mild = Context(b"", {}, FieldMapping(default_severity="info"))
    assert (mild.severity("Fatal"), mild.severity("purple")) == (Severity.CRITICAL, Severity.INFO)
    assert context().severity("") is DEFAULT_SEVERITY


def test_forms_are_fields_and_json_is_json_under_any_other_type() -> None:
    """URL-encoded and multipart bodies give texts; JSON in text/plain is read as JSON."""
    assert form(b"a=1&b=%C3%A4+x&c=", URLENCODED) == {"a": "1", "b": "ä x", "c": ""}
    parts = b'---- 7f\r\nContent-Disposition: form-data; name="a\\"b"; filename="x"\r\nContent-Type: text/plain\r\n\r\n'
    parts += b'1\r\n2\r\n---- 7f\r\nContent-Disposition: form-data; name=data\r\n\r\n{"x": 1}\r\n---- 7f--\r\n'
    assert form(parts, MULTIPART) == {'a\\"b': "1\r\n2", "data": '{"x": 1}'}
    assert form(b"{}", "application/json") is None
    fields, details = read(b'{"a": 1}', context(content_type="text/plain; charset=utf-8"))
    assert (fields.values, details) == ({"a": 1}, b'{"a": 1}')
    fields, details = read(b"a=1", context(content_type=URLENCODED))
    assert (fields.values, details) == ({"a": "1"}, b'{"a":"1"}')


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"a=&" * 101, URLENCODED),
        (b"a" * (MEGABYTE + 1), URLENCODED),
        (b"", "multipart/form-data"),
        (b"", MULTIPART),
        (b"---- 7f\r\n\r\nx\r\n---- 7f--", MULTIPART),
        (b'---- 7f\r\nContent-Disposition: form-data; name="a"\r\n\r\nx', MULTIPART),
        (b'---- 7f\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n' * 101 + b"---- 7f--", MULTIPART),
        (b"x", f"multipart/form-data; boundary={'b' * 71}"),
    ],
)
def test_unusable_forms_are_refused(body: bytes, content_type: str) -> None:
    """Cut, nameless, without a boundary, too large or with too many fields: BadBody."""
    with pytest.raises(BadBody):
        form(body, content_type)


@given(st.binary(max_size=200), st.text(max_size=80))
def test_no_form_raises_anything_else(body: bytes, parameters: str) -> None:
    """Whatever stands in the body or behind the content type gives fields, none for what is no form, or a BadBody."""
    for kind in ("multipart/form-data", "application/x-www-form-urlencoded"):
        for content_type in (f"{kind}; {parameters}", f"{kind}; boundary={parameters}"):
            try:
                fields = form(body, content_type)
            except BadBody:
                fields = {}
            assert fields is not None or b"=" not in body or body.lstrip()[:1] in (b"{", b"[")


SLOW = {
    "escapes": b'"' + b'\\"' * 200_000,
    "letters": b'"' + b"a" * 500_000 + b'1"',
    "prefixes": b'"' + b"[P1]" * 100_000 + b'"',
    "spaces": b'"' + b" " * 500_000 + b'x"',
    "braces": b'"' + b"{{" * 200_000 + b'"',
    "tags": b'"' + b"a:b," * 100_000 + b'"',
    "strings": b'"\n' + b'",""' * 100_000,
}


@pytest.mark.parametrize("name", SLOW)
@pytest.mark.parametrize("slug", sorted(PROVIDERS))
def test_large_values_take_no_more_than_linear_time(slug: str, name: str) -> None:
    """A large request made to be slow, in the fields that are looked at most, takes less than 2 s, not minutes."""
    provider = PROVIDERS[slug]
    for field in (b"title", b"type", b"tags", b"id", b"alert"):
        body = b'{\n"specversion":"1.0","id":"1","source":"a","type":"b","%b":%b}' % (field, SLOW[name])
        started = time.process_time()
        with suppress(BadBody, NoAlert):
            provider.parse(provider.decode(body, context()), context())
        assert time.process_time() - started < 2
