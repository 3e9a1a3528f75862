"""Python types and classes of the schemas of an OpenAPI 3.1 document, as msgspec decodes and encodes them."""

from collections.abc import Iterator, Mapping, Sequence
from keyword import iskeyword
from typing import Any

Schema = Mapping[str, Any]

_PLAIN = {"null": "None", "integer": "int", "number": "float", "boolean": "bool", "string": "str"}
_FORMATS = {"date-time": "datetime", "uuid": "UUID"}
_REF = "#/components/schemas/"
#: What the module `transport` has by hand.
BY_HAND = ("Problem", "Wrong")


def python_name(name: str) -> str:
    """The name of an argument or a field: `If-Match` is `if_match`, `from` is `from_`."""
    plain = name.lower().replace("-", "_")
    return f"{plain}_" if iskeyword(plain) else plain


def type_of(schema: Schema, module: str = "") -> str:
    """The type of a schema's values; names of schemas have `module` before them. Raises ValueError if it has none."""
    if "$ref" in schema:
        return f"{module}{schema['$ref'].removeprefix(_REF)}"
    if "anyOf" in schema:
        return " | ".join(dict.fromkeys(type_of(each, module) for each in schema["anyOf"]))
    values = schema.get("enum", [schema["const"]] if "const" in schema else [])
    if values and all(isinstance(value, str) for value in values):
        return f"Literal[{', '.join(map(_quoted, values))}]"
    match schema.get("type"):
        case None if not schema.keys() - {"title", "description"}:
            return "Any"
        case "array":
            return f"list[{type_of(schema['items'], module)}]"
        case "object" if "properties" not in schema:
            inner = schema.get("additionalProperties", True)
            return f"dict[str, {'Any' if inner is True else type_of(inner, module)}]"
        case str(plain) if plain in _PLAIN:
            return _FORMATS.get(schema.get("format", ""), _PLAIN[plain])
    raise ValueError(f"no type for the schema {dict(schema)}")


def references(value: Any, schemas: Mapping[str, Schema]) -> set[str]:
    """The schemas that a part of the document names, directly or through others."""
    found: set[str] = set()
    waiting = [value]
    while waiting:
        match waiting.pop():
            case {"$ref": str(ref)} if (name := ref.removeprefix(_REF)) not in found:
                found.add(name)
                waiting.append(schemas[name])
            case dict(inner):
                waiting.extend(inner.values())
            case list(inner):
                waiting.extend(inner)
    return found


def class_of(name: str, schema: Schema, *, only_sent: bool) -> str:
    """The class of a schema. A field that may be left out is not sent unless it is given, if it is `only_sent`."""
    if "properties" not in schema:
        return f"{name} = {type_of(schema)}\n"
    return "\n".join(
        [
            f"class {name}(msgspec.Struct, kw_only=True, frozen=True):",
            docstring(schema.get("description", name)),
            "",
            *(line for field in schema["properties"].items() for line in _field(schema, *field, only_sent=only_sent)),
            "",
        ]
    )


def _field(owner: Schema, name: str, schema: Schema, *, only_sent: bool) -> Iterator[str]:
    if description := schema.get("description"):
        yield f"    #: {' '.join(description.split())}"
    kind, plain = type_of(schema), python_name(name)
    default: str | None = None
    if name not in owner.get("required", []):
        given = schema.get("default")
        # A document leaves out a default that is null.
        if only_sent or (given is None and "None" not in kind.split(" | ")):
            kind += " | msgspec.UnsetType"
            default = "msgspec.UNSET"
        else:
            default = repr(given)
    arguments = [f"name={_quoted(name)}"] if plain != name else []
    if default is not None:
        # msgspec refuses a default that somebody could change.
        arguments.append(f"default_factory=lambda: {default}" if default[0] in "[{" else f"default={default}")
    assigned = f" = msgspec.field({', '.join(arguments)})" if arguments else ""
    yield f"    {plain}: {kind}{assigned}"


def docstring(text: str, more: Sequence[str] = ()) -> str:
    """A docstring of a method or class of a module, with further lines."""
    plain = [" ".join(each.split()).replace("\\", "\\\\").replace('"""', "'''") for each in (text, *more)]
    first = f'    """{plain[0]}'
    if more:
        return "\n".join([first, "", *(f"    {each}" for each in plain[1:]), '    """'])
    return f'{first} """' if first.endswith('"') else f'{first}"""'


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
