"""The schemas in the OpenAPI document of the records that a request may write."""

from collections.abc import Mapping
from typing import Any

from fastapi.openapi.constants import REF_PREFIX, REF_TEMPLATE

from schemas.control import Destination
from streams.control.records import PLAIN_KINDS

#: Fields that a request does not write: the id is in the path, and the tenant is the caller's.
_ELSEWHERE = ("id", "tenant")
#: Not a destination: its fields depend on its channel, and `/channels` lists them.
_MODELS = [model for model in PLAIN_KINDS.values() if model is not Destination]

#: The body of the request that writes a record. The kind in the path decides which of the schemas holds.
BODY: Mapping[str, Any] = {
    "anyOf": [*({"$ref": f"{REF_PREFIX}{model.__name__}"} for model in _MODELS), {"type": "object"}]
}


def record_schemas() -> dict[str, Any]:
    """A schema for each kind, and those of the parts that records have, by name."""
    found: dict[str, Any] = {}
    for model in _MODELS:
        schema = model.model_json_schema(ref_template=REF_TEMPLATE)
        found |= schema.pop("$defs", {})
        properties, required = schema["properties"], schema.get("required", [])
        schema["properties"] = {name: each for name, each in properties.items() if name not in _ELSEWHERE}
        schema["required"] = [name for name in required if name not in _ELSEWHERE]
        found[model.__name__] = schema
    return found
