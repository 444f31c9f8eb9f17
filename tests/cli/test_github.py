"""The step summary of a pull request: the verdict in words, the budgets, and who spent them lately."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from poise.model.balance import Budget
from poise.model.spend import Spend, SpendCause, SpendLedger

KEY = "shop/production/web"


@pytest.fixture
def spent(house: Any) -> None:
    now = house.clock.now()
    entry = Spend(
        since=now - timedelta(hours=4), until=now - timedelta(hours=3), events=9_000, bad=31,
        spent_ratio=0.031, cause=SpendCause.DEPLOY, subject=f"{KEY}/000043", name="release 43 of web | x",
    )  # fmt: skip
    house.write(
        Budget(
            service=KEY, objective="availability", target_ratio=0.999, window_s=2_419_200.0, good=999_500,
            bad=500, allowed=1_000, left_ratio=0.5, burns=(), coverage_ratio=1.0, bootstrap=False,
            since=now - timedelta(days=28), measured_at=now, at=now,
        ),
        SpendLedger(
            service=KEY, objective="availability", at=now, bad=500, allowed=1_000, window_s=2_419_200.0,
            usual_bad=469, entries=(entry,),
        ),
    )  # fmt: skip


@pytest.mark.usefixtures("spent")
def test_the_summary_tells_the_budget_and_what_the_last_release_cost(
    online: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who reviews the next change sees what the last one cost, without leaving the pull request."""
    summary = tmp_path / "summary.md"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    monkeypatch.delenv("GITHUB_OUTPUT", raising=False)
    online("gate", "check", "-s", "web", "--github")
    text = summary.read_text()
    assert "Gate: " in text and KEY in text
    assert "| availability | 50.0 % | 500 of 1,000 | 99.90 % | 100.0 % |" in text
    assert "release 43 of web \\| x cost 3.1 % of the availability budget (deploy," in text
