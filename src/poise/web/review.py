"""The page of a post-mortem: what an incident taught, what will be done, and the form to edit it."""

from __future__ import annotations

from datetime import timedelta

import htpy as h

from poise.model.review import Action, ActionKind, Priority, ReviewState
from poise.web import links
from poise.web.incident import state_pill
from poise.web.incident_views import EventView, NoReviewView, ReviewPageView
from poise.web.markdown import TEXT_MAX, rendered
from poise.web.parts import card, command, document, headline, link, pill, table
from poise.web.wording import duration, moment, percent, plural

DUE_DAYS = 14
ACTION_LENGTH_MAX = 1000


def review(view: ReviewPageView) -> str:
    """The post-mortem as a document; while a text is tried, it is what is shown."""
    published = view.state is ReviewState.PUBLISHED
    tone = pill(view.state.value, "go" if published else "slow")
    trying = view.draft is not None
    text = view.text if view.draft is None else view.draft
    aside = ["· ", h.a(href=links.incident(view.project, view.n))[f"incident {view.n}"]]
    main = h.fragment[
        headline("Post-mortem", aside, tone, review_sentence(view)),
        h.p(".problem", role="alert")[view.message] if view.message else None,
        h.div(".cols")[
            h.aside(aria_label="Times, impact and acts")[_times(view), _impact(view), _publish(view)],
            h.div[
                _edit(view, text) if trying else None,
                card(
                    "Preview, not saved yet" if trying else "What happened",
                    h.div(".prose")[rendered(text, view.project)],
                    id="text",
                ),
                _actions(view),
                _edit(view, text) if not trying else None,
            ],
        ],
    ]
    live = None if trying else f"{view.project}/{view.n:06d}"
    return document(view.chrome, f"Post-mortem {view.n}", main, current="Incidents", live=live)


def review_sentence(view: ReviewPageView) -> str:
    """The first line: how it stands, and what is still to be done."""
    late = sum(action.is_overdue(view.chrome.at) for action in view.actions)
    left = sum(action.done_at is None for action in view.actions)
    if view.state is ReviewState.PUBLISHED:
        said = f"Published by {view.published_by or 'somebody'}"
    elif view.edited:
        said = "A draft that people are writing"
    else:
        said = f"A draft from the record: {plural(view.sentences, 'sentence')}, each with its evidence"
    if late:
        return f"{said}; {plural(late, 'action')} {'is' if late == 1 else 'are'} overdue."
    if left:
        return f"{said}; {plural(left, 'action')} {'is' if left == 1 else 'are'} to be done."
    return f"{said}; {'every action is done' if view.actions else 'no action is agreed on'}."


def no_review(view: NoReviewView) -> str:
    """An incident without a review, as a document that says when there will be one."""
    main = h.fragment[
        headline(
            "Post-mortem",
            f"· incident {view.n}, {view.title}",
            state_pill(view.state),
            "There is none yet: Poise drafts it once the incident is resolved.",
        ),
        card("Next", h.p[h.a(href=links.incident(view.project, view.n))[f"To incident {view.n}"]],
             command(f"poise incident resolve {view.n}")),
    ]  # fmt: skip
    title = f"Post-mortem {view.n}"
    return document(view.chrome, title, main, current="Incidents", live=f"{view.project}/{view.n:06d}")


def _times(view: ReviewPageView) -> h.Element:
    facts = ((h.dt[word], h.dd[duration(took_s)]) for word, took_s in view.times)
    return card("From the onset until it was", h.dl[facts])


def _impact(view: ReviewPageView) -> h.Element:
    failed = "not measured" if view.failed_requests is None else f"{view.failed_requests:,.0f}"
    spent = "not known" if view.budget_spent_ratio is None else percent(view.budget_spent_ratio)
    facts = (("failed requests", failed), ("of the period's budget", spent))
    return card("What it cost", h.dl[((h.dt[word], h.dd[what]) for word, what in facts)])


def _publish(view: ReviewPageView) -> h.Element | None:
    if view.state is ReviewState.PUBLISHED:
        return card("Published", h.p[f"by {view.published_by}, ", moment(view.published_at)])
    if not view.may_publish:
        return None
    return card(
        "Publish",
        h.p["Everybody who may see the project reads it; no draft replaces it any more."],
        h.form(method="post", action=links.review_act(view.project, view.n, "publish"))[
            _csrf(view), h.button(".primary", type="submit", accesskey="u")["Publish ", h.kbd["u"]]
        ],
    )


