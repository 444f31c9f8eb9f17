"""Log records and spans kept and read: the columnar file beside SQLite with FTS5, and OTLP over HTTP."""

from __future__ import annotations

import argparse
import http.client
import random
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from bench.house import House, rss_mb, shop_files
from bench.report import Goal, Report, Unmeasured, run
from poise.adapters.telemetry import reading
from poise.adapters.telemetry.file import TelemetryFile
from poise.adapters.telemetry.limits import FILE
from poise.adapters.telemetry.push import taken
from poise.adapters.telemetry.rows import record_columns
from poise.adapters.telemetry.wire import Push
from poise.model.telemetry import SECOND_NS, LogRecord, RecordQuery

GOALS = [
    Goal("log_rows_per_s", at_least=416_000),
    Goal("log_bytes_per_row", at_most=46.0),
    Goal("service_hour_errors_ms", at_most=3.0),
    Goal("substring_ms", at_most=28.0),
]
BATCH = 5_000
SERVICES = [f"service-{n:02d}" for n in range(20)]
HOUR_NS = 3_600 * SECOND_NS
REPEATS = 15
NEEDLE = "order 424242 "


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rows", type=int, default=1_000_000, help="log rows")
    parser.add_argument("--spans", type=int, default=100_000, help="spans sent over HTTP, 500 a request")


def measure(given: argparse.Namespace) -> Report:
    begin_ns = time.time_ns() // HOUR_NS * HOUR_NS - 24 * HOUR_NS
    with tempfile.TemporaryDirectory() as folder:
        figures: dict[str, Any] = {"rows": given.rows}
        figures |= columnar(Path(folder) / FILE, given.rows, begin_ns)
        figures |= peer(Path(folder) / "peer.db", given.rows, begin_ns)
        figures |= decoded(Path(folder) / "decoded.duckdb")
    figures["ingest_ratio_to_fts5"] = figures["log_rows_per_s"] / figures["fts5_rows_per_s"]
    figures["size_ratio_to_fts5"] = figures["log_bytes_per_row"] / figures["fts5_bytes_per_row"]
    figures["substring_ratio_to_fts5"] = figures["substring_ms"] / figures["fts5_substring_like_ms"]
    figures |= over_http(given.spans)
    remarks = [
        "rows: 20 services over 24 h, six statements, four records a trace; batches of 5,000, each durable",
        "log_rows_per_s: prepared columns into the file, templates made; records_*: from records",
        "queries: medians of the port's own questions, all columns of the 100 newest, in process",
    ]
    return Report(figures, GOALS, remarks)


def records(count: int, begin_ns: int) -> Iterator[list[LogRecord]]:
    """Batches in the order of time; the same every run."""
    dice = random.Random(7)
    resource = {
        one: {"service.name": one, "host.name": "poise-1", "service.version": "r43"} for one in SERVICES
    }
    step = 24 * HOUR_NS // count
    trace_id = ""
    for first in range(0, count, BATCH):
        batch = []
        for n in range(first, min(first + BATCH, count)):
            if n % 4 == 0:
                trace_id = f"{dice.getrandbits(128):032x}"
            service = SERVICES[dice.randrange(20)]
            severity, body = statement(dice)
            batch.append(
                LogRecord(
                    at_ns=begin_ns + n * step,
                    service=service,
                    environment="production",
                    severity=severity,
                    body=body,
                    trace_id=trace_id,
                    span_id=f"{dice.getrandbits(64):016x}",
                    resource=resource[service],
                )
            )
        yield batch


def statement(dice: random.Random) -> tuple[int, str]:
    """(severity, body): one of six statements with what varies."""
    kind = dice.random()
    if kind < 0.45:
        return 9, f"GET /api/items/{dice.randrange(5000)} answered 200 in {dice.randrange(900)} ms"
    if kind < 0.75:
        return 9, f"order {dice.randrange(10**6)} paid by card, {dice.randrange(90000) / 100:.2f} EUR"
    if kind < 0.90:
        return 5, f"cache miss for key user:{dice.randrange(10**5)}:cart"
    if kind < 0.96:
        return 13, f"retry {dice.randrange(5)} of payments after {dice.randrange(2000)} ms"
    if kind < 0.99:
        return (
            17,
            f"could not reserve item {dice.randrange(5000)}: lock timeout after {dice.randrange(5000)} ms",
        )
    return 21, f"worker {dice.randrange(16)} died with signal 9"


