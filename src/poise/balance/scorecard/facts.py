"""From events to facts. A fact is known by its event's sequence, so told twice or late it is one fact.

Facts hold no cycles, so the collector need not walk them (``gc=False``): there may be hundreds of thousands.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final

from msgspec import Struct

from poise.model import event_types
from poise.model.delivery import ChangeClass
from poise.model.record import Recorded

COMMITS_MAX: Final = 1000  # of one push; source records no more


class Trigger(StrEnum):
    """Why it was deployed. Rework is unplanned and caused by an incident."""

    PLANNED = "planned"
    REWORK = "rework"
    ROLLBACK = "rollback"


class Push(Struct, frozen=True, kw_only=True, gc=False):
    """Commits that reached the project's branch together; (sha, committer date in epoch seconds) each."""

    sequence: int
    project: str
    at: datetime
    head: str
    commits: tuple[tuple[str, float], ...]
    incident: str | None = None


class Mark(Struct, frozen=True, kw_only=True, gc=False):
    """One moment of a rollout on its way."""

    sequence: int
    rollout: str
    kind: str
    at: datetime
    change_class: str | None = None
    incident: str | None = None


class Ending(Struct, frozen=True, kw_only=True, gc=False):
    """How a rollout that users met ended: live, or taken back before that (``live`` False).

    ``replaced`` is the number of the rollout whose place it took; ``returns`` says that it brought an
    earlier release back. ``rollout`` is None for a deployment that another system made.
    """

    sequence: int
    service: str
    at: datetime
    live: bool
    returns: bool
    rollout: int | None
    release: int | None
    digest: str
    commit: str
    replaced: int | None
    previous_commit: str | None
    change_class: str | None
    incident: str | None
    actor: str


class Trouble(Struct, frozen=True, kw_only=True, gc=False):
    """One word about an incident: it began, went on or ended.

    ``rollouts`` maps service to the rollout blamed; None where the word says nothing about that.
    """

    sequence: int
    incident: str
    kind: str
    at: datetime
    rollouts: dict[str, int] | None = None


class Signal(Struct, frozen=True, kw_only=True, gc=False):
    """A burn alert of a service that ended: its burn is back to what the budget bears."""

    sequence: int
    service: str
    at: datetime


class Spent(Struct, frozen=True, kw_only=True, gc=False):
    """An objective whose budget was found spent."""

    sequence: int
    objective: str
    at: datetime


Fact = Push | Mark | Ending | Trouble | Signal | Spent

MARKS: Final = frozenset(
    {
        event_types.ROLLOUT_CREATED,
        event_types.ROLLOUT_STARTED,
        event_types.ROLLOUT_STEPPED,
        event_types.ROLLOUT_ROLLING_BACK,
    }
)
TROUBLES: Final = frozenset(
    {
        event_types.INCIDENT_DETECTED,
        event_types.INCIDENT_JOINED,
        event_types.INCIDENT_RESOLVED,
        event_types.INCIDENT_REOPENED,
        event_types.INCIDENT_MERGED,
    }
)
_SERVICE: Final = re.compile(r"dev\.cdevents\.service\.(deployed|upgraded|rolledback)\.")
_OTHERS: Final = frozenset(
    {event_types.CHANGE_MERGED, event_types.ALERT_RESOLVED, event_types.BUDGET_CHANGED}
)


def fact(row: Recorded) -> Fact | None:
    """What an event says that counts; None for one that says nothing about delivery."""
    kind = row.event.type
    if kind in MARKS:
        return _mark(row)
    if kind in TROUBLES:
        return _trouble(row)
    if kind in _OTHERS:
        return _other(row)
    found = _SERVICE.match(kind)
    if found is None:
        return None
    return _external(row, found[1]) if row.event.data.get("external") else _ending(row, found[1])


def instant(value: object) -> datetime | None:
    """An ISO 8601 instant with its zone, or epoch seconds; None for anything else."""
    try:
        if isinstance(value, str):
            at = datetime.fromisoformat(value)
            return at if at.tzinfo is not None else None
        if isinstance(value, int | float) and not isinstance(value, bool):
            return datetime.fromtimestamp(value, UTC)
    except (ValueError, OverflowError, OSError):
        pass
    return None


