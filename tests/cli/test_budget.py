"""`poise budget`: what is left, what will be, and what it was spent on."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from poise.model.balance import Budget
from poise.model.spend import BurnNow, Foresight, Outlook, Spend, SpendCause, SpendLedger

WEB = "shop/production/web"


@pytest.fixture
def spent(house: Any) -> None:
    """A service whose budget a release spent some of, and which burns again."""
    now = house.clock.now()
    named = {"service": WEB, "objective": "speed", "at": now, "window_s": 28 * 86_400.0}
    house.write(
        Budget(
            **named, target_ratio=0.99, good=90_000, bad=500, allowed=1000, left_ratio=0.5, burns=(),
            coverage_ratio=1, bootstrap=False, since=now - timedelta(days=30), measured_at=now,
        )
    )  # fmt: skip
    burn = BurnNow(
        test="fast", pages=True, since=now - timedelta(minutes=9), events=5000, bad=120, spent_ratio=0.12,
        burn_rate=24, real_chance=0.98,
    )  # fmt: skip
    foresight = Foresight(
        at=now, until=now + timedelta(days=1), left_low=-0.2, left_middle=0.3, left_high=0.48,
        spent_chance=0.21, spent_chance_low=0.1, spent_chance_high=0.4, days=27,
    )  # fmt: skip
    house.write(Outlook(**named, bad=500, allowed=1000, burn=burn, foresight=foresight, real_chance=0.98))
    entry = Spend(
        since=now - timedelta(days=2), until=now - timedelta(days=2) + timedelta(minutes=30), events=4000,
        bad=310, spent_ratio=0.31, cause=SpendCause.DEPLOY, subject=f"{WEB}/000043",
        name="release 43 of web", chance=0.97, why="it began 2 min after, 97 % likely",
    )  # fmt: skip
    house.write(SpendLedger(**named, bad=500, allowed=1000, usual_bad=190, entries=(entry,)))


@pytest.mark.usefixtures("spent")
def test_a_budget_is_told_with_what_will_be_left_and_what_burns(online: Callable[..., Any]) -> None:
    """The question is not only what is left, but what will be."""
    told = " ".join(online("budget", "web").out.split())
    assert "-20.0 % to 48.0 % in 24 h, spent with a chance of 21.0 %" in told
    assert "speed burns 24 times too fast since" in told
    assert "98.0 % likely to be real" in told


@pytest.mark.usefixtures("spent")
def test_a_ledger_names_who_spent_what_and_adds_up(online: Callable[..., Any]) -> None:
    """'v43 cost 31 % of the month', and the rest is the usual."""
    told = " ".join(online("budget", "web", "--ledger").out.split())
    for word in ("release 43 of web", "310", "31.0 %", "the usual", "190", "all", "500"):
        assert word in told
    found = json.loads(online("budget", "web", "--ledger", "--json").out)
    (ledger,) = [one for one in found["ledgers"] if one["objective"] == "speed"]
    assert ledger["usual_bad"] + sum(one["bad"] for one in ledger["entries"]) == ledger["bad"]


def test_without_enough_days_no_forecast_is_made_up(house: Any, online: Callable[..., Any]) -> None:
    """No number is better than a guess."""
    now = house.clock.now()
    house.write(
        Budget(
            service="shop/production/web", objective="young", target_ratio=0.99, window_s=1e6, good=1, bad=0,
            allowed=1, left_ratio=1, burns=(), coverage_ratio=1, bootstrap=True, since=now, measured_at=now,
            at=now,
        )
    )  # fmt: skip
    assert "after 4 days of counts" in " ".join(online("budget", "web").out.split())
