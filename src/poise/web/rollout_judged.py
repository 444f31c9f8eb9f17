"""What a rollout is judged by, on its page: each metric of both arms, with bounds drawn and as numbers."""

from __future__ import annotations

import math

import htpy as h

from poise.model.analysis import Analysis, ArmCount, MetricAnalysis
from poise.web.parts import card, table
from poise.web.rollout_views import RolloutView
from poise.web.why import why
from poise.web.wording import milliseconds, percent

SMALLEST_SCALE = 1e-4  # a picture of nothing but zeros still has a scale


def judged(view: RolloutView) -> h.Element:
    """The card that says what the verdict rests on."""
    found = view.analysis
    if not any(one.canary.requests or one.baseline.requests for one in found.metrics):
        nothing = h.p(".mute")[
            "Nothing to compare: no request has reached the canary beside a stable release."
        ]
        return card("Canary against stable", nothing)
    rows = [row for one in found.metrics for row in _rows(view, one)]
    head = ("metric", "side", "rate, between", "bad of all", "evidence", "why")
    return card(
        "Canary against stable, at the same time",
        table("Canary against stable, by metric", head, rows, "lllrrl"),
        h.p(".mute")[
            f"Between: bounds that hold whenever one looks, each with {percent(1 - found.alpha_declared, 0)}."
        ],
        _risk(found),
        _latency(view),
        h.div(".evidence")[
            _evidence("that it is worse", found.e_value, found.threshold, "rolls back", "hold"),
            _evidence("that it is safe", found.e_value_safe, found.threshold_safe, "promotes", "go"),
        ],
    )


def _rows(view: RolloutView, one: MetricAnalysis) -> list[tuple[h.Node, ...]]:
    scale = max(one.canary.high if one.canary.requests else 0.0, one.baseline.high, SMALLEST_SCALE)
    name = one.metric if one.bound_ms is None else f"{one.metric} over {milliseconds(one.bound_ms)}"
    said = h.strong(".bad")[f"{name}: culprit"] if one.is_culprit else name
    told = why(
        f"evidence of {one.metric}",
        "The canary's bad requests among those of both arms, given how many each answered, against every "
        "size of harm at once: an e-value, which may be looked at any time.",
        (("evidence", f"{one.e_value:.3g}"), ("share in the verdict", percent(one.share, 0))),
        ((f"what counts {one.metric}", one.query),),
    )
    canary = ["canary ", h.span(".mono")[view.release]]
    stable = ["stable ", h.span(".mono")[view.stable_release]]
    return [
        (said, canary, *_arm(one.canary, scale, f"{name}, canary"), f"{one.e_value:.3g}", told),
        ("", stable, *_arm(one.baseline, scale, f"{name}, stable"), "", ""),
    ]


def _arm(arm: ArmCount, scale: float, about: str) -> tuple[h.Node, ...]:
    if not arm.requests:
        return (h.span(".mute")["nothing answered"], "0 of 0")
    bounds = f"{percent(arm.low)} to {percent(arm.high)}"
    rate: h.Node = [h.strong[percent(arm.bad_ratio)], f", {bounds}", _range(arm, scale, about)]
    return (rate, f"{arm.bad:,} of {arm.requests:,}")


def _range(arm: ArmCount, scale: float, about: str) -> h.Element:
    """Where the rate may lie, on the scale of its metric; the tick is the rate that was seen."""
    low, high, seen = (100 * min(value / scale, 1.0) for value in (arm.low, arm.high, arm.bad_ratio or 0.0))
    told = f"{about}: {percent(arm.bad_ratio)}, between {percent(arm.low)} and {percent(arm.high)}"
    return h.svg(
        {"viewBox": "0 0 100 8", "preserveAspectRatio": "none"}, class_="bar range", role="img",
        aria_label=told,
    )[
        h.rect(".track", width="100", height="8"),
        h.rect(".fill", x=f"{low:.1f}", width=f"{max(high - low, 1.0):.1f}", height="8"),
        h.rect(".tick", x=f"{min(seen, 98.5):.1f}", width="1.5", height="8"),
    ]  # fmt: skip


def _risk(found: Analysis) -> h.Element:
    low, high = found.risk_low, found.risk_high
    if low is None:
        return h.p(".mute")["Errors relative to stable: too few requests to say."]
    if low > 1:
        reading = "it fails more often"
    elif high is not None and high < 1:
        reading = "it fails less often"
    else:
        reading = "it may be equal"
    between = f"{low:.2g}× or more" if high is None else f"{low:.2g} to {_plain(high)}×"
    return h.p[
        "Errors relative to stable: ",
        h.strong[between],
        f"; 1 is equal, so {reading}. The bounds hold whenever one looks.",
    ]


def _plain(value: float) -> str:
    """Two digits that say something, never an exponent.

    >>> _plain(7.94), _plain(81.3), _plain(100.0)
    ('7.9', '81', '100')
    """
    return f"{value:.0f}" if value >= 10 else f"{value:.2g}"


def _latency(view: RolloutView) -> h.Element | None:
    if view.canary_latency_ms_p95 is None and view.stable_latency_ms_p95 is None:
        return None
    canary, stable = milliseconds(view.canary_latency_ms_p95), milliseconds(view.stable_latency_ms_p95)
    return h.p(".mute")[f"p95 of the last minute: canary {canary}, stable {stable}. It decides nothing."]


def _evidence(claim: str, value: float, threshold: float, then: str, tone: str) -> h.Element:
    """An e-value on a log scale from 1 to its threshold."""
    share = math.log(max(value, 1.0)) / math.log(threshold) if threshold > 1 and value > 0 else 0.0
    width = 100 * min(share, 1.0)
    shown = f"{value:,.2f}" if value < 100 else f"{min(value, 1e12):,.0f}"
    said = f"Evidence {claim}: {shown}, {then} at {threshold:g}"
    return h.div[
        h.span[said],
        h.svg(
            {"viewBox": "0 0 100 8", "preserveAspectRatio": "none"},
            class_=f"bar {tone}",
            role="img",
            aria_label=said,
        )[h.rect(".track", width="100", height="8"), h.rect(".fill", width=f"{width:.1f}", height="8")],
    ]
