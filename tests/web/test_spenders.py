"""The service page names who spent its budgets, out of the ledgers on record."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from litestar import Litestar
from litestar.testing import TestClient
from msgspec.structs import replace

from poise.model.balance import Budget, Burn
from poise.model.objective import IndicatorKind, Objective, Queries
from poise.model.service import Service
from poise.model.spend import BurnNow, Outlook, Spend, SpendCause, SpendLedger
from poise.web.spend_compose import trend

Client = TestClient[Litestar]
Headers = Callable[..., dict[str, str]]
KEY = "shop/production/web"


@pytest.fixture
def client(house: Any) -> Iterator[Client]:
    with TestClient(house.app(), raise_server_exceptions=False) as client:
        yield client


def budget(house: Any, *, bad: float, rate: float | None = 3.0) -> Budget:
    now = house.clock.now()
    return Budget(
        service=KEY, objective="availability", target_ratio=0.999, window_s=2_419_200.0, good=1e6, bad=500,
        allowed=1_000.0, left_ratio=0.5, coverage_ratio=1.0, bootstrap=False, since=now - timedelta(days=28),
        burns=(Burn(window_s=21_600.0, rate=rate, coverage_ratio=1.0, events=9e3, bad=bad),), measured_at=now,
        at=now,
    )  # fmt: skip


@pytest.fixture
def spent(house: Any) -> None:
    now = house.clock.now()
    entries = tuple(
        Spend(
            since=now - timedelta(hours=hours), until=now - timedelta(hours=hours - 1), events=9_000, bad=bad,
            spent_ratio=bad / 1_000, cause=cause, subject=subject, name=name, why="it began 4 min after",
        )
        for hours, bad, cause, subject, name in (
            (9, 31.0, SpendCause.DEPLOY, f"{KEY}/000043", "release 43 of web"),
            (5, 120.0, SpendCause.INCIDENT, "shop/000007", "incident 7"),
            (3, 11.0, SpendCause.UNKNOWN, "", ""),
        )
    )  # fmt: skip
    burn = BurnNow(
        test="fast", pages=True, since=now, events=900, bad=60, spent_ratio=0.06, burn_rate=15.0,
        real_chance=0.9999,
    )  # fmt: skip
    of = {"service": KEY, "objective": "availability", "at": now, "bad": 500, "allowed": 1_000.0}
    house.write(
        budget(house, bad=31.0),
        Outlook(**of, window_s=2_419_200.0, burn=burn),
        SpendLedger(**of, window_s=2_419_200.0, usual_bad=338, entries=entries),
    )


@pytest.mark.usefixtures("spent")
def test_the_dearest_spender_stands_first_with_the_way_to_it(client: Client, headers: Headers) -> None:
    """'v43 cost 3.1 % of the month', on the page where everybody looks."""
    html = client.get(f"/services/{KEY}", headers=headers("viewer")).text
    card = html.partition("What the budget was spent on")[2].partition("</section>")[0]
    assert [name for name in ("incident 7", "release 43 of web", "unknown") if name in card]
    assert card.index("12 %") < card.index("3.1 %") < card.index("1.1 %")
    assert 'href="/rollouts/shop/production/web/43"' in card and 'href="/projects/shop/incidents/7"' in card
    assert f'href="/services/{KEY}/objectives/availability"' in html


@pytest.mark.usefixtures("spent")
def test_the_overview_names_the_burn_first(client: Client, headers: Headers) -> None:
    """The one who opens it at night needs no second page to know."""
    html = client.get("/", headers=headers("viewer")).text
    assert "web first: availability burns 15.0× too fast" in html
    assert "-3.1 % in 6 h" in html


def test_a_trend_is_said_only_where_it_is_known(house: Any) -> None:
    """Two failures are no trend, and an unmeasured hour is not a calm one."""
    assert trend(budget(house, bad=31.0)) == "-3.1 % in 6 h"
    assert trend(budget(house, bad=2.0)) == "steady"
    assert trend(budget(house, bad=0.0, rate=None)) == "" and trend(None) == ""


def test_a_service_that_runs_elsewhere_has_its_pages(house: Any, client: Client, headers: Headers) -> None:
    """No replica of ours is no trouble where none was ever to be."""
    key = "shop/production/out"
    house.write(
        Service(project="shop", environment="production", name="out", command=""),
        replace(budget(house, bad=31.0), service=key),
        Objective(
            service=key, name="availability", indicator=IndicatorKind.QUERY, target_ratio=0.999,
            queries=Queries(bad='errors{app="out"}', total='requests{app="out"}'),
        ),
    )  # fmt: skip
    page = client.get(f"/services/{key}", headers=headers("operator")).text
    assert "runs elsewhere" in page and "poise gate check -s out" in page and "/act/restart/" not in page
    row = client.get("/", headers=headers("viewer")).text.partition(">out</a>")[2].partition("</tr>")[0]
    assert "elsewhere" in row and "50 %" in row and "unknown" not in row
    own = client.get(f"/services/{key}/objectives/availability", headers=headers("viewer")).text
    assert "errors{app=&#34;out&#34;}[28d]" in own
