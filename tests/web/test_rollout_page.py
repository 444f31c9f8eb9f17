"""The rollout page: what its verdict rests on, and the way it went."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace
from tests.browser import samples
from tests.browser.rollout_samples import under_way

from poise.delivery.rollout.analysis import analysis
from poise.model.delivery import Rollout, RolloutState, Trial
from poise.model.event_types import ROLLOUT_STEPPED
from poise.model.record import Event, Recorded
from poise.web import pages
from poise.web.rollout_compose import steps


def stepped(*weights: int) -> list[Recorded]:
    return [
        Recorded(
            sequence=n, at=samples.NOW + timedelta(minutes=n), previous_hash="", hash="",
            event=Event(
                type=ROLLOUT_STEPPED, subject=under_way().key, summary="", actor="poise",
                data={"weight_percent": weight},
            ),
        )
        for n, weight in enumerate(weights)
    ]  # fmt: skip


def weights_of(found: Rollout, *reached: int) -> list[tuple[int, str]]:
    return [(one.weight_percent, one.phase) for one in steps(found, None, stepped(*reached))]


def test_steps_are_those_reached_and_those_ahead() -> None:
    found = under_way()
    assert weights_of(found, 2, 5)[:3] == [(2, "done"), (5, "now"), (20, "ahead")]
    assert weights_of(found, 2, 5)[-1] == (100, "ahead")


@pytest.mark.parametrize("state", [RolloutState.ROLLED_BACK, RolloutState.FAILED, RolloutState.SUPERSEDED])
def test_nothing_is_ahead_of_one_that_went_back(state: RolloutState) -> None:
    """A plan that will not be followed is no plan."""
    found = replace(under_way(), state=state, weight_percent=0)
    assert weights_of(found, 2, 5) == [(2, "done"), (5, "done")]


def page(**changes: Any) -> str:
    found = replace(under_way(), **changes)
    return pages.rollout(replace(samples.rollout(), analysis=analysis(found)))


def test_each_metric_shows_both_arms_with_bounds_and_its_query() -> None:
    text = page()
    assert "1 of 812" in text and "6 of 15,428" in text and "9 of 812" in text
    assert "latency over 250 ms, canary: 1.1 %, between 0.25 % and 3 %" in text
    assert "why: evidence of latency" in text and "le=&#34;250&#34;" in text


def test_the_culprit_is_named_where_the_verdict_is() -> None:
    worse = replace(under_way().trial, e_value=60.0, e_value_harm=120.0)
    assert "errors: culprit" in page(trial=worse)
    assert "culprit" not in page()


def test_without_requests_nothing_is_compared() -> None:
    assert "no request has reached the canary" in page(trial=Trial())
