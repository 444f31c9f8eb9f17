"""When alerts fire and end: tables of what is seen, with the alert that comes of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from poise.model.balance import Budget, Burn
from poise.model.delivery import ChangeClass, Rollout, RolloutState
from poise.model.fleet import HealOrder, Identity, Replica, RollbackRequest, Route
from poise.model.incident import Alert, AlertState, Severity
from poise.model.ingress import Certificate
from poise.model.policy import Alerting, AlertTier, BurnTier, Urgency
from poise.model.record import Decision
from poise.model.service import BurnAlerts, Detection, Service
from poise.model.spend import BurnNow, Outlook
from poise.reliability.detection.conditions import Seen, onset
from poise.reliability.detection.decide import decide

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
KEY = "shop/production/web"
WEB = Service(project="shop", environment="production", name="web", command="run", port=80)
SLOW, FAST = BurnTier(long_s=21_600, short_s=1800, factor=6), BurnTier(long_s=3600, short_s=300, factor=14.4)


SITE = replace(WEB, hostname="web.example.com")


def certificate(days: float, *hosts: str, life_days: float = 90) -> Certificate:
    named = hosts or ("web.example.com",)
    name = f"{days}{named}"
    ends = NOW + timedelta(days=days)
    begins = ends - timedelta(days=life_days)
    return Certificate(name=name, file="/tls/web.pem", hosts=named, begins_at=begins, expires_at=ends)


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def rollout(n: int = 1, state: RolloutState = RolloutState.LIVE, **more: Any) -> Rollout:
    return Rollout(
        project="shop", environment="production", service="web", n=n, release=n, digest="d", revision="r",
        commit="c", summary="s", change_class=ChangeClass.FEATURE, spec=WEB, state=state,
        created_at=ago(9000), finished_at=ago(9000), **more,
    )  # fmt: skip


def burns(fast: float | None = 0.0, slow: float | None = 0.0) -> tuple[Burn, ...]:
    rates = {300.0: fast, 1800.0: slow, 3600.0: fast, 21_600.0: slow}
    return tuple(
        Burn(window_s=w, rate=rate, coverage_ratio=1, events=w * 10, bad=0 if not rate else 100)
        for w, rate in rates.items()
    )


def budget(name: str = "availability", **more: Any) -> Budget:
    values: dict[str, Any] = {
        "good": 1e6, "bad": 100, "allowed": 1000, "left_ratio": 0.9, "burns": burns(), "coverage_ratio": 1,
        "bootstrap": False, "since": ago(90_000), "measured_at": ago(2), "at": ago(1), "rate_per_s": 10,
    }  # fmt: skip
    return Budget(service=KEY, objective=name, target_ratio=0.999, window_s=2e6, **{**values, **more})


def replica(index: int, *, ready: bool = True, failing_s: float | None = None, **more: Any) -> Replica:
    failing = None if failing_s is None else ago(failing_s)
    values: dict[str, Any] = {"rollout": 1, "started_at": ago(9000), "failing_since": failing}
    return Replica(service=KEY, index=index, ready=ready, **{**values, **more})


def seen(**more: Any) -> Seen:
    values: dict[str, Any] = {
        "service": WEB, "objectives": ("availability",), "budgets": (budget(),), "live": rollout(),
        "replicas": (replica(0), replica(1)), "watched_since": ago(9000),
    }  # fmt: skip
    return Seen(key=KEY, **{**values, **more})


def alerts(decision: Decision) -> dict[str, Alert]:
    return {write.body.name: write.body for write in decision.writes if isinstance(write.body, Alert)}


def heal(index: int, **more: Any) -> HealOrder:
    return HealOrder(
        replica=f"{KEY}/000001/{index:03d}", identity=Identity(pid=1, start_ticks=1), reason="half fail",
        at=ago(7), **more,
    )  # fmt: skip


def outlook(test: str, *, pages: bool = True, burn_rate: float = 8.0, at: datetime | None = None) -> Outlook:
    burn = BurnNow(
        test=test, pages=pages, since=ago(900), events=5000, bad=40, spent_ratio=0.04, burn_rate=burn_rate,
        real_chance=0.97,
    )  # fmt: skip
    return Outlook(
        service=KEY, objective="availability", at=at or ago(5), bad=100, allowed=1000, window_s=2e6, burn=burn
    )


CRASHED = tuple(ago(at) for at in (200, 100, 50))
FIRES = {
    "nothing": (seen(), {}),
    "a test finds a burn that no tier sees": (
        seen(outlooks=(outlook("slow"),)), {"burn/availability": Severity.SEV2}
    ),
    "an outage": (seen(outlooks=(outlook("outage", burn_rate=900.0),)), {"burn/availability": Severity.SEV1}),
    "a burn that can wait": (
        seen(outlooks=(outlook("trickle", pages=False),)), {"burn/availability": Severity.SEV3}
    ),
    "tiers and tests are one alert": (
        seen(budgets=(budget(burns=burns(fast=20, slow=20)),), outlooks=(outlook("slow"),)),
        {"burn/availability": Severity.SEV1},
    ),
    "tests are not asked for": (
        seen(outlooks=(outlook("outage"),), timing=Detection(burns=BurnAlerts.TIERS)), {}
    ),
    "tiers are not asked for": (
        seen(
            budgets=(budget(burns=burns(fast=20, slow=20)),), timing=Detection(burns=BurnAlerts.SEQUENTIAL)
        ),
        {},
    ),
    "an outlook that nobody renews": (seen(outlooks=(outlook("outage", at=ago(1000)),)), {}),
    "a tier that is a ticket": (
        seen(budgets=(budget(burns=burns(fast=3, slow=3)),),
             timing=Detection(tickets=(BurnTier(long_s=21_600, short_s=1800, factor=2),))),
        {"burn/availability": Severity.SEV3},
    ),
    "too few bad events for any tier": (
        seen(budgets=(budget(burns=burns(fast=20, slow=20)),), timing=Detection(failures_min=101)), {}
    ),
    "the fast tier": (
        seen(budgets=(budget(burns=burns(fast=20, slow=20)),)), {"burn/availability": Severity.SEV1}
    ),
    "the slow tier": (
        seen(budgets=(budget(burns=burns(fast=7, slow=7)),)), {"burn/availability": Severity.SEV2}
    ),
    "a stale burn says nothing": (
        seen(budgets=(budget(burns=burns(fast=20, slow=20), measured_at=ago(90)),)), {}
    ),
    "nobody ready": (
        seen(replicas=(replica(0, ready=False, failing_s=9), replica(1, ready=False, failing_s=6))),
        {"replicas": Severity.SEV1},
    ),
    "nobody ready for a moment": (
        seen(replicas=(replica(0, ready=False, failing_s=9), replica(1, ready=False, failing_s=3))), {}
    ),
    "too few for long": (
        seen(replicas=(replica(0), replica(1, ready=False, failing_s=61))), {"replicas": Severity.SEV2}
    ),
    "too few for a while": (seen(replicas=(replica(0), replica(1, ready=False, failing_s=59))), {}),
    "one of three is enough too few": (
        seen(replicas=(replica(0), replica(1), replica(2, ready=False, failing_s=900))), {}
    ),
    "one died a moment ago and its next start is not seen yet": (
        seen(replicas=(replica(0), replica(1, ready=False, exited_at=ago(1)))), {}
    ),
    "one died a minute ago and was not started again": (
        seen(replicas=(replica(0), replica(1, ready=False, exited_at=ago(61)))), {"replicas": Severity.SEV2}
    ),
    "a canary that is not ready": (
        seen(
            active=rollout(2, RolloutState.STARTING),
            replicas=(replica(0), replica(1), replica(0, ready=False, failing_s=900, rollout=2)),
        ),
        {},
    ),
    "nothing live yet": (seen(live=None, replicas=(), budgets=()), {}),
    "nothing measured for long": (
        seen(budgets=(budget(measured_at=ago(121)),)), {"signal": Severity.SEV2}
    ),
    "never measured": (
        seen(budgets=(budget(measured_at=None, since=ago(200)),)), {"signal": Severity.SEV2}
    ),
    "never measured but new": (seen(budgets=(budget(measured_at=None, since=ago(20)),)), {}),
    "declared a moment ago": (seen(budgets=()), {}),
    "we were away ourselves": (seen(budgets=(budget(measured_at=ago(900)),), watched_since=ago(5)), {}),
    "half fail together": (
        seen(heals=(heal(0, mass=True), heal(1, mass=True))), {"mass-failure": Severity.SEV1}
    ),
    "one heal": (seen(heals=(heal(0),), replicas=(replica(0, ready=False, failing_s=9), replica(1))), {}),
    "heals in vain": (
        seen(heals=(heal(0, count=3),), replicas=(replica(0, ready=False, failing_s=9), replica(1))),
        {"heal-failed": Severity.SEV2},
    ),
    "a live release crashes in a loop": (
        seen(request=RollbackRequest(service=KEY, rollout=1, reason="it crashes", at=ago(1))),
        {"crash-loop": Severity.SEV1},
    ),
    "a request about what is gone": (
        seen(request=RollbackRequest(service=KEY, rollout=9, reason="it crashed", at=ago(1))), {}
    ),
    "a certificate with two weeks left": (seen(service=SITE, certificates=(certificate(14.1),)), {}),
    "a certificate that nothing renewed": (
        seen(service=SITE, certificates=(certificate(13.9),)), {"certificate": Severity.SEV3}
    ),
    "a certificate of six days that is young": (
        seen(service=SITE, certificates=(certificate(1.1, life_days=6),)), {}
    ),
    "a certificate of six days that nothing renewed": (
        seen(service=SITE, certificates=(certificate(0.9, life_days=6),)), {"certificate": Severity.SEV3}
    ),
    "a certificate with days left": (
        seen(service=SITE, certificates=(certificate(60), certificate(2.9))), {"certificate": Severity.SEV2}
    ),
    "a certificate that has expired": (
        seen(service=SITE, certificates=(certificate(-0.1),)), {"certificate": Severity.SEV1}
    ),
    "a certificate of other hosts": (
        seen(service=SITE, certificates=(certificate(1, "a.org"), certificate(1, "*.a.example.com"))), {}
    ),
    "a certificate of every host": (
        seen(service=SITE, certificates=(certificate(1, "*.example.com"),)), {"certificate": Severity.SEV2}
    ),
    "a certificate that never served": (
        seen(service=SITE, certificates=(replace(certificate(1), expires_at=None, hosts=()),)), {}
    ),
    "one replica ends again and again": (
        seen(replicas=(replica(0, crashes=CRASHED), replica(1))), {"crash-loop": Severity.SEV2}
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", FIRES)
def test_what_is_seen_fires_exactly(case: str) -> None:
    given, expected = FIRES[case]
    decision = decide(given, NOW)
    assert {name: alert.severity for name, alert in alerts(decision).items()} == expected
    assert len(decision.events) == len(expected)
    for alert in alerts(decision).values():
        assert alert.started_at <= NOW == alert.seen_at


def test_a_burn_of_groups_is_one_alert_that_names_the_worst() -> None:
    """Fifty regions page once, and whoever is woken knows where to look."""
    told = outlook("slow")
    assert told.burn is not None
    burn = replace(told.burn, groups=("region=eu", "region=us"), groups_burning=7)
    found = alerts(decide(seen(outlooks=(replace(told, burn=burn),)), NOW))
    assert list(found) == ["burn/availability"]
    alert = found["burn/availability"]
    assert "burns its error budget in region=eu and 6 more groups 8 times too fast" in alert.summary
    assert (alert.numbers["groups"], alert.numbers["groups_burning"]) == (["region=eu", "region=us"], 7)


def test_a_burn_is_told_with_start_spend_chance_and_evidence() -> None:
    """Whoever is woken needs to know since when, what it cost, and whether it is real."""
    told = alerts(decide(seen(outlooks=(outlook("slow"),)), NOW))["burn/availability"]
    assert told.summary == (
        "availability burns its error budget 8 times too fast (90 % is left); "
        "4 % of the budget was spent since 11:45 UTC, 97 % likely to be real"
    )
    assert (told.numbers["test"], told.numbers["real_chance"], told.started_at) == ("slow", 0.97, ago(840))


def test_tiers_are_severities_of_one_alert_that_gets_worse_but_not_better() -> None:
    slow = alerts(decide(seen(budgets=(budget(burns=burns(7, 7)),)), NOW))["burn/availability"]
    fast = alerts(decide(seen(budgets=(budget(burns=burns(20, 20)),), alerts=(slow,)), NOW))
    assert (fast["burn/availability"].severity, fast["burn/availability"].count) == (Severity.SEV1, 1)
    again = decide(seen(budgets=(budget(burns=burns(7, 7)),), alerts=(fast["burn/availability"],)), NOW)
    assert again.is_empty


def test_an_alert_ends_only_after_its_condition_was_gone_for_the_hold() -> None:
    firing = alerts(decide(seen(budgets=(budget(burns=burns(20, 20)),)), NOW))["burn/availability"]
    gone = decide(seen(alerts=(firing,)), NOW)
    clearing = alerts(gone)["burn/availability"]
    assert (clearing.state, clearing.clear_since, gone.events) == (AlertState.FIRING, NOW, ())
    assert gone.wake_at == NOW + timedelta(seconds=60)
    back = alerts(decide(seen(budgets=(budget(burns=burns(20, 20)),), alerts=(clearing,)), NOW))
    assert back["burn/availability"].clear_since is None
    over = decide(seen(alerts=(replace(clearing, clear_since=ago(60)),)), NOW)
    assert (alerts(over)["burn/availability"].state, len(over.events)) == (AlertState.RESOLVED, 1)
    fired = alerts(
        decide(
            seen(
                alerts=(alerts(over)["burn/availability"],), budgets=(budget(burns=burns(20, 20)),),
            ),
            NOW,
        )
    )["burn/availability"]  # fmt: skip
    assert (fired.count, fired.started_at) == (2, NOW)  # not before the end of the one before


@pytest.mark.parametrize(
    "unknown",
    [
        {"budgets": (budget(measured_at=ago(90)),)},
        {"budgets": (budget(measured_at=None, since=ago(20)),)},
        {"budgets": (budget(burns=burns(fast=None)),)},
    ],
)
def test_missing_data_never_ends_an_alert(unknown: dict[str, Any]) -> None:
    firing = alerts(decide(seen(budgets=(budget(burns=burns(20, 20)),)), NOW))["burn/availability"]
    held = replace(firing, clear_since=ago(3600))
    after = alerts(decide(seen(alerts=(held,), **unknown), NOW))["burn/availability"]
    assert (after.state, after.clear_since) == (AlertState.FIRING, None)


def test_a_service_that_is_no_longer_declared_has_no_alerts() -> None:
    firing = alerts(decide(seen(budgets=(budget(burns=burns(20, 20)),)), NOW))["burn/availability"]
    after = alerts(decide(seen(service=None, alerts=(firing,)), NOW))["burn/availability"]
    assert after.state is AlertState.RESOLVED


@pytest.mark.parametrize("began_s", [30, 200, 290, 600, 1500, 3000])
@pytest.mark.parametrize("share", [0.2, 1.0])
def test_the_onset_lies_between_its_edges(began_s: float, share: float) -> None:
    """A steady failure of ``share`` of 10 requests a second, begun so long ago."""
    windows = (300.0, 1800.0, 3600.0)
    made = tuple(
        Burn(window_s=w, rate=99.0, coverage_ratio=1, events=w * 10, bad=min(w, began_s) * 10 * share)
        for w in windows
    )
    earliest, latest = onset(budget(burns=made, measured_at=NOW), FAST)
    assert earliest <= ago(began_s) <= latest
    if began_s > 300:
        assert latest == ago(began_s)


def test_a_young_objective_has_not_burned_for_a_whole_window() -> None:
    """Ten slow requests in a service's first minute burn at any rate; they wake nobody."""
    young = decide(seen(budgets=(budget(burns=burns(20.0, 20.0), since=ago(60)),)), NOW)
    grown = decide(seen(budgets=(budget(burns=burns(20.0, 20.0), since=ago(30_000)),)), NOW)
    assert not young.writes and grown.writes


