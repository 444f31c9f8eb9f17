"""The six rules, each as a table; a figure that cannot be explained would be a guess."""

from __future__ import annotations

from datetime import timedelta

import pytest
from tests.balance.scorecard.histories import SERVICE, START, Teller

from poise.balance.scorecard.decide import DAY_S, FIGURES, Figure, Scorecard, decide, evidence
from poise.balance.scorecard.deployments import Deployment
from poise.balance.scorecard.facts import Trigger
from poise.balance.scorecard.ledger import Ledger
from poise.model import event_types as types

END = START + timedelta(days=7)


def seen(teller: Teller, service: str = SERVICE) -> tuple[Deployment, ...]:
    ledger = Ledger()
    ledger.add(teller.rows)
    return ledger.deployments(service)


def card(teller: Teller) -> Scorecard:
    return decide(SERVICE, seen(teller), END, 7 * DAY_S)


def figure(teller: Teller, name: str) -> Figure:
    return card(teller).figures[FIGURES.index(name)]


def started() -> Teller:
    teller = Teller()
    teller.push("a", 0)
    teller.live(1, "a", 10)
    return teller


def test_the_first_deployment_is_a_baseline_without_lead_times() -> None:
    assert seen(started())[0].first
    assert figure(started(), "change_lead_time").value is None


def test_lead_time_is_per_commit_of_everything_since_what_was_live() -> None:
    """Two pushes went out with one deployment: each of their commits waited for its own time."""
    teller = started()
    teller.push("b", 20, ("b", 15))
    teller.push("c", 40, ("c1", 30), ("c", 35))
    teller.live(2, "c", 60)
    found = figure(teller, "change_lead_time")
    assert found.count == 3
    assert [commit.lead_s / 60 for commit in seen(teller)[1].commits or ()] == [45, 30, 25]
    assert found.parts["p50_s"] == 30 * 60
    assert found.parts["p90_s"] == 45 * 60
    assert found.parts["from_push_p50_s"] == 20 * 60


def test_an_unknown_range_gives_no_lead_time_and_says_so() -> None:
    teller = started()
    teller.live(2, "never-pushed", 60)
    found = figure(teller, "change_lead_time")
    assert found.value is None
    assert found.parts["ranges_unknown"] == 1


def test_a_push_of_merges_alone_brings_no_commit() -> None:
    teller = started()
    teller.tell(
        types.CHANGE_MERGED, "shop/m", 20, commit="m", commits=[], committed_at="2026-01-01T00:10:00Z"
    )
    teller.live(2, "m", 30)
    assert seen(teller)[1].commits == ()


def test_a_canary_that_was_taken_back_failed_and_did_not_go_live() -> None:
    teller = started()
    teller.taken_back(2, "b", at=100, detected=103, back=105)
    found = card(teller)
    values = {one.name: one for one in found.figures}
    assert values["deployment_frequency"].count == 1
    assert values["change_fail_ratio"].value == 0.5
    recovery = values["failed_deployment_recovery_time"]
    assert recovery.value == 5 * 60
    assert (recovery.parts["detection_p50_s"], recovery.parts["repair_p50_s"]) == (3 * 60, 2 * 60)


def test_a_canary_that_met_no_user_is_no_deployment() -> None:
    teller = started()
    key = f"{SERVICE}/000002"
    teller.tell(types.SERVICE_ROLLED_BACK, key, 50, rule="rolled_back", rollout=2, commit="b")
    assert len(seen(teller)) == 1


def test_what_a_rollback_replaced_failed_and_the_rollback_counts_as_none() -> None:
    teller = started()
    teller.push("b", 20)
    teller.live(2, "b", 30)
    teller.live(3, "a", 90, "rollback")
    _, bad, back = seen(teller)
    assert bad.failures == ("rolled_back",)
    assert bad.recovery_s == 60 * 60
    assert back.trigger is Trigger.ROLLBACK
    assert figure(teller, "change_fail_ratio").parts["deployments"] == 2


def test_a_linked_incident_makes_a_deployment_failed_until_it_is_resolved() -> None:
    teller = started()
    teller.incident(1, n=1, at=20, until=50)
    (found,) = seen(teller)
    assert (found.failures, found.incidents, found.recovery_s) == (("incident",), ("shop/000001",), 2400)
    assert found.failed_for_sure


def test_an_open_incident_has_not_recovered() -> None:
    teller = started()
    teller.incident(1, n=1, at=20, until=50)
    teller.incident(2, n=1, at=30, until=None)
    found = figure(teller, "failed_deployment_recovery_time")
    assert found.value is None
    assert found.parts["not_recovered"] == 1


