"""The rollout page: canary against stable, what is known so far, and the acts beside it."""

from __future__ import annotations

import math

import htpy as h

from poise.model.delivery import Verb
from poise.web import links
from poise.web.history import story
from poise.web.parts import act_form, card, document, headline, pill, table, verdict_pill
from poise.web.permits import ask_buttons, permits_card, waiting
from poise.web.provenance import provenance
from poise.web.rollout_views import Arm, Interval, RolloutView
from poise.web.wording import milliseconds, moment, percent, short_name

_TONES = {"live": "go", "rolled_back": "hold", "failed": "hold", "aborted": "hold", "rejected": "hold"}
_ORDERS = {
    Verb.PROMOTE: ("Promote", "p", "now: all traffic goes to this release without more evidence."),
    Verb.PAUSE: ("Pause", "u", "at the present weight; judging goes on."),
    Verb.RESUME: ("Resume", "u", "from the present step."),
    Verb.ABORT: ("Abort", "x", "and send all traffic back to the stable release."),
}


def rollout(view: RolloutView) -> str:
    """The rollout page as a document."""
    name = short_name(view.key)
    word = "paused" if view.paused else view.state.value.replace("_", " ")
    tone = "unknown" if view.paused else _TONES.get(view.state.value, "slow")
    main = h.fragment[
        headline(f"{name} rollout {view.n}", _context(view), pill(word, tone), view.sentence),
        h.div(".cols")[
            h.aside(aria_label="Gate and acts")[_gate(view)],
            h.div[
                _steps(view),
                _comparison(view),
                permits_card(view.permits),
                provenance(view.provenance),
                _history(view),
            ],
        ],
    ]
    return document(view.chrome, f"{name} rollout {view.n}: {word}", main, live=view.key)


def _context(view: RolloutView) -> h.Node:
    return [
        "· ",
        h.span(".mono")[view.release],
        " ",
        view.summary,
        " · ",
        h.span(".mono")[view.commit[:10]],
        f" · {view.change_class}",
        view.class_why and f" (by {view.class_why})",
        " · of ",
        h.a(href=links.service(view.key))[short_name(view.key)],
        " · ",
        moment(view.created_at),
    ]


def _gate(view: RolloutView) -> h.Element:
    acts = [
        act_form(
            view.chrome,
            verb,
            view.key,
            label=_ORDERS[verb][0],
            accesskey=_ORDERS[verb][1],
            explain=_ORDERS[verb][2],
            rollout=view.n,
            primary=verb is Verb.PROMOTE,
        )
        for verb in view.orders
        if verb in _ORDERS and view.chrome.may_act
    ]
    wishes = list(ask_buttons(view.permits, view.chrome))
    return card(
        "The gate for this rollout",
        h.p[
            verdict_pill(view.verdict),
            ["at ", moment(view.verdict_at, "second")] if view.verdict_at else None,
        ],
        h.ul[(h.li[reason] for reason in view.reasons)] if view.reasons else None,
        h.div(".acts")[wishes, acts] if wishes or acts else None,
        waiting(view.permits, view.chrome),
    )


def _steps(view: RolloutView) -> h.Element | None:
    if not view.steps:
        return None
    words = {"done": "reached", "now": "here since", "ahead": "ahead"}
    return card(
        f"{view.weight_percent} % of the traffic goes to {view.release}",
        h.ol(".steps")[
            (
                h.li(class_=step.phase, aria_current="step" if step.phase == "now" else None)[
                    h.strong[f"{step.weight_percent} %"],
                    h.span[
                        words.get(step.phase, step.phase), " ", moment(step.at, "second") if step.at else None
                    ],
                ]
                for step in view.steps
            )
        ],
    )


def _comparison(view: RolloutView) -> h.Element:
    arms = [("stable", view.baseline), ("canary", view.canary)]
    rows = [_arm(kind, arm) for kind, arm in arms if arm is not None]
    if not rows:
        nothing = h.p(".mute")[
            "Nothing to compare: no request has reached the canary beside a stable release."
        ]
        return card("Canary against stable", nothing)
    head = ("side", "release", "requests", "errors", "error rate", "p95")
    return card(
        "Canary against stable, at the same time",
        table("Canary against stable", head, rows, "llrrrr"),
        _risk(view.relative_risk),
        h.div(".evidence")[
            _evidence("that it is worse", view.e_value_harm, view.threshold, "rolls back", "hold"),
            _evidence("that it is safe", view.e_value_safe, view.threshold, "promotes", "go"),
        ],
    )


def _arm(kind: str, arm: Arm) -> tuple[h.Node, ...]:
    ratio = arm.errors / arm.requests if arm.requests else None
    return (
        kind,
        h.span(".mono")[arm.release],
        f"{arm.requests:,}",
        f"{arm.errors:,}",
        percent(ratio),
        milliseconds(arm.latency_ms_p95),
    )


def _risk(interval: Interval | None) -> h.Element:
    if interval is None:
        return h.p(".mute")["Errors relative to stable: too few requests to say."]
    estimate = "" if interval.estimate is None else f"{interval.estimate:.2g}× "
    high = "∞" if math.isinf(interval.high) else f"{interval.high:.2g}"
    if interval.low > 1:
        reading = "it fails more often"
    elif interval.high < 1:
        reading = "it fails less often"
    else:
        reading = "it may be equal"
    return h.p[
        "Errors relative to stable: ",
        h.strong[f"{estimate}({interval.low:.2g} to {high})"],
        f"; 1 is equal, so {reading}. The bounds hold whenever one looks.",
    ]


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


def _history(view: RolloutView) -> h.Element | None:
    return card("What happened", story(view.history)) if view.history else None
