"""The canary's weight at the edges of what numbers can be."""

from __future__ import annotations

from datetime import UTC, datetime

from poise.balance.gate.sizes import _affordable_percent
from poise.model.balance import Budget
from poise.model.service import Service

NOW = datetime(2026, 11, 1, tzinfo=UTC)


def test_hardly_any_traffic_is_no_overflow() -> None:
    """Less than a request in the age of the universe is as good as none: the whole weight is affordable."""
    budget = Budget(
        service="a/p/s", objective="x", target_ratio=0.9, window_s=60.0, good=1e9, bad=0.0, allowed=1e300,
        left_ratio=1.0, burns=(), coverage_ratio=1.0, bootstrap=False, since=NOW, measured_at=NOW, at=NOW,
        rate_per_s=1e-300,
    )  # fmt: skip
    service = Service(project="a", environment="p", name="s", command="x", port=1)
    assert _affordable_percent(budget, service, 1.0, 5) == 100
