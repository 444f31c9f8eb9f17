"""Metrics that are pushed: kept or named, never retried for nothing, and bombs do not go off."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from typing import Any

import cramjam
import numpy as np
import pytest
from litestar import Litestar
from litestar.testing import TestClient

from poise.adapters.prometheus.wire import WRITE_HEADERS, write_request
from poise.model.samples import Labels, Matcher, MatchOp, Reading, Round

Client = TestClient[Litestar]
Headers = Callable[..., dict[str, str]]
IMPORT, WRITE = "/api/v1/import/prometheus", "/api/v1/write"


def kept(house: Any, client: Client, name: str) -> dict[Labels, list[float]]:
    at_ms = int(house.clock.now().timestamp() * 1000)
    matcher = Matcher("__name__", MatchOp.EQUAL, name)
    block = client.app.state.parts.metrics.reader.select([matcher], at_ms - 3_600_000, at_ms)
    return {
        block.series[first + row]: values[row].tolist()
        for first, _, values in block.groups()
        for row in range(len(values))
    }


def pushed(house: Any, *names: str) -> bytes:
    at_ms = int(house.clock.now().timestamp() * 1000) - 1000
    series = tuple((("__name__", name), ("job", "j")) if name else (("job", "j"),) for name in names)
    values = np.arange(1.0, len(names) + 1).reshape(-1, 1)
    reading = Reading(target="t", series=series, at_ms=np.array([at_ms], np.int64), values=values)
    return write_request(Round(readings=(reading,)))


def otlp_gauge(name: str, at_ms: int) -> bytes:
    point = {"timeUnixNano": str(at_ms * 1_000_000), "asDouble": 1.0}
    metric = {"name": name, "gauge": {"dataPoints": [point]}}
    return json.dumps({"resourceMetrics": [{"scopeMetrics": [{"metrics": [metric]}]}]}).encode()


def test_a_remote_write_is_kept(house: Any, client: Client, headers: Headers) -> None:
    sent = pushed(house, "pushed_a", "pushed_b")
    answer = client.post(WRITE, content=sent, headers=headers("owner") | WRITE_HEADERS)
    assert (answer.status_code, answer.text) == (204, "")
    assert list(kept(house, client, "pushed_b").values()) == [[2.0]]
    again = client.post(WRITE, content=sent, headers=headers("owner") | WRITE_HEADERS)
    assert again.status_code == 204


def test_bad_data_is_400_and_the_rest_is_kept(house: Any, client: Client, headers: Headers) -> None:
    sent = pushed(house, "pushed_c", "")
    answer = client.post(WRITE, content=sent, headers=headers("owner") | WRITE_HEADERS)
    assert (answer.status_code, "labels: 1" in answer.json()["what"]) == (400, True), answer.text
    assert list(kept(house, client, "pushed_c").values()) == [[1.0]]


@pytest.mark.parametrize("path", [WRITE, IMPORT, "/v1/metrics"])
def test_trouble_of_ours_is_5xx_and_the_same_push_is_kept_later(
    house: Any, client: Client, headers: Headers, path: str
) -> None:
    """A sender tries a 5xx again and never a 4xx: a disk that fails must not cost a sample."""
    metrics = house.parts.metrics
    at_ms = int(house.clock.now().timestamp() * 1000) - 1000
    sent, kind = {
        WRITE: (pushed(house, "pushed_d"), WRITE_HEADERS),
        IMPORT: (b"pushed_d 1\n", {"content-type": "text/plain"}),
        "/v1/metrics": (otlp_gauge("pushed_d", at_ms), {"content-type": "application/json"}),
    }[path]
    metrics._connection.execute("PRAGMA query_only=1")  # every write fails, in SQLite itself
    refused = client.post(path, content=sent, headers=headers("owner") | kind)
    assert refused.status_code == 503, refused.text
    assert refused.json()["code"].startswith("POISE-") and refused.json()["mend"]
    assert kept(house, client, "pushed_d") == {}
    metrics._connection.execute("PRAGMA query_only=0")
    again = client.post(path, content=sent, headers=headers("owner") | kind)
    assert again.status_code in (200, 204), again.text
    assert list(kept(house, client, "pushed_d").values()) == [[1.0]]


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"garbage", "application/x-protobuf", 400),
        (b"", "application/x-protobuf;proto=io.prometheus.write.v2.Request", 415),
        (bytes(cramjam.snappy.compress_raw(bytes(70_000_000))), "application/x-protobuf", 413),
        (bytes(17_000_000), "application/x-protobuf", 413),
    ],
    ids=["garbage", "2.0", "bomb", "large"],
)
def test_what_cannot_be_read_is_refused(
    client: Client, headers: Headers, body: bytes, kind: str, status: int
) -> None:
    sent = headers("owner") | WRITE_HEADERS | {"content-type": kind}
    assert client.post(WRITE, content=body, headers=sent).status_code == status


def test_text_is_kept_with_its_extra_labels(house: Any, client: Client, headers: Headers) -> None:
    body = gzip.compress(b'text_a{b="c"} 7\n')
    more = headers("owner") | {"content-encoding": "gzip", "content-type": "text/plain"}
    answer = client.post(f"{IMPORT}?extra_label=job=night", content=body, headers=more)
    assert answer.status_code == 204, answer.text
    assert kept(house, client, "text_a") == {(("__name__", "text_a"), ("b", "c"), ("job", "night")): [7.0]}


def test_a_broken_line_is_named(house: Any, client: Client, headers: Headers) -> None:
    more = headers("owner") | {"content-type": "text/plain"}
    answer = client.post(IMPORT, content=b"text_b 1\ntext_c one\n", headers=more)
    assert answer.status_code == 400
    assert "line 2, column 8" in answer.json()["problems"][0]["what"], answer.text
    assert list(kept(house, client, "text_b").values()) == [[1.0]]


@pytest.mark.parametrize(
    ("body", "status"),
    [(gzip.compress(bytes(70_000_000)), 413), (b"no gzip", 400), (gzip.compress(b"a 1\n")[:-9], 400)],
    ids=["bomb", "garbage", "half"],
)
def test_bad_gzip_is_refused(client: Client, headers: Headers, body: bytes, status: int) -> None:
    more = headers("owner") | {"content-encoding": "gzip", "content-type": "text/plain"}
    assert client.post(IMPORT, content=body, headers=more).status_code == status


def test_a_role_in_one_project_is_not_enough(client: Client, headers: Headers) -> None:
    """The store is everybody's, so what is put into it takes a role in every project."""
    for path in (IMPORT, WRITE):
        assert client.post(path, content=b"", headers=headers("developer")).status_code == 403


