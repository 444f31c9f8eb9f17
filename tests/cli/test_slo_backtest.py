"""``poise slo backtest``: history in, budgets, alerts and a target out, with no server."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from poise.balance.backtest.report import Backtest

START = 1_763_899_980
SLO = """\
apiVersion: poise.dev/v1
kind: Objective
metadata: {name: availability}
spec: {service: shop, target: 0.99, good: 'http_total{code="200"}', total: http_total, window: 7d}
---
apiVersion: poise.dev/v1
kind: Objective
metadata: {name: alive}
spec: {service: shop, target: 0.99, boolean: up, window: 7d}
"""


def history(minutes: int) -> str:
    """A steady service, most of whose requests fail for a quarter of an hour halfway."""
    lines, ok, failed = ["# TYPE http counter"], 0, 0
    rows: dict[str, list[str]] = {"200": [], "500": []}
    up = ["# TYPE up gauge"]
    for n in range(minutes):
        lost = 70 if minutes // 2 <= n < minutes // 2 + 15 else 0
        ok, failed = ok + 100 - lost, failed + lost
        for code, value in (("200", ok), ("500", failed)):
            rows[code].append(f'http_total{{code="{code}"}} {value} {START + 60 * n}')
        up.append(f"up {int(not lost)} {START + 60 * n}")
    return "\n".join([*lines, *rows["200"], *rows["500"], *up, "# EOF", ""])


@pytest.fixture
def shop(poise: Callable[..., Any]) -> Callable[..., Any]:
    Path("slo.yaml").write_text(SLO)
    Path("m.om").write_text(history(200))
    return poise


def test_a_past_is_told_for_people(shop: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """A chart, the alerts with start and spend, the gate, a target: what one decides by, in 80 columns."""
    monkeypatch.setenv("COLUMNS", "80")
    done = shop("slo", "backtest", "slo.yaml", "--metrics", "m.om")
    assert done.code == 0, done.err
    for said in ("shop/availability: 99 % over 7 d (slo.yaml:3:18)", "19,900 events, 1,050 failed",
                 "sequential ", "page ", "recommended target: none", "gate for a feature of shop",
                 "shop/alive: 99 % over 7 d", "200 events, 15 failed"):  # fmt: skip
        assert said in done.out, said
    assert max(map(len, done.out.splitlines())) <= 80
    assert "2 objectives over" in done.err


def test_the_same_past_as_data_and_as_a_table(shop: Callable[..., Any]) -> None:
    """Charts have twins, and scripts read data."""
    done = shop("slo", "backtest", "slo.yaml", "--metrics", "m.om", "--json", "--quiet")
    made = msgspec.json.decode(done.out, type=Backtest)
    one, alive = made.objectives
    assert (one.good, one.bad, one.coverage_ratio > 0.99) == (18_850.0, 1_050.0, True)
    assert {alert.policy.value for alert in one.alerts} >= {"page", "sequential"}
    assert (alive.good, alive.bad) == (185.0, 15.0)
    assert not made.refused and not done.err
    table = shop("slo", "backtest", "slo.yaml", "--metrics", "m.om", "--table", "--quiet")
    assert "  at" in table.out and "⠉" not in table.out


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--metrics", "none.om"], 3, "POISE-H183"),
        (["--metrics", "m.om", "--prometheus", "http://127.0.0.1:1"], 5, "POISE-E231"),
        (["--metrics", "m.om", "--since", "soon"], 5, "POISE-E230"),
        (["--metrics", "m.om", "--service", "till"], 5, "POISE-E234"),
        (["--prometheus", "http://127.0.0.1:1"], 7, "POISE-H"),
        ([], 3, "POISE-E232"),
    ],
)
def test_what_cannot_be_replayed_is_said(
    shop: Callable[..., Any], words: list[str], code: int, said: str
) -> None:
    """An empty answer would look like a healthy past."""
    done = shop("slo", "backtest", "slo.yaml", *words)
    assert (done.code, said in done.err) == (code, True), done.err


ENVOYS = """\
apiVersion: poise.dev/v1
kind: Service
metadata: {name: web}
spec: {command: "true", port: 8080}
"""


def test_what_only_envoy_counts_is_not_replayed_elsewhere(poise: Callable[..., Any]) -> None:
    """Nothing to replay is not a success, and what is left out is named."""
    Path("poise.yaml").write_text(ENVOYS)
    Path("m.om").write_text(history(20))
    done = poise("slo", "backtest", "poise.yaml", "--metrics", "m.om")
    assert done.code == 5 and "POISE-E233" in done.err and "Envoy counts it" in done.err
    whole = """\
---
apiVersion: poise.dev/v1
kind: Objective
metadata: {name: alive}
spec: {service: web, target: 0.99, boolean: up}
---
apiVersion: poise.dev/v1
kind: Objective
metadata: {name: visit}
spec: {service: web, target: 0.9, allOf: [alive, availability]}
"""
    Path("poise.yaml").write_text(ENVOYS + whole)
    done = poise("slo", "backtest", "poise.yaml", "--metrics", "m.om", "--json")
    made = msgspec.json.decode(done.out, type=Backtest)
    assert [one.name for one in made.objectives] == ["alive"]
    assert {key.rpartition("/")[2]: why for key, why in made.refused.items()} == {
        "availability": "Envoy counts it, whose readings only this machine's Poise has",
        "latency": "Envoy counts it, whose readings only this machine's Poise has",
        "visit": "a part of it is not replayed",
    }


KINDS = """\
apiVersion: poise.dev/v1
kind: Objective
metadata: {name: orders}
spec:
  {service: shop, target: 0.9, good: 'http_total{code="200"}', total: http_total, groupBy: code, window: 3h}
---
apiVersion: poise.dev/v1
kind: Objective
metadata: {name: alive}
spec: {service: shop, target: 0.9, boolean: up, excludedMax: 50%}
---
apiVersion: poise.dev/v1
kind: Exclusion
metadata: {name: upgrade}
spec: {reason: upgrade, firstEventStart: "2025-11-23T13:50:00+00:00", duration: 20m, slos: [shop/alive]}
"""


def test_groups_and_exclusions_of_the_file_count(poise: Callable[..., Any]) -> None:
    """The worst group is the objective's, and what is announced does not burn."""
    Path("slo.yaml").write_text(KINDS)
    Path("m.om").write_text(history(200))
    done = poise("slo", "backtest", "slo.yaml", "--metrics", "m.om", "--json")
    assert done.code == 0, done.err
    orders, alive = msgspec.json.decode(done.out, type=Backtest).objectives
    assert [(one.group, one.good, one.bad) for one in orders.groups] == [
        ("code=200", 18_850.0, 0.0), ("code=500", 0.0, 1_050.0),
    ]  # fmt: skip
    assert orders.left_ratio is not None and orders.left_ratio < 0
    assert (alive.bad, alive.left_ratio) == (15.0, 1.0)
    said = poise("slo", "backtest", "slo.yaml", "--metrics", "m.om").out
    assert "groups: code=500 1,050 of 1,050 failed; code=200 0 of 18,850 failed" in said
