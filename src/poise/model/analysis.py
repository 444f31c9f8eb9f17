"""The evidence on a rollout: each metric of both arms, with counts and bounds that hold at any look."""

from __future__ import annotations

from msgspec import Struct

from poise.model.delivery import Probing, RolloutState


class ArmCount(Struct, frozen=True, kw_only=True):
    """Requests (or events) of one arm and how many were bad.

    ``low`` and ``high`` bound the bad ratio at any time one looks, as a confidence sequence of the
    beta-binomial mixture (Howard et al. 2021, Annals of Statistics 49(2)); 0 and 1 before any request.
    """

    requests: int
    bad: int
    low: float
    high: float

    @property
    def bad_ratio(self) -> float | None:
        """Of the requests; None before any."""
        return self.bad / self.requests if self.requests else None


class MetricAnalysis(Struct, frozen=True, kw_only=True):
    """One metric: ``share`` is its weight in the averaged e-value, ``e_value`` its evidence of harm."""

    metric: str
    canary: ArmCount
    baseline: ArmCount
    share: float
    e_value: float
    is_culprit: bool
    query: str
    bound_ms: float | None = None


class Analysis(Struct, frozen=True, kw_only=True):
    """All that the verdict on a canary rests on. ``threshold`` is 1/``alpha``, for evidence of harm;
    ``threshold_safe`` is 1/``alpha_safe``, for evidence that it is safe. Both were fixed when it started:
    ``alpha_declared`` is the strategy's, and a burdened budget makes one larger, the other smaller.

    ``risk_low`` to ``risk_high`` is the anytime-valid interval of its error ratio over the baseline's; None
    is no bound, and ``risk_low`` 0 with no ``risk_high`` says nothing yet.
    """

    sentence: str
    n: int
    release: int
    state: RolloutState
    is_over: bool
    weight_percent: int
    step: int
    e_value: float
    e_value_safe: float
    threshold: float
    threshold_safe: float
    alpha: float
    alpha_safe: float
    alpha_declared: float
    metrics: tuple[MetricAnalysis, ...]
    risk_low: float | None = None
    risk_high: float | None = None
    errors_burned: float = 0.0
    budget_share_burned: float | None = None
    probes: Probing = Probing()
