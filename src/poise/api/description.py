"""This API as OpenAPI 3.1: what the framework knows of each route, and what it cannot know.

Added here: who may call it, the one shape of every error, and the headers that our own code reads.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
from litestar import Litestar
from litestar._openapi.schema_generation import SchemaCreator
from litestar.openapi.spec import Schema
from litestar.plugins import OpenAPISchemaPlugin
from litestar.plugins.core._msgspec import kwarg_definition_from_field
from litestar.routes import HTTPRoute
from litestar.typing import FieldDefinition
from msgspec import Struct

from poise.api.access import PUBLIC

DESCRIBED: Final = ("/api/v1/", "/healthz", "/readyz")
_TEXT: Final = {"type": "string"}
_PROBLEM: Final = {
    "type": "object",
    "title": "Problem",
    "description": "An error: a stable code, what happened, where, why, and what mends it.",
    "required": ["code", "what", "where", "why", "mend", "exit_code", "problems"],
    "properties": {
        "code": {"type": "string", "pattern": "^POISE-"},
        "what": _TEXT,
        "where": _TEXT,
        "why": _TEXT,
        "mend": _TEXT,
        "exit_code": {"type": "integer", "minimum": 0},
        "problems": {"type": "array", "items": {"$ref": "#/components/schemas/Problem"}},
    },
}
_REFUSED: Final = {
    "description": "Refused, with the reason and what mends it.",
    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
}
_ONCE: Final = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": True,
    "description": "A fresh UUID for each create, and the same one on its retries within 24 hours.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 200, "pattern": "^[!-~]+$"},
}


class Structs(OpenAPISchemaPlugin):
    """Our records as schemas. The framework's own reading hashes defaults, and some of ours hold dicts."""

    def is_plugin_supported_field(self, field_definition: FieldDefinition) -> bool:
        """Every record."""
        return not field_definition.is_union and field_definition.is_subclass_of(Struct)

    def to_openapi_schema(self, field_definition: FieldDefinition, schema_creator: SchemaCreator) -> Schema:
        """Fields with their bounds; what has a default may be left out."""
        hints = field_definition.get_type_hints(include_extras=True, resolve_generics=True)
        record = msgspec.inspect.type_info(field_definition.type_)
        assert isinstance(record, msgspec.inspect.StructType)
        properties = {}
        for field in record.fields:
            bounds, _ = kwarg_definition_from_field(field)
            how = {"kwarg_definition": bounds} if bounds else {}
            properties[field.encode_name] = FieldDefinition.from_annotation(
                annotation=hints[field.name], name=field.encode_name, **how
            )
        required = sorted(field.encode_name for field in record.fields if field.required)
        return schema_creator.create_component_schema(
            field_definition, required=required, property_fields=properties
        )


def describe(app: Litestar) -> dict[str, Any]:
    """The document. Pages, static files and git are not part of the API."""
    document: dict[str, Any] = app.openapi_schema.to_schema()
    document["paths"] = {path: item for path, item in document["paths"].items() if path.startswith(DESCRIBED)}
    components = document.setdefault("components", {})
    components.setdefault("schemas", {})["Problem"] = _PROBLEM
    components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    for route in app.routes:
        if isinstance(route, HTTPRoute) and route.path_format in document["paths"]:
            for method, (handler, _) in route.route_handler_map.items():
                _complete(document["paths"][route.path_format].get(method.lower()), handler.opt)
    return document


def _complete(operation: dict[str, Any] | None, opt: dict[str, Any]) -> None:
    if operation is None:
        return
    permission = opt.get("permission")
    operation["security"] = [] if permission == PUBLIC else [{"token": []}]
    operation["x-permission"] = permission
    operation["responses"].pop("400", None)  # the framework's own shape, which we do not answer
    operation["responses"]["default"] = _REFUSED
    if opt.get("once"):
        operation.setdefault("parameters", []).append(_ONCE)
