"""What was deployed in one service, which commits it brought, whether it failed and when that was repaired.

A deployment is a rollout that users met: it went live, or a canary took traffic and was taken back. One that
never became ready met nobody, and is none. A rollback is told, but repairs and so is not counted as one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from poise.balance.scorecard.facts import Ending, Mark, Push, Trigger, Trouble, is_fix
from poise.model import event_types
from poise.model.delivery import ChangeClass

REWORK_WITHIN: Final = timedelta(hours=24)  # a repair so soon says that what it repairs had failed


class Moved(Struct, frozen=True, kw_only=True, gc=False):
    """A commit that reached users; both times in seconds, from its committer date and from its push."""

    sha: str
    lead_s: float
    from_push_s: float


def rollout_key(service: str, rollout: int | None) -> str:
    """``project/environment/service/n``, zero-padded; with no number for a deployment from elsewhere."""
    return f"{service}/{rollout:06d}" if rollout is not None else f"{service}/"


class Deployment(Struct, frozen=True, kw_only=True, gc=False):
    """One deployment and everything that the figures say of it; ``event`` is the sequence of its ending.

    ``brought`` are the pushes of (what was live before, what is now]; None where that range is not known.
    ``failures`` are the reasons it counts as failed; ``guessed`` names what was inferred from a label and
    linked by nobody. ``recovered_at`` None: it has not recovered, or nothing says when.
    """

    event: int
    service: str
    rollout: int | None
    release: int | None
    digest: str
    commit: str
    previous_commit: str | None
    replaced: int | None
    trigger: Trigger
    live: bool
    first: bool = False
    external: bool = False
    started_at: datetime | None
    finished_at: datetime
    brought: tuple[Push, ...] | None = None
    failures: tuple[str, ...] = ()
    guessed: tuple[str, ...] = ()
    incidents: tuple[str, ...] = ()
    detected_at: datetime | None = None
    recovered_at: datetime | None = None

    @property
    def key(self) -> str:
        """The rollout's key; empty number for one that another system made."""
        return rollout_key(self.service, self.rollout)

    @property
    def commits(self) -> tuple[Moved, ...] | None:
        """The commits that it brought, each with its lead time; computed when asked. O(commits)."""
        return None if self.brought is None else _moved(self.brought, self.finished_at)

    @property
    def counts(self) -> bool:
        """Whether it is one of the deployments that ratios are shares of."""
        return self.trigger is not Trigger.ROLLBACK

    @property
    def failed(self) -> bool:
        """Whether it needed somebody's, or the canary's, immediate intervention."""
        return bool(self.failures)

    @property
    def failed_for_sure(self) -> bool:
        """Whether it failed even without what is guessed."""
        return bool(set(self.failures) - set(self.guessed))

    @property
    def recovery_s(self) -> float | None:
        """From the failed deployment's finish to recovery."""
        if not self.failed or self.recovered_at is None:
            return None
        return max(0.0, (self.recovered_at - self.finished_at).total_seconds())


class IncidentFact(Struct, frozen=True, kw_only=True):
    """One incident as all that was said of it adds up."""

    key: str
    detected_at: datetime
    recovered_at: datetime | None
    rollouts: dict[str, int]


def incident_of(key: str, said: Sequence[Trouble]) -> IncidentFact | None:
    """Fold what was said of an incident, ascending; None when it is part of another or never began.

    The first word on a service holds; later ones add.
    """
    rollouts: dict[str, int] = {}
    detected: datetime | None = None
    recovered: datetime | None = None
    for word in said:
        match word.kind:
            case event_types.INCIDENT_MERGED:
                return None
            case event_types.INCIDENT_RESOLVED:
                recovered = word.at
            case event_types.INCIDENT_REOPENED:
                recovered = None
            case event_types.INCIDENT_DETECTED:
                detected = detected or word.at
        rollouts = (word.rollouts or {}) | rollouts
    if detected is None:
        return None
    return IncidentFact(key=key, detected_at=detected, recovered_at=recovered, rollouts=rollouts)


class History(Struct, frozen=True, kw_only=True):
    """The facts about one service, ascending by sequence.

    ``positions`` are those of heads in ``pushes``; ``burn_ends`` are when its burn alerts ended.
    """

    endings: Sequence[Ending]
    marks: Mapping[str, Mapping[str, Mark]]
    pushes: Sequence[Push]
    positions: Mapping[str, int]
    incidents: Sequence[IncidentFact] = ()
    burn_ends: Sequence[datetime] = ()


def deployments(history: History) -> tuple[Deployment, ...]:
    """Every deployment of the service, ascending; O(events + commits)."""
    found: list[Deployment] = []
    before: Ending | None = None
    for ending in history.endings:
        one = _deployment(history, ending, before)
        if one is not None:
            found.append(one)
        if ending.live:
            before = ending
    _judge(history, found)
    return tuple(found)


