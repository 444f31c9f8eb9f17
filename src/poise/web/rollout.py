"""The rollout page: where it is, what its verdict rests on, what users got, and the acts beside it."""

from __future__ import annotations

import htpy as h

from poise.model.delivery import Verb
from poise.web import links
from poise.web.chart import answers_chart
from poise.web.history import story
from poise.web.parts import act_form, card, document, headline, pill, verdict_pill
from poise.web.permits import approvals, ask_buttons, permits_card, waiting
from poise.web.provenance import provenance
from poise.web.rollout_judged import judged
from poise.web.rollout_views import RolloutView
from poise.web.wording import moment, short_name

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
                judged(view),
                _chart(view),
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
        approvals(view.permits),
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


def _chart(view: RolloutView) -> h.Element | None:
    if view.chart is None or not view.chart.points:
        return None
    name = short_name(view.key)
    return card(f"{view.chart.window}: what users of {name} got meanwhile", answers_chart(view.chart, name))


def _history(view: RolloutView) -> h.Element | None:
    return card("What happened", story(view.history), id="history") if view.history else None