def test_otlp_is_kept_and_what_is_not_is_a_partial_success(
    house: Any, client: Client, headers: Headers
) -> None:
    nano = str(int(house.clock.now().timestamp() * 1000 - 1000) * 1_000_000)
    point = {"timeUnixNano": nano, "asInt": "7"}
    metrics = [
        {"name": "otlp.gauge", "gauge": {"dataPoints": [point]}},
        {"name": "vague", "sum": {"dataPoints": [point]}},
    ]
    sent = {"resourceMetrics": [{"scopeMetrics": [{"metrics": metrics}]}]}
    answer = client.post("/v1/metrics", json=sent, headers=headers("owner"))
    assert answer.status_code == 200, answer.text
    told = answer.json()["partialSuccess"]
    assert told["rejectedDataPoints"] == "1" and "temporality" in told["errorMessage"]
    assert list(kept(house, client, "otlp_gauge").values()) == [[7.0]]


@pytest.mark.parametrize(
    ("body", "kind", "encoding", "status"),
    [
        (b"\xff\xff\xff", "application/x-protobuf", "", 400),
        (b"{", "application/json", "", 400),
        (b"{}", "text/plain", "", 415),
        (gzip.compress(bytes(70_000_000)), "application/x-protobuf", "gzip", 413),
    ],
)
def test_otlp_that_cannot_be_read_is_refused(
    client: Client, headers: Headers, body: bytes, kind: str, encoding: str, status: int
) -> None:
    more = {"content-type": kind, "content-encoding": encoding or "identity"}
    assert client.post("/v1/metrics", content=body, headers=headers("owner") | more).status_code == status
