"""Poise tells of itself in the text format that Prometheus reads."""

from __future__ import annotations

import os
from typing import Any

from litestar.testing import TestClient

from poise.adapters.exposition.page import Exposition
from poise.adapters.exposition.written import Family, written
from poise.model.intake import IntakeLimits
from poise.model.samples import NAME, Metadata, MetricKind


def told(text: str) -> dict[str, list[tuple[dict[str, str], float]]]:
    """By name: labels and value, as our own reader of such pages has them."""
    read = Exposition("self", IntakeLimits()).read(text.encode(), "text/plain; version=0.0.4", 1_000_000)
    assert not read.faults
    found: dict[str, list[tuple[dict[str, str], float]]] = {}
    for reading in read.readings:
        for labels, value in zip(reading.series, reading.values[:, 0].tolist(), strict=True):
            rest = dict(labels)
            found.setdefault(rest.pop(NAME), []).append((rest, value))
    return found


def test_it_tells_of_its_process_its_files_and_its_intakes(app: Any, house: Any, headers: Any) -> None:
    house.parts.intakes.count("remote-write", "out-of-order", 3)
    with TestClient(app) as client:
        answer = client.get("/metrics", headers=headers("viewer"))
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    found = told(answer.text)
    assert found["poise_intake_total"] == [({"kind": "out-of-order", "source": "remote-write"}, 3.0)]
    assert {dict(labels)["file"] for labels, _ in found["poise_store_bytes"]} >= {"poise.db", "metrics.db"}
    resident = found["process_resident_memory_bytes"][0][1]
    assert 10e6 < resident < 10e9
    assert 0 < found["process_open_fds"][0][1] <= os.sysconf("SC_OPEN_MAX")


def test_strangers_are_not_told(app: Any) -> None:
    with TestClient(app) as client:
        assert client.get("/metrics").status_code == 401


def test_text_is_escaped_and_read_back_as_it_was() -> None:
    odd = 'a "quoted" \\ back\nline'
    family = Family(
        about=Metadata("x_total", MetricKind.COUNTER, "one\ntwo"),
        samples=(((("k", odd),), 1.5), ((("k", "inf"),), float("inf")), ((), -3.0)),
    )
    found = told(written([family]))
    assert found["x_total"] == [({"k": odd}, 1.5), ({"k": "inf"}, float("inf")), ({}, -3.0)]
