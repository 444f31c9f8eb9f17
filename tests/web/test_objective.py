"""The objective page: sums that add up, a why for every number, and words for what nobody knows."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from types import ModuleType
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from litestar import Litestar
from litestar.testing import TestClient
from msgspec.structs import replace

from poise.model.balance import Budget, Burn
from poise.model.policy import Alerting, AlertTier, Level, PolicyState
from poise.model.slices import Contradiction
from poise.model.spend import BurnNow, Foresight, Outlook, Spend, SpendCause, SpendLedger
from poise.web import pages
from poise.web.objective_compose import period_words, queries
from poise.web.objective_views import ObjectiveView

Client = TestClient[Litestar]
Headers = Callable[..., dict[str, str]]
PATH = "/services/shop/production/web/objectives"
NOTHING = re.compile(r"\b(?:nan|None|null|inf)\b", re.IGNORECASE)
SHARES = re.compile(r'<td class="n">(?:<strong>)?([\d.,]+) %')


@pytest.fixture
def client(house: Any) -> Iterator[Client]:
    with TestClient(house.app(), raise_server_exceptions=False) as client:
        yield client


def words(html: str) -> str:
    """What a reader sees: no tags, no attributes."""
    return re.sub(r"<[^>]+>", " ", html.partition("<main")[2])


def test_the_ledger_adds_up_and_names_who_spent(samples: ModuleType) -> None:
    """A column of shares that does not add up to what was spent is believed by nobody."""
    view: ObjectiveView = samples.objective()
    html = pages.objective(view).partition('id="ledger"')[2].partition("</section>")[0]
    shares = [float(one) for one in SHARES.findall(html)]
    assert view.ledger is not None
    assert sum(shares[:-1]) == pytest.approx(shares[-1], abs=0.3)
    assert shares[-1] == pytest.approx(100 * view.ledger.bad / view.ledger.allowed, abs=0.05)
    assert shares[:-2] == sorted(shares[:-2], reverse=True)
    assert 'href="/rollouts/acme/production/storefront/42"' in html
    assert 'href="/projects/acme/incidents/119"' in html and "dependency" in html


def test_every_number_has_its_why(samples: ModuleType) -> None:
    """Rule, inputs and query stand beside each figure; nobody has to take one on trust."""
    html = pages.objective(samples.objective())
    told = dict(re.findall(r'<details id="(why-[^"]+)".*?<div>(.*?)</div></details>', html))
    for about in ("kept", "events", "budget", "failed", "left", "level", "forecast", "measured-time"):
        assert f"why-{about}" in told, about
    assert "poise_errors_total" in told["why-left"] and "64,800" in told["why-left"]
    assert len(set(re.findall(r'id="([^"]+)"', html))) == len(re.findall(r' id="([^"]+)"', html))


def test_an_unknown_objective_says_so_and_shows_no_number(samples: ModuleType) -> None:
    """What nobody has measured is neither well nor ill."""
    html = pages.objective(samples.objective("young"))
    assert 'class="pill unknown"' in html and 'class="pill go"' not in html
    assert "Nothing is measured yet" in html and "No budget is counted yet" in html


def test_a_composite_of_occurrences_is_told_by_its_components(samples: ModuleType) -> None:
    """Nothing is counted for it itself: no word of the page may say that something was, or will be."""
    view: ObjectiveView = samples.objective("composite")
    text = " ".join(words(pages.objective(view)).split())
    for wrong in (
        "Counted one by one", "Good over all events", "All bad events", "Declared in poise.yaml",
        "have not looked yet", "first stretch of failures", "three days of counts", "first counts",
        "readings of the same counters", "may fail", "kept over the window",
    ):  # fmt: skip
        assert wrong not in text, wrong
    told = dict(re.findall(r'<details id="(why-[^"]+)".*?<div>(.*?)</div></details>', pages.objective(view)))
    assert "62 % × 0.5" in told["why-spent"] and "48 % × 1" in told["why-spent"]
    assert "spent 79 % why" in text and "left 21 % why" in text  # 0.62 x 0.5 + 0.48
    assert "The lowest of its components" in told["why-target"]
    assert "times its weight, added up" in told["why-burn-over-6-h"]
    for name in ("availability", "latency"):
        assert text.count(f"storefront/{name}") >= 3, "the way to what is counted"
    counted = " ".join(words(pages.objective(samples.objective())).split())
    assert "Declared in poise.yaml" in counted and "kept over the window" in counted


def test_a_burn_tells_its_start_its_spend_and_how_sure_it_is(samples: ModuleType) -> None:
    """These three decide whether somebody gets up."""
    text = " ".join(words(pages.objective(samples.objective("overspent"))).split())
    assert "28 Nov 09:22 : fast burn, 14.7× what the budget can bear" in text
    assert "0.6 % of the budget went since. More than 99.9 % likely real." in text
    assert "unfreezes 17 Dec 14:00" in text


def test_a_tier_that_is_over_is_never_told_as_calm(samples: ModuleType) -> None:
    """The tests need minutes of evidence; the page must not say meanwhile that nothing burns."""
    view: ObjectiveView = samples.objective()
    assert view.budget is not None
    hot = tuple(replace(one, rate=170.0, bad=6_000.0) for one in view.budget.burns)
    html = pages.objective(replace(view, budget=replace(view.budget, burns=hot)))
    assert "A tier below is over" in html and "no burn" not in words(html)
    assert "The sequential tests see no burn" in pages.objective(view)


def test_tiers_of_its_own_stand_where_the_policys_would(samples: ModuleType) -> None:
    """Who declared them wants to see these, with what they are for."""
    view: ObjectiveView = samples.objective()
    assert view.budget is not None
    own = Alerting(tiers=(AlertTier(long_s=3600, short_s=300, factor=2, hold_s=120),), failures_min=7)
    hot = tuple(replace(one, rate=3.0, bad=8.0) for one in view.budget.burns)
    shown = replace(
        view,
        objective=replace(view.objective, alerts=own),
        budget=replace(view.budget, alerts=own, burning_since=(None,), burns=hot),
    )
    text = words(pages.objective(shown))
    assert "Tiers of its own" in text and "Tiers that page" not in text
    assert "2× in 1 h and 5 min for 2 min: page" in text and "at least 7 failed" in text


ratio = st.one_of(st.floats(-30.0, 1.0), st.sampled_from((0.0, 1.0, -18.66)))
share = st.floats(0.0, 1.0)
count = st.sampled_from((0.0, 1e-300, 0.5, 3.0, 412.0, 1e12))
maybe = st.one_of(st.none(), share)


NOW = datetime(2026, 11, 28, 9, 40, tzinfo=UTC)
LATER = NOW + timedelta(days=3)
OF = {
    "service": st.just("acme/production/storefront"),
    "objective": st.just("availability"),
    "at": st.just(NOW),
}
WINDOW_S = st.just(2_419_200.0)

burns = st.builds(
    Burn,
    window_s=st.sampled_from((300.0, 3600.0, 21_600.0)),
    rate=st.one_of(st.none(), count),
    coverage_ratio=share,
    events=count,
    bad=count,
)
budgets = st.builds(
    Budget,
    **OF,
    target_ratio=st.sampled_from((0.5, 0.999, 0.99999)),
    window_s=WINDOW_S,
    good=count,
    bad=count,
    allowed=count,
    left_ratio=ratio,
    burns=st.lists(burns, max_size=3, unique_by=lambda one: one.window_s).map(tuple),
    coverage_ratio=share,
    bootstrap=st.booleans(),
    since=st.just(NOW),
    measured_at=st.sampled_from((None, NOW)),
    rate_per_s=count,
    recovers_at=st.sampled_from((None, LATER)),
    interpolated=st.booleans(),
    problem=st.sampled_from(("", "the source does not answer")),
    assumed_bad=count,
    excluded_s=st.sampled_from((0.0, 3600.0)),
    unadjusted_left_ratio=maybe,
)
spends = st.builds(
    Spend,
    since=st.just(NOW),
    until=st.sampled_from((None, NOW)),
    events=count,
    bad=count,
    spent_ratio=share,
    cause=st.sampled_from(SpendCause),
    subject=st.just("acme/000001"),
)
ledgers = st.builds(
    SpendLedger,
    **OF,
    bad=count,
    allowed=count,
    window_s=WINDOW_S,
    usual_bad=count,
    entries=st.lists(spends, max_size=3).map(lambda few: tuple(few * 15)),
)
burning = st.builds(
    BurnNow,
    test=st.sampled_from(("outage", "fast", "slow", "trickle")),
    pages=st.booleans(),
    since=st.just(NOW),
    events=count,
    bad=count,
    spent_ratio=share,
    burn_rate=count,
    real_chance=share,
)
ahead = st.builds(
    Foresight,
    at=st.just(NOW),
    until=st.just(LATER),
    left_low=ratio,
    left_middle=ratio,
    left_high=ratio,
    spent_chance=share,
    spent_chance_low=share,
    spent_chance_high=share,
    days=st.just(3),
    returns_at=st.sampled_from((None, LATER)),
    returns_earliest=st.sampled_from((None, LATER)),
)
outlooks = st.builds(
    Outlook,
    **OF,
    bad=count,
    allowed=count,
    window_s=WINDOW_S,
    real_chance=share,
    burn=st.one_of(st.none(), burning),
    foresight=st.one_of(st.none(), ahead),
)
levels = st.builds(
    PolicyState,
    service=OF["service"],
    policy=st.just("default"),
    level=st.sampled_from(Level),
    since=st.just(NOW),
    at=st.just(NOW),
    left_ratio=maybe,
)
odd = st.fixed_dictionaries(
    {
        "budget": st.one_of(st.none(), budgets),
        "ledger": st.one_of(st.none(), ledgers),
        "outlook": st.one_of(st.none(), outlooks),
        "level": st.one_of(st.none(), levels),
    }
)


@pytest.mark.parametrize("kind", ["objective", "young", "overspent"])
@given(records=odd)
@settings(
    max_examples=25,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow],
)
def test_no_odd_budget_shows_a_nan_or_a_none(kind: str, records: dict[str, Any], samples: ModuleType) -> None:
    """Unknown, without traffic, spent nineteen times over, young: each is words or a dash."""
    html = pages.objective(replace(samples.objective(kind), **records))
    assert NOTHING.search(words(html)) is None
    assert "nan" not in "".join(re.findall(r'[ "](?:d|x|y|width|points)="([^"]*)"', html))
    assert len(html.encode()) < 150_000


def test_the_page_is_there_before_anything_is_counted(client: Client, headers: Headers) -> None:
    """Somebody who has just declared an objective looks at once."""
    page = client.get(f"{PATH}/availability", headers=headers("viewer"))
    assert page.status_code == 200
    assert "availability has no budget yet" in page.text
    assert "poise_requests_total" in page.text or "No budget is counted yet" in page.text


def test_an_unknown_objective_is_not_found(client: Client, headers: Headers) -> None:
    """With the command that lists those that there are."""
    page = client.get(f"{PATH}/nothing", headers={**headers("viewer"), "accept": "text/html"})
    assert page.status_code == 404
    assert "poise slo web" in page.text


def test_strangers_see_nothing(client: Client, headers: Headers) -> None:
    """A budget tells how a business goes."""
    assert client.get(f"{PATH}/availability", headers=headers("other-admin")).status_code in (403, 404)


def test_the_query_is_one_that_can_be_asked(samples: ModuleType) -> None:
    """A why that cannot be repeated explains nothing."""
    from promql_parser import parse

    view: ObjectiveView = samples.objective()
    for _, query in queries(view.objective):
        parse(query)
    assert period_words(view.objective.window) == "28 days"


def test_a_slice_whose_numbers_cannot_be_is_told_with_its_mend(samples: ModuleType) -> None:
    """A gap and a lie look alike in a share of measured time."""
    view: ObjectiveView = samples.objective()
    assert view.budget is not None and "ontradictory" not in pages.objective(view)
    since = view.chrome.at - timedelta(hours=5)
    lie = Contradiction(since=since, until=since + timedelta(minutes=1), what="good", excess=1234.0)
    told = words(pages.objective(replace(view, budget=replace(view.budget, contradiction=lie))))
    assert f"Contradictory: good exceeds total by 1,234 at {since:%Y-%m-%d %H:%M} UTC." in told
    assert "poise slo exclude NAME storefront/" in told
