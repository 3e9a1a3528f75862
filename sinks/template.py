"""A user's own Jinja2 template, so restricted that it can neither reach anything nor run for long.

It sees plain data only: no attribute of any object, no call but `range`, and the filters below. What could make a text
or a number grow without limit (operators, assignments, macros) is not in the language; loops have a budget.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any, NoReturn
from urllib.parse import quote

import orjson
from jinja2 import StrictUndefined, Template, TemplateError, Undefined, nodes, pass_context
from jinja2.runtime import Context, LoopContext
from jinja2.sandbox import ImmutableSandboxedEnvironment

from sinks.text import cut

#: Code points of a template. Bytes of what it renders, and code points of what a filter makes. Steps: an item of a
#: loop, a filter, and every 1,000 characters that a filter makes.
MAX_TEMPLATE = 16_384
MAX_OUTPUT = 262_144
MAX_STEPS = 20_000
_MAX_RANGE = 1_000
#: The context's variable that counts steps; a template cannot name it.
_BUDGET = " budget"
_BOUNDED = "bounded items"
_ALLOWED = (
    nodes.Template,
    nodes.Output,
    nodes.TemplateData,
    nodes.Name,
    nodes.Const,
    nodes.List,
    nodes.Tuple,
    nodes.Getattr,
    nodes.Getitem,
    nodes.Filter,
    nodes.Test,
    nodes.If,
    nodes.For,
    nodes.CondExpr,
    nodes.Compare,
    nodes.Operand,
    nodes.And,
    nodes.Or,
    nodes.Not,
    nodes.Call,
)
_LOOP = ("first", "last", "index", "index0", "length")


class BadTemplateError(ValueError):
    """The template is not valid, or fails; the text says why in a few words, and quotes no data."""


class _Budget:
    """Steps that a template may still take."""

    def __init__(self) -> None:
        self._left = MAX_STEPS

    def spend(self, steps: int) -> None:
        self._left -= steps
        if self._left < 0:
            raise BadTemplateError(f"takes more than {MAX_STEPS} steps")

    def bounded(self, values: Iterable[Any]) -> Iterator[Any]:
        for value in values:
            self.spend(1)
            yield value


class _Environment(ImmutableSandboxedEnvironment):
    """Reads items of mappings and lists, and nothing of any other object but the position in a loop."""

    def getitem(self, obj: Any, argument: Any) -> Any:
        if isinstance(obj, LoopContext) and argument in _LOOP:
            return getattr(obj, argument)
        if isinstance(obj, Mapping | list | tuple | str):
            try:
                return obj[argument]
            except (LookupError, TypeError):
                pass
        return self.undefined(obj=obj, name=argument)

    def getattr(self, obj: Any, attribute: str) -> Any:
        return self.getitem(obj, attribute)


class Labels(dict[str, str]):
    """Labels, of which any name can be asked for: one that is not there is empty."""

    def __missing__(self, name: object) -> str:
        return ""


def fill(source: str, variables: Mapping[str, Any]) -> bytes:
    """What the template makes of the variables, in UTF-8. Raises BadTemplateError."""
    budget = _Budget()
    pieces: list[bytes] = []
    size = 0
    try:
        for piece in _compiled(source).generate({**variables, _BUDGET: budget}):
            pieces.append(piece.encode("utf-8", "replace"))
            size += len(pieces[-1])
            if size > MAX_OUTPUT:
                raise BadTemplateError(f"makes more than {MAX_OUTPUT} bytes")
    except TemplateError as error:
        raise BadTemplateError(str(error.message)) from None
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise error if isinstance(error, BadTemplateError) else BadTemplateError(f"{type(error).__name__}") from None
    return b"".join(pieces)


@lru_cache(maxsize=256)
def _compiled(source: str) -> Template:
    try:
        tree = ENVIRONMENT.parse(source)
        for node in list(tree.find_all(nodes.Node)):
            _check(node)
        for loop in list(tree.find_all(nodes.For)):
            loop.iter = nodes.Filter(loop.iter, _BOUNDED, [], [], None, None, lineno=loop.lineno)
            loop.iter.set_environment(ENVIRONMENT)
        code = ENVIRONMENT.compile(tree)
    except TemplateError as error:
        line = getattr(error, "lineno", None)
        raise BadTemplateError(f"line {line}: {error.message}" if line else str(error.message)) from None
    except (RecursionError, MemoryError, SyntaxError):
        raise BadTemplateError("is nested too deeply") from None
    return ENVIRONMENT.template_class.from_code(ENVIRONMENT, code, {"range": _range})


def _check(node: nodes.Node) -> None:
    """Refuse what is not in the language."""
    if not isinstance(node, _ALLOWED):
        _refuse(node, f"{type(node).__name__} is not allowed")
    if isinstance(node, nodes.Call) and not (isinstance(node.node, nodes.Name) and node.node.name == "range"):
        _refuse(node, "only range can be called")
    if isinstance(node, nodes.For) and node.recursive:
        _refuse(node, "loops are not recursive")
    if isinstance(node, nodes.Name) and node.ctx != "load" and node.name in {"range", "loop"}:
        _refuse(node, f"{node.name} cannot be the name of an item")


def _refuse(node: nodes.Node, reason: str) -> NoReturn:
    raise BadTemplateError(f"line {node.lineno}: {reason}")


def _range(*arguments: int) -> range:
    found = range(*arguments)
    if len(found) > _MAX_RANGE:
        raise BadTemplateError(f"range has more than {_MAX_RANGE} numbers")
    return found


@pass_context
def _bounded(context: Context, values: Iterable[Any]) -> Iterator[Any]:
    budget: _Budget = context[_BUDGET]
    return budget.bounded(values)


def _counted(function: Callable[..., Any]) -> Callable[..., Any]:
    """The filter, which takes steps."""

    @pass_context
    def counted(context: Context, value: Any, *arguments: Any) -> Any:
        made = function(value, *arguments)
        size = len(made) if isinstance(made, str) else 0
        if size > MAX_OUTPUT:
            raise BadTemplateError(f"a filter makes more than {MAX_OUTPUT} characters")
        context[_BUDGET].spend(1 + size // 1_000)
        return made

    return counted


def _tojson(value: Any) -> str:
    return orjson.dumps(_defined(value)).decode()


def _default(value: Any, other: Any = "") -> Any:
    return other if value is None or value == "" or isinstance(value, Undefined) else value


def _items(value: Any) -> list[tuple[Any, Any]]:
    return list(value.items()) if isinstance(value, Mapping) else []


def _length(value: Any) -> int:
    return len(_defined(value))


def _truncate(value: Any, length: int = 255) -> str:
    return cut(_text(value), max(1, length))


def _escape(value: Any) -> str:
    text = _text(value).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return text.replace('"', "&#34;").replace("'", "&#39;")


def _text(value: Any) -> str:
    return str(_defined(value))


def _defined(value: Any) -> Any:
    """The value; raises jinja2's UndefinedError if it is undefined, as printing it would."""
    if isinstance(value, Undefined):
        str(value)
    return value


