"""The API keeps to its own OpenAPI 3.1 document, whatever is sent."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import anyio
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

CHECKS = [
    not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance,
]  # fmt: skip
BOUNDED = settings(
    max_examples=30, deadline=None, database=None, derandomize=True,
    phases=[Phase.explicit, Phase.generate], suppress_health_check=list(HealthCheck),
)  # fmt: skip
REAL = {"project": "shop", "environment": "production", "service": "web", "n": 1}
ENDLESS = ("/stream", "/api/v1/stop")


@pytest.fixture
def schema(house: Any) -> Iterator[Any]:
    app = house.app()
    bearer = {"authorization": f"Bearer {house.credentials['owner']}"}
    yield schemathesis.openapi.from_asgi("/api/v1/openapi.json", app, headers=bearer)


def test_the_document_is_openapi_3_1_and_names_who_may_call(schema: Any) -> None:
    raw = schema.raw_schema
    assert raw["openapi"].startswith("3.1")
    operations = [
        operation
        for item in raw["paths"].values()
        for method, operation in item.items()
        if method in ("get", "post", "put", "delete")
    ]
    assert len(operations) > 30
    assert all(operation["x-permission"] for operation in operations)
    assert all("default" in operation["responses"] for operation in operations)
    assert not [path for path in raw["paths"] if path.startswith(("/git", "/login", "/services"))]


def test_no_call_breaks_the_server_or_the_document(house: Any, schema: Any) -> None:
    anyio.run(house.parts.loop.lead)
    bearer = {"authorization": f"Bearer {house.credentials['owner']}"}

    def keeps_its_word(case: Any) -> None:
        case.validate_response(case.call(headers=bearer), checks=CHECKS)

    failures = []
    for found in schema.get_all_operations():
        operation = found.ok()
        if not operation.path.endswith(ENDLESS):
            try:
                BOUNDED(given(case=cases(operation))(keeps_its_word))()
            except Exception as error:
                failures.append(f"{operation.label}: {told(error)}")
    assert not failures, "\n".join(failures)


def cases(operation: Any) -> Any:
    """What the document allows, the same on things that are there, and what it forbids."""
    names = {found for found in REAL if f"{{{found}}}" in operation.path}
    real = {"path_parameters": {name: REAL[name] for name in names}} if names else {}
    return (
        operation.as_strategy()
        | operation.as_strategy(**real)
        | operation.as_strategy(GenerationMode.NEGATIVE, **real)
    )


def told(error: Exception) -> str:
    if isinstance(error, ExceptionGroup):
        return "; ".join(told(one) for one in error.exceptions)
    return " ".join(f"{type(error).__name__} {error}".split())[:600]