def _deployment(history: History, ending: Ending, before: Ending | None) -> Deployment | None:
    marks = history.marks.get(rollout_key(ending.service, ending.rollout), {})
    stepped, started = marks.get(event_types.ROLLOUT_STEPPED), marks.get(event_types.ROLLOUT_STARTED)
    if not ending.live and stepped is None:
        return None  # it never took a request
    created = marks.get(event_types.ROLLOUT_CREATED)
    label = ending.change_class or (created.change_class if created else None)
    known = before.commit if before else ending.previous_commit
    brought = _between(history.pushes, history.positions, known, ending.commit)
    finished_at = ending.at if ending.live or stepped is None else stepped.at
    trigger, guess, incident = _trigger(ending, created, label, brought)
    first = before is None and ending.replaced is None and ending.live
    turned = marks.get(event_types.ROLLOUT_ROLLING_BACK)
    return Deployment(
        event=ending.sequence,
        service=ending.service,
        rollout=ending.rollout,
        release=ending.release,
        digest=ending.digest,
        commit=ending.commit,
        previous_commit=known,
        replaced=ending.replaced,
        trigger=trigger,
        live=ending.live,
        first=first,
        external=ending.rollout is None,
        started_at=started.at if started else None,
        finished_at=finished_at,
        brought=None if first or not ending.live or brought is None else tuple(brought),
        failures=() if ending.live else ("rolled_back",),
        guessed=("rework",) if guess else (),
        incidents=(incident,) if incident else (),
        detected_at=None if ending.live else (turned.at if turned else ending.at),
        recovered_at=None if ending.live else ending.at,
    )


def _between(
    pushes: Sequence[Push], positions: Mapping[str, int], before: str | None, commit: str
) -> Sequence[Push] | None:
    """The pushes of (before, commit] in the order they came; None where either end is not known."""
    last = positions.get(commit)
    if before == commit and commit:
        return ()
    first = positions.get(before or "")
    if first is None or last is None:
        return None
    return pushes[first + 1 : last + 1]


def _moved(pushes: Sequence[Push], at: datetime) -> tuple[Moved, ...]:
    """Each commit once, from its first push. A committer's clock that runs ahead gives 0, never less."""
    moved: dict[str, Moved] = {}
    deployed_s = at.timestamp()
    for push in pushes:
        from_push_s = max(0.0, deployed_s - push.at.timestamp())
        for sha, made_s in push.commits:
            if sha not in moved:
                moved[sha] = Moved(sha=sha, lead_s=max(0.0, deployed_s - made_s), from_push_s=from_push_s)
    return tuple(moved.values())


def _trigger(
    ending: Ending, created: Mark | None, label: str | None, brought: Sequence[Push] | None
) -> tuple[Trigger, bool, str | None]:
    """The trigger, whether it is guessed, and the incident that explains it."""
    if ending.returns or label == ChangeClass.ROLLBACK.value:
        return Trigger.ROLLBACK, False, ending.incident
    named = [push.incident for push in brought or () if push.incident]
    incident = ending.incident or (created.incident if created else None) or (named[-1] if named else None)
    if incident is not None:
        return Trigger.REWORK, False, incident
    return (Trigger.REWORK, True, None) if is_fix(label) else (Trigger.PLANNED, False, None)


# -- which failed -------------------------------------------------------------------------------------


def _judge(history: History, found: list[Deployment]) -> None:
    """Mark the failed ones in place: taken back, linked to an incident, or soon followed by rework."""
    by_rollout = {one.rollout: i for i, one in enumerate(found) if one.rollout is not None}
    live: int | None = None
    for i, one in enumerate(found):
        if one.trigger is Trigger.ROLLBACK and one.live:
            blamed = live if one.replaced is None else by_rollout.get(one.replaced)
            if blamed is not None:
                asked = history.marks.get(one.key, {}).get(event_types.ROLLOUT_CREATED)
                at = asked.at if asked else None
                found[blamed] = _failed(found[blamed], "rolled_back", at, one.finished_at)
        elif one.trigger is Trigger.REWORK and i > 0:
            old = found[i - 1]
            if old.counts and one.finished_at - old.finished_at <= REWORK_WITHIN:
                guessed = "rework" in one.guessed
                found[i - 1] = _failed(old, "followed_by_rework", None, one.finished_at, guessed=guessed)
        if one.live:
            live = i
    for incident in history.incidents:
        for service, n in incident.rollouts.items():
            named = by_rollout.get(n)
            if named is not None and found[named].service == service:
                found[named] = _linked(found[named], incident)
    _settle(history, found)


def _failed(
    old: Deployment, why: str, detected: datetime | None, recovered: datetime, *, guessed: bool = False
) -> Deployment:
    if why in old.failures:
        return old
    return replace(
        old,
        failures=(*old.failures, why),
        guessed=(*old.guessed, why) if guessed else old.guessed,
        detected_at=old.detected_at or detected,
        recovered_at=old.recovered_at or recovered,
    )


def _linked(old: Deployment, incident: IncidentFact) -> Deployment:
    return replace(
        old,
        failures=tuple(dict.fromkeys((*old.failures, "incident"))),
        incidents=tuple(sorted({*old.incidents, incident.key})),
    )


def _settle(history: History, found: list[Deployment]) -> None:
    """When each failure was seen and over: its incidents say so first, then its burn, then the repair."""
    by_key = {one.key: one for one in history.incidents}
    for i, one in enumerate(found):
        if not one.failed or not one.live:
            continue
        linked = [by_key[key] for key in one.incidents if key in by_key and "incident" in one.failures]
        if linked:
            ends = [incident.recovered_at for incident in linked]
            recovered = None if None in ends else max(end for end in ends if end is not None)
            seen = min(incident.detected_at for incident in linked)
            detected = seen if one.detected_at is None else min(seen, one.detected_at)
            found[i] = replace(one, detected_at=detected, recovered_at=recovered)
        else:
            calm = next((at for at in history.burn_ends if at >= one.finished_at), None)
            repaired = one.recovered_at
            if calm is not None and repaired is not None and calm <= repaired + REWORK_WITHIN:
                found[i] = replace(one, recovered_at=calm)