def test_a_certificate_is_told_with_its_file_and_looked_at_again_until_it_is_renewed() -> None:
    """Nothing else wakes the look: the file of a certificate is nobody's object."""
    old = replace(certificate(5), problem="POISE-F313 /tls/web.key: the key is not that of /tls/web.pem")
    decision = decide(seen(service=SITE, certificates=(old,)), NOW)
    told = alerts(decision)["certificate"]
    assert told.summary.startswith("the certificate of web.example.com expires in 5 days (/tls/web.pem); ")
    assert "POISE-F313" in told.summary and decision.wake_at == NOW + timedelta(seconds=60)
    later = NOW + timedelta(seconds=60)
    fresh = seen(service=SITE, certificates=(certificate(90),), alerts=(told,))
    cleared = alerts(decide(fresh, later))["certificate"]
    done = decide(
        seen(service=SITE, certificates=(certificate(90),), alerts=(cleared,)), later + timedelta(hours=1)
    )
    assert alerts(done)["certificate"].state is AlertState.RESOLVED


def test_replicas_that_a_rolling_update_replaced_are_not_missing() -> None:
    """The new ones serve in their place; whoever is paged for every release stops reading pages."""
    active = rollout(2, RolloutState.STEPPING, beside=1)
    one = (replica(0), replica(1, ready=False, failing_s=600))
    assert "replicas" in alerts(decide(seen(replicas=one), NOW))
    assert "replicas" not in alerts(decide(seen(replicas=one, active=active), NOW))


