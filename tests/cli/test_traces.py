"""``poise traces``, ``trace`` and ``records`` ask what they are told to and show what others sent as text."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from poise.api.telemetry_views import record_row, trace_row, trace_view
from poise.api.views import Page
from poise.cli import traces
from poise.cli.entry import run
from poise.model.telemetry import LogRecord, Span, SpanStatus, TraceSummary
from poise.model.waterfall import waterfall

MS = 1_000_000
EVIL = "\x1b[31mred\x07"
Ask = Callable[..., tuple[int, str, dict[str, Any]]]
SPANS = [
    Span(trace_id="a" * 32, span_id="1" * 16, name="GET /cart", service="shop", start_ns=0,
         duration_ns=100 * MS),
    Span(trace_id="a" * 32, span_id="2" * 16, parent_id="1" * 16, name=EVIL, service="stock",
         start_ns=30 * MS, duration_ns=60 * MS, status=SpanStatus.ERROR),
]  # fmt: skip
SUMMARY = TraceSummary(
    trace_id="a" * 32, service="shop", name=EVIL, start_ns=0, duration_ns=100 * MS, spans=2, errors=1,
    services=("shop",),
)  # fmt: skip
RECORD = LogRecord(at_ns=60 * MS, service="stock", severity=17, body=f"no stock {EVIL}", trace_id="a" * 32)


@pytest.fixture
def ask(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Ask:
    """Runs a command against a server that answers each path with its record: exit code, stdout, asked."""

    def ask(answers: dict[str, Any], *words: str) -> tuple[int, str, dict[str, Any]]:
        seen: dict[str, Any] = {}

        class Server:
            def __init__(self, common: Any) -> None: ...
            def __enter__(self) -> Server:
                return self

            def __exit__(self, *_: object) -> None: ...
            def get(self, path: str, answer: Any, **asked: Any) -> Any:
                seen[path] = asked
                return msgspec.json.decode(msgspec.json.encode(answers[path]), type=answer)

        monkeypatch.setattr(traces, "Client", Server)
        code = run(list(words))
        return code, capsys.readouterr().out, seen

    return ask


def test_traces_are_a_table(ask: Ask) -> None:
    """One line each, with the id to go on with."""
    page = Page(items=[trace_row(SUMMARY)])
    code, out, seen = ask({"/api/v1/traces": page}, "traces", "shop", "--min-duration", "1s", "--errors")
    assert code == 0
    assert (seen["/api/v1/traces"]["service"], seen["/api/v1/traces"]["errors"]) == ("shop", True)
    assert seen["/api/v1/traces"]["min_duration"] == "1s"
    assert "a" * 32 in out
    assert "100 ms" in out
    assert "\x1b" not in out
    assert "No trace" in ask({"/api/v1/traces": Page(items=[])}, "traces")[1]


def test_a_trace_is_a_waterfall_with_its_records(ask: Ask) -> None:
    """Marks for the critical path and failures, a bar at its place in time, and the words first."""
    answers = {
        f"/api/v1/traces/{'a' * 32}": trace_view(waterfall(SPANS)),
        "/api/v1/records": Page(items=[record_row(RECORD)]),
    }
    code, out, seen = ask(answers, "trace", "a" * 32)
    lines = out.splitlines()
    assert code == 0
    assert lines[0].startswith(
        "GET /cart of shop took 100 ms, 1 of its 2 spans failed; 60 ms of it went into"
    )
    assert lines[2].startswith("*  shop GET /cart")
    assert lines[3].startswith("*!   stock ·[31mred·")
    assert lines[3].index("━") > lines[2].index("━")
    assert "+60.000 ms error stock: no stock" in lines[4]
    assert "\x1b" not in out
    assert seen["/api/v1/records"]["trace"] == "a" * 32
    as_json = json.loads(ask(answers, "trace", "a" * 32, "--json")[1])
    assert as_json["trace"]["spans"][1]["critical_ms"] == 60.0


def test_records_are_lines_in_the_order_of_time(ask: Ask) -> None:
    """As a log is read, the newest at the end, with the trace to go on to."""
    page = Page(items=[record_row(RECORD), record_row(LogRecord(at_ns=0, body="first"))])
    answers = {"/api/v1/records": page, "/api/v1/record-templates": Page(items=[])}
    code, out, seen = ask(answers, "records", "stock", "--severity", "warn", "--text", "no")
    assert code == 0
    assert [line.split(": ", 1)[1][:5] for line in out.splitlines()] == ["first", "no st"]
    assert (seen["/api/v1/records"]["severity"], seen["/api/v1/records"]["text"]) == ("warn", "no")
    assert "\x1b" not in out
    assert "No log record" in ask(answers, "records", "--templates")[1]
