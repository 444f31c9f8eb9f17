"""The JSON Schema of ``poise.yaml`` for editors, built from the tables that the reader uses.

It is as strict as JSON Schema can be; what only the reader can say (ascending steps, names that exist,
keys that contradict one another) is not in it.
"""

from __future__ import annotations

from typing import Final, assert_never

from poise.spec.durations import DURATION_PATTERN, SIZE_PATTERN
from poise.spec.kinds import KINDS, KindTable
from poise.spec.shape import (
    Anything,
    Choice,
    Duration,
    Flag,
    Integer,
    ListOf,
    MapOf,
    Number,
    Ratio,
    Record,
    Shape,
    Short,
    Size,
    Text,
)

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
PERCENT_PATTERN: Final = r"^-?[0-9]{1,6}(\.[0-9]{1,9})? ?%$"

Schema = dict[str, object]


def json_schema() -> Schema:
    """The schema of one document of ``poise.yaml`` (JSON Schema 2020-12)."""
    return {
        "$schema": DIALECT,
        "title": "poise.yaml",
        "type": "object",
        "oneOf": [_kind(table) for table in KINDS.values()],
    }


def _kind(table: KindTable) -> Schema:
    return {
        "title": table.kind,
        "description": table.about,
        "type": "object",
        "properties": {
            "apiVersion": {"const": table.api_version},
            "kind": {"const": table.kind},
            "metadata": schema_of(table.metadata),
            "spec": schema_of(table.spec),
        },
        "required": ["apiVersion", "kind", "metadata", "spec"],
        "additionalProperties": False,
    }


def schema_of(shape: Shape) -> Schema:
    """The schema of one shape."""
    match shape:
        case Text(pattern=pattern, max_chars=max_chars, any_scalar=any_scalar):
            kinds: object = ["string", "number", "boolean", "null"] if any_scalar else "string"
            anchored: Schema = {"pattern": f"^(?:{pattern})$"} if pattern else {}
            return {"type": kinds, "maxLength": max_chars, **anchored}
        case Integer(low=low, high=high):
            return {"type": "integer", "minimum": low, "maximum": high}
        case Number() | Ratio():
            return _number(shape)
        case Duration():
            return {"type": "string", "pattern": DURATION_PATTERN}
        case Size():
            return {"type": "string", "pattern": SIZE_PATTERN}
        case Flag(only=only):
            return {"type": "boolean"} if only is None else {"const": only}
        case Choice(words=words):
            return {"enum": [str(word) for word in words]}
        case ListOf():
            return _list(shape)
        case MapOf(name=name, value=value, high=high):
            names, values = schema_of(name), schema_of(value)
            return {
                "type": "object",
                "propertyNames": names,
                "additionalProperties": values,
                "maxProperties": high,
            }
        case Record():
            return _record(shape)
        case Short(scalar=scalar, record=record):
            return {"anyOf": [schema_of(scalar), schema_of(record)]}
        case Anything():
            return {}
        case _:
            assert_never(shape)


def _number(shape: Number | Ratio) -> Schema:
    low, high = ("exclusiveMinimum", "exclusiveMaximum") if shape.open_ends else ("minimum", "maximum")
    number: Schema = {"type": "number", low: shape.low, high: shape.high}
    if isinstance(shape, Number):
        return number
    return {"anyOf": [number, {"type": "string", "pattern": PERCENT_PATTERN}]}


def _list(shape: ListOf) -> Schema:
    item = schema_of(shape.item)
    unique: Schema = {"uniqueItems": True} if shape.unique or shape.ascending else {}
    many: Schema = {"type": "array", "items": item, "minItems": shape.low, "maxItems": shape.high, **unique}
    return {"anyOf": [item, many]} if shape.alone else many


def _record(shape: Record) -> Schema:
    required = [field.key for field in shape.fields if field.required and not field.unless]
    either = [
        [{"required": [key]} for key in (field.key, field.unless)] for field in shape.fields if field.unless
    ]
    return {
        "type": "object",
        "properties": {
            field.key: {"description": field.about, **schema_of(field.shape)} for field in shape.fields
        },
        "additionalProperties": False,
        **({"required": required} if required else {}),
        **({"anyOf": either[0]} if either else {}),
    }
