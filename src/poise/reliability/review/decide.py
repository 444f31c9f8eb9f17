"""A review's life: drafted from the record when its incident is resolved, then edited, then published."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from poise.model import event_types
from poise.model.incident import IncidentState
from poise.model.record import Decision, Event, Read, Write
from poise.model.review import Action, Review, ReviewEdit, ReviewState
from poise.reliability.review.draft import Facts, markdown, sentences, times_s, worst

ACTIONS_MAX: Final = 100


class Seen(Struct, frozen=True, kw_only=True):
    """An incident's facts, the review so far, and the edits that are newer than it has seen."""

    facts: Facts
    review: Review | None = None
    edits: tuple[ReviewEdit, ...] = ()
    reads: tuple[Read, ...] = ()


def decide(seen: Seen, now: datetime) -> Decision:
    """Draft once resolved; draft again while nobody has touched it; fold what people said."""
    before = seen.review
    review = before
    events: list[Event] = []
    if seen.facts.incident.state is IncidentState.RESOLVED and (before is None or _is_untouched(before)):
        review = _fresh(seen.facts, before, now)
        if before is None:
            events.append(_drafted(review))
    if review is None:
        return Decision()
    for edit in seen.edits:
        if edit.k > review.edits_seen:
            review, event = _fold(review, edit)
            events.append(event)
    if review == before:
        return Decision()
    write = Write(kind="Review", key=review.key, body=review)
    return Decision(reads=seen.reads, writes=(write,), events=tuple(events))


def _is_untouched(review: Review) -> bool:
    return not review.edited and review.state is ReviewState.DRAFT


def _fresh(facts: Facts, before: Review | None, now: datetime) -> Review:
    """The draft from the facts; actions and the time of the first draft stay."""
    incident, impact = facts.incident, worst(facts.impacts)
    made = sentences(facts)
    ttd_s, tta_s, ttm_s, ttr_s = times_s(incident)
    title = f"Incident {incident.n}: {incident.title}"
    fresh = Review(
        incident=incident.key,
        title=title,
        services=incident.services or (incident.service,),
        sentences=made,
        text=markdown(title, made),
        ttd_s=ttd_s,
        tta_s=tta_s,
        ttm_s=ttm_s,
        ttr_s=ttr_s,
        failed_requests=impact.bad if impact else None,
        budget_spent_ratio=impact.spent_ratio if impact else None,
        drafted_at=now,
    )
    if before is None:
        return fresh
    return replace(
        fresh, actions=before.actions, edits_seen=before.edits_seen, drafted_at=before.drafted_at,
        outage_class=before.outage_class,
    )  # fmt: skip


def _drafted(review: Review) -> Event:
    return Event(
        type=event_types.REVIEW_DRAFTED,
        subject=review.key,
        summary=f"The review of incident {_n(review)} is drafted: {len(review.sentences)} sentences",
        data={
            "sentences": len(review.sentences),
            "failed_requests": review.failed_requests,
            "budget_spent_ratio": review.budget_spent_ratio,
        },
    )


def _fold(review: Review, edit: ReviewEdit) -> tuple[Review, Event]:
    """One edit taken over. Told twice it is once; what cannot be any more is said and left."""
    review = replace(review, edits_seen=edit.k)
    data: dict[str, object] = {"k": edit.k}
    if edit.text is not None:
        review, kind, said = replace(review, text=edit.text, edited=True), event_types.REVIEW_EDITED, "edited"
    elif edit.action is not None:
        action = numbered(review.actions, edit.action)
        review = replace(review, actions=_with(review.actions, action))
        kind, said = event_types.ACTION_ADDED, f"set action {action.n} (owner {action.owner}) in"
        data |= {"action": action.n, "owner": action.owner, "due_at": action.due_at.isoformat()}
    elif edit.done is not None:
        review = replace(review, actions=_done(review.actions, edit))
        kind, said = event_types.ACTION_DONE, f"has done action {edit.done} of"
        data["action"] = edit.done
    elif edit.outage_class is not None:
        review = replace(review, outage_class=edit.outage_class)
        kind, said = event_types.REVIEW_CLASSIFIED, f"named the class of outage ({edit.outage_class}) in"
        data["outage_class"] = edit.outage_class
    else:
        published_at, by = review.published_at or edit.at, review.published_by or edit.by
        review = replace(review, state=ReviewState.PUBLISHED, published_at=published_at, published_by=by)
        kind, said = event_types.REVIEW_PUBLISHED, "published"
    summary = f"{edit.by} {said} the review of incident {_n(review)}"
    return review, Event(type=kind, subject=review.key, summary=summary, actor=edit.by, data=data)


def folded(review: Review, edits: Sequence[ReviewEdit]) -> Review:
    """The review as it will be once ``edits``, ascending, are taken over."""
    for edit in edits:
        if edit.k > review.edits_seen:
            review, _ = _fold(review, edit)
    return review


def numbered(actions: Sequence[Action], action: Action) -> Action:
    """The action with its number: its own when it replaces one, else the next."""
    known = {one.n for one in actions}
    return action if action.n in known else replace(action, n=max(known, default=0) + 1)


def _with(actions: Sequence[Action], action: Action) -> tuple[Action, ...]:
    others = [one for one in actions if one.n != action.n]
    return tuple(sorted([*others, action], key=lambda one: one.n))[:ACTIONS_MAX]


def _done(actions: Sequence[Action], edit: ReviewEdit) -> tuple[Action, ...]:
    return tuple(
        replace(one, done_at=edit.at, done_by=edit.by) if one.n == edit.done and one.done_at is None else one
        for one in actions
    )


def _n(review: Review) -> int:
    return int(review.incident.rpartition("/")[2])
