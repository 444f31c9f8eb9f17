"""Which change did it: tables of single rules, and many seeded incidents in random graphs."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace
from tests.reliability.cause import town

from poise.model.event_types import CAUSE_DIAGNOSED
from poise.model.incident import Diagnosis, Incident, IncidentState, Severity, SuspectKind
from poise.reliability.cause.decide import decide, diagnose
from poise.reliability.cause.evidence import Flow
from poise.reliability.cause.scene import Candidate, Measure, Seen

ONSET = town.ONSET
SHOP, PAY, CARD = (f"acme/production/{name}" for name in ("shop", "pay", "card"))
GRAPH = {SHOP: (PAY,), PAY: (CARD,), CARD: (), "acme/production/blog": ()}
NOW = ONSET + timedelta(seconds=120)


def incident(**changes: Any) -> Incident:
    fields: dict[str, Any] = {
        "project": "acme", "environment": "production", "n": 1, "title": "pay fails",
        "severity": Severity.SEV1, "service": PAY, "services": (PAY, SHOP), "onset_at": ONSET,
        "opened_at": ONSET + timedelta(seconds=5),
    }  # fmt: skip
    return Incident(**(fields | changes))


def change(service: str = PAY, n: int = 2, before_s: float = 10.0, **changes: Any) -> Candidate:
    fields: dict[str, Any] = {
        "kind": SuspectKind.DEPLOY, "subject": f"{service}/{n:06d}", "service": service,
        "summary": f"release {n}", "began_at": ONSET - timedelta(seconds=before_s), "n": n, "old": n - 1,
        "events": (7, 8),
    }  # fmt: skip
    return Candidate(**(fields | changes))


def flow(start_s: float, end_s: float, bad_ratio: float, rate: float = 10.0, step_s: float = 5.0) -> Flow:
    """A steady flow from ``start_s`` to ``end_s`` after the onset."""
    count = int((end_s - start_s) / step_s)
    at = tuple(ONSET.timestamp() + start_s + step_s * (i + 1) for i in range(count))
    return Flow(at, (rate * step_s,) * count, (rate * step_s * bad_ratio,) * count)


def join(*flows: Flow) -> Flow:
    columns = ([x for one in flows for x in getattr(one, name)] for name in ("at", "trials", "bad"))
    return Flow(*(tuple(column) for column in columns))


def seen(*candidates: Candidate, flows: dict[str, dict[int, Flow]] | None = None, **changes: Any) -> Seen:
    return Seen(
        incident=incident(**changes),
        depends_on=GRAPH,
        candidates=candidates,
        flows={Measure.FAILED: STRAIGHT if flows is None else flows},
    )


CALM = {1: flow(-600, 120, 0.001)}
STRAIGHT = {PAY: {1: flow(-600, -10, 0.001), 2: flow(-10, 120, 0.3)}, SHOP: CALM, CARD: CALM}
CANARY = {
    PAY: {1: flow(-600, 120, 0.001, 8.0), 2: flow(-10, 120, 0.3, 2.0)}, SHOP: CALM, CARD: CALM
}  # fmt: skip
FOLLOWED = STRAIGHT | {PAY: STRAIGHT[PAY] | {3: flow(40, 120, 0.3)}}
BOTH_FAIL = {
    PAY: {
        1: join(flow(-600, 0, 0.001, 8.0), flow(0, 120, 0.3, 8.0)),
        2: join(flow(-60, 0, 0.001, 2.0), flow(0, 120, 0.3, 2.0)),
    }
}
PASSED_ON = {
    SHOP: {1: flow(-600, -10, 0.0), 2: join(flow(-10, 0, 0.0), flow(0, 120, 0.2))},
    PAY: {1: join(flow(-600, 0, 0.0), flow(0, 120, 0.3))},
}
CARD_FAILS = {
    PAY: {1: join(flow(-600, 0, 0.0), flow(0, 120, 0.2))},
    CARD: {1: join(flow(-600, 0, 0.0), flow(0, 120, 0.4))},
}


def rules(made: Diagnosis, subject: str) -> list[str]:
    """The rules that spoke about a change."""
    (found,) = [one for one in (*made.suspects, *made.cleared) if one.subject == subject]
    return [proof.rule for proof in found.evidence]


@pytest.mark.parametrize(("flows", "rule"), [(STRAIGHT, "before-after"), (CANARY, "beside")])
def test_a_bad_version_is_told_from_the_old_one(flows: dict[str, dict[int, Flow]], rule: str) -> None:
    made = diagnose(seen(change(), flows=flows), NOW)
    assert made.explained and made.suspects[0].score > 0.9
    assert rules(made, change().subject)[0] == rule
    assert "release 2 explains it" in made.sentence
    assert all(proof.events == (7, 8) for proof in made.suspects[0].evidence)


@pytest.mark.parametrize(
    ("one", "flows", "rule"),
    [
        (change("acme/production/blog"), STRAIGHT, "unconnected"),
        (change(before_s=-90.0), STRAIGHT, "after"),
        (change(SHOP), PASSED_ON, "passed-on"),
        (change(CARD), STRAIGHT, "answers-well"),
        (change(before_s=60.0), BOTH_FAIL, "alike"),
        (change(n=3, before_s=-40.0), FOLLOWED, "began-before"),
    ],
    ids=["unconnected", "after", "passed-on", "answers-well", "alike", "began-before"],
)  # fmt: skip
def test_an_innocent_change_is_cleared_with_its_reason(
    one: Candidate, flows: dict[str, dict[int, Flow]], rule: str
) -> None:
    made = diagnose(seen(one, flows=flows), NOW)
    assert not made.explained and not [s for s in made.suspects if s.subject == one.subject]
    assert rules(made, one.subject) == [rule]
    assert "No change explains this" in made.sentence


def test_nothing_measured_is_unknown_and_not_innocent() -> None:
    made = diagnose(seen(change(), flows={}), NOW)
    assert not made.explained and made.sentence.startswith("Unknown")
    assert rules(made, change().subject)[0] == "unmeasured" and 0.1 < made.suspects[0].score < 0.5


def test_what_healing_condemned_needs_no_counters() -> None:
    """A crash loop answers nothing that could be counted."""
    made = diagnose(seen(change(condemned="healing asked to roll it back"), flows={}), NOW)
    assert made.explained and "condemned" in rules(made, change().subject)


def test_without_any_change_no_change_explains_it() -> None:
    made = diagnose(seen(flows={}), NOW)
    assert not made.explained and made.sentence.startswith("No change explains this (0 changes")


def test_a_dependency_that_fails_by_itself_is_named() -> None:
    made = diagnose(seen(flows=CARD_FAILS), NOW)
    assert not made.explained and "failures start in card" in made.sentence
    assert [(one.kind, one.subject) for one in made.suspects] == [(SuspectKind.DEPENDENCY, CARD)]


@pytest.mark.parametrize(("ratio_after", "rule"), [(0.001, "undone-ended"), (0.3, "undone-went-on")])
def test_undoing_is_evidence_both_ways(ratio_after: float, rule: str) -> None:
    undone = change(undone_at=ONSET + timedelta(seconds=60))
    flows = {PAY: {1: join(flow(-600, -10, 0.001), flow(60, 120, ratio_after)), 2: flow(-10, 60, 0.3)}}
    made = diagnose(seen(undone, flows=flows), NOW)
    assert rule in rules(made, undone.subject)
    assert made.explained is (rule == "undone-ended")


def test_a_canary_that_was_taken_back_in_time_explains_nothing_that_begins_later() -> None:
    """Its requests failed beyond doubt: without this rule it outshines the release that is live."""
    bad = change(n=2, before_s=110.0, undone_at=ONSET - timedelta(seconds=100))
    live = change(n=3, old=1, before_s=60.0)
    flows = {
        PAY: {
            1: flow(-600, -60, 0.001),
            2: flow(-110, -100, 0.4),
            3: join(flow(-60, -20, 0.001), flow(-20, 120, 0.4)),  # the alert came 20 s after the cause
        }
    }
    made = diagnose(seen(bad, live, flows=flows), NOW)
    assert rules(made, bad.subject) == ["undone-before"]
    assert [one.subject for one in made.suspects] == [live.subject] and made.explained
    went_on = {PAY: flows[PAY] | {1: join(flow(-600, -110, 0.001), flow(-110, 0, 0.4))}}
    assert "undone-before" not in rules(diagnose(seen(bad, live, flows=went_on), NOW), bad.subject)


def test_a_change_that_ran_well_for_long_is_suspected_less() -> None:
    late = {PAY: {1: flow(-600, -400, 0.001), 2: join(flow(-400, 0, 0.001), flow(0, 120, 0.3))}}
    made = diagnose(seen(change(before_s=400.0), flows=late), NOW)
    assert not made.explained and (made.suspects or made.cleared)


def test_slow_answers_are_compared_when_none_failed() -> None:
    made = diagnose(
        Seen(
            incident=incident(), depends_on=GRAPH, candidates=(change(),),
            flows={Measure.FAILED: {PAY: CALM}, Measure.SLOW: STRAIGHT},
        ),
        NOW,
    )  # fmt: skip
    assert made.explained and "were slow" in made.sentence


def test_scaling_in_is_suspected_when_failures_rise_right_after_it() -> None:
    scaled = replace(change(before_s=5.0), kind=SuspectKind.SCALE, subject=PAY, n=None, old=None, prior=0.9)
    failing = {PAY: {1: join(flow(-600, 0, 0.001), flow(0, 120, 0.3))}}
    assert diagnose(seen(scaled, flows=failing), NOW).explained
    early = replace(scaled, began_at=ONSET - timedelta(seconds=600))
    assert rules(diagnose(seen(early, flows=failing), NOW), PAY) == ["no-rise"]


def test_a_diagnosis_is_written_once_and_told_when_its_headline_changes() -> None:
    first = decide(seen(change(), flows={}), NOW)
    assert [event.type for event in first.events] == [CAUSE_DIAGNOSED]
    before = first.writes[0].body
    assert isinstance(before, Diagnosis)
    again = decide(replace(seen(change(), flows={}), before=before), NOW)
    assert again.is_empty and again.wake_at is not None and again.wake_at > NOW
    better = decide(replace(seen(change()), before=before), NOW)
    assert better.writes and better.events


@pytest.mark.parametrize(("state", "looks"), [(IncidentState.RESOLVED, False), (IncidentState.OPEN, True)])
def test_only_an_open_incident_is_looked_at_again(state: IncidentState, looks: bool) -> None:
    made = decide(seen(change(), state=state), NOW)
    assert (made.wake_at is not None) is looks
    assert decide(seen(change(), state=IncidentState.MERGED), NOW).is_empty


def _town(seeds: range, with_cause: bool) -> list[tuple[Diagnosis, str | None]]:
    found = []
    for seed in seeds:
        what, now, culprit = town.incident(seed, with_cause)
        found.append((diagnose(what, now), culprit))
    return found


def test_the_change_that_did_it_comes_first_in_nine_of_ten_incidents() -> None:
    """The promise: among 5 to 20 innocent changes, whatever the graph, the traffic and the noise."""
    found = _town(range(1000, 1100), with_cause=True)
    first = sum(bool(made.suspects) and made.suspects[0].subject == culprit for made, culprit in found)
    assert first >= 0.9 * len(found)


def test_an_incident_that_no_change_did_is_rarely_blamed_on_one() -> None:
    found = _town(range(2000, 2100), with_cause=False)
    assert sum(made.explained for made, _ in found) <= 0.05 * len(found)


def test_the_order_of_candidates_means_nothing() -> None:
    what, now, _ = town.incident(7, True)
    mirrored = replace(what, candidates=tuple(reversed(what.candidates)))
    assert diagnose(what, now) == diagnose(mirrored, now)


def test_every_ruling_has_evidence() -> None:
    for seed in range(20):
        what, now, _ = town.incident(seed, seed % 2 == 0)
        made = diagnose(what, now)
        assert all(one.evidence for one in (*made.suspects, *made.cleared))
        assert all(0.0 <= one.score <= 1.0 for one in made.suspects)


def test_more_data_is_looked_at_a_few_times_and_then_seldom() -> None:
    opened = incident().opened_at
    times, now = [], opened
    for _ in range(5):
        wake = decide(seen(change()), now).wake_at
        assert wake is not None
        times.append((wake - opened).total_seconds())
        now = wake
    assert times == [15.0, 60.0, 300.0, 600.0, 900.0]
