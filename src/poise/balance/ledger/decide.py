"""The ledger of one objective: episodes become entries, entries are charged, and all adds up. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from msgspec import Struct, structs

from poise.balance.ledger.attribution import GUILTY, Charge, Suspect, charge, is_compared, likeliest
from poise.balance.ledger.episodes import Episode
from poise.model.delivery import ChangeClass, Rollout, RolloutState
from poise.model.event_types import BUDGET_CHARGED
from poise.model.incident import Diagnosis, Incident, SuspectKind
from poise.model.record import Decision, Event, Read, Write
from poise.model.spend import ENTRIES_MAX, Outlook, Spend, SpendCause, SpendEpisode, SpendLedger

SEEN_S: Final = 86_400.0  # how far back an outlook's episodes reach
EDGE_S: Final = 300.0  # an episode that begins so near that edge may be the rest of an older one
TOLD_RATIO: Final = 0.001  # of the budget: an entry that cost less is no event
REFRESH_S: Final = 3600.0
LOOK_AGAIN_S: Final = 60.0  # while an entry is open: what it is charged to may become known
ALIKE_MIN: Final = 5.0  # two objectives that suffer so near one another suffer of one thing
ERRORS: Final = "errors"  # what trials call failed requests
WORSE_E: Final = 20.0  # odds that are worth a word: the new revision fails more,
ALIKE_E: Final = 0.05  # or both alike
DECIDED_S: Final = 7200.0  # after its end an entry's charge stands
_CAUSES: Final = {
    SuspectKind.DEPLOY: SpendCause.DEPLOY,
    SuspectKind.CONFIG: SpendCause.CONFIG,
    SuspectKind.DEPENDENCY: SpendCause.DEPENDENCY,
}


class Seen(Struct, frozen=True, kw_only=True):
    """An objective's outlook and ledger, and what may have spent: changes, dependencies, incidents.

    ``dependencies`` are the ledgers of the services that this one depends on; ``diagnoses`` by incident.
    ``metric`` is what the trials of rollouts call what the objective counts; of one that they do not judge
    there is no comparison of two revisions.
    """

    key: str
    declared: bool
    outlook: Outlook | None = None
    before: SpendLedger | None = None
    rollouts: tuple[Rollout, ...] = ()
    dependencies: tuple[SpendLedger, ...] = ()
    incidents: tuple[Incident, ...] = ()
    diagnoses: dict[str, Diagnosis] = {}
    metric: str = ERRORS
    reads: tuple[Read, ...] = ()


def decide(seen: Seen, now: datetime) -> Decision:
    """The ledger where it differs, with an event for each entry that is closed or charged anew."""
    if not seen.declared:
        gone = () if seen.before is None else (Write(kind="SpendLedger", key=seen.key, body=None),)
        return Decision(reads=seen.reads, writes=gone)
    if seen.outlook is None:
        return Decision()
    made = ledger(seen, seen.outlook, now)
    is_open = any(one.until is None or now - one.until < _s(LOOK_AGAIN_S * 5) for one in made.entries)
    again = now + _s(LOOK_AGAIN_S) if is_open else None
    if seen.before is not None and not _is_news(seen.before, made):
        return Decision(wake_at=again)
    return Decision(
        reads=seen.reads,
        writes=(Write(kind="SpendLedger", key=made.key, body=made),),
        events=tuple(_told(seen.before, made)),
        wake_at=again,
    )


def ledger(seen: Seen, outlook: Outlook, now: datetime) -> SpendLedger:
    """All that was spent in the window: its entries, oldest first, and the usual."""
    start = outlook.at - _s(outlook.window_s)
    kept = _kept(seen.before.entries if seen.before else (), outlook)
    episodes = [_joined(one, seen, outlook) for one in outlook.episodes]
    entries = [*kept, *(_entry(one, begun, seen, outlook, now) for one, begun in episodes)]
    entries = [one for one in entries if one.since >= start and one.bad > 0][-ENTRIES_MAX:]
    while entries and sum(one.bad for one in entries) > outlook.bad:
        entries.pop(0)  # counts were taken back since: the oldest are told as usual
    return SpendLedger(
        service=outlook.service,
        objective=outlook.objective,
        at=outlook.at,
        bad=outlook.bad,
        allowed=outlook.allowed,
        window_s=outlook.window_s,
        usual_bad=outlook.bad - sum(one.bad for one in entries),
        entries=tuple(entries),
    )


def _kept(entries: Sequence[Spend], outlook: Outlook) -> list[Spend]:
    """Entries that are older than what episodes tell; one that was open then has ended unseen."""
    edge = outlook.at - _s(SEEN_S)
    again = [one for one in outlook.episodes if one.since <= edge + _s(EDGE_S)]
    return [
        structs.replace(one, until=one.until or edge)
        for one in entries
        if one.since < edge and not any(_overlap(one, episode) for episode in again)
    ]


def _joined(episode: SpendEpisode, seen: Seen, outlook: Outlook) -> tuple[SpendEpisode, Spend | None]:
    """The episode, whole where it began before the last day, and its entry so far."""
    entries = seen.before.entries if seen.before else ()
    old = next((one for one in entries if _overlap(one, episode)), None)
    if old is None or old.since >= outlook.at - _s(SEEN_S) + _s(EDGE_S):
        return episode, old
    burn = outlook.burn
    whole = burn.bad if burn is not None and burn.since >= old.since else 0.0
    bad, events = max(old.bad, episode.bad, whole), max(old.events, episode.events)
    return structs.replace(episode, since=old.since, bad=bad, events=max(events, bad)), old


def _overlap(entry: Spend, episode: SpendEpisode) -> bool:
    ends = entry.until or episode.since
    return ends >= episode.since and (episode.until is None or entry.since < episode.until)


# -- charging -------------------------------------------------------------------------------------


def _entry(episode: SpendEpisode, before: Spend | None, seen: Seen, outlook: Outlook, now: datetime) -> Spend:
    made = Spend(
        since=episode.since,
        until=episode.until,
        events=episode.events,
        bad=episode.bad,
        spent_ratio=episode.bad / max(outlook.allowed, 1e-9),
        cause=SpendCause.UNKNOWN,
        why="nothing that changed explains it",
    )
    if before is not None and before.until is not None and now - before.until > _s(DECIDED_S):
        return structs.replace(
            made, cause=before.cause, subject=before.subject, name=before.name, chance=before.chance,
            why=before.why,
        )  # fmt: skip
    incident = _incident(episode, seen, now)
    found = _diagnosed(made, incident, seen) if incident is not None else None
    found = found or _charged(made, episode, seen)
    if found.cause is SpendCause.UNKNOWN and incident is not None:
        return structs.replace(
            found, cause=SpendCause.INCIDENT, subject=incident.key, name=f"incident {incident.n}",
            why=f"incident {incident.n} ({incident.title}) was open, and no change explains it",
        )  # fmt: skip
    return found


def _incident(episode: SpendEpisode, seen: Seen, now: datetime) -> Incident | None:
    """The incident that was open during the episode, the first of several."""
    end = episode.until or now
    over = [
        one
        for one in seen.incidents
        if one.onset_at <= end and (one.cleared_at or one.resolved_at or now) >= episode.since
    ]
    return min(over, key=lambda one: one.onset_at, default=None)


def _diagnosed(made: Spend, incident: Incident, seen: Seen) -> Spend | None:
    """What versions compared side by side have shown is better evidence than time alone."""
    diagnosis = seen.diagnoses.get(incident.key)
    if diagnosis is None or not diagnosis.explained or not diagnosis.suspects:
        return None
    first = diagnosis.suspects[0]
    cause = _CAUSES.get(first.kind)
    if cause is None:
        return None
    return structs.replace(
        made, cause=cause, subject=first.subject, name=first.summary, chance=min(1.0, first.score),
        why=f"the diagnosis of incident {incident.n} found it",
    )  # fmt: skip


def _charged(made: Spend, episode: SpendEpisode, seen: Seen) -> Spend:
    names = dict(_suspects(seen))
    minutes = _in_minutes(episode)
    found = charge(minutes, list(names))
    charged = found.cause is not SpendCause.UNKNOWN
    subject = found.subject if charged else found.likeliest
    suspect = next((one for one in names if one.subject == subject), None)
    if suspect is None:
        return structs.replace(made, chance=round(found.chance, 3))
    why = _why(found, suspect, minutes)
    if not charged:
        said = f"nothing that changed explains it; {names[suspect]} comes nearest: {why}"
        return structs.replace(made, chance=round(found.chance, 3), why=said)
    others = f", of {len(names)} that were weighed" if len(names) > 1 else ""
    return structs.replace(
        made, cause=found.cause, subject=found.subject, name=names[suspect], chance=round(found.chance, 3),
        why=f"it began {why}{others}",
    )  # fmt: skip


def _why(found: Charge, suspect: Suspect, episode: Episode) -> str:
    """``3 min after, 97 % likely, and the new revision failed more than the old one (e-value 4e+05)``."""
    lag_min = max(0.0, found.lag_min or 0.0)
    after = "at the same time" if lag_min < 1.0 else f"{lag_min:.0f} min after"
    chance = found.chance if found.subject else found.likeliest_chance
    said = f"{after}, {chance * 100:.2g} % likely"
    if not is_compared(suspect, likeliest(episode)) or ALIKE_E < suspect.e_value < WORSE_E:
        return said
    if suspect.e_value >= WORSE_E:
        return f"{said}, and the new revision failed more than the old one (e-value {suspect.e_value:.2g})"
    return f"{said}, and both revisions failed alike (e-value {suspect.e_value:.2g})"


def _in_minutes(episode: SpendEpisode) -> Episode:
    chances = {int(at // 60): chance for at, chance in episode.onsets} or {_minute(episode.since): 1.0}
    first, last = min(chances), max(chances)
    whole = sum(chances.values())
    return Episode(
        begin=_minute(episode.since),
        end=None if episode.until is None else _minute(episode.until),
        total=episode.events,
        bad=episode.bad,
        first=first,
        onset=tuple(chances.get(minute, 0.0) / whole for minute in range(first, last + 1)),
    )


def _suspects(seen: Seen) -> list[tuple[Suspect, str]]:
    """What may have spent, with how people call it."""
    found = []
    for one in seen.rollouts:
        if one.started_at is None or one.state is RolloutState.FAILED:
            continue
        cause = SpendCause.DEPLOY if "release" in one.changes else SpendCause.CONFIG
        undone = _undone(one, seen.rollouts)
        suspect = Suspect(
            cause=cause,
            subject=one.key,
            at=one.started_at.timestamp() / 60.0,
            undone_at=None if undone is None else undone.timestamp() / 60.0,
            **_compared(one, seen.metric),
        )
        name = f"release {one.release} of {one.service}"
        settings = f"settings of {one.service}, {one.summary}"
        found.append((suspect, name if cause is SpendCause.DEPLOY else settings))
    for below in seen.dependencies:
        for entry in below.entries:
            if any(_same_spend(one, below.service, entry) for one, _ in found):
                continue
            suspect = Suspect(
                cause=SpendCause.DEPENDENCY,
                subject=below.service,
                at=entry.since.timestamp() / 60.0,
                undone_at=None if entry.until is None else entry.until.timestamp() / 60.0,
            )
            what = f" ({entry.name})" if entry.name else ""
            found.append((suspect, f"{below.service.rsplit('/', 1)[-1]}{what}"))
    assert all(one.cause in GUILTY for one, _ in found)
    return found


def _compared(one: Rollout, metric: str) -> dict[str, Any]:
    """What its trial says of the new revision beside the old one, where it judged what is counted."""
    trial = one.trial
    e_value = trial.e_by_metric().get(metric)
    answered = trial.canary_requests > 0 and trial.baseline_requests > 0
    if e_value is None or trial.first_request_at is None or not answered or one.mirror_percent > 0:
        return {}
    last = trial.last_request_at or trial.first_request_at
    return {
        "compared": (trial.first_request_at.timestamp() / 60.0, last.timestamp() / 60.0),
        "e_value": e_value,
    }


def _same_spend(one: Suspect, service: str, entry: Spend) -> bool:
    """Two objectives of a dependency that suffer at once are one cause."""
    near = abs(one.at - entry.since.timestamp() / 60.0) <= ALIKE_MIN
    return one.cause is SpendCause.DEPENDENCY and one.subject == service and near


def _undone(one: Rollout, rollouts: Sequence[Rollout]) -> datetime | None:
    """Since when it takes no traffic because it was bad."""
    if one.state is RolloutState.ROLLED_BACK:
        return one.finished_at
    back = (
        later.finished_at or later.started_at
        for later in rollouts
        if later.change_class is ChangeClass.ROLLBACK and later.baseline == one.n
    )
    return next((at for at in back if at is not None), None)


# -- telling --------------------------------------------------------------------------------------


def _is_news(before: SpendLedger, after: SpendLedger) -> bool:
    if _gist(before) != _gist(after) or (after.at - before.at).total_seconds() >= REFRESH_S:
        return True
    return abs(after.bad - before.bad) >= TOLD_RATIO * max(after.allowed, 1.0)


def _gist(one: SpendLedger) -> list[tuple[object, ...]]:
    return [(e.since, e.until, e.subject, e.cause, e.until is not None and e.bad) for e in one.entries]


def _told(before: SpendLedger | None, after: SpendLedger) -> list[Event]:
    """One event for each entry that has ended, and where its charge changed after that."""
    known = {one.since: one for one in before.entries} if before else {}
    events = []
    for entry in after.entries:
        old = known.get(entry.since)
        charged = old is not None and old.until is not None and old.subject == entry.subject
        if entry.until is None or charged or entry.spent_ratio < TOLD_RATIO:
            continue
        events.append(
            Event(
                type=BUDGET_CHARGED,
                subject=after.key,
                summary=sentence(after.objective, entry),
                data={
                    "cause": entry.cause.value, "subject": entry.subject, "bad": entry.bad,
                    "spent_ratio": entry.spent_ratio, "chance": entry.chance, "why": entry.why,
                    "since": entry.since.isoformat(), "until": entry.until.isoformat(),
                },
            )
        )  # fmt: skip
    return events


def sentence(objective: str, entry: Spend) -> str:
    """``release 43 of shop cost 3.1 % of the availability budget``."""
    who = entry.name or "something unknown"
    return f"{who} cost {entry.spent_ratio * 100:.2g} % of the {objective} budget"


def _minute(at: datetime) -> int:
    return int(at.timestamp() // 60)


def _s(seconds: float) -> timedelta:
    return timedelta(seconds=seconds)
