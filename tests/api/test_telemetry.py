"""Traces and log records as they are read: lists with cursors, one trace, and words for what is not there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from litestar import Litestar
from litestar.testing import TestClient

Client = TestClient[Litestar]
Headers = Callable[..., dict[str, str]]
Get = Callable[..., Any]


@pytest.fixture
def get(house: Any, client: Client, headers: Headers) -> Get:
    """Asks as a viewer of a house that was sent something; JSON."""
    house.send_telemetry(client)

    def ask(path: str, status: int = 200, **query: Any) -> Any:
        answer = client.get(path, params=query, headers=headers("viewer"))
        assert answer.status_code == status, answer.text
        return answer.json()

    return ask


def test_traces_are_listed_and_narrowed(house: Any, get: Get) -> None:
    """By service, length and errors, page after page."""
    both = get("/api/v1/traces")["items"]
    assert [one["trace_id"][-3:] for one in both] == ["001", "002", "abc"]
    assert get("/api/v1/traces", service="stock")["items"] == both[2:]
    assert get("/api/v1/traces", errors=True)["items"] == both[2:]
    assert get("/api/v1/traces", min_duration="500ms")["items"] == both[2:]
    assert get("/api/v1/traces", since="2020-01-01T00:00:00Z", until="1d")["items"] == []
    first = get("/api/v1/traces", limit=2)
    rest = get("/api/v1/traces", limit=2, cursor=first["next"])
    assert (first["items"] + rest["items"], rest["next"]) == (both, None)


def test_a_trace_is_in_reading_order_and_says_what_took_its_time(house: Any, get: Get) -> None:
    """In words first; ids in capitals are ids all the same."""
    found = get(f"/api/v1/traces/{house.trace_id.upper()}")
    assert [(one["name"], one["depth"], one["status"]) for one in found["spans"]] == [
        ("GET /cart", 0, "unset"), (house.evil, 1, "error"),
    ]  # fmt: skip
    assert found["sentence"].startswith("GET /cart of shop took 1 s, 1 of its 2 spans failed")
    assert found["start_at"] == "2026-03-01T11:59:59Z"
    assert (found["duration_ms"], found["spans"][1]["duration_ms"]) == (1000.0, 500.0)


def test_log_records_are_searched(house: Any, get: Get) -> None:
    """By severity, text, trace and template."""
    both = get("/api/v1/records")["items"]
    assert [one["severity"] for one in both] == ["error", "info"]
    assert get("/api/v1/records", severity="warn")["items"] == both[:1]
    assert get("/api/v1/records", text="cart of")["items"] == both[1:]
    assert get("/api/v1/records", trace=house.trace_id)["items"] == both[:1]
    assert get("/api/v1/records", template=both[1]["template_id"])["items"] == both[1:]
    templates = get("/api/v1/record-templates", service="shop")["items"]
    assert [(one["template"], one["records"], one["errors"]) for one in templates] == [
        ("cart of <num>", 1, 0)
    ]
    minutes = get("/api/v1/record-errors", service="stock")["items"]
    assert [(one["records"], one["errors"]) for one in minutes] == [(1, 1)]
    edges = get("/api/v1/trace-edges")["items"]
    assert edges == [{"caller": "shop", "callee": "stock", "calls": 1, "errors": 1}]


@pytest.mark.parametrize(
    ("path", "query", "status", "code"),
    [
        ("/api/v1/traces", {"since": "soon"}, 422, "POISE-U121"),
        ("/api/v1/traces", {"min_duration": "long"}, 422, "POISE-U121"),
        ("/api/v1/traces", {"cursor": "x"}, 422, "POISE-U120"),
        ("/api/v1/records", {"severity": "loud"}, 422, "POISE-U122"),
        ("/api/v1/records", {"cursor": "9.x"}, 422, "POISE-U120"),
        (f"/api/v1/traces/{'f' * 32}", {}, 404, "POISE-U405"),
        ("/api/v1/traces/nonsense", {}, 404, "POISE-U405"),
    ],
)
def test_what_cannot_be_answered_says_why(
    get: Get, path: str, query: dict[str, str], status: int, code: str
) -> None:
    """A stable code, and what to write instead."""
    answer = get(path, status, **query)
    assert answer["code"] == code
    assert answer["mend"]


def test_nobody_reads_without_a_role(client: Client) -> None:
    """Spans and records hold what users did."""
    for path in (
        "traces",
        f"traces/{'1' * 32}",
        "records",
        "record-templates",
        "record-errors",
        "trace-edges",
    ):
        assert client.get(f"/api/v1/{path}").status_code == 401
