"""Which heads become changes: every branch's head that is not on record, once."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from msgspec import Struct

from poise.model.delivery import Change, ChangeClass
from poise.model.event_types import CHANGE_CREATED, CHANGE_MERGED
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
    has now reached the project's branch is recorded anew, since only that branch releases.
    """
    heads = sorted(seen.heads, key=lambda head: (head.branch != seen.branch, head.branch))
    first = {head.commit: head for head in reversed(heads)}
    new = [head for head in heads if first[head.commit] is head and _is_new(head, seen)]
    changes = [_change(seen, head, now) for head in new]
    return Decision(
        reads=tuple(head.ref for head in new),
        writes=tuple(Write(kind="Change", key=change.key, body=change) for change in changes),
        events=tuple(_event(change, seen.branch, head) for change, head in zip(changes, new, strict=True)),
    )


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
            "trusted": change.trusted,
            "hosted": change.hosted,
            "committed_at": change.committed_at.isoformat(),
            **({} if head.commits is None else {"commits": [list(one) for one in head.commits]}),
            **incident,
        },
    )
