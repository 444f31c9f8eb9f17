"""A rollout on record, as the rollout page reads it."""

from __future__ import annotations

from datetime import UTC, datetime

from poise.model.delivery import ChangeClass, Rollout, RolloutState, Split, Trial
from poise.model.service import Service


def under_way() -> Rollout:
    """A canary whose errors say nothing yet, and whose latency looks worse."""
    split = Split(
        metric="latency", bound_ms=250.0, canary_requests=812, canary_bad=9, baseline_requests=15_428,
        baseline_bad=61, e_value=3.4,
    )  # fmt: skip
    trial = Trial(
        canary_requests=812, canary_errors=1, baseline_requests=15_428, baseline_errors=6, e_value=1.42,
        e_value_harm=0.9, e_value_safe=0.81, splits=(split,),
    )  # fmt: skip
    return Rollout(
        project="shop", environment="production", service="storefront", n=44, release=44, digest="sha256:d",
        revision="d", commit="51fd2a90c3", summary="cart: say what the discount was",
        change_class=ChangeClass.FEATURE, created_at=datetime(2026, 11, 28, 9, 31, tzinfo=UTC),
        state=RolloutState.STEPPING, step=2,
        weight_percent=5, baseline=43, trial=trial,
        spec=Service(project="shop", environment="production", name="storefront", command="run", port=8080),
    )  # fmt: skip
