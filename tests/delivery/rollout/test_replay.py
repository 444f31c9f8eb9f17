"""One recording under four judges: where they differ is the point."""

from __future__ import annotations

import numpy as np

from poise.delivery.rollout.replay import Judged, Reading, judged
from poise.delivery.rollout.rivals import argo, flagger
from poise.model.service import Strategy


def recorded(canary: tuple[int, int], baseline: tuple[int, int], minutes: int = 30) -> dict[str, Judged]:
    readings = [
        Reading(
            at_s=10.0 * place, canary_requests=canary[0], canary_errors=canary[1] if place % 6 == 0 else 0,
            baseline_requests=baseline[0], baseline_errors=baseline[1] if place % 6 == 0 else 0,
        )
        for place in range(6 * minutes)
    ]  # fmt: skip
    return {one.judge: one for one in judged(readings, Strategy())}


def test_five_times_the_errors_under_every_threshold() -> None:
    """0.5 % against 0.1 %: below 99 % every minute, so fixed thresholds see nothing for ever."""
    found = recorded((50, 2), (450, 3))
    assert (found["poise"].verdict, found["flagger"].verdict, found["argo"].verdict) == (
        "rollback", "promote", "promote",
    )  # fmt: skip
    assert found["poise"].canary_errors < found["flagger"].canary_errors


def test_a_shared_incident_is_blamed_on_the_canary_by_thresholds_alone() -> None:
    found = recorded((10, 10), (90, 90))
    assert found["poise"].verdict == "promote"
    assert (found["flagger"].verdict, found["argo"].verdict) == ("rollback", "rollback")
    assert found["kayenta"].verdict == "promote"


def test_a_canary_that_fails_less_often_passes_kayentas_judge_and_one_that_fails_more_does_not() -> None:
    """Errors are watched for an increase; the score of one metric is all or nothing."""
    better, worse = recorded((50, 0), (450, 45))["kayenta"], recorded((50, 10), (450, 3))["kayenta"]
    assert (better.verdict, worse.verdict) == ("promote", "rollback")
    assert better.why.endswith("pass, score 100") and worse.why.endswith("high, score 0")


def test_silence_fails_one_judge_passes_another_and_leaves_ours_undecided() -> None:
    """No data is no evidence."""
    found = recorded((0, 0), (100, 0))
    assert found["poise"].verdict == "undecided" and found["poise"].canary_errors == 0
    assert (found["flagger"].verdict, found["argo"].verdict) == ("rollback", "promote")
    assert found["kayenta"].why.endswith("nodata, score 0")


def test_nothing_recorded_is_nothing_decided() -> None:
    assert [one.verdict for one in judged([], Strategy())] == [
        "undecided",
        "rollback",
        "undecided",
        "undecided",
    ]


def test_failed_checks_add_up_and_are_never_forgiven() -> None:
    """Five bad minutes in an hour are as bad as five in a row."""
    requests, bad = [100.0] * 50, [2.0 if check % 10 == 0 else 0.0 for check in range(50)]
    assert (flagger(requests, bad), argo(requests, bad)) == (41, 30)
    assert flagger(requests, [1.0] * 50) == argo(requests, [1.0] * 50) == -1, "99 % is not less than 99 %"


def test_flagger_rolls_back_as_the_check_after_the_last_straw_begins() -> None:
    """Until then the canary serves, and what it breaks counts; also past the recording's end."""
    assert (flagger([10] * 9, [1] * 9), argo([10] * 9, [1] * 9)) == (5, 3)
    assert flagger([10] * 5, [1] * 5) == 5 and flagger([10] * 4, [1] * 4) == -1
    readings = [
        Reading(
            at_s=60.0 * place, canary_requests=10, canary_errors=1, baseline_requests=90, baseline_errors=0
        )
        for place in range(9)
    ]
    found = {one.judge: one for one in judged(readings, Strategy())}
    assert (found["flagger"].at_s, found["flagger"].canary_errors) == (360, 6)
    assert (found["argo"].at_s, found["argo"].canary_errors) == (240, 4)
    assert {one.judge: one for one in judged(readings[:5], Strategy())}["flagger"].at_s == 360


def test_many_runs_are_judged_at_once_as_one_by_one() -> None:
    """The benchmark asks the same code."""
    random = np.random.default_rng(1)
    requests = random.poisson(2, (40, 30))
    bad = random.binomial(requests, 0.03)
    for judge in (flagger, argo):
        assert judge(requests, bad).tolist() == [
            int(judge(requests[:, run], bad[:, run])) for run in range(30)
        ]
