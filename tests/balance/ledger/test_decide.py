"""The ledger of an objective: all adds up, and each entry is charged with its evidence."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from poise.balance.ledger.decide import Seen, decide, ledger, sentence
from poise.model.delivery import ChangeClass, Rollout, RolloutState, Trial
from poise.model.event_types import BUDGET_CHARGED
from poise.model.incident import Diagnosis, Incident, Severity, Suspect, SuspectKind
from poise.model.service import Service
from poise.model.spend import Outlook, Spend, SpendCause, SpendEpisode, SpendLedger

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
SHOP = "acme/production/shop"
KEY = f"{SHOP}/availability"


def ago(minutes: float) -> datetime:
    return NOW - timedelta(minutes=minutes)


def episode(began: float, ended: float | None, bad: float = 310.0) -> SpendEpisode:
    return SpendEpisode(
        since=ago(began), until=None if ended is None else ago(ended), events=10 * bad, bad=bad,
        onsets=((ago(began).timestamp(), 1.0),),
    )  # fmt: skip


def outlook(*episodes: SpendEpisode, bad: float = 1000.0, at: datetime = NOW) -> Outlook:
    return Outlook(
        service=SHOP, objective="availability", at=at, bad=bad, allowed=10_000.0, window_s=28 * 86_400.0,
        episodes=episodes,
    )  # fmt: skip


def rollout(n: int, started: float, **changes: object) -> Rollout:
    service = Service(project="acme", environment="production", name="shop", command="run")
    fields: dict[str, object] = {
        "project": "acme", "environment": "production", "service": "shop", "n": n, "release": n,
        "digest": f"d{n}", "revision": f"r{n}", "commit": "c", "summary": f"work {n}", "baseline": n - 1,
        "change_class": ChangeClass.FEATURE, "spec": service, "state": RolloutState.RETIRED,
        "created_at": ago(started + 1), "started_at": ago(started),
    }  # fmt: skip
    return Rollout(**(fields | changes))  # type: ignore[arg-type]


def incident(began: float) -> Incident:
    return Incident(
        project="acme", environment="production", n=7, title="shop fails", severity=Severity.SEV1,
        service=SHOP, services=(SHOP,), onset_at=ago(began), opened_at=ago(began),
    )  # fmt: skip


def seen(**changes: object) -> Seen:
    fields: dict[str, object] = {"key": KEY, "declared": True, "outlook": outlook(episode(60, 30))}
    return Seen(**(fields | changes))  # type: ignore[arg-type]


def charged(one: Seen) -> Spend:
    assert one.outlook is not None
    return ledger(one, one.outlook, NOW).entries[0]


def test_a_deploy_is_charged_with_what_it_cost() -> None:
    """'v43 cost 3.1 % of the month' on the service page, in the post-mortem and in the pull request."""
    entry = charged(seen(rollouts=(rollout(42, 500), rollout(43, 62))))
    assert (entry.cause, entry.subject) == (SpendCause.DEPLOY, f"{SHOP}/000043")
    assert sentence("availability", entry) == "release 43 of shop cost 3.1 % of the availability budget"
    assert entry.why.startswith("it began 2 min after")


def tried(e_value: float, **more: object) -> Trial:
    """Both revisions answered from 62 to 52 minutes ago; this is the evidence that the new one fails more."""
    return Trial(
        canary_requests=300, canary_errors=20, baseline_requests=2700, baseline_errors=180,
        first_request_at=ago(62), last_request_at=ago(52), e_value_harm=e_value, **more,  # type: ignore[arg-type]
    )  # fmt: skip


def test_a_fault_of_both_revisions_is_unknown_and_says_so_with_its_numbers() -> None:
    """The deploy just before is the first that people suspect: they are told why it is not charged."""
    entry = charged(seen(rollouts=(rollout(43, 62, trial=tried(0.002)),)))
    assert (entry.cause, entry.subject) == (SpendCause.UNKNOWN, "")
    assert entry.why.startswith(
        "nothing that changed explains it; release 43 of shop comes nearest: 2 min after, "
    )
    assert entry.why.endswith("% likely, and both revisions failed alike (e-value 0.002)")
    entry = charged(seen(rollouts=(rollout(43, 62, trial=tried(4e5)),)))
    assert entry.subject == f"{SHOP}/000043"
    assert entry.why.endswith("and the new revision failed more than the old one (e-value 4e+05)")


def test_a_trial_is_no_evidence_of_what_it_did_not_compare() -> None:
    """Of an objective that it does not judge, and of copies that nobody got the answers of."""
    alike = rollout(43, 62, trial=tried(0.002))
    assert charged(seen(rollouts=(alike,), metric="checkout")).subject == alike.key
    shadow = structs.replace(alike, mirror_percent=10)
    assert charged(seen(rollouts=(shadow,))).subject == alike.key
    alone = structs.replace(alike, trial=structs.replace(alike.trial, baseline_requests=0))
    assert charged(seen(rollouts=(alone,))).subject == alike.key


def test_a_change_of_settings_is_told_apart_from_a_deploy() -> None:
    """Config goes out as a rollout too."""
    entry = charged(seen(rollouts=(rollout(43, 61, changes=("config",)),)))
    assert entry.cause is SpendCause.CONFIG


def test_a_diagnosis_is_better_evidence_than_time() -> None:
    """Versions compared side by side beat what merely came before."""
    culprit = Suspect(
        kind=SuspectKind.DEPLOY, subject=f"{SHOP}/000042", summary="release 42 of shop", at=None, score=0.9,
        evidence=(),
    )  # fmt: skip
    found = Diagnosis(
        incident="acme/000007", at=NOW, onset_at=ago(60), explained=True, sentence="s", suspects=(culprit,)
    )
    entry = charged(
        seen(rollouts=(rollout(43, 61),), incidents=(incident(59),), diagnoses={"acme/000007": found})
    )
    assert (entry.subject, entry.chance) == (f"{SHOP}/000042", 0.9)


def test_an_incident_without_a_cause_is_charged_before_nobody() -> None:
    """It has a name and a post-mortem; unknown has neither."""
    assert charged(seen(incidents=(incident(59),))).subject == "acme/000007"
    assert charged(seen(incidents=(incident(20),))).cause is SpendCause.UNKNOWN
    assert charged(seen()).cause is SpendCause.UNKNOWN


def test_a_dependency_that_suffers_in_two_objectives_is_one_cause() -> None:
    """Else each would be less likely than both together, and nobody be charged."""
    pay = "acme/production/pay"
    spent = Spend(
        since=ago(60), until=ago(30), events=10, bad=5, spent_ratio=0.1, cause=SpendCause.DEPLOY,
        subject=f"{pay}/000007", name="release 7 of pay",
    )  # fmt: skip
    two = tuple(
        SpendLedger(
            service=pay,
            objective=name,
            at=NOW,
            bad=5,
            allowed=50,
            window_s=1e6,
            usual_bad=0,
            entries=(spent,),
        )
        for name in ("availability", "latency")
    )
    entry = charged(seen(dependencies=two, rollouts=(rollout(43, 90),)))
    assert (entry.cause, entry.subject) == (SpendCause.DEPENDENCY, pay)
    assert entry.name == "pay (release 7 of pay)"


@given(
    st.lists(st.tuples(st.integers(1, 50), st.integers(1, 400)), max_size=12),
    st.integers(0, 2000),
    st.lists(st.integers(0, 30), max_size=6),
)
def test_the_entries_and_the_usual_are_exactly_all(
    shape: list[tuple[int, int]], usual: int, looks_h: list[int]
) -> None:
    """Every unit of spend is dated and attributed; sums add up to the budget spent."""
    began, episodes = 1300, []
    for length, bad in shape:
        episodes.append(episode(began, began - length, float(bad)))
        began -= length + 10
    spent = usual + sum(bad for _, bad in shape)
    before, at = None, NOW
    for hours in [0, *looks_h]:
        at += timedelta(hours=hours)
        visible = tuple(one for one in episodes if one.since >= at - timedelta(days=1))
        now = outlook(*visible, bad=float(spent), at=at)
        before = ledger(seen(outlook=now, before=before), now, at)
        assert before.usual_bad + sum(one.bad for one in before.entries) == spent
        assert before.usual_bad >= 0
        assert len(before.entries) == len(shape)


def test_an_episode_longer_than_a_day_stays_one_entry() -> None:
    """Its start is what it was when it was seen."""
    first = ledger(seen(outlook=outlook(episode(60, None))), outlook(episode(60, None)), NOW)
    later = NOW + timedelta(hours=30)
    rest = SpendEpisode(
        since=later - timedelta(hours=24), until=None, events=9000, bad=900,
        onsets=(((later - timedelta(hours=24)).timestamp(), 1.0),),
    )  # fmt: skip
    after = outlook(rest, bad=5000.0, at=later)
    made = ledger(seen(outlook=after, before=first), after, later)
    assert [(one.since, one.bad) for one in made.entries] == [(ago(60), 900)]


def test_a_closed_entry_is_told_once_and_silence_writes_nothing() -> None:
    """The journal gets what was spent, not each count."""
    one = seen(rollouts=(rollout(43, 61),))
    first = decide(one, NOW)
    assert [event.type for event in first.events] == [BUDGET_CHARGED]
    body = first.writes[0].body
    assert isinstance(body, SpendLedger)
    assert decide(structs.replace(one, before=body), NOW).is_empty


def test_what_left_the_window_or_the_declaration_leaves_the_ledger() -> None:
    """A ledger is of the budget that is."""
    old = structs.replace(outlook(episode(60, 30)), window_s=1800.0)
    assert ledger(seen(outlook=old), old, NOW).entries == ()
    gone = decide(seen(declared=False, before=ledger(seen(), outlook(), NOW)), NOW)
    assert [write.body for write in gone.writes] == [None]


@pytest.mark.parametrize("state", [RolloutState.FAILED, RolloutState.WAITING])
def test_a_rollout_that_took_no_traffic_is_charged_with_nothing(state: RolloutState) -> None:
    """Users never saw it."""
    started = None if state is RolloutState.WAITING else ago(61)
    entry = charged(seen(rollouts=(rollout(43, 61, state=state, started_at=started),)))
    assert entry.cause is SpendCause.UNKNOWN