def _actions(view: ReviewPageView) -> h.Element:
    head = ("action", "for", "owner", "due", "how one will know", "state")
    rows = [_action(action, view) for action in view.actions]
    return card(
        "Actions",
        table("Actions", head, rows) if rows else h.p(".mute")["None is agreed on yet."],
        _add(view) if view.chrome.may_say else None,
        id="actions",
    )


def _action(action: Action, view: ReviewPageView) -> tuple[h.Node, ...]:
    if action.done_at is not None:
        state: h.Node = [
            pill("done", "go"),
            h.span(".mute")[f"by {action.done_by}, "],
            moment(action.done_at),
        ]
    else:
        late = action.is_overdue(view.chrome.at)
        state = [
            pill("overdue", "hold") if late else pill("to do", "slow"),
            view.chrome.may_say
            and h.form(".inline", method="post", action=links.review_act(view.project, view.n, "done"))[
                _csrf(view),
                h.input(type="hidden", name="action", value=str(action.n)),
                h.button(".plain", type="submit", aria_label=f"Action {action.n} is done")["It is done"],
            ],
        ]
    due = moment(action.due_at, "day")
    what = f"{action.kind.value}, {action.priority.value}"
    return f"{action.n}. {action.text}", what, action.owner, due, action.verification, state


def _add(view: ReviewPageView) -> h.Element:
    def field(name: str, label: str, **more: str) -> h.Fragment:
        id_ = f"action-{name}"
        box = h.input(f"#{id_}", name=name, required=True, maxlength=str(ACTION_LENGTH_MAX), **more)
        return h.fragment[h.label(for_=id_)[label], box]

    day = (view.chrome.at + timedelta(days=DUE_DAYS)).date().isoformat()
    return h.details("#add-action")[
        h.summary["Add an action"],
        h.form(".stack", method="post", action=links.review_act(view.project, view.n, "action"))[
            _csrf(view),
            field("text", "What will be done"),
            h.label(for_="action-kind")["What it is for"],
            h.select("#action-kind", name="kind")[
                (h.option(value=kind.value)[kind.value] for kind in ActionKind)
            ],
            h.label(for_="action-priority")["How soon; p0 goes before any feature"],
            h.select("#action-priority", name="priority")[
                (h.option(value=one.value, selected=one is Priority.P2)[one.value] for one in Priority)
            ],
            field("owner", "Who does it"),
            field("due", "Until when", type="date", value=day),
            field("verification", "How one will know that it worked"),
            h.div(".buttons")[h.button(type="submit")["Add"]],
        ],
    ]


def _edit(view: ReviewPageView, text: str) -> h.Element | None:
    if not view.chrome.may_say:
        return None
    form = h.form(method="post", action=links.review_act(view.project, view.n, "save"))[
        _csrf(view),
        h.input(type="hidden", name="if_match", value=view.etag),
        h.label(for_="review-text")["Text, in Markdown; an id such as `event/17` becomes a link"],
        h.textarea(
            "#review-text.editor", name="text", rows="24", required=True, maxlength=str(TEXT_MAX),
            spellcheck="true",
        )["\n", text],
        h.div(".buttons")[
            h.button(
                type="submit",
                formaction=links.review_act(view.project, view.n, "preview"),
                accesskey="v",
            )["Preview ", h.kbd["v"]],
            h.button(".primary", type="submit", accesskey="s")["Save ", h.kbd["s"]],
            link("Discard", links.review(view.project, view.n)) if view.draft is not None else None,
        ],
    ]  # fmt: skip
    if view.draft is not None:
        return card("Edit", form, id="edit")
    return card("Edit", h.details("#editing")[h.summary["Edit the text"], form], id="edit")


def _csrf(view: ReviewPageView) -> h.VoidElement:
    return h.input(type="hidden", name="csrf", value=view.chrome.csrf)


def event(view: EventView) -> str:
    """One event of the journal as a document."""
    facts: list[tuple[str, h.Node]] = [
        ("when", moment(view.at, "second")),
        ("about", link(view.subject, view.href or links.audit_of(view.subject), "mono")),
        ("by", view.actor),
        ("type", h.span(".mono")[view.type]),
        ("hash", h.span(".mono.mute")[view.hash]),
        ("the one before", h.span(".mono.mute")[view.previous_hash]),
    ]
    numbers = h.dl[((h.dt[name], h.dd(".mono")[value]) for name, value in view.data)]
    main = h.fragment[
        headline(f"Event {view.sequence}", None, None, view.summary),
        card("What the journal holds", h.dl[((h.dt[word], h.dd[what]) for word, what in facts)]),
        card("Its numbers", numbers) if view.data else None,
    ]
    return document(view.chrome, f"Event {view.sequence}", main, current="Journal")