def columnar(path: Path, count: int, begin_ns: int) -> dict[str, Any]:
    """The file of Poise."""
    file = TelemetryFile(path)
    took = from_records = cpu = 0.0
    for batch in records(count, begin_ns):
        between = time.perf_counter()
        columns = record_columns(batch)
        began, worked = time.perf_counter(), time.process_time()
        file.append_columns(columns)
        took += time.perf_counter() - began
        cpu += time.process_time() - worked
        from_records += time.perf_counter() - between
    file.checkpoint()
    hour = {"since_ns": begin_ns + 12 * HOUR_NS, "until_ns": begin_ns + 13 * HOUR_NS}
    day = {"since_ns": begin_ns, "until_ns": begin_ns + 24 * HOUR_NS}
    with file.reader() as connection:
        found = reading.find_records(connection, RecordQuery(**day, text=NEEDLE)).items
        errors = reading.find_records(
            connection, RecordQuery(**hour, service=SERVICES[3], min_severity=17)
        ).items
        if not errors or len(found) > 20:
            raise Unmeasured("the questions find something else than they are meant to")
        some = errors[0].trace_id
        asked: dict[str, Callable[[], object]] = {
            "service_hour_errors_ms": lambda: reading.find_records(
                connection, RecordQuery(**hour, service=SERVICES[3], min_severity=17)
            ),
            "substring_ms": lambda: reading.find_records(connection, RecordQuery(**day, text=NEEDLE)),
            "errors_per_minute_ms": lambda: reading.errors_per_minute(connection, *day.values(), ""),
            "errors_per_minute_hour_ms": lambda: reading.errors_per_minute(connection, *hour.values(), ""),
            "by_trace_ms": lambda: reading.find_records(connection, RecordQuery(**day, trace_id=some)),
            "templates_ms": lambda: reading.templates(connection, *day.values(), ""),
        }
        figures = {name: median_ms(ask) for name, ask in asked.items()}
        figures |= {name.replace("_ms", "_cpu_ms"): cpu_ms(asked[name]) for name in list(asked)[:2]}
    size = file.used_bytes()
    file.close()
    return {
        "log_rows_per_s": count / took,
        "log_cpu_us_per_row": cpu / count * 1e6,
        "records_rows_per_s": count / from_records,
        "log_bytes_per_row": size / count,
        **figures,
    }