OWN = Alerting(
    tiers=(
        AlertTier(long_s=3600, short_s=300, factor=2, hold_s=120),
        AlertTier(long_s=21_600, short_s=1800, factor=1, severity=Urgency.TICKET),
    )
)


@pytest.mark.parametrize(
    ("fast", "slow", "since", "severity"),
    [
        (3.0, 0.0, (ago(200), None), Severity.SEV1),
        (3.0, 0.0, (ago(60), None), None),  # not for long enough
        (20.0, 20.0, (None, None), None),  # the policy's tiers are not asked
        (0.5, 1.5, (None, ago(1)), Severity.SEV3),
        (3.0, 1.5, (ago(60), ago(60)), Severity.SEV3),
    ],
)
def test_tiers_of_an_objectives_own_alert_instead_of_the_policys(
    fast: float, slow: float, since: tuple[datetime | None, ...], severity: Severity | None
) -> None:
    own = budget(burns=burns(fast=fast, slow=slow), alerts=OWN, burning_since=since)
    for timing in (Detection(), Detection(burns=BurnAlerts.SEQUENTIAL)):
        found = alerts(decide(seen(budgets=(own,), timing=timing), NOW))
        assert {name: one.severity for name, one in found.items()} == (
            {"burn/availability": severity} if severity else {}
        )