def _mark(row: Recorded) -> Mark:
    data = row.event.data
    return Mark(
        sequence=row.sequence,
        rollout=row.event.subject,
        kind=row.event.type,
        at=row.at,
        change_class=_text(data.get("change_class")),
        incident=_text(data.get("incident")),
    )


def _ending(row: Recorded, word: str) -> Ending:
    data = row.event.data
    taken_back = word == "rolledback" and data.get("rule") == "rolled_back"
    return Ending(
        sequence=row.sequence,
        service=row.event.subject.rpartition("/")[0],
        at=row.at,
        live=not taken_back,
        returns=word == "rolledback" and not taken_back,
        rollout=_number(data.get("rollout")),
        release=_number(data.get("release")),
        digest=_text(data.get("digest")) or "",
        commit=_text(data.get("commit")) or "",
        replaced=_number(data.get("replaced")),
        previous_commit=_text(data.get("previous_commit")),
        change_class=_text(data.get("change_class")),
        incident=_text(data.get("incident")),
        actor=row.event.actor,
    )


def _external(row: Recorded, word: str) -> Ending | None:
    """A deployment that another system reports; it counts where it names a service and environment."""
    if row.event.subject.count("/") != 2 or not row.event.data.get("known", True):
        return None
    whole = _map(row.event.data.get("event"))
    content = _map(_map(whole.get("subject")).get("content"))
    custom = _map(whole.get("customData"))
    return Ending(
        sequence=row.sequence,
        service=row.event.subject,
        at=min(instant(row.event.data.get("timestamp")) or row.at, row.at),
        live=True,
        returns=word == "rolledback",
        rollout=None,
        release=None,
        digest=_text(content.get("artifactId")) or "",
        commit=_text(custom.get("commit")) or "",
        replaced=None,
        previous_commit=None,
        change_class=_text(custom.get("changeClass")),
        incident=None,
        actor=row.event.actor,
    )


def _trouble(row: Recorded) -> Trouble:
    """Only the service where the cause shows is blamed."""
    kind, data, at = row.event.type, row.event.data, row.at
    told = data.get("rollouts")
    rollouts: dict[str, int] | None = None
    if isinstance(told, dict):
        named = {str(key): n for key, n in told.items() if isinstance(n, int)}
        cause = data.get("service")
        rollouts = {key: n for key, n in named.items() if key == cause}
    if kind == event_types.INCIDENT_RESOLVED:
        at = min(instant(data.get("cleared_at")) or at, at)
    return Trouble(sequence=row.sequence, incident=row.event.subject, kind=kind, at=at, rollouts=rollouts)


def _other(row: Recorded) -> Fact | None:
    event = row.event
    if event.type == event_types.CHANGE_MERGED:
        return _push(row)
    if event.type == event_types.BUDGET_CHANGED:
        spent = event.data.get("to") == "spent"
        return Spent(sequence=row.sequence, objective=event.subject, at=row.at) if spent else None
    if event.data.get("source") != "burn":
        return None
    at = min(instant(event.data.get("ended_at")) or row.at, row.at)
    return Signal(sequence=row.sequence, service="/".join(event.subject.split("/")[:3]), at=at)


def _push(row: Recorded) -> Push | None:
    """Without ``commits`` it is its head alone; without a date, when it was made is not known."""
    data, head = row.event.data, _text(row.event.data.get("commit"))
    if head is None:
        return None
    commits: dict[str, float] = {}
    for told in list(data.get("commits") or ())[:COMMITS_MAX]:
        if len(told) == 2 and (made := instant(told[1])) is not None:
            commits[str(told[0])] = made.timestamp()
    made = instant(data.get("committed_at"))
    if "commits" not in data and made is not None:
        commits[head] = made.timestamp()
    return Push(
        sequence=row.sequence,
        project=row.event.subject.split("/", 1)[0],
        at=row.at,
        head=head,
        commits=tuple(commits.items()),
        incident=_text(data.get("incident")),
    )


def is_fix(change_class: str | None) -> bool:
    """Whether its label says that it repairs something."""
    return change_class == ChangeClass.FIX.value


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _number(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _map(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
