"""What the OpenAPI document says of the records of each kind: the schemas of what a request writes."""

from collections.abc import Mapping
from typing import Any

from schemas.control import Destination
from streams.control.records import PLAIN_KINDS

_REF = "#/components/schemas/"
#: The path and the caller say these.
_ELSEWHERE = ("id", "tenant")
#: A destination also has what its channel declares, which `/channels` tells.
_KINDS = {kind: model for kind, model in PLAIN_KINDS.items() if model is not Destination}

#: Of the request that writes a record of any kind. Which fields it may have follows from the kind in the path.
BODY: Mapping[str, Any] = {
    "anyOf": [*({"$ref": f"{_REF}{model.__name__}"} for model in _KINDS.values()), {"type": "object"}]
}


def record_schemas() -> dict[str, Any]:
    """A schema for each kind, and those of the parts that records have, by name."""
    found: dict[str, Any] = {}
    for model in _KINDS.values():
        schema = model.model_json_schema(ref_template=f"{_REF}{{model}}")
        found |= schema.pop("$defs", {})
        properties, required = schema["properties"], schema.get("required", [])
        schema["properties"] = {name: each for name, each in properties.items() if name not in _ELSEWHERE}
        schema["required"] = [name for name in required if name not in _ELSEWHERE]
        found[model.__name__] = schema
    return found