def _printed(value: Any) -> Any:
    """What is printed of a value: nothing of None, and only texts, numbers and booleans else."""
    if value is None:
        return ""
    if isinstance(value, Mapping | list | tuple):
        raise BadTemplateError("lists and mappings are printed with |tojson")
    if isinstance(value, str | int | float | Undefined):
        return value
    raise BadTemplateError("only data can be printed")


_FILTERS: Mapping[str, Callable[..., Any]] = {
    "tojson": _tojson,
    "default": _default,
    "items": _items,
    "length": _length,
    "truncate": _truncate,
    "upper": lambda value: _text(value).upper(),
    "lower": lambda value: _text(value).lower(),
    "trim": lambda value: _text(value).strip(),
    "escape": _escape,
    "urlencode": lambda value: quote(_text(value).encode("utf-8", "replace"), safe=""),
}


def _environment() -> _Environment:
    environment = _Environment(undefined=StrictUndefined, finalize=_printed, keep_trailing_newline=True)
    environment.globals.clear()
    environment.filters = {name: _counted(function) for name, function in _FILTERS.items()}
    environment.filters[_BOUNDED] = _bounded
    environment.tests = {name: environment.tests[name] for name in ("defined", "undefined", "none", "in")}
    return environment


#: What templates can use.
ENVIRONMENT = _environment()
