"""Requests of traces and logs as protobuf, or as OTLP's JSON, in which ids are hex rather than base64."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from typing import Any, Final, TypeVar

import msgspec
from google.protobuf import json_format  # type: ignore[import-untyped]
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from poise.model.errors import Invalid

T = TypeVar("T")
DEPTH_MAX: Final = 50
_IDS: Final = ("traceId", "spanId", "parentSpanId", "trace_id", "span_id", "parent_span_id")
_LISTS: Final = (
    "resourceSpans", "scopeSpans", "spans", "links", "resourceLogs", "scopeLogs", "logRecords",
    "resource_spans", "scope_spans", "resource_logs", "scope_logs", "log_records",
)  # fmt: skip
_NO_ID: Final = b64encode(b"\xff").decode()  # one byte: no id has that length


def parsed(made: T, body: bytes, *, json: bool) -> T:
    """``made``, an empty request, filled. Raises ``Invalid`` when the body is none."""
    message: Any = made
    try:
        if json:
            plain = msgspec.json.decode(body)
            if not isinstance(plain, dict):
                raise ValueError("it is no object")
            for one in _objects(plain):
                _with_base64(one)
            json_format.ParseDict(plain, message, ignore_unknown_fields=True, max_recursion_depth=DEPTH_MAX)
        else:
            message.ParseFromString(body)
    except (
        DecodeError, json_format.ParseError, msgspec.DecodeError, UnicodeError, ValueError, TypeError,
        RecursionError, AttributeError,
    ) as error:  # fmt: skip
        raise Invalid(
            "POISE-U111", f"this is no {type(made).__name__}", where="otlp",
            why=f"{str(error).strip().rstrip('.')[:200]}.",
            mend="Send OTLP/HTTP with content-type application/x-protobuf or application/json.",
        ) from None  # fmt: skip
    return made


def _objects(plain: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The objects that may hold ids: never those within attributes, whose keys are their sender's."""
    yield plain
    for name in _LISTS:
        for one in plain.get(name) or ():
            if isinstance(one, dict):
                yield from _objects(one)


def _with_base64(one: dict[str, Any]) -> None:
    for name in _IDS:
        text = one.get(name)
        if isinstance(text, str) and text:
            try:
                one[name] = b64encode(bytes.fromhex(text)).decode()
            except ValueError:
                one[name] = _NO_ID