def test_the_first_word_on_which_rollout_was_live_holds() -> None:
    """A later alert joins after the rollback; what is live then is not what failed."""
    teller = started()
    teller.incident(1, n=1, at=20, until=50)
    teller.tell(types.INCIDENT_JOINED, "shop/000001", 30, service=SERVICE, rollouts={SERVICE: 2})
    assert seen(teller)[0].failed


def test_an_incident_that_is_part_of_another_counts_once() -> None:
    teller = started()
    teller.incident(1, n=1, at=20, until=None)
    teller.tell(types.INCIDENT_MERGED, "shop/000001", 22, merged_into=2)
    assert not seen(teller)[0].failed


def test_a_victim_is_not_blamed() -> None:
    """The incident touched two services; the cause shows in the other one."""
    teller = started()
    teller.tell(
        types.INCIDENT_DETECTED, "shop/000001", 20, service="shop/production/db",
        rollouts={SERVICE: 1, "shop/production/db": 4},
    )  # fmt: skip
    assert not seen(teller)[0].failed


@pytest.mark.parametrize(("after_min", "failed"), [(24 * 60, True), (24 * 60 + 1, False)])
def test_rework_within_a_day_says_that_the_one_before_failed(after_min: float, failed: bool) -> None:
    teller = started()
    teller.push("b", 20)
    teller.live(2, "b", 10 + after_min, "fix")
    before, fix = seen(teller)
    assert before.failed is failed
    assert fix.trigger is Trigger.REWORK


def test_what_only_a_label_says_is_marked_as_guessed() -> None:
    teller = started()
    teller.push("b", 20)
    teller.live(2, "b", 60, "fix")
    rework, failed = figure(teller, "rework_ratio"), figure(teller, "change_fail_ratio")
    assert (rework.value, rework.guessed, rework.certain) == (0.5, 1, 0.0)
    assert (failed.value, failed.guessed, failed.certain) == (0.5, 1, 0.0)
    assert "guessed" in rework.sentence


def test_a_commit_that_names_its_incident_is_rework_for_sure() -> None:
    teller = started()
    teller.push("b", 20, incident="shop/000007")
    teller.live(2, "b", 60)
    found = figure(teller, "rework_ratio")
    assert (found.value, found.guessed) == (0.5, 0)
    assert seen(teller)[1].incidents == ("shop/000007",)


def test_an_empty_bucket_has_no_figure_and_never_zero() -> None:
    found = card(started())
    assert len(found.buckets) == 7
    assert set(found.buckets[3].values.values()) == {None}
    assert found.buckets[0].values["deployment_frequency"] == 1.0
    assert all(one.value is None for one in found.previous)


def test_a_deployment_counts_when_it_was_deployed_and_the_window_is_half_open() -> None:
    found = seen(started())
    at = found[0].finished_at
    assert decide(SERVICE, found, at, DAY_S).figures[0].value is None
    assert decide(SERVICE, found, at + timedelta(microseconds=1), DAY_S).figures[0].value == 1.0


def test_every_figure_opens_to_its_deployments() -> None:
    teller = started()
    teller.push("b", 20)
    event = teller.live(2, "b", 30)
    assert [one.event for one in evidence("change_lead_time", seen(teller))] == [event]
    assert figure(teller, "change_lead_time").evidence == (event,)


def test_deployments_that_other_systems_tell_of_count_too() -> None:
    teller = started()
    content = {"artifactId": "pkg:oci/web@2", "environment": {"id": "production"}}
    for kind, at in ((types.SERVICE_UPGRADED, 30), (types.SERVICE_ROLLED_BACK, 50)):
        told = {"subject": {"content": content}}
        teller.tell(kind, SERVICE, at, external=True, known=True, timestamp=None, event=told)
    _, bad, back = seen(teller)
    assert (bad.external, bad.digest, bad.failures) == (True, "pkg:oci/web@2", ("rolled_back",))
    assert back.trigger is Trigger.ROLLBACK


def test_a_failure_without_an_incident_is_over_when_its_burn_is() -> None:
    teller = started()
    teller.push("b", 20)
    teller.live(2, "b", 30)
    teller.tell(types.ALERT_RESOLVED, f"{SERVICE}/burn", 40, source="burn")
    teller.live(3, "a", 60, "rollback")
    assert seen(teller)[1].recovery_s == 10 * 60
