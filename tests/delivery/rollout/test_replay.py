"""One recording under four judges: where they differ is the point."""

from __future__ import annotations

import pytest

from poise.delivery.rollout.replay import Judged, Reading, judged
from poise.delivery.rollout.rivals import argo, flagger, mann_whitney
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


def test_silence_fails_one_judge_passes_another_and_leaves_ours_undecided() -> None:
    """No data is no evidence."""
    found = recorded((0, 0), (100, 0))
    assert found["poise"].verdict == "undecided" and found["poise"].canary_errors == 0
    assert (found["flagger"].verdict, found["argo"].verdict) == ("rollback", "promote")
    assert found["kayenta"].why.endswith("nodata")


def test_nothing_recorded_is_nothing_decided() -> None:
    assert [one.verdict for one in judged([], Strategy())] == ["undecided", "rollback", "promote", "promote"]


@pytest.mark.parametrize(
    ("control", "experiment", "said"),
    [
        ([1.0] * 10, [1.0] * 10, "pass"),
        ([1.0, 2.0, 3.0, 4.0] * 5, [1.0, 2.0, 3.0, 4.0] * 5, "pass"),
        ([float(i) for i in range(20)], [float(i) + 50 for i in range(20)], "high"),
        ([float(i) + 50 for i in range(20)], [float(i) for i in range(20)], "low"),
        ([0.0] * 30, [0.0] * 27 + [1.0] * 3, "pass"),  # sparse errors against none pass: kayenta#426
        ([], [1.0], "nodata"),
    ],
)
def test_kayentas_rule_as_its_source_has_it(control: list[float], experiment: list[float], said: str) -> None:
    assert mann_whitney(control, experiment) == said


def test_failed_checks_add_up_and_are_never_forgiven() -> None:
    """Five bad minutes in an hour are as bad as five in a row."""
    requests, bad = [100.0] * 50, [2.0 if check % 10 == 0 else 0.0 for check in range(50)]
    assert (flagger(requests, bad), argo(requests, bad)) == (40, 30)
    assert flagger(requests, [1.0] * 50) is None
