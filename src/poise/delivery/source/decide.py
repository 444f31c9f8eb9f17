"""Which heads become changes: every branch's head that is not on record, once."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from msgspec import Struct
from msgspec.structs import replace

from poise.model.delivery import Change, ChangeClass
from poise.model.event_types import CHANGE_CLASSIFIED, CHANGE_CREATED, CHANGE_MERGED
from poise.model.record import Decision, Event, Ref, Write


class Head(Struct, frozen=True, kw_only=True):
    """A branch's head, what git says of its commit, and the change on record for it.

    ``commits`` are those that came with it, (sha, committer date in epoch seconds), merges left out, None
    where nobody asked; ``incident`` is the number of the incident that its message names.
    """

    branch: str
    commit: str
    summary: str
    author: str
    committed_at: datetime
    change_class: ChangeClass
    known: Change | None
    ref: Ref
    commits: tuple[tuple[str, int], ...] | None = None
    incident: int | None = None
    class_why: str = ""
    labels: tuple[str, ...] = ()  # as a forge's pull request has them now
    labels_ref: Ref | None = None


class Push(Struct, frozen=True, kw_only=True):
    """Who pushed last, and whether they may use the network in their builds."""

    by: str = "git"
    trusted: bool = True


class Seen(Struct, frozen=True, kw_only=True):
    """What the room looks at for one project. ``pushes`` is by branch; not ``hosted``: a forge told of it."""

    project: str
    branch: str
    heads: tuple[Head, ...]
    pushes: Mapping[str, Push] = {}
    hosted: bool = True


def decide(seen: Seen, now: datetime) -> Decision:
    """Record every head that is not on record, the project's branch first.

    A commit that is the head of two branches is one change. One that is on record for another branch and
    has now reached the project's branch is recorded anew, since only that branch releases. One whose labels
    have changed since is classified anew; a release that was packed before keeps its class.
    """
    heads = sorted(seen.heads, key=lambda head: (head.branch != seen.branch, head.branch))
    first = {head.commit: head for head in reversed(heads)}
    firsts = [head for head in heads if first[head.commit] is head]
    new = [head for head in firsts if _is_new(head, seen)]
    changes = [_change(seen, head, now) for head in new]
    again = [head for head in firsts if head not in new and _is_relabelled(head)]
    decisions = [
        relabelled(head.known, head.labels, head.change_class, head.class_why) for head in again if head.known
    ]
    return Decision(
        reads=tuple(ref for head in (*new, *again) for ref in (head.ref, head.labels_ref) if ref is not None),
        writes=(
            *(Write(kind="Change", key=change.key, body=change) for change in changes),
            *(write for one in decisions for write in one.writes),
        ),
        events=(
            *(_event(change, seen.branch, head) for change, head in zip(changes, new, strict=True)),
            *(event for one in decisions for event in one.events),
        ),
    )


def relabelled(known: Change, labels: tuple[str, ...], change_class: ChangeClass, why: str) -> Decision:
    """A change on record after a forge gave it other labels; told where its class is another now."""
    after = replace(known, labels=labels, change_class=change_class, class_why=why)
    event = Event(
        type=CHANGE_CLASSIFIED,
        subject=after.key,
        summary=f"{after.commit[:8]} is a {change_class.value} now{f', by {why}' if why else ''}; "
        f"it was a {known.change_class.value}",
        data={"commit": after.commit, "class": change_class.value, "before": known.change_class.value},
    )
    return Decision(
        writes=(Write(kind="Change", key=after.key, body=after),),
        events=() if change_class is known.change_class else (event,),
    )


def _is_relabelled(head: Head) -> bool:
    return head.known is not None and head.known.labels != head.labels


def _is_new(head: Head, seen: Seen) -> bool:
    if head.known is None:
        return True
    if seen.hosted and not head.known.hosted:  # told of before; now it can be built
        return True
    return head.branch == seen.branch and head.known.branch != seen.branch


def _change(seen: Seen, head: Head, now: datetime) -> Change:
    push = seen.pushes.get(head.branch, Push())
    return Change(
        project=seen.project,
        commit=head.commit,
        branch=head.branch,
        summary=head.summary,
        author=head.author,
        committed_at=head.committed_at,
        pushed_by=push.by,
        pushed_at=now,
        change_class=head.change_class,
        trusted=push.trusted,
        hosted=seen.hosted,
        class_why=head.class_why,
        labels=head.labels,
    )


def _event(change: Change, project_branch: str, head: Head) -> Event:
    incident = {"incident": f"{change.project}/{head.incident:06d}"} if head.incident is not None else {}
    return Event(
        type=CHANGE_MERGED if change.branch == project_branch else CHANGE_CREATED,
        subject=change.key,
        summary=f"{change.pushed_by} pushed {change.commit[:8]} to {change.branch}: {change.summary}",
        actor=change.pushed_by,
        data={
            "commit": change.commit,
            "branch": change.branch,
            "author": change.author,
            "class": change.change_class.value,
            "class_why": change.class_why,
            "trusted": change.trusted,
            "hosted": change.hosted,
            "committed_at": change.committed_at.isoformat(),
            **({} if head.commits is None else {"commits": [list(one) for one in head.commits]}),
            **incident,
        },
    )
