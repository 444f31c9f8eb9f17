"""``poise why``: the verdict with the budgets behind it, in lines that an 80-column terminal holds."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import anyio
import pytest
from msgspec import structs

from poise.cli.why import spenders
from poise.model.balance import Budget, Burn
from poise.model.slices import Contradiction
from poise.model.spend import BurnNow, Outlook, Spend, SpendCause, SpendLedger

KEY = "shop/production/web"


@pytest.fixture
def spent(house: Any) -> None:
    now = house.clock.now()
    of = {"service": KEY, "objective": "availability", "window_s": 2_419_200.0, "at": now, "allowed": 1_000.0}
    burn = BurnNow(
        test="fast", pages=True, since=now - timedelta(minutes=9), events=4_000, bad=60, spent_ratio=0.06,
        burn_rate=15.0, real_chance=0.9999,
    )  # fmt: skip
    entry = Spend(
        since=now - timedelta(hours=4), until=now - timedelta(hours=3), events=9_000, bad=310,
        spent_ratio=0.31, cause=SpendCause.DEPLOY, subject=f"{KEY}/000043",
        name="release 43 of web", chance=0.98,
    )  # fmt: skip
    house.write(
        Budget(
            **of, target_ratio=0.999, good=999_500, bad=500, left_ratio=0.5, coverage_ratio=1.0,
            bootstrap=False, burns=(Burn(window_s=3600.0, rate=2.5, coverage_ratio=1.0),),
            since=now - timedelta(days=28), measured_at=now,
        ),
        Outlook(**of, bad=500, burn=burn),
        SpendLedger(**of, bad=500, usual_bad=190, entries=(entry,)),
    )  # fmt: skip


@pytest.mark.usefixtures("spent")
def test_why_names_the_spender_the_burn_and_the_numbers(online: Callable[..., Any]) -> None:
    """The one command that somebody types when a change does not go."""
    told = online("why", "web").out
    assert "availability: 50.0 % of the budget left: 500 failed of 1,000 allowed" in told
    assert "spent by: release 43 of web 31.0 %, the usual 19.0 %" in told
    assert "burn: 2.5x in 1h" in told and "burns 15 times too fast" in told
    assert "forecast: after" in told


@pytest.mark.usefixtures("spent")
def test_why_as_data_holds_what_the_words_were_made_from(online: Callable[..., Any]) -> None:
    """A bot tells the same as a person reads."""
    found = json.loads(online("why", "web", "--json").out)
    assert found["ledgers"][0]["entries"][0]["name"] == "release 43 of web"
    assert found["budgets"][0]["left_ratio"] == 0.5 and found["outlooks"][0]["burn"]["test"] == "fast"
    assert found["verdict"]["kind"] in ("go", "slow", "hold")


@pytest.mark.usefixtures("spent")
def test_numbers_that_cannot_be_are_told_with_a_command_that_mends_them(
    house: Any, online: Callable[..., Any]
) -> None:
    """Less measured time alone sends people looking for gaps."""
    since = house.clock.now() - timedelta(hours=2)
    lie = Contradiction(since=since, until=since + timedelta(minutes=1), what="good", excess=40.0)
    [budget] = anyio.run(house.store.scan, Budget)[0]
    house.write(structs.replace(budget, contradiction=lie))
    said = "contradictory: good exceeds total by 40 at 2026-03-01 10:00 UTC, so that time is unknown"
    mend = "poise slo exclude NAME web/availability --from 2026-03-01T10:00:00Z --for 60s --reason TEXT"
    for told in (online("why", "web").out, online("slo", "web").out):
        assert said in told and mend in told
    found = json.loads(online("slo", "web", "--json").out)["budgets"][0]["contradiction"]
    assert (found["what"], found["excess"], found["since"]) == ("good", 40.0, "2026-03-01T10:00:00Z")
    words = mend.replace("NAME", "lie").replace("TEXT", "lied").split()[1:]
    done = online(*words)
    assert done.code == 0, done


def test_shares_of_spenders_add_up(house: Any) -> None:
    """What is not named is the rest, and nothing is lost between them."""
    now = house.clock.now()
    entries = tuple(
        Spend(since=now, until=now, events=100, bad=bad, spent_ratio=bad / 100, cause=SpendCause.UNKNOWN)
        for bad in (5.0, 10.0, 15.0, 20.0)
    )
    ledger = SpendLedger(
        service=KEY,
        objective="x",
        at=now,
        bad=60.0,
        allowed=100.0,
        window_s=1.0,
        usual_bad=10.0,
        entries=entries,
    )
    assert spenders(ledger) == "unknown 20.0 %, unknown 15.0 %, unknown 10.0 %, the rest 15.0 %"
    assert spenders(None) == ""
