"""Methods of the clients, one for each operation of an OpenAPI 3.1 document."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from textwrap import indent
from typing import Any, NamedTuple

from streams.client.schemas import Schema, docstring, python_name, type_of

_CHANGING = frozenset({"POST", "PUT", "PATCH", "DELETE"})
#: Headers that carry a version.
_TAGS = frozenset({"if-match", "if-none-match"})


@dataclass(frozen=True, slots=True)
class Style:
    """How a client's methods are written: those that return, and those that are awaited."""

    name: str
    base: str
    define: str
    wait: str
    each: str
    about: str


STYLES = (
    Style("Client", "Transport", "def", "", "Iterator", "Calls of the API; each method waits for the answer."),
    Style("AsyncClient", "AsyncTransport", "async def", "await ", "AsyncIterator", "Calls of the API, to be awaited."),
)


class Argument(NamedTuple):
    """An argument of a method: its name there and in the request, where it goes, its type, and what it is for."""

    python: str
    name: str
    place: str
    kind: str
    required: bool
    about: str


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation: its arguments, the media type of its body, the type of its answer (`event-stream` for events)."""

    name: str
    method: str
    path: str
    about: str
    arguments: tuple[Argument, ...]
    media: str
    answer: str
    item: str

    def lines(self, style: Style) -> Iterator[str]:
        """Its method; and, if its answer has pages, one that goes through all of them."""
        if self.answer == "event-stream":
            yield f"    def {self.name}({self._signature()}) -> {style.each}[Event]:"
            yield self._docstring()
            yield f"        return self._events({self._call()})"
            return
        yield f"    {style.define} {self.name}({self._signature()}) -> {self.answer}:"
        yield self._docstring()
        asked = f"{style.wait}self._answer({_runtime(self.answer)}, {self._call()})"
        yield f"        {asked if self.answer == 'None' else f'return {asked}'}"
        if self.item:
            yield from self._pages(style)

    def _pages(self, style: Style) -> Iterator[str]:
        yield ""
        name = f"all_{self.name.partition('_')[2]}"
        yield f"    {style.define} {name}({self._signature('after')}) -> {style.each}[{self.item}]:"
        yield f'        """Each item of all pages of `{self.name}`; a page is asked for when it is needed."""'
        passed = [each.python for each in self.arguments if each.place == "path"]
        passed += [f"{each.python}={each.python}" for each in self.arguments if each.place == "query"]
        yield "        after: str | None = None"
        yield "        while True:"
        yield f"            page = {style.wait}self.{self.name}({', '.join(passed)})"
        yield "            for item in page.items:"
        yield "                yield item"
        yield "            after = page.next"
        yield "            if after is None:"
        yield "                return"

    def _signature(self, without: str = "") -> str:
        arguments = [each for each in self.arguments if each.name != without]
        placed = [f"{each.python}: {each.kind}" for each in arguments if each.place in ("path", "body")]
        named = [
            f"{each.python}: {each.kind}" if each.required else f"{each.python}: {_optional(each.kind)} = None"
            for each in arguments
            if each.place in ("query", "header")
        ]
        return ", ".join(["self", *placed, *(["*", *named] if named else [])])

    def _docstring(self) -> str:
        told = [f"{each.python}: {each.about}" for each in self.arguments if each.about]
        return indent(docstring(self.about or self.name, told), "    ")

    def _call(self) -> str:
        path = self.path
        for each in self.arguments:
            if each.place == "path":
                path = path.replace(f"{{{each.name}}}", f"{{part({each.python})}}")
        parts = [f'"{self.method}"', f'f"{path}"' if "{" in path else f'"{path}"']
        for place, title in (("query", "query"), ("header", "headers")):
            values = [f'"{each.name}": {_sent(each)}' for each in self.arguments if each.place == place]
            if values:
                parts.append(f"{title}={{{', '.join(values)}}}")
        if self.media:
            parts.append(f'body=body, media="{self.media}"')
        return f"Call({', '.join(parts)})"


def operations_of(document: Mapping[str, Any]) -> list[Operation]:
    """The operations of a document, in its order. Raises ValueError for one that has no type."""
    return [
        _operation(document, path, method.upper(), each)
        for path, methods in document["paths"].items()
        for method, each in methods.items()
    ]


def _operation(document: Mapping[str, Any], path: str, method: str, operation: Mapping[str, Any]) -> Operation:
    arguments = [_argument(each) for each in operation.get("parameters", [])]
    media = ""
    if "requestBody" in operation:
        ((media, content),) = operation["requestBody"]["content"].items()
        arguments.append(Argument("body", "body", "body", _type(content["schema"]), True, ""))
    if method in _CHANGING:
        about = "A request that is sent again with the same key is done once."
        arguments.append(Argument("idempotency_key", "Idempotency-Key", "header", "str", False, about))
    answer, item = _answer(document, operation)
    paged = any(each.name == "after" for each in arguments)
    name, about = operation["operationId"], operation.get("description", "")
    return Operation(name, method, path, about, tuple(arguments), media, answer, item if paged else "")


def _argument(parameter: Mapping[str, Any]) -> Argument:
    name, kind, about = parameter["name"], _type(parameter["schema"]), parameter.get("description", "")
    if name in _TAGS:
        about = "A version, or `*` for any."
    if parameter["in"] == "query" and kind.startswith("list["):
        kind = kind.replace("list", "Sequence", 1)
    return Argument(python_name(name), name, parameter["in"], kind, parameter["required"], about)


def _answer(document: Mapping[str, Any], operation: Mapping[str, Any]) -> tuple[str, str]:
    """The type of the answer, and of its items if it is a page."""
    contents = [each.get("content") for status, each in operation["responses"].items() if status.startswith("2")]
    if not contents:
        return "str", ""  # the address that a browser is sent to
    if contents[0] is None:
        return "None", ""
    ((media, content),) = contents[0].items()
    if media != "application/json":
        return ("event-stream" if media == "text/event-stream" else "str"), ""
    answer = _type(content["schema"])
    fields = document["components"]["schemas"][answer.removeprefix("models.")]["properties"]
    return answer, _type(fields["items"]["items"]) if "next" in fields else ""


def _type(schema: Schema) -> str:
    return type_of(schema, "models.")


def _optional(kind: str) -> str:
    return kind if kind.endswith("| None") else f"{kind} | None"


def _sent(argument: Argument) -> str:
    return f"tag({argument.python})" if argument.name in _TAGS else argument.python


def _runtime(kind: str) -> str:
    return "type(None)" if kind == "None" else kind