def peer(path: Path, count: int, begin_ns: int) -> dict[str, Any]:
    """The same rows in SQLite with the body in an FTS5 table beside, as one would do it without columns."""
    raw = sqlite3.connect(path, isolation_level=None)
    raw.executescript(
        "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
        "CREATE TABLE record (n INTEGER PRIMARY KEY, at_ns, service, severity, body, trace_id, span_id, "
        "resource);"
        "CREATE INDEX by_service ON record (service, at_ns); CREATE INDEX by_trace ON record (trace_id);"
        "CREATE VIRTUAL TABLE words USING fts5(body, content='record', content_rowid='n');"
    )
    took, n = 0.0, 0
    for batch in records(count, begin_ns):
        rows = [
            (
                n + k,
                one.at_ns,
                one.service,
                one.severity,
                one.body,
                one.trace_id,
                one.span_id,
                str(one.resource),
            )
            for k, one in enumerate(batch)
        ]
        began = time.perf_counter()
        raw.execute("BEGIN")
        raw.executemany("INSERT INTO record VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)
        raw.executemany("INSERT INTO words (rowid, body) VALUES (?, ?)", [(row[0], row[4]) for row in rows])
        raw.execute("COMMIT")
        took += time.perf_counter() - began
        n += len(batch)
    raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    hour = (begin_ns + 12 * HOUR_NS, begin_ns + 13 * HOUR_NS)
    (some,) = raw.execute("SELECT trace_id FROM record WHERE n = ?", (count // 2,)).fetchone()

    def ask(text: str, *bound: Any) -> Callable[[], object]:
        return lambda: raw.execute(text, bound).fetchall()

    newest = "ORDER BY at_ns DESC LIMIT 100"
    figures = {
        "fts5_service_hour_errors_ms": median_ms(
            ask("SELECT * FROM record WHERE service = ? AND at_ns >= ? AND at_ns < ? AND severity >= 17 "
                + newest, SERVICES[3], *hour)
        ),
        "fts5_substring_like_ms": median_ms(
            ask(f"SELECT * FROM record WHERE body LIKE ? {newest}", f"%{NEEDLE}%"), 5
        ),
        "fts5_phrase_ms": median_ms(
            ask("SELECT * FROM record WHERE n IN (SELECT rowid FROM words WHERE words MATCH ?)",
                '"order 424242"')
        ),
        "fts5_errors_per_minute_ms": median_ms(
            ask("SELECT at_ns / 60000000000, service, count(*), sum(severity >= 17) FROM record "
                "GROUP BY 1, 2"), 3
        ),
        "fts5_by_trace_ms": median_ms(ask("SELECT * FROM record WHERE trace_id = ?", some)),
    }  # fmt: skip
    raw.close()
    return {"fts5_rows_per_s": count / took, "fts5_bytes_per_row": path.stat().st_size / count, **figures}


def decoded(path: Path, count: int = 100_000) -> dict[str, Any]:
    """Bodies of OTLP as they are sent, to the durable file, in process; 500 a body."""
    file = TelemetryFile(path)
    now = time.time_ns()
    figures = {}
    for signal, bodies in (("logs", log_bodies(count, now)), ("traces", span_bodies(count, now))):
        made = list(bodies)
        began = time.perf_counter()
        for body in made:
            taken(file, Push(signal=signal, body=body, now_ns=now, body_bytes=1 << 26))
        figures[f"otlp_{signal}_per_s_in_process"] = count / (time.perf_counter() - began)
    file.close()
    return figures


def log_bodies(count: int, now: int, each: int = 500) -> Iterator[bytes]:
    dice = random.Random(8)
    for first in range(0, count, each):
        made = ExportLogsServiceRequest()
        group = made.resource_logs.add()
        group.resource.attributes.add(key="service.name").value.string_value = SERVICES[first % 20]
        scope = group.scope_logs.add()
        for n in range(each):
            severity, body = statement(dice)
            one = scope.log_records.add(time_unix_nano=now - n, severity_number=severity)
            one.body.string_value = body
        yield made.SerializeToString()


def span_bodies(count: int, now: int, each: int = 500) -> Iterator[bytes]:
    """Ten spans a trace, four attributes each."""
    dice = random.Random(9)
    for first in range(0, count, each):
        made = ExportTraceServiceRequest()
        group = made.resource_spans.add()
        group.resource.attributes.add(key="service.name").value.string_value = SERVICES[first % 20]
        scope = group.scope_spans.add()
        for n in range(each):
            if n % 10 == 0:
                trace_id, parent = dice.randbytes(16), b""
            one = scope.spans.add(
                trace_id=trace_id, span_id=dice.randbytes(8), parent_span_id=parent, name="GET /api/items",
                kind=2, start_time_unix_nano=now - (first + n) * 1000, end_time_unix_nano=now,
            )  # fmt: skip
            parent = parent or one.span_id
            one.attributes.add(key="http.request.method").value.string_value = "GET"
            one.attributes.add(key="http.response.status_code").value.int_value = 200
            one.attributes.add(key="url.path").value.string_value = f"/api/items/{dice.randrange(5000)}"
            one.attributes.add(key="server.address").value.string_value = "shop.localhost"
        yield made.SerializeToString()


def over_http(count: int) -> dict[str, Any]:
    """A whole house: spans sent one request after another, then one trace read; what the processes hold."""
    bodies = list(span_bodies(count, time.time_ns()))
    with House("shop", shop_files()) as house:
        house.up()
        control = house.control_pid()
        assert control is not None, "it is up"
        before_mb = rss_mb(control)
        client = Client(house)
        began = time.perf_counter()
        for body in bodies:
            client.ask("POST", "/v1/traces", body)
        took = time.perf_counter() - began
        trace_id = (
            ExportTraceServiceRequest.FromString(bodies[3]).resource_spans[0].scope_spans[0].spans[0].trace_id
        )
        by_id = median_ms(lambda: client.ask("GET", f"/api/v1/traces/{trace_id.hex()}"))
        listed = median_ms(lambda: client.ask("GET", f"/api/v1/traces?service={SERVICES[0]}&limit=50"))
        owners = [rss_mb(pid) for pid in children(control, "poise.adapters.telemetry")]
        return {
            "spans_over_http_per_s": count / took,
            "trace_by_id_http_ms": by_id,
            "trace_list_http_ms": listed,
            "control_rss_mb_before": before_mb,
            "control_rss_mb_after": rss_mb(control),
            "owner_rss_mb": owners[0] if owners else None,
        }


class Client:
    """One connection with the house's own token."""

    def __init__(self, house: House) -> None:
        self._connection = http.client.HTTPConnection(f"127.0.0.1:{house.port}", timeout=60)
        self._token = (house.data / "token").read_text().strip()

    def ask(self, method: str, path: str, body: bytes | None = None) -> bytes:
        """The answer's body, which must be a good one."""
        headers = {"authorization": f"Bearer {self._token}", "content-type": "application/x-protobuf"}
        self._connection.request(method, path, body, headers)
        answer = self._connection.getresponse()
        raw = answer.read()
        if answer.status != 200:
            raise Unmeasured(f"{method} {path}: {answer.status} {raw[:200]!r}")
        return raw


def children(parent: int, module: str) -> Sequence[int]:
    """Child processes that run a module."""
    found = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return [int(pid) for pid in found if module.encode() in Path(f"/proc/{pid}/cmdline").read_bytes()]


def median_ms(ask: Callable[[], object], times: int = REPEATS) -> float:
    ask()
    took = []
    for _ in range(times):
        began = time.perf_counter()
        ask()
        took.append((time.perf_counter() - began) * 1000)
    return statistics.median(took)


def cpu_ms(ask: Callable[[], object], times: int = REPEATS) -> float:
    """Processor time of one, over all threads: what a busy machine does not change much."""
    began = time.process_time()
    for _ in range(times):
        ask()
    return (time.process_time() - began) / times * 1000


if __name__ == "__main__":
    sys.exit(run("telemetry", measure, options))