def test_a_tier_that_has_to_hold_is_looked_at_again_when_it_has() -> None:
    for slow, since in ((0.0, None), (1.5, ago(1))):  # also while another one alerts already
        own = budget(burns=burns(fast=3.0, slow=slow), alerts=OWN, burning_since=(ago(100), since))
        assert decide(seen(budgets=(own,)), NOW).wake_at == NOW + timedelta(seconds=20)


def test_few_failures_are_no_burn_by_the_objectives_own_bound_or_the_projects() -> None:
    for bound, least, fires in ((None, 1000, False), (1000, 4, False), (50, 1000, True)):
        own = budget(
            burns=burns(fast=3.0), burning_since=(ago(200), None), alerts=replace(OWN, failures_min=bound)
        )
        found = alerts(decide(seen(budgets=(own,), timing=Detection(failures_min=least)), NOW))
        assert bool(found) is fires


@pytest.mark.parametrize(("since_s", "fires"), [(None, False), (59, False), (61, True)])
def test_a_change_that_envoy_does_not_take_is_told_once_it_lasts(since_s: float | None, fires: bool) -> None:
    """Users are served by what was before, and no way back would reach it either."""
    since = None if since_s is None else ago(since_s)
    said = "POISE-F303 Envoy refused rds.json" if since else ""
    route = Route(service=KEY, version=7, acked_version=6, trouble=said, troubled_since=since)
    found = alerts(decide(seen(route=route), NOW))
    assert ("traffic" in found) == fires
    if fires:
        assert (found["traffic"].severity, found["traffic"].started_at) == (Severity.SEV2, since)
        assert "Envoy refused rds.json" in found["traffic"].summary
