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
    for n in range(minutes):
        lost = 70 if minutes // 2 <= n < minutes // 2 + 15 else 0
        ok, failed = ok + 100 - lost, failed + lost
        for code, value in (("200", ok), ("500", failed)):
            rows[code].append(f'http_total{{code="{code}"}} {value} {START + 60 * n}')
    return "\n".join([*lines, *rows["200"], *rows["500"], "# EOF", ""])


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
                 "not replayed: alive: boolean"):  # fmt: skip
        assert said in done.out, said
    assert max(map(len, done.out.splitlines())) <= 80
    assert "1 objective over" in done.err


def test_the_same_past_as_data_and_as_a_table(shop: Callable[..., Any]) -> None:
    """Charts have twins, and scripts read data."""
    done = shop("slo", "backtest", "slo.yaml", "--metrics", "m.om", "--json", "--quiet")
    made = msgspec.json.decode(done.out, type=Backtest)
    (one,) = made.objectives
    assert (one.good, one.bad, one.coverage_ratio > 0.99) == (18_850.0, 1_050.0, True)
    assert {alert.policy.value for alert in one.alerts} >= {"page", "sequential"}
    assert list(made.refused) == ["shop/production/shop/alive"] and not done.err
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


def test_a_file_without_counters_is_refused(poise: Callable[..., Any]) -> None:
    """Nothing to replay is not a success."""
    Path("slo.yaml").write_text(SLO.partition("---\n")[2])
    Path("m.om").write_text(history(20))
    done = poise("slo", "backtest", "slo.yaml", "--metrics", "m.om")
    assert done.code == 5 and "POISE-E233" in done.err
